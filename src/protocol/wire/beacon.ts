import { equal } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import {
  type By,
  decodeObject,
  encodeObject,
  hashBytes,
  keyBytes,
  kinds,
  type Suite,
  signatureBytes,
  verifyObject,
  writeEnvelope,
} from "./signature.ts";

// The camera's newest head, overwritten. Specification: beacon.md.

export type Beacon = {
  camera: Uint8Array;
  version: number; // rises with each beacon of an incarnation
  incarnation: number;
  head: { sequence: number; hash: Uint8Array }; // newest log entry
  uptimeMs: number;
  wallMs: number;
  trusted: boolean; // whether the camera's clock was set when it wrote wallMs
};

export const beaconBytes: number =
  4 + keyBytes + 8 + 4 + 8 + hashBytes + 8 + 8 + 1 + signatureBytes;

export function encodeBeacon(beacon: Beacon, by: By): { bytes: Uint8Array; hash: Uint8Array } {
  const writer = writeEnvelope(kinds.beacon)
    .raw(beacon.camera)
    .u64(beacon.version)
    .u32(beacon.incarnation)
    .u64(beacon.head.sequence)
    .raw(beacon.head.hash)
    .u64(beacon.uptimeMs)
    .u64(beacon.wallMs)
    .u8(beacon.trusted ? 1 : 0);
  return encodeObject(kinds.beacon, writer, decodeBeacon, by);
}

export function decodeBeacon(bytes: Uint8Array): Beacon {
  return decodeObject(kinds.beacon, bytes, (reader) => {
    const camera = reader.take(keyBytes);
    const version = reader.u64();
    const incarnation = reader.u32();
    const head = { sequence: reader.u64(), hash: reader.take(hashBytes) };
    const uptimeMs = reader.u64();
    const wallMs = reader.u64();
    const trusted = reader.u8();
    if (trusted > 1) throw reader.refuse("trusted", "a beacon's clock is trusted or not");
    return { camera, version, incarnation, head, uptimeMs, wallMs, trusted: trusted === 1 };
  });
}

/** Stages after decoding: "camera", "key", "signature". */
export function verifyBeacon(bytes: Uint8Array, camera: Uint8Array, suite: Suite): Beacon {
  const beacon = decodeBeacon(bytes);
  if (!equal(beacon.camera, camera)) {
    throw new Failure("corrupt", "a beacon of another camera", { stage: "camera" });
  }
  verifyObject(kinds.beacon, bytes, camera, suite);
  return beacon;
}

/** Whether `next` takes the place of `current`: a higher incarnation, or a higher version in it. */
export function replacesBeacon(next: Beacon, current: Beacon): boolean {
  if (next.incarnation !== current.incarnation) return next.incarnation > current.incarnation;
  return next.version > current.version;
}
