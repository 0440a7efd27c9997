import type { Clock } from "../../base/pure/clock.ts";
import type { Failure } from "../../base/pure/failure.ts";

/** V4L2's four letters. */
export type PixelFormat = "MJPG" | "YUYV" | "NV12" | "RGB3" | "GREY";
/** Pixels of the upright picture. */
export type Rect = { x: number; y: number; width: number; height: number };
/** 0..1 of the upright picture. */
export type Point = { x: number; y: number };
/** How stored bytes become upright: turned clockwise, then mirrored left to right. */
export type Turn = { rotate: 0 | 90 | 180 | 270; flip: boolean };

/**
 * A JPEG is decoded anew for each call, as little of it as the call needs. Who will ask for more of
 * the same frame soon says so: `finest` is the fewest pixels of the picture that lie under one
 * sample of all that, 1 for its full size. It is then decoded once, and kept until another frame
 * is to be shared. Raw formats have no use for it.
 */
export type Shared = { finest?: number };

export type TensorSpec = Shared & {
  /** Default: the whole picture. */
  crop?: Rect;
  width: number;
  height: number;
  order: "BGR" | "RGB";
  /** value = (raw - mean) / deviation, for each channel in `order`. */
  mean: [number, number, number];
  deviation: [number, number, number];
  /** Raw value (0..255) of the border. */
  pad: number;
  /** Filled and returned instead of a new array; 3 · width · height long. */
  into?: Float32Array;
};

/** float32 [1, 3, height, width], and the way back: pictureX = (x - offsetX) / scale + crop.x */
export type Tensor = { data: Float32Array; scale: number; offsetX: number; offsetY: number };

/**
 * One picture in the native slab, reference counted; whoever receives it owns one reference. Use
 * after the last release is Failure("misuse"); after the camera is closed, Failure("gone").
 */
export type Frame = {
  /** The driver's own count. */
  readonly sequence: number;
  /** CLOCK_MONOTONIC. */
  readonly capturedUs: number;
  /** Of the upright picture. */
  readonly width: number;
  readonly height: number;
  readonly format: PixelFormat;
  readonly byteLength: number;
  /** The driver's error flag, or bytes that cannot be the picture they claim to be. */
  readonly corrupt: boolean;
  /** Pictures lost since the one before. */
  readonly dropped: number;
  /** Replayed footage only: the footage's own frame index. */
  readonly index?: number;
  /** What is still to be applied to the stored bytes. */
  readonly turn: Turn;
  /** One more reference to the same picture; returns the frame itself. */
  retain(): Frame;
  release(): void;
  /** A copy of the stored bytes, not turned. For MJPG one JPEG picture. */
  copy(): Uint8Array;
  /** The upright grey picture at exactly this size, averaged, without padding. */
  luma(size: { width: number; height: number } & Shared): Promise<Uint8Array>;
  /** The model's input in one pass: the crop letterboxed, centred. */
  tensor(spec: TensorSpec): Promise<Tensor>;
  /**
   * A new upright MJPG frame in the same slab with the same time. Failure("full") when the slab
   * has no room for it.
   */
  jpeg(spec: { quality: number; crop?: Rect; maxWidth?: number }): Promise<Frame>;
};

export type CameraEvent = {
  /**
   * opened: pictures flow (again). gone, stalled: they stopped, the camera is opened again as soon
   * as it can be. corrupt: the first bad picture after good ones. problem: it works, but not as
   * wished (a control refused, memory not locked), or it still cannot be opened.
   */
  kind: "opened" | "gone" | "stalled" | "corrupt" | "problem";
  failure?: Failure;
};

export type Control = {
  /** As v4l2-ctl shows it: power_line_frequency. */
  name: string;
  type: "integer" | "boolean" | "menu" | "button" | "bitmask";
  least: number;
  most: number;
  step: number;
  standard: number;
  value: number;
  writable: boolean;
  /** False while another control (an automatic one) holds it. */
  active: boolean;
  menu: { value: number; name: string }[];
};

export type SlabUse = { bytes: number; usedBytes: number; frames: number };

export type Camera = {
  /** The stable name. What follows is what was configured; it may change after a replug. */
  readonly source: string;
  readonly format: PixelFormat;
  readonly width: number;
  readonly height: number;
  /** 0: the driver does not say. */
  readonly fps: number;
  /** One reader at a time. A slow one loses older frames (counted in `dropped`), never memory. */
  readonly frames: AsyncIterable<Frame>;
  /** Devices only. What is set here is set again after a replug. */
  readonly controls?: {
    list(): Promise<Control[]>;
    get(name: string): Promise<number>;
    /** Resolves with what the driver made of the value. */
    set(name: string, value: number): Promise<number>;
  };
  slab(): SlabUse;
  /** From every state, and twice. Frames that are still held go stale. */
  close(): Promise<void>;
};

export type SlabOptions = {
  slabBytes: number;
  rotate?: Turn["rotate"];
  flip?: boolean;
  /** Polygons burnt into every picture before anyone sees it. */
  masks?: Point[][];
};

export type CameraOptions = SlabOptions & {
  /** A device, a name under /dev/v4l, a file with footage, or "auto": the first usable device. */
  source: string;
  /** Default 1280 × 720 at 15; the nearest that is offered. */
  width?: number;
  height?: number;
  fps?: number;
  format?: PixelFormat;
  /** Set after each opening, in this order. */
  controls?: Record<string, number>;
  /** Footage only. Speed 1 is its own; Infinity is as fast as it is read, without loss. */
  replay?: { speed?: number; loop?: boolean };
  clock: Clock;
  signal: AbortSignal;
  onEvent?(event: CameraEvent): void;
};

export type CameraInfo = {
  source: string;
  path: string;
  card: string;
  driver: string;
  bus: string;
  /** It has pictures to give, usable here or not; codec and metadata nodes have none. */
  captures: boolean;
  formats: {
    format: string;
    description: string;
    usable: boolean;
    sizes: {
      width: number;
      height: number;
      /** Present when all sizes from here up to width × height are offered, in these steps. */
      least?: { width: number; height: number; stepWidth: number; stepHeight: number };
      /** Frames a second; the fastest and the slowest when `rateStepwise`. */
      rates: number[];
      rateStepwise: boolean;
    }[];
  }[];
  /** Why it cannot be used, with what to do about it. */
  unusable?: Failure;
};

/** A slab without a camera: for replayed footage, single pictures and tests. */
export type Slab = {
  /** Copies a picture in. Failure("full") without room, "corrupt" when it is not what it claims. */
  put(
    bytes: Uint8Array,
    label: {
      format: PixelFormat;
      width: number;
      height: number;
      capturedUs: number;
      sequence: number;
      index?: number;
      dropped?: number;
    },
  ): Frame;
  usage(): SlabUse;
  /** Why the slab could not be locked into memory, if so. */
  readonly warning: string | undefined;
  close(): Promise<void>;
};
