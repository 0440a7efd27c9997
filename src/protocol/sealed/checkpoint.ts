import { equal } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
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

// A head that an owner vouches for, in place of all entries up to it. Specification: checkpoint.md.

export const checkpointKind: Kind = { word: "checkpoint", number: 34 };

export type Checkpoint = {
  camera: Uint8Array; // 32 bytes
  phone: Uint8Array; // 32 bytes, the owner who signs
  atMs: number; // by that phone's clock, ms since 1970
  incarnation: number;
  sequence: number;
  hash: Uint8Array; // of the entry with that sequence, the last that it stands for
  list: Uint8Array; // hash of the member list in force there
};

export function encodeCheckpoint(
  checkpoint: Checkpoint,
  by: By,
): { bytes: Uint8Array; hash: Uint8Array } {
  const writer = writeEnvelope(checkpointKind)
    .raw(checkpoint.camera)
    .raw(checkpoint.phone)
    .u64(checkpoint.atMs)
    .u32(checkpoint.incarnation)
    .u64(checkpoint.sequence)
    .raw(checkpoint.hash)
    .raw(checkpoint.list);
  return encodeObject(checkpointKind, writer, decodeCheckpoint, by);
}

export function decodeCheckpoint(bytes: Uint8Array): Checkpoint {
  return decodeObject(checkpointKind, bytes, (reader) => {
    const camera = reader.take(keyBytes);
    const phone = reader.take(keyBytes);
    const atMs = reader.u64();
    const incarnation = reader.u32();
    const sequence = reader.u64();
    const hash = reader.take(hashBytes);
    const list = reader.take(hashBytes);
    return { camera, phone, atMs, incarnation, sequence, hash, list };
  });
}

/** Stages after decoding: "camera", "key", "signature". */
export function verifyCheckpoint(bytes: Uint8Array, camera: Uint8Array, suite: Suite): Checkpoint {
  const checkpoint = decodeCheckpoint(bytes);
  if (!equal(checkpoint.camera, camera)) {
    throw new Failure("corrupt", "a checkpoint for another camera", { stage: "camera" });
  }
  verifyObject(checkpointKind, bytes, checkpoint.phone, suite);
  return checkpoint;
}
