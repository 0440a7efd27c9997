import { toHex } from "../base/pure/bytes.ts";
import { Failure, isFailure } from "../base/pure/failure.ts";
import type { Body } from "../protocol/sealed/body.ts";
import { type DayKey, EpochReader, openEpoch } from "../protocol/sealed/epoch.ts";
import { type Entry, entryName, verifyEntry } from "../protocol/wire/entry.ts";
import { type EntryName, printName } from "../protocol/wire/name.ts";
import { hashBytes, type Suite } from "../protocol/wire/signature.ts";
import type { Verified } from "./chain.ts";
import { type Fault, faultOf, judge } from "./fault.ts";
import { type Link, pages } from "./link.ts";
import type { CameraKeys } from "./vault.ts";

/** A verified entry with what it says; its sealed bytes are not kept. */
export type ReadEntry = Verified & {
  /** The first of an epoch: it carried the epoch's key. */
  readonly opens: boolean;
  readonly body: Body | undefined;
  /** Why there is no body: sealed to others, or a fault of its own. */
  readonly trouble: "unreadable" | Fault | undefined;
};

export type Entries = {
  readonly entries: readonly ReadEntry[];
  readonly faults: readonly Fault[];
  /** Epoch keys that were not in the vault yet, by the entry that opens the epoch. */
  readonly found: readonly { opening: Uint8Array; key: Uint8Array }[];
};

export type EntryOptions = {
  readonly link: Link;
  readonly camera: CameraKeys;
  readonly suite: Suite;
  /** The newest entry that is known already, and the one that opened its epoch. */
  readonly from: { last: ReadEntry; opening: ReadEntry | undefined } | undefined;
  /** Where the log begins, where nothing of it is known. */
  readonly base?: { incarnation: number; sequence: number } | undefined;
  /** Heads that somebody named: asked for although no listing shows them. */
  readonly heads: readonly EntryName[];
  onProgress?(read: number): void;
};

/** How many objects are asked for at once, and kept while they wait for their turn. */
const atOnce = 16;
/** More objects than this that are listed and none, or not there, end the reading: that is a flood. */
const mostBad = 2_000;
/** How many epochs can be read on side by side, where a log was forked. */
const mostReaders = 16;

type Fetched = Entry & { hash: Uint8Array; name: EntryName };

/**
 * Fetches, verifies and opens the entries after `from`, in their order. A listing is only a hint: what
 * it leaves out is asked for by the name that the next entry's previous hash gives.
 */
export async function readEntries(options: EntryOptions): Promise<Entries> {
  const { link, camera, suite, from, base, heads } = options;
  const faults: Fault[] = [];
  const entries: ReadEntry[] = [];
  const opener = new EntryOpener(camera, from?.opening);
  const seen = new Set<string>(from ? [toHex(from.last.hash)] : []);
  const floor = from ? from.last.sequence + 1 : (base?.sequence ?? 0);
  const bad = new Set<string>();
  const isBad = (called: string) => {
    bad.add(called);
    if (bad.size <= mostBad) return;
    const text = `${link.where}: more than ${mostBad} entries there are none of this camera`;
    throw new Failure("corrupt", text, { stage: "flood" });
  };
  const check = (name: EntryName, bytes: Uint8Array | undefined): Fetched | undefined => {
    try {
      return bytes && judge(name, bytes, suite, () => verifyEntry(bytes, camera.id, suite));
    } catch (error) {
      const called = printName(name);
      if (!bad.has(called)) faults.push(faultOf(error, called));
      isBad(called);
      return undefined;
    }
  };
  const parentOf = async (child: Fetched): Promise<Fetched | undefined> => {
    // The parent may be the last of an earlier incarnation.
    const below = entries.at(-1)?.incarnation ?? from?.last.incarnation ?? 0;
    for (const incarnation of new Set([child.incarnation, below])) {
      const sequence = child.sequence - 1;
      const name: EntryName = { kind: "entry", incarnation, sequence, hash: child.previous };
      const found = check(name, await link.get(name));
      if (found) return found;
    }
    return undefined;
  };
  const add = async (entry: Fetched) => {
    const run = [entry];
    for (let child = entry; child.sequence > floor && !seen.has(toHex(child.previous)); ) {
      const parent = await parentOf(child);
      if (!parent) break;
      run.push(parent);
      child = parent;
    }
    for (const one of run.reverse()) {
      const hash = toHex(one.hash);
      if (seen.has(hash)) continue;
      seen.add(hash);
      entries.push(opener.open(one));
    }
    options.onProgress?.(entries.length);
  };

  const known = base && printName(entryName(base, new Uint8Array(hashBytes)));
  // Before all entries of that place, whatever their hash.
  const first = known?.slice(0, -2 * hashBytes) ?? "";
  const after = from ? printName(entryName(from.last, from.last.hash)) : first;
  for await (const page of pages(link, { under: "entry/", after })) {
    const names = page.filter((name) => name.kind === "entry");
    for await (const { name, bytes } of ahead(names, (name) => link.get(name))) {
      const entry = seen.has(toHex(name.hash)) ? undefined : check(name, bytes);
      if (entry) await add(entry);
      else if (!bytes) isBad(printName(name));
    }
  }
  for (const name of heads) {
    if (name.sequence < floor || seen.has(toHex(name.hash))) continue;
    const entry = check(name, await link.get(name));
    if (entry) await add(entry);
  }
  return { entries, faults, found: opener.found };
}

/** Fetches a few ahead of the one that is worked on, in order. */
async function* ahead<N>(names: readonly N[], fetch: (name: N) => Promise<Uint8Array | undefined>) {
  const waiting: { name: N; bytes: Promise<Uint8Array | undefined> }[] = [];
  try {
    for (let next = 0; next < names.length || waiting.length > 0; ) {
      for (; waiting.length < atOnce && next < names.length; next++) {
        const name = names[next] as N;
        const bytes = fetch(name);
        // Its turn comes later; until then a failure is nobody's.
        bytes.catch(() => {});
        waiting.push({ name, bytes });
      }
      const first = waiting.shift();
      if (first) yield { name: first.name, bytes: await first.bytes };
    }
  } finally {
    await Promise.allSettled(waiting.map(({ bytes }) => bytes));
  }
}

/** Opens bodies; of forked logs each branch with its own keys. */
class EntryOpener {
  readonly found: { opening: Uint8Array; key: Uint8Array }[] = [];
  readonly #camera: CameraKeys;
  readonly #known: ReadonlyMap<string, Uint8Array>;
  readonly #days: readonly DayKey[];
  #readers: { epoch: string; reader: EpochReader }[] = [];

  constructor(camera: CameraKeys, opening: ReadEntry | undefined) {
    this.#camera = camera;
    this.#known = new Map(camera.epochs.map((one) => [toHex(one.opening), one.key]));
    this.#days = [...camera.days, ...camera.restarts];
    const key = opening && this.#known.get(toHex(opening.hash));
    if (key) this.#add(opening, key);
  }

  open(entry: Fetched): ReadEntry {
    const { incarnation, sequence, membership, epoch, uptimeMs, hash } = entry;
    const head = {
      ...{ camera: this.#camera.id, incarnation, sequence, membership, epoch, uptimeMs, hash },
      // A copy: a view would hold the whole entry in memory.
      ...{ previous: entry.previous.slice(), opens: entry.stanzas !== undefined },
    };
    try {
      const body = this.#read(entry);
      return { ...head, body, trouble: body ? undefined : "unreadable" };
    } catch (error) {
      const fault = faultOf(error, printName(entry.name));
      const kind = fault.kind === "newer" ? "newer" : "broken";
      return { ...head, body: undefined, trouble: { ...fault, kind, sequence } };
    }
  }

  #read(entry: Fetched): Body | undefined {
    if (entry.stanzas) {
      const kept = this.#known.get(toHex(entry.hash));
      const key = kept ?? openEpoch(entry, this.#days);
      if (key && !kept) this.found.push({ opening: entry.hash, key });
      if (!key) return undefined;
      return this.#add(entry, key).open(entry);
    }
    const readers = this.#readers.filter(({ epoch }) => epoch === epochOf(entry)).reverse();
    for (const [i, { reader }] of readers.entries()) {
      try {
        return reader.open(entry);
      } catch (error) {
        if (!isFailure(error, "corrupt") || i === readers.length - 1) throw error;
      }
    }
    return undefined;
  }

  #add(opening: Verified, key: Uint8Array): EpochReader {
    const reader = new EpochReader(opening, key);
    this.#readers = [...this.#readers, { epoch: epochOf(opening), reader }].slice(-mostReaders);
    return reader;
  }
}

function epochOf({ incarnation, epoch, membership }: Verified): string {
  return `${incarnation}/${epoch}/${membership}`;
}
