import type { Clock } from "../base/pure/clock.ts";
import { Failure } from "../base/pure/failure.ts";
import type { Frame } from "./camera/camera.ts";

/** A JPEG, upright. */
export type Picture = { bytes: Uint8Array; width: number; height: number; capturedUs: number };

const patienceMs = 5_000;
const maxWidth = 1920;
/** What a sealed picture may be at most (details.md). */
const mostBytes = 2 ** 20;

/** Hands out one picture of the stream when somebody asks for it. */
export function openSnapshots({ clock }: { clock: Clock }): {
  /** Every frame comes by; takes a reference of its own where one is wanted. */
  offer(frame: Frame): void;
  /** The next picture. Throws Failure "gone" when none comes within five seconds. */
  take(): Promise<Picture>;
} {
  const waiting = new Set<(frame: Frame) => void>();
  return {
    offer(frame) {
      for (const take of waiting) take(frame.retain());
      waiting.clear();
    },
    async take() {
      const enough = new AbortController();
      const next = new Promise<Frame>((resolve) => waiting.add(resolve));
      const late = clock.sleep(patienceMs, enough.signal).then(
        () => undefined,
        () => undefined,
      );
      const frame = await Promise.race([next, late]);
      enough.abort();
      if (!frame) {
        waiting.clear();
        // One that came after all is not ours to keep.
        void next.then((one) => one.release());
        throw new Failure("gone", "the camera gives no picture");
      }
      try {
        return await compress(frame);
      } finally {
        frame.release();
      }
    },
  };
}

async function compress(frame: Frame): Promise<Picture> {
  for (const quality of [85, 60, 30]) {
    const jpeg = await frame.jpeg({ quality, maxWidth });
    try {
      const { width, height, capturedUs } = jpeg;
      if (jpeg.byteLength <= mostBytes) return { bytes: jpeg.copy(), width, height, capturedUs };
    } finally {
      jpeg.release();
    }
  }
  throw new Failure("full", "the picture is too large to be sealed");
}
