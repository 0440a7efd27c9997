import { crc32 } from "node:zlib";
import sodium from "libsodium-wrappers";
import { nodeSuite } from "../../src/base/node/crypto.ts";
import { concat, equal, fromText, Writer } from "../../src/base/pure/bytes.ts";
import { sealingSuite } from "../../src/device/seal/aead.ts";
import type { SealingSuite } from "../../src/protocol/sealed/chunk.ts";
import type { Sha512, Suite } from "../../src/protocol/wire/signature.ts";

// Cryptography that costs next to nothing, for tests of what is built on it: every key opens, signs and
// checks just what the real one would, and whoever reads a public key can forge all of it. It takes the
// place of libsodium in this whole thread and cannot be taken back: for workers only.

const none = new Uint8Array();

/** Stands in for SHA-512: no two inputs have the same by chance, and anybody finds two that have. */
class Sum implements Sha512 {
  readonly #pieces: Uint8Array[];

  constructor(pieces: readonly Uint8Array[] = []) {
    this.#pieces = [...pieces];
  }

  update(bytes: Uint8Array): this {
    this.#pieces.push(bytes);
    return this;
  }

  copy(): Sum {
    return new Sum(this.#pieces);
  }

  digest(): Uint8Array {
    return sumOf(concat(this.#pieces));
  }
}

const edgeBytes = 256;

/** Of a long text both ends, and a checksum that no changed bit escapes. */
function sumOf(bytes: Uint8Array): Uint8Array {
  if (bytes.length <= 4 * edgeBytes) return mix(bytes);
  const check = new Writer().u32(bytes.length).u32(crc32(bytes));
  return mix(check.raw(bytes.subarray(0, edgeBytes)).raw(bytes.subarray(-edgeBytes)).done());
}

function mix(bytes: Uint8Array): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let [a, b, c, d] = [bytes.length | 0, 0x9e3779b1 | 0, 0x85ebca6b | 0, 0xc2b2ae35 | 0];
  const take = (word: number) => {
    a = Math.imul(((a ^ word) << 13) | ((a ^ word) >>> 19), 0x2c1b3c6d);
    b = Math.imul(((b + word) << 7) | ((b + word) >>> 25), 0x297a2d39);
    c = Math.imul(((c ^ word) << 17) | ((c ^ word) >>> 15), 0x1b873593);
    d = Math.imul(((d + word) << 23) | ((d + word) >>> 9), 0x5bd1e995) ^ a;
  };
  const whole = bytes.length & ~3;
  for (let at = 0; at < whole; at += 4) take(view.getInt32(at));
  for (let at = whole; at < bytes.length; at++) take(view.getUint8(at));
  const out = new DataView(new ArrayBuffer(64));
  for (let at = 0; at < 64; at += 4) {
    take(at ^ b ^ d);
    out.setInt32(at, a ^ c);
  }
  return new Uint8Array(out.buffer);
}

const hash = (what: string, ...pieces: readonly Uint8Array[]): Uint8Array => {
  const writer = new Writer().bytes16(fromText(what));
  for (const piece of pieces) writer.bytes32(piece);
  return sumOf(writer.done());
};
const padded = (bytes: Uint8Array, length: number): Uint8Array => {
  const out = new Uint8Array(length);
  out.set(bytes.subarray(0, length));
  return out;
};
const [kemPublicBytes, kemCiphertextBytes, tagBytes] = [1216, 1120, 16];
const kemPublic = (seed: Uint8Array) => padded(hash("kem", seed), kemPublicBytes);
const signPublic = (seed: Uint8Array) => hash("sign", seed).slice(0, 32);
const signatureOf = (key: Uint8Array, message: Uint8Array) => hash("signature", key, message);
const shared = (key: Uint8Array, ciphertext: Uint8Array) =>
  hash("shared", key, ciphertext).slice(0, 32);

/** Nothing is hidden; only who has the key can tell that it was sealed so. */
function seal(
  plain: Uint8Array,
  additional: Uint8Array | null,
  nonce: Uint8Array,
  key: Uint8Array,
) {
  return concat([plain, tagOf(plain, additional ?? none, nonce, key)]);
}

function tagOf(plain: Uint8Array, ...others: readonly Uint8Array[]): Uint8Array {
  return hash("sealed", ...others, plain).subarray(0, tagBytes);
}

function open(sealed: Uint8Array, additional: Uint8Array, nonce: Uint8Array, key: Uint8Array) {
  const plain = sealed.slice(0, -tagBytes);
  if (!equal(tagOf(plain, additional, nonce, key), sealed.subarray(-tagBytes)))
    throw new Error("forged");
  return plain;
}

/** From here on; all that is drawn follows from `seed` until it is called again. */
export function useCheapCryptography(seed: string): void {
  let drawn = 0;
  const random = (count: number) => {
    const blocks = Array.from({ length: Math.ceil(count / 64) }, () => hash(`${seed} ${drawn++}`));
    return new Uint8Array(Buffer.concat(blocks).subarray(0, count));
  };
  const kemPair = (secret: Uint8Array) => ({
    publicKey: kemPublic(secret),
    privateKey: secret.slice(),
  });
  const signPair = (secret: Uint8Array) => {
    const publicKey = signPublic(secret);
    return { publicKey, privateKey: new Uint8Array(Buffer.concat([secret, publicKey])) };
  };
  Object.assign(sodium, {
    randombytes_buf: random,
    crypto_kem_xwing_keypair: () => kemPair(random(32)),
    crypto_kem_xwing_seed_keypair: kemPair,
    crypto_kem_xwing_enc(key: Uint8Array) {
      const ciphertext = padded(random(64), kemCiphertextBytes);
      return { ciphertext, sharedSecret: shared(key, ciphertext) };
    },
    crypto_kem_xwing_dec: (ciphertext: Uint8Array, secret: Uint8Array) =>
      shared(kemPublic(secret), ciphertext),
    crypto_aead_xchacha20poly1305_ietf_encrypt: (
      plain: Uint8Array,
      additional: Uint8Array,
      _: null,
      nonce: Uint8Array,
      key: Uint8Array,
    ) => seal(plain, additional, nonce, key),
    crypto_aead_xchacha20poly1305_ietf_decrypt: (
      _: null,
      sealed: Uint8Array,
      additional: Uint8Array,
      nonce: Uint8Array,
      key: Uint8Array,
    ) => open(sealed, additional, nonce, key),
    crypto_generichash: (length: number, message: Uint8Array, key: Uint8Array | null) =>
      hash("hash", key ?? none, message).slice(0, length),
    crypto_sign_keypair: () => signPair(random(32)),
    crypto_sign_seed_keypair: signPair,
    crypto_sign_detached: (message: Uint8Array, secret: Uint8Array) =>
      signatureOf(secret.subarray(32), message),
    memzero: (bytes: Uint8Array) => bytes.fill(0),
    memcmp: (a: Uint8Array, b: Uint8Array) => equal(a, b),
  });
  Object.assign(nodeSuite, {
    sha512: () => new Sum(),
    verify: (key, message, signature) => equal(signatureOf(key, message), signature),
  } satisfies Suite);
  Object.assign(sealingSuite, nodeSuite, {
    encryptInto: (out, key, nonce, pieces) =>
      out.set(seal(padded(concat(pieces), out.length - tagBytes), null, nonce, key)),
  } satisfies Partial<SealingSuite>);
}
