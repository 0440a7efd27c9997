import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { describe, type Vector } from "../../scripts/vectors.ts";
import { Failure, isFailure } from "../../src/base/pure/failure.ts";

/** Where the vectors lie in the source tree, seen from the compiled tests. */
export const vectorsFolder: string = new URL("../../../test/vectors/", import.meta.url).pathname;

/** Reads every vector below test/vectors/FOLDER (README there says how a file is built). */
export async function readVectors(folder: string): Promise<Vector[]> {
  const root = join(vectorsFolder, folder);
  const files = (await readdir(root)).filter((file) => file.endsWith(".txt")).sort();
  return await Promise.all(
    files.map(async (file) => parseVector(file.slice(0, -4), await readFile(join(root, file)))),
  );
}

export function parseVector(name: string, file: Uint8Array): Vector {
  const bytes = Buffer.from(file);
  const end = bytes.indexOf("\n\n");
  if (end < 0) throw new Error(`${name}: no blank line`);
  const header: Record<string, string> = {};
  for (const line of bytes.subarray(0, end).toString("utf8").split("\n")) {
    const at = line.indexOf(": ");
    const key = line.slice(0, at);
    if (at < 1 || key in header) throw new Error(`${name}: header line ${line}`);
    header[key] = line.slice(at + 2);
  }
  const body = bytes.subarray(end + 2);
  if (header.encoding === "raw") return { name, header, bytes: body, raw: true };
  const hex = body.toString("latin1").replaceAll("\n", "");
  if (!/^(?:[0-9a-f]{2})*$/.test(hex)) throw new Error(`${name}: not hexadecimal`);
  return { name, header, bytes: Buffer.from(hex, "hex"), raw: false };
}

export type Opened = {
  /** The fields as text, held against header lines of the same name. */
  fields?: unknown;
  /** The same object encoded from what was decoded: must be the same bytes. */
  again?: Uint8Array | undefined;
};

/**
 * Runs each vector whole, and byte by byte (each of its proper prefixes), through `open`, which
 * must throw the Failure whose stage the vector names or give what the vector describes.
 */
export async function checkVectors(
  folder: string,
  open: (vector: Vector) => Opened | Promise<Opened>,
  { prefixes = true } = {},
): Promise<void> {
  const vectors = await readVectors(folder);
  let well = 0;
  for (const vector of vectors) {
    const { expect = "" } = vector.header;
    if (expect === "well") {
      well++;
      const { fields, again } = await open(vector);
      for (const [key, value] of Object.entries(describe(fields))) {
        assert.is(value, vector.header[key], `${folder}/${vector.name}: ${key}`);
      }
      if (again) assert.equal(hex(again), hex(vector.bytes), `${folder}/${vector.name}`);
    } else {
      const failure = await refusal(() => open(vector), `${folder}/${vector.name}`);
      assert.is(failure.stage, expect, `${folder}/${vector.name}: ${failure.message}`);
      assert.is(failure.kind, vector.header.kind, `${folder}/${vector.name}`);
    }
    for (let length = 0; prefixes && length < vector.bytes.length; length++) {
      const prefix = { ...vector, bytes: vector.bytes.subarray(0, length) };
      // Cutting a refused vector may mend it ("beacon/"); cutting a good one never leaves a good one.
      await refusal(async () => {
        await open(prefix);
        if (expect !== "well") throw mended;
      }, `${folder}/${vector.name} cut to ${length}`);
    }
  }
  assert.ok(well > 0 && vectors.length > well, `${folder}: no vectors of both sorts`);
}

const mended = new Failure("corrupt", "cut to something that is well", { stage: "mended" });

async function refusal(act: () => unknown, what: string): Promise<Failure> {
  try {
    await act();
  } catch (error) {
    if (isFailure(error, "corrupt", "refused") && error.stage) return error;
    throw error;
  }
  throw new Error(`${what}: taken`);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
