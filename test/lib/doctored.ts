import { type AlarmEvent, alarmEvent, alarmTypes } from "../../src/device/mqtt/alarms.ts";
import { event, type StateName, stateOf, states } from "../../src/device/mqtt/topics.ts";
import type { VisitEvent } from "../../src/device/mqtt/visits.ts";
import type { Heard } from "./stream.ts";
import { expectedStates } from "./topics.ts";
import { type Hour, resting } from "./witness.ts";

// An hour that a witness finds nothing wrong with, and what can be done to it.

export const base = "obscura/abc";
const where = { base, node: "obscura_abc", prefix: "homeassistant", form: "device" as const };
const zones = ["door"];
const conditions = ["relay", "alarm"] as const;
const at = "2026-11-23T12:00:00.000Z";

const visit = (more: Partial<VisitEvent>): VisitEvent => ({
  ...{ event_type: "new", id: "ab".repeat(16), run: "0000000a", number: 1, at, since: at },
  ...{ clock_trusted: true, seconds: 1, count: 1, most: 1, score: 0.5, zones: [], entered: [] },
  ...{ persons: [], clip: null, clips: 0, sealed: false, delivered: false, ...more },
});
const deed = (more: Partial<AlarmEvent>): AlarmEvent => ({
  ...{ event_type: "armed", run: "0000000a", number: 1, at, clock_trusted: true },
  ...{ state: "armed_home", mode: "home", by: "command", score: 0, why: "asked for" },
  ...{ contributions: [], others: 0, ...more },
});

/** Values of each state beside that at rest. */
const others: Partial<Record<StateName, readonly string[]>> = {
  ...{ count: ["1"], outbox_depth: ["1"], alarm_score: ["2"], "zone/+/count": ["1"] },
  alarm: ["arming", "armed_home", "armed_away", "pending", "triggered"],
};
const plain: Partial<Record<StateName, string>> = {
  ...{ storage_used: "1", storage_free: "1", version: "0.1.0", last_event: "{}", last_alarm: "{}" },
  ...{ clock_trusted: "OFF", outbox_age: "0" },
};

/** An hour that is as it should be: every state moves and comes to rest, a visit comes and goes. */
export function goodHour(): Hour & { messages: Heard[] } {
  const messages: Heard[] = [];
  let atMs = 0;
  const say = (topic: string, payload: string, isRetained = true) => {
    atMs += 100;
    messages.push({ topic, payload: Buffer.from(payload), isRetained, qos: 1, atMs });
  };
  const put = (name: string, payload: string) => say(`${base}/${name}`, payload);
  const letter = (name: string, last: string, value: object) => {
    say(`${base}/${name}`, JSON.stringify(value), false);
    put(last, JSON.stringify(value));
  };
  say("homeassistant/device/obscura_abc/config", "{}");
  const all = expectedStates(zones, conditions);
  const restOf = (topic: string) => {
    const state = stateOf(topic) as StateName;
    return resting[state]?.value ?? plain[state] ?? "";
  };
  for (const topic of all) put(topic, restOf(topic));
  for (const topic of all) {
    const state = stateOf(topic) as StateName;
    const isFlag = states[state].kind === "flag";
    if (topic === "person") continue;
    const more = others[state] ?? (isFlag ? [restOf(topic) === "ON" ? "OFF" : "ON"] : []);
    for (const value of more) put(topic, value);
    if (more.length > 0) put(topic, restOf(topic));
  }
  const clip = { clip: "cd".repeat(16), clips: 1 };
  letter(event.topic, "last_event", visit({}));
  put("person", "ON");
  atMs += 5_000;
  letter(event.topic, "last_event", visit({ event_type: "update", number: 2, ...clip }));
  put("person", "OFF");
  const over = { ...clip, count: 0, seconds: 9 };
  letter(event.topic, "last_event", visit({ event_type: "end", number: 3, ...over }));
  const last = { ...over, sealed: true, delivered: true };
  letter(event.topic, "last_event", visit({ event_type: "clip", number: 4, ...last }));
  for (const [i, event_type] of alarmTypes.entries()) {
    letter(alarmEvent, "last_alarm", deed({ event_type, number: i + 1 }));
  }
  put("detection", "OFF");
  put("availability", "offline");
  const newest = new Map(messages.map((one) => [one.topic, one]));
  const retained = [...newest.values()].filter(({ isRetained }) => isRetained);
  const published = messages.map(({ topic, qos, isRetained }) => {
    return { topic, qos, isRetained, isDenied: false };
  });
  return { messages, published, retained, aways: [], zones, conditions, where, absent: {} };
}

export const isOf = (name: string) => (one: { topic: string }) => one.topic === `${base}/${name}`;
export type Good = ReturnType<typeof goodHour>;
export const first = (hour: Good, name: string) => hour.messages.find(isOf(name)) as Heard;
export const nth = (hour: Good, n: number) => hour.messages.filter(isOf(event.topic))[n] as Heard;
export const without = (hour: Good, isGone: (one: Heard) => boolean): Hour => ({
  ...hour,
  messages: hour.messages.filter((one) => !isGone(one)),
});
export const changed = (hour: Good, of: Heard, more: Partial<Heard>): Hour => ({
  ...hour,
  messages: hour.messages.map((one) => (one === of ? { ...one, ...more } : one)),
});
export const inserted = (hour: Good, before: Heard, more: Partial<Heard>): Hour => ({
  ...hour,
  messages: hour.messages.flatMap((one) => (one === before ? [{ ...one, ...more }, one] : [one])),
});
export const rewritten = (hour: Good, n: number, more: Partial<VisitEvent>): Hour => {
  const of = nth(hour, n);
  const value = { ...JSON.parse(of.payload.toString()), ...more };
  return changed(hour, of, { payload: Buffer.from(JSON.stringify(value)) });
};
/** As it was, and then nothing for so long. */
export const later = (hour: Good, name: string, payload: string, seconds: number): Hour => {
  const atMs = hour.messages.at(-1)?.atMs ?? 0;
  const of = first(hour, name);
  const [a, b] = [
    { ...of, payload: Buffer.from(payload), atMs },
    {
      ...of,
      atMs: atMs + seconds * 1000,
      payload: Buffer.from(resting[stateOf(name) as StateName]?.value ?? ""),
    },
  ];
  return { ...hour, messages: [...hour.messages, a, b] };
};
export const lying = (hour: Good, name: string, payload: string): Hour => ({
  ...hour,
  retained: hour.retained.map((one) =>
    isOf(name)(one) ? { ...one, payload: Buffer.from(payload) } : one,
  ),
});
