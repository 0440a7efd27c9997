import { equal, is } from "uvu/assert";
import type { Trio, Verified } from "./trio.ts";

/** What a camera and its owner were told is so, to be held against what there is in the end. */
export type Ledger = {
  /** "CLIP NUMBER" of each part that was said to be durable on the card, and at the relay. */
  readonly durable: Set<string>;
  readonly relayed: Set<string>;
  /** Clips that the phone was asked to delete; true when it said that it has. */
  readonly deleted: Map<string, boolean>;
  /** Takes down what a camera said. */
  take(lines: readonly string[]): void;
};

const patienceMs = 200_000;

export function openLedger(): Ledger {
  const ledger: Ledger = {
    durable: new Set(),
    relayed: new Set(),
    deleted: new Map(),
    take(lines) {
      for (const line of lines) {
        const [what, clip, number] = line.split(" ");
        if (what === "part") ledger.durable.add(`${clip} ${number}`);
        if (what === "relayed") ledger.relayed.add(`${clip} ${number}`);
      }
    },
  };
  return ledger;
}

/**
 * What must hold when everything has come to rest: the phone finds no lie and no loss, each part that
 * was said to be durable is in a clip that opens up to it, each deletion that the phone said it had
 * made is carried out, and nothing went that nobody deleted. Returns how many clips are in which state.
 */
export async function settle(trio: Trio, ledger: Ledger): Promise<Map<string, number>> {
  const isDone = ({ clips }: Verified) =>
    clips.every(({ id, state }) => !ledger.deleted.get(id) || state === "deleted");
  let found = await trio.verify();
  // A deletion is sent by a look, carried out by the camera when it hears of it, and seen by another look.
  for (const endMs = Date.now() + patienceMs; !isDone(found) && Date.now() < endMs; )
    found = await trio.verify();
  equal(found.bad, []);
  is(found.code, 0);
  const states = new Map<string, number>();
  const there = new Map(found.clips.map(({ id, parts }) => [id, parts]));
  is(there.size, found.clips.length, "a clip stands twice");
  for (const { id, state } of found.clips) {
    states.set(state, (states.get(state) ?? 0) + 1);
    const wasDeleted = ledger.deleted.get(id);
    const may = ["whole", "cut off"];
    if (wasDeleted !== undefined) may.push("deleted");
    if (wasDeleted === true) may.splice(0, 2);
    is(may.includes(state), true, `${id} is ${state}, may be ${may}`);
    if (state === "deleted") there.set(id, Number.POSITIVE_INFINITY);
  }
  equal(missingOf(ledger.relayed, there), [], "said to be durable at the relay");
  equal(missingOf(ledger.durable, there), [], "said to be durable on the card");
  return states;
}

/** Which of these parts are not there, by how many parts there are of each clip. */
export function missingOf(all: ReadonlySet<string>, there: ReadonlyMap<string, number>): string[] {
  // Parts are numbered without a hole: a clip with a part of a number has all before it.
  return [...all].filter((one) => {
    const [clip = "", number = ""] = one.split(" ");
    return Number(number) >= (there.get(clip) ?? 0);
  });
}

export const printStates = (states: ReadonlyMap<string, number>) =>
  [...states].map(([state, count]) => `${count} ${state}`).join(", ");

/** Numbers that look random and are the same for a seed (mulberry32). */
export function generator(seed: number): (below: number) => number {
  let state = seed | 0;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}
