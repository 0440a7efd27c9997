import { type Reader, Writer } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import {
  decapsulate,
  decrypt,
  derive,
  encapsulate,
  encrypt,
  fingerprint,
  kemPublicKey,
  same,
  sizes,
  wipe,
} from "./sodium.ts";

/** A public key that something is sealed to, and the opaque id under which its holder finds it. */
export type Recipient = { readonly id: Uint8Array; readonly publicKey: Uint8Array };

/** One recipient's wrapped copy of a 32-byte key. */
export type Stanza = {
  readonly type: number;
  /** 16 bytes; empty in a stanza of a type that this program does not know. */
  readonly id: Uint8Array;
  readonly body: Uint8Array;
};

export const idBytes = 16;
/** X-Wing: the only type of suite 1. */
const xwing = 1;
const xwingBytes = idBytes + sizes.kemCiphertext + sizes.key + sizes.tag;
/** A stanza of a type to come may be this long. */
export const longestStanzaBytes = 4096;
/** The bytes of one stanza on the wire. */
export const stanzaBytes = 3 + xwingBytes;
export const mostStanzas = 64;

// Safe as a constant: a wrapping key wraps one key, once.
const nonce = new Uint8Array(sizes.nonce);

/**
 * The id of a public key. A one-time key has one id (`once` empty). A key that seals more than one
 * thing (day, restart) gets a new id for each, from that thing's own id, so that two of them
 * cannot be seen to share a recipient.
 */
export function keyId(publicKey: Uint8Array, once: Uint8Array = new Uint8Array()): Uint8Array {
  return keyIdOf(fingerprint("obscura/1/key", publicKey), once);
}

/** As `keyId`, from the key's fingerprint, which is quicker to keep than the key. */
export function keyIdOf(
  keyFingerprint: Uint8Array,
  once: Uint8Array = new Uint8Array(),
): Uint8Array {
  return derive(keyFingerprint, "obscura/1/key-id", once).slice(0, idBytes);
}

/** The fingerprint of a public key, for `keyIdOf`. Not for the relay: ids could be made from it. */
export function keyFingerprint(publicKey: Uint8Array): Uint8Array {
  return fingerprint("obscura/1/key", publicKey);
}

/** Wraps `key` for one recipient. `context` is the 32-byte hash of the header it belongs to. */
export function wrap(key: Uint8Array, context: Uint8Array, recipient: Recipient): Stanza {
  const { ciphertext, shared } = encapsulate(recipient.publicKey);
  const wrapping = wrappingKey(shared, context, ciphertext, recipient.publicKey);
  const wrapped = encrypt(wrapping, nonce, key, context);
  wipe(shared, wrapping);
  const body = new Writer().raw(recipient.id).raw(ciphertext).raw(wrapped).done();
  return { type: xwing, id: recipient.id, body };
}

/**
 * The key inside: null when the stanza is not for `id`, a Failure when it is and does not open.
 * Only X-Wing stanzas of the right length reach here with an id (see `decodeStanza`).
 */
export function unwrap(
  stanza: Stanza,
  context: Uint8Array,
  id: Uint8Array,
  secret: Uint8Array,
): Uint8Array | null {
  if (stanza.type !== xwing || !same(stanza.id, id)) return null;
  const ciphertext = stanza.body.subarray(idBytes, idBytes + sizes.kemCiphertext);
  const wrapped = stanza.body.subarray(idBytes + sizes.kemCiphertext);
  const shared = decapsulate(ciphertext, secret);
  const wrapping = wrappingKey(shared, context, ciphertext, kemPublicKey(secret));
  const key = decrypt(wrapping, nonce, wrapped, context);
  wipe(shared, wrapping);
  if (!key)
    throw new Failure("corrupt", "a stanza for this key does not open", { stage: "stanza" });
  return key;
}

function wrappingKey(
  shared: Uint8Array,
  context: Uint8Array,
  ciphertext: Uint8Array,
  publicKey: Uint8Array,
): Uint8Array {
  return derive(shared, "obscura/1/stanza", context, ciphertext, publicKey);
}

/** Stanzas as they lie in a clip's first part and in the first entry of a log epoch. */
export function encodeStanzas(stanzas: readonly Stanza[]): Uint8Array {
  if (stanzas.length > mostStanzas) throw new Failure("misuse", `${stanzas.length} stanzas`);
  const writer = new Writer().u8(stanzas.length);
  for (const stanza of stanzas) writer.u8(stanza.type).bytes16(stanza.body);
  return writer.done();
}

/** Reads a counted list. Unknown types are kept without an id: they are somebody else's. */
export function decodeStanzas(reader: Reader): Stanza[] {
  const count = reader.u8();
  if (count > mostStanzas) throw reader.refuse("count", `${count} stanzas, at most ${mostStanzas}`);
  const stanzas: Stanza[] = [];
  for (let i = 0; i < count; i++) stanzas.push(decodeStanza(reader));
  return stanzas;
}

function decodeStanza(reader: Reader): Stanza {
  const type = reader.u8();
  const body = reader.bytes16(longestStanzaBytes);
  if (type !== xwing) return { type, id: new Uint8Array(), body };
  if (body.length !== xwingBytes) {
    throw reader.refuse("stanza", `an X-Wing stanza of ${body.length} bytes, not ${xwingBytes}`);
  }
  return { type, id: body.subarray(0, idBytes), body };
}
