import { createCipheriv, createDecipheriv, createHash } from "node:crypto";
import sodium from "libsodium-wrappers";
import { nodeSuite } from "../../src/base/node/crypto.ts";

// Cryptography that costs next to nothing, for tests of what is built on it: every key opens, signs and
// checks just what the real one would, and whoever reads a public key can forge all of it. It takes the
// place of libsodium in this whole thread and cannot be taken back: for workers only.

const hash = (...pieces: readonly (Uint8Array | string)[]): Uint8Array => {
  const sum = createHash("sha512");
  for (const piece of pieces) sum.update(piece).update("|");
  return new Uint8Array(sum.digest());
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

function seal(
  plain: Uint8Array,
  additional: Uint8Array | null,
  nonce: Uint8Array,
  key: Uint8Array,
) {
  const cipher = createCipheriv("aes-256-gcm", key, nonce);
  if (additional) cipher.setAAD(additional);
  const sealed = Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
  return new Uint8Array(sealed);
}

function open(sealed: Uint8Array, additional: Uint8Array, nonce: Uint8Array, key: Uint8Array) {
  const cipher = createDecipheriv("aes-256-gcm", key, nonce);
  cipher.setAAD(additional);
  cipher.setAuthTag(sealed.subarray(-tagBytes));
  const plain = Buffer.concat([cipher.update(sealed.subarray(0, -tagBytes)), cipher.final()]);
  return new Uint8Array(plain);
}

/** From here on; all that is drawn follows from `seed` until it is called again. */
export function useCheapCryptography(seed: string): void {
  let drawn = 0;
  const random = (count: number) => {
    const blocks = Array.from({ length: Math.ceil(count / 64) }, () => hash(seed, `${drawn++}`));
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
  const heap = new Uint8Array(300 * 1024);
  const slice = (at: number, length: number) => heap.slice(at, at + length);
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
      hash("hash", key ?? "", message).slice(0, length),
    crypto_sign_keypair: () => signPair(random(32)),
    crypto_sign_seed_keypair: signPair,
    crypto_sign_detached: (message: Uint8Array, secret: Uint8Array) =>
      signatureOf(secret.subarray(32), message),
    memzero: (bytes: Uint8Array) => bytes.fill(0),
    memcmp: (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0,
    libsodium: {
      HEAPU8: heap,
      _malloc: () => 0,
      _crypto_aead_xchacha20poly1305_ietf_encrypt(
        ...[out, , plain, length, , , , , , nonce, key]: number[]
      ) {
        const text = slice(plain ?? 0, length ?? 0);
        heap.set(seal(text, null, slice(nonce ?? 0, 24), slice(key ?? 0, 32)), out);
        return 0;
      },
    },
  });
  nodeSuite.verify = (key, message, signature) =>
    Buffer.compare(signatureOf(key, message), signature) === 0;
}
