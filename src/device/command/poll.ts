import { nodeSuite } from "../../base/node/crypto.ts";
import { toHex } from "../../base/pure/bytes.ts";
import type { Clock } from "../../base/pure/clock.ts";
import { Failure, isFailure } from "../../base/pure/failure.ts";
import { type DoorList, verifyDoorList } from "../../protocol/wire/door.ts";
import { type BoxName, checkName, printName } from "../../protocol/wire/name.ts";
import type { Backoff, Relay } from "../uplink/uplink.ts";

const waitMs = 55_000;
/** An answer that comes at once and brings nothing: a relay may not make us run. */
const pauseMs = 2_000;
const longestPauseMs = 60_000;
const mostWriters = 32;
const pageLimit = 50;
/** So many boxes that are for nobody here are looked into at once; of more, one in each such time. */
const mostStrange = 500;
const strangeMs = 10_000;
/**
 * A writer's boxes are listed from the first on this often: a name that a relay made up, or gave a
 * later place than its own, must not hide for good what comes before it.
 */
const againMs = 60 * 60_000;
const mostKnown = 5_000;

export type PollOptions = {
  relay: Relay;
  backoff: Backoff;
  mailbox: Uint8Array;
  /** The list of the adoption: an older one is not believed. */
  doors: DoorList;
  clock: Clock;
  signal: AbortSignal;
  /** The last box of this writer that was looked at. */
  cursor(writer: string): string | undefined;
  /** One box, in the order of its writer's numbers; false when it was for nobody here. Throws what ends the program. */
  onBox(bytes: Uint8Array, name: BoxName): Promise<boolean>;
};

/**
 * Waits for what phones put into their boxes on one relay: a long poll for each key that the owner's
 * door list gives a box, and one for that list. Resolves when the signal aborts.
 */
export async function poll(options: PollOptions): Promise<void> {
  const { relay, backoff, mailbox, signal } = options;
  let version = options.doors.version;
  const watching = new Map<string, { stop: AbortController; task: Promise<void> }>();
  const watch = (list: DoorList) => {
    const writers = writersOf(list);
    for (const [writer, { stop }] of watching) if (!writers.has(writer)) stop.abort();
    for (const writer of writers) {
      if (watching.has(writer)) continue;
      const stop = new AbortController();
      const own = AbortSignal.any([signal, stop.signal]);
      const task = readBox(writer, { ...options, signal: own }).finally(() =>
        watching.delete(writer),
      );
      // Whoever waits below hears of it.
      task.catch(() => {});
      watching.set(writer, { stop, task });
    }
  };
  watch(options.doors);
  const failed = () => Promise.race([...watching.values()].map(({ task }) => task.then(never)));
  const readDoors = async () => {
    const bytes = await relay.urgent.get({ kind: "door" }, { signal });
    const list = bytes && sound(() => verifyDoorList(bytes, mailbox, nodeSuite));
    const isNewer = list !== undefined && list.version > version;
    if (list && list.version >= version) {
      version = list.version;
      watch(list);
    }
    const under = "door";
    await relay.urgent.list({ under, after: under, waitMs, signal });
    return isNewer;
  };
  await Promise.race([
    failed(),
    forever(readDoors, { ...options, backoff }).then(async () => {
      await Promise.all([...watching.values()].map(({ task }) => task));
    }),
  ]);
}

/** Keys that may put something into a box of their own. */
function writersOf({ doors, root }: DoorList): Set<string> {
  const boxes = doors.flatMap((door) =>
    "rights" in door && door.rights.has("box") ? [toHex(door.key)] : [],
  );
  return new Set([...boxes.slice(0, mostWriters), toHex(root)]);
}

async function readBox(writer: string, options: PollOptions): Promise<void> {
  const { relay, signal, clock, cursor, onBox } = options;
  const under = `box/${writer}/`;
  /** Hashes of boxes that were looked into: none is a second time, whatever its name. */
  const known = new Set<string>();
  const turn = turns(options);
  let after = cursor(writer) ?? "";
  let isFirst = true;
  let firstUs = clock.monotonicUs();
  await forever(async () => {
    if (clock.monotonicUs() - firstUs > againMs * 1000) {
      firstUs = clock.monotonicUs();
      after = "";
      isFirst = true;
    }
    const page = await relay.urgent.list({
      ...{ under, limit: pageLimit, signal, after },
      // What lies there already is fetched at once.
      ...(isFirst ? {} : { waitMs }),
    });
    isFirst = false;
    let isBusy = false;
    for (const { name } of page) {
      if (name.kind !== "box" || signal.aborted) continue;
      after = printName(name);
      if (known.has(toHex(name.hash))) continue;
      const bytes = await relay.urgent.get(name, { signal });
      const isSound = bytes && sound(() => checkName(name, bytes, nodeSuite) ?? true);
      if (isSound) known.add(toHex(name.hash));
      if (known.size > mostKnown) known.clear();
      const isOurs = await onBox(isSound ? bytes : new Uint8Array(), name);
      if (!isOurs) await turn();
      isBusy = true;
    }
    return isBusy;
  }, options);
}

/** Lets the first ones pass, then one in each `strangeMs`. */
function turns({ clock, signal }: Pick<PollOptions, "clock" | "signal">): () => Promise<void> {
  let left = mostStrange;
  let atUs = clock.monotonicUs();
  return async () => {
    const nowUs = clock.monotonicUs();
    left = Math.min(mostStrange, left + (nowUs - atUs) / 1000 / strangeMs) - 1;
    atUs = nowUs;
    if (left < 0) await clock.sleep(strangeMs, signal).catch(() => {});
  };
}

/** Again and again: after a failure when it is time, and never in a circle at full speed. */
async function forever(
  once: () => Promise<boolean>,
  { backoff, signal, clock }: Pick<PollOptions, "backoff" | "signal" | "clock">,
): Promise<void> {
  let idle = 0;
  while (!signal.aborted) {
    await backoff.ready(signal).catch(() => {});
    if (signal.aborted) return;
    const startUs = clock.monotonicUs();
    try {
      const isBusy = await once();
      backoff.worked();
      const isQuick = clock.monotonicUs() - startUs < pauseMs * 1000;
      idle = isQuick && !isBusy ? idle + 1 : 0;
      const pause = Math.min(longestPauseMs, pauseMs * 2 ** Math.max(0, idle - 2));
      if (idle > 1) await clock.sleep(pause, signal).catch(() => {});
    } catch (error) {
      if (signal.aborted) return;
      if (!isFailure(error, "gone", "refused", "corrupt", "full", "offline")) throw error;
      if (error.stage === "storage") throw error;
      backoff.failed(error);
    }
  }
}

function never(): Promise<never> {
  return new Promise(() => {});
}

function sound<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof Failure) return undefined;
    throw error;
  }
}
