import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { nodeSuite } from "../../src/base/node/crypto.ts";
import { equal } from "../../src/base/pure/bytes.ts";
import { openSlab } from "../../src/device/camera/camera.ts";
import { openHome } from "../../src/phone/cli/store.ts";
import { Vault } from "../../src/phone/vault.ts";
import { detailsKeyOf, videoKeyOf } from "../../src/protocol/sealed/clip.ts";
import { ClipOpener } from "../../src/protocol/sealed/opened.ts";
import { ready } from "../../src/protocol/sealed/sodium.ts";
import { fromFileName } from "../../src/protocol/wire/name.ts";
import { type Canary, windowsOf } from "../lib/canary.ts";
import type { CountedFootage } from "../lib/counted.ts";
import { run } from "../lib/footage.ts";

/** What a camera knows in the clear while it records, as canaries to be looked for elsewhere. */

type Size = { width: number; height: number };

/**
 * Of every picture: as it came, as JPEG, and its luma at each place on its way. `small` is the
 * plane of the motion; a JPEG that the detector looks at too (with this `input`, or its crops) is
 * decoded finer, once for both, and then the plane's samples are others.
 */
export async function picturesOf(
  footage: CountedFootage,
  { small, input }: { small: Size; input: Size },
): Promise<Canary[]> {
  const { format, width, height } = footage;
  const file = await readFile(footage.pictures);
  const canaries: Canary[] = [];
  const jpegs: Uint8Array[] = [];
  const slab = openSlab({ slabBytes: 32 << 20 });
  for (const [i, { offset, length }] of footage.shots.entries()) {
    const bytes = file.subarray(offset, offset + length);
    const label = { format, width, height, capturedUs: i + 1, sequence: i };
    const whole = Math.max(width / input.width, height / input.height);
    for (const shared of format === "MJPG" ? [{}, { finest: whole }, { finest: 1 }] : [{}]) {
      // A frame of its own: what was decoded for one is not decoded again.
      const frame = slab.put(bytes, label);
      const luma = await frame.luma({ ...small, ...shared });
      canaries.push(...windowsOf("small luma", luma, { stepBytes: 1600 }));
      frame.release();
    }
    if (format === "MJPG") jpegs.push(bytes);
    else {
      const frame = slab.put(bytes, label);
      canaries.push(...windowsOf("camera's own", bytes, { stepBytes: 40_000 }));
      const jpeg = await frame.jpeg({ quality: 85 });
      jpegs.push(jpeg.copy());
      jpeg.release();
      // The JPEG's own luma is another: rounded. This one is what the camera saw.
      const luma = bytes.filter((_, at) => at % 2 === 0);
      if (i % 4 === 0) canaries.push(...windowsOf("luma seen", luma, { stepBytes: 40_000 }));
      frame.release();
    }
  }
  await slab.close();
  for (const jpeg of jpegs) {
    // Tables at its beginning are the same in every JPEG of its maker.
    const scan = jpeg.subarray(Math.min(1200, jpeg.length >> 1));
    canaries.push(...windowsOf("jpeg", scan, { stepBytes: 6000 }));
  }
  const all = Buffer.concat(jpegs);
  const limited = "scale=flags=bilinear:in_range=full:out_range=limited,format=yuv420p";
  for (const [kind, filter] of [
    ["luma", "extractplanes=y"],
    ["encoder's luma", `${limited},extractplanes=y`],
  ] as const) {
    const planes = await run(
      "ffmpeg",
      [
        ...["-v", "error", "-f", "mjpeg", "-i", "pipe:0", "-fps_mode", "passthrough"],
        ...["-vf", filter, "-f", "rawvideo", "pipe:1"],
      ],
      all,
    );
    if (planes.length !== jpegs.length * width * height)
      throw new Error(`${planes.length} B of ${kind}`);
    canaries.push(...windowsOf(kind, planes, { stepBytes: 30_011 }));
  }
  return canaries;
}

async function openVault(home: string) {
  await ready();
  await using store = await openHome(home, () => {});
  return (await Vault.open(store)).content;
}

/** The clips as the phone opens them: slices, parameter sets, thumbnails, and the keys of each. */
export async function videoOf(home: string, outbox: string): Promise<Canary[]> {
  const { cameras } = await openVault(home);
  const [camera] = cameras;
  if (!camera) throw new Error("the phone has no camera");
  const parts = (await readdir(outbox)).filter((file) => fromFileName(file).kind === "part").sort();
  const canaries: Canary[] = [];
  for (const { clip, key } of camera.clips) {
    const opener = new ClipOpener({
      ...{ camera: camera.id, suite: nodeSuite },
      key: (start) => {
        canaries.push({ kind: "clip key", bytes: key });
        canaries.push({ kind: "video key", bytes: videoKeyOf(key, start.headerHash) });
        canaries.push({ kind: "details key", bytes: detailsKeyOf(key, start.headerHash) });
        return { clip: key };
      },
    });
    for (const file of parts) {
      const name = fromFileName(file);
      if (name.kind !== "part" || !equal(name.clip, clip)) continue;
      const bytes = new Uint8Array(await readFile(join(outbox, file)));
      for (const event of opener.push(bytes)) {
        if (event.kind === "fragment")
          canaries.push(...windowsOf("video", event.bytes.subarray(512), { stepBytes: 1500 }));
        if (event.kind === "thumbnail")
          canaries.push(...windowsOf("thumbnail", event.bytes.subarray(700), { stepBytes: 2000 }));
        if (event.kind === "init") canaries.push(parameterSets(event.bytes));
      }
    }
  }
  return canaries;
}

/** The first sequence parameter set, whole, behind the avcC's six bytes and its own length. */
function parameterSets(init: Uint8Array): Canary {
  const bytes = Buffer.from(init);
  const at = bytes.indexOf("avcC") + 4;
  const length = bytes.readUInt16BE(at + 6);
  return { kind: "parameter sets", bytes: bytes.subarray(at + 8, at + 8 + length) };
}

/** Secrets: the camera's own, the epochs' of its log, and the phone's. */
export async function keysOf(home: string, state: string): Promise<Canary[]> {
  const canaries: Canary[] = [];
  for (const kind of ["camera.key", "request.key", "receiving.key"])
    canaries.push({ kind, bytes: await readFile(join(state, "keys", kind)) });
  const { phone, cameras } = await openVault(home);
  canaries.push({ kind: "phone's key", bytes: phone });
  for (const { root, request, oneTime, days, restarts, epochs } of cameras) {
    for (const bytes of [root, request]) if (bytes) canaries.push({ kind: "phone's key", bytes });
    for (const { secret } of [...oneTime, ...days, ...restarts])
      canaries.push({ kind: "phone's opening key", bytes: secret });
    for (const { key } of epochs) canaries.push({ kind: "log's key", bytes: key });
  }
  if (!canaries.some(({ kind }) => kind === "log's key")) throw new Error("no epoch was opened");
  return canaries;
}
