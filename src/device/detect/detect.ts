/**
 * The detection stage. In: frames, as fast as they come; only the newest is kept. Out: incidents,
 * never dropped: a start when somebody came, updates with everybody's box, an end when the visit is
 * over. Motion is analysed five times a second; where something moves the model looks, at most as
 * often as leaves the board half its time. Pictures that cannot be decoded are skipped and counted.
 * When the model fails the stage says so once, goes on trying, and says when it works again.
 */
import { randomBytes } from "node:crypto";
import type { Clock } from "../../base/pure/clock.ts";
import { Failure, isFailure } from "../../base/pure/failure.ts";
import type { Frame, Rect } from "../camera/camera.ts";
import type { Detection } from "./boxes.ts";
import { type Finder, lookAt } from "./look.ts";
import { createMotion, type MotionGate, shareOf } from "./motion.ts";
import { createPresence, type Incident, keepShare } from "./presence.ts";
import type { Found } from "./track.ts";
import type { Zone } from "./zone.ts";

export type { Detection } from "./boxes.ts";
export { installedModels, runDetect } from "./command.ts";
export type { Finder } from "./look.ts";
export { type ModelOptions, openModel, type PersonModel, type Precision } from "./model.ts";
export type { Incident, Sighting } from "./presence.ts";
export type { Zone } from "./zone.ts";

export type DetectEvent = { kind: "problem"; failure: Failure } | { kind: "recovered" };

/** What one look saw; for measuring. */
export type Look = {
  frame: Pick<Frame, "capturedUs" | "index" | "width" | "height">;
  detections: readonly Found[];
  crops: readonly Rect[];
  /** The motion gate could not tell what is fresh. */
  blind: boolean;
  tookMs: number;
};

export type DetectOptions = {
  model: Finder;
  /** None: the whole picture counts. */
  zones: readonly Zone[];
  /** Score from which a box counts, 0..1. */
  threshold: number;
  /** Look closer at what moves and is too small for the whole frame. */
  crops: boolean;
  separateVisitMs: number;
  /** Who has not stirred for so long is scenery; two minutes. */
  stillForGoodMs?: number;
  /** Tells whether the board is slowing itself down because of heat or a weak supply. */
  throttled?(): boolean;
  onEvent?(event: DetectEvent): void;
  onLook?(look: Look): void;
  /** A picture was damaged, as the cable of a webcam does it: nobody was looked for in its grey. */
  onDamaged?(): void;
  /** Something moves in a picture; not what moves everywhere at once, as when a light is switched. */
  onMotion?(): void;
  clock: Clock;
  signal: AbortSignal;
};

export type DetectStage = {
  /** Takes a reference of its own and returns at once. */
  offer(frame: Frame): void;
  /** What counts, from the next look on; a visit that is open goes on. */
  set(next: Pick<DetectOptions, "zones" | "threshold">): void;
  /** Looks at nothing until it is told to go on; a visit that is open ends. */
  pause(isPaused: boolean): void;
  /** One reader. Ends after `close`, with every incident ended. */
  readonly incidents: AsyncIterable<Incident>;
  readonly counts: Readonly<{
    offered: number;
    corrupt: number;
    analysed: number;
    looks: number;
    crops: number;
    failures: number;
  }>;
  /** Resolves when nothing is under way: for footage that is shown faster than time goes. */
  idle(): Promise<void>;
  /** Ends an open incident and waits for a running look. From every state, and twice. */
  close(): Promise<void>;
};

const motionMs = 200;
const leastIntervalMs = 200;
const openIntervalMs = 1_000;
const retryMs = 1_000;
const planeSide = 160;
const mostCrops = 3;
const urgentLooks = 2; // what moves and is still nobody then must not keep crops from others
const mostRegions = 32;
const freshShare = 0.2;
const stirredShare = 0.02;
const silenceMs = 2_000;

/** A board keeps half of its time for everything else, three quarters while it is throttled. */
export function intervalMs(inferenceMs: number, throttled: boolean): number {
  return Math.max(leastIntervalMs, 2 * inferenceMs) * (throttled ? 2 : 1);
}

export function openDetect(options: DetectOptions): DetectStage {
  const { model, zones, separateVisitMs, clock, signal } = options;
  let { threshold } = options;
  const stop = new AbortController();
  const queue = createQueue<Incident>();
  const presence = createPresence({
    ...{ zones, threshold, separateVisitMs, newId: () => randomBytes(16).toString("hex") },
    ...(options.stillForGoodMs === undefined ? {} : { stillForGoodMs: options.stillForGoodMs }),
  });
  const counts = { offered: 0, corrupt: 0, analysed: 0, looks: 0, crops: 0, failures: 0 };

  let newest: Frame | undefined;
  let analysing: Promise<void> | undefined;
  let looking: Promise<void> | undefined;
  let closed: Promise<void> | undefined;
  let isPaused = false;
  const isIdle = () => isPaused || stop.signal.aborted;
  let plane: { width: number; height: number; scale: number; gate: MotionGate } | undefined;
  let frameMs = 0; // between frames, smoothed
  let offeredUs: number | undefined;
  let aliveUs = clock.monotonicUs();
  let analysedUs = Number.NEGATIVE_INFINITY;
  let lookedUs = Number.NEGATIVE_INFINITY;
  let failedUs: number | undefined;
  let cropMs = 0;
  // Since the latest look began: what moved where (pixels of the frame, cells of the plane).
  let regions: Rect[] = [];
  let stirred = new Uint8Array(0);
  let restless = false;
  // What the latest picture and the latest look lead one to expect of the next.
  let moves = false;
  let closer = false;
  let telling = 0; // looks in a row in which the whole frame showed somebody who moves

  /** A frame that comes a quarter of a frame early is on time: the next one would be late. */
  const isDue = (frame: Frame, sinceUs: number, ms: number) =>
    frame.capturedUs - sinceUs >= (ms - Math.min(frameMs, ms) / 4) * 1000;

  const planeFor = ({ width, height }: Frame) => {
    const scale = planeSide / Math.max(width, height);
    const size = {
      width: Math.max(8, Math.round(width * scale)),
      height: Math.max(8, Math.round(height * scale)),
    };
    if (plane?.width !== size.width || plane.height !== size.height || plane.scale !== scale) {
      plane = { ...size, scale, gate: createMotion(size) };
      regions = [];
      stirred = new Uint8Array(0);
    }
    return plane;
  };

  /** Whoever is about to be looked at is decoded once: for motion, the whole frame and the crops. */
  const sharedFor = (frame: Frame): { finest?: number } => {
    const isLikely = moves || restless || presence.undecided || presence.open !== undefined;
    if (looking || !isLikely || !isDue(frame, lookedUs, pauseMs())) return {};
    const { input } = model;
    const whole = Math.max(frame.width / input.width, frame.height / input.height);
    return { finest: closer ? Math.min(1, whole) : whole };
  };

  const pauseMs = () => intervalMs(model.inferenceMs(), options.throttled?.() ?? false);

  const analyse = async (frame: Frame) => {
    const { width, height, scale, gate } = planeFor(frame);
    const luma = await frame.luma({ width, height, ...sharedFor(frame) });
    if (isIdle()) return;
    counts.analysed++;
    const motion = gate.step(luma, frame.capturedUs);
    for (const { x, y, width, height } of motion.regions) {
      if (regions.length === mostRegions) regions.shift();
      regions.push({ x: x / scale, y: y / scale, width: width / scale, height: height / scale });
    }
    if (stirred.length !== motion.moving.length) stirred = new Uint8Array(motion.moving.length);
    for (let i = 0; i < stirred.length; i++) {
      stirred[i] = Math.max(stirred[i] ?? 0, motion.moving[i] ?? 0);
    }
    moves = motion.unsettled || motion.regions.length > 0;
    if (!motion.unsettled && motion.regions.length > 0) options.onMotion?.();
    restless ||= moves;
    if (looking) return;
    const isOpen = presence.open !== undefined;
    const wanted =
      restless || presence.undecided || (isOpen && isDue(frame, lookedUs, openIntervalMs));
    const pause = pauseMs();
    const wait = failedUs === undefined ? pause : Math.max(pause, retryMs);
    if (!wanted || !isDue(frame, lookedUs, wait)) return;
    const { front, columns, unsettled } = motion;
    const scene = { front: front.slice(), stirred, columns, scale, unsettled };
    looking = look(frame.retain(), scene, regions).finally(() => {
      frame.release();
      looking = undefined;
    });
    regions = [];
    stirred = new Uint8Array(stirred.length);
    restless = false;
    lookedUs = frame.capturedUs;
  };

  type Scene = {
    front: Uint8Array;
    stirred: Uint8Array;
    columns: number;
    scale: number;
    unsettled: boolean;
  };

  const look = async (frame: Frame, scene: Scene, moved: readonly Rect[]) => {
    const startedUs = clock.monotonicUs();
    const most = cropsInTime();
    try {
      const { detections, crops, isTelling } = await lookAt(frame, {
        ...{ model, threshold, least: threshold * keepShare, regions: moved },
        ...{ places: presence.places(), mostCrops: most, turn: counts.looks },
        isUrgent: presence.open === undefined && telling < urgentLooks,
      });
      if (isIdle()) return;
      const tookMs = (clock.monotonicUs() - startedUs) / 1000;
      learnCrops(tookMs, crops.length);
      closer = crops.length > 0;
      telling = isTelling ? telling + 1 : 0;
      counts.looks++;
      counts.crops += crops.length;
      if (failedUs !== undefined) {
        failedUs = undefined;
        options.onEvent?.({ kind: "recovered" });
      }
      const found = detections.map((one) => toFound(one, scene));
      const { capturedUs: atUs, width, height } = frame;
      const blind = scene.unsettled;
      options.onLook?.({ frame, detections: found, crops, blind, tookMs });
      for (const event of presence.look({ atUs, found, frame: { width, height }, blind })) {
        queue.push(event);
      }
    } catch (error) {
      if (!stop.signal.aborted) fail(frame, error, false);
    }
  };

  const toFound = ({ box, score }: Detection, scene: Scene): Found => {
    const { front, columns, scale, unsettled } = scene;
    const small = {
      x: box.x * scale,
      y: box.y * scale,
      width: Math.max(1, box.width * scale),
      height: Math.max(1, box.height * scale),
    };
    const fresh = !unsettled && shareOf(front, columns, small) >= freshShare;
    return { box, score, fresh, stirred: shareOf(scene.stirred, columns, small) >= stirredShare };
  };

  const skipDamaged = () => {
    counts.corrupt++;
    options.onDamaged?.();
  };

  /** A picture that cannot be decoded, or went with its camera, is skipped: the model is well. */
  const fail = (frame: Frame, error: unknown, isPicture: boolean) => {
    if (isFailure(error, "corrupt")) return skipDamaged();
    if (isPicture && isFailure(error)) return;
    counts.failures++;
    const isNew = failedUs === undefined;
    failedUs = frame.capturedUs;
    if (!isNew) return;
    const failure =
      error instanceof Failure
        ? error
        : new Failure("refused", "the person detector failed", { cause: error });
    options.onEvent?.({ kind: "problem", failure });
  };

  /** As many crops as fit between this look and the next. */
  const cropsInTime = (): number => {
    if (!options.crops) return 0;
    if (cropMs === 0) return mostCrops;
    const wholeMs = model.inferenceMs();
    const fitting = Math.floor((intervalMs(wholeMs, false) - wholeMs) / cropMs);
    return Math.max(1, Math.min(mostCrops, fitting));
  };

  const learnCrops = (tookMs: number, crops: number) => {
    if (crops === 0) return;
    const eachMs = Math.max(0, tookMs - model.inferenceMs()) / crops;
    cropMs += (eachMs - cropMs) * (cropMs === 0 ? 1 : 0.2);
  };

  const pump = () => {
    const frame = newest;
    if (!frame || analysing || stop.signal.aborted) return;
    newest = undefined;
    // Who was found once is to be confirmed as soon as a look may be, not with the next motion.
    const isFirst = presence.undecided && presence.open === undefined;
    const isAwaited = isFirst && !looking && isDue(frame, lookedUs, pauseMs());
    if (!isAwaited && !isDue(frame, analysedUs, motionMs)) {
      frame.release();
      return;
    }
    analysedUs = frame.capturedUs;
    analysing = analyse(frame)
      .catch((error) => {
        if (!stop.signal.aborted) fail(frame, error, true);
      })
      .finally(() => {
        frame.release();
        analysing = undefined;
        pump();
      });
  };

  /** When pictures stay away, time alone ends a visit. */
  const watchSilence = async () => {
    for (;;) {
      await clock.sleep(openIntervalMs, stop.signal);
      const nowUs = clock.monotonicUs();
      if (looking || analysing || nowUs - aliveUs < silenceMs * 1000) continue;
      for (const event of presence.tick(nowUs)) queue.push(event);
    }
  };
  const watching = watchSilence().catch(() => {});

  const close = async () => {
    stop.abort();
    newest?.release();
    newest = undefined;
    await Promise.all([analysing, looking, watching]);
    for (const event of presence.close(clock.monotonicUs())) queue.push(event);
    queue.end();
  };
  const closeOnce = () => {
    closed ??= close();
    return closed;
  };
  if (signal.aborted) void closeOnce();
  else signal.addEventListener("abort", () => void closeOnce(), { once: true });

  return {
    offer(frame) {
      if (isIdle()) return;
      counts.offered++;
      aliveUs = clock.monotonicUs();
      if (frame.corrupt) return skipDamaged();
      if (offeredUs !== undefined && frame.capturedUs > offeredUs) {
        const ms = (frame.capturedUs - offeredUs) / 1000;
        frameMs += (Math.min(ms, motionMs) - frameMs) * (frameMs === 0 ? 1 : 0.1);
      }
      offeredUs = frame.capturedUs;
      newest?.release();
      newest = frame.retain();
      pump();
    },
    set(next) {
      ({ threshold } = next);
      presence.set(next);
    },
    pause(next) {
      if (next === isPaused || stop.signal.aborted) return;
      isPaused = next;
      // What moved before, and what the scene looked like, is of another time when it goes on.
      plane = undefined;
      offeredUs = undefined;
      if (!isPaused) return;
      newest?.release();
      newest = undefined;
      for (const event of presence.close(clock.monotonicUs())) queue.push(event);
    },
    incidents: queue,
    counts,
    async idle() {
      while (analysing || looking) await Promise.all([analysing, looking]);
    },
    close: closeOnce,
  };
}

/** What was pushed comes out in order, to one reader; nothing is dropped. */
function createQueue<T>(): AsyncIterable<T> & { push(value: T): void; end(): void } {
  const waiting: T[] = [];
  let ended = false;
  let wake = () => {};
  return {
    push(value) {
      if (!ended) waiting.push(value);
      wake();
    },
    end() {
      ended = true;
      wake();
    },
    async *[Symbol.asyncIterator]() {
      for (;;) {
        for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) yield next;
        if (ended) return;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
}
