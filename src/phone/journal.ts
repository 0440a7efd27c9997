import { equal, toHex } from "../base/pure/bytes.ts";
import { isFailure } from "../base/pure/failure.ts";
import type { Body, Statement } from "../protocol/sealed/body.ts";
import type { MembershipHistory } from "../protocol/sealed/membership.ts";
import { type Beacon, verifyBeacon } from "../protocol/wire/beacon.ts";
import type { EntryName } from "../protocol/wire/name.ts";
import type { Suite } from "../protocol/wire/signature.ts";
import { type Base, baseOf, fromBase, historyOf, newerBase } from "./base.ts";
import { findChain, type Verified } from "./chain.ts";
import { type ReadEntry, readEntries } from "./entries.ts";
import { type Fault, faultOf } from "./fault.ts";
import type { Link } from "./link.ts";
import type { CameraKeys } from "./vault.ts";

/** One verified entry and what it says, where this phone can read it. */
export type Record = {
  readonly entry: ReadEntry;
  readonly body: Body | undefined;
  /** When it was written, mended by a later setting of the clock where that is known. */
  readonly wallMs: number | undefined;
  readonly clockTrusted: boolean;
};

export type Journal = {
  /** The chain, by sequence; may have gaps, which `faults` names. */
  readonly records: readonly Record[];
  readonly faults: readonly Fault[];
  readonly beacon: Beacon | undefined;
  readonly members: MembershipHistory;
  /** Epoch keys that were not in the vault yet. */
  readonly found: readonly { opening: Uint8Array; key: Uint8Array }[];
  /** Where the log begins, when that is not with its first entry; the newest that the log quotes. */
  readonly base: Base | undefined;
  /** So many records from the first on need not be fetched again. */
  readonly sound: number;
};

export type JournalOptions = {
  readonly link: Link;
  readonly camera: CameraKeys;
  readonly suite: Suite;
  /** The log from its beginning as it was read before (ledger.ts); only what is new is fetched. */
  readonly kept?: readonly ReadEntry[];
  onProgress?(read: number): void;
};

/** Fetches, verifies and reads a camera's log: what is new of it, or all where nothing is kept. */
export function readJournal(options: JournalOptions): Promise<Journal> {
  return readFrom(baseOf(options.camera, options.suite), options);
}

async function readFrom(base: Base | undefined, options: JournalOptions): Promise<Journal> {
  const { link, camera, suite } = options;
  const { kept, opening } = resume(fromBase(options.kept ?? [], base), camera);
  const beaconFaults: Fault[] = [];
  const beacon = await readBeacon(link, camera, suite, beaconFaults);
  const heads: EntryName[] = [];
  if (camera.head) heads.push({ kind: "entry", ...camera.head });
  if (beacon) heads.push({ kind: "entry", incarnation: beacon.incarnation, ...beacon.head });
  const last = kept.at(-1);
  const from = last && { last, opening };
  const read = await readEntries({ ...options, from, base, heads });
  const faults = [...read.faults, ...beaconFaults];
  const known = last ? [last] : [];
  const start = base?.sequence ?? 0;
  const branch = findChain([...known, ...read.entries], faults, last?.sequence ?? start);
  // What is new does not go on where the known ends: then all of it is looked at anew.
  if (last && branch[0] !== last) return readFrom(base, { ...options, kept: [] });
  const chain = last ? [...kept, ...branch.slice(1)] : branch;
  if (base) checkStart(chain, base, faults);
  checkHeads(chain, camera, beacon, faults);
  const members = historyOf(camera, base, suite);
  let unreadable = 0;
  for (const { body, trouble, sequence } of chain) {
    if (trouble === "unreadable") unreadable += 1;
    else if (trouble) faults.push(trouble);
    const statement = body?.statement;
    if (statement?.kind === "membership") order(members, statement.list, sequence, faults);
  }
  const newer = newerBase(chain, { base, camera, members, suite, faults });
  // What an owner stands for is no gap: from there on it is read anew, and nothing before.
  const isGap = ({ kind, sequence = 0 }: Fault) =>
    kind === "gap" && newer !== undefined && sequence < newer.sequence;
  if (newer && faults.some(isGap)) return readFrom(newer, { ...options, kept: [] });
  if (unreadable > 0) {
    const text = `${unreadable} log entries are sealed to keys that this phone does not have`;
    faults.push({ severity: "note", kind: "unreadable", text });
  }
  for (const { rivals } of members.disputes) {
    const versions = rivals.map(({ version }) => version).join(" and ");
    const text = `owners signed two member lists in one place (versions ${versions})`;
    faults.push({ severity: "lie", kind: "dispute", text });
  }
  const sound = soundIn(chain, start, faults);
  const records = date(chain);
  return { records, faults, beacon, members, found: read.found, base: newer ?? base, sound };
}

/**
 * Where the reading goes on: within an epoch only with its key. A vault that was put back may lack the
 * newest of them; then the epoch is read from its beginning again.
 */
function resume(known: readonly ReadEntry[], { epochs }: CameraKeys) {
  const keys = new Set(epochs.map(({ opening }) => toHex(opening)));
  for (let kept = known; ; ) {
    const at = kept.findLastIndex(({ opens }) => opens);
    const opening = kept[at];
    if (!opening?.body || keys.has(toHex(opening.hash))) return { kept, opening };
    kept = kept.slice(0, at);
  }
}

async function readBeacon(
  link: Link,
  { id, beacon: newest }: CameraKeys,
  suite: Suite,
  faults: Fault[],
): Promise<Beacon | undefined> {
  const bytes = await link.get({ kind: "beacon" });
  if (!bytes) {
    // There is always one: the newer it is, the less of the log's end can be held back unseen.
    const text = "the camera's beacon is not there, and this phone has seen it before";
    if (newest) faults.push({ severity: "loss", kind: "withheld", text, name: "beacon" });
    return undefined;
  }
  try {
    const beacon = verifyBeacon(bytes, id, suite);
    const isOlder =
      newest !== undefined &&
      (beacon.incarnation < newest.incarnation ||
        (beacon.incarnation === newest.incarnation && beacon.version < newest.version));
    if (isOlder) {
      const text = "the camera's beacon there is older than one that this phone has seen";
      faults.push({ severity: "loss", kind: "rollback", text, name: "beacon" });
    }
    return beacon;
  } catch (error) {
    faults.push(faultOf(error, "beacon"));
    return undefined;
  }
}

/** How many entries from the first on have nothing wrong with them, in themselves or beside them. */
function soundIn(chain: readonly ReadEntry[], start: number, faults: readonly Fault[]): number {
  if (chain[0]?.sequence !== start) return 0;
  const at = faults.map(({ sequence }) => (sequence ?? Number.POSITIVE_INFINITY) - start);
  return Math.max(0, Math.min(...at, chain.length));
}

/** Holds the first entry against the checkpoint, and says that the log begins with it. */
function checkStart([first]: readonly Verified[], base: Base, faults: Fault[]): void {
  const { sequence, hash, atMs } = base;
  if (first?.sequence === sequence && !equal(first.hash, hash)) {
    const text = `log entry ${sequence} is another than the one that an owner vouched for`;
    faults.push({ severity: "lie", kind: "fork", text, sequence });
  }
  const day = new Date(atMs).toISOString().slice(0, 10);
  const text = `the log begins at entry ${sequence}: an owner vouched for what was before on ${day}`;
  faults.push({ severity: "note", kind: "checkpoint", text });
}

/** Holds the chain against the newest entry ever seen, and against the camera's beacon. */
function checkHeads(
  chain: readonly Verified[],
  { head }: CameraKeys,
  beacon: Beacon | undefined,
  faults: Fault[],
): void {
  const compare = (known: { sequence: number; hash: Uint8Array }, who: string) => {
    const { sequence } = known;
    // Heads are near the end.
    const here = chain.findLast((entry) => entry.sequence <= sequence);
    const last = chain.at(-1)?.sequence ?? -1;
    if (here?.sequence === sequence && !equal(here.hash, known.hash)) {
      const text = `log entry ${sequence} is another than the one that ${who}`;
      faults.push({ severity: "lie", kind: "fork", text, sequence });
    } else if (last < sequence) {
      const text = `the log ends at ${last}, and ${who} up to ${sequence}`;
      faults.push({ severity: "loss", kind: "rollback", text, sequence });
    }
  };
  if (head) compare(head, "this phone saw");
  if (beacon) compare(beacon.head, "the camera announced");
}

function order(
  members: MembershipHistory,
  list: Uint8Array,
  sequence: number,
  faults: Fault[],
): void {
  try {
    members.add(list, true);
  } catch (error) {
    if (!isFailure(error)) throw error;
    const text = `the camera follows a member list that no owner made: ${error.message}`;
    faults.push({ severity: "lie", kind: "forged", text, sequence });
  }
}

/**
 * A board without a battery clock writes wrong times until its clock is set; from that entry the
 * times before it in the same run follow, by uptime.
 */
function date(chain: readonly ReadEntry[]): Record[] {
  const records: Record[] = [];
  let anchor: { uptimeMs: number; wallMs: number } | undefined;
  for (let i = chain.length - 1; i >= 0; i--) {
    const entry = chain[i];
    if (!entry) continue;
    const { body } = entry;
    const isAnchor = body?.statement.kind === "clock-synchronised" && body.clockTrusted;
    if (body && isAnchor) anchor = { uptimeMs: entry.uptimeMs, wallMs: body.wallMs };
    const mends = body && !body.clockTrusted && anchor && entry.uptimeMs <= anchor.uptimeMs;
    const wallMs =
      mends && anchor ? anchor.wallMs - (anchor.uptimeMs - entry.uptimeMs) : body?.wallMs;
    records.push({ entry, body, wallMs, clockTrusted: body?.clockTrusted === true || !!mends });
    if (body?.statement.kind === "started") anchor = undefined;
  }
  return records.reverse();
}

/** Every readable statement of one kind, with its record. */
export function statements<K extends Statement["kind"]>(
  { records }: Journal,
  kind: K,
): { record: Record; statement: Extract<Statement, { kind: K }> }[] {
  return records.flatMap((record) => {
    const statement = record.body?.statement;
    return statement?.kind === kind
      ? [{ record, statement: statement as Extract<Statement, { kind: K }> }]
      : [];
  });
}
