import type { Clock } from "../../base/pure/clock.ts";
import { Failure, isFailure } from "../../base/pure/failure.ts";
import { type Footage, type FootageFormat, probeFootage, readFootage } from "./footage.ts";
import type { Camera, CameraOptions, Frame, PixelFormat, Slab } from "./frame.ts";
import { FrameQueue } from "./queue.ts";
import { type Addon, loadAddon, openSlab } from "./v4l2.ts";

/** A frame as the slab makes it: losses may still be added while it waits. */
type Countable = Frame & { dropped: number };

/**
 * A file with footage, or a picture, as if it were a camera: at its own speed, by its own times,
 * in its own size, through the same slab with its masks and turns. At speed Infinity it comes as
 * fast as it is read, nothing is lost, and times go on by the footage's own. Frames carry the
 * footage's own index. At the end of the file the frames end.
 *
 * Throws Failure("corrupt") with a hint for a file that is no footage, ("refused") for a format
 * that footage cannot be given in.
 */
export async function openReplay(
  options: CameraOptions,
  addon: Addon | (() => Slab) = loadAddon(),
): Promise<Camera> {
  const { source, clock, signal, replay = {} } = options;
  const format = checkFormat(options.format ?? "MJPG");
  const { speed = 1, loop = false } = replay;
  if (!(speed > 0)) throw new Failure("misuse", `footage cannot run at speed ${speed}`);
  const footage = await probeFootage(source);
  const slab = typeof addon === "function" ? addon() : openSlab(options, addon);
  const lying = ((options.rotate ?? 0) / 90) % 2 === 1;
  const stop = new AbortController();
  const abort = () => stop.abort();
  if (signal.aborted) abort();
  else signal.addEventListener("abort", abort, { once: true });

  const pictures = scheduled(source, footage, format, { loop, speed, clock });
  let sequence = 0;
  const put = (picture: Scheduled): Countable =>
    slab.put(picture.bytes, {
      format,
      width: footage.width,
      height: footage.height,
      capturedUs: picture.dueUs,
      sequence: sequence++,
      index: picture.index,
    });

  const queue = new FrameQueue();
  async function pump(): Promise<void> {
    try {
      for await (const picture of pictures) {
        // A timer may fire a fraction of a millisecond early.
        for (let us = 1; us > 0 && !stop.signal.aborted; ) {
          us = picture.dueUs - clock.monotonicUs();
          if (us > 0) await clock.sleep(Math.ceil(us / 1000), stop.signal);
        }
        if (stop.signal.aborted) break;
        try {
          queue.push(put(picture));
        } catch (error) {
          if (!isFailure(error, "full", "corrupt")) throw error;
          queue.lose(1);
          if (error.kind === "corrupt") options.onEvent?.({ kind: "corrupt", failure: error });
        }
      }
    } catch (error) {
      if (isFailure(error) && !stop.signal.aborted) {
        options.onEvent?.({ kind: "problem", failure: error });
      } else if (!stop.signal.aborted) {
        throw error;
      }
    } finally {
      queue.finish();
    }
  }

  async function* pulled(): AsyncGenerator<Frame, void> {
    for await (const picture of pictures) {
      const frame = await patiently(() => put(picture));
      if (!frame) return;
      yield frame;
    }
  }

  /** Nothing is to be lost: while the slab is full it is waited for those who hold its frames. */
  async function patiently(work: () => Frame): Promise<Frame | undefined> {
    while (!stop.signal.aborted) {
      try {
        return work();
      } catch (error) {
        if (!isFailure(error, "full") || slab.usage().frames === 0) throw error;
        await clock.sleep(5, stop.signal).catch(() => {});
      }
    }
    return undefined;
  }

  const asFast = speed === Number.POSITIVE_INFINITY;
  let pumping: Promise<void> | undefined;
  // Footage begins when somebody looks, so that nothing of it is over before a slow start is.
  async function* paced(): AsyncGenerator<Frame, void> {
    pumping ??= pump();
    yield* queue;
  }
  options.onEvent?.({ kind: "opened" });
  let closing: Promise<void> | undefined;
  async function close(): Promise<void> {
    abort();
    signal.removeEventListener("abort", abort);
    queue.end();
    await pumping;
    await pictures.return();
    await slab.close();
  }
  return {
    source,
    format,
    width: lying ? footage.height : footage.width,
    height: lying ? footage.width : footage.height,
    fps: footage.fps,
    frames: asFast ? pulled() : paced(),
    slab: () => slab.usage(),
    close: () => (closing ??= close()),
  };
}

function checkFormat(format: PixelFormat): FootageFormat {
  if (format === "MJPG" || format === "YUYV") return format;
  throw new Failure("refused", `footage is not given as ${format}`, {
    hint: "Leave the format out, or choose MJPG or YUYV",
  });
}

type Scheduled = { index: number; dueUs: number; bytes: Uint8Array };

/** The footage's pictures on the clock's line, once or again and again. */
async function* scheduled(
  source: string,
  footage: Footage,
  format: FootageFormat,
  { loop, speed, clock }: { loop: boolean; speed: number; clock: Clock },
): AsyncGenerator<Scheduled, void> {
  const startUs = clock.monotonicUs();
  const pace = speed === Number.POSITIVE_INFINITY ? 1 : speed;
  // A single picture, shown again and again, comes once a second.
  const stepUs = 1e6 / (footage.fps || 1);
  let originUs = startUs;
  do {
    let lastUs = 0;
    for await (const { index, atUs, bytes } of readFootage(source, footage, format)) {
      lastUs = atUs;
      yield { index, dueUs: Math.round(originUs + atUs / pace), bytes };
    }
    originUs += (lastUs + stepUs) / pace;
  } while (loop);
}
