import { equal, toHex } from "../base/pure/bytes.ts";
import { wipe } from "../protocol/sealed/sodium.ts";
import { keyIdOf } from "../protocol/sealed/stanza.ts";
import { type Journal, statements } from "./journal.ts";
import type { Told } from "./told.ts";
import type { CameraKeys } from "./vault.ts";

// What is put into the vault after a look at the log, and what may then be destroyed.

/** Takes over new epoch keys and the newest head; true when something was new. */
export function keep({ found, records, faults }: Journal, camera: CameraKeys): boolean {
  camera.epochs.push(...found.map(({ opening, key }) => ({ opening, key })));
  const newest = records.at(-1)?.entry;
  const isFork = faults.some(({ kind, severity }) => kind === "fork" && severity === "lie");
  const { head } = camera;
  const isNewer = !head || (newest !== undefined && newest.sequence > head.sequence);
  if (!newest || isFork || !isNewer) return found.length > 0;
  const { incarnation, sequence, hash } = newest;
  camera.head = { incarnation, sequence, hash };
  return true;
}

/**
 * Destroys secrets that have done their work: a one-time secret when it opened a clip whose key is
 * in the vault and the log names its id with that very header, a day's secret when the log says that the day is
 * closed and every clip that was sealed to it is in the vault. True when something went.
 */
export function settle(
  journal: Journal,
  told: ReadonlyMap<string, Told>,
  /** The clips of which parts are there, by id: what is there is neither lost nor gone. */
  there: ReadonlySet<string>,
  camera: CameraKeys,
): boolean {
  const kept = new Map(camera.clips.map((one) => [toHex(one.clip), one.headerHash]));
  const isKept = (id: string, { started }: Told) => {
    const headerHash = kept.get(id);
    return (
      headerHash !== undefined && started !== undefined && equal(headerHash, started.headerHash)
    );
  };
  const isDeleted = (id: string) => camera.deleted.some(({ clip }) => toHex(clip) === id);
  // What opened the clip, and the log names it too: neither alone is enough.
  const used = new Set<string>();
  for (const { clip, oneTime } of camera.clips) {
    const id = toHex(clip);
    const about = told.get(id);
    if (!oneTime || !about || !isKept(id, about)) continue;
    if (about.started?.keyIds.some((one) => equal(one, oneTime))) used.add(toHex(oneTime));
  }
  const spent = camera.oneTime.filter(({ id }) => used.has(toHex(id)));
  camera.oneTime = camera.oneTime.filter(({ id }) => !used.has(toHex(id)));

  const closed = statements(journal, "day-closed").map(({ statement }) => statement.day);
  // Behind a hole there might be a clip that needs the day yet.
  const isWhole = journal.faults.every(({ severity }) => severity === "note");
  const lastClosed = isWhole ? Math.max(-1, ...closed) : -1;
  const mustStay = (fingerprint: Uint8Array) =>
    [...told].some(([id, about]) => {
      if (!about.started || isDeleted(id) || isKept(id, about)) return false;
      if (about.lost !== undefined && !there.has(id)) return false;
      const keyId = keyIdOf(fingerprint, about.started.clip);
      return about.started.keyIds.some((one) => equal(one, keyId));
    });
  const over = camera.days.filter((one) => one.day <= lastClosed && !mustStay(one.fingerprint));
  camera.days = camera.days.filter((one) => !over.includes(one));
  for (const { secret } of [...spent, ...over]) wipe(secret);
  return spent.length + over.length > 0;
}
