import { parseArgs } from "node:util";
import { explain } from "../src/base/pure/failure.ts";
import type { BenchOptions, Line } from "./bench/measure.ts";

const help = `usage: npm run bench [-- [--quick] NAME...]

Measures each stage against the plain tool that does the same job, both in this run, and prints one
JSON object a line: {"bench", "ratio" or "value", "aim", ...}. NAME keeps the groups of that name.

  --quick   a short round of each, to see that it works; its numbers mean nothing
`;

type Bench = (options: BenchOptions) => AsyncIterable<Line>;

/** Loaded one by one, so that no group's memory or threads are in another's numbers. */
const groups: Record<string, () => Promise<Bench>> = {
  capture: async () => (await import("./bench/capture.ts")).benchCapture,
  still: async () => (await import("./bench/still.ts")).benchStill,
  record: async () => (await import("./bench/record.ts")).benchRecord,
  seal: async () => (await import("./bench/seal.ts")).benchSeal,
  outbox: async () => (await import("./bench/outbox.ts")).benchOutbox,
  detect: async () => (await import("./bench/detect.ts")).benchDetect,
  memory: async () => (await import("./bench/resident.ts")).benchMemory,
  latency: async () => (await import("./bench/latency.ts")).benchLatency,
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  },
});
const unknown = positionals.filter((name) => !(name in groups));
if (values.help) process.stdout.write(`${help}\nGroups: ${Object.keys(groups).join(", ")}\n`);
else if (unknown.length > 0) {
  process.stderr.write(
    `no group ${unknown.join(", ")}; there are ${Object.keys(groups).join(", ")}\n`,
  );
  process.exitCode = 2;
} else {
  for (const [name, load] of Object.entries(groups)) {
    if (positionals.length > 0 && !positionals.includes(name)) continue;
    try {
      for await (const line of (await load())(values)) console.log(JSON.stringify(line));
    } catch (error) {
      console.log(JSON.stringify({ bench: name, error: explain(error) }));
      process.exitCode = 1;
    }
  }
}
