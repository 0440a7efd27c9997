import { equal, toHex } from "../base/pure/bytes.ts";
import { isFailure } from "../base/pure/failure.ts";
import { roleOf } from "../protocol/sealed/membership.ts";
import { sign, wipe } from "../protocol/sealed/sodium.ts";
import { keyIdOf } from "../protocol/sealed/stanza.ts";
import {
  encodeConfirmation,
  mostConfirmed,
  type Tombstone,
  verifyConfirmation,
  verifyTombstone,
} from "../protocol/sealed/tombstone.ts";
import type { Suite } from "../protocol/wire/signature.ts";
import type { Fault } from "./fault.ts";
import { type Journal, statements } from "./journal.ts";
import { actionOf, addOutgoing } from "./outgoing.ts";
import type { Told } from "./told.ts";
import { type CameraKeys, shortId, type Vault } from "./vault.ts";

// What the log says of deletions: who asked, who has confirmed, who is missing (tombstone.md).

/** A deletion that an owner asked for and the camera carried out. */
export type Deletion = {
  readonly clip: Uint8Array;
  /** Each with the same right; mostly one. */
  readonly tombstones: readonly (Tombstone & { hash: Uint8Array })[];
  /** The phones, in hexadecimal, that confirmed one of them. */
  readonly confirmed: ReadonlySet<string>;
};

/** The deletions that verify, by clip in hexadecimal; what does not verify is a lie. */
export function readDeletions(
  journal: Journal,
  { id }: CameraKeys,
  suite: Suite,
): { deletions: ReadonlyMap<string, Deletion>; faults: readonly Fault[] } {
  const faults: Fault[] = [];
  const found = new Map<string, Deletion & { tombstones: Tombstone[]; confirmed: Set<string> }>();
  const forged = (text: string, sequence: number, clip?: string) =>
    void faults.push({
      ...{ severity: "lie", kind: "forged", text, sequence },
      ...(clip === undefined ? {} : { clip }),
    });
  for (const { record, statement } of statements(journal, "tombstone-done")) {
    const { sequence, membership } = record.entry;
    try {
      const tombstone = verifyTombstone(statement.tombstone, id, suite);
      const list = journal.members.at(membership);
      const clip = toHex(tombstone.clip);
      if (!list || roleOf(list, tombstone.phone) !== "owner") {
        forged(
          `clip ${clip.slice(0, 12)}: deleted by the camera, and no owner asked`,
          sequence,
          clip,
        );
        continue;
      }
      const known = found.get(clip);
      if (known) known.tombstones.push(tombstone);
      else {
        found.set(clip, { clip: tombstone.clip, tombstones: [tombstone], confirmed: new Set() });
      }
    } catch (error) {
      if (!isFailure(error)) throw error;
      forged(`the camera deleted something that nobody here asked: ${error.message}`, sequence);
    }
  }
  for (const { record, statement } of statements(journal, "tombstone-confirmed")) {
    try {
      const { phone, done } = verifyConfirmation(statement.confirmation, id, suite);
      for (const one of done) {
        const deletion = found.get(toHex(one.clip));
        const isMeant = deletion?.tombstones.some(({ hash }) => equal(hash, one.tombstone));
        if (isMeant) deletion?.confirmed.add(toHex(phone));
      }
    } catch (error) {
      if (!isFailure(error)) throw error;
      const { sequence } = record.entry;
      forged(`a confirmation in the log that no phone made: ${error.message}`, sequence);
    }
  }
  return { deletions: found, faults };
}

/** Somebody who has not confirmed, and why that may never come. */
export type Missing = {
  readonly phone: Uint8Array;
  readonly name: string;
  readonly why: "asked" | "removed" | "kit";
};
/** `missing` empty and not final: nobody knows to whom the clip was sealed. */
export type Finality = { readonly final: boolean; readonly missing: readonly Missing[] };

/** Whether every recipient of a deleted clip has confirmed: the members when it began. */
export function finalityOf(
  deletion: Deletion | undefined,
  told: Told | undefined,
  { members }: Journal,
): Finality {
  const started = told?.started?.record.entry;
  const recipients = started && members.at(started.membership)?.members;
  if (!recipients) return { final: false, missing: [] };
  const missing = recipients.flatMap((member): Missing[] => {
    const { phone, name, role } = member;
    if (role === "kit") return [{ phone, name, why: "kit" }];
    if (deletion?.confirmed.has(toHex(phone))) return [];
    return [{ phone, name, why: roleOf(members.head, phone) ? "asked" : "removed" }];
  });
  return { final: deletion !== undefined && missing.length === 0, missing };
}

/** For people: "final", or who is missing. */
export function printFinality({ final, missing }: Finality): string {
  if (final) return "final";
  if (missing.length === 0) return "not final: nobody knows to whom it was sealed";
  const names = missing.map(({ phone, name, why }) => {
    const who = name || shortId(phone);
    if (why === "kit") return `${who} is on paper, which forgets nothing`;
    return why === "removed"
      ? `${who} was removed before it confirmed, and may keep its keys`
      : `${who} has not confirmed`;
  });
  return `not final: ${names.join("; ")}`;
}

/**
 * Destroys what opens the clips that owners deleted from other phones, or from this one before it was
 * put back from a backup. True when something went or is new; durable only when the vault is saved.
 */
export function obey(
  deletions: ReadonlyMap<string, Deletion>,
  camera: CameraKeys,
  nowMs: number,
): boolean {
  let changed = false;
  const known = new Set(camera.deleted.map(({ clip }) => toHex(clip)));
  for (const [id, { clip }] of deletions) {
    const isOpened = forgetClip(camera, clip, () => false);
    changed ||= isOpened;
    if (known.has(id)) continue;
    // The secret of a clip that never came here goes with `settle`, when it is certain which it is.
    const unopened = isOpened ? {} : { unopened: true };
    camera.deleted.push({ clip, atMs: nowMs, number: 0, ...unopened });
    changed = true;
  }
  return changed;
}

/** Wipes the clip's key, the one-time secret that opened it, and those that `isMeant` picks. */
export function forgetClip(
  camera: CameraKeys,
  clip: Uint8Array,
  isMeant: (keyId: string) => boolean,
): boolean {
  const gone = camera.clips.filter((one) => equal(one.clip, clip));
  const opened = new Set(gone.flatMap(({ oneTime }) => (oneTime ? [toHex(oneTime)] : [])));
  const spent = camera.oneTime.filter(({ id }) => isMeant(toHex(id)) || opened.has(toHex(id)));
  if (gone.length + spent.length === 0) return false;
  for (const { key } of gone) wipe(key);
  for (const { secret } of spent) wipe(secret);
  camera.clips = camera.clips.filter((one) => !gone.includes(one));
  camera.oneTime = camera.oneTime.filter((one) => !spent.includes(one));
  return true;
}

/** Whether some key that is still here could open a clip with these key ids. */
export function canStillOpen(
  camera: CameraKeys,
  clip: Uint8Array,
  keyIds: readonly Uint8Array[],
): boolean {
  if (camera.clips.some((one) => equal(one.clip, clip))) return true;
  const here = [
    ...camera.oneTime.map(({ id }) => id),
    ...[...camera.days, ...camera.restarts].map(({ fingerprint }) => keyIdOf(fingerprint, clip)),
  ];
  return keyIds.some((keyId) => here.some((one) => equal(one, keyId)));
}

export type ConfirmOptions = {
  readonly vault: Vault;
  readonly camera: CameraKeys;
  readonly told: ReadonlyMap<string, Told>;
  readonly suite: Suite;
  readonly nowMs: number;
};
/** A clip, and the tombstone that is being confirmed. */
export type Confirmable = { readonly clip: Uint8Array; readonly tombstone: Uint8Array };

/**
 * Signs that what opened these clips is destroyed here, and puts that on the list of what is to be
 * sent. Only behind a save of the vault: what is said here is durable already. Returns how many.
 */
export function confirm(clips: readonly Confirmable[], options: ConfirmOptions): number {
  const { vault, camera, suite, nowMs } = options;
  const { phone, phoneKey } = vault.content;
  const signer = { sign: (message: Uint8Array) => sign(phone, message), suite };
  const asked = confirming(camera, suite);
  const fresh = clips.filter(({ clip }) => !asked.has(toHex(clip)));
  const rising = fresh.sort((a, b) => (toHex(a.clip) < toHex(b.clip) ? -1 : 1));
  for (let at = 0; at < rising.length; at += mostConfirmed) {
    const done = rising.slice(at, at + mostConfirmed);
    const about = { camera: camera.id, phone: phoneKey, atMs: nowMs, done };
    const { bytes } = encodeConfirmation(about, signer);
    addOutgoing(camera, { kind: "confirm", replaces: 0, confirmation: bytes }, nowMs);
  }
  if (rising.length > 0) vault.touch();
  return rising.length;
}

/** The deletions that this phone has carried out and neither confirmed nor is about to confirm. */
export function confirmable(
  deletions: ReadonlyMap<string, Deletion>,
  { vault, camera, told, suite }: ConfirmOptions,
): Confirmable[] {
  const own = toHex(vault.content.phoneKey);
  const asked = confirming(camera, suite);
  return [...deletions].flatMap(([id, { clip, tombstones, confirmed }]) => {
    const [first] = tombstones;
    if (!first || confirmed.has(own) || asked.has(id)) return [];
    const keyIds = [...(told.get(id)?.started?.keyIds ?? []), ...first.keyIds];
    return canStillOpen(camera, clip, keyIds) ? [] : [{ clip, tombstone: first.hash }];
  });
}

/** The clips, in hexadecimal, whose confirmation is on the list of what is to be sent. */
function confirming(camera: CameraKeys, suite: Suite): Set<string> {
  const asked = new Set<string>();
  for (const item of camera.outgoing) {
    const action = item.what === "confirm" ? actionOf(item) : undefined;
    if (action?.kind !== "confirm") continue;
    const { done } = verifyConfirmation(action.confirmation, camera.id, suite);
    for (const { clip } of done) asked.add(toHex(clip));
  }
  return asked;
}
