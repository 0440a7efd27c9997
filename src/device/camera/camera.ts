/**
 * The camera stage. In: a device or a file with footage, and what is wished of it. Out: pictures in
 * a bounded slab, masked already, newest first to survive. It fails with a Failure when the source
 * cannot be opened at first; from then on it mends itself (an unplugged camera is waited for) and
 * says so through `onEvent`.
 */
import { stat } from "node:fs/promises";
import { Failure } from "../../base/pure/failure.ts";
import type { Camera, CameraOptions } from "./frame.ts";
import { openLive } from "./live.ts";
import { openReplay } from "./replay.ts";
import { loadAddon } from "./v4l2.ts";

export type {
  Camera,
  CameraEvent,
  CameraInfo,
  CameraOptions,
  Control,
  Frame,
  PixelFormat,
  Point,
  Rect,
  Slab,
  SlabOptions,
  SlabUse,
  Tensor,
  TensorSpec,
  Turn,
} from "./frame.ts";
export { listCameras, loadAddon, openSlab, trimMemory } from "./v4l2.ts";

/** Opens a device, or a file with footage as if it were one. */
export async function openCamera(options: CameraOptions, addon = loadAddon()): Promise<Camera> {
  if (await isDevice(options.source)) return await openLive(options, addon);
  return await openReplay(options, addon);
}

/** What would lie under /dev is a device while it is unplugged; a file in /dev/shm is a file. */
async function isDevice(source: string): Promise<boolean> {
  if (source === "auto") return true;
  const found = await stat(source).catch((cause: unknown) => {
    if (source.startsWith("/dev/")) return undefined;
    throw new Failure("absent", `there is no camera and no file ${source}`, { cause });
  });
  if (found?.isFile()) return false;
  if (!found || found.isCharacterDevice()) return true;
  // A pipe would be waited for without an end.
  throw new Failure("refused", `${source} is neither a camera nor a file`);
}
