import { equal } from "../base/pure/bytes.ts";
import { verifyIdentity } from "../protocol/sealed/pairing.ts";
import { kemPair, sign } from "../protocol/sealed/sodium.ts";
import { keyFingerprint, keyIdOf } from "../protocol/sealed/stanza.ts";
import { encodeSupply, type SupplyFields, type SupplyKeys } from "../protocol/sealed/supply.ts";
import type { Suite } from "../protocol/wire/signature.ts";
import type { Journal } from "./journal.ts";
import { addOutgoing } from "./outgoing.ts";
import { endIndex, newestBatch } from "./settle.ts";
import type { CameraKeys, Vault } from "./vault.ts";

// The keys that a phone hands to a camera, and when it needs to hand it more.

/** What of a camera's keys a batch adds to. */
export type KeyRing = Pick<
  CameraKeys,
  "incarnation" | "batch" | "nextIndex" | "lastBatch" | "oneTime" | "days" | "restarts"
>;
export type BatchSize = { readonly oneTime: number; readonly days: number };
export type Batch = Pick<SupplyFields, "batch" | "firstIndex" | "firstDay"> & SupplyKeys;

/** What goes by command: 852 KB, below the limit of an action (supply.md). */
export const furtherSupply: BatchSize = { oneTime: 500, days: 200 };
/** With fewer days than this ahead more are sent. */
const fewDays = 60;
/** With fewer one-time keys than this, or than a quarter of the last batch, more are sent. */
const fewKeys = 200;

/** Draws a batch of keys and keeps their secrets in the (not yet saved) vault. */
export function makeBatch(
  keys: KeyRing,
  size: BatchSize,
  firstDay: number,
  onProgress?: (made: number, of: number) => void,
): Batch {
  const of = size.oneTime + size.days + 1;
  let made = 0;
  const make = () => {
    const pair = kemPair();
    made += 1;
    onProgress?.(made, of);
    return { ...pair, fingerprint: keyFingerprint(pair.publicKey) };
  };
  const { nextIndex: firstIndex, incarnation } = keys;
  const batch = keys.batch + 1;
  const oneTime = Array.from({ length: size.oneTime }, (_, i) => {
    const { publicKey, secret, fingerprint } = make();
    keys.oneTime.push({ index: firstIndex + i, id: keyIdOf(fingerprint), secret });
    return publicKey;
  });
  const days = Array.from({ length: size.days }, (_, i) => {
    const { publicKey, secret, fingerprint } = make();
    keys.days.push({ incarnation, day: firstDay + i, fingerprint, secret });
    return publicKey;
  });
  const { publicKey: restart, secret, fingerprint } = make();
  keys.restarts.push({ fingerprint, secret, batch });
  keys.batch = batch;
  keys.nextIndex += size.oneTime;
  keys.lastBatch = { oneTime: size.oneTime, days: size.days };
  return { batch, firstIndex, firstDay, oneTime, days, restart };
}

/** The batch as the camera takes it. */
export function signBatch(
  batch: Batch,
  { vault, camera, suite }: { vault: Vault; camera: Life; suite: Suite },
): Uint8Array {
  const { phone, phoneKey } = vault.content;
  const about = { phone: phoneKey, camera: camera.id, incarnation: camera.incarnation };
  const signer = { sign: (message: Uint8Array) => sign(phone, message), suite };
  return encodeSupply({ ...about, ...batch }, signer).bytes;
}

export type Life = { readonly id: Uint8Array; readonly incarnation: number };

export type ReplenishOptions = {
  readonly vault: Vault;
  readonly camera: CameraKeys;
  readonly journal: Journal;
  readonly suite: Suite;
  readonly nowMs: number;
  readonly size?: BatchSize;
};

/**
 * Makes a further batch, and puts it on the list of what is to be sent, when few keys are left or the
 * camera lives in another incarnation than they were made for. The vault is touched, not saved:
 * sending saves it first. True when it did.
 */
export function replenish(options: ReplenishOptions): boolean {
  const { vault, camera, journal, suite, nowMs, size = furtherSupply } = options;
  if (camera.outgoing.some(({ what }) => what === "supply")) return false;
  const own = vault.content.phoneKey;
  const first = verifyIdentity(camera.identity, suite).incarnation;
  if (!journal.members.head.members.some(({ phone }) => equal(phone, own))) return false;
  const { incarnation, nextDay, lastBatch = furtherSupply } = camera;
  const isFew = camera.oneTime.length < Math.min(fewKeys, lastBatch.oneTime / 4);
  const ahead = camera.days.filter(
    (one) => one.day >= nextDay && (one.incarnation ?? first) === incarnation,
  );
  // In a new incarnation there are none.
  const isShort = ahead.length < Math.min(fewDays, Math.max(1, lastBatch.days / 4));
  if (!isFew && !isShort) return false;
  // As the camera has it: a batch that was made for a file may never have come to it.
  const replaces = newestBatch(journal, own);
  // A vault that was put back knows neither the batches nor the indexes that it gave since.
  camera.batch = Math.max(camera.batch, replaces);
  camera.nextIndex = Math.max(camera.nextIndex, endIndex(journal, own));
  const batch = makeBatch(camera, size, nextDay);
  const supply = signBatch(batch, { vault, camera, suite });
  addOutgoing(camera, { kind: "supply", replaces, supply }, nowMs);
  vault.touch();
  return true;
}
