import { Failure } from "../../src/base/pure/failure.ts";
import type { Frame, PixelFormat } from "../../src/device/camera/camera.ts";

/** Counts what a native slab would hold, and refuses what a native slab would crash on. */
export class FakeSlab {
  usedBytes = 0;
  mostBytes = 0;
  frames = 0;
  /** How often bytes were taken out, by capture time. */
  readonly copies: number[] = [];
  /** Beyond this, new pictures have no room. */
  limitBytes = Number.POSITIVE_INFINITY;

  /** A picture made of JPEG bytes; with `format` it plays a raw one of `rawBytes`. */
  put(spec: FakeSpec): Frame {
    return new FakeFrame(this, spec);
  }
}

export type FakeSpec = {
  jpeg: Uint8Array;
  width: number;
  height: number;
  capturedUs: number;
  sequence?: number;
  index?: number;
  format?: PixelFormat;
  rawBytes?: number;
  corrupt?: boolean;
  turn?: Frame["turn"];
};

class FakeFrame implements Frame {
  readonly sequence: number;
  readonly capturedUs: number;
  readonly width: number;
  readonly height: number;
  readonly format: PixelFormat;
  readonly byteLength: number;
  readonly corrupt: boolean;
  readonly dropped = 0;
  readonly turn: Frame["turn"];
  readonly #slab: FakeSlab;
  readonly #jpeg: Uint8Array;
  #references = 1;

  constructor(slab: FakeSlab, spec: FakeSpec) {
    this.#slab = slab;
    this.#jpeg = spec.jpeg;
    this.sequence = spec.sequence ?? 0;
    this.capturedUs = spec.capturedUs;
    this.width = spec.width;
    this.height = spec.height;
    this.format = spec.format ?? "MJPG";
    this.corrupt = spec.corrupt ?? false;
    this.turn = spec.turn ?? { rotate: 0, flip: false };
    this.byteLength = spec.rawBytes ?? spec.jpeg.length;
    if (slab.usedBytes + this.byteLength > slab.limitBytes) {
      throw new Failure("full", "the slab has no room");
    }
    slab.usedBytes += this.byteLength;
    slab.mostBytes = Math.max(slab.mostBytes, slab.usedBytes);
    slab.frames++;
  }

  #alive(): void {
    if (this.#references <= 0) throw new Error("a picture was used after its release");
  }

  retain(): Frame {
    this.#alive();
    this.#references++;
    return this;
  }

  release(): void {
    this.#alive();
    if (--this.#references > 0) return;
    this.#slab.usedBytes -= this.byteLength;
    this.#slab.frames--;
  }

  copy(): Uint8Array {
    this.#alive();
    this.#slab.copies.push(this.capturedUs);
    return this.#jpeg.slice();
  }

  async luma(): Promise<Uint8Array> {
    throw new Error("a fake picture has no pixels");
  }

  async tensor(): Promise<never> {
    throw new Error("a fake picture has no pixels");
  }

  async jpeg({ crop, maxWidth }: Parameters<Frame["jpeg"]>[0]): Promise<Frame> {
    this.#alive();
    const whole = crop ?? this;
    const scale = Math.min(1, (maxWidth ?? whole.width) / whole.width);
    return new FakeFrame(this.#slab, {
      jpeg: this.#jpeg,
      width: Math.round(whole.width * scale),
      height: Math.round(whole.height * scale),
      capturedUs: this.capturedUs,
    });
  }
}
