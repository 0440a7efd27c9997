import { createDecipheriv, createECDH, hkdfSync, randomBytes } from "node:crypto";
import { Failure } from "../../base/pure/failure.ts";
import { isPoint } from "../../protocol/sealed/subscription.ts";

// What a browser does for a page, for a phone that has none: RFC 8291, the keys and the opening.

export type BrowserKeys = {
  /** The secret of a point of P-256, 32 bytes. */
  secret: Uint8Array;
  /** The point, 65 bytes, and 16 random ones. */
  p256dh: Uint8Array;
  auth: Uint8Array;
};

export function newBrowserKeys(): BrowserKeys {
  const curve = createECDH("prime256v1");
  const p256dh = new Uint8Array(curve.generateKeys());
  const bare = curve.getPrivateKey();
  const secret = new Uint8Array(32);
  secret.set(bare, 32 - bare.length);
  return { secret, p256dh, auth: new Uint8Array(randomBytes(16)) };
}

const saltBytes = 16;
const headBytes = saltBytes + 4 + 1 + 65;
const tagBytes = 16;

/**
 * Opens a body in the aes128gcm coding (RFC 8188), one record as RFC 8291 has it: null when it is for other
 * keys, or not as it was sent. Throws Failure "corrupt", stage "body", for what is no such body.
 */
export function openBody(
  body: Uint8Array,
  { secret, p256dh, auth }: BrowserKeys,
): Uint8Array | null {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const isLong = body.length > headBytes + tagBytes;
  const sender = body.subarray(saltBytes + 5, headBytes);
  const record = body.subarray(headBytes);
  const isRight =
    isLong &&
    body[saltBytes + 4] === 65 &&
    view.getUint32(saltBytes) >= Math.max(18, record.length) &&
    isPoint(sender);
  if (!isRight) {
    throw new Failure("corrupt", "this is no message of a push service", { stage: "body" });
  }
  const curve = createECDH("prime256v1");
  curve.setPrivateKey(secret);
  const shared = curve.computeSecret(sender);
  const about = Buffer.concat([Buffer.from("WebPush: info\0"), p256dh, sender]);
  const key = Buffer.from(hkdfSync("sha256", shared, auth, about, 32));
  const salt = body.subarray(0, saltBytes);
  const expand = (info: string, count: number) =>
    Buffer.from(hkdfSync("sha256", key, salt, Buffer.from(`Content-Encoding: ${info}\0`), count));
  const cipher = createDecipheriv("aes-128-gcm", expand("aes128gcm", 16), expand("nonce", 12));
  cipher.setAuthTag(record.subarray(record.length - tagBytes));
  let plain: Buffer;
  try {
    plain = Buffer.concat([cipher.update(record.subarray(0, -tagBytes)), cipher.final()]);
  } catch {
    return null;
  }
  // The last record: 2, and zeros behind it.
  let end = plain.length - 1;
  while (end >= 0 && plain[end] === 0) end -= 1;
  return plain[end] === 2 ? new Uint8Array(plain.subarray(0, end)) : null;
}
