import { createHash } from "node:crypto";
import { stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import { openDurable } from "../base/node/durable.ts";
import type { Log } from "../base/node/log.ts";
import { fromText, toText } from "../base/pure/bytes.ts";
import type { Clock } from "../base/pure/clock.ts";
import { explain, Failure, isFailure } from "../base/pure/failure.ts";
import type { Statement } from "../protocol/sealed/body.ts";
import { type Alarm, forgetAlarm, openAlarm } from "./alarm/alarm.ts";
import type { Config } from "./config.ts";
import type { Incident } from "./detect/detect.ts";
import type { Health } from "./health.ts";
import type { Heat } from "./heat.ts";
import type { Keyring } from "./keyring.ts";
import { type Lent, type Local, openLocal } from "./local/local.ts";
import { openMqtt, type Reading } from "./mqtt/mqtt.ts";
import { alarmOrders, type Order } from "./order.ts";
import type { Outbox } from "./outbox/outbox.ts";
import type { ServiceEvent } from "./report.ts";
import type { Uplink } from "./uplink/uplink.ts";

/**
 * What the house is told of this camera, by whatever way: by MQTT and in the local network. The stages' own
 * words go in here.
 */
export type Home = {
  incident(incident: Incident): void;
  event(event: ServiceEvent): void;
  /** Something moves in a picture. */
  motion(): void;
  window(isOpen: boolean): void;
  /** What takes sealed commands, also those that the local interface is handed. */
  lend(commands: Lent): void;
  /** Carries out what an owner's phone asks of the alarm. Throws Failure "refused" without one. */
  alarm(order: "arm_home" | "arm_away" | "disarm"): Promise<void>;
  /** Settings that were changed while the camera runs. */
  set(config: Config): void;
  close(): Promise<void>;
};

export type HomeOptions = {
  config: Config;
  state: string;
  keyring: Keyring;
  version: string;
  outbox: Pick<Outbox, "bytes" | "kind" | "objects" | "read" | "watch">;
  /** The most that the outbox may hold. */
  limitBytes: number;
  health: Pick<Health, "now" | "fault">;
  uplink: Pick<Uplink, "status" | "holds">;
  clockTrusted(): boolean;
  heat(): Heat;
  /** What of the camera the house may change, as it is now. */
  mode(): Pick<Reading, "privacy" | "detection" | "threshold" | "profile">;
  /** Carries out what the house asks for; throws the Failure that says why not. */
  onOrder(order: Order): Promise<void>;
  /** Adds to the camera's sealed log. */
  note(statement: Statement): Promise<void>;
  onProblem(error: unknown): void;
  emit(event: ServiceEvent): void;
  clock: Clock;
  logs(stage: string): Log;
};

const measureEveryMs = 30_000;
const mib = 2 ** 20;

/** Without a broker and a port in the settings nobody is told anything. */
export async function openHome(options: HomeOptions): Promise<Home> {
  const { config, health, uplink, clock, emit } = options;
  await noteDoors(options).catch(options.onProblem);
  const alarm = await startAlarm(options);
  if (config.mqtt.url === "" && config.local.port === 0) {
    const nothing = () => {};
    const none = { incident: nothing, event: nothing, motion: nothing, window: nothing };
    return { ...none, lend: nothing, alarm: noAlarm, set: nothing, close: async () => {} };
  }
  const log = options.logs("mqtt");
  const id = config.mqtt.id || nameOf(options.keyring);
  const safely =
    <A extends unknown[]>(tell: (...args: A) => void) =>
    (...args: A) => {
      try {
        tell(...args);
      } catch (error) {
        log.error(explain(error));
      }
    };
  const end = new AbortController();
  let storage = await measure(options);
  const watch = async () => {
    while (!end.signal.aborted) {
      await clock.sleep(measureEveryMs, end.signal).catch(() => {});
      if (!end.signal.aborted) storage = await measure(options);
    }
  };
  const watching = watch().catch((error) => log.error(explain(error)));
  let pairing = false;
  let emptyUs = clock.monotonicUs();
  const relay = (): Reading["relay"] => {
    const all = uplink.status();
    if (all.length === 0) return undefined;
    const clips = Math.max(...all.map((one) => one.clips));
    const nowUs = clock.monotonicUs();
    if (clips === 0) emptyUs = nowUs;
    const seconds = Math.floor((nowUs - emptyUs) / 1e6);
    // By the minute, for what is away for days is no news each second.
    const waitingS = seconds - (seconds % 60);
    return { isConnected: all.some(({ failure }) => failure === undefined), clips, waitingS };
  };
  const read = (): Reading => ({
    ...{ ...health.now(), ...options.mode(), pairing, relay: relay() },
    ...{ storage, ...options.heat(), clockTrusted: options.clockTrusted() },
  });
  const commands = [...config.mqtt.commands, ...(alarm ? alarmOrders : [])];
  let { name } = config;
  const local: Local | undefined =
    config.local.port === 0
      ? undefined
      : openLocal({
          ...{ settings: config.local, state: options.state, clock, log: options.logs("local") },
          name: () => name,
          pictures: () => health.now().pictures,
          own: options.keyring.adopted && {
            ...{ mailbox: options.keyring.adopted.mailbox, outbox: options.outbox },
            hash: options.keyring.identity.hash,
          },
          onFault: (text) => health.fault("local", text),
          onProblem: options.onProblem,
        });
  const mqtt = openMqtt({
    ...{ settings: { ...config.mqtt, commands }, id, alarm },
    clientId: `obscura_${nameOf(options.keyring)}`,
    ...{ name: config.name, version: options.version, zones: config.detect.zones },
    ...{ profiles: Object.keys(config.profiles), read, clock, log },
    onCommand: async (order) => {
      if (order.name === "alarm") await alarm?.take(order.value.command, order.value.code);
      else if (order.name === "alarm_test") await alarm?.take("test", undefined);
      else await options.onOrder(order);
    },
    isDelivered: uplink.status().length > 0 ? uplink.holds : undefined,
    onFault: (text) => health.fault("mqtt", text),
    onBroker: (state) => emit({ event: "broker", ...state }),
    ...(local ? { onState: local.put, onEvent: local.visit, onAlarm: local.alarm } : {}),
  });
  return {
    // What fails here is a mistake of ours, and costs the house a message, never the camera anything.
    incident: safely((incident: Incident) => {
      mqtt.incident(incident);
      alarm?.incident(incident);
    }),
    event: safely((event: ServiceEvent) => {
      if (event.event === "part") mqtt.part(event);
      else if (event.event === "clip") mqtt.sealed(event);
    }),
    motion: safely(() => {
      mqtt.motion();
      alarm?.motion();
    }),
    window(isOpen) {
      pairing = isOpen;
    },
    lend: (commands) => local?.lend(commands),
    alarm: alarm ? alarm.obey : noAlarm,
    set: safely((next: Config) => {
      name = next.name;
      mqtt.set({ name, zones: next.detect.zones });
    }),
    async close() {
      end.abort();
      // Who reads the stream is told of the end by what mqtt says last.
      await mqtt.close();
      // No command comes any more.
      await alarm?.close();
      await local?.close();
      await watching;
    },
  };
}

async function noAlarm(): Promise<never> {
  throw new Failure("refused", "this camera has no alarm (alarm.enabled, mqtt.url)");
}

/** Undefined unless the settings switch it on; also when it cannot be opened, which is a fault. */
async function startAlarm(options: HomeOptions): Promise<Alarm | undefined> {
  const { config, state, outbox, health, note, onProblem, clock } = options;
  const { prefix, id, url } = config.mqtt;
  const path = join(state, "alarm");
  const isReadOnly = outbox.kind === "memory";
  if (!config.alarm.enabled || url === "") {
    if (!isReadOnly) await forgetAlarm(path).catch(onProblem);
    return undefined;
  }
  const own = `${prefix}/${id || nameOf(options.keyring)}`;
  return await openAlarm({
    ...{ settings: config.alarm, path, isReadOnly, own, note, onProblem, clock },
    onFault: (text) => health.fault("alarm", text),
    log: options.logs("alarm"),
  }).catch((error) => {
    health.fault("alarm", `there is no alarm: ${explain(error)}`);
    onProblem(error);
    return undefined;
  });
}

/** What is let out of the seal is said in the log: once, when it begins, changes or ends. */
async function noteDoors({ config, state, outbox, note }: HomeOptions): Promise<void> {
  const { url, commands } = config.mqtt;
  const may = commands.length > 0 ? `, which may ask for ${commands.join(", ")}` : "";
  const { host, port, certificate } = config.local;
  const local = port === 0 ? "" : `${host === "" ? "" : `${host} `}port ${port}`;
  const way = certificate === "" ? "in clear" : "encrypted";
  const doors = [
    {
      ...{ file: "told", code: "mqtt", is: url && `${url}${may}` },
      begins: `states and counts are told to the MQTT broker ${url}${may}`,
      ends: "no MQTT broker is told anything any more",
    },
    {
      ...{ file: "local", code: "local", is: local === "" ? "" : `${local}, ${way}` },
      begins: `states and counts are told to who has a token, in the local network (${local}), ${way}`,
      ends: "nothing is told in the local network any more",
    },
  ];
  const path = join(state, "home");
  const wasTold = await stat(path).catch(() => undefined);
  if (!wasTold && doors.every(({ is }) => is === "")) return;
  const say = ({ code, is, begins, ends }: (typeof doors)[number]) =>
    note({ kind: "problem", code, text: is === "" ? ends : begins });
  // On a card that failed nothing is written: better twice in the log than not at all.
  if (outbox.kind === "memory") {
    for (const door of doors) if (door.is !== "") await say(door);
    return;
  }
  const folder = await openDurable(path);
  try {
    for (const door of doors) {
      const told = await folder.read(door.file).catch((error) => {
        if (!isFailure(error, "absent")) throw error;
        return new Uint8Array();
      });
      if (toText(told) === door.is) continue;
      await say(door);
      await folder.write(door.file, fromText(door.is));
    }
  } finally {
    await folder.close();
  }
}

/**
 * What this camera is called where the house's messages go: the same at each start, and nothing that a
 * relay's operator, who knows the camera's public key, could find it by.
 */
function nameOf({ identity }: Keyring): string {
  const hash = createHash("sha512").update("obscura/1/mqtt").update(identity.hash);
  return hash.digest("hex").slice(0, 12);
}

async function measure({
  config,
  state,
  outbox,
  limitBytes,
}: HomeOptions): Promise<Reading["storage"]> {
  const usedBytes = outbox.bytes();
  const card = await statfs(join(state, "outbox")).catch(() => undefined);
  const spareBytes = card
    ? card.bavail * card.bsize - config.outbox.headroomMiB * mib
    : Number.POSITIVE_INFINITY;
  const freeBytes = Math.max(0, Math.min(limitBytes - usedBytes, spareBytes));
  return { usedMiB: usedBytes / mib, freeMiB: freeBytes / mib };
}
