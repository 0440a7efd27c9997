import { Failure } from "../../base/pure/failure.ts";
import type { Camera, CameraEvent, CameraOptions, PixelFormat } from "./frame.ts";
import { FrameQueue } from "./queue.ts";
import { type Addon, failing, listCameras, openCapture, SlabFrame, toFailure } from "./v4l2.ts";

/** Waiting between two attempts to open a camera again: doubled each time, and spread by a quarter. */
const firstWaitMs = 250;
const longestWaitMs = 10_000;
/** No picture for so long means that the stream hangs; the first one may take longer. */
const stallMs = 5_000;
const firstPictureMs = 10_000;

/**
 * Opens a device and keeps it open: a camera that goes, hangs or refuses is opened again by its
 * stable name until the signal aborts, with its controls set as before.
 */
export async function openLive(options: CameraOptions, addon: Addon): Promise<Camera> {
  const { clock, signal, width = 1280, height = 720, fps = 15, format } = options;
  if (signal.aborted) throw signal.reason;
  const { capture, turn } = openCapture(options, addon);
  const queue = new FrameQueue();
  const ending = new AbortController();
  const controls = new Map(Object.entries(options.controls ?? {}));
  const emit = (event: CameraEvent) => options.onEvent?.(event);
  let lastUs = 0;
  let limitMs = firstPictureMs;
  let corrupt = false;
  let mending = false;
  let watching = new AbortController();

  const take = (picture: Parameters<Parameters<typeof capture.open>[1]>[0]) => {
    lastUs = clock.monotonicUs();
    limitMs = stallMs;
    if (picture.corrupt && !corrupt) {
      const failure = new Failure("corrupt", `${mode.source} delivered a damaged picture`);
      emit({ kind: "corrupt", failure });
    }
    corrupt = picture.corrupt;
    if (picture.handle === 0) queue.lose(picture.dropped + 1);
    else queue.push(new SlabFrame(capture, picture, turn));
  };

  const open = async (source: string) => {
    const wish = { source, width, height, fps, ...(format ? { format } : {}) };
    return await failing(() => capture.open(wish, take, (error) => void mend(toFailure(error))));
  };

  const setControls = async () => {
    for (const [name, value] of controls) {
      try {
        await failing(() => capture.setControl(name, value));
      } catch (error) {
        emit({ kind: "problem", failure: toFailure(error) });
      }
    }
  };

  const started = async () => {
    lastUs = clock.monotonicUs();
    limitMs = firstPictureMs;
    await setControls();
    emit({ kind: "opened" });
    watching = new AbortController();
    void watch(watching.signal);
  };

  /** Stops a stream that hangs, and has it opened again. */
  const watch = async (over: AbortSignal) => {
    for (;;) {
      const leftMs = limitMs - (clock.monotonicUs() - lastUs) / 1000;
      if (leftMs <= 0) break;
      const slept = await clock.sleep(Math.max(leftMs, 1), over).then(
        () => true,
        () => false,
      );
      if (!slept) return;
    }
    await capture.stop();
    const message = `${mode.source} delivered no picture for ${limitMs / 1000} s`;
    const hint = "check its cable and its power; unplug it and plug it in again";
    await mend(new Failure("stalled", message, { hint }));
  };

  /** Once for each end of a stream, though both its error and the watch may call. */
  const mend = async (failure: Failure) => {
    watching.abort();
    if (mending || ending.signal.aborted) return;
    mending = true;
    const kind = failure.kind === "gone" || failure.kind === "stalled" ? failure.kind : "problem";
    emit({ kind, failure });
    let told = failure.message;
    for (let waitMs = firstWaitMs; ; waitMs = Math.min(2 * waitMs, longestWaitMs)) {
      try {
        await clock.sleep(waitMs * (0.75 + Math.random() / 2), ending.signal);
        mode = await open(mode.source);
        mending = false;
        return await started();
      } catch (error) {
        if (ending.signal.aborted) return;
        const again = toFailure(error);
        if (again.message !== told) emit({ kind: "problem", failure: again });
        told = again.message;
      }
    }
  };

  /** No more pictures; those that are held stay good until `close`. */
  const end = () => {
    ending.abort();
    watching.abort();
    queue.end();
    return failing(() => capture.stop());
  };

  let mode: Awaited<ReturnType<typeof open>>;
  signal.addEventListener("abort", end, { once: true });
  try {
    mode = await openFirst(await sourcesOf(options.source, addon), open);
    if (signal.aborted) throw signal.reason;
  } catch (error) {
    signal.removeEventListener("abort", end);
    await capture.close();
    throw signal.aborted ? signal.reason : error;
  }
  if (capture.warning) {
    emit({ kind: "problem", failure: new Failure("denied", capture.warning) });
  }
  await started();

  const swap = turn.rotate % 180 !== 0;
  return {
    get source() {
      return mode.source;
    },
    get format() {
      return mode.format as PixelFormat;
    },
    get width() {
      return swap ? mode.height : mode.width;
    },
    get height() {
      return swap ? mode.width : mode.height;
    },
    get fps() {
      return mode.fps;
    },
    frames: queue,
    controls: {
      list: () => failing(() => capture.controls()),
      get: (name) => failing(() => capture.getControl(name)),
      set: async (name, value) => {
        const got = await failing(() => capture.setControl(name, value));
        controls.delete(name);
        controls.set(name, value);
        return got;
      },
    },
    slab: () => failing(() => capture.usage()),
    async close() {
      signal.removeEventListener("abort", end);
      await end();
      await failing(() => capture.close());
    },
  };
}

/** The device that was named, or for "auto" every usable one in the order of their numbers. */
async function sourcesOf(source: string, addon: Addon): Promise<string[]> {
  if (source !== "auto") return [source];
  const all = await listCameras(addon);
  const usable = all.filter(({ unusable }) => !unusable).map((info) => info.source);
  if (usable.length > 0) return usable;
  const why =
    all.find(({ unusable }) => unusable?.kind === "denied") ?? all.find(({ captures }) => captures);
  throw (
    why?.unusable ??
    new Failure("absent", "there is no camera", {
      hint: "plug one in; obscura-camera doctor shows what was found",
    })
  );
}

async function openFirst<T>(sources: string[], open: (source: string) => Promise<T>): Promise<T> {
  let first: unknown;
  for (const source of sources) {
    try {
      return await open(source);
    } catch (error) {
      first ??= error;
    }
  }
  throw first;
}
