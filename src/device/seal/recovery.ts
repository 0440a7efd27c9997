import { equal, fromHex } from "../../base/pure/bytes.ts";
import { Failure, isFailure } from "../../base/pure/failure.ts";
import { readStart } from "../../protocol/sealed/clip.ts";
import { checkLink, verifyEntry } from "../../protocol/wire/entry.ts";
import type { EntryName, PartName } from "../../protocol/wire/name.ts";
import { checkFollows, verifyPart } from "../../protocol/wire/part.ts";
import type { Suite } from "../../protocol/wire/signature.ts";
import type { Outbox } from "../outbox/outbox.ts";
import { type Journal, lost } from "./journal.ts";
import {
  type Head,
  type Notebook,
  type NotebookFolder,
  type OpenClip,
  readNotebook,
} from "./notebook.ts";

// What the log's writer does at a start, before it writes anything new.

export type Start = {
  notebook: Notebook;
  /** Why the log goes on in a new incarnation; undefined when it goes on where it was. */
  reopened: string | undefined;
};

type Where = {
  camera: Uint8Array;
  suite: Suite;
  /** Where the log lies that is gone on with. */
  outbox: Pick<Outbox, "entries" | "read">;
};

/**
 * Finds the head of the log and decides on the incarnation: the notebook's when the entries in the
 * outbox go on from its head without a break, else a new one that is linked to the newest signed
 * head. (A relay's head, and those that commands quote, come with the uplink.)
 *
 * @param first the incarnation of a camera without any log
 */
export async function findHead(
  { camera, suite, outbox }: Where,
  folder: NotebookFolder,
  first: number,
): Promise<Start> {
  const kept = await readNotebook(folder);
  const names = outbox.entries();
  const newest = await newestOf(names, { camera, suite, outbox });
  if (!kept) {
    const empty = { epoch: 0, elapsedMs: 0, spent: {}, open: [], announced: 0, receiving: "" };
    if (!newest)
      return { notebook: { incarnation: first, head: undefined, ...empty }, reopened: undefined };
    const notebook = { incarnation: newest.incarnation + 1, head: headOf(newest), ...empty };
    return { notebook, reopened: "the notebook is missing" };
  }
  if (await followsFrom(kept.head, names, { camera, suite, outbox })) {
    const head = newest ? headOf(newest) : kept.head;
    // The notebook comes first when an incarnation is opened: it may be all there is of it.
    const isAhead = newest && newest.incarnation < kept.incarnation;
    const reopened = isAhead ? "the start before broke off" : undefined;
    return { notebook: { ...kept, head }, reopened };
  }
  const isNewer = newest && (!kept.head || newest.sequence > kept.head.sequence);
  const incarnation = Math.max(kept.incarnation, newest?.incarnation ?? 0) + 1;
  const head = isNewer ? headOf(newest) : kept.head;
  return { notebook: { ...kept, incarnation, head }, reopened: "entries of the log are missing" };
}

/** Incarnations above the newest that are left to starts that can keep what they opened. */
const keptIncarnations = 2 ** 16;
/** Of the numbers that are left, the part that one run in memory may go forward by. */
const stride = 1 / 32;

/**
 * The head and incarnation of a run whose log will not be remembered. Nothing that could be counted
 * on outlives it: the notebook may never change again, and the clock is set to anything. So its
 * incarnation is drawn: above the newest that is known, above all that a card that works again could
 * open next, and among so many (2^27 of them, fewer only after hundreds of such runs have each been
 * gone on from) that no other run draws the same. It follows the newest signed entry that the card
 * still shows.
 *
 * @param draw a number from 0 up to 1, evenly
 */
export async function findPassingHead(
  where: Where,
  folder: NotebookFolder,
  first: number,
  draw: () => number,
): Promise<Start> {
  const { notebook } = await findHead(where, folder, first);
  const base = notebook.incarnation + keptIncarnations;
  const left = 0xffff_ffff - base;
  if (left < 1) throw new Failure("full", "this camera has no incarnation left");
  const incarnation = base + 1 + Math.floor(draw() * Math.max(1, left * stride));
  return { notebook: { ...notebook, incarnation }, reopened: "the card failed" };
}

function headOf({ incarnation, sequence, hash }: Head): Head {
  return { incarnation, sequence, hash };
}

/** The entry with the highest sequence that is this camera's. */
async function newestOf(names: readonly EntryName[], where: Where) {
  for (const name of [...names].reverse()) {
    const entry = await readEntry(name, where);
    if (entry) return entry;
  }
  return undefined;
}

async function readEntry(name: EntryName, { camera, suite, outbox }: Where) {
  try {
    const entry = verifyEntry(await outbox.read(name), camera, suite);
    return equal(entry.hash, name.hash) ? entry : undefined;
  } catch (error) {
    if (isFailure(error, "corrupt", "refused", "absent")) return undefined;
    throw error;
  }
}

/** Whether the head is among the entries and all after it are chained to it, one by one. */
async function followsFrom(
  head: Head | undefined,
  names: readonly EntryName[],
  where: Where,
): Promise<boolean> {
  const from = names.findIndex(({ sequence, hash }) =>
    head ? sequence === head.sequence && equal(hash, head.hash) : sequence === 0,
  );
  if (from < 0) return !head && names.length === 0;
  let before: Awaited<ReturnType<typeof readEntry>>;
  for (const name of names.slice(from)) {
    const entry = await readEntry(name, where);
    if (!entry) return false;
    try {
      if (before) checkLink(entry, before);
    } catch {
      return false;
    }
    before = entry;
  }
  return true;
}

type Whole = Where & { outbox: Outbox; hasEntry(sequence: number): boolean };

/**
 * Finishes what was open when the camera stopped: says what a clip's durable prefix is, once, and
 * clears away parts that are damaged.
 */
export async function finishOpenClips(journal: Journal, where: Whole): Promise<void> {
  for (const open of [...journal.notebook.open]) {
    await finish(open, journal, where);
    journal.notebook.open = journal.notebook.open.filter(({ clip }) => clip !== open.clip);
    await journal.inTurn(() => journal.save());
  }
}

async function finish(open: OpenClip, journal: Journal, where: Whole): Promise<void> {
  const clip = fromHex(open.clip);
  const done = where.hasEntry(open.at);
  if (open.phase === "ending" && done) return;
  const { last, start, broken } = await readPrefix(open.clip, where);
  if (broken.length > 0) {
    await where.outbox.discard(broken);
    await journal.append(lost([{ clip: open.clip, parts: broken.length }], "damaged"));
  }
  // Without part 0 nothing of it ever left this process; its keys stay spent.
  if (!last || !start) return;
  if (open.phase === "starting" && !done) {
    await journal.append({ kind: "clip-started", clip, ...start });
  }
  const ended = open.phase === "ending" && equal(last.hash, open.last.hash);
  const reason = ended ? open.reason : "cut-off";
  await journal.append({ kind: "clip-ended", clip, last, reason });
}

/** The parts of a clip up to the last that is whole, own and chained, and those that are not. */
async function readPrefix(clip: string, { camera, suite, outbox }: Whole) {
  const names = outbox.parts(clip);
  let last: (ReturnType<typeof verifyPart> & { hash: Uint8Array }) | undefined;
  let start: { headerHash: Uint8Array; keyIds: Uint8Array[] } | undefined;
  const sound: PartName[] = [];
  for (const name of names) {
    try {
      const part = verifyPart(await outbox.read(name), camera, suite);
      if (!equal(part.hash, name.hash)) break;
      if (last) checkFollows(part, last);
      else {
        const { headerHash, stanzas } = readStart(part, suite);
        start = { headerHash, keyIds: stanzas.map(({ id }) => id) };
      }
      last = part;
      sound.push(name);
    } catch (error) {
      if (isFailure(error, "corrupt", "refused")) break;
      throw error;
    }
  }
  return {
    last: last && { number: last.number, hash: last.hash },
    start,
    broken: names.slice(sound.length),
  };
}
