import { equal, Reader } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import { clipIdBytes, type PartName } from "./name.ts";
import {
  envelopeBytes,
  hashBytes,
  isHash,
  keyBytes,
  kinds,
  readEnvelope,
  type Sign,
  type Suite,
  signatureBytes,
  signObject,
  verifyObject,
  writeEnvelope,
} from "./signature.ts";

// What travels of a clip. Specification: part.md.

export type PartFields = {
  camera: Uint8Array; // 32 bytes, the key that signs
  incarnation: number;
  clip: Uint8Array; // 16 random bytes
  number: number; // from 0 in each clip
  previous: Uint8Array; // hash of part number - 1, zero for part 0
};
/** `payload` and the rest are views into the bytes that were decoded. */
export type Part = PartFields & { payload: Uint8Array };

export const partBytes = 1024 * 1024;
export const partHeadBytes = envelopeBytes + keyBytes + 4 + clipIdBytes + 4 + hashBytes + 4;
/** The most that fits into one part. */
export const payloadBytes: number = partBytes - partHeadBytes - signatureBytes;

/** Joins and signs; returns the part's bytes and its hash. */
export function encodePart(
  fields: PartFields,
  payload: readonly Uint8Array[],
  { sign, suite }: { sign: Sign; suite: Suite },
): { bytes: Uint8Array; hash: Uint8Array; name: PartName } {
  const length = payload.reduce((sum, piece) => sum + piece.length, 0);
  if (length === 0 || length > payloadBytes) {
    throw new Failure("misuse", `a payload of ${length} bytes, 1 to ${payloadBytes} fit`);
  }
  if (isHash(fields.previous) !== fields.number > 0) {
    throw new Failure("misuse", "part 0 alone has nothing before it");
  }
  const writer = writeEnvelope(kinds.part)
    .raw(fixed(fields.camera, keyBytes))
    .u32(fields.incarnation)
    .raw(fixed(fields.clip, clipIdBytes))
    .u32(fields.number)
    .raw(fixed(fields.previous, hashBytes))
    .u32(length);
  for (const piece of payload) writer.raw(piece);
  const bytes = writer.raw(new Uint8Array(signatureBytes)).done();
  const hash = signObject(kinds.part, bytes, sign, suite);
  return { bytes, hash, name: partName(fields, hash) };
}

/** Reads a part's fields; says nothing yet about who made it. */
export function decodePart(bytes: Uint8Array): Part {
  const reader = new Reader(bytes, "part");
  if (bytes.length > partBytes) throw reader.refuse("length", "a part is at most 1 MiB");
  readEnvelope(reader, kinds.part);
  const camera = reader.take(keyBytes);
  const incarnation = reader.u32();
  const clip = reader.take(clipIdBytes);
  const number = reader.u32();
  const previous = reader.take(hashBytes);
  const payload = reader.bytes32(payloadBytes);
  if (payload.length === 0) throw reader.refuse("length", "a part without payload");
  reader.take(signatureBytes);
  reader.end();
  if (isHash(previous) !== number > 0) {
    throw reader.refuse("previous", `part ${number} names ${number ? "no" : "a"} part before it`);
  }
  return { camera, incarnation, clip, number, previous, payload };
}

/**
 * A part of the camera whose key is given, with its hash. Stages: those of `decodePart`, then
 * "camera" (another camera's), "key", "signature".
 */
export function verifyPart(
  bytes: Uint8Array,
  camera: Uint8Array,
  suite: Suite,
): Part & { hash: Uint8Array; name: PartName } {
  const part = decodePart(bytes);
  if (!equal(part.camera, camera)) {
    throw new Failure("corrupt", "a part of another camera", { stage: "camera" });
  }
  const hash = verifyObject(kinds.part, bytes, camera, suite);
  return { ...part, hash, name: partName(part, hash) };
}

export function partName(part: PartFields, hash: Uint8Array): PartName {
  const { incarnation, clip, number } = part;
  return { kind: "part", incarnation, clip, number, hash };
}

/** Refuses a part that does not follow `before` in its clip, stage "chain". */
export function checkFollows(part: PartFields, before: PartFields & { hash: Uint8Array }): void {
  const follows =
    part.number === before.number + 1 &&
    part.incarnation === before.incarnation &&
    equal(part.clip, before.clip) &&
    equal(part.camera, before.camera) &&
    equal(part.previous, before.hash);
  if (!follows) {
    throw new Failure("corrupt", `part ${part.number} does not follow part ${before.number}`, {
      stage: "chain",
    });
  }
}

function fixed(bytes: Uint8Array, length: number): Uint8Array {
  if (bytes.length !== length) throw new Failure("misuse", `a field of ${bytes.length} bytes`);
  return bytes;
}
