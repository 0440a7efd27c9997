import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Log, type LogLevel, openLog } from "../base/node/log.ts";
import {
  findSupervisor,
  programVersion,
  type Supervisor,
  stateFolder,
  stopSignal,
} from "../base/node/program.ts";
import { systemClock } from "../base/node/time.ts";
import { explain, Failure } from "../base/pure/failure.ts";
import { awaitCamera, awaitOwner } from "./arrival.ts";
import { checkBroker } from "./broker.ts";
import { openCamera, trimMemory } from "./camera/camera.ts";
import { finishErase, markErased, pictureOf } from "./command/command.ts";
import { type Config, cameraOptions, modelSize, readConfig, setBroker } from "./config.ts";
import { keepPicturesInMemory } from "./confinement.ts";
import {
  askRelays,
  configOf,
  type DeliveryOptions,
  type Ending,
  relaysOf,
  resetBy,
  startCommands,
  startUplink,
} from "./delivery.ts";
import { installedModels, openDetect, openModel } from "./detect/detect.ts";
import { openGlance } from "./glance.ts";
import { type Health, openHealth } from "./health.ts";
import { type Home, openHome } from "./home.ts";
import { openKeyring } from "./keyring.ts";
import { openLight } from "./light.ts";
import { checkMail, type Mail, openMail } from "./mail/mail.ts";
import { forgetNetworks, keepPage } from "./network/network.ts";
import { countStorageFailure, isStorageFailure, storageFailuresFile } from "./outbox/outbox.ts";
import { watchAttempts } from "./pairing/pairing.ts";
import { openPanel, type Panel } from "./panel.ts";
import { openRecord, probeEncoder } from "./record/record.ts";
import { type ServiceEvent, tellCamera, tellIncident, tellModel } from "./report.ts";
import { openSealer, type Sealer } from "./seal/seal.ts";
import { openSnapshots } from "./snapshot.ts";
import { openStorage } from "./storage.ts";
import { watchClock } from "./trust.ts";
import { recordSettings, tune } from "./tuning.ts";

export type { ServiceEvent } from "./report.ts";

const help = `usage: obscura-camera run [--source S] [--state DIR] [--config FILE]
                          [--mqtt URL] [--json]

Runs the camera until SIGTERM or Ctrl-C; what is being recorded is then sealed and ended.

  --source S       a device, a video file to replay, or auto; overrides camera.source
  --state DIR      where this camera keeps its keys and clips
  --config FILE    settings (obscura-camera config prints them all)
  --mqtt URL       the broker that is told states and counts; overrides mqtt.url
  --check-config   read the settings, say whether they are right, end
  --json           one JSON object a line on standard output for each event
`;

export async function runService(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      source: { type: "string" },
      state: { type: "string", default: stateFolder("camera") },
      config: { type: "string" },
      mqtt: { type: "string" },
      "check-config": { type: "boolean", default: false },
      json: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(help);
    return 0;
  }
  const notices: string[] = [];
  const config = await readConfig(values.config, (line) => notices.push(line));
  if (values.mqtt !== undefined) setBroker(config, values.mqtt);
  if (values["check-config"]) {
    await checkBroker(config.mqtt);
    await checkMail(config.mail);
    for (const line of notices) console.log(line);
    console.log(`${values.config ?? "the defaults"}: no mistake found`);
    return 0;
  }
  if (values.source !== undefined) config.camera.source = values.source;
  const logs = (stage: string) => openLog(stage, config.log as LogLevel);
  for (const line of notices) logs("config").warn(line);
  process.umask(0o077);
  await keepPicturesInMemory(logs("memory"));
  const emit = (event: ServiceEvent) => {
    if (values.json) process.stdout.write(`${JSON.stringify(event)}\n`);
  };
  const supervisor = findSupervisor();
  const clock = systemClock;
  const light = await openLight(config.light, { clock, log: logs("light") });
  const health = openHealth({ supervisor, light, clock, log: logs("health") });
  const page = await keepPage().catch((error) => logs("page").warn(explain(error)));
  const panel = openPanel({ config, state: values.state, clock, health, logs });
  const signal = stopSignal();
  signal.addEventListener("abort", () => supervisor.tell("stopping"), { once: true });
  try {
    const { state } = values;
    // As a service this is its board; run by hand it is somebody's computer, whose networks are not ours.
    const forget = async () => {
      if (supervisor.listens) await forgetNetworks(state, logs("erase"));
    };
    let ending: Ending | undefined = (await finishErase(state, forget)) ? "erase" : "restart";
    while (ending === "restart" && !signal.aborted) {
      if (supervisor.listens) {
        const told = { health, clock, signal, log: logs("pairing"), reset: panel.reset };
        await panel.tendLabel();
        await awaitOwner(state, { ...told, onWait: () => supervisor.tell("ready") });
        await panel.tendLabel();
      }
      if (panel.reset.aborted) {
        await markErased(state);
        await panel.takeBack();
        ending = "erase";
        break;
      }
      const all = await configOf(config, state, logs("config"));
      ending = await serve({ config: all, state, signal, logs, emit, supervisor, health, panel });
    }
    if (ending === "erase") {
      await finishErase(state, forget);
      const who = panel.reset.aborted ? "the button" : "an owner";
      logs("erase").warn(`${who} has erased this camera: it is as new`);
    }
  } catch (error) {
    // Also when it failed before anything ran: the third start is in memory.
    if (isStorageFailure(error)) countStorageFailure(storageFailuresFile(values.state));
    if (error !== signal.reason) throw error;
  } finally {
    await panel.close();
    await page?.close();
    await health.close();
  }
  return 0;
}

type ServeOptions = {
  config: Config;
  state: string;
  signal: AbortSignal;
  logs(stage: string): Log;
  emit(event: ServiceEvent): void;
  supervisor: Supervisor;
  health: Health;
  panel: Panel;
};

/**
 * The way of a frame, from the lens to the outbox. Resolves when the signal aborted or the footage
 * ended and everything was sealed, or with what an owner asked for; throws when a stage could not start, or the storage failed.
 */
export async function serve(options: ServeOptions): Promise<Ending | undefined> {
  const end = new AbortController();
  const stages: Stage[] = [];
  try {
    return await runStages(options, end.signal, stages);
  } finally {
    end.abort(new Failure("gone", "the service ends"));
    await closeAll(stages, options.logs("stop"));
  }
}

type Stage = { close(): Promise<void> };

/** Fills `stages` in the order in which they opened, so that they are closed also from half-way. */
async function runStages(
  { config, state, signal, logs, supervisor, health, panel, ...options }: ServeOptions,
  end: AbortSignal,
  stages: Stage[],
): Promise<Ending | undefined> {
  trimMemory();
  const clock = systemClock;
  const log = logs("camera");
  let home: Home | undefined;
  let mail: Mail | undefined;
  const emit = (event: ServiceEvent) => {
    options.emit(event);
    home?.event(event);
    mail?.event(event);
  };
  const keyring = await openKeyring(state);
  const version = await programVersion();

  const storing = { config, state, health, clock, log: logs("outbox") };
  const { outbox, limitBytes } = await openStorage(storing);
  stages.push(outbox);

  // A storage that failed ends the program as a signal does: what is in memory is sealed or lost.
  const storage = new AbortController();
  const fail = (error: unknown) => {
    logs("seal").error(explain(error));
    if (isStorageFailure(error)) storage.abort(error);
  };
  let sealer: Sealer | undefined;
  const trust = await watchClock({
    clock,
    signal: end,
    onSynchronised: (beforeMs) => {
      sealer?.note({ kind: "clock-synchronised", beforeMs }).catch((error) => fail(error));
    },
  });
  const { relays, ...connections } = relaysOf(config, keyring, clock);
  stages.push({ close: async () => connections.close() });
  let split = () => {};
  sealer = await openSealer({
    newestElsewhere: askRelays(relays, { keyring, outbox, clock, signal: end }),
    onCut: () => split(),
    keyring,
    outbox,
    folder: join(state, "journal"),
    version,
    clock,
    clockTrusted: trust.trusted,
    onPart: (part) => emit({ event: "part", ...part }),
    onProblem: fail,
  });
  stages.push(sealer);
  const { note } = sealer;
  // What an owner asked for may end this run: it begins anew, or never again.
  const ended = new AbortController();
  let ending: Ending | undefined;
  const snapshots = openSnapshots({ clock });
  const delivery: DeliveryOptions = {
    ...{ relays, keyring, outbox, sealer, state, clock, logs, fail },
    onRelayed: (part) => emit({ event: "relayed", ...part }),
    picture: () => takePicture(),
    openWindow: (secret) => panel.openWindow(secret),
    markErased: () => markErased(state),
    onEnd: (how) => {
      ending = how;
      ended.abort(new Failure("gone", `the service ends: ${how}`));
    },
  };
  const uplink = startUplink(delivery);
  stages.push(uplink);
  home = await openHome({
    ...{ config, state, keyring, version, outbox, limitBytes, health, uplink },
    ...{ clockTrusted: trust.trusted, emit: options.emit, note, onProblem: fail, clock, logs },
  });
  stages.push(home);
  mail = await openMail({ config, state, outbox, health, note, onProblem: fail, clock, logs });
  stages.push(mail);
  const { window: onWindow } = home;
  stages.push(watchAttempts({ state, clock, note, onWindow, onProblem: fail }));
  const onReset = () => void resetBy("the button was held for ten seconds", delivery);
  panel.reset.addEventListener("abort", onReset, { signal: end });
  if (panel.reset.aborted) onReset();
  const tasks: Promise<void>[] = [];
  // Between the sealer and what it is fed by: what was recorded is sealed before the log ends.
  stages.push({ close: async () => void (await Promise.allSettled(tasks)) });

  const glance = openGlance();
  panel.lend(glance);
  stages.push({ close: () => panel.takeBack() });
  const over = AbortSignal.any([signal, storage.signal, ended.signal]);
  const open = () =>
    openCamera({
      ...{ ...cameraOptions(config), clock, signal: over },
      onEvent: (event) => tellCamera(event, { log, health }),
    });
  const onWait = () => supervisor.tell("ready");
  const camera = supervisor.listens
    ? await awaitCamera(open, { health, clock, log, signal: over, onWait })
    : await open();
  stages.push(camera);
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
  const detect = openDetect({
    model,
    zones: config.detect.zones,
    threshold: config.detect.threshold,
    crops: config.detect.crops,
    separateVisitMs: config.detect.separateVisitS * 1000,
    clock,
    signal: end,
    onMotion: home.motion,
    onEvent: (event) => tellModel(event, { log: logs("detect"), health }),
  });
  stages.push(detect);
  const slabBytes = config.camera.slabMiB * 2 ** 20;
  const record = openRecord({
    encoder: await probeEncoder({ width, height, fps: config.record.fps }),
    fps: config.record.fps,
    ...recordSettings(config),
    longestMs: config.record.longestS * 1000,
    // A quarter of the slab is left to pictures under way.
    preRollBytes: Math.min(config.record.preRollMiB * 2 ** 20, slabBytes / 2),
    queueBytes: slabBytes / 4,
    model: { id: model.id, precision: model.precision },
    clockTrusted: trust.trusted,
    clock,
    signal: end,
  });
  stages.push(record);
  split = () => record.split();
  const takePicture = async () => {
    health.watched();
    return pictureOf(await snapshots.take(), {
      ...{ wallMs: clock.wallMs(), clockTrusted: trust.trusted(), fps: config.record.fps },
      ...{ model: { id: model.id, precision: model.precision }, camera: config.name },
    });
  };
  const tuned = { config, detect, record, cap: connections.cap };
  const takeSetting = (name: string, value: string) => {
    const isTaken = tune(tuned, name, value);
    home.set(config);
    return isTaken;
  };
  stages.push(await startCommands({ ...delivery, uplink, takeSetting }));
  health.watch(() => detect.counts.analysed);
  supervisor.tell("ready");

  const grab = async () => {
    let isFirst = true;
    for await (const frame of camera.frames) {
      if (isFirst) {
        isFirst = false;
        const { capturedUs, index } = frame;
        emit({ event: "pictures", capturedUs, ...(index === undefined ? {} : { index }) });
      }
      record.offer(frame);
      snapshots.offer(frame);
      glance.offer(frame);
      detect.offer(frame);
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
      const task = clip.catch(fail).finally(() => {
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
  if (storage.signal.aborted) throw storage.signal.reason;
  return ending;
}

/** Stops in reverse; what fails to stop does not keep the others from it. */
async function closeAll(stages: readonly Stage[], log: Log): Promise<void> {
  for (const stage of stages.toReversed())
    await stage.close().catch((error) => log.error(explain(error)));
}
