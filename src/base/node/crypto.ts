import {
  createHash,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  sign,
  verify,
} from "node:crypto";

// Ed25519 and SHA-512 of node:crypto over raw 32-byte keys: ten times libsodium's wasm for digests.

/** Matches the `Suite` of protocol/wire; base knows nothing of it. */
export const nodeSuite = {
  sha512: () => createHash("sha512"),
  /** False, never an exception, for what is no key or no signature. */
  verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
    if (publicKey.length !== 32) return false;
    try {
      return verify(null, message, publicKeyObject(publicKey), signature);
    } catch {
      return false;
    }
  },
};

/** Signs with the key of a 32-byte seed; the seed is copied into OpenSSL and not kept here. */
export function ed25519Signer(seed: Uint8Array): {
  publicKey: Uint8Array;
  sign(message: Uint8Array): Uint8Array;
} {
  const key = createPrivateKey({
    key: Buffer.concat([privatePrefix, seed]),
    format: "der",
    type: "pkcs8",
  });
  const spki = createPublicKey(key).export({ format: "der", type: "spki" });
  return {
    publicKey: new Uint8Array(spki.subarray(publicPrefix.length)),
    sign: (message) => new Uint8Array(sign(null, message, key)),
  };
}

// The fixed DER headers of RFC 8410 before a raw key.
const privatePrefix = Buffer.from("302e020100300506032b657004220420", "hex");
const publicPrefix = Buffer.from("302a300506032b6570032100", "hex");

/** Reading a key takes longer than checking a signature with it, and the same few come again. */
const known = new Map<string, KeyObject>();
const knownMost = 64;

function publicKeyObject(raw: Uint8Array): KeyObject {
  const name = Buffer.from(raw).toString("latin1");
  const kept = known.get(name);
  if (kept) return kept;
  const der = Buffer.concat([publicPrefix, raw]);
  const key = createPublicKey({ key: der, format: "der", type: "spki" });
  if (known.size >= knownMost) known.clear();
  known.set(name, key);
  return key;
}
