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
import { awaitOwner } from "./arrival.ts";
import { trimMemory } from "./camera/camera.ts";
import { finishErase, markErased, pictureOf } from "./command/command.ts";
import { type Config, loadConfig } from "./config.ts";
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
import { openGlance } from "./glance.ts";
import { type Health, openHealth } from "./health.ts";
import { watchHeat } from "./heat.ts";
import { type Home, openHome } from "./home.ts";
import { openKeyring } from "./keyring.ts";
import { openLight } from "./light.ts";
import { type Mail, openMail } from "./mail/mail.ts";
import { type Modes, openModes } from "./mode.ts";
import { forgetNetworks, keepPage } from "./network/network.ts";
import { carryOut, noteStart } from "./orders.ts";
import { countStorageFailure, isStorageFailure, storageFailuresFile } from "./outbox/outbox.ts";
import { watchAttempts } from "./pairing/pairing.ts";
import { openPanel, type Panel } from "./panel.ts";
import { openPush, type Push } from "./push/push.ts";
import type { ServiceEvent } from "./report.ts";
import { openSealer, type Sealer } from "./seal/seal.ts";
import { closeAll, openSight, type Sight, type Stage } from "./sight.ts";
import { openSnapshots } from "./snapshot.ts";
import { openStorage } from "./storage.ts";
import { watchClock } from "./trust.ts";
import { openTuning } from "./tuning.ts";
import { checkFiles, checkPanel, setBroker } from "./vet.ts";

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
  const { config, places } = await loadConfig(values.config, (line) => notices.push(line));
  if (values.mqtt !== undefined) setBroker(config, values.mqtt, places);
  checkPanel(config, places);
  if (values["check-config"]) {
    await checkFiles(config, places);
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
  const { commands: allowed } = config.mqtt;
  const profiles = Object.keys(config.profiles);
  // Before anything could open the camera.
  const failures = storageFailuresFile(values.state);
  const spare = failures && `${failures}-privacy`;
  const modes = await openModes(values.state, { allowed, profiles, spare });
  // What cannot be read may say so too; who serves it complains.
  modes.follow(await configOf(config, values.state).catch(() => ({ privacy: true })));
  const isShut = () => modes.now().privacy;
  const panel = openPanel({ config, state: values.state, isShut, clock, health, logs });
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
      modes.follow(all);
      const stage = { supervisor, health, panel, modes };
      ending = await serve({ config: all, state, signal, logs, emit, ...stage });
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
  modes: Modes;
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

/** Fills `stages` in the order in which they opened, so that they are closed also from half-way. */
async function runStages(
  { config, state, signal, logs, supervisor, health, panel, modes, ...options }: ServeOptions,
  end: AbortSignal,
  stages: Stage[],
): Promise<Ending | undefined> {
  trimMemory();
  const clock = systemClock;
  let home: Home | undefined;
  let seen: Sight | undefined;
  let mail: Mail | undefined;
  let push: Push | undefined;
  const emit = (event: ServiceEvent) => {
    options.emit(event);
    home?.event(event);
    mail?.event(event);
    push?.event(event);
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
  const heat = await watchHeat({ clock, signal: end });
  const { relays, ...connections } = relaysOf(config, keyring, clock);
  stages.push({ close: async () => connections.close() });
  sealer = await openSealer({
    newestElsewhere: askRelays(relays, { keyring, outbox, clock, signal: end }),
    onCut: () => seen?.seeing?.record.split(),
    keyring,
    outbox,
    folder: join(state, "journal"),
    retentionDays: config.outbox.retentionDays,
    version,
    clock,
    clockTrusted: trust.trusted,
    onPart: (part) => emit({ event: "part", ...part }),
    onProblem: fail,
  });
  stages.push(sealer);
  const note: Sealer["note"] = async (statement) => {
    push?.said(statement);
    await sealer?.note(statement);
  };
  // What an owner asked for may end this run: it begins anew, or never again.
  const ended = new AbortController();
  let ending: Ending | undefined;
  const snapshots = openSnapshots({ clock });
  const delivery: DeliveryOptions = {
    ...{ relays, keyring, outbox, sealer, state, clock, logs, fail },
    onRelayed: (part) => emit({ event: "relayed", ...part }),
    picture: () => takePicture(),
    openWindow: (secret) => panel.openWindow(secret),
    alarm: async (order) => {
      if (!home) throw new Failure("busy", "the camera is starting");
      await home.alarm(order);
    },
    markErased: () => markErased(state),
    onEnd: (how) => {
      ending = how;
      ended.abort(new Failure("gone", `the service ends: ${how}`));
    },
  };
  const uplink = startUplink(delivery);
  stages.push(uplink);
  const { cap } = connections;
  const tuning = openTuning({
    ...{ config, modes, cap, onChange: () => home?.set(config) },
    async onPrivacy() {
      if (modes.now().privacy) await seen?.shut();
      else seen?.open();
    },
  });
  await noteStart({ modes, note }).catch(fail);
  home = await openHome({
    ...{ config, state, keyring, version, outbox, limitBytes, health, uplink },
    ...{ clockTrusted: trust.trusted, heat: heat.now, emit: options.emit, note, onProblem: fail },
    ...{ clock, logs },
    mode: () => {
      const { privacy, detection, profile } = modes.now();
      const { threshold } = config.detect;
      return { privacy: privacy && seen?.isShut !== false, detection, threshold, profile };
    },
    onOrder: async (order) => {
      if (!seen) throw new Failure("busy", "the camera is starting");
      const desk = { modes, tuning, sight: seen, health, note, onProblem: fail, by: "mqtt" };
      await carryOut(order, desk).catch((error) => {
        if (isStorageFailure(error)) fail(error);
        throw error;
      });
    },
  });
  stages.push(home);
  mail = await openMail({ config, state, outbox, health, note, onProblem: fail, clock, logs });
  stages.push(mail);
  const { identity, adopted, sign } = keyring;
  push = await openPush({
    ...{
      config,
      state,
      isKept: outbox.kind === "folder",
      relays,
      uplink,
      health,
      note,
      clock,
      logs,
    },
    ...{ camera: identity.camera, sign, membership: adopted?.membership, onProblem: fail },
    ...{ incarnation: () => delivery.sealer.life.incarnation, clockTrusted: trust.trusted },
  });
  stages.push(push);
  const { window: onWindow } = home;
  stages.push(watchAttempts({ state, clock, note, onWindow, onProblem: fail }));
  const onReset = () => void resetBy("the button was held for ten seconds", delivery);
  panel.reset.addEventListener("abort", onReset, { signal: end });
  if (panel.reset.aborted) onReset();
  const glance = openGlance();
  panel.lend(glance);
  stages.push({ close: () => panel.takeBack() });
  const over = AbortSignal.any([signal, storage.signal, ended.signal]);
  const [letters, messages] = [mail, push];
  const tellers: Pick<Mail, "watch"> = {
    watch: (recording) => messages.watch(letters.watch(recording)),
  };
  const sight = openSight({
    ...{ state, modes, tuning, sealer, home, mail: tellers, health, supervisor },
    lookers: [snapshots, glance],
    ...{ clockTrusted: trust.trusted, heat: heat.now, emit, onProblem: fail, clock, signal: over },
    logs,
  });
  seen = sight;
  const takePicture = async () => {
    const { seeing } = sight;
    const refuse = () => {
      if (!modes.now().privacy) return;
      throw new Failure("refused", "in privacy the camera shows nothing");
    };
    refuse();
    if (!seeing) throw new Failure("gone", "the camera gives no picture");
    health.watched();
    const picture = await snapshots.take();
    refuse();
    return pictureOf(picture, {
      ...{ wallMs: clock.wallMs(), clockTrusted: trust.trusted(), fps: config.record.fps },
      ...{ model: seeing.model, camera: config.name },
    });
  };
  const commands = await startCommands({ ...delivery, push, uplink, takeSetting: tuning.set });
  stages.push(commands);
  home.lend(commands);
  try {
    await sight.run();
  } catch (error) {
    // An owner ended this while a camera was being opened.
    if (!ended.signal.aborted) throw error;
  }
  if (storage.signal.aborted) throw storage.signal.reason;
  return ending;
}
