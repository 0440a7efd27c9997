import { equal, isZero, Reader, Writer } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import type { BoxName } from "../wire/name.ts";
import { digest, type Kind, readEnvelope, type Suite, writeEnvelope } from "../wire/signature.ts";
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

// What a phone leaves in a mailbox, sealed to one reader. Specification: box.md.

export const boxKind: Kind = { word: "box", number: 20 };

/** Where it lies: in the box of the door-list key `writer`, under the writer's own count. */
export type BoxPlace = { readonly writer: Uint8Array; readonly sequence: number };

/** The plain text is sealed in slices of this many bytes. */
const sliceBytes = 64 * 1024 - 4;
const slotBytes = 64 * 1024;
const headBytes = 4 + idBytes + sizes.kemCiphertext + 4;
const mostSlots = 15;
/** The longest plain text of a box, and the longest box. */
export const boxPlainBytes: number = mostSlots * sliceBytes;
export const boxBytes: number = headBytes + mostSlots * (slotBytes + sizes.tag);

const none = new Uint8Array();

/** Seals a plain text to an X-Wing key and names it; the plain text is wiped. */
export function sealBox(
  plain: Uint8Array,
  publicKey: Uint8Array,
  { writer: box, sequence }: BoxPlace,
  suite: Suite,
): Sealed {
  const slots = Math.max(1, Math.ceil(plain.length / sliceBytes));
  if (slots > mostSlots) throw new Failure("misuse", `a box of ${plain.length} bytes`);
  const { ciphertext, shared } = encapsulate(publicKey);
  const head = writeEnvelope(boxKind)
    .raw(keyId(publicKey, ciphertext))
    .raw(ciphertext)
    .u32(slots)
    .done();
  const key = boxKey(shared, suite, head, publicKey);
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
  const name: BoxName = { kind: "box", writer: box, sequence, hash: digest(suite, bytes) };
  return branded(name, bytes);
}

/**
 * The plain text: null when it is sealed to none of `keys`. Stages: "length", those of the envelope,
 * "slots", "box" (does not open), "padding".
 */
export function openBox(bytes: Uint8Array, keys: readonly Pair[], suite: Suite): Uint8Array | null {
  if (bytes.length > boxBytes) throw refuse("length", "that is too long");
  const reader = new Reader(bytes, "box");
  readEnvelope(reader, boxKind);
  const id = reader.take(idBytes);
  const ciphertext = reader.take(sizes.kemCiphertext);
  const slots = reader.u32();
  if (slots < 1 || slots > mostSlots) throw reader.refuse("slots", `a box of ${slots} slots`);
  const head = bytes.subarray(0, headBytes);
  if (reader.remaining !== slots * (slotBytes + sizes.tag)) {
    throw reader.refuse("length", `a box of ${bytes.length} bytes for ${slots} slots`);
  }
  const mine = keys.find(({ publicKey }) => equal(keyId(publicKey, ciphertext), id));
  if (!mine) return null;
  const shared = decapsulate(ciphertext, mine.secret);
  const key = boxKey(shared, suite, head, mine.publicKey);
  const slices = new Writer();
  for (let i = 0; i < slots; i++) {
    const sealed = reader.take(slotBytes + sizes.tag);
    slices.raw(unpad(decrypt(key, slotNonce(i, i === slots - 1), sealed, none), i === slots - 1));
  }
  wipe(shared, key);
  return slices.done();
}

function unpad(padded: Uint8Array | null, last: boolean): Uint8Array {
  if (!padded) throw refuse("box", "that does not open");
  const reader = new Reader(padded, "box");
  const length = reader.u32();
  const fits = last ? length >= 1 && length <= sliceBytes : length === sliceBytes;
  if (!fits) throw refuse("padding", `with ${length} bytes in a slot`);
  const slice = reader.take(length);
  if (!isZero(reader.take(reader.remaining))) throw refuse("padding", "with padding not zero");
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
  return new Failure("refused", `a box ${message}`, { stage });
}
