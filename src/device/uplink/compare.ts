import { equal, toHex } from "../../base/pure/bytes.ts";
import { Failure, isFailure } from "../../base/pure/failure.ts";
import { verifyBeacon } from "../../protocol/wire/beacon.ts";
import type { Mailbox } from "../../protocol/wire/client.ts";
import { verifyEntry } from "../../protocol/wire/entry.ts";
import { type Listed, listMost, printClip } from "../../protocol/wire/mailbox.ts";
import { checkName, type EntryName, type PartName, printName } from "../../protocol/wire/name.ts";
import { hashBytes, type Suite } from "../../protocol/wire/signature.ts";

// The relay's listing held against the outbox. A listing is a hint: one that hides costs a repeated
// put, one that invents costs a bounded number of questions.

export type Head = { incarnation: number; sequence: number; hash: Uint8Array };

/** Pages that may hold nothing of ours before we no longer believe that it is a listing. */
const sparePages = 64;
const mostStrangers = 16;

type Reader = Pick<Mailbox, "list" | "get">;

/**
 * Which of `ours` the relay lacks, and what it has of this incarnation or later ones that is not
 * ours: of these the last few. Jumps over what need not be read.
 */
export async function compareEntries(
  mailbox: Reader,
  ours: readonly EntryName[],
  {
    incarnation,
    since = 0,
    signal,
  }: {
    incarnation: number;
    /** Strangers of the current incarnation below this sequence are passed over. */
    since?: number;
    signal: AbortSignal;
  },
): Promise<{ missing: EntryName[]; strangers: EntryName[] }> {
  const wanted = ours.map((name) => ({ name, text: printName(name) }));
  wanted.sort((a, b) => (a.text < b.text ? -1 : 1));
  const missing: EntryName[] = [];
  const strangers: EntryName[] = [];
  const current = boundOf(incarnation, since);
  // A bound that is before our next one and after all that comes before it.
  const bound = (at: number) => {
    const name = wanted[at]?.name;
    const text = name && boundOf(name.incarnation, name.sequence);
    return text !== undefined && text < current ? text : current;
  };
  let at = 0;
  let after = bound(0);
  for (let pages = Math.ceil(ours.length / listMost) + sparePages; ; pages--) {
    if (pages === 0) throw tooMuch();
    const page = await mailbox.list({ under: "entry/", after, limit: listMost, signal });
    for (const { name } of page) {
      if (name.kind !== "entry") continue;
      const text = printName(name);
      for (let next = wanted[at]; next && next.text < text; next = wanted[++at]) {
        missing.push(next.name);
      }
      if (wanted[at]?.text === text) at += 1;
      else if (name.incarnation >= incarnation) {
        strangers.push(name);
        if (strangers.length > mostStrangers) strangers.shift();
      }
    }
    const last = page.at(-1);
    if (!last || page.length < listMost) break;
    const next = bound(at);
    const end = printName(last.name);
    after = next > end ? next : end;
  }
  missing.push(...wanted.slice(at).map(({ name }) => name));
  return { missing, strangers };
}

/** A bound before all entries with this sequence and after those below it. */
export function boundOf(incarnation: number, sequence: number): string {
  const hash = new Uint8Array(hashBytes);
  return printName({ kind: "entry", incarnation, sequence, hash }).slice(0, -2 * hashBytes - 1);
}

/** Whether a log has this head: what lies before its first entry was let go at a checkpoint. */
export function isIn(entries: readonly EntryName[], { sequence, hash }: Head): boolean {
  const [first] = entries;
  if (first && sequence < first.sequence) return true;
  return entries.some((entry) => equal(entry.hash, hash));
}

/** Which parts of a clip the relay lacks: of those that are ours when its answer has come. */
export async function compareClip(
  mailbox: Reader,
  clip: { incarnation: number; clip: Uint8Array },
  ours: () => readonly PartName[],
  signal: AbortSignal,
): Promise<PartName[]> {
  const there = new Set<string>();
  const under = printClip(clip);
  let after = "";
  for (let pages = Math.ceil(ours().length / listMost) + 2; pages > 0; pages--) {
    const page = await mailbox.list({
      under,
      limit: listMost,
      signal,
      ...(after ? { after } : {}),
    });
    for (const { name } of page) there.add(printName(name));
    const last = page.at(-1);
    if (!last || page.length < listMost) break;
    after = printName(last.name);
  }
  return ours().filter((name) => !there.has(printName(name)));
}

/** Clips at the relay that are not in the outbox, as far as a bounded search finds them. */
export async function foreignClips(
  mailbox: Reader,
  isOurs: (clip: string) => boolean,
  { most, signal }: { most: number; signal: AbortSignal },
): Promise<{ incarnation: number; clip: Uint8Array; parts: number }[]> {
  const found: { incarnation: number; clip: Uint8Array; parts: number }[] = [];
  let after = "";
  for (let pages = sparePages; pages > 0 && found.length < most; pages--) {
    const page = await mailbox.list({
      under: "part/",
      limit: 200,
      signal,
      ...(after ? { after } : {}),
    });
    for (const { clip, incarnation } of clipsOf(page)) {
      if (!isOurs(toHex(clip))) found.push({ incarnation, clip, parts: 0 });
    }
    const last = page.at(-1)?.name;
    if (last?.kind !== "part" || page.length < 200) break;
    // Over the rest of that clip's parts: 0 comes after the slash.
    after = `${printClip(last).slice(0, -1)}0`;
  }
  const first = found.slice(0, most);
  for (const one of first) {
    one.parts = (await mailbox.list({ under: printClip(one), limit: listMost, signal })).length;
  }
  return first;
}

function clipsOf(page: readonly Listed[]): { incarnation: number; clip: Uint8Array }[] {
  const clips = new Map<string, { incarnation: number; clip: Uint8Array }>();
  for (const { name } of page) if (name.kind === "part") clips.set(toHex(name.clip), name);
  return [...clips.values()];
}

/**
 * The newest head that this very camera signed and that its own log does not know, of an incarnation
 * that is not below its own: it was here once, and the card was put back since. What somebody else
 * made up does not verify; what is old is known, or of an incarnation that is over.
 */
export async function findAhead(
  mailbox: Reader,
  strangers: readonly EntryName[],
  {
    camera,
    suite,
    isKnown,
    incarnation,
    signal,
  }: {
    camera: Uint8Array;
    suite: Suite;
    isKnown(head: Head): boolean;
    incarnation: number;
    signal: AbortSignal;
  },
): Promise<Head | undefined> {
  const heads: Head[] = [];
  for (const name of strangers.toReversed()) {
    if (isKnown(name)) continue;
    const bytes = await mailbox.get(name, { signal });
    const entry =
      bytes &&
      sound(() => {
        checkName(name, bytes, suite);
        return verifyEntry(bytes, camera, suite);
      });
    if (!entry || !equal(entry.hash, name.hash) || entry.incarnation < incarnation) continue;
    const { sequence, hash } = entry;
    heads.push({ incarnation: entry.incarnation, sequence, hash });
    break;
  }
  const bytes = await mailbox.get({ kind: "beacon" }, { signal });
  const beacon = bytes && sound(() => verifyBeacon(bytes, camera, suite));
  if (beacon && beacon.incarnation >= incarnation) {
    const head = { incarnation: beacon.incarnation, ...beacon.head };
    if (!isKnown(head)) heads.push(head);
  }
  return heads.sort(byAge).at(-1);
}

/** The newest last: by incarnation, then by sequence. */
export function byAge(a: Head, b: Head): number {
  return a.incarnation - b.incarnation || a.sequence - b.sequence;
}

function sound<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (isFailure(error, "corrupt", "refused")) return undefined;
    throw error;
  }
}

function tooMuch(): Failure {
  return new Failure("corrupt", "the relay lists more than there can be", { stage: "listing" });
}
