import { ed25519Signer, nodeSuite } from "../src/base/node/crypto.ts";
import { toHex } from "../src/base/pure/bytes.ts";
import {
  type Checkpoint,
  checkpointKind,
  encodeCheckpoint,
} from "../src/protocol/sealed/checkpoint.ts";
import {
  type Confirmation,
  confirmationKind,
  encodeConfirmation,
  encodeTombstone,
  type Tombstone,
  tombstoneKind,
} from "../src/protocol/sealed/tombstone.ts";
import { type Vector, wellVector } from "./vectors.ts";
import { cameraSeed, put, refusals } from "./vectors-wire.ts";

// Vectors of what several phones of one camera say: deletions, checkpoints.

const bytesOf = (value: number, length: number) => new Uint8Array(length).fill(value);
const camera = ed25519Signer(cameraSeed).publicKey;
const owner = { ...ed25519Signer(bytesOf(0x44, 32)), suite: nodeSuite };
const other = ed25519Signer(bytesOf(0x55, 32)).publicKey;
const input = { expectedCamera: toHex(camera) };
const another = {
  name: "camera-another",
  expect: "camera",
  edit: (bytes: Uint8Array) => void bytes.set(other, 4),
};

export function tombstoneVectors(): Vector[] {
  const tombstone: Tombstone = {
    ...{ camera, clip: bytesOf(0xc1, 16), phone: owner.publicKey, atMs: 1_700_000_000_000 },
    keyIds: [bytesOf(3, 16), bytesOf(4, 16)],
  };
  const { bytes } = encodeTombstone(tombstone, owner);
  const bare = { ...tombstone, keyIds: [] };
  return [
    wellVector("well", tombstoneKind, bytes, input, tombstone),
    wellVector("well-blind", tombstoneKind, encodeTombstone(bare, owner).bytes, input, bare),
    ...refusals(tombstoneKind, input, bytes, owner, [
      another,
      { name: "signature-of-phone", expect: "signature", edit: (b) => void b.set(other, 52) },
      { name: "key-of-phone", expect: "key", edit: put(52, ...bytesOf(0, 32)) },
      { name: "range-of-time", expect: "range", edit: put(84, 0x20) },
      { name: "count-above-limit", expect: "count", edit: put(92, 65) },
      { name: "length-key-missing", expect: "length", edit: put(92, 7) },
    ]),
  ];
}

export function confirmationVectors(): Vector[] {
  const confirmation: Confirmation = {
    ...{ camera, phone: owner.publicKey, atMs: 1_700_000_000_001 },
    done: [
      { clip: bytesOf(1, 16), tombstone: bytesOf(0xa1, 32) },
      { clip: bytesOf(2, 16), tombstone: bytesOf(0xa2, 32) },
    ],
  };
  const { bytes } = encodeConfirmation(confirmation, owner);
  return [
    wellVector("well", confirmationKind, bytes, input, confirmation),
    ...refusals(confirmationKind, input, bytes, owner, [
      another,
      { name: "signature-of-phone", expect: "signature", edit: (b) => void b.set(other, 36) },
      { name: "key-of-phone", expect: "key", edit: put(36, ...bytesOf(0, 32)) },
      { name: "range-of-time", expect: "range", edit: put(68, 0x20) },
      { name: "count-none", expect: "count", edit: put(76, 0, 0) },
      { name: "count-above-limit", expect: "count", edit: put(76, 0, 129) },
      { name: "order-doubled", expect: "order", edit: put(126, ...bytesOf(1, 16)) },
      { name: "order-falling", expect: "order", edit: put(126, ...bytesOf(0, 16)) },
    ]),
  ];
}

export function checkpointVectors(): Vector[] {
  const checkpoint: Checkpoint = {
    ...{ camera, phone: owner.publicKey, atMs: 1_700_000_000_000, incarnation: 1 },
    ...{ sequence: 4711, hash: bytesOf(0xe1, 32), list: bytesOf(0xe2, 32) },
  };
  const { bytes } = encodeCheckpoint(checkpoint, owner);
  return [
    wellVector("well", checkpointKind, bytes, input, checkpoint),
    ...refusals(checkpointKind, input, bytes, owner, [
      another,
      { name: "signature-of-phone", expect: "signature", edit: (b) => void b.set(other, 36) },
      { name: "key-of-phone", expect: "key", edit: put(36, ...bytesOf(0, 32)) },
      { name: "range-of-sequence", expect: "range", edit: put(80, 0x20) },
    ]),
  ];
}
