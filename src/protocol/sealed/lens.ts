import { equal, fromText, Reader, toText, Writer } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import { hashBytes, isKey, keyBytes } from "../wire/signature.ts";
import { fromBase32, toBase32 } from "./base32.ts";
import { readRelay } from "./pairing.ts";
import { decrypt, derive, encrypt, fingerprint, random, sizes } from "./sodium.ts";

// What a phone shows to a camera's own eye, and where the two then meet. Specification: lens.md.

export type Wifi = {
  /** 1 to 32 bytes, as the network sends it; most often UTF-8. */
  ssid: Uint8Array;
  /** 8 to 63 characters of ASCII; empty for an open network. */
  password: string;
  /** It does not send its name and has to be asked for by it. */
  hidden: boolean;
};
export type LensCode = {
  /** 32 random bytes, new for each code. */
  secret: Uint8Array;
  /** `phoneName` of the key that the phone will prove to have. */
  phone: Uint8Array;
  /** Root key of the mailbox in which the two meet (wire/door.md). */
  root: Uint8Array;
  relay: string;
  wifi?: Wifi;
};

export const phoneNameBytes = 16;
export const knockBytes: number = sizes.nonce + hashBytes + sizes.tag;
export const longestCode = 560;
const version = 1;
const scheme = "obscura-lens:";
const secretBytes = 32;
const relayBytes = 120;
const ssidBytes = 32;
const checkBytes = 4;
const flag = { wifi: 1, hidden: 2 };
const hint = "Show the whole code, upright and without a reflection";

/** Which X25519 key a code is of: the beginning of its fingerprint. */
export function phoneName(key: Uint8Array): Uint8Array {
  return fingerprint("obscura/1/lens/phone", key).slice(0, phoneNameBytes);
}

/** Ed25519 seed of the requests by which whoever read the code comes into the mailbox. */
export function guestSeed(secret: Uint8Array): Uint8Array {
  return derive(secret, "obscura/1/lens/guest");
}

/** The text of the code, in capitals: what a QR code takes the fewest dots for. */
export function printLens(code: LensCode): string {
  const { secret, phone, root, relay, wifi } = code;
  const writer = new Writer()
    .u8(version)
    .u8(wifi ? flag.wifi | (wifi.hidden ? flag.hidden : 0) : 0)
    .raw(secret)
    .raw(phone)
    .raw(root)
    .bytes16(fromText(relay));
  if (wifi) {
    const password = fromText(wifi.password);
    writer.u8(wifi.ssid.length).raw(wifi.ssid).u8(password.length).raw(password);
  }
  const body = writer.done();
  const text = scheme + toBase32(new Writer().raw(body).raw(checkOf(body)).done());
  parseLens(text);
  return text.toUpperCase();
}

/**
 * Reads a code in either case. Stages: "length", "scheme", "base32", "version", "check" (a character
 * is wrong), "flags", "key", "relay", "ssid", "password".
 */
export function parseLens(text: string): LensCode {
  if (text.length > longestCode) throw refuse("length", "a code that is far too long");
  // Beyond ASCII there are letters whose lower case is an ASCII one.
  if (!/^[\x21-\x7e]*$/.test(text)) {
    throw refuse("base32", "a code with a character that no code has");
  }
  const code = text.toLowerCase();
  if (!code.startsWith(scheme)) throw refuse("scheme", "a code that is not of this program");
  const bytes = fromBase32(code.slice(scheme.length), hint);
  const reader = new Reader(bytes, "code");
  const found = reader.u8();
  if (found !== version) throw newer("version", `a code of version ${found}, known is ${version}`);
  const end = bytes.length - checkBytes;
  if (end < 1 || !equal(checkOf(bytes.subarray(0, end)), bytes.subarray(end))) {
    throw refuse("check", "a code with a wrong or missing character");
  }
  const flags = reader.u8();
  if (flags > (flag.wifi | flag.hidden))
    throw newer("flags", "a code that says more than is known");
  if (flags === flag.hidden) throw refuse("flags", "a code with a hidden network and no network");
  const result: LensCode = {
    secret: reader.take(secretBytes),
    phone: reader.take(phoneNameBytes),
    root: readRoot(reader),
    relay: readRelay(reader, relayBytes),
  };
  if (flags & flag.wifi) result.wifi = readWifi(reader, (flags & flag.hidden) !== 0);
  reader.take(checkBytes);
  reader.end();
  return result;
}

function readRoot(reader: Reader): Uint8Array {
  const root = reader.take(keyBytes);
  if (!isKey(root)) throw refuse("key", "a code with a key that anybody could sign for");
  return root;
}

/** Stages: "ssid", "password". */
export function readWifi(reader: Reader, hidden: boolean): Wifi {
  const length = reader.u8();
  if (length < 1 || length > ssidBytes) throw refuse("ssid", `a network's name of ${length} bytes`);
  const ssid = reader.take(length);
  const secret = reader.take(reader.u8());
  const isOne = secret.length === 0 || (secret.length >= 8 && secret.length <= 63);
  if (!isOne || secret.some((byte) => byte < 0x20 || byte > 0x7e)) {
    throw refuse("password", "a password that no Wi-Fi network can have");
  }
  return { ssid, password: toText(secret), hidden };
}

/** The camera's first word in the mailbox: which camera it is, for who made the code alone. */
export function sealKnock(code: Pick<LensCode, "secret" | "root">, identity: Uint8Array) {
  const nonce = random(sizes.nonce);
  const sealed = encrypt(knockKey(code.secret), nonce, identity, code.root);
  return new Writer().raw(nonce).raw(sealed).done();
}

/** The hash of the camera's identity. Stages: "length", "knock". */
export function openKnock(
  { secret, root }: Pick<LensCode, "secret" | "root">,
  knock: Uint8Array,
): Uint8Array {
  if (knock.length !== knockBytes) throw refuse("length", `a knock of ${knock.length} bytes`);
  const nonce = knock.subarray(0, sizes.nonce);
  const identity = decrypt(knockKey(secret), nonce, knock.subarray(sizes.nonce), root);
  if (!identity) throw refuse("knock", "somebody knocked who did not read the code");
  return identity;
}

function knockKey(secret: Uint8Array): Uint8Array {
  return derive(secret, "obscura/1/lens/knock");
}

function checkOf(body: Uint8Array): Uint8Array {
  return fingerprint("obscura/1/lens", body).slice(0, checkBytes);
}

function refuse(stage: string, message: string): Failure {
  return new Failure("corrupt", message, { stage, hint });
}

function newer(stage: string, message: string): Failure {
  return new Failure("refused", message, { stage, hint: "Update this camera's programs" });
}
