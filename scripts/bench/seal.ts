import { ed25519Signer } from "../../src/base/node/crypto.ts";
import { sealingSuite } from "../../src/device/seal/aead.ts";
import { chunkContentBytes } from "../../src/protocol/sealed/chunk.ts";
import { ClipSealer } from "../../src/protocol/sealed/clip.ts";
import { encrypt, kemPair, random, ready } from "../../src/protocol/sealed/sodium.ts";
import { type BenchOptions, cpuMs, type Line, line, median, rounded } from "./measure.ts";

const chunksARound = 40;
const camera = ed25519Signer(new Uint8Array(32).fill(1));

/**
 * Sealing one clip against libsodium's bare AEAD on as many bytes: chunks, parts, digest and
 * signature, everything up to the write. Processor time; in turn, in one run; the middle of the
 * rounds. `ratio` is our speed over the bare one.
 */
export async function* benchSeal({ quick }: BenchOptions): AsyncGenerator<Line, void> {
  const rounds = quick ? 1 : 15;
  await ready();
  const { publicKey } = kemPair();
  for (const [name, bytes] of [
    ["chunks of 256 KiB", chunkContentBytes],
    ["fragments of 128 KiB", 128 * 1024 - 5],
  ] as const) {
    const content = new Uint8Array(bytes).map((_, i) => i * 7);
    const bare: number[] = [];
    const sealed: number[] = [];
    for (let round = 0; round < rounds; round++) {
      bare.push(costOf(() => encryptBare(content)));
      sealed.push(costOf(() => sealClip(content, publicKey)));
    }
    const megabytes = (bytes * chunksARound) / 1e6;
    const speed = (times: number[]) => Math.round((1000 * megabytes) / median(times));
    yield line("seal", name, {
      value: rounded(median(bare.map((ms, i) => ms / (sealed[i] ?? Number.NaN)))),
      unit: "speed of the sealer over that of the bare AEAD, processor time",
      aim: { least: 0.6 },
      against: "libsodium's XChaCha20-Poly1305 over the same plain bytes",
      bareMBps: speed(bare),
      sealedMBps: speed(sealed),
      rounds,
    });
  }
}

function encryptBare(content: Uint8Array): void {
  const [key, nonce, none] = [random(32), random(24), new Uint8Array()];
  for (let i = 0; i < chunksARound; i++) encrypt(key, nonce, content, none);
}

function sealClip(content: Uint8Array, publicKey: Uint8Array): void {
  const sealer = new ClipSealer({
    ...{ camera: camera.publicKey, incarnation: 1, membership: 1, opening },
    ...{ sign: camera.sign, suite: sealingSuite, recipients: [{ publicKey, shared: false }] },
  });
  sealer.init(new Uint8Array(700));
  for (let i = 0; i < chunksARound; i++) {
    sealer.fragment(content);
    if (i % 2 === 1) sealer.flush();
  }
  sealer.abandon();
}

const opening = {
  ...{ startUs: 1, wallMs: 1, clockTrusted: true, incident: "00".repeat(16) },
  ...{ width: 1280, height: 720, fps: 15, zones: [], preRollMs: 0 },
  model: { id: "none", precision: "int8" as const },
};

function costOf(act: () => void): number {
  const before = cpuMs();
  act();
  return cpuMs() - before;
}
