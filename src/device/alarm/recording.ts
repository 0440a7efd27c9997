import { fromText } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import { type Command, commands } from "./machine.ts";
import { topicFault } from "./settings.ts";

// Recorded events, a line of JSON each: alarm.md, "Recordings".

export const startings = ["away", "home", "disarmed"] as const;
export type Starting = (typeof startings)[number];
export const outcomes = ["nothing", "warning", "siren"] as const;
export type Outcome = (typeof outcomes)[number];

export type Recorded = { atUs: number } & (
  | { kind: "motion" }
  | { kind: "persons"; zones: string[][] }
  | { kind: "message"; topic: string; payload: Uint8Array; isRetained: boolean }
  | { kind: "command"; command: Command }
);
export type Recording = {
  about: string;
  /** How the alarm stood when it began. */
  as: Starting;
  /** The most that should come of it. */
  expect: Outcome | undefined;
  events: Recorded[];
};

export const mostBytes = 16 * 2 ** 20;
const longestS = 7 * 86_400;
const most = { persons: 64, zones: 16, characters: 4096, about: 200 };

type Json = Record<string, unknown>;
const has = (keys: readonly string[], value: Json, optional: readonly string[] = []) =>
  keys.every((key) => Object.hasOwn(value, key)) &&
  Object.keys(value).every((key) => keys.includes(key) || optional.includes(key));
const isText = (value: unknown, limit: number): value is string =>
  typeof value === "string" && value.length <= limit;

/** Throws Failure "misuse" that names the file and the line. */
export function parseRecording(file: string, text: string): Recording {
  // Some editors put a mark before the first line.
  const lines = text.replace(/^\uFEFF/, "").split("\n");
  if (lines.at(-1) === "") lines.pop();
  let recording: Recording | undefined;
  for (const [i, line] of lines.entries()) {
    const refuse = (what: string) => new Failure("misuse", `${file}:${i + 1}: ${what}`);
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      throw refuse(line.trim() === "" ? "an empty line" : "not JSON");
    }
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw refuse("no JSON object");
    }
    if (!recording) recording = readHead(value as Json, refuse);
    else {
      const event = readEvent(value as Json, refuse);
      if (event.atUs < (recording.events.at(-1)?.atUs ?? 0)) throw refuse("before the line above");
      recording.events.push(event);
    }
  }
  if (recording) return recording;
  throw new Failure("misuse", `${file} is empty; its first line is to be {"recording":1}`);
}

/** Its zones and topics that are not among those that the camera knows, each once. */
export function strangersIn(
  { events }: Recording,
  known: { zones: readonly string[]; topics: readonly string[] },
): { zones: string[]; topics: string[] } {
  const zones = events.flatMap((event) => (event.kind === "persons" ? event.zones.flat() : []));
  const topics = events.flatMap((event) => (event.kind === "message" ? [event.topic] : []));
  const without = (all: readonly string[], ours: readonly string[]) =>
    [...new Set(all)].filter((one) => !ours.includes(one));
  return { zones: without(zones, known.zones), topics: without(topics, known.topics) };
}

/** A stranger may have written it: nothing in it is to be a command to a terminal. */
export const harmless = (text: string): string => text.replace(/\p{C}+/gu, " ");

type Refuse = (what: string) => Failure;

function readHead(value: Json, refuse: Refuse): Recording {
  if (!Object.hasOwn(value, "recording")) {
    throw refuse('the first line is to be {"recording":1}, with about, as and expect where wanted');
  }
  if (value.recording !== 1) {
    throw refuse(`a recording of format ${short(value.recording)}; this program reads format 1`);
  }
  const { about = "", as = "away", expect } = value;
  if (!has(["recording"], value, ["about", "as", "expect"])) throw refuse(stranger(value));
  if (!isText(about, most.about)) throw refuse(`about is text of at most ${most.about} characters`);
  const starting = startings.find((one) => one === as);
  if (!starting) throw refuse(`as is ${short(as)}; expected one of ${startings.join(", ")}`);
  const outcome = outcomes.find((one) => one === expect);
  if (expect !== undefined && !outcome) {
    throw refuse(`expect is ${short(expect)}; expected one of ${outcomes.join(", ")}`);
  }
  return { about, as: starting, expect: outcome, events: [] };
}

function readEvent(value: Json, refuse: Refuse): Recorded {
  const { at } = value;
  if (typeof at !== "number" || at < 0 || at > longestS) {
    throw refuse(`at is ${short(at)}; expected seconds from 0 to ${longestS}`);
  }
  const atUs = Math.round(at * 1e6);
  if (has(["at", "motion"], value)) {
    if (value.motion !== true) throw refuse("motion is true or not there");
    return { atUs, kind: "motion" };
  }
  if (has(["at", "persons"], value))
    return { atUs, kind: "persons", zones: zonesOf(value, refuse) };
  if (has(["at", "topic", "payload"], value, ["retained"])) {
    return { atUs, ...messageOf(value, refuse) };
  }
  if (has(["at", "command"], value)) {
    const command = commands.find((one) => one === value.command);
    if (command) return { atUs, kind: "command", command };
    throw refuse(`command is ${short(value.command)}; expected one of ${commands.join(", ")}`);
  }
  throw refuse(stranger(value));
}

function zonesOf({ persons }: Json, refuse: Refuse): string[][] {
  const isZones = (one: unknown) =>
    Array.isArray(one) && one.length <= most.zones && one.every((zone) => isText(zone, 32));
  if (Array.isArray(persons) && persons.length <= most.persons && persons.every(isZones)) {
    return persons as string[][];
  }
  throw refuse(
    `persons is a list of at most ${most.persons}, for each the list of its zones' names`,
  );
}

function messageOf({ topic, payload, retained = false }: Json, refuse: Refuse) {
  const fault = topicFault(topic);
  if (fault) throw refuse(`the topic ${short(topic)} ${fault}`);
  if (typeof retained !== "boolean") throw refuse("retained is true or false");
  const text = typeof payload === "string" ? payload : written(payload);
  if (text === undefined || text.length > most.characters)
    throw refuse(`a payload of more than ${most.characters}`);
  return {
    ...({ kind: "message", topic: topic as string } as const),
    ...{ payload: fromText(text), isRetained: retained },
  };
}

/** Undefined for what is not there, or in so many brackets that it can be read and not be written. */
function written(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}
const short = (value: unknown) =>
  harmless(written(value) ?? (value === undefined ? "not there" : "too deep to be shown")).slice(
    0,
    80,
  );
const stranger = (value: Json) =>
  `${short(Object.keys(value))} is no event; there are {at, motion}, {at, persons}, {at, topic, payload, retained?} and {at, command}`;
