import { type AlarmEvent, alarmEvent, alarmTypes } from "../../src/device/mqtt/alarms.ts";
import type { Form } from "../../src/device/mqtt/discovery.ts";
import {
  type Condition,
  event,
  eventTypes,
  type StateName,
  stateOf,
  states,
} from "../../src/device/mqtt/topics.ts";
import type { VisitEvent } from "../../src/device/mqtt/visits.ts";
import { type Away, type Fresh, type Heard, readStream, visitFaults } from "./stream.ts";
import { expectedStates, faultOf, type Message } from "./topics.ts";

// Holds everything that a house heard of a camera, over hours with restarts, against the map of topics: what
// each message is by itself, what they are together, and what is missing.

/** What the broker's own log says that a client published. */
export type Published = { topic: string; qos: number; isRetained: boolean; isDenied: boolean };
export type Hour = {
  /** All that the house heard of the camera, in order; not what the house wrote itself. */
  messages: readonly Heard[];
  published: readonly Published[];
  /** What lies at the broker when nobody was looked for any more, and the camera was stopped. */
  retained: readonly Message[];
  aways: readonly Away[];
  zones: readonly string[];
  conditions: readonly Condition[];
  where: { base: string; node: string; prefix: string; form: Form };
  /** Topics, or `topic value`, that cannot come about here, with the reason. */
  absent: Readonly<Record<string, string>>;
};

/** Where a state is when nothing happens, and for how many seconds it may be elsewhere. */
export const resting: { readonly [K in StateName]: { value: string; mostS: number } | undefined } =
  {
    availability: { value: "online", mostS: 0 },
    person: { value: "OFF", mostS: 90 },
    count: { value: "0", mostS: 90 },
    motion: { value: "OFF", mostS: 90 },
    last_event: undefined,
    recording: { value: "OFF", mostS: 120 },
    being_watched: { value: "OFF", mostS: 40 },
    privacy: { value: "OFF", mostS: 120 },
    detection: { value: "ON", mostS: 120 },
    threshold: { value: "0.4", mostS: 120 },
    profile: { value: "none", mostS: 120 },
    pairing_window: { value: "OFF", mostS: 660 },
    relay: { value: "ON", mostS: 180 },
    outbox_depth: { value: "0", mostS: 600 },
    outbox_age: { value: "0", mostS: 600 },
    storage_used: undefined,
    storage_free: undefined,
    temperature: undefined,
    throttled: undefined,
    clock_trusted: undefined,
    version: undefined,
    problem: { value: "OFF", mostS: 120 },
    problem_text: { value: "none", mostS: 120 },
    alarm: { value: "disarmed", mostS: 240 },
    alarm_score: { value: "0", mostS: 300 },
    alarm_warning: { value: "OFF", mostS: 60 },
    alarm_siren: { value: "OFF", mostS: 60 },
    last_alarm: undefined,
    "zone/+/person": { value: "OFF", mostS: 90 },
    "zone/+/count": { value: "0", mostS: 90 },
  };
/** What is another thing once nobody is looked for any more, and the camera was stopped. */
const stopped: Partial<Record<StateName, string>> = { availability: "offline", detection: "OFF" };

/** What a slow machine needs to bring one message after another that belongs to it. */
const slackMs = 15_000;

const nameOf = ({ where }: Hour, topic: string) =>
  topic.startsWith(`${where.base}/`) ? topic.slice(where.base.length + 1) : undefined;
const textOf = ({ payload }: Message) => payload.toString("utf8");

/** Whether this is within a time in which somebody was away, or just after it. */
const isNearAway = ({ aways }: Hour, atMs: number) =>
  aways.some(({ fromMs, toMs }) => atMs >= fromMs - 1_000 && atMs <= toMs + slackMs);

/** Every message by itself: a topic of the map, a payload of this topic, no picture, QoS and retained as said. */
function singly(hour: Hour): string[] {
  return hour.messages.flatMap((message) => {
    const { topic, qos, isRetained } = message;
    const fault = faultOf(message, hour.where);
    if (fault) return [fault];
    if (qos !== 1) return [`${topic}: QoS ${qos}`];
    const name = nameOf(hour, topic) ?? "";
    const isLetter = name === event.topic || name === alarmEvent;
    return isRetained === !isLetter ? [] : [`${topic}: ${isRetained ? "" : "not "}retained`];
  });
}

/** The broker's own word: what the camera sent, and what it was not allowed to. */
function sent(hour: Hour): string[] {
  const heard = new Set(hour.messages.map(({ topic }) => topic));
  return hour.published.flatMap(({ topic, qos, isRetained, isDenied }) => {
    const name = nameOf(hour, topic) ?? "";
    const isLetter = name === event.topic || name === alarmEvent;
    return [
      ...(isDenied ? [`${topic}: the broker does not let it`] : []),
      ...(qos === 1 ? [] : [`${topic}: sent with QoS ${qos}`]),
      ...(isRetained === !isLetter ? [] : [`${topic}: sent ${isRetained ? "" : "not "}retained`]),
      ...(heard.has(topic) ? [] : [`${topic}: the house never heard it`]),
    ];
  });
}

/** What has to come about at least once, unless it is listed with a reason: topics, and what they can say. */
export function wanted({ zones, conditions, where }: Omit<Hour, "messages">): string[] {
  const named = expectedStates(zones, conditions).flatMap((topic) => {
    const state = stateOf(topic) as StateName;
    if (state === "alarm") return panel.map((value) => `${topic} ${value}`);
    if (state === "availability") return [`${topic} online`, `${topic} offline`];
    return states[state].kind === "flag" ? [`${topic} ON`, `${topic} OFF`] : [topic];
  });
  const busy = [
    "count",
    "outbox_depth",
    "alarm_score",
    ...zones.map((zone) => `zone/${zone}/count`),
  ];
  const isThere = (topic: string) => named.includes(topic);
  const alarms = conditions.includes("alarm")
    ? alarmTypes.map((one) => `${alarmEvent} ${one}`)
    : [];
  return [
    ...[...named, ...busy.filter(isThere).map((topic) => `${topic} more`)],
    ...[...eventTypes.map((type) => `${event.topic} ${type}`), ...alarms],
    ...(where.form === "device" ? ["discovery"] : []),
  ];
}
const panel = ["disarmed", "arming", "armed_home", "armed_away", "pending", "triggered"];

function seenIn(hour: Hour): Set<string> {
  const all = new Set<string>();
  for (const message of hour.messages) {
    const name = nameOf(hour, message.topic);
    const text = textOf(message);
    if (name === undefined) all.add("discovery");
    else if (text !== "") {
      const isLetter = name === event.topic || name === alarmEvent;
      const value = isLetter ? (JSON.parse(text) as { event_type: string }).event_type : text;
      all.add(name).add(`${name} ${value}`);
      if (Number(value) > 0) all.add(`${name} more`);
    }
  }
  return all;
}

/** What never came; and what is listed as what cannot, and came. */
function seen(hour: Hour): string[] {
  const { absent } = hour;
  const all = seenIn(hour);
  const missing = wanted(hour).filter((what) => !all.has(what) && absent[what] === undefined);
  const surprising = Object.keys(absent).filter((what) => all.has(what));
  return [
    ...missing.map((what) => `${what}: never came`),
    ...surprising.map((what) => `${what}: came, though ${absent[what]}`),
  ];
}

const eventsOf = (hour: Hour) =>
  readStream<VisitEvent>(hour, `${hour.where.base}/${event.topic}`, "Visit");
const alarmsOf = (hour: Hour) =>
  readStream<AlarmEvent>(hour, `${hour.where.base}/${alarmEvent}`, "Alarm");

/** Both streams: no double, no gap, no disorder, and each visit from its beginning to its end. */
function streams(hour: Hour): string[] {
  const events = eventsOf(hour);
  return [
    ...[...events.faults, ...alarmsOf(hour).faults],
    ...visitFaults(hour, events.fresh, slackMs),
  ];
}

/** Visits, from `new` to `end`, or to the next start of the camera. */
function visitsOf(hour: Hour): { id: string; fromMs: number; toMs: number }[] {
  const { fresh } = eventsOf(hour);
  const lastMs = hour.messages.at(-1)?.atMs ?? 0;
  return fresh.flatMap(({ value: { event_type, id, run }, heard }, i) => {
    if (event_type !== "new") return [];
    const after = fresh.slice(i + 1);
    const isOver = ({ value }: Fresh<VisitEvent>) =>
      value.run !== run || (value.id === id && value.event_type === "end");
    return [{ id, fromMs: heard.atMs, toMs: after.find(isOver)?.heard.atMs ?? lastMs }];
  });
}

/** Somebody is there by the states when somebody is by the events, and the other way round. */
function together(hour: Hour): string[] {
  const visits = visitsOf(hour);
  const said = hour.messages.filter(({ topic }) => nameOf(hour, topic) === "person");
  const isOn = (message: Heard) => textOf(message) === "ON";
  const lies = said.filter(
    (one) =>
      isOn(one) &&
      !isNearAway(hour, one.atMs) &&
      !visits.some(
        ({ fromMs, toMs }) => one.atMs >= fromMs - slackMs && one.atMs <= toMs + slackMs,
      ),
  );
  const silences = visits.filter(({ fromMs, toMs }) => {
    if (isNearAway(hour, fromMs) || isNearAway(hour, toMs) || toMs - fromMs < 3_000) return false;
    const during = said.filter(({ atMs }) => atMs >= fromMs - slackMs && atMs <= toMs);
    return !during.some(isOn);
  });
  return [
    ...lies.map(({ topic }) => `${topic}: ON, and no visit is open`),
    ...silences.map(({ id }) => `visit ${id.slice(0, 8)}: person was never ON`),
  ];
}

/** For how long within a time everybody was there, ms. */
export function presentMs({ aways }: Pick<Hour, "aways">, fromMs: number, toMs: number): number {
  let [restMs, untilMs] = [0, fromMs];
  for (const away of [...aways].sort((a, b) => a.fromMs - b.fromMs)) {
    const beginsMs = Math.min(toMs, Math.max(untilMs, away.fromMs));
    restMs += Math.max(0, beginsMs - untilMs);
    untilMs = Math.max(untilMs, Math.min(toMs, away.toMs));
  }
  return restMs + Math.max(0, toMs - untilMs);
}

/** No state is elsewhere than at rest for longer than it may be. */
function stuck(hour: Hour): string[] {
  const lastMs = hour.messages.at(-1)?.atMs ?? 0;
  const since = new Map<string, number>();
  const faults: string[] = [];
  const end = (topic: string, mostS: number, atMs: number) => {
    const fromMs = since.get(topic);
    since.delete(topic);
    if (fromMs === undefined) return;
    const ms = presentMs(hour, fromMs, atMs);
    if (ms > mostS * 1000 + slackMs) faults.push(`${topic}: stuck for ${Math.round(ms / 1000)} s`);
  };
  const boundOf = (topic: string) => {
    const state = stateOf(topic);
    return state && resting[state];
  };
  for (const message of hour.messages) {
    const name = nameOf(hour, message.topic);
    const rest = name === undefined ? undefined : boundOf(name);
    if (name === undefined || !rest) continue;
    if (textOf(message) === rest.value || message.payload.length === 0) {
      end(name, rest.mostS, message.atMs);
    } else if (!since.has(name)) since.set(name, message.atMs);
  }
  for (const topic of [...since.keys()]) end(topic, boundOf(topic)?.mostS ?? 0, lastMs);
  return faults;
}

/** When all is over each state lies at the broker, at rest, and nothing else does. */
function rest(hour: Hour): string[] {
  const { retained, zones, conditions } = hour;
  const expected = expectedStates(zones, conditions);
  const found = new Map(
    retained.flatMap((message) => {
      const name = nameOf(hour, message.topic);
      return name === undefined ? [] : [[name, textOf(message)] as const];
    }),
  );
  const faults = [...found.keys()]
    .filter((name) => !expected.includes(name))
    .map((name) => `${name}: lies at the broker`);
  for (const topic of expected) {
    const state = stateOf(topic) as StateName;
    const value = stopped[state] ?? resting[state]?.value;
    const is = found.get(topic);
    if (is === undefined) faults.push(`${topic}: does not lie at the broker`);
    else if (value !== undefined && is !== value) faults.push(`${topic}: rests at ${is}`);
  }
  return faults;
}

/** `last_event` and `last_alarm` are the newest messages, and never were anything else than a message. */
function newest(hour: Hour): string[] {
  const pairs = [
    ["last_event", eventsOf(hour).fresh],
    ["last_alarm", alarmsOf(hour).fresh],
  ] as const;
  return pairs.flatMap(([name, fresh]) => {
    const texts = new Map(
      fresh.map(({ value, heard }) => [`${value.run}.${value.number}`, textOf(heard)]),
    );
    const said = hour.messages.filter(({ topic }) => nameOf(hour, topic) === name);
    const foreign = said.filter((message) => {
      const { run, number } = JSON.parse(textOf(message) || "{}");
      const text = texts.get(`${run}.${number}`);
      return run !== undefined && text !== undefined && text !== textOf(message);
    });
    const last = fresh.at(-1)?.value;
    const lies = hour.retained.find(({ topic }) => nameOf(hour, topic) === name);
    const { run, number } = JSON.parse((lies && textOf(lies)) || "{}");
    const isNewest = !last || (run === last.run && number === last.number) || run === undefined;
    return [
      ...foreign.map(() => `${name}: another text than the message's`),
      ...(isNewest ? [] : [`${name}: ${run}.${number}, not ${last?.run}.${last?.number}`]),
    ];
  });
}

/** Each says what is wrong by it; nothing when all is well. */
export const checks = { singly, sent, seen, streams, together, stuck, rest, newest } as const;

/** All that is wrong, each line with the check that found it. */
export function faultsOf(hour: Hour): string[] {
  const alone = singly(hour);
  // What is not even a message of the map cannot be read as one.
  if (alone.length > 0) return alone.map((fault) => `singly: ${fault}`);
  return Object.entries(checks).flatMap(([name, check]) =>
    check(hour).map((fault) => `${name}: ${fault}`),
  );
}

/** What a client of this id published, by Mosquitto's log. */
export function readBrokerLog(log: string, client: string): Published[] {
  const line = /(Received|Denied) PUBLISH from (\S+) \(d\d, q(\d), r(\d), m\d+, '([^']*)'/g;
  return [...log.matchAll(line)].flatMap(([, how, who, qos, retain, topic = ""]) =>
    who === client
      ? [{ topic, qos: Number(qos), isRetained: retain === "1", isDenied: how === "Denied" }]
      : [],
  );
}
