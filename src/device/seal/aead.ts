import { createCipheriv } from "node:crypto";
import { nodeSuite } from "../../base/node/crypto.ts";
import { Failure } from "../../base/pure/failure.ts";
import type { SealingSuite } from "../../protocol/sealed/chunk.ts";

// XChaCha20-Poly1305 for what a camera seals all day: the stream and the tag are OpenSSL's, which
// takes a fifth of the time of libsodium compiled to wasm, and no text passes the wasm heap.
// Source: RFC 8439 and draft-irtf-cfrg-xchacha-03.

export const sealingSuite: SealingSuite = { ...nodeSuite, encryptInto };

const [keyBytes, nonceBytes, tagBytes] = [32, 24, 16];
/** OpenSSL returns what it made of a piece in memory of its own: no more than this at once. */
const stepBytes = 64 * 1024;
const zeros = new Uint8Array(stepBytes);

/**
 * Seals `pieces` joined, filled up with zeros to the length of `out` less the tag, without
 * additional data; the tag stands last.
 * @param key 32 bytes, not kept
 * @param nonce 24 bytes, never twice with one key
 * @throws Failure "misuse" for other lengths and for pieces longer than `out` takes
 */
export function encryptInto(
  out: Uint8Array,
  key: Uint8Array,
  nonce: Uint8Array,
  pieces: readonly Uint8Array[],
): void {
  const length = out.length - tagBytes;
  const filled = pieces.reduce((sum, piece) => sum + piece.length, 0);
  if (key.length !== keyBytes || nonce.length !== nonceBytes || filled > length) {
    throw new Failure("misuse", `${filled} bytes into ${length}, a key of ${key.length}`);
  }
  const subkey = hchacha20(key, nonce);
  const counterAndNonce = new Uint8Array(12);
  counterAndNonce.set(nonce.subarray(16), 4);
  const cipher = createCipheriv("chacha20-poly1305", subkey, counterAndNonce, {
    authTagLength: tagBytes,
  });
  subkey.fill(0);
  let at = 0;
  const add = (bytes: Uint8Array) => {
    for (let from = 0; from < bytes.length; from += stepBytes) {
      const sealed = cipher.update(bytes.subarray(from, from + stepBytes));
      out.set(sealed, at);
      at += sealed.length;
    }
  };
  for (const piece of pieces) add(piece);
  while (at < length) add(zeros.subarray(0, length - at));
  // OpenSSL wipes the key with its state here.
  cipher.final();
  out.set(cipher.getAuthTag(), length);
}

/**
 * The key of ChaCha20 for a nonce of 24 bytes: section 2.2 of the draft. Keys are read byte by byte
 * and written into memory outside V8's heap: to ask a small array for its buffer leaves a copy.
 */
function hchacha20(key: Uint8Array, nonce: Uint8Array): Uint8Array {
  const x = new Uint32Array(new ArrayBuffer(64));
  const input = [constants, key, nonce.subarray(0, 16)];
  let word = 0;
  for (const bytes of input) {
    for (let at = 0; at < bytes.length; at += 4) x[word++] = readWord(bytes, at);
  }
  for (let round = 0; round < 10; round++) {
    for (let i = 0; i < 4; i++) quarterRound(x, i, 4 + i, 8 + i, 12 + i);
    for (let i = 0; i < 4; i++) {
      quarterRound(x, i, 4 + ((i + 1) % 4), 8 + ((i + 2) % 4), 12 + ((i + 3) % 4));
    }
  }
  const view = new DataView(new ArrayBuffer(keyBytes));
  for (let i = 0; i < 4; i++) {
    view.setUint32(4 * i, x[i] ?? 0, true);
    view.setUint32(16 + 4 * i, x[12 + i] ?? 0, true);
  }
  x.fill(0);
  return new Uint8Array(view.buffer);
}

function readWord(bytes: Uint8Array, at: number): number {
  const [a = 0, b = 0, c = 0, d = 0] = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
  return a | (b << 8) | (c << 16) | (d << 24);
}

const constants = new Uint8Array(Buffer.from("expand 32-byte k", "latin1"));

/** RFC 8439, section 2.1. The array cuts each sum to 32 bits. */
function quarterRound(x: Uint32Array, a: number, b: number, c: number, d: number): void {
  turn(x, a, b, d, 16);
  turn(x, c, d, b, 12);
  turn(x, a, b, d, 8);
  turn(x, c, d, b, 7);
}

function turn(x: Uint32Array, sum: number, addend: number, to: number, bits: number): void {
  const total = ((x[sum] ?? 0) + (x[addend] ?? 0)) | 0;
  const mixed = (x[to] ?? 0) ^ total;
  x[sum] = total;
  x[to] = (mixed << bits) | (mixed >>> (32 - bits));
}
