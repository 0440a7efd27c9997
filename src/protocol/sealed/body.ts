import { isZero, Reader, Writer } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import { bodyBytes } from "../wire/entry.ts";
import { mostAddresses } from "./invite.ts";
import {
  bytes,
  type Check,
  type Checked,
  integer,
  list,
  object,
  oneOf,
  optional,
  parse,
  print,
  text,
} from "./json.ts";
import { sizes } from "./sodium.ts";
import { idBytes, mostStanzas } from "./stanza.ts";
import { confirmationBytes, tombstoneBytes } from "./tombstone.ts";

// What log entries say. Specification: body.md. How they are sealed: epoch.ts.

const u32 = integer(0, 0xffff_ffff);
const key = bytes(32);
const hash = bytes(32);
const clip = bytes(16);
const keyIds = list(bytes(idBytes), mostStanzas);
const head = object({ incarnation: u32, sequence: integer(), hash });

/** Each kind's number and fields. */
const kinds = {
  /** The service started. */
  started: define(1, { version: text(64), reason: text(64) }),
  /** The board's clock was set: from here on, and backwards by uptime, wall times can be trusted. */
  "clock-synchronised": define(2, { beforeMs: integer() }),
  /** The key that commands are sealed to from now on. */
  "receiving-key": define(3, { publicKey: bytes(sizes.kemPublicKey) }),
  /** The member list in force from now on (membership.md). */
  membership: define(4, { list: bytes(1, 8192) }),
  /** What the camera holds of a phone's keys; `nextIndex` is the lowest one-time key not yet spent. */
  "supply-acknowledged": define(5, {
    phone: key,
    batch: u32,
    nextIndex: u32,
    endIndex: u32,
  }),
  /** A clip was begun; `keyIds` are those of its stanzas. */
  "clip-started": define(6, { clip, headerHash: hash, keyIds }),
  /** A clip ended, and which part is its last: "cut-off" names the durable prefix after a crash. */
  "clip-ended": define(7, {
    clip,
    last: object({ number: u32, hash }),
    reason: oneOf("ended", "longest", "resized", "stopped", "cut-off"),
  }),
  /** A clip or an epoch was sealed to a key that is not one-time, for want of one. */
  "fallback-used": define(8, {
    phone: key,
    key: oneOf("day", "restart"),
    day: optional(u32),
    clip: optional(clip),
  }),
  /** Parts that went before a relay or a phone had them. */
  lost: define(9, {
    clips: list(object({ clip, parts: integer(1, 0xffff_ffff) }), 256),
    reason: oneOf("full", "expired", "damaged"),
  }),
  /** Something that a person should know of; `code` is for programs. */
  problem: define(10, { code: text(64), text: text(512) }),
  /** The camera found itself behind `head` and goes on in a new incarnation. */
  "incarnation-opened": define(11, { head: optional(head), reason: text(64) }),
  /** A command was carried out, or refused with a reason. */
  "command-done": define(12, {
    phone: key,
    number: integer(),
    action: text(32),
    refused: optional(text(256)),
  }),
  /** The camera's copy of a clip is gone, as this tombstone asked (tombstone.md). */
  "tombstone-done": define(13, { tombstone: bytes(1, tombstoneBytes) }),
  /** A setting in force from now on. */
  setting: define(14, { name: text(64), value: text(4096), version: u32 }),
  /** Nothing will be sealed to keys of this day any more. */
  "day-closed": define(15, { day: u32 }),
  /** Somebody looks, or has stopped; `clip` holds what a snapshot showed. */
  watched: define(16, {
    phone: key,
    how: oneOf("live", "talk", "snapshot"),
    state: oneOf("started", "ended"),
    clip: optional(clip),
  }),
  /** The answer to `ask`: what a fleeting command has to quote within 30 s. */
  nonce: define(17, { phone: key, number: integer(), nonce: bytes(16) }),
  /** A phone says that what opened these clips is destroyed there (tombstone.md). */
  "tombstone-confirmed": define(18, { confirmation: bytes(1, confirmationBytes) }),
  /** An owner's signed head, which stands for the entries up to it (checkpoint.md). */
  checkpointed: define(19, { checkpoint: bytes(1, 1024) }),
  /** A window for pairing is open at these addresses, as this command asked. */
  window: define(20, {
    phone: key,
    number: integer(),
    addresses: list(object({ ip: bytes(4, 16), port: integer(1, 0xffff) }), mostAddresses),
  }),
  /** The house asked for this, by a way that its owner opened, and it was done. */
  asked: define(21, { what: text(32), value: text(64), by: text(32) }),
  /** The alarm of the house did something, or was kept from it; `mode` while it is armed, or about to be. */
  alarm: define(22, {
    what: oneOf(
      ...([
        "arming",
        "armed",
        "disarmed",
        "warning",
        "pending",
        "siren",
        "quiet",
        "test",
        "refused",
      ] as const),
    ),
    mode: optional(oneOf("home", "away")),
    by: oneOf("command", "evidence", "delay", "restart"),
    score: integer(0, 0xffff_ffff),
    text: text(512),
  }),
  /** Who is told of visits by push services, and the key that the camera has there. */
  push: define(23, {
    what: oneOf("key", "added", "removed", "gone"),
    /** P-256, not compressed: with "key". */
    key: optional(bytes(65)),
    /** With the others: whose subscription, which one, and at which host. */
    phone: optional(key),
    id: optional(bytes(16)),
    service: optional(text(280)),
  }),
} as const;

function define<F extends Parameters<typeof object>[0]>(number: number, fields: F) {
  return { number, check: object(fields) };
}

type Kinds = typeof kinds;
export type BodyKind = keyof Kinds;
type Fields<K extends BodyKind> = Checked<Kinds[K]["check"]>;
export type Statement = { [K in BodyKind]: { kind: K } & Fields<K> }[BodyKind];

export type Body = {
  wallMs: number;
  /** Whether the camera's clock was set when it wrote `wallMs`. */
  clockTrusted: boolean;
  /** `unknown` is of a later format, and its writer said that it may be skipped. */
  statement: Statement | { kind: "unknown"; number: number };
};

const stepBytes = 256;
const headBytes = 1 + 8 + 1 + 4;
export const plainBytes: number = bodyBytes - sizes.tag;

/** The plain text of an entry's body, padded in steps of 256 bytes. */
export function encodeBody(body: Body & { statement: Statement }): Uint8Array {
  const { kind, ...fields } = body.statement;
  const { number, check } = kinds[kind];
  const json = print(fields, plainBytes - headBytes, kind, check as Check<unknown>);
  const length = headBytes + json.length;
  const padding = new Uint8Array(Math.ceil(length / stepBytes) * stepBytes - length);
  return new Writer()
    .u8(number)
    .u64(body.wallMs)
    .u8(body.clockTrusted ? 1 : 0)
    .bytes32(json)
    .raw(padding)
    .done();
}

/**
 * Stages: "length", "range", "trusted", "padding", "json", and "statement" (Failure "refused") for
 * a number that is not known in an entry that is critical.
 */
export function decodeBody(plain: Uint8Array, critical: boolean): Body {
  const reader = new Reader(plain, "log entry");
  const number = reader.u8();
  const wallMs = reader.u64();
  const trusted = reader.u8();
  if (trusted > 1) throw reader.refuse("trusted", "a clock is trusted or not");
  const clockTrusted = trusted === 1;
  const json = reader.bytes32(plainBytes);
  const padding = reader.take(reader.remaining);
  const isPadded = plain.length % stepBytes === 0 && padding.length < stepBytes;
  if (!isPadded || !isZero(padding)) {
    throw reader.refuse("padding", "a log entry that is not padded as it must be");
  }
  const found = Object.entries(kinds).find(([, one]) => one.number === number);
  if (!found) {
    if (!critical) {
      return { wallMs, clockTrusted, statement: { kind: "unknown", number } };
    }
    throw new Failure("refused", `a log entry of kind ${number}`, {
      stage: "statement",
      hint: "Update this program",
    });
  }
  const [kind, { check }] = found;
  const fields = parse(json, plainBytes, kind, check as Check<object>);
  return { wallMs, clockTrusted, statement: { kind, ...fields } as Statement };
}
