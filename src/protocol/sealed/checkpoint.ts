import { equal, Reader } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import {
  hashBytes,
  type Kind,
  keyBytes,
  readEnvelope,
  type Sign,
  type Suite,
  signatureBytes,
  signObject,
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
  { sign, suite }: { sign: Sign; suite: Suite },
): { bytes: Uint8Array; hash: Uint8Array } {
  const bytes = writeEnvelope(checkpointKind)
    .raw(checkpoint.camera)
    .raw(checkpoint.phone)
    .u64(checkpoint.atMs)
    .u32(checkpoint.incarnation)
    .u64(checkpoint.sequence)
    .raw(checkpoint.hash)
    .raw(checkpoint.list)
    .raw(new Uint8Array(signatureBytes))
    .done();
  decodeCheckpoint(bytes);
  return { bytes, hash: signObject(checkpointKind, bytes, sign, suite) };
}

export function decodeCheckpoint(bytes: Uint8Array): Checkpoint {
  const reader = new Reader(bytes, "checkpoint");
  readEnvelope(reader, checkpointKind);
  const camera = reader.take(keyBytes);
  const phone = reader.take(keyBytes);
  const atMs = reader.u64();
  const incarnation = reader.u32();
  const sequence = reader.u64();
  const hash = reader.take(hashBytes);
  const list = reader.take(hashBytes);
  reader.take(signatureBytes);
  reader.end();
  return { camera, phone, atMs, incarnation, sequence, hash, list };
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
