import { openLog } from "../../src/base/node/log.ts";
import { systemClock } from "../../src/base/node/time.ts";
import type { Incident } from "../../src/device/detect/detect.ts";
import { type Mqtt, type MqttOptions, openMqtt, type Reading } from "../../src/device/mqtt/mqtt.ts";
import type { Order } from "../../src/device/order.ts";
import { until } from "./mosquitto.ts";

/** What a camera that is well reads of itself. */
export const well: Reading = {
  ...{ recording: false, watched: false, pairing: false, problem: undefined },
  ...{ privacy: false, detection: true, threshold: 0.4, profile: "none" },
  relay: { isConnected: true, clips: 0, waitingS: 0 },
  storage: { usedMiB: 1, freeMiB: 100 },
  ...{ temperature: 44, throttled: false, clockTrusted: true },
};

export type Housed = Mqtt & {
  /** Read once a second; may be changed. */
  reading: Reading;
  readonly faults: (string | undefined)[];
  readonly brokers: { isConnected: boolean; why?: string }[];
  /** What it was asked for and may be asked for. */
  readonly orders: Order[];
  log(): string;
  /** Waits for the n-th connection. */
  up(count?: number): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
};

export const base = "obscura/abc";
export const where = { base, node: "obscura_abc", prefix: "homeassistant" };

/** The stage alone, with what it is told written down. */
export function openHoused(
  url: string,
  settings: Partial<MqttOptions["settings"]> = {},
  more: Partial<MqttOptions> = {},
): Housed {
  const state = { reading: well };
  const faults: (string | undefined)[] = [];
  const brokers: { isConnected: boolean; why?: string }[] = [];
  const orders: Order[] = [];
  let said = "";
  const mqtt = openMqtt({
    settings: {
      ...{ url, credentials: "", ca: "", certificate: "", key: "" },
      ...{ prefix: "obscura", discovery: "device", discoveryPrefix: "homeassistant" },
      commands: [],
      ...settings,
    },
    ...{ id: "abc", clientId: "obscura_abc", name: "Porch", version: "0.1.0", zones: [] },
    profiles: ["day", "night"],
    read: () => state.reading,
    onCommand: async (order) => void orders.push(order),
    isDelivered: () => true,
    onFault: (text) => faults.push(text),
    onBroker: (broker) => brokers.push(broker),
    clock: systemClock,
    log: openLog("mqtt", "debug", (line) => {
      said += line;
    }),
    // As soon as may be.
    random: () => 0,
    ...more,
  });
  const ups = () => brokers.filter(({ isConnected }) => isConnected).length;
  return Object.assign(state, {
    ...mqtt,
    ...{ faults, brokers, orders, log: () => said },
    up: (count = 1) =>
      until(`connected ${count} times`, () => ups() >= count, { told: () => said }),
    [Symbol.asyncDispose]: () => mqtt.close(),
  });
}

export const visit = "0123456789abcdef0123456789abcdef";

const sighting = (zones: string[]) => ({
  ...{ track: 1, box: { x: 64, y: 36, width: 128, height: 360 }, score: 0.8 },
  ...{ zones, still: false },
});

/** A visit as detection tells it. */
export function came(zones: string[] = [], id: string = visit): Incident {
  const atUs = systemClock.monotonicUs();
  return {
    ...{ kind: "start", id, firstSeenUs: atUs - 400_000, atUs, count: 1 },
    ...{ persons: [sighting(zones)], frame: { width: 640, height: 360 } },
  };
}

export function moved(zones: string[] = [], id: string = visit): Incident {
  const atUs = systemClock.monotonicUs();
  return { kind: "update", id, atUs, persons: [sighting(zones)], count: 1 };
}

export function left(id: string = visit): Incident {
  const atUs = systemClock.monotonicUs();
  return { kind: "end", id, atUs, lastSeenUs: atUs, mostPersons: 1 };
}
