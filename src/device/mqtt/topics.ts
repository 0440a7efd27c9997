import type { PanelState } from "../alarm/alarm.ts";
import { type AlarmEvent, isAlarmEvent } from "./alarms.ts";
import type { VisitEvent } from "./visits.ts";

// What the house is told by MQTT: every topic there is, in one map. topics.md beside it is for people;
// a test holds both equal, and every message of the others against this.

/** What is there only when a camera can tell. */
export type Condition = "relay" | "temperature" | "throttled" | "alarm";

type Values = {
  availability: "online" | "offline";
  person: boolean;
  count: number;
  motion: boolean;
  last_event: VisitEvent | undefined;
  recording: boolean;
  being_watched: boolean;
  privacy: boolean;
  detection: boolean;
  threshold: number;
  profile: string;
  pairing_window: boolean;
  relay: boolean;
  outbox_depth: number;
  outbox_age: number;
  storage_used: number;
  storage_free: number;
  temperature: number;
  throttled: boolean;
  clock_trusted: boolean;
  version: string;
  problem: boolean;
  problem_text: string;
  alarm: PanelState;
  alarm_score: number;
  alarm_warning: boolean;
  alarm_siren: boolean;
  last_alarm: AlarmEvent | undefined;
  "zone/+/person": boolean;
  "zone/+/count": number;
};
export type StateName = keyof Values;

/** How Home Assistant shows a topic (discovery.ts). */
export type Shown = {
  /** `+` is the zone's name. */
  name: string;
  platform: "binary_sensor" | "sensor";
  deviceClass?: string;
  diagnostic?: true;
  /** Not switched on in Home Assistant until somebody does. */
  hidden?: true;
  unit?: string;
  stateClass?: "measurement";
  template?: string;
};

export type Topic<T> = {
  /** For people. */
  payload: string;
  /** What it is where values have types (the local interface): text, unless said. */
  kind?: "flag" | "whole" | "number" | "object";
  about: string;
  only?: Condition;
  shown?: Shown;
  /** Never empty: an empty retained payload is the end of a topic. */
  write(value: T): string;
  /** Whether a payload can be one of this topic. */
  isRight(payload: string): boolean;
};

const panelStates: readonly string[] = [
  ...([
    "disarmed",
    "arming",
    "armed_home",
    "armed_away",
    "pending",
    "triggered",
  ] satisfies PanelState[]),
];
const json = {
  ...{ payload: "JSON", kind: "object" as const },
  write: (value: unknown) => JSON.stringify(value ?? {}),
};
const flag = {
  ...{ payload: "`ON` or `OFF`", kind: "flag" as const },
  write: (value: boolean) => (value ? "ON" : "OFF"),
  isRight: (payload: string) => payload === "ON" || payload === "OFF",
};
const share = {
  ...{ payload: "0 to 1", kind: "number" as const },
  write: (value: number) => String(Number(Math.min(1, Math.max(0, value)).toFixed(3))),
  isRight: (payload: string) => /^(0|1|0\.\d{1,3})$/.test(payload),
};
const whole = {
  ...{ payload: "a whole number", kind: "whole" as const },
  write: (value: number) => String(Math.max(0, Math.round(value))),
  isRight: (payload: string) => /^(0|[1-9]\d{0,15})$/.test(payload),
};
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is removed
const control = /[\u0000-\u001f\u007f-\u009f]+/g;
const line = {
  payload: "one line of text",
  // What Home Assistant takes as a state, and never nothing.
  write: (value: string) => value.replace(control, " ").trim().slice(0, 250) || "none",
  isRight: (payload: string) => payload !== "" && payload.length <= 250 && !/[\n\0]/.test(payload),
};

const binary = (name: string, deviceClass?: string): Shown => ({
  ...{ name, platform: "binary_sensor" },
  ...(deviceClass ? { deviceClass } : {}),
});
const sensor = (name: string, more: Partial<Shown> = {}): Shown => ({
  ...{ name, platform: "sensor" },
  ...more,
});
const diagnostic = { diagnostic: true } as const;
const hidden = { diagnostic: true, hidden: true } as const;
const measured = { stateClass: "measurement" } as const;

/** Retained, below `PREFIX/ID/`; `+` stands for a zone's name. */
export const states: { readonly [K in StateName]: Topic<Values[K]> } = {
  availability: {
    payload: "`online` or `offline`",
    about: "whether the rest holds now; the broker itself says `offline` when the camera is gone",
    write: (value) => value,
    isRight: (payload) => payload === "online" || payload === "offline",
  },
  person: {
    ...flag,
    about: "a visit is open: somebody is there, or was a moment ago (`detect.separateVisitS`)",
    shown: binary("Person", "occupancy"),
  },
  count: {
    ...whole,
    about: "how many persons at once, by the last look",
    shown: sensor("Persons", measured),
  },
  motion: {
    ...flag,
    about: "something moves, or did in the last five seconds",
    shown: binary("Motion", "motion"),
  },
  last_event: {
    ...json,
    about: "the newest message of `event`, for who comes later; `{}` until there is one",
    shown: sensor("Last visit", {
      deviceClass: "timestamp",
      template: "{{ value_json.since | default(None) }}",
    }),
    isRight: (payload) => payload === "{}" || isEvent(payload),
  },
  recording: {
    ...flag,
    about: "a clip is being recorded and sealed",
    shown: binary("Recording", "running"),
  },
  being_watched: {
    ...flag,
    about: "somebody was handed a picture in the last ten seconds",
    shown: binary("Being watched"),
  },
  privacy: {
    ...flag,
    about: "the lens is shut: nothing is seen, recorded or shown",
    shown: binary("Privacy"),
  },
  detection: {
    ...flag,
    about: "persons are looked for, when there is no privacy",
    shown: { ...binary("Detection"), ...diagnostic },
  },
  threshold: {
    ...share,
    about: "least score of a person",
    shown: sensor("Threshold", hidden),
  },
  profile: {
    ...line,
    payload: "a profile's name",
    about: "the set of settings that the house chose; `none`",
    shown: sensor("Profile", hidden),
  },
  pairing_window: {
    ...flag,
    about: "a phone may pair with the camera now",
    shown: { ...binary("Pairing window"), ...diagnostic },
  },
  relay: {
    ...flag,
    about: "at least one relay takes what is sealed",
    only: "relay",
    shown: { ...binary("Relay", "connectivity"), ...diagnostic },
  },
  outbox_depth: {
    ...whole,
    about: "clips that wait for a relay, at the one that lacks most",
    only: "relay",
    shown: sensor("Clips that wait", { ...diagnostic, ...measured }),
  },
  outbox_age: {
    ...whole,
    payload: "seconds",
    about: "for how long clips have been waiting without a break, counted from the camera's start",
    only: "relay",
    shown: sensor("Waiting since", { ...hidden, ...measured, deviceClass: "duration", unit: "s" }),
  },
  storage_used: {
    ...whole,
    payload: "MiB",
    about: "what sealed clips take",
    shown: sensor("Storage used", {
      ...{ ...hidden, ...measured, deviceClass: "data_size", unit: "MiB" },
    }),
  },
  storage_free: {
    ...whole,
    payload: "MiB",
    about: "what may still come before the oldest clip goes",
    shown: sensor("Storage free", {
      ...{ ...diagnostic, ...measured, deviceClass: "data_size", unit: "MiB" },
    }),
  },
  temperature: {
    ...whole,
    payload: "°C",
    // There is frost too.
    write: (value) => String(Math.round(value)),
    isRight: (payload) => /^(0|-?[1-9]\d{0,3})$/.test(payload),
    about: "the board's hottest sensor",
    only: "temperature",
    shown: sensor("Temperature", {
      ...{ ...diagnostic, ...measured, deviceClass: "temperature", unit: "°C" },
    }),
  },
  throttled: {
    ...flag,
    about: "the board slows itself down because of heat or a weak supply",
    only: "throttled",
    shown: { ...binary("Throttled", "problem"), ...diagnostic },
  },
  clock_trusted: {
    ...flag,
    about: "the clock has been set since the board was started: times are right",
    shown: { ...binary("Clock set"), ...hidden },
  },
  version: { ...line, about: "of obscura-camera", shown: sensor("Version", hidden) },
  problem: {
    ...flag,
    about: "something is wrong, and the owner may have to do something about it",
    shown: { ...binary("Problem", "problem"), ...diagnostic },
  },
  problem_text: {
    ...line,
    about: "what is wrong, for people; `none`",
    shown: sensor("Problem text", diagnostic),
  },
  alarm: {
    payload: panelStates.map((state) => `\`${state}\``).join(", "),
    about: "how the alarm stands, as a panel of Home Assistant's says it",
    only: "alarm",
    write: (value) => value,
    isRight: (payload) => panelStates.includes(payload),
  },
  alarm_score: {
    ...whole,
    about: "what speaks for somebody being there: the sum of `alarm.windowS`",
    only: "alarm",
    shown: sensor("Alarm score", measured),
  },
  alarm_warning: {
    ...flag,
    about: "the short warning is to sound; all through the entry delay too",
    only: "alarm",
    shown: binary("Alarm warning"),
  },
  alarm_siren: {
    ...flag,
    about: "the long siren is to sound",
    only: "alarm",
    shown: binary("Alarm siren", "safety"),
  },
  last_alarm: {
    ...json,
    about: "the newest message of `alarm_event`, for who comes later; `{}` until there is one",
    only: "alarm",
    shown: sensor("Last of the alarm", {
      template: "{{ value_json.event_type | default('none') }}",
    }),
    isRight: (payload) => payload === "{}" || isAlarmEvent(payload),
  },
  "zone/+/person": {
    ...flag,
    about: "somebody is in this zone, by the last look",
    shown: binary("Person in +", "occupancy"),
  },
  "zone/+/count": {
    ...whole,
    about: "how many are in this zone, by the last look",
    shown: sensor("Persons in +", measured),
  },
};

/** Not retained, below `PREFIX/ID/`. */
export const event = {
  topic: "event",
  payload: "JSON",
  about: "the event stream, below",
} as const;

export const eventTypes = ["new", "update", "end", "clip"] as const;

/** The fields of a message of `event`, for people; its type is `VisitEvent`. */
export const eventFields: { readonly [K in keyof VisitEvent]: string } = {
  event_type: "`new`, `update`, `end` or `clip`",
  id: "of the visit, 32 hexadecimal digits: the same in all its messages",
  run: "of this start of the camera, 8 hexadecimal digits",
  number: "of this message in this run, from 1: one seen before is a double, a gap is a loss",
  at: "when this came about, ISO 8601 in UTC",
  since: "when somebody was first seen, the same",
  clock_trusted: "whether the camera's clock had been set",
  seconds: "how long the visit has lasted",
  count: "persons at once, by the last look",
  most: "the most at once so far",
  score: "the best that a person had in this visit, 0 to 1",
  zones: "names of the zones in which somebody is",
  entered: "names of the zones in which somebody was in this visit",
  persons:
    "a list, 16 at most, of `track` (a number of this person), `box` ([x, y, width, height] as shares of the picture), `score`, `zones` and `still`",
  clip: "id of the newest clip, 32 hexadecimal digits, when its first part is safe on the camera; else null",
  clips: "how many clips the visit has so far",
  sealed: "all of these are sealed to their end",
  delivered: "all of these are whole at a relay",
};

export const onlyWhen: Record<Condition, string> = {
  relay: "only with a relay",
  temperature: "only on a board with a sensor",
  throttled: "only on a board that tells",
  alarm: "only with an alarm",
};

/** The topics that are there only under one of these. */
export const topicsOf = (conditions: readonly Condition[]): StateName[] =>
  (Object.keys(states) as StateName[]).filter((name) =>
    conditions.some((one) => states[name].only === one),
  );

export const zoneTopic = (state: "person" | "count", zone: string): string =>
  `zone/${zone}/${state}`;

/** The state whose topic this is, which may be one of a zone that is not there any more. */
export function stateOf(topic: string): StateName | undefined {
  const zone = /^zone\/[A-Za-z0-9_-]{1,32}\/(person|count)$/.exec(topic);
  const name = zone ? `zone/+/${zone[1]}` : topic;
  const isKnown = Object.hasOwn(states, name) && !topic.includes("+");
  return isKnown ? (name as StateName) : undefined;
}

/** Whether a payload has the fields of an event, all of them and no other. */
export function isEvent(payload: string): boolean {
  try {
    const keys = Object.keys(JSON.parse(payload));
    return keys.join() === Object.keys(eventFields).join();
  } catch {
    return false;
  }
}
