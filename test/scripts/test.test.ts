import { execFile } from "node:child_process";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import * as assert from "uvu/assert";
import { processors } from "../../scripts/test.ts";
import { suite } from "../lib/suite.ts";
import { temporaryFolder } from "../lib/world.ts";

const root = new URL("../../../", import.meta.url).pathname;
const uvu = join(root, "node_modules/uvu/dist/index.mjs");
const suiteModule = join(root, "dist/test/lib/suite.js");

/** Runs the real runner over files with the given bodies. */
async function run(
  files: Record<string, string>,
  more: string[] = [],
): Promise<{ code: number; output: string }> {
  await using folder = await temporaryFolder();
  for (const [name, body] of Object.entries(files)) {
    const path = join(folder.path, name.includes("/") ? "" : "sub", `${name}.test.js`);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, body);
  }
  await writeFile(join(folder.path, "package.json"), '{"type":"module"}');
  return await new Promise((resolve) => {
    const args = [join(root, "dist/scripts/test.js"), "--root", folder.path, ...more];
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
    const { output } = await run({ bad: body, good }, ["--once"]);
    assert.is(output.match(/"the lamp"/g)?.length, 2, output);
    assert.match(output, /^FAILED sub\/bad\.test\.js: .*\n {3}FAIL .*"the lamp"\n.*is dark$/m);
  });

  test("tries again, alone, what failed, and names what passes only then", async () => {
    const tries = (file: string) => `
      import { appendFileSync, readFileSync } from "node:fs";
      appendFileSync(${file}, "x");
      const tries = readFileSync(${file}, "utf8").length;`;
    const own = "import.meta.filename + '.tries'";
    const unsteady = `${tries(own)} ${wrapped('test("the lamp", () => { if (tries < 2) throw new Error("is dark"); });')}`;
    const first = await run({ unsteady, good });
    assert.is(first.code, 0, first.output);
    assert.match(first.output, /^FAILED sub\/unsteady\.test\.js: 0 passed/m);
    assert.match(
      first.output,
      /^UNSTEADY sub\/unsteady\.test\.js: exit 1, and .*\n {3}FAIL .*"the lamp"\n.*is dark$/m,
    );
    assert.match(first.output, /^2 passed, 0 failed, 0 skipped, 1 unsteady$/m);

    const strict = await run({ unsteady, good }, ["--once"]);
    assert.is(strict.code, 1, strict.output);
    assert.match(strict.output, /^1 passed, 1 failed, 0 skipped$/m);

    const twice = `${tries(own)} ${wrapped('test("a", () => { throw new Error("try " + tries); });')}`;
    const bad = await run({ twice, good });
    assert.is(bad.code, 1, bad.output);
    assert.match(bad.output, /^FAILED sub\/twice\.test\.js: exit 1\n.*\n.*try 2$/m);
    assert.match(bad.output, /^1 passed, 1 failed, 0 skipped$/m);

    const four = await run({ a: unsteady, b: unsteady, c: unsteady, d: unsteady, good });
    assert.is(four.code, 1, four.output);
    assert.match(four.output, /^1 passed, 4 failed, 0 skipped$/m);
  });

  test("fails soon when a test leaves something open that holds the file", async () => {
    const held = wrapped('test("a", () => void setInterval(() => {}, 1000));');
    const { code, output } = await run({ held, good }, ["--once"]);
    assert.is(code, 1, output);
    assert.match(output, /^FAILED sub\/held\.test\.js: killed by SIGKILL$/m);
    assert.match(output, /^2 passed, 1 failed, 0 skipped$/m);
  });

  test(
    "fails soon when a program that a test started outlives it",
    async () => {
      await using folder = await temporaryFolder();
      const note = join(folder.path, "pid");
      const left = `import { spawn } from "node:child_process";
        import { writeFileSync } from "node:fs";
        ${wrapped(`test("a", () => {
          const child = spawn("sleep", ["600"], { detached: true, stdio: "inherit" });
          writeFileSync(${JSON.stringify(note)}, String(child.pid));
          child.unref();
        });`)}`;
      const { code, output } = await run({ left, good }, ["--once"]);
      process.kill(Number(await readFile(note, "utf8")), "SIGKILL");
      assert.is(code, 1, output);
      assert.match(output, /^FAILED sub\/left\.test\.js: exit 0, and a program .* left behind$/m);
      assert.match(output, /^2 passed, 1 failed, 0 skipped$/m);
    },
    { deadlineMs: 400_000 },
  );

  test("runs guests one by one beside the others, off whose processors they are, and the whole last", async () => {
    await using notes = await temporaryFolder();
    /** Ends when all of these have begun, or too late. */
    const meeting = (name: string, others: readonly string[]) =>
      `import { appendFileSync, readFileSync } from "node:fs";
      import { processors } from "${join(root, "dist/scripts/test.js")}";
      const file = ${JSON.stringify(join(notes.path, "order"))};
      const note = (what) => appendFileSync(file, \`\${what} ${name} \${processors()}\\n\`);
      const met = () => ${JSON.stringify(others)}.every((one) =>
        readFileSync(file, "utf8").includes(\`begins \${one} \`));
      ${wrapped(`test("a", async () => {
        note("begins");
        for (let i = 0; i < 1000 && !met(); i++) await new Promise((r) => setTimeout(r, 100));
        note("ends");
      });`)}`;
    const names = ["system/a", "system/b", "c", "d", "whole/e"];
    // Whichever of the guests is the last, the others have all begun by then.
    const beside = ["c", "d"];
    const files = Object.fromEntries(
      names.map((name) => [name, meeting(name, name.startsWith("system/") ? beside : [])]),
    );
    const { output } = await run(files, ["--jobs", "2"]);
    const lines = (await readFile(join(notes.path, "order"), "utf8")).trim().split("\n");
    const at = (what: string, name: string) => {
      const found = lines.findIndex((line) => line.startsWith(`${what} ${name} `));
      assert.ok(found >= 0, `${what} ${name}: ${output}`);
      return found;
    };
    assert.ok(at("ends", "system/a") < at("begins", "system/b"), "one guest after the other");
    for (const name of beside)
      assert.ok(at("begins", name) < at("ends", "system/a"), "the others beside them");
    for (const name of names.slice(0, -1))
      assert.ok(at("ends", name) < at("begins", "whole/e"), "the whole at the end");
    const all = processors();
    if (all.length < 2) return;
    const placeOf = (name: string) => lines[at("begins", name)]?.split(" ").at(-1);
    assert.is(placeOf("c"), all.slice(0, -1).join(","));
    assert.is(placeOf("whole/e"), all.join(","));
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
      skipping: wrapped(
        'test("a", () => {}); test.skip("b", "no camera");' +
          'test("c", () => { throw new Error("run"); }, { skip: "no lens" });' +
          'test("d", () => {}, { skip: undefined });',
      ),
    });
    assert.is(code, 0, output);
    assert.match(output, /skipped: x: b: no camera/);
    assert.match(output, /skipped: x: c: no lens/);
    assert.match(output, /^3 passed, 0 failed, 2 skipped$/m);
  });
});
