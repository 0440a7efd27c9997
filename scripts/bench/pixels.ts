import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type BenchOptions, type Line, line } from "./measure.ts";

const run = promisify(execFile);
const folder = fileURLToPath(new URL("../../../native/test", import.meta.url));
const program = fileURLToPath(
  new URL("../../../native/build-pixels/pixels-bench", import.meta.url),
);

/** What native/test/bench.cc prints. */
type Timed = {
  path: string;
  format: string;
  ratio: number;
  ms: number;
  bareMs: number;
  bare: string;
};

/**
 * Each way through the pixel code of the addon, for each format, at 1280x720: against libjpeg-turbo
 * alone with the least that the result needs, or for raw formats against a copy of the picture. A
 * program of its own in C++, both in turn; the middle of the rounds.
 */
export async function* benchPixels({ quick }: BenchOptions): AsyncGenerator<Line, void> {
  await run("make", ["-s", "-C", folder, "../build-pixels/pixels-bench"]);
  const { stdout } = await run(program, ["bench", quick ? "1" : "60"]);
  for (const text of stdout.trim().split("\n")) {
    const { path, format, ratio, bare, ms, bareMs } = JSON.parse(text) as Timed;
    yield line("pixels", `${format}: ${path}`, {
      ...{ value: ratio, unit: "time over that of the bare tool" },
      ...{ against: bare, ms, bareMs },
    });
  }
}
