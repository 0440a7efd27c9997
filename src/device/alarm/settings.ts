import { choice, number, type Setting, type Values } from "../../base/node/settings.ts";
import { secretFile } from "../login.ts";
import { doublesIn, type Fault } from "../places.ts";

/** What something counts, in each mode: whole numbers. */
export type Weight = { away: number; home: number };

/** A sensor of the house, by what it says at the broker. */
export type Sensor = {
  name: string;
  topic: string;
  weight: Weight;
  /** Where in a JSON payload its value is, a name for each step; empty for the payload itself. */
  field: readonly string[];
  /** The values that count; empty for each message. */
  counts: readonly string[];
  /** Without the entry delay. */
  isInstant: boolean;
};

export type ZoneWeight = { zone: string; weight: Weight };

const most = { sensors: 32, zones: 16, counts: 8, steps: 8, weight: 1000 };
export const longestTopic = 256;
const longestValue = 64;

const weightText = `a whole number from 0 to ${most.weight}, or {away, home} with one for each`;
const isPoints = (value: unknown): value is number =>
  typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= most.weight;
const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function readWeight(value: unknown): Weight | undefined {
  if (isPoints(value)) return { away: value, home: value };
  if (!isObject(value) || Object.keys(value).sort().join() !== "away,home") return undefined;
  const { away, home } = value;
  return isPoints(away) && isPoints(home) ? { away, home } : undefined;
}

const weight = (preset: number, about: string): Setting<Weight> => ({
  default: { away: preset, home: preset },
  about,
  expected: weightText,
  read: readWeight,
});

/** The item, or what is wrong with it. */
type Read<T> = { item: T } | { wrong: string };

/** A list that says which of its items is wrong, and why. */
function listOf<T>(options: {
  about: string;
  expected: string;
  most: number;
  read(value: Record<string, unknown>): Read<T>;
}): Setting<T[]> {
  const { about, expected, read } = options;
  const readAll = (value: unknown): Read<T[]> => {
    if (!Array.isArray(value)) return { wrong: "no list" };
    if (value.length > options.most) return { wrong: `a list of ${value.length}` };
    const items: T[] = [];
    for (const [i, one] of value.entries()) {
      const result = isObject(one) ? read(one) : { wrong: "is not written as {name: …}" };
      if ("wrong" in result) return { wrong: `a list whose item ${i + 1} ${result.wrong}` };
      items.push(result.item);
    }
    return { item: items };
  };
  return {
    ...{ default: [], about, expected: `a list of at most ${options.most} of ${expected}` },
    read: (value) => {
      const result = readAll(value);
      return "item" in result ? result.item : undefined;
    },
    shown: (value) => {
      const result = readAll(value);
      return "wrong" in result ? result.wrong : undefined;
    },
  };
}

const strangers = (value: Record<string, unknown>, known: readonly string[]) => {
  const found = Object.keys(value).find((key) => !known.includes(key));
  return found === undefined ? undefined : `holds ${short(found)}, which is not known there`;
};
const short = (value: unknown) => (JSON.stringify(value) ?? "nothing").slice(0, 80);

function readZone(value: Record<string, unknown>): Read<ZoneWeight> {
  const stranger = strangers(value, ["zone", "weight"]);
  if (stranger) return { wrong: stranger };
  const { zone } = value;
  if (typeof zone !== "string" || !/^[a-z0-9_-]{1,32}$/i.test(zone)) {
    return { wrong: `has the zone ${short(zone)}` };
  }
  const read = readWeight(value.weight);
  return read
    ? { item: { zone, weight: read } }
    : { wrong: `has the weight ${short(value.weight)}` };
}

/** Why a text is not the name of one topic, or nothing. */
export function topicFault(topic: unknown): string | undefined {
  if (typeof topic !== "string" || topic === "") return "is no text";
  if (/[+#]/.test(topic)) return "holds a wildcard";
  if (topic.startsWith("$")) return "is the broker's own";
  if (Buffer.byteLength(topic) > longestTopic) return `is longer than ${longestTopic} bytes`;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: MQTT takes none
  return /[\u0000-\u001f\u007f-\u009f]/.test(topic) ? "holds control characters" : undefined;
}

/** A number that is not exactly what was written would never be what a sensor says. */
const isScalar = (value: unknown) =>
  typeof value === "number"
    ? Math.abs(value) <= Number.MAX_SAFE_INTEGER
    : ["string", "boolean"].includes(typeof value);

function readSensor(value: Record<string, unknown>): Read<Sensor> {
  const known = ["name", "topic", "weight", "field", "counts", "instant"];
  const stranger = strangers(value, known);
  if (stranger) return { wrong: stranger };
  const { name, topic, field, counts, instant = false } = value;
  if (typeof name !== "string" || !/^[\p{L}\p{N}_-][\p{L}\p{M}\p{N} _-]{0,31}$/u.test(name)) {
    const kind = "1 to 32 letters, digits, spaces, _ and -";
    return { wrong: `has the name ${short(name)}, which is not ${kind}` };
  }
  const fault = topicFault(topic);
  if (fault) return { wrong: `(${name}) has the topic ${short(topic)}, which ${fault}` };
  const read = readWeight(value.weight);
  if (!read) return { wrong: `(${name}) has the weight ${short(value.weight)}` };
  const steps = field === undefined ? [] : typeof field === "string" ? field.split(".") : [""];
  if (steps.length > most.steps || steps.some((step) => !/^[^.]{1,64}$/.test(step))) {
    return { wrong: `(${name}) has the field ${short(field)}` };
  }
  const values = counts === undefined ? [] : Array.isArray(counts) ? counts : [counts];
  const isRight = (one: unknown) => isScalar(one) && String(one).length <= longestValue;
  const isEmpty = counts !== undefined && values.length === 0;
  if (isEmpty || values.length > most.counts || !values.every(isRight)) {
    return { wrong: `(${name}) counts ${short(counts)}` };
  }
  if (typeof instant !== "boolean") return { wrong: `(${name}) has instant: ${short(instant)}` };
  const item = { name, topic: topic as string, weight: read, field: steps };
  return { item: { ...item, counts: values.map(String), isInstant: instant } };
}

const seconds = (preset: number, min: number, max: number, about: string) =>
  number({ default: preset, min, max, whole: true, about: `seconds ${about}` });
const points = (preset: number, about: string) =>
  number({ default: preset, min: 1, max: 10_000, whole: true, about });

/** alarm.md says what they do. */
export const alarmSchema = {
  enabled: choice({
    default: false,
    of: [true, false],
    about: "whether this camera is an alarm panel at the MQTT broker (alarm.md)",
  }),
  exitS: seconds(60, 0, 600, "to leave, from arming on"),
  entryS: seconds(30, 0, 600, "to disarm, from when the siren is due"),
  windowS: seconds(60, 5, 600, "for which evidence counts"),
  sliceS: seconds(10, 1, 600, "in which a source of evidence counts once"),
  warnAt: points(40, "the score that asks for the short warning"),
  sirenAt: points(100, "the score that asks for the long siren"),
  warnS: seconds(10, 1, 60, "of warning"),
  sirenS: seconds(180, 5, 900, "of siren"),
  person: weight(20, "what a person counts who is in none of alarm.zones"),
  motion: weight(2, "what it counts that something moves"),
  zones: listOf<ZoneWeight>({
    about: "what a person counts in zones of detect.zones",
    expected: `{zone, weight}, the weight ${weightText}`,
    most: most.zones,
    read: readZone,
  }),
  sensors: listOf<Sensor>({
    about: "what else of the house counts, by what it says at the broker",
    expected: `{name, topic, weight} and where wanted field, counts, instant: a topic without wildcards, the weight ${weightText}, field the steps to a JSON payload's value with . between, counts a value or up to ${most.counts} of them, instant true for no entry delay`,
    most: most.sensors,
    read: readSensor,
  }),
  code: secretFile(
    "a file of one line, the code that disarms, that only its owner may read; empty for none",
  ),
  codeToArm: choice({
    default: false,
    of: [true, false],
    about: "whether arming takes the code too",
  }),
};

export type AlarmSettings = Values<typeof alarmSchema>;

/** What of the settings cannot go together, or nothing. `own` is what the camera's own topics begin with. */
export function alarmFaults(
  settings: AlarmSettings,
  { zones, own }: { zones: readonly string[]; own: string | undefined },
): Fault[] {
  const { warnAt, sirenAt, windowS, sliceS, sensors, code, codeToArm } = settings;
  const weights = settings.zones.map(({ zone }) => zone);
  const most = mostScore(settings, zones);
  const faults: [isWrong: boolean, of: Fault["of"], text: string][] = [
    [
      warnAt >= sirenAt,
      ["alarm.warnAt", "alarm.sirenAt"],
      "alarm.warnAt is to be below alarm.sirenAt",
    ],
    [
      sliceS > windowS,
      ["alarm.sliceS", "alarm.windowS"],
      "alarm.sliceS is to be alarm.windowS at most",
    ],
    ...weights.map((zone, i): (typeof faults)[number] => [
      !zones.includes(zone),
      [["alarm", "zones", i]],
      `alarm.zones names ${zone}, which is not in detect.zones`,
    ]),
    ...sensors.map(({ name, topic }, i): (typeof faults)[number] => [
      own !== undefined && isBelow(topic, own),
      [["alarm", "sensors", i]],
      `alarm.sensors: the topic of ${name} is this camera's own`,
    ]),
    [
      most < sirenAt,
      ["alarm.sirenAt", "alarm.person", "alarm.motion", "alarm.windowS", "alarm.sliceS"],
      `alarm.sirenAt is ${sirenAt}, and all evidence of a window together is ${most} at most`,
    ],
    [codeToArm && code === "", ["alarm.codeToArm"], "alarm.codeToArm needs alarm.code"],
  ];
  return [
    ...faults.filter(([isWrong]) => isWrong).map(([, of, text]) => ({ of, text })),
    ...doublesIn(sensors.map(({ name }) => name)).map((i) => ({
      of: [["alarm", "sensors", i]],
      text: `alarm.sensors has ${sensors[i]?.name} twice`,
    })),
    ...doublesIn(weights).map((i) => ({
      of: [["alarm", "zones", i]],
      text: `alarm.zones has ${weights[i]} twice`,
    })),
  ];
}

export const isBelow = (topic: string, base: string): boolean => topic.startsWith(`${base}/`);

/** The most that the score can be when armed away. */
function mostScore(settings: AlarmSettings, zones: readonly string[]): number {
  const { windowS, sliceS, person, motion, sensors } = settings;
  const isElsewhere = zones.length === 0 || new Set(zones).size > settings.zones.length;
  const each = [
    motion.away,
    ...(isElsewhere ? [person.away] : []),
    ...settings.zones.map(({ weight }) => weight.away),
    ...sensors.map(({ weight }) => weight.away),
  ].reduce((sum, one) => sum + one, 0);
  return each * Math.ceil(windowS / sliceS);
}
