import { equal, fromText, Reader, Writer } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import { fromBase32, toBase32 } from "./base32.ts";
import { readRelay } from "./pairing.ts";
import { fingerprint } from "./sodium.ts";

// What one phone shows to another, and what stands on a recovery kit. Specification: link.md.

export type LinkKind = "join" | "kit";
export type SecretLink = {
  /** 32 random bytes. */
  secret: Uint8Array;
  /** 32 bytes: a join's mailbox, a kit's root key of one. */
  place: Uint8Array;
  /** Where that mailbox is: http(s) URLs; none when it is a folder. */
  relays: readonly string[];
};

const version = 1;
const fieldBytes = 32;
const mostRelays = 4;
const urlBytes = 200;
const checkBytes = 4;
const longestText = 2048;
const hint = "Copy the whole of it";

/** One line, in lower case; its QR code is that of the same text in upper case. */
export function printLink(kind: LinkKind, link: SecretLink): string {
  const text = scheme(kind) + toBase32(encode(kind, link));
  parseLink(kind, text);
  return text;
}

/**
 * Reads a link in either case. Stages: "length", "text", "scheme", "base32", "version", "check" (a
 * character is wrong), "count", "relay".
 */
export function parseLink(kind: LinkKind, text: string): SecretLink {
  if (text.length > longestText) throw refuse("length", "a link that is far too long");
  // Beyond ASCII there are letters whose lower case is an ASCII one.
  if (!/^[\x21-\x7e]*$/.test(text)) throw refuse("text", "a link with odd characters");
  const link = text.toLowerCase();
  if (!link.startsWith(scheme(kind))) {
    throw refuse("scheme", `a link that does not begin with ${scheme(kind)}`);
  }
  return decode(kind, fromBase32(link.slice(scheme(kind).length), hint));
}

function scheme(kind: LinkKind): string {
  return `obscura-${kind}:`;
}

const groupLetters = 4;
const lineGroups = 6;
const lineBytes = 15; // 24 letters

/**
 * The same for paper: lines of a number, six groups of four letters, and two letters that check the
 * line, so that a slip of the pen is found where it is.
 */
export function printLines(kind: LinkKind, link: SecretLink): string[] {
  const bytes = encode(kind, link);
  const lines: string[] = [];
  for (let at = 0; at < bytes.length; at += lineBytes) {
    const letters = toBase32(bytes.subarray(at, at + lineBytes)).toUpperCase();
    const groups = letters.match(/.{1,4}/g) ?? [];
    const number = lines.length + 1;
    lines.push(
      `${String(number).padStart(2, "0")} ${groups.join(" ")} ${lineCheck(kind, number, letters)}`,
    );
  }
  return lines;
}

/**
 * Reads what `printLines` wrote, in either case, with any spaces and empty lines. Stages: "line" (one
 * of them is wrong, and the message says which), then those of `parseLink`.
 */
export function parseLines(kind: LinkKind, text: string): SecretLink {
  if (text.length > 2 * longestText) throw refuse("length", "a text that is far too long");
  if (!/^[\x20-\x7e\r\n\t]*$/.test(text)) throw refuse("text", "a text with odd characters");
  const writer = new Writer();
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  let wasShort = false;
  for (const [i, line] of lines.entries()) {
    const wrong = () => refuse("line", `line ${i + 1} is wrong, missing, or out of its place`);
    const joined = line.replace(/\s/g, "").toUpperCase();
    const letters = joined.slice(2, -2);
    const number = String(i + 1).padStart(2, "0");
    const isRight =
      joined.slice(0, 2) === number &&
      !wasShort &&
      letters.length <= groupLetters * lineGroups &&
      joined.slice(-2) === lineCheck(kind, i + 1, letters);
    if (!isRight) throw wrong();
    wasShort = letters.length < groupLetters * lineGroups;
    writer.raw(fromBase32(letters.toLowerCase(), hint));
  }
  return decode(kind, writer.done());
}

function lineCheck(kind: LinkKind, number: number, letters: string): string {
  const of = fingerprint(`obscura/1/${kind}/line`, Uint8Array.of(number), fromText(letters));
  return toBase32(of.subarray(0, 2)).slice(0, 2).toUpperCase();
}

function encode(kind: LinkKind, { secret, place, relays }: SecretLink): Uint8Array {
  const writer = new Writer().u8(version).raw(secret).raw(place).u8(relays.length);
  for (const url of relays) writer.bytes16(fromText(url));
  const body = writer.done();
  const bytes = new Writer().raw(body).raw(checkOf(kind, body)).done();
  decode(kind, bytes);
  return bytes;
}

function decode(kind: LinkKind, bytes: Uint8Array): SecretLink {
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
  if (end < 1 || !equal(checkOf(kind, bytes.subarray(0, end)), bytes.subarray(end))) {
    throw refuse("check", "a link with a wrong or missing character");
  }
  const secret = reader.take(fieldBytes);
  const place = reader.take(fieldBytes);
  const count = reader.u8();
  if (count > mostRelays) throw refuse("count", `a link with ${count} relays`);
  const relays = Array.from({ length: count }, () => readRelay(reader, urlBytes));
  if (new Set(relays).size !== count) throw refuse("relay", "a link that names a relay twice");
  reader.take(checkBytes);
  reader.end();
  return { secret, place, relays };
}

function checkOf(kind: LinkKind, body: Uint8Array): Uint8Array {
  return fingerprint(`obscura/1/${kind}/link`, body).slice(0, checkBytes);
}

function refuse(stage: string, message: string): Failure {
  return new Failure("corrupt", message, { stage, hint });
}
