import { openapi } from "../../src/device/local/openapi.ts";
import type { VisitEvent } from "../../src/device/mqtt/visits.ts";
import { faultsOf } from "./schema.ts";
import type { Message } from "./topics.ts";

// What topics.md promises of the streams of events: numbers without gap or double, each visit from `new` to
// `end`, and what of it may be missing where camera or broker was away.

/** `qos` as it came; `atMs` of whatever clock, the same for all. */
export type Heard = Message & { qos: number; atMs: number };
/** From what was done to broker, camera or relay, until all was as before. */
export type Away = {
  what: string;
  fromMs: number;
  toMs: number;
  /** The camera's program ended; hard, when nobody could be told of its end. */
  ends?: "softly" | "hard";
  /** The broker was away for longer than the camera keeps everything. */
  isLong?: boolean;
};
export type Fresh<T> = { value: T; heard: Heard };

type Numbered = { run: string; number: number };
type Told = { messages: readonly Heard[]; aways: readonly Away[] };

const { schemas } = openapi.components;

/** The messages of a stream, each once, and what is wrong with their form, numbers and order. */
export function readStream<T extends Numbered>(
  { messages, aways }: Told,
  topic: string,
  kind: "Visit" | "Alarm",
): { fresh: Fresh<T>[]; faults: string[] } {
  const faults: string[] = [];
  const fresh: Fresh<T>[] = [];
  const texts = new Map<string, string>();
  const over = new Set<string>();
  let last: (Numbered & { atMs: number }) | undefined;
  for (const heard of messages) {
    if (heard.topic !== topic) continue;
    const text = heard.payload.toString("utf8");
    const value = JSON.parse(text) as T;
    const { run, number } = value;
    const name = `${topic}: ${run}.${number}`;
    const before = texts.get(`${run}.${number}`);
    if (before !== undefined) {
      // One that was under way when a connection broke.
      if (before !== text) faults.push(`${name} is two messages`);
      if (!isAround(aways, heard.atMs)) faults.push(`${name} is a double`);
      continue;
    }
    texts.set(`${run}.${number}`, text);
    const wrong = faultsOf(value, { $ref: `#/components/schemas/${kind}` }, schemas);
    faults.push(...wrong.map((fault) => `${name} ${fault}`));
    if (over.has(run)) faults.push(`${name} is of a run that is over`);
    if (last && last.run !== run) over.add(last.run);
    const due = last?.run === run ? last.number + 1 : 1;
    if (number < due) faults.push(`${name} comes after ${due - 1}`);
    const isExcused = aways.some(
      ({ isLong, fromMs, toMs }) =>
        isLong && heard.atMs >= fromMs && (last?.run === run ? last.atMs : 0) <= toMs,
    );
    if (number > due && !isExcused) faults.push(`${name}: ${due} to ${number - 1} are missing`);
    last = { run, number, atMs: heard.atMs };
    fresh.push({ value, heard });
  }
  return { fresh, faults };
}

/** Each visit from its beginning to its end; `slackMs` for what may come late. */
export function visitFaults(
  { messages, aways }: Told,
  fresh: readonly Fresh<VisitEvent>[],
  slackMs: number,
): string[] {
  const faults: string[] = [];
  const visits = new Map<string, Fresh<VisitEvent>[]>();
  for (const one of fresh) {
    const { id, event_type } = one.value;
    const before = visits.get(id) ?? [];
    const fault = stepFault(
      before.map(({ value }) => value),
      one.value,
    );
    if (fault) faults.push(`visit ${id.slice(0, 8)}: ${event_type} ${fault}`);
    visits.set(id, [...before, one]);
  }
  const lastMs = messages.at(-1)?.atMs ?? 0;
  for (const [id, all] of visits) {
    const { value, heard } = all.at(-1) as Fresh<VisitEvent>;
    const isEnded = all.some(({ value: { event_type } }) => event_type === "end");
    const ending = aways.find(({ ends, toMs }) => ends !== undefined && toMs >= heard.atMs);
    const untilMs = ending?.fromMs ?? lastMs;
    if (!isEnded && ending?.ends !== "hard") faults.push(`visit ${id.slice(0, 8)}: never ended`);
    const isDue = isEnded && value.clips > 0 && untilMs - heard.atMs > clipMs + slackMs;
    const wasAway = aways.some(
      (one) => one.toMs >= heard.atMs && one.fromMs <= heard.atMs + clipMs,
    );
    if (isDue && !wasAway && !value.delivered) {
      faults.push(`visit ${id.slice(0, 8)}: its clips were never delivered`);
    }
  }
  return faults;
}

/** Until a clip is sealed to its end, and at a relay that is there. */
const clipMs = 180_000;

function stepFault(before: readonly VisitEvent[], now: VisitEvent): string | undefined {
  const last = before.at(-1);
  const isOver = before.some(({ event_type }) => event_type === "end");
  if ((now.event_type === "new") !== (last === undefined)) {
    return last ? "comes twice" : "comes without a beginning";
  }
  if (isOver !== (now.event_type === "clip")) return isOver ? "comes after the end" : "has no end";
  if (now.most < now.count) return "counts more than the most";
  if (!now.zones.every((zone) => now.entered.includes(zone))) return "is in zones not entered";
  if (now.delivered && !now.sealed) return "is delivered and not sealed";
  if (now.clips > 0 !== (now.clip !== null)) return "has clips without a name";
  if (isOver && now.persons.length > 0) return "has persons after the end";
  if (!last) return undefined;
  if (now.run !== last.run) return "is of another run";
  const grows = ["seconds", "most", "score", "clips"] as const;
  const shrunk = grows.find((field) => now[field] < last[field]);
  if (shrunk) return `has less ${shrunk} than before`;
  return last.entered.every((zone) => now.entered.includes(zone)) ? undefined : "left a zone out";
}

const isAround = (aways: readonly Away[], atMs: number) =>
  aways.some(({ fromMs, toMs }) => atMs >= fromMs - 1_000 && atMs <= toMs + 15_000);
