import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import * as assert from "uvu/assert";
import { suite } from "../lib/suite.ts";

const program = new URL("../../scripts/bench.js", import.meta.url).pathname;
const hasModel = existsSync(
  new URL("../../../models/nanodet-g-fp32.onnx", import.meta.url).pathname,
);

async function bench(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const child = spawn(process.execPath, [program, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let [out, err] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    err += text;
  });
  const [code] = await once(child, "close");
  return { code, out, err };
}

/** Every number in a line, however deep. */
function numbersOf(value: unknown): number[] {
  if (typeof value === "number") return [value];
  // JSON has no NaN: it writes null where a number was not one.
  if (value === null) return [Number.NaN];
  return typeof value === "object" ? Object.values(value).flatMap(numbersOf) : [];
}

suite("bench", (test) => {
  const groups: Record<string, { lines: number; needsModel?: true }> = {
    capture: { lines: 2 },
    outbox: { lines: 4 },
    memory: { lines: 4, needsModel: true },
    latency: { lines: 4, needsModel: true },
  };
  for (const [name, { lines, needsModel }] of Object.entries(groups)) {
    const body = async () => {
      const { code, out, err } = await bench("--quick", name);
      assert.is(code, 0, out + err);
      const found = out
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line));
      assert.is(found.length, lines, out);
      for (const line of found) {
        assert.is(line.bench, name);
        if (line.skipped) continue;
        assert.ok(Number.isFinite(line.ratio ?? line.value), JSON.stringify(line));
        assert.type(line.against, "string");
        assert.type(line.unit, "string");
        assert.ok(numbersOf(line).every(Number.isFinite), JSON.stringify(line));
      }
    };
    if (needsModel && !hasModel) test.skip(name, "the model is not installed: npm run model");
    else test(`${name}: lines with finite numbers`, body, { deadlineMs: 180_000 });
  }

  test("a group that is not there is misuse, and says which there are", async () => {
    const { code, err } = await bench("capture", "nothing");
    assert.is(code, 2);
    assert.match(err, /no group nothing; there are .*capture/);
  });
});
