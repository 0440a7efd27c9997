import sodium from "libsodium-wrappers";
import { concat, fromText, Writer } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";

/**
 * Suite 1, and the only file that imports libsodium. Every call copies into the wasm heap and out
 * again, and the heap never shrinks: so nothing longer than `longestBytes` goes through in one
 * call, and whoever has more cuts it into chunks.
 *
 * Randomness has no parameter anywhere. What must be reproducible in tests (vectors) replaces the
 * random source of libsodium itself, from outside, where no production code can.
 */
export const suite = 1;

export const sizes = {
  key: 32,
  nonce: 24,
  tag: 16,
  digest: 32,
  kemPublicKey: 1216,
  kemSecret: 32,
  kemCiphertext: 1120,
  signPublicKey: 32,
  signSecret: 32,
  signature: 64,
  exchangeKey: 32,
  blake: 64,
} as const;

/** The longest plain text of one AEAD call, with room for a chunk's own head. */
export const longestBytes = 256 * 1024;

/** Resolves when libsodium is compiled; everything else here throws before that. */
export async function ready(): Promise<void> {
  await sodium.ready;
}

export type Pair = { readonly publicKey: Uint8Array; readonly secret: Uint8Array };
export type Shared = { readonly ciphertext: Uint8Array; readonly shared: Uint8Array };

/** An X-Wing key pair. The secret is the 32-byte seed of the draft. */
export function kemPair(): Pair {
  const { publicKey, privateKey } = sodium.crypto_kem_xwing_keypair();
  return { publicKey, secret: privateKey };
}

/** The X-Wing public key (1216 bytes) of a secret. */
export function kemPublicKey(secret: Uint8Array): Uint8Array {
  demand(secret, sizes.kemSecret, "X-Wing secret");
  const pair = sodium.crypto_kem_xwing_seed_keypair(secret);
  sodium.memzero(pair.privateKey);
  return pair.publicKey;
}

/** A fresh shared secret for `publicKey`; a key that is no point or no lattice element is refused. */
export function encapsulate(publicKey: Uint8Array): Shared {
  demand(publicKey, sizes.kemPublicKey, "X-Wing public key");
  try {
    const { ciphertext, sharedSecret } = sodium.crypto_kem_xwing_enc(publicKey);
    return { ciphertext, shared: sharedSecret };
  } catch (cause) {
    throw new Failure("corrupt", "not an X-Wing public key", { stage: "kem", cause });
  }
}

/** The shared secret behind a ciphertext. A forged ciphertext gives another secret, not an error. */
export function decapsulate(ciphertext: Uint8Array, secret: Uint8Array): Uint8Array {
  demand(ciphertext, sizes.kemCiphertext, "X-Wing ciphertext");
  demand(secret, sizes.kemSecret, "X-Wing secret");
  try {
    return sodium.crypto_kem_xwing_dec(ciphertext, secret);
  } catch (cause) {
    throw new Failure("corrupt", "not an X-Wing ciphertext", { stage: "kem", cause });
  }
}

/** XChaCha20-Poly1305: ciphertext with its 16-byte tag behind it. */
export function encrypt(
  key: Uint8Array,
  nonce: Uint8Array,
  plain: Uint8Array,
  additional: Uint8Array,
): Uint8Array {
  demand(key, sizes.key, "key");
  demand(nonce, sizes.nonce, "nonce");
  if (plain.length > longestBytes) throw new Failure("misuse", "more than one AEAD call may take");
  return sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(plain, additional, null, nonce, key);
}

/** The plain text, or null when key, nonce, additional data or bytes are not those of the sealing. */
export function decrypt(
  key: Uint8Array,
  nonce: Uint8Array,
  sealed: Uint8Array,
  additional: Uint8Array,
): Uint8Array | null {
  demand(key, sizes.key, "key");
  demand(nonce, sizes.nonce, "nonce");
  if (sealed.length < sizes.tag || sealed.length > longestBytes + sizes.tag) return null;
  try {
    return sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(null, sealed, additional, nonce, key);
  } catch {
    return null;
  }
}

/**
 * BLAKE2b-256 keyed with `secret` (16 to 64 bytes) over the length-prefixed label and the
 * length-prefixed inputs: no two lists of inputs give the same bytes.
 */
export function derive(secret: Uint8Array, label: string, ...inputs: Uint8Array[]): Uint8Array {
  if (secret.length < 16 || secret.length > 64) {
    throw new Failure("misuse", `a secret of ${secret.length} bytes`);
  }
  return sodium.crypto_generichash(sizes.key, prefixed(label, inputs), secret);
}

/** As `derive` without a secret: a name for public things. */
export function fingerprint(label: string, ...inputs: Uint8Array[]): Uint8Array {
  return sodium.crypto_generichash(sizes.digest, prefixed(label, inputs), null);
}

function prefixed(label: string, inputs: Uint8Array[]): Uint8Array {
  const name = fromText(label);
  const writer = new Writer().u8(name.length).raw(name);
  for (const input of inputs) writer.bytes32(input);
  return writer.done();
}

/** An Ed25519 key pair. The secret is the 32-byte seed. */
export function signPair(): Pair {
  const { publicKey, privateKey } = sodium.crypto_sign_keypair();
  const secret = privateKey.slice(0, sizes.signSecret);
  sodium.memzero(privateKey);
  return { publicKey, secret };
}

/** The Ed25519 public key of a seed. */
export function signPublicKey(secret: Uint8Array): Uint8Array {
  demand(secret, sizes.signSecret, "Ed25519 seed");
  const pair = sodium.crypto_sign_seed_keypair(secret);
  sodium.memzero(pair.privateKey);
  return pair.publicKey;
}

/** An Ed25519 signature by the key of this seed. */
export function sign(secret: Uint8Array, message: Uint8Array): Uint8Array {
  demand(secret, sizes.signSecret, "Ed25519 seed");
  const pair = sodium.crypto_sign_seed_keypair(secret);
  try {
    return sodium.crypto_sign_detached(message, pair.privateKey);
  } finally {
    sodium.memzero(pair.privateKey);
  }
}

/** False for a wrong signature and for keys and signatures that are none. */
export function verify(key: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (key.length !== sizes.signPublicKey || signature.length !== sizes.signature) return false;
  try {
    return sodium.crypto_sign_verify_detached(signature, message, key);
  } catch {
    return false;
  }
}

/** A fresh X25519 key pair. */
export function exchangePair(): Pair {
  const { publicKey, privateKey } = sodium.crypto_box_keypair();
  return { publicKey, secret: privateKey };
}

/** The X25519 public key of a secret. */
export function exchangePublicKey(secret: Uint8Array): Uint8Array {
  demand(secret, sizes.exchangeKey, "X25519 secret");
  return sodium.crypto_scalarmult_base(secret);
}

/** X25519; a public key of small order, whose result is zero for every secret, is refused. */
export function exchange(secret: Uint8Array, publicKey: Uint8Array): Uint8Array {
  demand(secret, sizes.exchangeKey, "X25519 secret");
  demand(publicKey, sizes.exchangeKey, "X25519 public key");
  try {
    return sodium.crypto_scalarmult(secret, publicKey);
  } catch (cause) {
    throw new Failure("corrupt", "an X25519 key of small order", { stage: "key", cause });
  }
}

/** BLAKE2b-512 over the pieces in order, without key or salt. */
export function blake2b(...pieces: readonly Uint8Array[]): Uint8Array {
  return sodium.crypto_generichash(sizes.blake, concat(pieces), null);
}

/** ChaCha20-Poly1305 of RFC 8439; a key seals with each 12-byte nonce once. */
export function encryptChaCha(
  key: Uint8Array,
  nonce: Uint8Array,
  plain: Uint8Array,
  additional: Uint8Array,
): Uint8Array {
  demand(key, sizes.key, "key");
  if (plain.length > longestBytes) throw new Failure("misuse", "more than one AEAD call may take");
  return sodium.crypto_aead_chacha20poly1305_ietf_encrypt(plain, additional, null, nonce, key);
}

/** The plain text, or null when anything is not as it was sealed. */
export function decryptChaCha(
  key: Uint8Array,
  nonce: Uint8Array,
  sealed: Uint8Array,
  additional: Uint8Array,
): Uint8Array | null {
  demand(key, sizes.key, "key");
  if (sealed.length < sizes.tag || sealed.length > longestBytes + sizes.tag) return null;
  try {
    return sodium.crypto_aead_chacha20poly1305_ietf_decrypt(null, sealed, additional, nonce, key);
  } catch {
    return null;
  }
}

export function random(count: number): Uint8Array {
  return sodium.randombytes_buf(count);
}

/** Overwrites a secret. What JavaScript copied of it before is out of reach. */
export function wipe(...secrets: Uint8Array[]): void {
  for (const secret of secrets) sodium.memzero(secret);
}

/** Equality in constant time for secrets of one length. */
export function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && sodium.memcmp(a, b);
}

function demand(bytes: Uint8Array, length: number, what: string): void {
  if (bytes.length !== length) {
    throw new Failure("corrupt", `${what} of ${bytes.length} bytes, not ${length}`, {
      stage: "length",
    });
  }
}
