import { execFile } from "node:child_process";
import { cp, readFile, symlink, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import * as assert from "uvu/assert";
import { findFaults, importsOf } from "../../scripts/check.ts";
import { suite } from "../lib/suite.ts";
import { temporaryFolder } from "../lib/world.ts";

const root = new URL("../../../", import.meta.url).pathname;

const broken: Record<string, [path: string, text: string, fault: RegExp]> = {
  "a second importer of libsodium": [
    "src/phone/vault.ts",
    'import sodium from "libsodium-wrappers";\n',
    /only protocol\/sealed\/sodium\.ts/,
  ],
  "a second loader of the addon": [
    "src/device/detect/detect.ts",
    'const addon = await import("v4l2-camera");\n',
    /only device\/camera\/v4l2\.ts/,
  ],
  "a reach past a stage's face": [
    "src/device/main.ts",
    'import { a } from "./record/preroll.ts";\n',
    /reaches past record\/record\.ts/,
  ],
  "a file over the limit": ["src/device/long.ts", "\n".repeat(401), /401 lines, at most 400/],
  "a C++ file over the limit": ["native/long.cc", "\n".repeat(301), /301 lines, at most 300/],
  "a file without a noun": ["src/device/utils.ts", "", /named after what it holds/],
  "src that imports a script": [
    "src/device/main.ts",
    'import { a } from "../../scripts/test.ts";\n',
    /src imports scripts\/test\.ts/,
  ],
  "a ring": [
    "src/device/a.ts",
    'import { a } from "./a.ts";\n',
    /ring: src\/device\/a\.ts → src\/device\/a\.ts/,
  ],
  "a base that grew": ["src/base/pure/x.ts", "\n".repeat(1701), /src\/base: 1 files, 1701 lines/],
};

/** Compiles `file` among a copy of the sources, beside an empty module in each protocol half. */
async function compileWith(file: string, text: string): Promise<string> {
  await using folder = await temporaryFolder();
  const at = (name: string) => join(folder.path, name);
  await cp(join(root, "src"), at("src"), { recursive: true });
  await cp(join(root, "tsconfig.base.json"), at("tsconfig.base.json"));
  await symlink(join(root, "node_modules"), at("node_modules"));
  await symlink(join(root, "native"), at("native"));
  await writeFile(at("package.json"), '{"type":"module"}');
  for (const half of ["wire", "sealed"]) {
    await writeFile(at(`src/protocol/${half}/probe.ts`), "export const probe = 1;\n");
  }
  await writeFile(at(file), text);
  const project = join(dirname(at(file)), "tsconfig.json");
  const { include: _, ...config } = JSON.parse(await readFile(project, "utf8"));
  await writeFile(project, JSON.stringify({ ...config, files: [basename(file)] }));
  const tsc = join(root, "node_modules/.bin/tsc");
  return await new Promise((resolve) => {
    execFile(tsc, ["-b", project], (_, stdout) => resolve(stdout));
  });
}

suite("scripts/check", (test) => {
  for (const [title, [path, text, fault]] of Object.entries(broken)) {
    test(`names ${title}`, () => {
      const faults = findFaults([{ path, text }]);
      assert.ok(
        faults.some((line) => fault.test(line)),
        faults.join("\n"),
      );
    });
  }

  test("finds each form of import", () => {
    const text = `import a from "a";\nimport type { b } from "./b.ts";\nexport { c } from "../c.ts";
import {\n  d,\n} from "./d.ts";\nimport "e";\nconst f = await import("./f.ts");\n`;
    assert.equal(importsOf({ path: "src/x/y.ts", text }), [
      "a",
      "src/x/b.ts",
      "src/c.ts",
      "src/x/d.ts",
      "e",
      "src/x/f.ts",
    ]);
  });

  const importing = (half: string) =>
    `import { probe } from "../protocol/${half}/probe.ts";\nconsole.log(probe);\n`;

  test(
    "a relay that imports protocol/sealed does not compile, one that imports wire does",
    async () => {
      assert.match(await compileWith("src/relay/blind.ts", importing("sealed")), /TS6307/);
      assert.is(await compileWith("src/relay/blind.ts", importing("wire")), "");
    },
    { deadlineMs: 600_000 },
  );

  test(
    "a wire format that names the process does not compile",
    async () => {
      const text = "export const home = process.env.HOME;\n";
      assert.match(await compileWith("src/protocol/wire/blind.ts", text), /blind\.ts.*process/);
    },
    { deadlineMs: 600_000 },
  );
});
