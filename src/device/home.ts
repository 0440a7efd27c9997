import { createHash } from "node:crypto";
import { stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import { openDurable } from "../base/node/durable.ts";
import type { Log } from "../base/node/log.ts";
import { fromText, toText } from "../base/pure/bytes.ts";
import type { Clock } from "../base/pure/clock.ts";
import { explain, isFailure } from "../base/pure/failure.ts";
import type { Statement } from "../protocol/sealed/body.ts";
import type { Config } from "./config.ts";
import type { Incident } from "./detect/detect.ts";
import { readHeat } from "./doctor.ts";
import type { Health } from "./health.ts";
import type { Keyring } from "./keyring.ts";
import { openMqtt, type Reading } from "./mqtt/mqtt.ts";
import type { Order } from "./order.ts";
import type { Outbox } from "./outbox/outbox.ts";
import type { ServiceEvent } from "./report.ts";
import type { Uplink } from "./uplink/uplink.ts";

/** What the house is told of this camera, by whatever way: by MQTT. The stages' own words go in here. */
export type Home = {
  incident(incident: Incident): void;
  event(event: ServiceEvent): void;
  /** Something moves in a picture. */
  motion(): void;
  window(isOpen: boolean): void;
  /** Settings that were changed while the camera runs. */
  set(config: Config): void;
  close(): Promise<void>;
};

export type HomeOptions = {
  config: Config;
  state: string;
  keyring: Keyring;
  version: string;
  outbox: Pick<Outbox, "bytes" | "kind">;
  /** The most that the outbox may hold. */
  limitBytes: number;
  health: Pick<Health, "now" | "fault">;
  uplink: Pick<Uplink, "status" | "holds">;
  clockTrusted(): boolean;
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

/** Without a broker in the settings nobody is told anything. */
export async function openHome(options: HomeOptions): Promise<Home> {
  const { config, health, uplink, clock, emit } = options;
  await noteBroker(options).catch(options.onProblem);
  if (config.mqtt.url === "") {
    const nothing = () => {};
    const none = { incident: nothing, event: nothing, motion: nothing, window: nothing };
    return { ...none, set: nothing, close: async () => {} };
  }
  const log = options.logs("mqtt");
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
  let measured = await measure(options);
  const watch = async () => {
    while (!end.signal.aborted) {
      await clock.sleep(measureEveryMs, end.signal).catch(() => {});
      if (!end.signal.aborted) measured = await measure(options);
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
    ...{ ...measured, clockTrusted: options.clockTrusted() },
  });
  const mqtt = openMqtt({
    ...{ settings: config.mqtt, id: config.mqtt.id || nameOf(options.keyring) },
    clientId: `obscura_${nameOf(options.keyring)}`,
    ...{ name: config.name, version: options.version, zones: config.detect.zones },
    ...{ profiles: Object.keys(config.profiles), read, onCommand: options.onOrder, clock, log },
    isDelivered: uplink.status().length > 0 ? uplink.holds : undefined,
    onFault: (text) => health.fault("mqtt", text),
    onBroker: (state) => emit({ event: "broker", ...state }),
  });
  return {
    // What fails here is a mistake of ours, and costs the house a message, never the camera anything.
    incident: safely((incident: Incident) => mqtt.incident(incident)),
    event: safely((event: ServiceEvent) => {
      if (event.event === "part") mqtt.part(event);
      else if (event.event === "clip") mqtt.sealed(event);
    }),
    motion: safely(() => mqtt.motion()),
    window(isOpen) {
      pairing = isOpen;
    },
    set: safely(({ name, detect }: Config) => mqtt.set({ name, zones: detect.zones })),
    async close() {
      end.abort();
      await mqtt.close();
      await watching;
    },
  };
}

/** What is let out of the seal is said in the log: once, when it begins, changes or ends. */
async function noteBroker({ config, state, outbox, note }: HomeOptions): Promise<void> {
  const { url, commands } = config.mqtt;
  const may = commands.length > 0 ? `, which may ask for ${commands.join(", ")}` : "";
  const text = url
    ? `states and counts are told to the MQTT broker ${url}${may}`
    : "no MQTT broker is told anything any more";
  const say = () => note({ kind: "problem", code: "mqtt", text });
  const path = join(state, "home");
  const wasTold = await stat(path).catch(() => undefined);
  if (url === "" && !wasTold) return;
  // On a card that failed nothing is written: better twice in the log than not at all.
  if (outbox.kind === "memory") return await say();
  const folder = await openDurable(path);
  try {
    const told = await folder.read("told").catch((error) => {
      if (!isFailure(error, "absent")) throw error;
      return new Uint8Array();
    });
    const mark = url && `${url}${may}`;
    if (toText(told) === mark) return;
    await say();
    await folder.write("told", fromText(mark));
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
}: HomeOptions): Promise<Pick<Reading, "storage" | "temperature" | "throttled">> {
  const usedBytes = outbox.bytes();
  const card = await statfs(join(state, "outbox")).catch(() => undefined);
  const spareBytes = card
    ? card.bavail * card.bsize - config.outbox.headroomMiB * mib
    : Number.POSITIVE_INFINITY;
  const freeBytes = Math.max(0, Math.min(limitBytes - usedBytes, spareBytes));
  const storage = { usedMiB: usedBytes / mib, freeMiB: freeBytes / mib };
  return { storage, ...(await readHeat()) };
}
