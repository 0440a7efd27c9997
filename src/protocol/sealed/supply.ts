import { equal, type Reader } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import {
  type By,
  decodeObject,
  encodeObject,
  type Kind,
  keyBytes,
  type Suite,
  signatureBytes,
  verifyObject,
  writeEnvelope,
} from "../wire/signature.ts";
import { sizes } from "./sodium.ts";

// The public keys that a phone hands to a camera. Specification: supply.md.

export const supplyKind: Kind = { word: "supply", number: 17 };

/** What a pairing brings. */
export const firstSupply = { oneTime: 2000, days: 400 } as const;
export const mostOneTime = 4096;
export const mostDays = 1024;

export type SupplyFields = {
  phone: Uint8Array; // 32 bytes, the key that signs
  camera: Uint8Array;
  incarnation: number;
  /** Rises with each supply of a phone for a camera. */
  batch: number;
  /** Index of the first one-time key; the next batch goes on where this one ends. */
  firstIndex: number;
  /** Day of the first day key, counted in days of elapsed time since the adoption. */
  firstDay: number;
};
export type SupplyKeys = {
  oneTime: readonly Uint8Array[];
  days: readonly Uint8Array[];
  restart?: Uint8Array;
};
/** The keys are views into the bytes that were decoded. */
export type Supply = SupplyFields & SupplyKeys;

export const longestSupplyBytes: number =
  4 +
  2 * keyBytes +
  4 * 4 +
  2 * 2 +
  (mostOneTime + mostDays + 1) * sizes.kemPublicKey +
  signatureBytes;

const hasRestart = 1;

export function encodeSupply(supply: Supply, by: By) {
  const { oneTime, days, restart } = supply;
  const writer = writeEnvelope(supplyKind, restart ? hasRestart : 0)
    .raw(supply.phone)
    .raw(supply.camera)
    .u32(supply.incarnation)
    .u32(supply.batch)
    .u32(supply.firstIndex)
    .u32(supply.firstDay)
    .u16(oneTime.length)
    .u16(days.length);
  for (const key of oneTime) writer.raw(key);
  for (const key of days) writer.raw(key);
  if (restart) writer.raw(restart);
  return encodeObject(supplyKind, writer, decodeSupply, by);
}

/** Reads a supply; says nothing yet about who made it. */
export function decodeSupply(bytes: Uint8Array): Supply {
  const read = (reader: Reader, flags: number): Supply => {
    const phone = reader.take(keyBytes);
    const camera = reader.take(keyBytes);
    const [incarnation, batch, firstIndex, firstDay] = [
      reader.u32(),
      reader.u32(),
      reader.u32(),
      reader.u32(),
    ];
    const counts = { oneTime: reader.u16(), days: reader.u16() };
    if (counts.oneTime > mostOneTime || counts.days > mostDays) {
      throw reader.refuse("count", `a supply of ${counts.oneTime} and ${counts.days} keys`);
    }
    if (firstIndex + counts.oneTime > 0xffff_ffff || firstDay + counts.days > 0xffff_ffff) {
      throw reader.refuse("range", "a supply whose indexes run over");
    }
    // The whole length is known here, before a list is made.
    const keys = counts.oneTime + counts.days + (flags & hasRestart);
    if (keys === 0) throw reader.refuse("count", "a supply without a key");
    if (reader.remaining !== keys * sizes.kemPublicKey + signatureBytes) {
      throw reader.refuse("length", `a supply of ${bytes.length} bytes for ${keys} keys`);
    }
    const take = (count: number) =>
      Array.from({ length: count }, () => reader.take(sizes.kemPublicKey));
    const oneTime = take(counts.oneTime);
    const days = take(counts.days);
    const restart = flags & hasRestart ? { restart: reader.take(sizes.kemPublicKey) } : {};
    return {
      ...{ phone, camera, incarnation, batch, firstIndex, firstDay, oneTime, days },
      ...restart,
    };
  };
  return decodeObject(supplyKind, bytes, read, hasRestart);
}

/**
 * A supply for this camera by a phone. Stages after decoding: "phone" (another phone's), "camera"
 * (for another camera), "incarnation" (for another life of it), "key", "signature".
 */
export function verifySupply(
  bytes: Uint8Array,
  expected: { phone: Uint8Array; camera: Uint8Array; incarnation: number },
  suite: Suite,
): Supply {
  const supply = decodeSupply(bytes);
  const refuse = (stage: string, message: string) => new Failure("corrupt", message, { stage });
  if (!equal(supply.phone, expected.phone)) throw refuse("phone", "a supply of another phone");
  if (!equal(supply.camera, expected.camera)) throw refuse("camera", "a supply for another camera");
  if (supply.incarnation !== expected.incarnation) {
    throw refuse("incarnation", `a supply for incarnation ${supply.incarnation} of this camera`);
  }
  verifyObject(supplyKind, bytes, supply.phone, suite);
  return supply;
}

/**
 * Refuses a supply that does not follow what a camera has of this phone, stage "index": batches
 * and indexes only rise, so that no key is ever used twice.
 */
export function checkSupplyRises(
  next: SupplyFields,
  current: { batch: number; nextIndex: number },
): void {
  if (next.batch <= current.batch || next.firstIndex < current.nextIndex) {
    throw new Failure("refused", `supply ${next.batch} does not follow ${current.batch}`, {
      stage: "index",
    });
  }
}
