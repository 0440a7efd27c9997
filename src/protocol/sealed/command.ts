import { equal, type Reader } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import {
  type By,
  decodeObject,
  encodeObject,
  hashBytes,
  type Kind,
  keyBytes,
  type Sign,
  type Suite,
  verifyObject,
  writeEnvelope,
} from "../wire/signature.ts";
import { type Action, actionBytes, decodeAction, encodeAction } from "./action.ts";
import { openBox, sealBox } from "./box.ts";
import type { Role } from "./membership.ts";
import type { Sealed } from "./sealed.ts";
import type { Pair } from "./sodium.ts";
import { decodeSupply } from "./supply.ts";
import { decodeConfirmation } from "./tombstone.ts";

// What a phone tells a camera. Specification: command.md. What it may say: action.ts.

export const commandKind: Kind = { word: "command", number: 19 };

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

function encodePlain(command: Command, by: By): Uint8Array {
  const { head, action } = command;
  const writer = writeEnvelope(commandKind, head ? 1 : 0)
    .raw(command.camera)
    .u32(command.incarnation)
    .raw(command.phone)
    .u64(command.number);
  if (head) writer.u32(head.incarnation).u64(head.sequence).raw(head.hash);
  const encoded = encodeAction(action);
  writer.u8(encoded.kind).bytes32(encoded.bytes);
  return encodeObject(commandKind, writer, decodePlain, by).bytes;
}

function decodePlain(plain: Uint8Array): Command {
  const read = (reader: Reader, flags: number): Command => {
    const camera = reader.take(keyBytes);
    const incarnation = reader.u32();
    const phone = reader.take(keyBytes);
    const number = reader.u64();
    const head = flags
      ? { incarnation: reader.u32(), sequence: reader.u64(), hash: reader.take(hashBytes) }
      : undefined;
    const kind = reader.u8();
    const action = decodeAction(kind, reader.bytes32(actionBytes));
    return { camera, incarnation, phone, number, head, action };
  };
  return decodeObject(commandKind, plain, read, 1);
}

/**
 * Signs a command, seals it to the camera's receiving key and names it for the phone's own box:
 * `writer` is the phone's key in the mailbox's door list.
 */
export function sealCommand(
  command: Command,
  receivingKey: Uint8Array,
  { sign, suite, writer }: { sign: Sign; suite: Suite; writer: Uint8Array },
): Sealed {
  const plain = encodePlain(command, { sign, suite });
  return sealBox(plain, receivingKey, { writer, sequence: command.number }, suite);
}

/**
 * The command inside: null when it is sealed to none of the `receiving` keys (expired, or another camera's).
 * Without an incarnation it is for any life of the camera: only the head in it may then be used.
 * Checks everything but what only the camera's memory knows: see `admit`. Stages: those of the box
 * (box.md), of the envelope, "camera", "incarnation", "key", "signature".
 */
export function openCommand(
  bytes: Uint8Array,
  receiving: readonly Pair[],
  expected: { camera: Uint8Array; incarnation?: number },
  suite: Suite,
): Command | null {
  const plain = openBox(bytes, receiving, suite);
  if (!plain) return null;
  const command = decodePlain(plain);
  if (!equal(command.camera, expected.camera)) throw refuse("camera", "for another camera");
  const { incarnation = command.incarnation } = expected;
  if (command.incarnation !== incarnation) {
    throw refuse("incarnation", `for incarnation ${command.incarnation} of this camera`);
  }
  verifyObject(commandKind, plain, command.phone, suite);
  return command;
}

function refuse(stage: string, message: string): Failure {
  return new Failure("refused", `a command ${message}`, { stage });
}

/** How long a camera's own nonce is good for, by its monotonic clock. */
export const nonceLifeMs = 30_000;

/** What the camera remembers and holds a command against. */
export type Gate = {
  /** Role of the phone in the ordered member list. */
  role(phone: Uint8Array): Role | undefined;
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
  if (!mayAsk(gate.role(phone), action, phone)) {
    throw new Failure("denied", `the command ${action.kind} is from a phone that may not`, {
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

/** An owner may all, but confirm for another; see the table in command.md. */
function mayAsk(role: Role | undefined, action: Action, phone: Uint8Array): boolean {
  switch (action.kind) {
    case "ask":
    case "live":
    case "snapshot":
    case "push-key":
    case "subscribe":
    case "unsubscribe":
    case "push-test":
      return role === "owner" || role === "viewer";
    case "confirm":
      return (
        (role === "owner" || role === "viewer") &&
        equal(decodeConfirmation(action.confirmation).phone, phone)
      );
    case "supply":
      return (
        role === "owner" || (role !== undefined && equal(decodeSupply(action.supply).phone, phone))
      );
    case "membership":
      return role === "owner" || role === "kit";
    default:
      return role === "owner";
  }
}
