import { randomBytes } from "node:crypto";
import type { Clock } from "../../base/pure/clock.ts";
import { Failure } from "../../base/pure/failure.ts";
import type { OpeningDetails } from "../../protocol/sealed/details.ts";
import type { Frame } from "../camera/camera.ts";
import type { Incident, Sighting } from "../detect/detect.ts";
import { Clip, type Piece, type Recording } from "./clip.ts";
import { type Encoder, type ProbeOptions, probeEncoder } from "./encoder.ts";
import { openIntake } from "./intake.ts";
import { PreRoll, sameShape } from "./preroll.ts";
import { worth } from "./thumbnail.ts";

export { type Encoder, type Piece, type ProbeOptions, probeEncoder, type Recording };

export type RecordStage = {
  /** Takes its own reference of what it keeps; never blocks. */
  offer(frame: Frame): void;
  incident(event: Incident): void;
  /** Records for so long from now on, whoever is there: a visit's own recording lasts as long at least. */
  byHand(ms: number): void;
  /** Ends the clip that is being recorded; its incident goes on in another, without a gap. */
  split(): void;
  /** From here on, also for a clip that is being recorded; its name stays. */
  set(next: Pick<RecordOptions, "preRollMs" | "postRollMs" | "camera">): void;
  /** Ends when the stage is closed. */
  readonly recordings: AsyncIterable<Recording>;
  /** Bytes and pictures held for what may happen. */
  preRoll(): { bytes: number; frames: number };
  /** Ends an open recording cleanly and resolves when its pieces have been taken; twice is well. */
  close(): Promise<void>;
};

export type RecordOptions = {
  encoder: Encoder;
  /** Pictures a second recorded at most; a camera that is slower keeps its own rate. */
  fps: number;
  preRollMs: number;
  /** Counted from when the last person was last seen. */
  postRollMs: number;
  /** A clip's whole length, pre-roll included; the next one follows without a gap. */
  longestMs: number;
  /** Bound of the pre-roll in the slab. */
  preRollBytes: number;
  /** Bound of the live pictures that wait for the encoder; the slab needs room for both. As preRollBytes unless said. */
  queueBytes?: number;
  /** JPEG quality for cameras that deliver raw pictures. */
  quality?: number;
  model: OpeningDetails["model"];
  camera?: string;
  clockTrusted(): boolean;
  clock: Clock;
  signal: AbortSignal;
};

/** Confirming a person takes a few looks: the pre-roll is counted from the first of them. */
const confirmationMs = 4_000;
/** A camera that is silent for so long is gone: what was seen is finished and sealed. */
const silentUs = 3_000_000;
/** Clips that are open, or ended and not yet taken. More means that sealing stands still. */
const mostClips = 3;
const closingMs = 10_000;
/** A better picture of somebody is sent when it is so much better, and not at every step. */
const betterBy = 1.2;
const thumbnailIntervalUs = 2_000_000;
const mostThumbnails = 6;

type Seen = Pick<Incident & { kind: "update" }, "atUs" | "persons" | "count">;

type Open = {
  id: string;
  firstSeenUs: number;
  /** Set once it has ended: when its post-roll does. */
  endUs: number | undefined;
  persons: readonly Sighting[];
  halfSize: boolean;
  bestWorth: number;
  pictured: number;
  picturedUs: number;
  /** After the encoder died: from where, and not before when, the next one goes on. */
  resumeUs: number | undefined;
  retryUs: number;
  deaths: number;
};

/**
 * Frames and incidents go in, recordings come out: one clip for each incident, with what came
 * before it and after it.
 *
 * - An incident that starts while the one before is in its post-roll ends that clip there and
 *   begins one of its own, whose pre-roll overlaps it: separate visits stay separate, each clip
 *   stands alone, no picture is lost, and one encoder is at work at a time.
 * - A clip that reaches its longest is followed by the next of the same incident, which begins with
 *   the very next picture. So it is when the camera's pictures change their size, and when the
 *   encoder is too slow for whole ones ("resized").
 * - If the encoder dies the recording is cut off, and while the incident lasts another follows,
 *   from where the first one's pieces ended.
 * - If the camera goes silent the clip is finished with what there is.
 */
export function openRecord(options: RecordOptions): RecordStage {
  return new Stage(options);
}

class Stage implements RecordStage {
  readonly recordings: AsyncIterable<Recording>;
  #options: RecordOptions;
  readonly #clock: Clock;
  readonly #preRoll: PreRoll;
  readonly #intake;
  readonly #clips = new Set<Clip>();
  readonly #waiting: Recording[] = [];
  readonly #stop = new AbortController();
  #wake: () => void = () => {};
  #incident: Open | undefined;
  #clip: Clip | undefined;
  #newestUs = 0;
  /** Asked for by hand: until then something is recorded. */
  #untilUs = 0;
  #splits = false;
  #arrivedUs: number;
  #closing: Promise<void> | undefined;

  constructor(options: RecordOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#arrivedUs = this.#clock.monotonicUs();
    this.#preRoll = new PreRoll({
      longestMs: options.preRollMs + confirmationMs,
      bytes: options.preRollBytes,
    });
    this.#intake = openIntake({
      fps: options.fps,
      quality: options.quality ?? 85,
      onPicture: (frame) => this.#take(frame),
      onMissed: (capturedUs) => this.#clip?.missed(capturedUs),
      onFull: () => this.#preRoll.yieldHalf(),
    });
    this.recordings = this.#handOver();
    options.signal.addEventListener("abort", () => void this.close(), { once: true });
    void this.#watch();
    if (options.signal.aborted) void this.close();
  }

  offer(frame: Frame): void {
    if (!this.#closing) this.#intake.offer(frame);
  }

  preRoll(): { bytes: number; frames: number } {
    return { bytes: this.#preRoll.bytes, frames: this.#preRoll.frames };
  }

  incident(event: Incident): void {
    if (this.#closing) return;
    switch (event.kind) {
      case "start":
        this.#start(event);
        break;
      case "update":
        this.#update(event);
        break;
      case "end":
        this.#end(event);
    }
  }

  #start(event: Incident & { kind: "start" }): void {
    const { id, firstSeenUs, persons } = event;
    this.#finish("ended");
    this.#incident = {
      id,
      firstSeenUs,
      endUs: undefined,
      persons,
      halfSize: false,
      bestWorth: 0,
      pictured: 0,
      picturedUs: 0,
      resumeUs: undefined,
      retryUs: 0,
      deaths: 0,
    };
    this.#begin(this.#preRoll.since(firstSeenUs - this.#options.preRollMs * 1000));
    this.#see(this.#incident, event);
  }

  #update(event: Incident & { kind: "update" }): void {
    if (this.#incident?.id === event.id) this.#see(this.#incident, event);
  }

  #see(incident: Open, { atUs, persons, count }: Seen): void {
    incident.persons = persons;
    const clip = this.#clip;
    if (!clip) return;
    clip.tracks.add(atUs, persons, count);
    const best = persons.toSorted((a, b) => worth(b) - worth(a))[0];
    const value = best ? worth(best) : 0;
    if (incident.pictured > 0) {
      if (incident.pictured >= mostThumbnails || value < incident.bestWorth * betterBy) return;
      if (atUs - incident.picturedUs < thumbnailIntervalUs) return;
    }
    const frame = this.#preRoll.nearest(atUs);
    if (!frame) return;
    incident.bestWorth = Math.max(incident.bestWorth, value);
    incident.pictured++;
    incident.picturedUs = atUs;
    clip.picture(frame, best?.box);
  }

  set(next: Pick<RecordOptions, "preRollMs" | "postRollMs" | "camera">): void {
    this.#options = { ...this.#options, ...next };
    this.#preRoll.keep(next.preRollMs + confirmationMs);
  }

  byHand(ms: number): void {
    if (this.#closing) return;
    const nowUs = Math.max(this.#newestUs, this.#clock.monotonicUs());
    this.#untilUs = Math.max(this.#untilUs, nowUs + ms * 1000);
    if (this.#incident) {
      const { endUs } = this.#incident;
      if (endUs !== undefined) this.#incident.endUs = Math.max(endUs, this.#untilUs);
      return;
    }
    const id = randomBytes(16).toString("hex");
    const nobody = { atUs: nowUs, persons: [], count: 0 };
    this.#start({
      kind: "start",
      id,
      firstSeenUs: nowUs,
      ...nobody,
      frame: { width: 0, height: 0 },
    });
    if (this.#incident) (this.#incident as Open).endUs = this.#untilUs;
  }

  split(): void {
    this.#splits = this.#clip !== undefined;
  }

  #end({ id, lastSeenUs }: Incident & { kind: "end" }): void {
    if (this.#incident?.id !== id) return;
    const endUs = lastSeenUs + this.#options.postRollMs * 1000;
    this.#incident.endUs = Math.max(endUs, this.#untilUs);
    if (this.#newestUs >= this.#incident.endUs) this.#finish("ended");
  }

  /** One JPEG at the recording rate, its reference ours. */
  #take(frame: Frame): void {
    if (this.#closing) {
      frame.release();
      return;
    }
    this.#arrivedUs = this.#clock.monotonicUs();
    this.#newestUs = frame.capturedUs;
    const endUs = this.#incident?.endUs;
    if (endUs !== undefined && frame.capturedUs > endUs) this.#finish("ended");
    this.#preRoll.push(frame.retain());
    if (this.#incident) this.#record(this.#incident, frame);
    frame.release();
  }

  #record(incident: Open, frame: Frame): void {
    const clip = this.#clip;
    if (!clip) {
      if (this.#clock.monotonicUs() < incident.retryUs) return;
      const fromUs = incident.resumeUs ?? frame.capturedUs;
      incident.resumeUs = undefined;
      this.#begin(this.#preRoll.since(fromUs));
      return;
    }
    const resized = !sameShape(clip.shape, frame);
    const isLong = frame.capturedUs - clip.startUs >= this.#options.longestMs * 1000;
    if (resized || isLong || this.#splits) {
      this.#splits = false;
      clip.end(resized ? "resized" : "longest");
      this.#begin([frame.retain()]);
      return;
    }
    clip.offer(frame.retain());
    if (!clip.wantsSmaller || incident.halfSize) return;
    incident.halfSize = true;
    this.#begin(clip.endForSuccessor("resized"));
  }

  /** Opens a clip of the open incident; without a picture the next one to come opens it. */
  #begin(frames: Frame[]): void {
    this.#clip = undefined;
    const incident = this.#incident;
    const first = frames[0];
    if (!incident || !first) return;
    const { encoder, fps, preRollBytes, queueBytes, model, camera } = this.#options;
    const zones = [...new Set(incident.persons.flatMap((person) => person.zones))];
    const clip = new Clip({
      encoder,
      incident: incident.id,
      frames,
      fps,
      halfSize: incident.halfSize,
      queueBytes: queueBytes ?? preRollBytes,
      firstSeenUs: incident.firstSeenUs,
      about: {
        model,
        zones,
        clockTrusted: this.#options.clockTrusted(),
        ...(camera === undefined ? {} : { camera }),
      },
      clock: this.#clock,
      onDead: (dead) => this.#resume(dead),
    });
    this.#clip = clip;
    this.#clips.add(clip);
    void clip.done.then(() => this.#clips.delete(clip));
    this.#waiting.push(clip.recording);
    this.#wake();
    // Each clip of a long incident has a picture of its own.
    incident.pictured = 0;
    if (this.#clips.size > mostClips) {
      const [oldest] = this.#clips;
      void oldest?.cut(new Failure("stalled", "the recording was not taken in time"));
    }
  }

  #resume(dead: Clip): void {
    const incident = this.#incident;
    if (this.#clip !== dead || !incident) return;
    this.#clip = undefined;
    incident.resumeUs = dead.deliveredUs;
    // The first time at once; an encoder that dies each time is tried less and less often.
    const pauseUs = incident.deaths === 0 ? 0 : Math.min(60, 2 ** incident.deaths) * 1e6;
    incident.retryUs = this.#clock.monotonicUs() + pauseUs;
    incident.deaths++;
  }

  #finish(reason: "ended" | "stopped"): void {
    this.#splits = false;
    this.#clip?.end(reason);
    this.#clip = undefined;
    this.#incident = undefined;
  }

  async #watch(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await this.#clock.sleep(1000, signal).catch(() => {});
      if (this.#clock.monotonicUs() - this.#arrivedUs <= silentUs) continue;
      if (this.#incident?.endUs !== undefined) this.#finish("ended");
      // The incident stays open: pictures that come back are recorded.
      this.#clip?.end("stopped");
      this.#clip = undefined;
    }
  }

  async *#handOver(): AsyncGenerator<Recording, void> {
    for (;;) {
      const recording = this.#waiting.shift();
      if (recording) yield recording;
      else if (this.#closing) return;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#stop.abort();
    this.#finish("stopped");
    // After this turn: #closing is set then, and the reader of recordings sees it.
    await Promise.resolve();
    this.#wake();
    await this.#intake.close();
    this.#preRoll.clear();
    const enough = new AbortController();
    const late = this.#clock.sleep(closingMs, enough.signal).catch(() => {});
    const done = Promise.all([...this.#clips].map((clip) => clip.done));
    await Promise.race([done, late]);
    enough.abort();
    const failure = new Failure("stalled", "the recording was not taken in time");
    await Promise.all([...this.#clips].map((clip) => clip.cut(failure)));
  }
}
