import type { Frame } from "./camera/camera.ts";

/** Lends the camera's stream to one more who looks: the newest picture, and no queue. */
export type Glance = {
  /** Every frame comes by; takes a reference of its own while somebody looks. */
  offer(frame: Frame): void;
  /** One looker at a time; `close` ends the frames, and what was not taken is released. */
  look(signal: AbortSignal): { frames: AsyncIterable<Frame>; close(): Promise<void> };
};

export function openGlance(): Glance {
  let newest: Frame | undefined;
  let isLooking = false;
  let wake = () => {};
  return {
    offer(frame) {
      if (!isLooking) return;
      newest?.release();
      newest = frame.retain();
      wake();
    },
    look(signal) {
      isLooking = true;
      const isOver = () => signal.aborted || !isLooking;
      async function* frames() {
        while (!isOver()) {
          const frame = newest;
          newest = undefined;
          if (frame) yield frame;
          else {
            await new Promise<void>((resolve) => {
              wake = resolve;
            });
          }
        }
      }
      const close = async () => {
        isLooking = false;
        newest?.release();
        newest = undefined;
        wake();
      };
      signal.addEventListener("abort", () => void close(), { once: true });
      return { frames: frames(), close };
    },
  };
}
