import { readFile, rename, writeFile } from "node:fs/promises";
import { arch, availableParallelism, cpus } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { explain, Failure } from "../../base/pure/failure.ts";
import { outputOf } from "../child.ts";
import { type Detection, overlapOf } from "./boxes.ts";
import type { ModelEntry, Precision, Size } from "./manifest.ts";

// int8 is twice as fast on processors with integer dot products and slower on some without; on
// x86 before VNNI its sums can saturate and scores go wrong. Neither can be read off a name, so
// both forms are tried on the machine itself.

/** What one form of the model did on the test pictures; printed by trial.ts as one JSON line. */
export type Trial = { inferenceMs: number; seen: Detection[][] };
export type ChoiceOptions = {
  folder: string;
  entry: ModelEntry;
  size: Size;
  threads: number;
  /** Where the choice is remembered. Default: choice.json in the folder. */
  file?: string;
};
type Remembered = { machine: string; precision: Precision; trials: Record<string, number> };

const trialLimitMs = 120_000;
const trialBytes = 1024 * 1024;
/** A gain smaller than this is noise, and fp32 is the reference. */
const worthwhile = 0.95;
const surely = 0.5;
const scoreSlack = 0.15;
const sameBox = 0.6;

/**
 * The form to run on this machine: int8 when it is faster and sees what fp32 sees. Tried once in
 * child processes, so that neither their memory nor a crash stays; then remembered for this
 * processor, size and these files. A place that cannot be written only costs the trial again.
 *
 * @throws Failure of the fp32 trial when neither form runs
 */
export async function choosePrecision(options: ChoiceOptions): Promise<Precision> {
  const { entry, size, threads } = options;
  const { fp32, int8 } = entry.files;
  if (!fp32 || !int8) return fp32 ? "fp32" : "int8";
  const path = options.file ?? join(options.folder, "choice.json");
  const machine = [
    await describeMachine(),
    `${size.width}x${size.height}`,
    `${threads} threads`,
    fp32.sha256,
    int8.sha256,
  ].join(", ");
  const remembered = await recall(path);
  if (remembered?.machine === machine) return remembered.precision;

  const reference = await tryOut(options, "fp32");
  const other = await tryOut(options, "int8").catch(() => undefined);
  const precision = other ? decide(reference, other) : "fp32";
  const trials = { fp32: reference.inferenceMs, ...(other ? { int8: other.inferenceMs } : {}) };
  await remember(path, { machine, precision, trials });
  return precision;
}

/** int8 when it is faster and agrees. */
export function decide(fp32: Trial, int8: Trial): Precision {
  return int8.inferenceMs < fp32.inferenceMs * worthwhile && agrees(fp32, int8) ? "int8" : "fp32";
}

/** Whoever one of them surely sees, the other sees in the same place with nearly the same score. */
export function agrees(a: Trial, b: Trial): boolean {
  const covers = (many: Detection[] = [], few: Detection[] = []) =>
    few
      .filter(({ score }) => score >= surely)
      .every((one) =>
        many.some(
          (other) =>
            Math.abs(other.score - one.score) <= scoreSlack &&
            overlapOf(other.box, one.box) >= sameBox,
        ),
      );
  return (
    a.seen.length === b.seen.length &&
    a.seen.some((persons) => persons.some(({ score }) => score >= surely)) &&
    a.seen.every((_, i) => covers(a.seen[i], b.seen[i]) && covers(b.seen[i], a.seen[i]))
  );
}

async function tryOut(options: ChoiceOptions, precision: Precision): Promise<Trial> {
  const { folder, entry, size, threads } = options;
  const script = fileURLToPath(new URL("./trial.js", import.meta.url));
  const { width, height } = size;
  const plan = JSON.stringify({
    folder,
    id: entry.id,
    precision,
    size: { width, height },
    threads,
  });
  try {
    const limits = { limitMs: trialLimitMs, mostBytes: trialBytes };
    return JSON.parse(await outputOf(process.execPath, [script, plan], limits)) as Trial;
  } catch (cause) {
    const why = explain(cause);
    throw new Failure("refused", `the person detector (${precision}) does not run here: ${why}`, {
      stage: "trial",
      cause,
    });
  }
}

async function describeMachine(): Promise<string> {
  const board = await readFile("/proc/device-tree/model", "utf8").catch(() => "");
  const model = cpus()[0]?.model ?? "unknown";
  return `${arch()}, ${board.replace(/\0/g, "") || model}, ${availableParallelism()} processors`;
}

async function recall(path: string): Promise<Remembered | undefined> {
  try {
    const value = JSON.parse(await readFile(path, "utf8")) as Remembered;
    return value.precision === "fp32" || value.precision === "int8" ? value : undefined;
  } catch {
    return undefined; // not there or not readable: the trial is run again
  }
}

async function remember(path: string, choice: Remembered): Promise<void> {
  const draft = `${path}.${process.pid}.part`;
  await writeFile(draft, `${JSON.stringify(choice, undefined, 2)}\n`)
    .then(() => rename(draft, path))
    .catch(() => {});
}
