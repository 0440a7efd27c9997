// What the addon exports. Only src/device/camera/v4l2.ts loads it; it checks all arguments and
// turns errors into Failure.

/** Thrown and rejected: an Error with what Failure needs. */
export type NativeError = Error & {
  kind: string;
  hint?: string;
  syscall?: string;
  errno?: string;
};

export type NativeSize = {
  width: number;
  height: number;
  /** Present when every size between it and width × height is offered, in these steps. */
  least?: { width: number; height: number; stepWidth: number; stepHeight: number };
  /** Frames a second; fastest and slowest only when `rateStepwise`; empty: not enumerated. */
  rates: number[];
  rateStepwise: boolean;
};

export type NativeDevice = {
  /** The name that means the same camera after a replug. */
  source: string;
  path: string;
  card: string;
  driver: string;
  bus: string;
  /** It has pictures to give, usable here or not. */
  captures: boolean;
  formats: { format: string; description: string; usable: boolean; sizes: NativeSize[] }[];
  unusable?: NativeError;
};

export type NativeMode = {
  source: string;
  path: string;
  card: string;
  driver: string;
  format: string;
  width: number;
  height: number;
  /** 0: the driver does not say. */
  fps: number;
};

export type NativeControl = {
  name: string;
  type: "integer" | "boolean" | "menu" | "button" | "bitmask";
  least: number;
  most: number;
  step: number;
  standard: number;
  value: number;
  writable: boolean;
  active: boolean;
  menu: { value: number; name: string }[];
};

/** One picture. Its receiver owns one reference of `handle`; 0: it could not be masked, and is lost. */
export type NativePicture = {
  handle: number;
  sequence: number;
  capturedUs: number;
  byteLength: number;
  corrupt: boolean;
  dropped: number;
  format: string;
  /** As stored: not turned, unless `upright`. */
  width: number;
  height: number;
  upright: boolean;
};

type Crop = { x: number; y: number; width: number; height: number };

/** A slab, a pixel thread and at most one open camera. */
export declare class Capture {
  /** @param options.masks polygons as x, y, x, y, … in 0..1 of the upright picture */
  constructor(options: {
    slabBytes: number;
    rotate?: number;
    flip?: boolean;
    masks?: number[][];
  });
  /** Why the slab could not be locked into memory, if so. */
  readonly warning: string | undefined;

  /** `onEnd` comes once when the stream fails; the camera is then closed and `open` works again. */
  open(
    wish: { source: string; width: number; height: number; fps: number; format?: string },
    onFrame: (picture: NativePicture) => void,
    onEnd: (error: NativeError) => void,
  ): Promise<NativeMode>;
  stop(): Promise<void>;
  /** From every state, twice. Jobs that have not begun are refused; all handles go stale. */
  close(): Promise<void>;

  controls(): Promise<NativeControl[]>;
  getControl(name: string): Promise<number>;
  /** Resolves with what the driver made of the value. */
  setControl(name: string, value: number): Promise<number>;

  put(
    bytes: Uint8Array,
    label: {
      format: string;
      width: number;
      height: number;
      capturedUs: number;
      sequence: number;
    },
  ): NativePicture;
  retain(handle: number): void;
  release(handle: number): void;
  copy(handle: number): Uint8Array;
  usage(): { bytes: number; usedBytes: number; frames: number; largestFreeBytes: number };

  luma(
    handle: number,
    size: { width: number; height: number; finest?: number },
  ): Promise<Uint8Array>;
  tensor(
    handle: number,
    spec: {
      crop?: Crop;
      width: number;
      height: number;
      order: "BGR" | "RGB";
      mean: number[];
      deviation: number[];
      pad: number;
      finest?: number;
      into?: Float32Array;
    },
  ): Promise<{ data: Float32Array; scale: number; offsetX: number; offsetY: number }>;
  jpeg(
    handle: number,
    spec: { quality: number; crop?: Crop; maxWidth?: number },
  ): Promise<NativePicture>;
}

/** All video nodes, the unusable ones with the reason. */
export declare function list(): Promise<NativeDevice[]>;

/** Gives back what malloc keeps free, and has it keep little of the process's memory from now on. */
export declare function trim(): void;

/** What the fake driver does; only in the fake variant. */
export type Fake = {
  plug(camera: {
    path: string;
    byId?: string;
    byPath?: string;
    card?: string;
    driver?: string;
    bus?: string;
    kind?: "capture" | "output" | "multiplanar" | "pipeline" | "read";
    personality?: "uvc" | "libcamera";
    /** The most buffers it gives. */
    buffers?: number;
    formats: {
      format: string;
      sizes: {
        width: number;
        height: number;
        leastWidth?: number;
        leastHeight?: number;
        stepWidth?: number;
        stepHeight?: number;
        rates?: number[];
        rateStepwise?: boolean;
      }[];
    }[];
    controls?: {
      name: string;
      type: "integer" | "boolean" | "menu";
      least?: number;
      most?: number;
      standard?: number;
      writable?: boolean;
      menu?: string[];
    }[];
  }): void;
  unplug(path: string): boolean;
  /** The same camera again, its controls at their standard, under another node if one is named. */
  replug(path: string, node?: string): boolean;
  /** The call fails with `errno`, `times` times (1) after it went well `after` times (0). */
  fail(
    path: string,
    call: string,
    errno: string,
    when?: { after?: number; times?: number },
  ): boolean;
  /** `fps`: 0 only when pushed, above 10000 as fast as buffers come back. */
  behave(
    path: string,
    behaviour: {
      fps?: number;
      stalled?: boolean;
      errorEvery?: number;
      bytesUsed?: number;
      monotonic?: boolean;
      quantization?: number;
      answerFormat?: string;
    },
  ): boolean;
  feed(path: string, pictures: Uint8Array[]): boolean;
  /** One picture now; false when no buffer was free. */
  push(
    path: string,
    picture?: {
      picture?: number;
      error?: boolean;
      bytesUsed?: number;
      skip?: number;
      stampUs?: number;
      index?: number;
    },
  ): boolean;
  state(path: string): {
    opens: number;
    mapped: number;
    streaming: boolean;
    queued: number;
    format: string;
    width: number;
    height: number;
    fps: number;
    calls: Record<string, number>;
    controls: Record<string, number>;
  };
  /** Processor time of a bare reader in C for so many pictures: what capture is held against. */
  read(
    path: string,
    wish: { format: string; width: number; height: number; pictures: number },
  ): { cpuUs: number; bytes: number };
  reset(): void;
};

export type Addon = { Capture: typeof Capture; list: typeof list; trim: typeof trim; fake?: Fake };
