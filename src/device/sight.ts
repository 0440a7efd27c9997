import { join } from "node:path";
import type { Log } from "../base/node/log.ts";
import type { Supervisor } from "../base/node/program.ts";
import type { Clock } from "../base/pure/clock.ts";
import { explain, Failure } from "../base/pure/failure.ts";
import { awaitCamera } from "./arrival.ts";
import { type Frame, openCamera, trimMemory } from "./camera/camera.ts";
import { type Config, cameraOptions } from "./config.ts";
import { installedModels, openDetect, openModel } from "./detect/detect.ts";
import type { Health } from "./health.ts";
import type { Heat } from "./heat.ts";
import type { Home } from "./home.ts";
import type { Mail } from "./mail/mail.ts";
import type { Modes } from "./mode.ts";
import {
  type Encoder,
  openRecord,
  type ProbeOptions,
  probeEncoder,
  type RecordStage,
} from "./record/record.ts";
import { type ServiceEvent, tellCamera, tellDamaged, tellIncident, tellModel } from "./report.ts";
import type { Sealer } from "./seal/seal.ts";
import { recordSettings, type Tuning } from "./tuning.ts";

export type Stage = { close(): Promise<void> };

/** Stops in reverse; what fails to stop does not keep the others from it. */
export async function closeAll(stages: readonly Stage[], log: Log): Promise<void> {
  for (const stage of stages.toReversed())
    await stage.close().catch((error) => log.error(explain(error)));
}

export type SightOptions = {
  state: string;
  modes: Modes;
  tuning: Tuning;
  sealer: Pick<Sealer, "clip">;
  home: Pick<Home, "incident" | "motion">;
  mail: Pick<Mail, "watch">;
  health: Health;
  supervisor: Supervisor;
  /** Every frame comes by each; they take references of their own. */
  lookers: readonly { offer(frame: Frame): void }[];
  clockTrusted(): boolean;
  heat(): Heat;
  emit(event: ServiceEvent): void;
  onProblem(error: unknown): void;
  clock: Clock;
  /** The service ends. */
  signal: AbortSignal;
  logs(stage: string): Log;
};

/** All that sees: the camera, and what pictures pass on their way into the sealer. */
export type Sight = {
  /**
   * Sees until the footage or the service ends; while there is privacy it waits, and nothing of it is
   * open. Throws when a stage cannot start.
   */
  run(): Promise<void>;
  /** What runs now; undefined in privacy, and while a camera is waited for. */
  readonly seeing: Seeing | undefined;
  /** False from when a camera is being opened until it, and all that held a picture of it, is closed. */
  readonly isShut: boolean;
  /** Privacy began: nothing is seen from here on; resolves when all is closed. */
  shut(): Promise<void>;
  /** Privacy is over. */
  open(): void;
};

export type Seeing = {
  record: Pick<RecordStage, "split" | "byHand">;
  model: { id: string; precision: "fp32" | "int8" };
};

const privacyText = "privacy: the camera is shut";

export function openSight(options: SightOptions): Sight {
  const { modes, health, supervisor, emit, signal, logs } = options;
  let shutter = new AbortController();
  let seeing: Seeing | undefined;
  let isShut = true;
  let wake = () => {};
  const waiting: (() => void)[] = [];
  let rounds = 0;
  const encoderFor = rememberEncoder((name, failure) =>
    logs("record").warn(`${name}: ${explain(failure)}`),
  );
  signal.addEventListener("abort", () => wake(), { once: true });

  const pause = async () => {
    health.wait("private", privacyText);
    health.fault("camera");
    logs("camera").warn(privacyText);
    emit({ event: "privacy", isOn: true });
    supervisor.tell("ready");
    while (modes.now().privacy && !signal.aborted) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    if (signal.aborted) return;
    health.wait("starting", "starting");
    logs("camera").warn("privacy is over: the camera is opened");
    emit({ event: "privacy", isOn: false });
  };
  const look = async () => {
    shutter = new AbortController();
    const over = AbortSignal.any([signal, shutter.signal]);
    isShut = false;
    rounds += 1;
    try {
      await see({ ...options, over, isAgain: rounds > 1, encoderFor }, (next) => {
        seeing = next;
      });
    } catch (error) {
      // What was being opened when privacy began was not opened.
      if (!shutter.signal.aborted || signal.aborted) throw error;
    } finally {
      seeing = undefined;
      isShut = true;
      for (const resolve of waiting.splice(0)) resolve();
    }
  };
  return {
    async run() {
      while (!signal.aborted) {
        if (modes.now().privacy) await pause();
        else {
          await look();
          if (!shutter.signal.aborted) return;
        }
      }
    },
    get seeing() {
      return seeing;
    },
    get isShut() {
      return isShut;
    },
    async shut() {
      if (isShut) return;
      const closed = new Promise<void>((resolve) => waiting.push(resolve));
      shutter.abort(new Failure("gone", privacyText));
      await closed;
    },
    open: () => wake(),
  };
}

type Round = SightOptions & {
  /** Ends this look: the service ends, or privacy begins. */
  over: AbortSignal;
  isAgain: boolean;
  encoderFor(input: EncoderWish, signal: AbortSignal): Promise<Encoder>;
};

type EncoderWish = Pick<ProbeOptions, "width" | "height" | "fps">;

/** What was tried once is taken again when privacy is over: an encoder that hangs would cost a trial each time. */
function rememberEncoder(onStalled: NonNullable<ProbeOptions["onStalled"]>): Round["encoderFor"] {
  const tried = new Map<string, Encoder>();
  return async (input, signal) => {
    const key = JSON.stringify(input);
    const encoder = tried.get(key) ?? (await probeEncoder({ ...input, signal, onStalled }));
    tried.set(key, encoder);
    return encoder;
  };
}

/** From the opening of the camera until all that saw it is closed. */
async function see(round: Round, onSeeing: (seeing: Seeing) => void): Promise<void> {
  const end = new AbortController();
  const stages: Stage[] = [];
  try {
    await runStages(round, { end: end.signal, stages, onSeeing });
  } finally {
    round.tuning.attach(undefined);
    end.abort(new Failure("gone", "the camera is being closed"));
    await closeAll(stages, round.logs("stop"));
  }
}

/** Fills `stages` in the order in which they opened, so that they are closed also from half-way. */
async function runStages(
  round: Round,
  { end, stages, onSeeing }: { end: AbortSignal; stages: Stage[]; onSeeing(seeing: Seeing): void },
): Promise<void> {
  const { state, modes, tuning, sealer, home, mail, health, supervisor, emit, clock, over } = round;
  const { config } = tuning;
  const { logs, onProblem } = round;
  const log = logs("camera");
  const tasks: Promise<void>[] = [];
  // Closed last: what was recorded is sealed before this look is over.
  const settled = { close: async () => void (await Promise.allSettled(tasks)) };
  const open = () =>
    openCamera({
      ...{ ...cameraOptions(config), clock, signal: over },
      onEvent: (event) => tellCamera(event, { log, health }),
    });
  const onWait = () => supervisor.tell("ready");
  const isPatient = supervisor.listens || round.isAgain;
  const camera = isPatient
    ? await awaitCamera(open, { health, clock, log, signal: over, onWait })
    : await open();
  stages.push(settled, camera);
  const { source, width, height, format } = camera;
  log.info("watching", { source, width, height, format, fps: camera.fps });
  emit({ event: "camera", source, width, height, format });

  const model = await openModel({
    folder: installedModels,
    precision: config.detect.precision,
    threads: config.detect.threads,
    aspect: width / height,
    ...modelSize(config),
    choiceFile: join(state, "precision.json"),
  });
  stages.push(model);
  // What it took to begin, the model's file and its plain graph above all, is not needed again.
  trimMemory();
  logs("detect").info("model ready", { model: model.id, precision: model.precision });
  let damaged = 0;
  const detect = openDetect({
    model,
    zones: config.detect.zones,
    threshold: config.detect.threshold,
    crops: config.detect.crops,
    separateVisitMs: config.detect.separateVisitS * 1000,
    clock,
    signal: end,
    throttled: () => round.heat().throttled ?? false,
    onMotion: home.motion,
    onDamaged: () => tellDamaged(++damaged, logs("detect")),
    onEvent: (event) => tellModel(event, { log: logs("detect"), health }),
  });
  stages.push(detect);
  const slabBytes = config.camera.slabMiB * 2 ** 20;
  const about = { id: model.id, precision: model.precision };
  const encoder = await round.encoderFor({ width, height, fps: config.record.fps }, over);
  logs("record").info("encoder ready", { encoder: encoder.name });
  const record = openRecord({
    encoder,
    fps: config.record.fps,
    ...recordSettings(config),
    longestMs: config.record.longestS * 1000,
    // A quarter of the slab is left to pictures under way.
    preRollBytes: Math.min(config.record.preRollMiB * 2 ** 20, slabBytes / 2),
    queueBytes: slabBytes / 4,
    model: about,
    clockTrusted: round.clockTrusted,
    clock,
    signal: end,
  });
  stages.push(record);
  tuning.attach({ detect, record });
  // While nobody is looked for, that pictures come is what counts.
  let unlooked = 0;
  health.watch(() => detect.counts.analysed + unlooked);
  supervisor.tell("ready");
  if (!over.aborted) onSeeing({ record, model: about });

  const grab = async () => {
    let isFirst = true;
    for await (const frame of camera.frames) {
      // One that was taken before privacy began and comes after it is nobody's.
      if (over.aborted) {
        frame.release();
        continue;
      }
      if (isFirst) {
        isFirst = false;
        const { capturedUs, index } = frame;
        emit({ event: "pictures", capturedUs, ...(index === undefined ? {} : { index }) });
      }
      record.offer(frame);
      for (const looker of round.lookers) looker.offer(frame);
      if (modes.now().detection) detect.offer(frame);
      else unlooked += 1;
      frame.release();
    }
    health.wait("starting", "stopping");
    await detect.close();
  };
  const watch = async () => {
    for await (const incident of detect.incidents) {
      record.incident(incident);
      home.incident(incident);
      const inferenceMs = Math.round(model.inferenceMs());
      tellIncident(incident, {
        log: logs("detect"),
        emit,
        nowUs: clock.monotonicUs(),
        inferenceMs,
      });
    }
    await record.close();
  };
  const seal = async () => {
    const running = new Set<Promise<void>>();
    for await (const recording of record.recordings) {
      const clip = sealer.clip(mail.watch(recording)).then((sealed) => {
        logs("seal").info("clip sealed", { clip: sealed.clip.slice(0, 12), reason: sealed.reason });
        emit({ event: "clip", ...sealed, atUs: clock.monotonicUs() });
      });
      const task = clip.catch(onProblem).finally(() => {
        running.delete(task);
        health.recording(running.size);
      });
      running.add(task);
      health.recording(running.size);
    }
    await Promise.all(running);
  };
  tasks.push(grab(), watch(), seal());
  await Promise.all(tasks);
}

function modelSize({ detect }: Config): { size?: { width: number; height: number } } {
  const [width = 0, height = 0] = detect.input.split("x").map(Number);
  return detect.input === "auto" ? {} : { size: { width, height } };
}
