import type { Frame } from "./frame.ts";

/** A frame whose count of lost pictures may still grow. */
type Countable = Frame & { dropped: number };

/** Frames that wait for one slow reader: when they are too many the oldest goes, and is counted. */
export class FrameQueue implements AsyncIterable<Frame> {
  readonly #most: number;
  readonly #frames: Countable[] = [];
  #lost = 0;
  #ended = false;
  #wake: (() => void) | undefined;

  constructor(most = 4) {
    this.#most = most;
  }

  /** Takes over the frame's reference. */
  push(frame: Countable): void {
    if (this.#ended) {
      frame.release();
      return;
    }
    frame.dropped += this.#lost;
    this.#lost = 0;
    this.#frames.push(frame);
    if (this.#frames.length > this.#most) {
      const oldest = this.#frames.shift();
      const next = this.#frames[0];
      if (oldest && next) {
        next.dropped += oldest.dropped + 1;
        oldest.release();
      }
    }
    this.#wake?.();
  }

  /** Counts pictures that never became frames. */
  lose(count: number): void {
    this.#lost += count;
  }

  /** No more will come; what waits is still read, then the reader's loop ends. */
  finish(): void {
    this.#ended = true;
    this.#wake?.();
  }

  /** The reader's loop ends; what waits is released. */
  end(): void {
    this.#ended = true;
    for (const frame of this.#frames.splice(0)) frame.release();
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Frame, void, undefined> {
    for (;;) {
      const frame = this.#frames.shift();
      if (frame) {
        yield frame;
        continue;
      }
      if (this.#ended) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
  }
}
