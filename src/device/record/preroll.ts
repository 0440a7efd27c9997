import type { Frame } from "../camera/camera.ts";

/**
 * What came before anybody was there: compressed pictures, held by reference in the camera's slab
 * and bounded by their bytes and by their age. The oldest goes first. It goes on while a clip is
 * being recorded, so that the next incident has its pre-roll too.
 */
export class PreRoll {
  #longestUs: number;
  readonly #limitBytes: number;
  #frames: Frame[] = [];
  #bytes = 0;

  constructor(options: { longestMs: number; bytes: number }) {
    this.#longestUs = options.longestMs * 1000;
    this.#limitBytes = options.bytes;
  }

  /** A longer one fills as time goes on. */
  keep(longestMs: number): void {
    this.#longestUs = longestMs * 1000;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get frames(): number {
    return this.#frames.length;
  }

  /** Takes over the caller's reference. */
  push(frame: Frame): void {
    this.#frames.push(frame);
    this.#bytes += frame.byteLength;
    const oldestUs = frame.capturedUs - this.#longestUs;
    while (this.#bytes > this.#limitBytes || (this.#frames[0]?.capturedUs ?? oldestUs) < oldestUs) {
      this.#dropOldest();
    }
  }

  /** Lets go of the older half: the slab has no room for what is happening now. */
  yieldHalf(): void {
    const keep = this.#frames.length >> 1;
    while (this.#frames.length > keep) this.#dropOldest();
  }

  /**
   * The pictures captured at or after `fromUs`, oldest first, each with a reference that is the
   * caller's. Only the run at the end that has the newest one's size: a camera that was plugged
   * in again may deliver another.
   */
  since(fromUs: number): Frame[] {
    const newest = this.#frames.at(-1);
    if (!newest) return [];
    let first = this.#frames.length;
    for (let i = first - 1; i >= 0; i--) {
      const frame = this.#frames[i];
      if (!frame || frame.capturedUs < fromUs || !sameShape(frame, newest)) break;
      first = i;
    }
    return this.#frames.slice(first).map((frame) => frame.retain());
  }

  /** The picture captured closest to `atUs`, with a reference that is the caller's. */
  nearest(atUs: number): Frame | undefined {
    let best: Frame | undefined;
    for (const frame of this.#frames) {
      const off = Math.abs(frame.capturedUs - atUs);
      if (!best || off < Math.abs(best.capturedUs - atUs)) best = frame;
    }
    return best?.retain();
  }

  clear(): void {
    while (this.#frames.length > 0) this.#dropOldest();
  }

  #dropOldest(): void {
    const oldest = this.#frames.shift();
    if (!oldest) return;
    this.#bytes -= oldest.byteLength;
    oldest.release();
  }
}

export type Shape = Pick<Frame, "width" | "height" | "turn">;

/** True if one encoder can take both without being told of a change. */
export function sameShape(a: Shape, b: Shape): boolean {
  return (
    a.width === b.width &&
    a.height === b.height &&
    a.turn.rotate === b.turn.rotate &&
    a.turn.flip === b.turn.flip
  );
}
