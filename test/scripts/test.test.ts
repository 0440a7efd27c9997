import { execFile } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { suite } from "../lib/suite.ts";
import { temporaryFolder } from "../lib/world.ts";

const root = new URL("../../../", import.meta.url).pathname;
const uvu = join(root, "node_modules/uvu/dist/index.mjs");
const suiteModule = join(root, "dist/test/lib/suite.js");

/** Runs the real runner over files with the given bodies. */
async function run(files: Record<string, string>): Promise<{ code: number; output: string }> {
  await using folder = await temporaryFolder();
  await mkdir(join(folder.path, "sub"));
  for (const [name, body] of Object.entries(files)) {
    await writeFile(join(folder.path, "sub", `${name}.test.js`), body);
  }
  await writeFile(join(folder.path, "package.json"), '{"type":"module"}');
  return await new Promise((resolve) => {
    const args = [join(root, "dist/scripts/test.js"), "--root", folder.path];
    execFile(process.execPath, args, (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code) : 0, output: stdout + stderr });
    });
  });
}

const plain = (body: string) =>
  `import { suite } from "${uvu}"; const test = suite("x"); ${body}\n`;
const wrapped = (body: string) =>
  `import { suite } from "${suiteModule}"; suite("x", (test) => { ${body} });\n`;
const good = wrapped('test("good", () => {});');

const silentGreens: Record<string, string> = {
  "a before hook throws": plain(
    'test.before(() => { throw new Error("no"); }); test("a", () => {}); test.run();',
  ),
  "an after.each hook throws after a failing test": plain(
    'test.after.each(() => { throw new Error("no"); }); test("a", () => { throw new Error("bad"); }); test("b", () => {}); test.run();',
  ),
  "run is forgotten": plain('test("a", () => { throw new Error("bad"); });'),
  "a suite is empty": plain("test.run();"),
  "the file leaves in the middle with 0": wrapped('test("a", () => process.exit(0));'),
  "a test fails": wrapped('test("a", () => { throw new Error("bad"); });'),
  "a test never settles": wrapped('test("a", () => new Promise(() => {}), { deadlineMs: 50 });'),
  "the file cannot be loaded": "import './not-there.js';\n",
};

suite("scripts/test", (test) => {
  for (const [title, body] of Object.entries(silentGreens)) {
    test(`fails when ${title}`, async () => {
      const { code, output } = await run({ bad: body, good });
      assert.is(code, 1, output);
      assert.match(output, /^FAILED sub\/bad\.test\.js/m);
      assert.match(output, /^1 passed, [1-9]\d* failed, 0 skipped$/m);
    });
  }

  test("tells what failed at once, and its title again at the end", async () => {
    const body = wrapped('test("the lamp", () => { throw new Error("is dark"); });');
    const { output } = await run({ bad: body, good });
    assert.is(output.match(/"the lamp"/g)?.length, 2, output);
    assert.match(output, /^FAILED sub\/bad\.test\.js: .*\n {3}FAIL .*"the lamp"\n.*is dark$/m);
  });

  test("fails soon when a test leaves something open that holds the file", async () => {
    const held = wrapped('test("a", () => void setInterval(() => {}, 1000));');
    const { code, output } = await run({ held, good });
    assert.is(code, 1, output);
    assert.match(output, /^FAILED sub\/held\.test\.js: killed by SIGKILL$/m);
    assert.match(output, /^2 passed, 1 failed, 0 skipped$/m);
  });

  test("fails when no file matches", async () => {
    const { code, output } = await run({});
    assert.is(code, 1);
    assert.match(output, /^no test file matches/m);
    assert.match(output, /^0 passed, 0 failed, 0 skipped$/m);
  });

  test("fails when everything was skipped", async () => {
    const { code, output } = await run({ only: wrapped('test.skip("a", "no camera");') });
    assert.is(code, 1);
    assert.match(output, /^0 passed, 0 failed, 1 skipped$/m);
  });

  test("shows what was measured, also behind the dots of the tests before", async () => {
    const body = `test("a", () => {}); test("b", () => { console.log("measured: b 2 ms"); });
      test("c", () => { console.log("\\nmeasured: c 3 ms"); });`;
    const { code, output } = await run({ measuring: wrapped(body) });
    assert.is(code, 0, output);
    assert.match(output, /^ {2}measured: b 2 ms\n {2}measured: c 3 ms$/m);
  });

  test("counts what passed and what was skipped, and says why", async () => {
    const { code, output } = await run({
      good,
      skipping: wrapped('test("a", () => {}); test.skip("b", "no camera");'),
    });
    assert.is(code, 0, output);
    assert.match(output, /skipped: x: b: no camera/);
    assert.match(output, /^2 passed, 0 failed, 1 skipped$/m);
  });
});
