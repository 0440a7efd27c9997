import type { Log } from "../../base/node/log.ts";
import type { Clock } from "../../base/pure/clock.ts";
import { explain } from "../../base/pure/failure.ts";
import { alarmOrders, type Order, type OrderName } from "../order.ts";
import { commandOf, commands, commandTopic } from "./commands.ts";
import type { Session } from "./desk.ts";

export type EarOptions = {
  /** What topics begin with, up to the camera's id. */
  base: string;
  /** What the owner lets the house ask for. */
  allowed: readonly OrderName[];
  /** Carries one out; throws the Failure that says why not. One after the other. */
  take(order: Order): Promise<void>;
  /** Something was carried out, or refused: what is said may be another thing now. */
  onTaken(): void;
  clock: Clock;
  log: Log;
};

export type Ear = {
  /**
   * A connection stands: it asks for the commands that are allowed, and nothing else. False when the broker
   * refuses one of them. Never throws.
   */
  up(session: Session): Promise<boolean>;
  /** Takes what is a command; false for what is none. Never throws. */
  message(message: { topic: string; payload: Uint8Array; isRetained: boolean }): boolean;
  /** Resolves when nothing is being carried out. */
  idle(): Promise<void>;
};

/** Of each command: so many at once, and one more every ten seconds. Each costs an entry of the log. */
const most = 12;
const oneMoreUs = 10_000_000;
/** A line is said again after so long: who sends the same for ever does not fill the log. */
const againUs = 3_600_000_000;

/**
 * Listens for commands at the broker, which anybody may have written who has a right there. What is not
 * allowed, retained, too long, too often or not of its command is refused, and told once. A command may
 * come twice: each says what is to be, so that the second changes nothing.
 */
export function createEar({ base, allowed, take, onTaken, clock, log }: EarOptions): Ear {
  const told = new Map<string, number>();
  const room = new Map<OrderName, { left: number; sinceUs: number }>();
  let last: Promise<void> = Promise.resolve();

  /** Lines are made of names of ours alone, so that there are few of them. */
  const tell = (line: string) => {
    const nowUs = clock.monotonicUs();
    const before = told.get(line);
    if (before !== undefined && nowUs - before < againUs) return;
    told.set(line, nowUs);
    log.warn(line);
  };
  const isInTime = (name: OrderName): boolean => {
    const nowUs = clock.monotonicUs();
    const { left, sinceUs } = room.get(name) ?? { left: most, sinceUs: nowUs };
    const more = Math.floor((nowUs - sinceUs) / oneMoreUs);
    const now = Math.min(most, left + more);
    room.set(name, { left: Math.max(0, now - 1), sinceUs: sinceUs + more * oneMoreUs });
    return now > 0;
  };
  /** The order, or why it is none. */
  const read = (name: OrderName, payload: Uint8Array, isRetained: boolean): Order | string => {
    if (!allowed.includes(name)) {
      return alarmOrders.includes(name) ? "takes alarm.enabled" : "is not among mqtt.commands";
    }
    if (isRetained)
      return "is retained at the broker: it is to be sent without that, and taken away";
    if (!isInTime(name)) return "comes too often";
    const { most: mostBytes, payload: expected, read } = commands[name];
    const text = payload.length <= mostBytes ? textOf(payload) : undefined;
    const value = text === undefined ? undefined : read(text);
    return value === undefined
      ? `is not what it should be: ${expected}`
      : ({ name, value } as Order);
  };
  const carryOut = async (order: Order) => {
    try {
      await take(order);
    } catch (error) {
      tell(`${commandTopic(order.name)}: ${explain(error)}`);
    }
    onTaken();
  };
  return {
    async up(session) {
      if (allowed.length === 0) return true;
      const topics = allowed.map((name) => `${base}/${commandTopic(name)}`);
      try {
        const isHeard = await session.subscribe(topics, { isKeptShown: true });
        if (!isHeard) tell(`the broker does not let this camera read ${topics.join(", ")}`);
        return isHeard;
      } catch {
        // The connection ended: the next one asks again.
        return true;
      }
    },
    message({ topic, payload, isRetained }) {
      const isBelow = topic.startsWith(`${base}/`);
      const name = isBelow ? commandOf(topic.slice(base.length + 1)) : undefined;
      if (name === undefined) return false;
      // A retained one that is taken away says so.
      if (payload.length === 0) return true;
      const order = read(name, payload, isRetained);
      if (typeof order === "string") tell(`refused: ${commandTopic(name)} ${order}`);
      else last = last.then(() => carryOut(order));
      return true;
    },
    idle: () => last,
  };
}

function textOf(payload: Uint8Array): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(payload);
  } catch {
    return undefined;
  }
}
