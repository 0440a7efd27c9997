import {
  type By,
  decodeObject,
  encodeObject,
  hashBytes,
  type Kind,
  keyBytes,
  type Suite,
  verifyObject,
  writeEnvelope,
} from "../wire/signature.ts";
import { derive, kemPublicKey, type Pair } from "./sodium.ts";

// The newest log entry that a phone has verified, for the other phones. Specification: seen.md.

export const seenKind: Kind = { word: "seen", number: 38 };

export type Seen = {
  camera: Uint8Array; // 32 bytes
  phone: Uint8Array; // 32 bytes, the member who signs
  atMs: number; // by that phone's clock
  incarnation: number;
  sequence: number;
  hash: Uint8Array;
};

export function encodeSeen(seen: Seen, by: By) {
  const writer = writeEnvelope(seenKind)
    .raw(seen.camera)
    .raw(seen.phone)
    .u64(seen.atMs)
    .u32(seen.incarnation)
    .u64(seen.sequence)
    .raw(seen.hash);
  return encodeObject(seenKind, writer, decodeSeen, by);
}

export function decodeSeen(bytes: Uint8Array): Seen {
  return decodeObject(seenKind, bytes, (reader) => {
    const camera = reader.take(keyBytes);
    const phone = reader.take(keyBytes);
    const atMs = reader.u64();
    const incarnation = reader.u32();
    const sequence = reader.u64();
    const hash = reader.take(hashBytes);
    return { camera, phone, atMs, incarnation, sequence, hash };
  });
}

/** Stages after decoding: "key", "signature". Camera and membership are the reader's to check. */
export function verifySeen(bytes: Uint8Array, suite: Suite): Seen {
  const seen = decodeSeen(bytes);
  verifyObject(seenKind, bytes, seen.phone, suite);
  return seen;
}

/** The key that phones of one circle seal this to. */
export function seenPair(circle: Uint8Array): Pair {
  const secret = derive(circle, "obscura/1/seen");
  return { secret, publicKey: kemPublicKey(secret) };
}
