import { type StateName, states, type Topic, type VisitEvent } from "../mqtt/mqtt.ts";

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
export type Listener = { change(change: Change): void; event(event: VisitEvent): void };

export type Board = {
  /** As MQTT would be told: a topic below the camera's own, and its payload; empty takes it away. */
  put(topic: string, payload: string): void;
  event(event: VisitEvent): void;
  read(): States;
  /** The newest, oldest first. */
  events(): readonly VisitEvent[];
  /** Those that came after one; with `isShort` when some of them are not kept any more, or it is not known. */
  after(id: string): { events: readonly VisitEvent[]; isShort: boolean };
  /** How many visits began since the start. */
  visits(): number;
  listen(listener: Listener): () => void;
};

export const mostEvents = 64;

export const idOf = ({ run, number }: Pick<VisitEvent, "run" | "number">) => `${run}.${number}`;

export function createBoard(options: { name(): string; wallMs(): number }): Board {
  const payloads = new Map<string, string>();
  const listeners = new Set<Listener>();
  let kept: VisitEvent[] = [];
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
    event(event) {
      if (event.event_type === "new") visits += 1;
      kept = [...kept, event].slice(-mostEvents);
      for (const one of listeners) one.event(event);
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
    events: () => kept,
    after(id) {
      const at = kept.findIndex((event) => idOf(event) === id);
      if (at >= 0) return { events: kept.slice(at + 1), isShort: false };
      // What comes right before the oldest that is kept is known by its number.
      const [first] = kept;
      const isNext = first !== undefined && idOf({ ...first, number: first.number - 1 }) === id;
      return { events: kept, isShort: !isNext };
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
