import { equal, fromText, isZero, Reader, toText, Writer } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import {
  type By,
  digest,
  encodeObject,
  type Kind,
  keyBytes,
  readEnvelope,
  type Suite,
  signatureBytes,
  verifyObject,
  writeEnvelope,
} from "../wire/signature.ts";
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

// Word of a visit for one phone, by way of a push service. Specification: pointer.md.

export const noticeKind: Kind = { word: "notice", number: 40 };
export const pointerKind: Kind = { word: "pointer", number: 39 };

export const pointerWhats = ["visit", "alarm", "test"] as const;
export type PointerWhat = (typeof pointerWhats)[number];

export type Pointer = {
  camera: Uint8Array; // 32 bytes, signs
  phone: Uint8Array; // 32 bytes, the member it is for
  subscription: Uint8Array; // 16 bytes
  incarnation: number;
  number: number; // rises by one with each of a subscription
  wallMs: number;
  clockTrusted: boolean;
  what: PointerWhat;
  clip: Uint8Array | undefined; // 16 bytes
  /** The clip's last part that its first picture needs. */
  picture: number | undefined;
  /** How many were seen first, where that is known. */
  persons: number | undefined;
  /** The camera's name. */
  name: string;
};

/** Who may open pointers of one subscription. */
export type PointerHolder = {
  readonly camera: Uint8Array;
  readonly phone: Uint8Array;
  readonly subscription: Uint8Array;
  readonly pair: Pair;
};

export const subscriptionBytes = 16;
const clipBytes = 16;
const nameBytes = 192;
const none32 = 0xffff_ffff;
/** Of every pointer, signature and all. */
const plainBytes = 768;
const headBytes = 4 + idBytes + sizes.kemCiphertext;
/** Of every pointer as it is sent. */
export const noticeBytes: number = headBytes + plainBytes + sizes.tag;
/** For how long one is news, and a push service may keep it. */
export const pointerLifeMs = 3_600_000;

// Safe as a constant: a key seals one pointer, once.
const nonce = new Uint8Array(sizes.nonce);
const nothing = new Uint8Array();

function encodePointer(pointer: Pointer, by: By): Uint8Array {
  const { clip, picture, persons, name } = pointer;
  const head = writeEnvelope(pointerKind)
    .raw(pointer.camera)
    .raw(pointer.phone)
    .raw(pointer.subscription)
    .u32(pointer.incarnation)
    .u64(pointer.number)
    .u64(pointer.wallMs)
    .u8(pointer.clockTrusted ? 1 : 0)
    .u8(pointerWhats.indexOf(pointer.what) + 1)
    .raw(clip ?? new Uint8Array(clipBytes))
    .u32(picture ?? none32)
    .u16(Math.min(persons ?? 0, 0xffff))
    .bytes16(fromText(cutName(name)))
    .done();
  const room = plainBytes - signatureBytes - head.length;
  const writer = new Writer().raw(head).raw(new Uint8Array(Math.max(0, room)));
  return encodeObject(pointerKind, writer, decodePointer, by).bytes;
}

/** One line, as much of it as there is room for. */
function cutName(name: string): string {
  let line = name.replace(/\p{Cc}|\p{Cs}/gu, " ");
  while (fromText(line).length > nameBytes) line = [...line].slice(0, -1).join("");
  return line;
}

function decodePointer(plain: Uint8Array): Pointer {
  if (plain.length !== plainBytes) throw refuse("length", `of ${plain.length} bytes`);
  const reader = new Reader(plain, "pointer");
  readEnvelope(reader, pointerKind);
  const camera = reader.take(keyBytes);
  const phone = reader.take(keyBytes);
  const subscription = reader.take(subscriptionBytes);
  const incarnation = reader.u32();
  const number = reader.u64();
  const wallMs = reader.u64();
  const trusted = reader.u8();
  if (trusted > 1) throw refuse("trusted", "whose clock is neither trusted nor not");
  const what = pointerWhats[reader.u8() - 1];
  if (what === undefined) {
    const hint = "Update this program";
    throw new Failure("refused", "a pointer to what is not known here", { stage: "what", hint });
  }
  const clip = reader.take(clipBytes);
  const picture = reader.u32();
  const persons = reader.u16();
  const name = toText(reader.bytes16(nameBytes));
  if (/\p{Cc}/u.test(name)) throw refuse("text", "with a control character");
  if (!isZero(reader.take(reader.remaining - signatureBytes))) {
    throw refuse("padding", "with padding not zero");
  }
  return {
    ...{ camera, phone, subscription, incarnation, number, wallMs, what, name },
    clockTrusted: trusted === 1,
    clip: isZero(clip) ? undefined : clip,
    picture: picture === none32 ? undefined : picture,
    persons: persons === 0 ? undefined : persons,
  };
}

/** Signs a pointer and seals it to a subscription's key (X-Wing). */
export function sealPointer(pointer: Pointer, publicKey: Uint8Array, by: By): Uint8Array {
  return sealPlain(encodePointer(pointer, by), publicKey, by.suite);
}

/** For tests and vectors of what a camera would not say. The plain text is wiped. */
export function sealPlain(plain: Uint8Array, publicKey: Uint8Array, suite: Suite): Uint8Array {
  const { ciphertext, shared } = encapsulate(publicKey);
  const id = keyId(publicKey, ciphertext);
  const head = writeEnvelope(noticeKind).raw(id).raw(ciphertext).done();
  const key = derive(shared, "obscura/1/pointer", digest(suite, head), publicKey);
  const bytes = new Writer()
    .raw(head)
    .raw(encrypt(key, nonce, plain, nothing))
    .done();
  wipe(shared, key, plain);
  return bytes;
}

/**
 * What a notice holds, read no further: null when it is sealed to another key. Stages: "length", those of
 * the envelope, "pointer".
 */
export function openPlain(bytes: Uint8Array, pair: Pair, suite: Suite): Uint8Array | null {
  if (bytes.length !== noticeBytes) throw refuse("length", `of ${bytes.length} bytes`);
  const reader = new Reader(bytes, "pointer");
  readEnvelope(reader, noticeKind);
  const id = reader.take(idBytes);
  const ciphertext = reader.take(sizes.kemCiphertext);
  if (!equal(keyId(pair.publicKey, ciphertext), id)) return null;
  const shared = decapsulate(ciphertext, pair.secret);
  const head = digest(suite, bytes.subarray(0, headBytes));
  const key = derive(shared, "obscura/1/pointer", head, pair.publicKey);
  const plain = decrypt(key, nonce, reader.take(reader.remaining), nothing);
  wipe(shared, key);
  if (!plain) throw refuse("pointer", "that does not open");
  return plain;
}

/**
 * The pointer inside, and whose it is: null when it is sealed to the key of none of `holders`. Stages:
 * "length", those of the envelope, and those of pointer.md.
 */
export function openPointer<H extends PointerHolder>(
  bytes: Uint8Array,
  holders: readonly H[],
  suite: Suite,
): { pointer: Pointer; holder: H } | null {
  let holder: H | undefined;
  let plain: Uint8Array | null = null;
  for (const one of holders) {
    if (plain) break;
    plain = openPlain(bytes, one.pair, suite);
    holder = one;
  }
  if (!plain || !holder) return null;
  const pointer = decodePointer(plain);
  if (!equal(pointer.camera, holder.camera)) throw refuse("camera", "of another camera");
  if (!equal(pointer.phone, holder.phone)) throw refuse("phone", "for another phone");
  if (!equal(pointer.subscription, holder.subscription)) {
    throw refuse("subscription", "for another subscription");
  }
  verifyObject(pointerKind, plain, holder.camera, suite);
  return { pointer, holder };
}

/** What has come of one subscription: the highest number, and which of the 64 below it. */
export type Come = { incarnation: number; highest: number; below: readonly number[] };

const mostBelow = 64;

/**
 * Whether one has come before, how many below it have not come (of those that are remembered), and what
 * has come then.
 */
export function take(
  come: Come | undefined,
  { incarnation, number }: Pick<Pointer, "incarnation" | "number">,
): { isAgain: boolean; missing: number; come: Come } {
  if (!come || incarnation > come.incarnation) {
    return { isAgain: false, missing: 0, come: { incarnation, highest: number, below: [] } };
  }
  const { highest, below } = come;
  const isOld = incarnation < come.incarnation || number < highest - mostBelow;
  if (isOld || number === highest || below.includes(number)) {
    return { isAgain: true, missing: missingFrom(come), come };
  }
  const all = [...below, highest, number].sort((a, b) => a - b);
  const newest = Math.max(highest, number);
  const next = {
    ...{ incarnation, highest: newest },
    below: all.filter((one) => one < newest && one >= newest - mostBelow),
  };
  return { isAgain: false, missing: missingFrom(next), come: next };
}

/** Holes between the lowest that is remembered and the highest. */
function missingFrom({ highest, below }: Come): number {
  const [lowest = highest] = below;
  return highest - lowest - below.length;
}

function refuse(stage: string, message: string): Failure {
  return new Failure("corrupt", `a pointer ${message}`, { stage });
}
