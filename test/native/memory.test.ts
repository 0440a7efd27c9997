import { execFile } from "node:child_process";
import { promisify } from "node:util";
import * as assert from "uvu/assert";
import { suite } from "../lib/suite.ts";

const root = new URL("../../../", import.meta.url).pathname;
const addon = `${root}native/build/Release/v4l2_camera.node`;

/** Holds 40 MB in buffers that glibc would not map, frees nine of ten, and prints MB: held, left. */
const program = `
const [addon, when] = process.argv.slice(1);
const { trim } = require(addon);
const mb = () => process.memoryUsage.rss() / 1e6;
if (when === "before") trim();
const before = mb();
let all = Array.from({ length: 400 }, () => new Uint8Array(100_000).fill(1));
const held = mb() - before;
all = all.filter((_, i) => i % 10 === 0);
const tell = (triesLeft) => {
  gc();
  if (when === "after") trim();
  const left = mb() - before;
  // Freed on a thread of V8's, in its own time.
  if (left > held / 2 && triesLeft > 0) setTimeout(tell, 100, triesLeft - 1);
  else console.log(JSON.stringify([held, left, all.length]));
};
tell(100);
`;

async function shareLeft(when: "before" | "after"): Promise<number> {
  const args = ["--expose-gc", "-e", program, addon, when];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  const [held = 0, left = 0] = JSON.parse(stdout) as number[];
  assert.ok(held > 30, `${held} MB of 40 were held`);
  return left / held;
}

suite("memory", (test) => {
  test("what lies free between two buffers goes back to the system", async () => {
    assert.ok((await shareLeft("before")) < 0.5, "freed after the call");
    assert.ok((await shareLeft("after")) < 0.5, "freed before the call");
  });
});
