import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sodium from "libsodium-wrappers";
import { systemClock } from "../../src/base/node/time.ts";
import { openKeyring } from "../../src/device/keyring.ts";
import { openOutbox } from "../../src/device/outbox/outbox.ts";
import { openSealer, type Recording } from "../../src/device/seal/seal.ts";
import { adopt } from "./camera.ts";
import { type BenchOptions, type Line, line, median, rounded } from "./measure.ts";

/** What half a second takes at the bit rates of the recorder. */
const fragments = [
  { what: "720p at 2 Mbit/s", bytes: 125_000 },
  { what: "1080p at 4 Mbit/s", bytes: 250_000 },
] as const;
const places = [
  { where: "tmpfs", folder: "/dev/shm" },
  { where: "disk, fsync included", folder: tmpdir() },
] as const;

/**
 * Fragments of a recording through the sealer into the outbox, each part durable before the next:
 * encryption with padding, digest, signature, chain, files. Speed against that of libsodium's bare
 * AEAD over the same fragments, one call for each. Six system calls a part, each of them waited for,
 * decide; what the processor does until a part could be written is measured by `seal`.
 */
export async function* benchOutbox({ quick }: BenchOptions): AsyncGenerator<Line, void> {
  await sodium.ready;
  const [total, rounds] = quick ? [2_000_000, 1] : [10_000_000, 15];
  for (const { where, folder } of places) {
    for (const { what, bytes } of fragments) {
      const pieces = Array.from({ length: Math.ceil(total / bytes) }, () => randomBytes(bytes));
      await using sealing = await openSealing(folder);
      const [bare, sealed]: [number[], number[]] = [[], []];
      for (let round = 0; round <= rounds; round++) {
        const bareMs = bareAead(pieces);
        const sealedMs = await sealing.seal(pieces);
        // The first round compiles.
        if (round === 0) continue;
        bare.push(bareMs);
        sealed.push(sealedMs);
      }
      const perSecond = (ms: number) => rounded((pieces.length * bytes) / 1e3 / ms, 1);
      yield line("outbox", `${what}: fragments of ${bytes} bytes, to ${where}`, {
        value: rounded(median(bare.map((ms, i) => ms / (sealed[i] ?? Number.NaN)))),
        unit: "speed of the sealer over that of the bare AEAD",
        against: "libsodium's XChaCha20-Poly1305 over the same fragments",
        megabytesPerSecond: perSecond(median(sealed)),
        bareMegabytesPerSecond: perSecond(median(bare)),
        rounds,
      });
    }
  }
}

function bareAead(pieces: readonly Uint8Array[]): number {
  const key = randomBytes(32);
  const nonce = randomBytes(24);
  const start = performance.now();
  for (const piece of pieces) {
    sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(piece, null, null, nonce, key);
  }
  return performance.now() - start;
}

async function openSealing(parent: string) {
  const folder = await mkdtemp(join(parent, "obscura-bench-"));
  const state = await adopt(folder);
  const outbox = await openOutbox({
    ...{ folder: join(state, "outbox"), limitBytes: 2 ** 28, headroomBytes: 0 },
    wallMs: () => systemClock.wallMs(),
  });
  const sealer = await openSealer({
    ...{ keyring: await openKeyring(state), outbox, clock: systemClock, version: "bench" },
    ...{ folder: join(state, "journal"), clockTrusted: () => true },
    onProblem: (failure) => {
      throw failure;
    },
  });
  return {
    async seal(pieces: readonly Uint8Array[]): Promise<number> {
      const start = performance.now();
      const clip = await sealer.clip(recordingOf(pieces));
      const tookMs = performance.now() - start;
      if (clip.reason !== "ended") throw new Error(`the clip ended as ${clip.reason}`);
      return tookMs;
    },
    async [Symbol.asyncDispose]() {
      await sealer.close();
      await outbox.close();
      await rm(folder, { recursive: true });
    },
  };
}

function recordingOf(pieces: readonly Uint8Array[]): Recording {
  async function* all() {
    yield { kind: "init", bytes: new Uint8Array(700).fill(1) } as const;
    for (const bytes of pieces) yield { kind: "fragment", bytes } as const;
    const about = { endUs: 1, durationMs: 1, frames: 1, thinned: [], tracks: [] };
    const closing = { ...about, mostPersons: 1, bestScore: 0.5, reason: "ended" } as const;
    yield { kind: "closing", closing } as const;
  }
  const incident = "00".repeat(16);
  return {
    incident,
    opening: {
      ...{ startUs: 0, wallMs: 0, clockTrusted: true, incident, width: 1280, height: 720 },
      ...{ fps: 15, model: { id: "bench", precision: "int8" }, zones: [], preRollMs: 0 },
    },
    pieces: all(),
  };
}
