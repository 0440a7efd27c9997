import { createRequire } from "node:module";
import { join } from "node:path";
import type { Addon, Capture, NativeError, NativePicture } from "v4l2-camera";
import { Failure, type FailureKind } from "../../base/pure/failure.ts";
import type {
  CameraInfo,
  Frame,
  PixelFormat,
  Rect,
  Shared,
  Slab,
  SlabOptions,
  Tensor,
  TensorSpec,
  Turn,
} from "./frame.ts";

export type { Addon, Capture, NativePicture } from "v4l2-camera";

const require = createRequire(import.meta.url);

/**
 * Loads the addon; the only place that does. `fake` takes the variant over the fake driver,
 * `folder` another build (native/build-asan).
 */
export function loadAddon({ fake = false, folder = "build" } = {}): Addon {
  const name = fake ? "v4l2_camera_fake.node" : "v4l2_camera.node";
  try {
    return require(join("v4l2-camera", folder, "Release", name));
  } catch (cause) {
    throw new Failure("absent", "the camera's addon cannot be loaded", {
      cause,
      hint: "build it with scripts/addon",
    });
  }
}

/** The process's free memory goes back to the system, now and, as far as malloc can, at once. */
export function trimMemory(addon = loadAddon()): void {
  addon.trim();
}

const kinds: FailureKind[] = [
  "absent",
  "busy",
  "denied",
  "refused",
  "stalled",
  "full",
  "gone",
  "corrupt",
  "misuse",
];

/** The addon's error as a Failure. What is no error of the addon stays what it is. */
export function toFailure(error: unknown): Failure {
  if (error instanceof Failure) return error;
  if (!(error instanceof Error)) throw error;
  const { kind, hint, syscall, errno } = error as Partial<NativeError>;
  const known = kinds.find((each) => each === kind);
  if (!known) throw error;
  return new Failure(known, error.message, {
    ...(hint === undefined ? {} : { hint }),
    ...(syscall === undefined ? {} : { syscall }),
    ...(errno === undefined ? {} : { errno }),
  });
}

/** Runs a call of the addon, or waits for one, and throws a Failure where it failed. */
export function failing<T>(call: () => T): T {
  try {
    const result = call();
    if (!(result instanceof Promise)) return result;
    return result.catch((error: unknown) => {
      throw toFailure(error);
    }) as T;
  } catch (error) {
    throw toFailure(error);
  }
}

const upright: Turn = { rotate: 0, flip: false };

/** A picture in a Capture's slab. `dropped` may still grow while it waits in the camera's queue. */
export class SlabFrame implements Frame {
  readonly sequence: number;
  readonly capturedUs: number;
  readonly width: number;
  readonly height: number;
  readonly format: PixelFormat;
  readonly byteLength: number;
  readonly corrupt: boolean;
  readonly index?: number;
  readonly turn: Turn;
  dropped: number;
  readonly #capture: Capture;
  readonly #handle: number;

  /** Takes over the picture's one reference. */
  constructor(capture: Capture, picture: NativePicture, turn: Turn, index?: number) {
    this.#capture = capture;
    this.#handle = picture.handle;
    this.sequence = picture.sequence;
    this.capturedUs = picture.capturedUs;
    this.byteLength = picture.byteLength;
    this.corrupt = picture.corrupt;
    this.dropped = picture.dropped;
    this.format = picture.format as PixelFormat;
    this.turn = picture.upright ? upright : turn;
    const swap = this.turn.rotate % 180 !== 0;
    this.width = swap ? picture.height : picture.width;
    this.height = swap ? picture.width : picture.height;
    if (index !== undefined) this.index = index;
  }

  retain(): Frame {
    failing(() => this.#capture.retain(this.#handle));
    return this;
  }

  release(): void {
    failing(() => this.#capture.release(this.#handle));
  }

  copy(): Uint8Array {
    return failing(() => this.#capture.copy(this.#handle));
  }

  luma(size: { width: number; height: number } & Shared): Promise<Uint8Array> {
    return failing(() => this.#capture.luma(this.#handle, size));
  }

  tensor(spec: TensorSpec): Promise<Tensor> {
    return failing(() => this.#capture.tensor(this.#handle, spec));
  }

  async jpeg(spec: { quality: number; crop?: Rect; maxWidth?: number }): Promise<Frame> {
    const picture = await failing(() => this.#capture.jpeg(this.#handle, spec));
    const { sequence, capturedUs, corrupt, dropped } = this;
    const same = { ...picture, sequence, capturedUs, corrupt, dropped };
    return new SlabFrame(this.#capture, same, upright, this.index);
  }
}

/** A Capture with its slab, and the turn that its pictures need. */
export function openCapture(
  { slabBytes, rotate = 0, flip = false, masks = [] }: SlabOptions,
  addon: Addon,
): { capture: Capture; turn: Turn } {
  const capture = failing(
    () =>
      new addon.Capture({
        slabBytes,
        rotate,
        flip,
        masks: masks.map((polygon) => polygon.flatMap(({ x, y }) => [x, y])),
      }),
  );
  return { capture, turn: { rotate, flip } };
}

/** A slab without a camera: for replayed footage, single pictures and tests. */
export function openSlab(options: SlabOptions, addon = loadAddon()): Slab {
  const { capture, turn } = openCapture(options, addon);
  return {
    put(bytes, { index, dropped = 0, ...label }) {
      const picture = failing(() => capture.put(bytes, label));
      return new SlabFrame(capture, { ...picture, dropped }, turn, index);
    },
    usage: () => failing(() => capture.usage()),
    warning: capture.warning,
    close: () => failing(() => capture.close()),
  };
}

/** Every video node of the system, the unusable ones with the reason and what to do about it. */
export async function listCameras(addon = loadAddon()): Promise<CameraInfo[]> {
  const devices = await failing(() => addon.list());
  return devices.map(({ unusable, ...rest }) =>
    unusable ? { ...rest, unusable: toFailure(unusable) } : rest,
  );
}
