import { equal, fromHex, toHex } from "../base/pure/bytes.ts";
import type { PartName } from "../protocol/wire/name.ts";
import type { Suite } from "../protocol/wire/signature.ts";
import { notForUs, readClip, summarise } from "./clips.ts";
import { type Deletion, type Finality, finalityOf, obey, readDeletions } from "./deletions.ts";
import { type Fault, faultOf } from "./fault.ts";
import { type Journal, readJournal } from "./journal.ts";
import { loadLedger, type Shelf, saveLedger } from "./ledger.ts";
import type { Link } from "./link.ts";
import { type Add, chooseParts, listParts } from "./parts.ts";
import { keep, settle } from "./settle.ts";
import { openClips, readTold, type Told } from "./told.ts";
import type { CameraKeys, Summary, Vault } from "./vault.ts";

export type ClipState =
  | "whole"
  | "cut off" // ended without its closing chunk, and the log says so
  | "unfinished" // no end in the log: still being recorded, or withheld
  | "incomplete" // parts that the log names are not there
  | "lost" // the camera had to let it go
  | "deleted" // by this phone
  | "not for this phone"
  | "broken"; // verified and does not open, or damaged

export type Clip = {
  readonly id: Uint8Array;
  readonly state: ClipState;
  /** What is there of it, in order; of rivals the one that the log means. */
  readonly parts: readonly PartName[];
  readonly startMs: number | undefined;
  readonly clockTrusted: boolean;
  readonly summary: Summary | undefined;
  /** Of a deleted clip: whether the camera's copy is gone too. */
  readonly confirmed: boolean;
  /** Of a deleted clip: whether it is final, or who is missing. */
  readonly finality?: Finality;
};

export type Survey = {
  readonly journal: Journal;
  readonly clips: readonly Clip[];
  readonly faults: readonly Fault[];
  /** What owners deleted, by clip in hexadecimal: those that verify. */
  readonly deletions: ReadonlyMap<string, Deletion>;
  /** True when nothing was found that is a lie or a loss. */
  readonly well: boolean;
};

export type SurveyOptions = {
  readonly link: Link;
  readonly vault: Vault;
  readonly camera: CameraKeys;
  readonly suite: Suite;
  /** "all" opens every clip to its end, "new" those that were not opened before. */
  readonly depth: "all" | "new";
  /** Where what was read of the log is kept; without it all of the log is read each time. */
  readonly shelf?: Shelf;
  /** For what is kept of deletions that other phones asked for. */
  readonly nowMs?: number;
  onProgress?(done: number, of: number): void;
  /** So many entries of the log were fetched by now. */
  onEntries?(read: number): void;
};

/**
 * Reads a camera's log and clips, verifies both and each against the other, and moves the keys of
 * clips into the vault. One-time secrets are destroyed at the end, when the keys are durable there.
 */
export async function survey(options: SurveyOptions): Promise<Survey> {
  const { vault, camera, suite } = options;
  const { journal, keepOn } = await look(options);
  const told = readTold(journal);
  const { deletions, faults: forged } = readDeletions(journal, camera, suite);
  const faults: Fault[] = [...(options.link.faults ?? []), ...journal.faults, ...forged];
  if (obey(deletions, camera, options.nowMs ?? 0)) vault.touch();
  const { parts, passed } = await listParts(options, told);
  const kept = new Map(camera.clips.map((one) => [toHex(one.clip), one]));
  const deleted = new Set(camera.deleted.map(({ clip }) => toHex(clip)));
  const ids = [...new Set([...told.keys(), ...parts.keys()])];
  const open = openClips(journal);
  // What is missing, beside the chain, or cannot be read, might name a clip that otherwise nothing names.
  const isBlind =
    journal.records.some(({ body }) => !body) ||
    journal.faults.some(({ kind }) => ["gap", "rollback", "fork"].includes(kind));
  // Where the log was not read from its beginning, that may have named a clip of that time.
  const { base } = journal;
  const isOld = ([first]: readonly PartName[]) =>
    base !== undefined && first !== undefined && first.incarnation <= base.incarnation;
  if (!isBlind) for (const id of await justBegun(parts, told, journal, options)) open.add(id);
  const before = marks(camera);
  const clips: Clip[] = [];
  for (const [done, id] of ids.entries()) {
    options.onProgress?.(done, ids.length);
    const about = told.get(id) ?? {};
    const listed = parts.get(id) ?? [];
    const known = {
      ...{ told: about, mayBeOpen: open.has(id), isBlind: isBlind || isOld(listed), listed },
      ...{ kept: kept.get(id), isDeleted: deleted.has(id), isPassed: passed.has(id) },
    };
    clips.push(await surveyClip(id, known, options, faults));
  }
  options.onProgress?.(ids.length, ids.length);
  // In this order: a secret goes only when what it opened is durable.
  const isNew = keep(journal, camera);
  if (isNew || marks(camera) !== before) vault.touch();
  await vault.saveIfTouched();
  if (settle(journal, told, new Set(parts.keys()), camera, vault.content.phoneKey))
    await vault.save();
  await keepOn();
  clips.sort((a, b) => (a.startMs ?? 0) - (b.startMs ?? 0));
  const well = faults.every(({ severity }) => severity === "note");
  const judged = clips.map((clip): Clip => {
    if (clip.state !== "deleted") return clip;
    const id = toHex(clip.id);
    return { ...clip, finality: finalityOf(deletions.get(id), told.get(id), journal) };
  });
  return { journal, clips: judged, faults, deletions, well };
}

/** The log: on top of what was read before, unless all of it shall be looked at. */
export async function look(
  options: Omit<SurveyOptions, "onProgress">,
): Promise<{ journal: Journal; keepOn(): Promise<void> }> {
  const { link, vault, camera, suite, depth, shelf, onEntries } = options;
  const kept = shelf && depth === "new" ? await loadLedger({ shelf, vault, camera }) : [];
  const onProgress = onEntries && { onProgress: onEntries };
  const journal = await readJournal({ link, camera, suite, kept, ...onProgress });
  const { records, sound } = journal;
  const isKept = kept.length > 0 && records[0]?.entry === kept[0];
  const known = isKept && records[kept.length - 1]?.entry === kept.at(-1) ? kept.length : 0;
  return {
    journal,
    async keepOn() {
      if (!shelf) return;
      const entries = records.slice(0, sound).map(({ entry }) => entry);
      await saveLedger(entries, Math.min(known, sound), { shelf, vault, camera });
    },
  };
}

/**
 * Clips that the log will name: those that began while this phone was reading, and a first part alone,
 * which is durable before the log's entry and all that there is when the camera is switched off then.
 */
async function justBegun(
  parts: ReadonlyMap<string, readonly PartName[]>,
  told: ReadonlyMap<string, Told>,
  { records, sound }: Journal,
  { link, camera, suite }: SurveyOptions,
): Promise<string[]> {
  const unnamed = [...parts.keys()].filter((id) => !told.get(id)?.started);
  if (unnamed.length === 0) return [];
  const kept = records.slice(0, sound).map(({ entry }) => entry);
  const now = readTold(await readJournal({ link, camera, suite, kept }));
  const isFirst = (id: string) => parts.get(id)?.every(({ number }) => number === 0);
  return unnamed.filter((id) => now.get(id)?.started || isFirst(id));
}

/** Changes with every clip key and every summary that is put into the vault. */
function marks({ clips }: CameraKeys): string {
  return clips.map(({ summary }) => (summary ? toHex(summary.last) : "-")).join();
}

type Known = {
  told: Told;
  mayBeOpen: boolean;
  isBlind: boolean;
  listed: readonly PartName[];
  kept: Kept | undefined;
  isDeleted: boolean;
  /** Not looked at: what the vault knows of it is all that it can be. */
  isPassed: boolean;
};
type Kept = CameraKeys["clips"][number];

async function surveyClip(
  hex: string,
  { told, mayBeOpen, isBlind, listed, kept, isDeleted, isPassed }: Known,
  options: SurveyOptions,
  faults: Fault[],
): Promise<Clip> {
  const id = fromHex(hex);
  const short = hex.slice(0, 12);
  const add: Add = (severity, kind, text) =>
    void faults.push({ severity, kind, text: `clip ${short}: ${text}`, clip: hex });
  const startMs = told.started?.record.wallMs;
  const clockTrusted = told.started?.record.clockTrusted === true;
  const bare = { ...{ id, parts: [], startMs, clockTrusted, summary: undefined } };
  const confirmed = isDeleted && told.gone === true;
  if (isDeleted) return { ...bare, parts: listed, state: "deleted", confirmed };
  if (isPassed && kept?.summary) {
    const { summary } = kept;
    return { ...bare, summary, confirmed, state: summary.whole ? "whole" : "cut off" };
  }
  if (told.lost !== undefined && listed.length === 0) {
    addLost(`let it go, ${told.lost} parts`, told, add);
    return { ...bare, state: "lost", confirmed };
  }
  if (!told.started && told.ended && isBlind && listed.length === 0) {
    add("note", "unreadable", "it began before this phone could read the log");
    return { ...bare, state: "not for this phone", confirmed };
  }
  const parts = await chooseParts(listed, told, options.link, add);
  if (!told.started) {
    const isLie = !isBlind && !mayBeOpen;
    add(isLie ? "lie" : "note", "unlogged", "the log does not name it");
  }
  const read = await readSummary(id, parts, kept, told.ended !== undefined, options, add, faults);
  const { summary, trouble } = read;
  const headerHash = read.headerHash ?? kept?.headerHash;
  if (headerHash && told.started && !equal(headerHash, told.started.headerHash)) {
    add("lie", "fork", "its header is not the one that the log names");
  }
  const state = judgeClip({ told, mayBeOpen, parts, summary, trouble }, add);
  // The log dates a clip better than the clip itself, whose clock may have been set later.
  const dated = startMs ?? summary?.wallMs;
  const trusted = startMs === undefined ? summary?.clockTrusted === true : clockTrusted;
  return { id, state, parts, summary, startMs: dated, clockTrusted: trusted, confirmed };
}

type Trouble = "denied" | "broken" | undefined;

async function readSummary(
  id: Uint8Array,
  parts: readonly PartName[],
  kept: Kept | undefined,
  isEnded: boolean,
  { link, camera, suite, depth }: SurveyOptions,
  add: Add,
  faults: Fault[],
): Promise<{ summary: Summary | undefined; trouble: Trouble; headerHash?: Uint8Array }> {
  // Of a clip that is still recorded its beginning will do for now: each part is fetched once.
  const isRunning = depth === "new" && link.kind === "relay" && !isEnded;
  const wanted = isRunning ? parts.slice(0, 1) : parts;
  const last = wanted.at(-1);
  if (depth === "new" && kept?.summary && last && equal(kept.summary.last, last.hash)) {
    return { summary: kept.summary, trouble: undefined };
  }
  const reading = readClip(link, wanted, camera, suite);
  const { summary, failure } = await summarise(reading);
  const opened = reading.opened();
  let entry = kept;
  if (opened && opened.from !== "vault" && equal(opened.clip, id)) {
    const { headerHash, key, from } = opened;
    const oneTime = typeof from === "object" ? from : {};
    entry = { clip: id, headerHash, key, ...oneTime };
    camera.clips.push(entry);
  }
  if (entry && summary && !failure) entry.summary = summary;
  const header = entry ? { headerHash: entry.headerHash } : {};
  if (!failure) return { summary, trouble: undefined, ...header };
  if (failure.stage === notForUs) {
    add("note", "unreadable", "it is sealed to other phones, or its key here is gone");
    return { summary, trouble: "denied", ...header };
  }
  const fault = faultOf(failure, "");
  const isSealed = opened !== undefined && fault.kind === "damaged" && failure.stage !== "hash";
  add(fault.severity, isSealed ? "broken" : fault.kind, failure.message);
  if (fault.kind === "newer") faults.push({ ...fault, clip: toHex(id) });
  return { summary, trouble: "broken", ...header };
}

type Seen = {
  told: Told;
  mayBeOpen: boolean;
  parts: readonly PartName[];
  summary: Summary | undefined;
  trouble: Trouble;
};

function judgeClip({ told, mayBeOpen, parts, summary, trouble }: Seen, add: Add): ClipState {
  const { ended } = told;
  const there = new Set(parts.map(({ number }) => number));
  const count = ended ? ended.number + 1 : Math.max(-1, ...there) + 1;
  const missing = missingFrom(there, count);
  // A copy may hold what the camera let go: the word alone decides nothing.
  if (told.lost !== undefined && (missing.length > 0 || !ended)) {
    addLost(`let ${told.lost} parts of it go`, told, add);
    return "lost";
  }
  if (trouble === "broken") return "broken";
  if (!ended) {
    const why = "no end of it in the log: unfinished or withheld";
    if (mayBeOpen) add("note", "unfinished", `${why} (or still being recorded)`);
    else if (told.started) add("loss", "unfinished", why);
    return trouble === "denied" ? "not for this phone" : "unfinished";
  }
  if (missing.length > 0) {
    const list = missing.length > 5 ? `${missing.length} parts` : `part ${missing.join(", ")}`;
    add("loss", "withheld", `${list} of ${ended.number + 1} not there: lost or withheld`);
    return "incomplete";
  }
  const last = parts.find(({ number }) => number === ended.number);
  if (last && !equal(last.hash, ended.hash)) {
    add("lie", "fork", "its last part is not the one that the log names");
    return "incomplete";
  }
  if (parts.length > ended.number + 1) add("lie", "unlogged", "it goes on behind its end");
  if (trouble === "denied") return "not for this phone";
  if (ended.reason === "cut-off") return "cut off";
  if (summary?.whole) return "whole";
  add("lie", "broken", "the log calls it whole, and its closing is not there");
  return "broken";
}

/** What goes with age goes by the owner's own setting. */
function addLost(what: string, { lostWhy }: Told, add: Add): void {
  if (lostWhy === "expired") add("note", "lost", `the camera ${what}: its time was over`);
  else add("loss", "lost", `the camera had to ${what} (${lostWhy})`);
}

function missingFrom(there: ReadonlySet<number>, count: number): number[] {
  const missing: number[] = [];
  for (let number = 0; number < count && missing.length <= 1000; number++) {
    if (!there.has(number)) missing.push(number);
  }
  return missing;
}
