import { ed25519Signer, nodeSuite } from "../src/base/node/crypto.ts";
import { fromText, toHex } from "../src/base/pure/bytes.ts";
import { sealingSuite } from "../src/device/seal/aead.ts";
import type { Action } from "../src/protocol/sealed/action.ts";
import { encodeBody, type Statement } from "../src/protocol/sealed/body.ts";
import { ChunkSealer, chunkTypes, stepBytes } from "../src/protocol/sealed/chunk.ts";
import { ClipSealer, encodeHeader, headerBytes } from "../src/protocol/sealed/clip.ts";
import { sealCommand } from "../src/protocol/sealed/command.ts";
import {
  type ClosingDetails,
  encodeClosing,
  encodeOpening,
  encodeThumbnail,
  type OpeningDetails,
} from "../src/protocol/sealed/details.ts";
import { LogEpoch } from "../src/protocol/sealed/epoch.ts";
import { encrypt, kemPublicKey } from "../src/protocol/sealed/sodium.ts";
import { encodeStanzas, keyId, stanzaBytes, wrap } from "../src/protocol/sealed/stanza.ts";
import { decodePart, encodePart } from "../src/protocol/wire/part.ts";
import { fixedRandom } from "./random.ts";
import { describe, type Vector } from "./vectors.ts";
import { generator } from "./vectors-pointer.ts";
import { cameraSeed } from "./vectors-wire.ts";

// Vectors of what is sealed, made with chosen randomness, and of what is inside.

const bytesOf = (value: number, length: number) => new Uint8Array(length).fill(value);
const camera = { ...ed25519Signer(cameraSeed), suite: nodeSuite, writer: bytesOf(0, 32) };
const signer = (seed: Uint8Array) => {
  const pair = ed25519Signer(seed);
  return { ...pair, suite: nodeSuite, writer: pair.publicKey };
};
const owner = signer(bytesOf(0x44, 32));
const secret = bytesOf(0x66, 32);
const publicKey = () => kemPublicKey(secret);

type Make = {
  object: string;
  input?: Record<string, string>;
  raw?: boolean;
};

function maker({ object, input = {}, raw = false }: Make) {
  return {
    well: (name: string, bytes: Uint8Array, fields: unknown): Vector => {
      const header = { object, expect: "well", ...input, ...describe(fields) };
      return { name, header, bytes, raw };
    },
    refused: (name: string, expect: string, bytes: Uint8Array, kind = "corrupt"): Vector => {
      return { name, header: { object, expect, kind, ...input }, bytes, raw };
    },
  };
}

/** A copy with some bytes overwritten. */
function put(bytes: Uint8Array, at: number, ...values: number[]): Uint8Array {
  const copy = Uint8Array.from(bytes);
  copy.set(values, at);
  return copy;
}

const opening: OpeningDetails = {
  ...{ startUs: 12_345_678, wallMs: 1_700_000_000_000, clockTrusted: true },
  ...{ incident: "00112233445566778899aabbccddeeff", width: 1280, height: 720, fps: 7.5 },
  ...{ codec: "avc1.42c01f", zones: ["door"] },
  model: { id: "nanodet", precision: "int8" },
  preRollMs: 5000,
};
const sample = { atUs: 3, x: 1.5, y: 2, width: 3, height: 4, score: 0.5, zones: ["door"] };
const closing: ClosingDetails = {
  ...{ endUs: 20_000_000, durationMs: 8000, frames: 60, mostPersons: 2, bestScore: 0.75 },
  thinned: [{ fromUs: 1, toUs: 2, how: "half-rate" }],
  tracks: [{ track: 1, firstUs: 3, lastUs: 3, samples: [sample] }],
  reason: "ended",
};
const thumbnail = { what: "person", width: 100, height: 200, capturedUs: 5 } as const;

export function detailsVectors(): Vector[] {
  const opens = maker({ object: "opening", raw: true });
  const closes = maker({ object: "closing", raw: true });
  const pictures = maker({ object: "thumbnail", raw: true });
  const text = (value: unknown) => fromText(JSON.stringify(value));
  const wrong = (name: string, change: object) =>
    opens.refused(`opening-json-${name}`, "json", text({ ...opening, ...change }));
  const { width: _, ...narrow } = opening;
  return [
    opens.well("opening-well", encodeOpening(opening), opening),
    opens.well("opening-well-unknown-keys", text({ ...opening, later: [1, { a: 2 }] }), opening),
    closes.well("closing-well", encodeClosing(closing), closing),
    pictures.well("thumbnail-well", encodeThumbnail(thumbnail), thumbnail),
    opens.refused("opening-json-none", "json", new Uint8Array()),
    opens.refused(
      "opening-json-cut",
      "json",
      encodeOpening({ ...opening, zones: [] }).slice(0, 90),
    ),
    opens.refused("opening-json-missing", "json", text(narrow)),
    opens.refused("opening-text-not-utf8", "text", Uint8Array.of(0x22, 0xff, 0x22)),
    opens.refused("opening-length", "length", bytesOf(0x20, 16_385)),
    wrong("null", { width: null }),
    wrong("zero", { width: 0 }),
    wrong("fraction", { startUs: 0.5 }),
    wrong("negative", { startUs: -1 }),
    wrong("string-for-number", { wallMs: "1" }),
    wrong("number-for-flag", { clockTrusted: 1 }),
    wrong("hexadecimal-in-capitals", { incident: "AA".repeat(16) }),
    wrong("escape-in-text", { camera: "\u001b[2J" }),
    wrong("list-too-long", { zones: Array(33).fill("a") }),
    wrong("list-for-object", { model: [] }),
    wrong("word-not-known", { model: { id: "a", precision: "fp16" } }),
    closes.refused("closing-json-deep", "json", fromText("[".repeat(100_000))),
  ];
}

const clip = bytesOf(0xc1, 16);
const hash = bytesOf(0xdd, 32);
const statements: readonly Statement[] = [
  { kind: "started", version: "0.1.0", reason: "boot" },
  { kind: "clock-synchronised", beforeMs: 5 },
  { kind: "receiving-key", publicKey: bytesOf(1, 1216) },
  { kind: "membership", list: bytesOf(2, 300) },
  { kind: "supply-acknowledged", phone: hash, batch: 1, nextIndex: 3, endIndex: 2000 },
  { kind: "clip-started", clip, headerHash: hash, keyIds: [bytesOf(3, 16), bytesOf(4, 16)] },
  { kind: "clip-ended", clip, last: { number: 9, hash }, reason: "cut-off" },
  { kind: "fallback-used", phone: hash, key: "day", day: 3, clip },
  { kind: "lost", clips: [{ clip, parts: 12 }], reason: "full" },
  { kind: "problem", code: "storage", text: "The card failed" },
  { kind: "incarnation-opened", head: { incarnation: 0, sequence: 4, hash }, reason: "behind" },
  { kind: "command-done", phone: hash, number: 7, action: "tombstone", refused: "role" },
  { kind: "tombstone-done", tombstone: bytesOf(5, 1181) },
  { kind: "setting", name: "detect.threshold", value: "0.5", version: 2 },
  { kind: "day-closed", day: 12 },
  { kind: "watched", phone: hash, how: "live", state: "started" },
  { kind: "nonce", phone: hash, number: 7, nonce: bytesOf(5, 16) },
  { kind: "tombstone-confirmed", confirmation: bytesOf(6, 190) },
  { kind: "checkpointed", checkpoint: bytesOf(7, 216) },
  { kind: "window", phone: hash, number: 8, addresses: [{ ip: bytesOf(8, 4), port: 41_234 }] },
  { kind: "asked", what: "privacy", value: "ON", by: "mqtt" },
  { kind: "alarm", what: "siren", mode: "away", by: "delay", score: 108, text: "Nobody disarmed" },
  {
    kind: "push",
    what: "added",
    phone: bytesOf(5, 32),
    id: bytesOf(6, 16),
    service: "push.example",
  },
];
const bodyOf = (statement: Statement) => ({
  ...{ wallMs: 1_700_000_000_000, clockTrusted: true, statement },
});

export function bodyVectors(): Vector[] {
  const { well, refused } = maker({ object: "body", input: { critical: "true" } });
  const skips = maker({ object: "body", input: { critical: "false" } });
  const plain = encodeBody(bodyOf({ kind: "day-closed", day: 12 }));
  const unknown = { wallMs: 1_700_000_000_000, clockTrusted: true };
  return [
    ...statements.map((one) => well(`well-${one.kind}`, encodeBody(bodyOf(one)), bodyOf(one))),
    skips.well("well-unknown-skipped", put(plain, 0, 99), {
      ...unknown,
      statement: { kind: "unknown", number: 99 },
    }),
    refused("statement-unknown", "statement", put(plain, 0, 99), "refused"),
    refused("range-of-time", "range", put(plain, 1, 0x20)),
    refused("trusted-2", "trusted", put(plain, 9, 2)),
    refused("length-of-json", "length", put(plain, 10, 0, 0, 1, 0)),
    refused("json-cut", "json", put(plain, 13 + (plain[13] ?? 0), 0x20)),
    refused("padding-not-zero", "padding", put(plain, 255, 1)),
    refused("padding-too-long", "padding", Buffer.concat([plain, bytesOf(0, 256)])),
    refused("padding-too-short", "padding", plain.subarray(0, 255)),
  ];
}

export function epochVectors(): Vector[] {
  using _ = fixedRandom("epoch vectors");
  const fields = { camera: camera.publicKey, incarnation: 1, epoch: 5, membership: 2 };
  const epoch = new LogEpoch(fields, [kemPublicKey(bytesOf(7, 32)), publicKey()]);
  const first = bodyOf({ kind: "day-closed", day: 12 });
  const second = bodyOf({ kind: "problem", code: "x", text: "y" });
  const one = epoch.seal(first, { sequence: 8, previous: hash, uptimeMs: 1 }, camera);
  const two = epoch.seal(second, { sequence: 9, previous: one.hash, uptimeMs: 2 }, camera);
  const input = { expectedCamera: toHex(camera.publicKey), daySecret: toHex(secret) };
  const { well, refused } = maker({ object: "epoch", input });
  const opened = { ...input, opening: toHex(one.sealed.bytes) };
  const later = maker({ object: "epoch", input: opened });
  const stranger = maker({ object: "epoch", input: { ...input, daySecret: toHex(hash) } });
  return [
    well("well-opening", one.sealed.bytes, first),
    later.well("well-second", two.sealed.bytes, second),
    stranger.well("well-for-others", one.sealed.bytes, { wallMs: "none" }),
    refused("signature-flipped", "signature", put(one.sealed.bytes, 90, 9)),
  ];
}

export function stanzaVectors(): Vector[] {
  using _ = fixedRandom("stanza vectors");
  const context = hash;
  const key = bytesOf(0xee, 32);
  const id = keyId(publicKey());
  const one = wrap(key, context, { id, publicKey: publicKey() });
  const other = kemPublicKey(bytesOf(7, 32));
  const others = wrap(key, context, { id: keyId(other), publicKey: other });
  const later = { type: 9, id: new Uint8Array(), body: bytesOf(5, 40) };
  const input = { secret: toHex(secret), context: toHex(context) };
  const { well, refused } = maker({ object: "stanza", input });
  const moved = maker({ object: "stanza", input: { ...input, context: toHex(bytesOf(1, 32)) } });
  const bytes = encodeStanzas([one]);
  return [
    well("well", bytes, { key }),
    well("well-among-others", encodeStanzas([later, others, one]), { key }),
    well("well-none", encodeStanzas([]), { key: "none" }),
    well("well-for-others", encodeStanzas([others]), { key: "none" }),
    refused("count", "count", put(bytes, 0, 65)),
    refused("length-of-body", "length", put(bytes, 2, 0x10, 1)),
    refused("length-trailing", "length", Buffer.concat([bytes, bytesOf(0, 1)])),
    refused("stanza-short", "stanza", Uint8Array.of(1, 1, 0, 4, 1, 2, 3, 4)),
    refused("stanza-key-flipped", "stanza", put(bytes, bytes.length - 1, 0)),
    refused("stanza-ciphertext-flipped", "stanza", put(bytes, 500, 0, 1, 2)),
    moved.refused("stanza-moved", "stanza", bytes),
  ];
}

export function chunkVectors(): Vector[] {
  const keys = { video: bytesOf(0x71, 32), details: bytesOf(0x72, 32) };
  const input = { video: toHex(keys.video), details: toHex(keys.details) };
  const { well, refused } = maker({ object: "chunk", input, raw: true });
  const { opening, media, thumbnail, closing } = chunkTypes;
  const content = bytesOf(0xab, 10);
  const sealer = new ChunkSealer(keys, sealingSuite);
  const stream = Buffer.concat(
    [opening, media, closing].flatMap((type) => [
      ...sealer.seal(type, content, { init: type === media }),
    ]),
  );
  const pieces = [opening, media, closing].map((type) => ({
    ...{ type, init: type === media, content },
  }));
  const chunk = (type: number, length: number, flags: number, last = 0, steps = 1) => {
    const plain = Buffer.alloc(steps * stepBytes);
    plain.writeUInt32BE(length);
    plain[4] = flags;
    plain[plain.length - 1] = last;
    const nonce = bytesOf(0, 24);
    nonce[0] = type;
    return Buffer.concat([
      Uint8Array.of(steps),
      encrypt(keys.details, nonce, plain, new Uint8Array()),
    ]);
  };
  return [
    well("well", stream, { pieces, closed: true }),
    refused("steps-0", "steps", Uint8Array.of(0)),
    refused("steps-5", "steps", Uint8Array.of(5)),
    refused("chunk-flipped", "chunk", put(stream, 70, 1).subarray(0, 65_553)),
    refused("order-thumbnail-first", "order", chunk(thumbnail, 1, 1)),
    refused("padding-empty", "padding", chunk(opening, 0, 1)),
    refused("padding-steps-too-many", "padding", chunk(opening, 1, 1, 0, 2)),
    refused("padding-not-zero", "padding", chunk(opening, 1, 1, 1)),
    refused("padding-not-full", "padding", chunk(opening, 1, 0)),
    refused("flags-unknown", "flags", chunk(opening, 1, 5)),
    refused("flags-init-of-opening", "flags", chunk(opening, 1, 3)),
    refused("type-to-come", "type", chunk(5, 1, 1), "refused"),
  ];
}

export function clipVectors(): Vector[] {
  using _ = fixedRandom("clip vectors");
  const sealer = new ClipSealer({
    ...{ camera: camera.publicKey, incarnation: 1, membership: 2 },
    recipients: [{ publicKey: publicKey(), shared: false }],
    opening: opening,
    ...{ sign: camera.sign, suite: sealingSuite },
  });
  const first = sealer.flush()?.bytes ?? new Uint8Array();
  sealer.init(bytesOf(1, 700));
  sealer.fragment(bytesOf(2, 900));
  const media = sealer.flush()?.bytes ?? new Uint8Array();
  const end = Buffer.concat(sealer.close(closing).map((p) => p.bytes));
  const input = { expectedCamera: toHex(camera.publicKey), secret: toHex(secret) };
  const { well, refused } = maker({ object: "clip", input, raw: true });
  const stranger = maker({ object: "clip", input: { ...input, secret: toHex(hash) }, raw: true });
  const fields = {
    ...{ clip: sealer.clip, headerHash: sealer.headerHash, keyIds: sealer.keyIds },
    media: "init 700, fragment 900",
  };
  const part = decodePart(first);
  const again = (payload: Uint8Array) => encodePart(part, [payload], camera).bytes;
  const { payload } = part;
  const short = payload.subarray(0, headerBytes + stanzaBytes + 1);
  // A header that commits to one key, and a stanza that hands out another.
  const about = { camera: camera.publicKey, incarnation: 1, clip: sealer.clip, membership: 2 };
  const liar = encodeHeader({ ...about, commitment: bytesOf(0, 32) }, camera);
  const recipient = { id: keyId(publicKey()), publicKey: publicKey() };
  const given = wrap(bytesOf(9, 32), liar.hash, recipient);
  return [
    well("well", Buffer.concat([first, media, end]), { ...fields, whole: true }),
    well("well-cut-off", Buffer.concat([first, media]), { ...fields, whole: false }),
    stranger.refused("not-for-us", "not-for-us", again(short), "refused"),
    refused("chain-begins-late", "chain", media.subarray(0)),
    refused("chain-doubled", "chain", Buffer.concat([again(short), again(short)])),
    refused("header-of-another-clip", "header", again(put(short, 45, 1))),
    refused("signature-of-header", "signature", again(put(short, 100, 1))),
    refused("kind-of-header", "kind", again(put(short, 2, 1))),
    refused("commitment", "commitment", again(Buffer.concat([liar.bytes, encodeStanzas([given])]))),
    refused("stanza", "stanza", again(put(short, 700, 1, 2, 3))),
    refused("chunk-cut", "chunk", again(Buffer.concat([short, Uint8Array.of(1, 2, 3)]))),
  ];
}

export function commandVectors(): Vector[] {
  using _ = fixedRandom("command vectors");
  const input = {
    ...{ secret: toHex(secret), expectedCamera: toHex(camera.publicKey) },
    expectedIncarnation: "1",
  };
  const { well, refused } = maker({ object: "command", input, raw: true });
  const command = (action: Action, change = {}) => {
    const head = { incarnation: 1, sequence: 7, hash };
    const about = { camera: camera.publicKey, incarnation: 1, phone: owner.publicKey, number: 5 };
    return { ...about, head, action, ...change };
  };
  const tombstone = command({ kind: "tombstone", replaces: 0, tombstone: bytesOf(3, 200) });
  const seal = (one: ReturnType<typeof command>, by = owner) =>
    sealCommand(one, publicKey(), by).bytes;
  const erase: Action = { kind: "erase", replaces: 2 };
  const live = command({ kind: "live", nonce: bytesOf(6, 16), viewer: publicKey() });
  const ask = command({ kind: "ask", replaces: 0 });
  const window = command({ kind: "window", nonce: bytesOf(6, 16), secret: bytesOf(9, 32) });
  const subscribe = command({
    ...{ kind: "subscribe", replaces: 0 },
    subscription: {
      ...{ id: bytesOf(6, 16), key: publicKey(), p256dh: generator, auth: bytesOf(7, 16) },
      endpoint: "https://push.example/send/abc",
    },
  });
  const alarm = command({ kind: "alarm", nonce: bytesOf(6, 16), order: "disarm" });
  const bytes = seal(tombstone);
  return [
    well("well-tombstone", bytes, tombstone),
    well("well-live", seal(live), live),
    well("well-ask", seal(ask), ask),
    refused("box-flipped", "box", put(bytes, 3000, 1, 2)),
    refused("slots-0", "slots", put(bytes, 1143, 0), "corrupt"),
    refused("length-slot-missing", "length", put(bytes, 1143, 2)),
    refused("camera-another", "camera", seal(command(erase, { camera: hash }))),
    refused("incarnation-another", "incarnation", seal(command(erase, { incarnation: 2 }))),
    refused("signature-of-another", "signature", seal(tombstone, { ...camera })),
    well("well-window", seal(window), window),
    well("well-subscribe", seal(subscribe), subscribe),
    well("well-alarm", seal(alarm), alarm),
  ].map((vector) => fixKind(vector));
}

/** Refusals of a command's box are "refused" where bytes are well-formed and unwanted. */
function fixKind(vector: Vector): Vector {
  const { expect = "" } = vector.header;
  const unwanted = ["box", "camera", "incarnation"].includes(expect);
  return unwanted ? { ...vector, header: { ...vector.header, kind: "refused" } } : vector;
}
