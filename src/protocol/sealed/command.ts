import { equal, isZero, Reader, Writer } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import type { BoxName } from "../wire/name.ts";
import {
  digest,
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
import { type Action, actionBytes, decodeAction, encodeAction } from "./action.ts";
import { branded, type Sealed } from "./sealed.ts";
import {
  decapsulate,
  decrypt,
  derive,
  encapsulate,
  encrypt,
  type Pair,
  sizes,
  wipe,
} from "./sodium.ts";
import { idBytes, keyId } from "./stanza.ts";

// What a phone tells a camera. Specification: command.md. What it may say: action.ts.

export const commandKind: Kind = { word: "command", number: 19 };
/** The sealed box around it, which the relay stores. */
export const boxKind: Kind = { word: "box", number: 20 };

/** A head of the camera's log as the phone knew it: a camera that is behind it has lost something. */
export type Head = { incarnation: number; sequence: number; hash: Uint8Array };

export type Command = {
  camera: Uint8Array;
  incarnation: number;
  phone: Uint8Array; // 32 bytes, the key that signs
  number: number; // strictly rises for each phone and incarnation; holes are allowed
  head: Head | undefined;
  action: Action;
};

/** The plain text is sealed in slices of this many bytes. */
const sliceBytes = 64 * 1024 - 4;
const slotBytes = 64 * 1024;
const headBytes = 4 + idBytes + sizes.kemCiphertext + 4;
const mostSlots = 15;
export const commandBytes: number = headBytes + mostSlots * (slotBytes + sizes.tag);

const none = new Uint8Array();

function encodePlain(command: Command, { sign, suite }: { sign: Sign; suite: Suite }): Uint8Array {
  const { head, action } = command;
  const writer = writeEnvelope(commandKind, head ? 1 : 0)
    .raw(command.camera)
    .u32(command.incarnation)
    .raw(command.phone)
    .u64(command.number);
  if (head) writer.u32(head.incarnation).u64(head.sequence).raw(head.hash);
  const encoded = encodeAction(action);
  const bytes = writer.u8(encoded.kind).bytes32(encoded.bytes).raw(new Uint8Array(signatureBytes));
  const plain = bytes.done();
  decodePlain(plain);
  signObject(commandKind, plain, sign, suite);
  return plain;
}

function decodePlain(plain: Uint8Array): Command {
  const reader = new Reader(plain, "command");
  const flags = readEnvelope(reader, commandKind, 1);
  const camera = reader.take(keyBytes);
  const incarnation = reader.u32();
  const phone = reader.take(keyBytes);
  const number = reader.u64();
  const head = flags
    ? { incarnation: reader.u32(), sequence: reader.u64(), hash: reader.take(hashBytes) }
    : undefined;
  const kind = reader.u8();
  const action = decodeAction(kind, reader.bytes32(actionBytes));
  reader.take(signatureBytes);
  reader.end();
  return { camera, incarnation, phone, number, head, action };
}

/** Signs, seals to the camera's receiving key and names a command for the phone's own box. */
export function sealCommand(
  command: Command,
  receivingKey: Uint8Array,
  { sign, suite }: { sign: Sign; suite: Suite },
): Sealed {
  const plain = encodePlain(command, { sign, suite });
  const { ciphertext, shared } = encapsulate(receivingKey);
  const slots = Math.ceil(plain.length / sliceBytes);
  if (slots > mostSlots) throw new Failure("misuse", `a command of ${plain.length} bytes`);
  const head = writeEnvelope(boxKind)
    .raw(keyId(receivingKey, ciphertext))
    .raw(ciphertext)
    .u32(slots)
    .done();
  const key = boxKey(shared, suite, head, receivingKey);
  const writer = new Writer().raw(head);
  for (let i = 0; i < slots; i++) {
    const slice = plain.subarray(i * sliceBytes, (i + 1) * sliceBytes);
    const padded = new Uint8Array(slotBytes);
    new DataView(padded.buffer).setUint32(0, slice.length);
    padded.set(slice, 4);
    writer.raw(encrypt(key, slotNonce(i, i === slots - 1), padded, none));
    padded.fill(0);
  }
  wipe(shared, key, plain);
  const bytes = writer.done();
  const hash = digest(suite, bytes);
  const name: BoxName = { kind: "box", writer: command.phone, sequence: command.number, hash };
  return branded(name, bytes);
}

/**
 * The command inside: null when it is sealed to none of the `receiving` keys (expired, or another camera's).
 * Checks everything but what only the camera's memory knows: see `CommandGate`. Stages: "length",
 * those of the envelope, "slots", "box" (does not open), "padding", "camera", "incarnation",
 * "key", "signature".
 */
export function openCommand(
  bytes: Uint8Array,
  receiving: readonly Pair[],
  expected: { camera: Uint8Array; incarnation: number },
  suite: Suite,
): Command | null {
  if (bytes.length > commandBytes) throw refuse("length", "a command that is too long");
  const reader = new Reader(bytes, "command box");
  readEnvelope(reader, boxKind);
  const id = reader.take(idBytes);
  const ciphertext = reader.take(sizes.kemCiphertext);
  const slots = reader.u32();
  if (slots < 1 || slots > mostSlots) throw reader.refuse("slots", `a command of ${slots} slots`);
  const head = bytes.subarray(0, headBytes);
  if (reader.remaining !== slots * (slotBytes + sizes.tag)) {
    throw reader.refuse("length", `a command of ${bytes.length} bytes for ${slots} slots`);
  }
  const mine = receiving.find(({ publicKey }) => equal(keyId(publicKey, ciphertext), id));
  if (!mine) return null;
  const shared = decapsulate(ciphertext, mine.secret);
  const key = boxKey(shared, suite, head, mine.publicKey);
  const slices = new Writer();
  for (let i = 0; i < slots; i++) {
    const sealed = reader.take(slotBytes + sizes.tag);
    slices.raw(unpad(decrypt(key, slotNonce(i, i === slots - 1), sealed, none), i === slots - 1));
  }
  wipe(shared, key);
  const plain = slices.done();
  const command = decodePlain(plain);
  if (!equal(command.camera, expected.camera)) throw refuse("camera", "for another camera");
  if (command.incarnation !== expected.incarnation) {
    throw refuse("incarnation", `for incarnation ${command.incarnation} of this camera`);
  }
  verifyObject(commandKind, plain, command.phone, suite);
  return command;
}

function unpad(padded: Uint8Array | null, last: boolean): Uint8Array {
  if (!padded) throw refuse("box", "a command that does not open");
  const reader = new Reader(padded, "command");
  const length = reader.u32();
  const fits = last ? length >= 1 && length <= sliceBytes : length === sliceBytes;
  if (!fits) throw refuse("padding", `a slot with ${length} bytes`);
  const slice = reader.take(length);
  if (!isZero(reader.take(reader.remaining))) {
    throw refuse("padding", "padding that is not zero");
  }
  return slice;
}

// The head is bound in: its id and its count of slots cannot be exchanged.
function boxKey(shared: Uint8Array, suite: Suite, head: Uint8Array, publicKey: Uint8Array) {
  return derive(shared, "obscura/1/box", digest(suite, head), publicKey);
}

function slotNonce(index: number, last: boolean): Uint8Array {
  return new Writer()
    .u32(index)
    .u8(last ? 1 : 0)
    .raw(new Uint8Array(19))
    .done();
}

function refuse(stage: string, message: string): Failure {
  return new Failure("refused", `a command ${message}`, { stage });
}

/** How long a camera's own nonce is good for, by its monotonic clock. */
export const nonceLifeMs = 30_000;

/** What the camera remembers and holds a command against. */
export type Gate = {
  /** Role of the phone in the ordered member list. */
  role(phone: Uint8Array): "owner" | "viewer" | undefined;
  /** The highest number that was taken from this phone in this incarnation, durably. */
  highest(phone: Uint8Array): number | undefined;
  /** Age of a nonce that this camera gave out, by its monotonic clock; undefined if it did not. */
  nonceAgeMs(nonce: Uint8Array): number | undefined;
  /** The version that stands now for what a lasting command replaces. */
  version(action: Action): number;
};

/**
 * Whether a command that opened may be carried out: "done" when its number was taken before (a
 * repeat, not an error). Stages: "role", "nonce", "replaces".
 */
export function admit(command: Command, gate: Gate): "do" | "done" {
  const { action, phone, number } = command;
  const role = gate.role(phone);
  const viewersMay = ["live", "snapshot", "ask"].includes(action.kind);
  if (role !== "owner" && !(role === "viewer" && viewersMay)) {
    throw new Failure("denied", `a ${action.kind} command from a phone that may not`, {
      stage: "role",
    });
  }
  const highest = gate.highest(phone);
  if (highest !== undefined && number <= highest) return "done";
  if ("nonce" in action) {
    const age = gate.nonceAgeMs(action.nonce);
    if (age === undefined || age >= nonceLifeMs) throw refuse("nonce", "with an old nonce");
  } else if (action.replaces !== gate.version(action)) {
    throw refuse("replaces", `that replaces version ${action.replaces}`);
  }
  return "do";
}
