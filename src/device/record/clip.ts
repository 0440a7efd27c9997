import type { Clock } from "../../base/pure/clock.ts";
import { Failure } from "../../base/pure/failure.ts";
import type {
  ClosingDetails,
  OpeningDetails,
  ThumbnailDetails,
} from "../../protocol/sealed/details.ts";
import type { Frame, Rect } from "../camera/camera.ts";
import { type Encoder, type EncoderRun, outputSize } from "./encoder.ts";
import { Load, ThinnedList } from "./load.ts";
import type { Fragment, InitSegment } from "./mp4.ts";
import type { Shape } from "./preroll.ts";
import { type Thumbnail, takeThumbnails } from "./thumbnail.ts";
import { Tracks } from "./tracks.ts";

export type Piece =
  /** Before all fragments: ftyp and moov. `timescale` counts the ticks a second of the fragments' own times. */
  | {
      kind: "init";
      bytes: Uint8Array;
      codec: string;
      width: number;
      height: number;
      timescale: number;
    }
  /** moof and mdat of half a second at most; each second begins with one whose first picture is a key frame. */
  | { kind: "fragment"; bytes: Uint8Array; startUs: number; durationUs: number; key: boolean }
  /** A JPEG. The first ones come as soon as they are taken, before the first fragment; later ones are better. */
  | ({ kind: "thumbnail"; bytes: Uint8Array } & ThumbnailDetails)
  | { kind: "closing"; closing: ClosingDetails };

export type Recording = {
  readonly incident: string;
  readonly opening: OpeningDetails;
  /**
   * Pull-driven, to be taken once: what is not pulled holds up the encoder, and in the end thins
   * the clip. Ends after `closing`; throws a Failure when the recording was cut off (the encoder
   * died): the pieces that came before stand. To break off early is to give the clip up.
   */
  readonly pieces: AsyncIterable<Piece>;
};

export type ClipOptions = {
  encoder: Encoder;
  incident: string;
  /** JPEG pictures it begins with, at least one, of one shape: never thinned. Their references become the clip's. */
  frames: Frame[];
  fps: number;
  halfSize: boolean;
  /** Live pictures that may wait for the encoder, in bytes. */
  queueBytes: number;
  /** Where the person was first seen. */
  firstSeenUs: number;
  about: Pick<OpeningDetails, "camera" | "model" | "clockTrusted" | "zones">;
  clock: Clock;
  /** The encoder went although pictures were still to come. */
  onDead(clip: Clip): void;
};

type Reason = ClosingDetails["reason"];
type Segment = InitSegment | Fragment;

/** How long the first fragment waits for the picture that a notification shows. */
const thumbnailPatienceMs = 300;

/** One clip on its way: pictures go in as they are captured, pieces come out as they are pulled. */
export class Clip {
  readonly recording: Recording;
  readonly startUs: number;
  readonly shape: Shape;
  readonly tracks = new Tracks();
  /** Resolves when its last piece was taken, or when none will come any more. */
  readonly done: Promise<void>;

  readonly #options: ClipOptions;
  readonly #run: EncoderRun;
  readonly #load = new Load();
  readonly #thinned = new ThinnedList();
  readonly #queue: Frame[] = [];
  readonly #thumbnails: Thumbnail[] = [];
  readonly #fed = new Signal();
  readonly #pictured = new Signal();
  #finish: () => void = () => {};
  /** Pictures of the beginning that have not been fed yet. */
  #beginning: number;
  #liveBytes = 0;
  #fedUs: number;
  #skip = false;
  #reason: Reason | undefined;
  #over = false;
  #cutOff: Failure | undefined;
  #wantsSmaller = false;
  #endUs: number;
  #samples = 0;
  #picturing: Promise<void> = Promise.resolve();

  constructor(options: ClipOptions) {
    const first = options.frames[0];
    if (!first) throw new Failure("misuse", "a clip begins with a picture");
    this.#options = options;
    this.shape = { width: first.width, height: first.height, turn: first.turn };
    this.startUs = first.capturedUs;
    this.#fedUs = first.capturedUs;
    this.#endUs = first.capturedUs;
    this.#queue.push(...options.frames);
    this.#beginning = options.frames.length;
    this.done = new Promise((resolve) => {
      this.#finish = resolve;
    });
    const input = encoderInput(this.shape, options);
    this.#run = startRun(options.encoder, input);
    const { incident } = options;
    const opening = describe(options, this.startUs, outputSize(input));
    this.recording = { incident, opening, pieces: this.#deliver() };
    void this.#run.exited.then(() => {
      if (!this.#reason && !this.#over) options.onDead(this);
    });
    // The slab may be closed under us: that is this clip's end, not the program's.
    void this.#feed().catch((cause) =>
      this.cut(new Failure("gone", "the pictures are gone", { cause })),
    );
  }

  /** The end of what has been handed over: what comes after it would be lost with the encoder. */
  get deliveredUs(): number {
    return this.#endUs;
  }

  /** True when even every second picture is too much for the encoder. */
  get wantsSmaller(): boolean {
    return this.#wantsSmaller;
  }

  /** Takes over the caller's reference. */
  offer(frame: Frame): void {
    if (this.#reason || this.#over) {
      frame.release();
      return;
    }
    const behindUs = frame.capturedUs - this.#fedUs;
    const advice = this.#beginning > 0 ? "all" : this.#load.judge(frame.capturedUs, behindUs);
    if (advice === "all") this.#skip = false;
    else this.#skip = !this.#skip;
    this.#wantsSmaller = advice === "smaller";
    const full = this.#liveBytes + frame.byteLength > this.#options.queueBytes;
    if (this.#skip || full) {
      this.#thinned.add(this.#skip ? "half-rate" : "dropped", frame.capturedUs);
      frame.release();
      return;
    }
    this.#liveBytes += frame.byteLength;
    this.#queue.push(frame);
    this.#fed.raise();
  }

  /** A picture that could not even be offered. */
  missed(capturedUs: number): void {
    this.#thinned.add("dropped", capturedUs);
  }

  /** Takes thumbnails in the background; `frame` is released when they are done. */
  picture(frame: Frame, person?: Rect): void {
    this.#picturing = this.#picturing.then(async () => {
      try {
        if (this.#over) return;
        this.#thumbnails.push(...(await takeThumbnails(frame, person)));
        this.#pictured.raise();
      } catch {
        // A clip without this picture is still a clip; the next better one is tried again.
      } finally {
        frame.release();
      }
    });
  }

  /** No more pictures. The pieces go on until what was fed has come out. */
  end(reason: Reason): void {
    this.#reason ??= reason;
    this.#fed.raise();
  }

  /** Ends, and gives back what the encoder has not been fed yet, references included. */
  endForSuccessor(reason: Reason): Frame[] {
    const rest = this.#queue.splice(0);
    this.#beginning = 0;
    this.#liveBytes = 0;
    this.end(reason);
    return rest;
  }

  /** Cuts it off: its pieces end with `failure`. */
  async cut(failure: Failure): Promise<void> {
    this.#cutOff ??= failure;
    await this.#leave();
  }

  async #feed(): Promise<void> {
    while (!this.#over) {
      const frame = this.#queue.shift();
      if (frame) {
        const { capturedUs, byteLength } = frame;
        const bytes = frame.copy();
        frame.release();
        if (this.#beginning > 0) this.#beginning--;
        else this.#liveBytes -= byteLength;
        await this.#run.write(bytes, capturedUs - this.startUs);
        this.#fedUs = capturedUs;
      } else if (this.#reason) {
        break;
      } else {
        await this.#fed.wait();
      }
    }
    this.#run.end();
  }

  async *#deliver(): AsyncGenerator<Piece, void> {
    const segments = this.#run.segments;
    let next: Promise<IteratorResult<Segment, void>> | undefined;
    let begun = false;
    try {
      for (;;) {
        // Pictures do not wait for the encoder: its start takes longer than they do.
        const thumbnail = this.#thumbnails.shift();
        if (thumbnail) {
          yield thumbnail;
          continue;
        }
        next ??= quiet(segments.next());
        const result = await Promise.race([next, this.#pictured.wait()]);
        if (!result) continue;
        next = undefined;
        if (result.done) break;
        if (!begun && result.value.kind === "fragment") {
          begun = true;
          await this.#firstPicture();
          yield* this.#thumbnails.splice(0);
        }
        yield this.#toPiece(result.value);
      }
      await this.#picturing;
      yield* this.#thumbnails.splice(0);
      yield { kind: "closing", closing: this.#closing() };
    } catch (error) {
      throw this.#cutOff ?? error;
    } finally {
      await this.#leave();
    }
  }

  /** The picture must be there when the notification arrives; it must not hold up the clip. */
  async #firstPicture(): Promise<void> {
    const enough = new AbortController();
    const patience = this.#options.clock.sleep(thumbnailPatienceMs, enough.signal).catch(() => {});
    await Promise.race([this.#picturing, patience]);
    enough.abort();
  }

  #toPiece(segment: Segment): Piece {
    if (segment.kind === "init") {
      this.#timescale = segment.timescale;
      return segment;
    }
    const toUs = (ticks: number) => Math.round((ticks * 1e6) / this.#timescale);
    const { bytes, key, samples } = segment;
    const startUs = this.startUs + toUs(segment.start);
    const durationUs = toUs(segment.duration);
    this.#endUs = startUs + durationUs;
    this.#samples += samples;
    return { kind: "fragment", bytes, startUs, durationUs, key };
  }
  #timescale = 1e6;

  #closing(): ClosingDetails {
    const { halfSize } = this.#options;
    const smaller = { fromUs: this.startUs, toUs: this.#endUs, how: "half-size" } as const;
    return {
      endUs: this.#endUs,
      durationMs: Math.round((this.#endUs - this.startUs) / 1000),
      frames: this.#samples,
      thinned: [...(halfSize ? [smaller] : []), ...this.#thinned.all()],
      ...this.tracks.summary(),
      reason: this.#reason ?? "stopped",
    };
  }

  async #leave(): Promise<void> {
    this.#over = true;
    for (const frame of this.#queue.splice(0)) frame.release();
    this.#thumbnails.length = 0;
    this.#fed.raise();
    await this.#run.kill();
    this.#finish();
  }
}

function encoderInput(first: Shape, { fps, halfSize }: ClipOptions) {
  const lying = first.turn.rotate % 180 !== 0;
  const [width, height] = lying ? [first.height, first.width] : [first.width, first.height];
  return { width, height, fps, turn: first.turn, halfSize };
}

function describe(
  { incident, fps, firstSeenUs, about, clock, encoder }: ClipOptions,
  startUs: number,
  size: { width: number; height: number },
): OpeningDetails {
  return {
    ...about,
    startUs,
    wallMs: Math.round(clock.wallMs() - (clock.monotonicUs() - startUs) / 1000),
    incident,
    ...size,
    fps,
    codec: encoder.codec,
    preRollMs: Math.max(0, Math.round((firstSeenUs - startUs) / 1000)),
  };
}

/** An encoder that cannot even be started is told like one that died: by the pieces. */
function startRun(encoder: Encoder, input: Parameters<Encoder["start"]>[0]): EncoderRun {
  try {
    return encoder.start(input);
  } catch (failure) {
    return {
      pid: undefined,
      write: async () => {},
      end() {},
      segments: fail(failure),
      exited: Promise.resolve(),
      kill: async () => {},
    };
  }
}

// biome-ignore lint/correctness/useYield: it fails before there is anything to give
async function* fail(failure: unknown): AsyncGenerator<Segment, void> {
  throw failure;
}

/** The same promise, whose rejection is nobody's crash when it is not awaited in the end. */
function quiet<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}

/** Something happened; whoever waits is woken, and who comes later does not wait. */
class Signal {
  #raised = false;
  #wake: (() => void) | undefined;
  #waiting: Promise<void> | undefined;

  raise(): void {
    this.#raised = true;
    this.#wake?.();
  }

  /** Resolves when raised since the last time; for one waiter at a time. */
  async wait(): Promise<void> {
    if (!this.#raised) {
      this.#waiting ??= new Promise((resolve) => {
        this.#wake = resolve;
      });
      await this.#waiting;
    }
    this.#raised = false;
    this.#waiting = undefined;
    this.#wake = undefined;
  }
}
