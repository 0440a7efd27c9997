import { parseArgs } from "node:util";
import { explain } from "../src/base/pure/failure.ts";

const help = `usage: npm run bench [-- NAME...]

Measures each stage against the plain tool that does the same job, both in this run, and prints one
JSON object a line: {"bench", "ratio", ...}. NAME keeps the groups of that name.
`;

type Line = { bench: string; [field: string]: unknown };
type Bench = () => AsyncGenerator<Line>;

const groups: Record<string, () => Promise<Bench>> = {
  still: async () => (await import("./bench/still.ts")).benchStill,
  seal: async () => (await import("./bench/seal.ts")).benchSeal,
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { help: { type: "boolean", short: "h", default: false } },
});
if (values.help) process.stdout.write(`${help}\nGroups: ${Object.keys(groups).join(", ")}\n`);
else {
  for (const [name, load] of Object.entries(groups)) {
    if (positionals.length > 0 && !positionals.includes(name)) continue;
    try {
      for await (const line of (await load())()) console.log(JSON.stringify(line));
    } catch (error) {
      console.log(JSON.stringify({ bench: name, error: explain(error) }));
      process.exitCode = 1;
    }
  }
}
