import type { ECDH } from "node:crypto";
import { createRequire } from "node:module";

// What comes to a browser, opened by a library that is not ours.

type Ece = {
  decrypt(
    body: Uint8Array,
    keys: { version: "aes128gcm"; privateKey: ECDH; authSecret: Uint8Array },
  ): Buffer;
};
const ece: Ece = createRequire(import.meta.url)("http_ece");

/** RFC 8291, by http_ece. Throws when it does not open. */
export function openBody(body: Uint8Array, curve: ECDH, auth: Uint8Array): Uint8Array {
  const keys = { version: "aes128gcm", privateKey: curve, authSecret: auth } as const;
  return new Uint8Array(ece.decrypt(Buffer.from(body), keys));
}
