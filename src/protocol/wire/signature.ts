import { equal, fromText, Reader, toHex, Writer } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";

// What every object of the protocol has in common. Specification: signature.md.

export const formatVersion = 1;
export const suiteNumber = 1;
export const keyBytes = 32;
export const hashBytes = 32;
export const signatureBytes = 64;
export const envelopeBytes = 4;
export const noHash: Uint8Array = new Uint8Array(hashBytes);

/** A running SHA-512; Node's `createHash("sha512")` is one as it stands. */
export type Sha512 = {
  update(bytes: Uint8Array): unknown;
  /** A second running hash from the same state, so that a part is hashed once for both digests. */
  copy(): Sha512;
  /** All 64 bytes; ends this one. */
  digest(): Uint8Array;
};

/** What suite 1 needs of the platform: node:crypto on relay and camera, libsodium on a phone. */
export type Suite = {
  sha512(): Sha512;
  /** Ed25519. False for any key or signature that is not one; never throws. */
  verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean;
};

/** Ed25519 with a key that stays where it is: 64 bytes over the message. */
export type Sign = (message: Uint8Array) => Uint8Array;
/** Who signs an object, and by which suite. */
export type By = { sign: Sign; suite: Suite };

/** An object's kind: the word in its label and the number in its envelope (table in signature.md). */
export type Kind = { readonly word: string; readonly number: number };

export const kinds = {
  part: { word: "part", number: 1 },
  entry: { word: "entry", number: 2 },
  beacon: { word: "beacon", number: 3 },
  door: { word: "door", number: 4 },
} as const satisfies Record<string, Kind>;

/** The one digest of names and chains: SHA-512 of the pieces in order, its first 32 bytes. */
export function digest(suite: Suite, ...pieces: readonly Uint8Array[]): Uint8Array {
  const hash = suite.sha512();
  for (const piece of pieces) hash.update(piece);
  return cut(hash);
}

function cut(hash: Sha512): Uint8Array {
  return new Uint8Array(hash.digest().subarray(0, hashBytes));
}

/** A label with its length before it, so that no label is the beginning of another. */
export function label(word: string): Uint8Array {
  const text = fromText(`obscura/${formatVersion}/${word}`);
  return new Writer().u8(text.length).raw(text).done();
}

export function writeEnvelope(kind: Kind, flags = 0): Writer {
  return new Writer().u8(formatVersion).u8(suiteNumber).u8(kind.number).u8(flags);
}

/** Reads the first four bytes and returns the flags, of which only `allowed` may be set. */
export function readEnvelope(reader: Reader, kind: Kind, allowed = 0): number {
  const version = reader.u8();
  if (version !== formatVersion) {
    throw newer("version", `this ${kind.word} is of format ${version}, known is ${formatVersion}`);
  }
  const suite = reader.u8();
  if (suite !== suiteNumber) {
    throw newer("suite", `this ${kind.word} uses suite ${suite}, known is ${suiteNumber}`);
  }
  const number = reader.u8();
  if (number !== kind.number) throw reader.refuse("kind", `kind ${number} is not a ${kind.word}`);
  const flags = reader.u8();
  if ((flags & ~allowed) !== 0) {
    throw newer("flags", `this ${kind.word} has flags ${flags} that are not known`);
  }
  return flags;
}

function newer(stage: string, message: string): Failure {
  return new Failure("refused", message, { stage, hint: "Update this program" });
}

/** What Ed25519 signs: label, kind and the digest of everything before the signature. */
export function signatureInput(kind: Kind, bodyDigest: Uint8Array): Uint8Array {
  return new Writer().raw(label(kind.word)).u8(kind.number).raw(bodyDigest).done();
}

/**
 * Fills the last 64 bytes of `bytes` with the signature over all before them and returns the
 * object's hash: the digest of all its bytes, signature included. Hashes each byte once.
 */
export function signObject(kind: Kind, bytes: Uint8Array, sign: Sign, suite: Suite): Uint8Array {
  const end = bytes.length - signatureBytes;
  const hash = suite.sha512();
  hash.update(bytes.subarray(0, end));
  const signature = sign(signatureInput(kind, cut(hash.copy())));
  if (signature.length !== signatureBytes) throw new Failure("misuse", "not an Ed25519 signature");
  bytes.set(signature, end);
  hash.update(signature);
  return cut(hash);
}

/**
 * Ends an object whose fields are written: signed, once its own decoder takes it. What this program
 * would refuse to read is never signed.
 */
export function encodeObject(
  kind: Kind,
  fields: Writer,
  decode: (bytes: Uint8Array) => unknown,
  { sign, suite }: By,
): { bytes: Uint8Array; hash: Uint8Array } {
  const bytes = fields.raw(new Uint8Array(signatureBytes)).done();
  decode(bytes);
  return { bytes, hash: signObject(kind, bytes, sign, suite) };
}

/** Reads a signed object: its envelope, what `read` takes, room for the signature, and no more. */
export function decodeObject<T>(
  kind: Kind,
  bytes: Uint8Array,
  read: (reader: Reader, flags: number) => T,
  allowedFlags = 0,
): T {
  const reader = new Reader(bytes, kind.word);
  const fields = read(reader, readEnvelope(reader, kind, allowedFlags));
  reader.take(signatureBytes);
  reader.end();
  return fields;
}

/** Checks the signature in the last 64 bytes; returns the object's hash. Stages "key", "signature". */
export function verifyObject(
  kind: Kind,
  bytes: Uint8Array,
  publicKey: Uint8Array,
  suite: Suite,
): Uint8Array {
  const end = bytes.length - signatureBytes;
  if (end < envelopeBytes) {
    throw new Failure("corrupt", `${kind.word} is cut short`, { stage: "length" });
  }
  if (!isKey(publicKey)) {
    throw new Failure("corrupt", `${kind.word} names no usable key`, { stage: "key" });
  }
  const hash = suite.sha512();
  hash.update(bytes.subarray(0, end));
  const input = signatureInput(kind, cut(hash.copy()));
  const signature = bytes.subarray(end);
  if (!suite.verify(publicKey, input, signature)) {
    throw new Failure("corrupt", `${kind.word} is not signed by the key that it should be`, {
      stage: "signature",
    });
  }
  hash.update(signature);
  return cut(hash);
}

/** True for every hash but the all-zero one, which stands for "none before". */
export function isHash(hash: Uint8Array): boolean {
  return !equal(hash, noHash);
}

/**
 * False for the encodings of the eight points of small order, under which one signature fits many
 * messages: libsodium refuses them, OpenSSL does not, and relay and phone must agree.
 */
export function isKey(publicKey: Uint8Array): boolean {
  if (publicKey.length !== keyBytes) return false;
  const unsigned = new Uint8Array(publicKey);
  unsigned[31] = (unsigned[31] ?? 0) & 0x7f;
  return !smallOrder.has(toHex(unsigned));
}

// y-coordinates with the sign bit cleared: 0, 1, the two of order 8, p-1, and p, p+1 (not reduced).
const smallOrder: ReadonlySet<string> = new Set([
  "00".repeat(32),
  `01${"00".repeat(31)}`,
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  `ec${"ff".repeat(30)}7f`,
  `ed${"ff".repeat(30)}7f`,
  `ee${"ff".repeat(30)}7f`,
]);
