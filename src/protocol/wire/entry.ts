import { equal, type Reader } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import type { EntryName } from "./name.ts";
import {
  type By,
  decodeObject,
  digest,
  encodeObject,
  hashBytes,
  isHash,
  keyBytes,
  kinds,
  type Suite,
  verifyObject,
  writeEnvelope,
} from "./signature.ts";

// One link of the camera's log. Specification: entry.md.

export type EntryFields = {
  camera: Uint8Array; // 32 bytes, the key that signs
  incarnation: number;
  sequence: number; // counts on through incarnations, 0 once
  previous: Uint8Array; // hash of the entry before, zero for sequence 0
  membership: number; // version of the member list it is sealed to
  epoch: number; // of the key that seals it
  uptimeMs: number;
  /** Whoever does not know the kind inside must stop and ask for an update. */
  critical: boolean;
  /** The stanzas that hand out a new epoch key, or nothing. */
  stanzas?: Uint8Array;
  body: Uint8Array; // sealed
};
export type Entry = EntryFields & { bodyHash: Uint8Array };

export const stanzasBytes = 128 * 1024;
export const bodyBytes = 64 * 1024;

const critical = 1;
const opensEpoch = 2;

export function encodeEntry(
  fields: EntryFields,
  by: By,
): { bytes: Uint8Array; hash: Uint8Array; name: EntryName } {
  const { stanzas, body } = fields;
  const { suite } = by;
  const flags = (fields.critical ? critical : 0) | (stanzas ? opensEpoch : 0);
  const writer = writeEnvelope(kinds.entry, flags)
    .raw(fields.camera)
    .u32(fields.incarnation)
    .u64(fields.sequence)
    .raw(fields.previous)
    .u32(fields.membership)
    .u32(fields.epoch)
    .u64(fields.uptimeMs)
    .raw(digest(suite, body));
  if (stanzas) writer.bytes32(stanzas);
  writer.bytes32(body);
  const decode = (made: Uint8Array) => decodeEntry(made, suite);
  const { bytes, hash } = encodeObject(kinds.entry, writer, decode, by);
  return { bytes, hash, name: entryName(fields, hash) };
}

/** Reads an entry and holds its body against the body's hash; not yet who made it. */
export function decodeEntry(bytes: Uint8Array, suite: Suite): Entry {
  const read = (reader: Reader, flags: number): Entry => {
    const camera = reader.take(keyBytes);
    const incarnation = reader.u32();
    const sequence = reader.u64();
    const previous = reader.take(hashBytes);
    const membership = reader.u32();
    const epoch = reader.u32();
    const uptimeMs = reader.u64();
    const bodyHash = reader.take(hashBytes);
    const stanzas = flags & opensEpoch ? reader.bytes32(stanzasBytes) : undefined;
    if (stanzas?.length === 0)
      throw reader.refuse("length", "an entry with an epoch and no stanzas");
    const body = reader.bytes32(bodyBytes);
    if (body.length === 0) throw reader.refuse("length", "an entry without a body");
    if (isHash(previous) !== sequence > 0) {
      throw reader.refuse(
        "previous",
        `entry ${sequence} names ${sequence ? "no" : "an"} entry before`,
      );
    }
    if (!equal(digest(suite, body), bodyHash)) {
      throw reader.refuse("body", "an entry's body is not the one it names");
    }
    return {
      ...{ camera, incarnation, sequence, previous, membership, epoch, uptimeMs, bodyHash, body },
      critical: (flags & critical) !== 0,
      ...(stanzas ? { stanzas } : {}),
    };
  };
  return decodeObject(kinds.entry, bytes, read, critical | opensEpoch);
}

/** An entry of the given camera, with its hash. Stages after decoding: "camera", "key", "signature". */
export function verifyEntry(
  bytes: Uint8Array,
  camera: Uint8Array,
  suite: Suite,
): Entry & { hash: Uint8Array; name: EntryName } {
  const entry = decodeEntry(bytes, suite);
  if (!equal(entry.camera, camera)) {
    throw new Failure("corrupt", "an entry of another camera", { stage: "camera" });
  }
  const hash = verifyObject(kinds.entry, bytes, camera, suite);
  return { ...entry, hash, name: entryName(entry, hash) };
}

export function entryName(
  entry: Pick<EntryFields, "incarnation" | "sequence">,
  hash: Uint8Array,
): EntryName {
  return { kind: "entry", incarnation: entry.incarnation, sequence: entry.sequence, hash };
}

/** Where an entry stands in the chain. */
export type EntryLink = Pick<EntryFields, "camera" | "incarnation" | "sequence" | "previous">;

/** Refuses an entry that is not a child of `before`, stage "chain". */
export function checkLink(entry: EntryLink, before: EntryLink & { hash: Uint8Array }): void {
  const linked =
    entry.sequence === before.sequence + 1 &&
    entry.incarnation >= before.incarnation &&
    equal(entry.camera, before.camera) &&
    equal(entry.previous, before.hash);
  if (!linked) {
    throw new Failure("corrupt", `entry ${entry.sequence} does not follow ${before.sequence}`, {
      stage: "chain",
    });
  }
}
