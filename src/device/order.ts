import type { Setting } from "../base/node/settings.ts";
import type { Command } from "./alarm/alarm.ts";

// What the house may ask of the camera, by whatever way: each has a name and a typed value.

/** The value of each. */
export type Orders = {
  /** The lens is shut: nothing is seen, recorded or shown until it is ended. */
  privacy: boolean;
  /** Whether persons are looked for. */
  detection: boolean;
  /** Least score of a person. */
  threshold: number;
  /** A named set of settings, or `none`. */
  profile: string;
  /** Records for so many seconds, whoever is there. */
  record: number;
  /** Arms, disarms or calls for help, with the code where one was given. */
  alarm: { command: Exclude<Command, "test">; code: string | undefined };
  /** Asks for a warning, to try it. */
  alarm_test: true;
};
export type OrderName = keyof Orders;
export type Order = { [K in OrderName]: { name: K; value: Orders[K] } }[OrderName];

const about: Record<OrderName, true> = {
  ...{ privacy: true, detection: true, threshold: true, profile: true, record: true },
  ...{ alarm: true, alarm_test: true },
};
export const orderNames = Object.keys(about) as readonly OrderName[];
/** Who has an alarm has it to be armed: these are allowed with it, and not without. */
export const alarmOrders: readonly OrderName[] = ["alarm", "alarm_test"];
const allowable = orderNames.filter((name) => !alarmOrders.includes(name));

/** What a broker may ask for is the owner's to say: who may write there can ask for no more. */
export const allowedOrders: Setting<readonly OrderName[]> = {
  default: [],
  about:
    "what the house may ask of the camera by the broker; empty for nothing: who can write there can do all that stands here",
  expected: `a list of some of ${allowable.join(", ")}; the alarm's come with alarm.enabled`,
  read: (value) => {
    if (!Array.isArray(value) || new Set(value).size !== value.length) return undefined;
    return value.every((name) => allowable.includes(name)) ? value : undefined;
  },
};
