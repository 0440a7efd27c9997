import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Failure } from "../../base/pure/failure.ts";

export type Precision = "fp32" | "int8";
export type Size = { width: number; height: number };
export type ModelFile = { file: string; sha256: string; bytes: number };
/** One entry of models/manifest.json, as far as running it needs. */
export type ModelEntry = {
  id: string;
  files: Partial<Record<Precision, ModelFile>>;
  input: {
    name: string;
    order: "BGR" | "RGB";
    mean: [number, number, number];
    deviation: [number, number, number];
    /** Raw value 0..255 of the border around a letterboxed picture. */
    pad: number;
    /** Width and height of the network's picture must be multiples of this. */
    multiple: number;
    sizes: Size[];
    crop: Size;
  };
  output: { heads: { name: string; stride: number }[]; bins: number };
  thresholds: { score: number; overlap: number };
  /** What both precisions look at before the faster is trusted; paths within the folder. */
  pictures: string[];
};

const format = 1;
const mend = "Install the person detector with scripts/run or npm run model";

/**
 * Reads the entry of one model.
 *
 * @throws Failure absent (no manifest, no such model), corrupt (not JSON, or an entry that nothing could
 *   be found with), refused (newer format)
 */
export async function readEntry(folder: string, id?: string): Promise<ModelEntry> {
  const path = join(folder, "manifest.json");
  const text = await readFile(path, "utf8").catch((cause) => {
    throw new Failure("absent", `${path} cannot be read`, { cause, hint: mend });
  });
  let manifest: { format?: unknown; default?: string; models?: ModelEntry[] };
  try {
    manifest = JSON.parse(text) ?? {};
  } catch (cause) {
    throw new Failure("corrupt", `${path} is not JSON`, { stage: "json", cause });
  }
  if (manifest.format !== format)
    throw new Failure("refused", `${path} has format ${manifest.format}, known is ${format}`, {
      stage: "version",
      hint: "Its version of Obscura is another than this one",
    });
  const wanted = id ?? manifest.default;
  const models = Array.isArray(manifest.models) ? manifest.models : [];
  const entry = models.find((model) => model?.id === wanted);
  if (!entry) {
    const known = models.map((model) => model?.id).join(", ") || "none";
    throw new Failure("absent", `${path} has no model ${wanted}; it has ${known}`);
  }
  const fault = faultOf(entry);
  if (fault) {
    throw new Failure("corrupt", `${path}: ${entry.id}: ${fault}`, { stage: "entry", hint: mend });
  }
  return entry;
}

/** What of an entry cannot be; a threshold that is no number would find nobody, and say nothing. */
function faultOf({ files, input, output, thresholds, pictures }: ModelEntry): string | undefined {
  const isNumber = (from: number, to: number) => (value: unknown) =>
    typeof value === "number" && value >= from && value <= to;
  const isCount = (value: unknown) => Number.isInteger(value) && isNumber(1, 4096)(value);
  const isSize = (size?: Size) => isCount(size?.width) && isCount(size?.height);
  const isListOf = (value: unknown, isOne: (one: never) => boolean, count?: number) =>
    Array.isArray(value) &&
    value.every((one) => isOne(one as never)) &&
    value.length === (count ?? (value.length || -1));
  const isText = (value: unknown) => typeof value === "string" && value !== "";
  const isFile = (one?: ModelFile) =>
    isText(one?.file) &&
    isNumber(1, 2 ** 32)(one?.bytes) &&
    /^[0-9a-f]{64}$/.test(one?.sha256 ?? "");
  const isHead = (head?: { name: string; stride: number }) =>
    isText(head?.name) && isCount(head?.stride);
  const checks: [string, boolean][] = [
    ["files", isListOf(Object.values(files ?? {}), isFile)],
    ["input.name", isText(input?.name)],
    ["input.order", input?.order === "BGR" || input?.order === "RGB"],
    ["input.mean", isListOf(input?.mean, isNumber(-1e6, 1e6), 3)],
    ["input.deviation", isListOf(input?.deviation, isNumber(1e-6, 1e6), 3)],
    ["input.pad", isNumber(0, 255)(input?.pad)],
    ["input.multiple", isCount(input?.multiple)],
    ["input.sizes", isListOf(input?.sizes, isSize)],
    ["input.crop", isSize(input?.crop)],
    ["output.heads", isListOf(output?.heads, isHead)],
    ["output.bins", isCount(output?.bins)],
    ["thresholds.score", isNumber(0.01, 0.99)(thresholds?.score)],
    ["thresholds.overlap", isNumber(0.01, 1)(thresholds?.overlap)],
    ["pictures", Array.isArray(pictures) && pictures.every(isText)],
  ];
  const wrong = checks.find(([, isWell]) => !isWell)?.[0];
  return wrong && `${wrong} is not what it has to be`;
}

/**
 * The path of one of the model's files, once its bytes are known to be the ones of the manifest.
 *
 * @throws Failure absent (not installed), corrupt with stage "sha256" (not what was installed)
 */
export async function verifyFile(
  folder: string,
  entry: ModelEntry,
  precision: Precision,
): Promise<string> {
  const wanted = entry.files[precision];
  if (!wanted) throw new Failure("absent", `${entry.id} comes in no ${precision} form`);
  const path = join(folder, wanted.file);
  const hash = createHash("sha256");
  let bytes = 0;
  try {
    for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
      hash.update(chunk);
      bytes += chunk.length;
    }
  } catch (cause) {
    throw new Failure("absent", `the person detector's file ${path} cannot be read`, {
      cause,
      hint: mend,
    });
  }
  if (hash.digest("hex") !== wanted.sha256 || bytes !== wanted.bytes)
    throw new Failure("corrupt", `${path} is not the file that models/manifest.json names`, {
      stage: "sha256",
      hint: mend,
    });
  return path;
}

/** The listed size whose shape wastes least border on a picture of this aspect (width ÷ height). */
export function sizeFor(entry: ModelEntry, aspect: number): Size {
  const used = ({ width, height }: Size) =>
    Math.min(width / height / aspect, (aspect * height) / width);
  const [first, ...rest] = entry.input.sizes;
  if (!first) throw new Failure("corrupt", `${entry.id} lists no input size`);
  return rest.reduce((best, size) => (used(size) > used(best) ? size : best), first);
}
