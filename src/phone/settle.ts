import { equal, toHex } from "../base/pure/bytes.ts";
import { decodeIdentity } from "../protocol/sealed/pairing.ts";
import { wipe } from "../protocol/sealed/sodium.ts";
import { keyIdOf } from "../protocol/sealed/stanza.ts";
import { type Journal, statements } from "./journal.ts";
import type { Told } from "./told.ts";
import type { CameraKeys } from "./vault.ts";

// What is put into the vault after a look at the log, and what may then be destroyed.

/** Takes over new epoch keys, the newest head, day and beacon; true when something was new. */
export function keep(journal: Journal, camera: CameraKeys): boolean {
  const isHead = keepHead(journal, camera);
  const isKit = keepKits(journal, camera);
  const isBase = keepBase(journal, camera);
  return keepBeacon(journal, camera) || isHead || isKit || isBase;
}

function keepKits({ members }: Journal, camera: CameraKeys): boolean {
  const kits = members.head.members.filter(({ role }) => role === "kit").length;
  if (kits === (camera.kits ?? 0)) return false;
  camera.kits = kits;
  return true;
}

function keepBase({ base }: Journal, camera: CameraKeys): boolean {
  if (!base || (camera.base && equal(base.bytes, camera.base.checkpoint))) return false;
  const { bytes: checkpoint, members } = base;
  camera.base = { checkpoint, ...(members ? { members } : {}) };
  return true;
}

function keepBeacon({ beacon }: Journal, camera: CameraKeys): boolean {
  const { beacon: newest } = camera;
  const isNewer =
    beacon &&
    (!newest ||
      beacon.incarnation > newest.incarnation ||
      (beacon.incarnation === newest.incarnation && beacon.version > newest.version));
  if (!isNewer) return false;
  camera.beacon = { incarnation: beacon.incarnation, version: beacon.version };
  return true;
}

function keepHead(journal: Journal, camera: CameraKeys): boolean {
  const { found, records, faults } = journal;
  for (const { opening, key } of found) camera.epochs.push({ opening, key });
  const newest = records.at(-1)?.entry;
  const isFork = faults.some(({ kind, severity }) => kind === "fork" && severity === "lie");
  const { head } = camera;
  const isNewer = !head || (newest !== undefined && newest.sequence > head.sequence);
  if (!newest || isFork || !isNewer) return found.length > 0;
  const { incarnation, sequence, hash } = newest;
  camera.head = { incarnation, sequence, hash };
  const closed = closedDays(journal).get(Math.max(camera.incarnation, incarnation)) ?? -1;
  // The days that were closed before the log's beginning are closed all the same.
  const first = incarnation > camera.incarnation ? 0 : camera.nextDay;
  camera.incarnation = Math.max(camera.incarnation, incarnation);
  camera.nextDay = Math.max(first, closed + 1);
  return true;
}

/** The last day that the log closed, of each incarnation. */
function closedDays(journal: Journal): Map<number, number> {
  const closed = new Map<number, number>();
  for (const { record, statement } of statements(journal, "day-closed")) {
    const { incarnation } = record.entry;
    closed.set(incarnation, Math.max(closed.get(incarnation) ?? -1, statement.day));
  }
  return closed;
}

/**
 * Destroys secrets that have done their work. True when something went.
 *
 * - A one-time secret when it opened a clip whose key is in the vault, and the log names its id with
 *   that very header. Part 0 is enough for that: what is withheld of the rest opens with the key.
 * - The one-time secret of a deleted clip that never came here, when it is certain which it is: the
 *   log has no hole, names one secret of this phone for the clip, and that one for no other clip.
 *   Else a camera could name what opens another clip, and have it destroyed.
 * - A day's secret when the log says, in its own incarnation, that the day is closed and every clip
 *   that was sealed to it is in the vault. A later incarnation closes none: a card that was put back
 *   may go on in the older.
 * - A restart key when a clip that was sealed to it is deleted, every other such clip is in the vault,
 *   and the camera has a newer one. Else it stays: a card that was put back may know no newer.
 *
 * A clip that the log calls lost keeps its one-time secret until it is deleted: there may be a copy.
 */
export function settle(
  journal: Journal,
  told: ReadonlyMap<string, Told>,
  /** The clips of which parts are there, by id: what is there is neither lost nor gone. */
  there: ReadonlySet<string>,
  camera: CameraKeys,
  /** This phone, whose supplies the log acknowledges. */
  phone: Uint8Array,
): boolean {
  const kept = new Map(camera.clips.map((one) => [toHex(one.clip), one.headerHash]));
  const isKept = (id: string, { started }: Told) => {
    const headerHash = kept.get(id);
    return (
      headerHash !== undefined && started !== undefined && equal(headerHash, started.headerHash)
    );
  };
  // What opened the clip, and the log names it too: neither alone is enough.
  const used = new Set<string>();
  for (const { clip, oneTime } of camera.clips) {
    const id = toHex(clip);
    const about = told.get(id);
    if (!oneTime || !about || !isKept(id, about)) continue;
    if (about.started?.keyIds.some((one) => equal(one, oneTime))) used.add(toHex(oneTime));
  }
  // Behind a hole there might be a clip that needs a secret yet.
  const isWhole = journal.faults.every(({ severity }) => severity === "note");
  const deleted = new Set(camera.deleted.map(({ clip }) => toHex(clip)));
  if (isWhole) for (const id of neverOpened(told, camera)) used.add(id);
  const spent = camera.oneTime.filter(({ id }) => used.has(toHex(id)));
  camera.oneTime = camera.oneTime.filter(({ id }) => !used.has(toHex(id)));

  const closed = closedDays(journal);
  const first = decodeIdentity(camera.identity).incarnation;
  const isClosed = ({ incarnation = first, day }: CameraKeys["days"][number]) =>
    isWhole && day <= (closed.get(incarnation) ?? -1);
  const mustStay = (fingerprint: Uint8Array) =>
    [...told].some(([id, about]) => {
      if (!about.started || deleted.has(id) || isKept(id, about)) return false;
      if (about.lost !== undefined && !there.has(id)) return false;
      const keyId = keyIdOf(fingerprint, about.started.clip);
      return about.started.keyIds.some((one) => equal(one, keyId));
    });
  const over = camera.days.filter((one) => isClosed(one) && !mustStay(one.fingerprint));
  camera.days = camera.days.filter((one) => !over.includes(one));
  const newest = isWhole ? newestBatch(journal, phone) : 0;
  const unused = camera.restarts.filter(
    ({ batch = newest, fingerprint }) =>
      batch < newest && sealedDeleted(told, deleted, fingerprint) && !mustStay(fingerprint),
  );
  camera.restarts = camera.restarts.filter((one) => !unused.includes(one));
  for (const { secret } of [...spent, ...over, ...unused]) wipe(secret);
  return spent.length + over.length + unused.length > 0;
}

/** The newest batch of this phone's keys that the log says the camera has. */
export function newestBatch(journal: Journal, phone: Uint8Array): number {
  return statements(journal, "supply-acknowledged")
    .filter(({ statement }) => equal(statement.phone, phone))
    .reduce((newest, { statement }) => Math.max(newest, statement.batch), 0);
}

/** Behind the highest index of this phone's one-time keys that the log says the camera has. */
export function endIndex(journal: Journal, phone: Uint8Array): number {
  return statements(journal, "supply-acknowledged")
    .filter(({ statement }) => equal(statement.phone, phone))
    .reduce((end, { statement }) => Math.max(end, statement.endIndex), 0);
}

function sealedDeleted(
  told: ReadonlyMap<string, Told>,
  deleted: ReadonlySet<string>,
  fingerprint: Uint8Array,
): boolean {
  return [...told].some(([id, { started }]) => {
    if (!started || !deleted.has(id)) return false;
    const keyId = keyIdOf(fingerprint, started.clip);
    return started.keyIds.some((one) => equal(one, keyId));
  });
}

/** The one-time secrets of deleted clips that nothing of was ever opened, by id. */
function neverOpened(told: ReadonlyMap<string, Told>, camera: CameraKeys): string[] {
  const meant = camera.deleted.filter(({ unopened }) => unopened).map(({ clip }) => toHex(clip));
  const deleted = new Set(meant);
  const own = new Set(camera.oneTime.map(({ id }) => toHex(id)));
  const clipsOf = new Map<string, number>();
  const found: string[] = [];
  for (const [clip, { started }] of told) {
    const ids = [...new Set(started?.keyIds.map(toHex))].filter((id) => own.has(id));
    for (const id of ids) clipsOf.set(id, (clipsOf.get(id) ?? 0) + 1);
    const [only, ...more] = ids;
    if (deleted.has(clip) && only !== undefined && more.length === 0) found.push(only);
  }
  return found.filter((id) => clipsOf.get(id) === 1);
}
