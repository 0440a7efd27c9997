import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import * as assert from "uvu/assert";
import { type Aim, line } from "../../scripts/bench/measure.ts";
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
    pixels: { lines: 45 },
    record: { lines: 3 },
    seal: { lines: 2 },
    outbox: { lines: 4 },
    still: { lines: 2, needsModel: true },
    detect: { lines: 6, needsModel: true },
    relay: { lines: 5 },
    memory: { lines: 4, needsModel: true },
    latency: { lines: 4, needsModel: true },
    mqtt: { lines: 2, needsModel: true },
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
        const { aim, met, ...rest } = line;
        for (const text of [line.name, line.unit, line.against]) assert.type(text, "string");
        assert.type(line.value, "number");
        assert.is(met === null, aim === null, JSON.stringify(line));
        if (aim !== null) assert.equal([typeof aim, typeof met], ["number", "boolean"]);
        assert.ok(numbersOf(rest).every(Number.isFinite), JSON.stringify(line));
      }
    };
    if (needsModel && !hasModel) test.skip(name, "the model is not installed: npm run model");
    else test(`${name}: lines with finite numbers`, body, { deadlineMs: 400_000 });
  }

  test("its help names each group", async () => {
    const { code, out } = await bench("--help");
    assert.is(code, 0);
    for (const name of Object.keys(groups)) assert.match(out, new RegExp(`^  ${name} +\\S`, "m"));
  });

  test("an aim is the most or the least, and a line says whether it is met", () => {
    const met = (value: number, aim: Aim) => line("x", "y", { value, unit: "z", aim }).met;
    assert.equal([met(1, { most: 1 }), met(1.1, { most: 1 })], [true, false]);
    assert.equal([met(1, { least: 1 }), met(0.9, { least: 1 })], [true, false]);
    assert.is(met(Number.NaN, { most: 1 }), false);
    assert.is(line("x", "y", { value: 1, unit: "z" }).met, null);
  });

  test("a group that is not there is misuse, and says which there are", async () => {
    const { code, err } = await bench("capture", "nothing");
    assert.is(code, 2);
    assert.match(err, /no group nothing; there are .*capture/);
  });
});
