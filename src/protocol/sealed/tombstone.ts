import { equal, toHex } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import { clipIdBytes } from "../wire/name.ts";
import {
  type By,
  decodeObject,
  encodeObject,
  hashBytes,
  type Kind,
  keyBytes,
  type Suite,
  signatureBytes,
  verifyObject,
  writeEnvelope,
} from "../wire/signature.ts";
import { idBytes, mostStanzas } from "./stanza.ts";

// An owner's wish that a clip be gone, and each phone's word that it is. Specification: tombstone.md.

export const tombstoneKind: Kind = { word: "tombstone", number: 32 };
export const confirmationKind: Kind = { word: "confirmation", number: 33 };

export type Tombstone = {
  camera: Uint8Array; // 32 bytes
  clip: Uint8Array; // 16 bytes
  phone: Uint8Array; // 32 bytes, the owner who signs
  atMs: number; // by that phone's clock, ms since 1970
  keyIds: readonly Uint8Array[]; // of the clip's stanzas, as the log names them
};

export type Confirmation = {
  camera: Uint8Array;
  phone: Uint8Array; // 32 bytes, the phone that signs: the keys are gone there
  atMs: number;
  done: readonly { clip: Uint8Array; tombstone: Uint8Array /* its hash */ }[]; // by rising clip
};

/** How many clips one confirmation may name; more go in several. */
export const mostConfirmed = 128;

const headBytes = 4 + keyBytes + clipIdBytes + keyBytes + 8 + 1;
export const tombstoneBytes: number = headBytes + mostStanzas * idBytes + signatureBytes;
export const confirmationBytes: number =
  4 + 2 * keyBytes + 8 + 2 + mostConfirmed * (clipIdBytes + hashBytes) + signatureBytes;

export function encodeTombstone(
  tombstone: Tombstone,
  by: By,
): { bytes: Uint8Array; hash: Uint8Array } {
  const writer = writeEnvelope(tombstoneKind)
    .raw(tombstone.camera)
    .raw(tombstone.clip)
    .raw(tombstone.phone)
    .u64(tombstone.atMs)
    .u8(tombstone.keyIds.length);
  for (const id of tombstone.keyIds) writer.raw(id);
  return encodeObject(tombstoneKind, writer, decodeTombstone, by);
}

/** Reads a tombstone; says nothing yet about who made it. */
export function decodeTombstone(bytes: Uint8Array): Tombstone {
  return decodeObject(tombstoneKind, bytes, (reader) => {
    const camera = reader.take(keyBytes);
    const clip = reader.take(clipIdBytes);
    const phone = reader.take(keyBytes);
    const atMs = reader.u64();
    const count = reader.u8();
    if (count > mostStanzas) throw reader.refuse("count", `a tombstone with ${count} keys`);
    const keyIds = Array.from({ length: count }, () => reader.take(idBytes));
    return { camera, clip, phone, atMs, keyIds };
  });
}

/**
 * Stages after decoding: "camera", "key", "signature". Whether its signer was an owner only the
 * member list says that stood in the log when it was carried out.
 */
export function verifyTombstone(
  bytes: Uint8Array,
  camera: Uint8Array,
  suite: Suite,
): Tombstone & { hash: Uint8Array } {
  const tombstone = decodeTombstone(bytes);
  checkCamera(tombstone.camera, camera, "a tombstone");
  return { ...tombstone, hash: verifyObject(tombstoneKind, bytes, tombstone.phone, suite) };
}

export function encodeConfirmation(
  confirmation: Confirmation,
  by: By,
): { bytes: Uint8Array; hash: Uint8Array } {
  const writer = writeEnvelope(confirmationKind)
    .raw(confirmation.camera)
    .raw(confirmation.phone)
    .u64(confirmation.atMs)
    .u16(confirmation.done.length);
  for (const { clip, tombstone } of confirmation.done) writer.raw(clip).raw(tombstone);
  return encodeObject(confirmationKind, writer, decodeConfirmation, by);
}

/** Reads a confirmation; says nothing yet about who made it. */
export function decodeConfirmation(bytes: Uint8Array): Confirmation {
  return decodeObject(confirmationKind, bytes, (reader) => {
    const camera = reader.take(keyBytes);
    const phone = reader.take(keyBytes);
    const atMs = reader.u64();
    const count = reader.u16();
    if (count < 1 || count > mostConfirmed) {
      throw reader.refuse("count", `a confirmation of ${count} clips`);
    }
    const done: { clip: Uint8Array; tombstone: Uint8Array }[] = [];
    for (let i = 0; i < count; i++) {
      const clip = reader.take(clipIdBytes);
      const before = done.at(-1);
      if (before && toHex(before.clip) >= toHex(clip)) {
        throw reader.refuse("order", "clips of a confirmation that do not rise");
      }
      done.push({ clip, tombstone: reader.take(hashBytes) });
    }
    return { camera, phone, atMs, done };
  });
}

/** Stages after decoding: "camera", "key", "signature". */
export function verifyConfirmation(
  bytes: Uint8Array,
  camera: Uint8Array,
  suite: Suite,
): Confirmation & { hash: Uint8Array } {
  const confirmation = decodeConfirmation(bytes);
  checkCamera(confirmation.camera, camera, "a confirmation");
  return {
    ...confirmation,
    hash: verifyObject(confirmationKind, bytes, confirmation.phone, suite),
  };
}

function checkCamera(named: Uint8Array, camera: Uint8Array, what: string): void {
  if (equal(named, camera)) return;
  throw new Failure("corrupt", `${what} for another camera`, { stage: "camera" });
}
