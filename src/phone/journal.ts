import { equal, toHex } from "../base/pure/bytes.ts";
import { isFailure } from "../base/pure/failure.ts";
import type { Body, Statement } from "../protocol/sealed/body.ts";
import { EpochReader, openEpoch } from "../protocol/sealed/epoch.ts";
import { MembershipHistory, verifyFirst } from "../protocol/sealed/membership.ts";
import { type Beacon, verifyBeacon } from "../protocol/wire/beacon.ts";
import { type Entry, verifyEntry } from "../protocol/wire/entry.ts";
import { type Name, printName } from "../protocol/wire/name.ts";
import type { Suite } from "../protocol/wire/signature.ts";
import { findChain, type Verified } from "./chain.ts";
import { type Fault, faultOf, judge } from "./fault.ts";
import type { Link } from "./link.ts";
import type { CameraKeys } from "./vault.ts";

/** One verified entry and what it says, where this phone can read it. */
export type Record = {
  readonly entry: Entry & { hash: Uint8Array };
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
};

/** Fetches, verifies and reads a camera's whole log. */
export async function readJournal(
  link: Link,
  names: readonly Name[],
  camera: CameraKeys,
  suite: Suite,
): Promise<Journal> {
  const faults: Fault[] = [];
  const entries: Verified[] = [];
  for (const name of names) {
    if (name.kind !== "entry") continue;
    const bytes = await link.get(name);
    const entry =
      bytes &&
      take(
        () => judge(name, bytes, suite, () => verifyEntry(bytes, camera.id, suite)),
        name,
        faults,
      );
    if (entry) entries.push(entry);
  }
  const beaconBytes = await link.get({ kind: "beacon" });
  const beacon =
    beaconBytes &&
    take(() => verifyBeacon(beaconBytes, camera.id, suite), { kind: "beacon" }, faults);
  const chain = findChain(entries, faults);
  checkHeads(chain, camera, beacon, faults);
  const members = new MembershipHistory(verifyFirst(camera.membership, camera.id, suite), suite);
  const { bodies, found } = readBodies(chain, camera, faults);
  chain.forEach((entry, i) => {
    const statement = bodies[i]?.statement;
    if (statement?.kind === "membership") order(members, statement.list, entry, faults);
  });
  for (const { rivals } of members.disputes) {
    const versions = rivals.map(({ version }) => version).join(" and ");
    const text = `owners signed two member lists in one place (versions ${versions})`;
    faults.push({ severity: "lie", kind: "dispute", text });
  }
  return { records: date(chain, bodies), faults, beacon: beacon || undefined, members, found };
}

function take<T>(act: () => T, name: Name, faults: Fault[]): T | undefined {
  try {
    return act();
  } catch (error) {
    faults.push(faultOf(error, printName(name)));
    return undefined;
  }
}

/** Holds the chain against the newest entry ever seen, and against the camera's beacon. */
function checkHeads(
  chain: readonly Verified[],
  { head }: CameraKeys,
  beacon: Beacon | undefined,
  faults: Fault[],
): void {
  const bySequence = new Map(chain.map((entry) => [entry.sequence, entry]));
  const compare = (known: { sequence: number; hash: Uint8Array }, who: string) => {
    const { sequence } = known;
    const here = bySequence.get(sequence);
    const last = chain.at(-1)?.sequence ?? -1;
    if (here && !equal(here.hash, known.hash)) {
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

function readBodies(chain: readonly Verified[], camera: CameraKeys, faults: Fault[]) {
  const known = new Map(camera.epochs.map((one) => [toHex(one.opening), one.key]));
  const days = [...camera.days, ...camera.restarts];
  const found: { opening: Uint8Array; key: Uint8Array }[] = [];
  let reader: EpochReader | undefined;
  let epoch: number | undefined;
  let unreadable = 0;
  const bodies = chain.map((entry) => {
    try {
      if (entry.stanzas) {
        const kept = known.get(toHex(entry.hash));
        const key = kept ?? openEpoch(entry, days);
        if (key && !kept) found.push({ opening: entry.hash, key });
        reader = key ? new EpochReader(entry, key) : undefined;
        epoch = entry.epoch;
      }
      if (reader && entry.epoch === epoch) return reader.open(entry);
      unreadable += 1;
    } catch (error) {
      const fault = faultOf(error, printName(entry.name));
      const kind = fault.kind === "newer" ? "newer" : "broken";
      faults.push({ ...fault, kind, sequence: entry.sequence });
    }
    return undefined;
  });
  if (unreadable > 0) {
    const text = `${unreadable} log entries are sealed to keys that this phone does not have`;
    faults.push({ severity: "note", kind: "unreadable", text });
  }
  return { bodies, found };
}

function order(
  members: MembershipHistory,
  list: Uint8Array,
  entry: Verified,
  faults: Fault[],
): void {
  try {
    members.add(list, true);
  } catch (error) {
    if (!isFailure(error)) throw error;
    const text = `the camera follows a member list that no owner made: ${error.message}`;
    faults.push({ severity: "lie", kind: "forged", text, sequence: entry.sequence });
  }
}

/**
 * A board without a battery clock writes wrong times until its clock is set; from that entry the
 * times before it in the same run follow, by uptime.
 */
function date(chain: readonly Verified[], bodies: readonly (Body | undefined)[]): Record[] {
  const records: Record[] = [];
  let anchor: { uptimeMs: number; wallMs: number } | undefined;
  for (let i = chain.length - 1; i >= 0; i--) {
    const entry = chain[i];
    const body = bodies[i];
    if (!entry) continue;
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
