import { equal, Reader, toHex, Writer } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import { hashBytes } from "../wire/signature.ts";
import { fromBase32, toBase32 } from "./base32.ts";
import { checkWord } from "./pairing.ts";
import { fingerprint } from "./sodium.ts";

// What a camera shows to a phone, as a link and as a QR code. Specification: invite.md.

export type Address = {
  /** 4 bytes (IPv4) or 16 (IPv6). */
  ip: Uint8Array;
  port: number;
};
export type Invite = {
  /** Hash of the camera's identity. */
  identity: Uint8Array;
  /** 32 random bytes, new for each window. */
  secret: Uint8Array;
  addresses: readonly Address[];
};

export const mostAddresses = 4;
const version = 1;
const scheme = "obscura:";
const longestLink = 240;
export const inviteSecretBytes = 32;
const checkBytes = 4;
const hint = "Copy the whole of what the camera shows";

/** The link, in lower case. Its QR code is that of the same text in upper case. */
export function printInvite(invite: Invite): string {
  const writer = new Writer()
    .u8(version)
    .raw(invite.identity)
    .raw(invite.secret)
    .u8(invite.addresses.length);
  for (const { ip, port } of invite.addresses) {
    writer
      .u8(ip.length === 4 ? 4 : 6)
      .raw(ip)
      .u16(port);
  }
  const body = writer.done();
  const link = scheme + toBase32(new Writer().raw(body).raw(checkOf(body)).done());
  parseInvite(link);
  return link;
}

/**
 * Reads a link in either case. Stages: "length", "scheme", "base32", "version", "count", "address",
 * "order", "check" (a letter is wrong).
 */
export function parseInvite(text: string): Invite {
  if (text.length > longestLink) throw refuse("length", "a link that is far too long");
  // Beyond ASCII there are letters whose lower case is an ASCII one.
  if (!/^[\x21-\x7e]*$/.test(text)) {
    throw refuse("base32", "a link with a character that no link has");
  }
  const link = text.toLowerCase();
  if (!link.startsWith(scheme)) {
    throw refuse("scheme", `a link that does not begin with ${scheme}`);
  }
  const bytes = fromBase32(link.slice(scheme.length), hint);
  const reader = new Reader(bytes, "link");
  const found = reader.u8();
  if (found !== version) {
    throw new Failure("refused", `a link of version ${found}, known is ${version}`, {
      stage: "version",
      hint: "Update this program",
    });
  }
  // Before anything else: what was typed wrong should be called so.
  const end = bytes.length - checkBytes;
  if (end < 1 || !equal(checkOf(bytes.subarray(0, end)), bytes.subarray(end))) {
    throw new Failure("corrupt", "a link with a wrong or missing character", {
      stage: "check",
      hint,
    });
  }
  const identity = reader.take(hashBytes);
  const secret = reader.take(inviteSecretBytes);
  const count = reader.u8();
  if (count < 1 || count > mostAddresses) throw refuse("count", `a link with ${count} addresses`);
  const addresses: Address[] = [];
  const seen = new Set<string>();
  for (let i = 0; i < count; i++) {
    const address = readAddress(reader);
    const key = `${toHex(address.ip)} ${address.port}`;
    if (seen.has(key)) throw refuse("order", "a link that names an address twice");
    seen.add(key);
    addresses.push(address);
  }
  reader.take(checkBytes);
  reader.end();
  return { identity, secret, addresses };
}

/** A network that a board without one makes for the window of an invitation. */
export type AccessPoint = { ssid: string; password: string };

/** The same on both sides: whoever has the link knows it (invite.md, "Access point"). */
export function accessPointOf({
  identity,
  secret,
}: Pick<Invite, "identity" | "secret">): AccessPoint {
  const password = toBase32(fingerprint("obscura/1/access-point", secret)).slice(0, 16);
  return { ssid: `Obscura ${checkWord(identity)}`, password };
}

/** What phones read as "join this network" when it is a QR code. */
export function printNetworkCode({ ssid, password }: AccessPoint): string {
  return `WIFI:T:WPA;S:${ssid};P:${password};;`;
}

function readAddress(reader: Reader): Address {
  const family = reader.u8();
  if (family !== 4 && family !== 6) throw refuse("address", `an address of family ${family}`);
  const ip = reader.take(family === 4 ? 4 : 16);
  const port = reader.u16();
  if (port === 0) throw refuse("address", "an address with port 0");
  const first = ip[0] ?? 0;
  const isMulticast = family === 4 ? first >= 224 : first === 0xff;
  if (isMulticast || ip.every((byte) => byte === 0)) {
    throw refuse("address", "an address that is no one machine's");
  }
  return { ip, port };
}

function checkOf(body: Uint8Array): Uint8Array {
  return fingerprint("obscura/1/invite", body).slice(0, checkBytes);
}

function refuse(stage: string, message: string): Failure {
  return new Failure("corrupt", message, { stage, hint });
}
