import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { toHex } from "../src/base/pure/bytes.ts";
import type { Kind } from "../src/protocol/wire/signature.ts";

/** One case of a format: what the header says, and the bytes it says it of. */
export type Vector = {
  /** File name without its ending. */
  name: string;
  /** `object`, `expect` ("well" or the refusing stage), `kind` of the failure, inputs, fields. */
  header: Record<string, string>;
  bytes: Uint8Array;
  /** Whether the bytes stand in the file as they are (text) or in hexadecimal. */
  raw: boolean;
};

/** A signed object that verifies, with what it was made for and its fields as header lines. */
export function wellVector(
  name: string,
  { word }: Kind,
  bytes: Uint8Array,
  input: Record<string, string>,
  fields: unknown,
): Vector {
  const header = { object: word, expect: "well", ...input, ...describe(fields) };
  return { name, header, bytes, raw: false };
}

/** The file of a vector: header lines, a blank line, the bytes. */
export function printVector({ header, bytes, raw }: Vector): Uint8Array {
  const lines = Object.entries({ ...header, encoding: raw ? "raw" : "hex" });
  const head = `${lines.map(([key, value]) => `${key}: ${value}\n`).join("")}\n`;
  if (raw) return Buffer.concat([Buffer.from(head), bytes]);
  return Buffer.from(`${head}${toHex(bytes).replace(/.{1,64}/g, "$&\n")}`);
}

/** Writes the vectors of one object into a folder that then holds nothing else. */
export async function writeVectors(folder: string, vectors: readonly Vector[]): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const old of await readdir(folder)) await rm(join(folder, old));
  for (const vector of vectors) {
    await writeFile(join(folder, `${vector.name}.txt`), printVector(vector), { flag: "wx" });
  }
}

/** A decoded object as lines: bytes in hexadecimal, nested fields with dots, lists by index. */
export function describe(value: unknown, name = ""): Record<string, string> {
  if (value instanceof Uint8Array) return { [name]: toHex(value) };
  if (value instanceof Set) return { [name]: [...value].join(" ") };
  if (typeof value !== "object" || value === null) {
    return value === undefined ? {} : { [name]: String(value) };
  }
  const lines: Record<string, string> = {};
  for (const [key, one] of Object.entries(value)) {
    Object.assign(lines, describe(one, name === "" ? key : `${name}.${key}`));
  }
  return lines;
}
