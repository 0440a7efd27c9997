import {
  type AlarmEvent,
  type StateName,
  states,
  type Topic,
  type VisitEvent,
} from "../mqtt/mqtt.ts";

// What the local interface shows: the states and events that the house is told by MQTT, as JSON.

export type Value = boolean | number | string | object | null;
export type States = {
  /** What the owner calls the camera. */
  name: string;
  /** ISO 8601 in UTC. */
  at: string;
  states: Record<string, Value>;
  zones: Record<string, Record<string, Value>>;
};
/** `zone` of a zone's own state; `value` null for one that is no more. */
export type Change = { zone?: string; name: string; value: Value };
/** The two streams of events, each numbered by itself. */
export type Kinds = { visit: VisitEvent; alarm: AlarmEvent };
export type Kind = keyof Kinds;
/** `place` in the order of both. */
export type Kept = {
  [K in Kind]: { kind: K; place: number; id: string; event: Kinds[K] };
}[Kind];
export type Listener = { change(change: Change): void; event(kept: Kept): void };

export type Board = {
  /** As MQTT would be told: a topic below the camera's own, and its payload; empty takes it away. */
  put(topic: string, payload: string): void;
  event<K extends Kind>(kind: K, event: Kinds[K]): void;
  read(): States;
  /** The newest of a kind, oldest first. */
  events<K extends Kind>(kind: K): readonly Kinds[K][];
  /**
   * Those of both kinds that came after one, in their order; with `isShort` when some of them are not kept any
   * more, or it is not known.
   */
  after(id: string): { events: readonly Kept[]; isShort: boolean };
  /** How many visits began since the start. */
  visits(): number;
  listen(listener: Listener): () => void;
};

/** Of each kind. */
export const mostEvents = 64;

const marks: Readonly<Record<Kind, string>> = { visit: "", alarm: "a" };
const idOf = (kind: Kind, { run, number }: { run: string; number: number }) =>
  `${run}.${marks[kind]}${number}`;
export const idPattern = "^[0-9a-f]{8}\\.a?[1-9][0-9]{0,15}$";

export function createBoard(options: { name(): string; wallMs(): number }): Board {
  const payloads = new Map<string, string>();
  const listeners = new Set<Listener>();
  let kept: Kept[] = [];
  /** The last of those that are not kept any more. */
  let gone: Kept | undefined;
  let place = 0;
  let visits = 0;
  return {
    put(topic, payload) {
      const before = payloads.get(topic);
      if (payload === (before ?? "")) return;
      if (payload === "") payloads.delete(topic);
      else payloads.set(topic, payload);
      const change = changeOf(topic, payload);
      for (const one of listeners) one.change(change);
    },
    event(kind, event) {
      if (event.event_type === "new") visits += 1;
      place += 1;
      const one = { kind, place, id: idOf(kind, event), event } as Kept;
      const same = kept.filter((other) => other.kind === kind);
      const oldest = same.length < mostEvents ? undefined : same[0];
      kept = [...kept.filter((other) => other !== oldest), one];
      if (oldest && oldest.place > (gone?.place ?? 0)) gone = oldest;
      for (const listener of listeners) listener.event(one);
    },
    read() {
      const told: Pick<States, "states" | "zones"> = { states: {}, zones: {} };
      for (const [topic, payload] of payloads) {
        const { zone, name, value } = changeOf(topic, payload);
        if (zone === undefined) told.states[name] = value;
        else told.zones[zone] = { ...told.zones[zone], [name]: value };
      }
      return { name: options.name(), at: new Date(options.wallMs()).toISOString(), ...told };
    },
    events: <K extends Kind>(kind: K) =>
      kept.flatMap((one) => (one.kind === kind ? [one.event as Kinds[K]] : [])),
    after(id) {
      const last = [...kept, ...(gone ? [gone] : [])].find((one) => one.id === id);
      const from = last?.place ?? 0;
      const events = kept.filter((one) => one.place > from);
      return { events, isShort: last === undefined || from < (gone?.place ?? 0) };
    },
    visits: () => visits,
    listen(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

/** A zone's topic by the name that it has in the map. */
export function splitTopic(topic: string): { zone?: string; name: string; of: StateName } {
  const found = /^zone\/([^/]+)\/([^/]+)$/.exec(topic);
  const [, zone, name] = found ?? [];
  if (zone === undefined || name === undefined) return { name: topic, of: topic as StateName };
  return { zone, name, of: `zone/+/${name}` as StateName };
}

function changeOf(topic: string, payload: string): Change {
  const { zone, name, of } = splitTopic(topic);
  return { ...(zone === undefined ? {} : { zone }), name, value: readPayload(of, payload) };
}

function readPayload(name: StateName, payload: string): Value {
  if (payload === "") return null;
  const { kind } = states[name] as Topic<never>;
  if (kind === "flag") return payload === "ON";
  if (kind === "whole" || kind === "number") return Number(payload);
  if (kind === undefined) return payload;
  const value = JSON.parse(payload);
  // No event yet.
  return Object.keys(value).length === 0 ? null : value;
}
