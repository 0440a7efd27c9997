import { equal, fromHex, toHex } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import { digest, hashBytes, keyBytes, label, type Suite } from "./signature.ts";

// Names of objects inside a mailbox. Specification: name.md.

export type PartName = {
  kind: "part";
  incarnation: number;
  clip: Uint8Array; // 16 bytes
  number: number;
  hash: Uint8Array;
};
export type EntryName = { kind: "entry"; incarnation: number; sequence: number; hash: Uint8Array };
/** An object in the box of one writer (a phone): opaque to the relay. */
export type BoxName = { kind: "box"; writer: Uint8Array; sequence: number; hash: Uint8Array };
/** The two objects that are overwritten: no hash in their names, a rising version inside. */
export type FixedName = { kind: "beacon" } | { kind: "door" };
export type Name = PartName | EntryName | BoxName | FixedName;

export const clipIdBytes = 16;
const u32Digits = 10;
const u64Digits = 16;

/** The name as a path below its mailbox ("entry/0000000001/0000000000000042/9f…"). */
export function printName(name: Name): string {
  switch (name.kind) {
    case "part":
      return `part/${u32(name.incarnation)}/${toHex(name.clip)}/${u32(name.number)}/${toHex(name.hash)}`;
    case "entry":
      return `entry/${u32(name.incarnation)}/${u64(name.sequence)}/${toHex(name.hash)}`;
    case "box":
      return `box/${toHex(name.writer)}/${u64(name.sequence)}/${toHex(name.hash)}`;
    case "beacon":
    case "door":
      return name.kind;
  }
}

/** Reads exactly what `printName` prints; anything else is refused, stage "name". */
export function parseName(text: string): Name {
  // Nothing longer is worth splitting.
  const fields = text.length > longestName ? [] : text.split("/");
  const [kind, a = "", b = "", c = "", d = ""] = fields;
  if (kind === "part" && fields.length === 5) {
    return {
      kind,
      incarnation: readU32(a),
      clip: readHex(b, clipIdBytes),
      number: readU32(c),
      hash: readHex(d, hashBytes),
    };
  }
  if (kind === "entry" && fields.length === 4) {
    return {
      kind,
      incarnation: readU32(a),
      sequence: readU64(b),
      hash: readHex(c, hashBytes),
    };
  }
  if (kind === "box" && fields.length === 4) {
    return {
      kind,
      writer: readHex(a, keyBytes),
      sequence: readU64(b),
      hash: readHex(c, hashBytes),
    };
  }
  if ((kind === "beacon" || kind === "door") && fields.length === 1) return { kind };
  throw refuse("no kind of name");
}

/** Length of the longest name, that of a box; as a file name it fits every Linux file system. */
export const longestName: number = 4 + 2 * keyBytes + 1 + u64Digits + 1 + 2 * hashBytes;

/** The name as the name of one file: dots where the path has slashes. */
export function toFileName(name: Name): string {
  return printName(name).replaceAll("/", ".");
}

export function fromFileName(file: string): Name {
  if (file.includes("/")) throw refuse("a file name with a slash");
  return parseName(file.replaceAll(".", "/"));
}

/** Order of a listing: by kind, then by number, because all numbers have a fixed width. */
export function compareNames(a: Name, b: Name): number {
  const [left, right] = [printName(a), printName(b)];
  return left < right ? -1 : left > right ? 1 : 0;
}

/** The hash at the end of the name, or undefined for beacon and door list. */
export function nameHash(name: Name): Uint8Array | undefined {
  return name.kind === "beacon" || name.kind === "door" ? undefined : name.hash;
}

/** Refuses bytes that are not the ones the name ends in, stage "hash". */
export function checkName(name: Name, bytes: Uint8Array, suite: Suite): void {
  const hash = nameHash(name);
  if (hash && !equal(digest(suite, bytes), hash)) {
    throw new Failure("corrupt", `the bytes are not those of ${printName(name)}`, {
      stage: "hash",
    });
  }
}

/** A mailbox is named after the root key that signs its door list: nobody else can open one there. */
export function mailboxOf(rootKey: Uint8Array, suite: Suite): Uint8Array {
  return digest(suite, label("mailbox"), rootKey);
}

/** "<64 hex>/<name>": where an object lies on a relay. */
export function printPlace(mailbox: Uint8Array, name: Name): string {
  return `${toHex(mailbox)}/${printName(name)}`;
}

export function parsePlace(text: string): { mailbox: Uint8Array; name: Name } {
  const at = text.indexOf("/");
  if (at !== 2 * hashBytes) throw refuse("no mailbox");
  return { mailbox: readHex(text.slice(0, at), hashBytes), name: parseName(text.slice(at + 1)) };
}

function u32(value: number): string {
  return print(value, u32Digits, 0xffff_ffff);
}

function u64(value: number): string {
  return print(value, u64Digits, Number.MAX_SAFE_INTEGER);
}

function print(value: number, digits: number, most: number): string {
  if (!Number.isSafeInteger(value) || value < 0 || value > most) {
    throw new Failure("misuse", `${value} cannot stand in a name`);
  }
  return String(value).padStart(digits, "0");
}

function readU32(text: string): number {
  return readNumber(text, u32Digits, 0xffff_ffff);
}

function readU64(text: string): number {
  return readNumber(text, u64Digits, Number.MAX_SAFE_INTEGER);
}

function readNumber(text: string, digits: number, most: number): number {
  const value = text.length === digits && /^[0-9]+$/.test(text) ? Number(text) : Number.NaN;
  if (!(value <= most)) throw refuse(`not a number of ${digits} digits`);
  return value;
}

function readHex(text: string, bytes: number): Uint8Array {
  if (text.length !== 2 * bytes || !/^[0-9a-f]+$/.test(text)) {
    throw refuse(`not ${bytes} bytes in hexadecimal`);
  }
  return fromHex(text);
}

function refuse(why: string): Failure {
  return new Failure("corrupt", `not a name: ${why}`, { stage: "name" });
}
