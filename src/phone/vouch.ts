import { encodeCheckpoint } from "../protocol/sealed/checkpoint.ts";
import { roleOf } from "../protocol/sealed/membership.ts";
import { sign } from "../protocol/sealed/sodium.ts";
import { printClip } from "../protocol/wire/mailbox.ts";
import type { EntryName } from "../protocol/wire/name.ts";
import { type Deletion, finalityOf } from "./deletions.ts";
import type { Journal } from "./journal.ts";
import { addOutgoing, type OutgoingOptions, tidy } from "./outgoing.ts";
import type { Told } from "./told.ts";

// An owner vouches for the beginning of a log that nobody needs any more (checkpoint.md).

/** When it is worth while. */
export type Worth = {
  /** So many entries can be let go, at least. */
  readonly entries: number;
  /** The log begins with one that old, at least: a phone that was away for less misses nothing. */
  readonly ageMs: number;
  /** It is looked into no more often. */
  readonly everyMs: number;
};
const dayMs = 24 * 60 * 60 * 1000;
const worthWhile: Worth = { entries: 256, ageMs: 7 * dayMs, everyMs: dayMs };

export type VouchOptions = OutgoingOptions & {
  readonly told: ReadonlyMap<string, Told>;
  readonly deletions: ReadonlyMap<string, Deletion>;
  readonly worth?: Worth;
};

/**
 * Signs a checkpoint of the newest entry before which nothing is needed, and puts it on the list of
 * what is to be sent: only over a log that this phone has read whole, without a lie or a loss.
 */
export async function vouch(options: VouchOptions): Promise<void> {
  const { vault, camera, journal, suite, nowMs, link, told, worth = worthWhile } = options;
  const { phone, phoneKey } = vault.content;
  const { head } = journal.members;
  if (roleOf(head, phoneKey) !== "owner") return;
  if (journal.faults.some(({ severity }) => severity !== "note")) return;
  if (camera.adding.length + camera.removing.length > 0) return;
  if (camera.outgoing.some(({ what }) => what === "checkpoint" || what === "membership")) return;
  if (camera.vouchedMs !== undefined && nowMs - camera.vouchedMs < worth.everyMs) return;
  let end = firstNeeded(options);
  let place = placeBefore(end, journal, nowMs, worth);
  if (!place) return;
  camera.vouchedMs = nowMs;
  vault.touch();
  // Of a clip that the log calls gone something may be there all the same.
  for (const { started } of told.values()) {
    const entry = started?.record.entry;
    if (!entry || !started || entry.sequence >= place.sequence) continue;
    const under = printClip({ incarnation: entry.incarnation, clip: started.clip });
    if ((await link.list({ under, limit: 1 })).length === 0) continue;
    end = Math.min(end, entry.sequence);
    place = placeBefore(end, journal, nowMs, worth);
    if (!place) return;
  }
  const { incarnation, sequence, hash } = place;
  const about = { camera: camera.id, phone: phoneKey, atMs: nowMs, list: head.hash };
  const signer = { sign: (message: Uint8Array) => sign(phone, message), suite };
  const { bytes } = encodeCheckpoint({ ...about, incarnation, sequence, hash }, signer);
  addOutgoing(camera, { kind: "checkpoint", replaces: 0, checkpoint: bytes }, nowMs);
}

/** The sequence of the first entry that says something that is not over, or that cannot be read. */
function firstNeeded({ journal, told, deletions }: VouchOptions): number {
  const { records } = journal;
  const isDark = ({ body }: (typeof records)[number]) => !body || body.statement.kind === "unknown";
  let end = records.find(isDark)?.entry.sequence ?? Number.POSITIVE_INFINITY;
  for (const [clip, about] of told) {
    const { started } = about;
    if (started && !isOver(clip, about)) end = Math.min(end, started.record.entry.sequence);
  }
  return end;

  /** Gone, and nobody is waited for: one who was removed, or is on paper, never confirms. */
  function isOver(clip: string, about: Told): boolean {
    const deletion = deletions.get(clip);
    if (!deletion) return about.lost !== undefined;
    const { final, missing } = finalityOf(deletion, about, journal);
    return final || (missing.length > 0 && missing.every(({ why }) => why !== "asked"));
  }
}

/** The last entry that a log can begin with: under the list in force, the first of an epoch. */
function placeBefore(
  end: number,
  { records, members }: Journal,
  nowMs: number,
  { entries, ageMs }: Worth,
) {
  const start = records[0]?.entry.sequence ?? 0;
  const found = records.findLast(
    ({ entry, wallMs }) =>
      entry.opens &&
      entry.sequence <= end &&
      entry.membership === members.head.version &&
      wallMs !== undefined &&
      nowMs - wallMs >= ageMs,
  )?.entry;
  return found && found.sequence - start >= entries ? found : undefined;
}

/** So many entries are taken away at a relay after one look. */
const mostCleared = 500;

/** Takes away at a relay what lies before the log's beginning: the camera itself may not. */
export async function clearBefore({ journal, link, vault }: OutgoingOptions): Promise<void> {
  const { base, members } = journal;
  if (!base || !link.remove || roleOf(members.head, vault.content.phoneKey) !== "owner") return;
  const isBefore = (name: EntryName) =>
    name.sequence < base.sequence && name.incarnation <= base.incarnation;
  const entriesOf = async (limit: number) => {
    const names = await link.list({ under: "entry/", limit });
    return names.filter((name) => name.kind === "entry").filter(isBefore);
  };
  if ((await entriesOf(1)).length > 0) await tidy(link, await entriesOf(mostCleared));
}
