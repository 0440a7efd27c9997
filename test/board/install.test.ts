import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import * as assert from "uvu/assert";
import { packagesOf, writeTree } from "../../scripts/tree.ts";
import { checkout } from "../lib/machine.ts";
import { suite } from "../lib/suite.ts";
import { quickFolder } from "../lib/world.ts";

const run = promisify(execFile);
const installer = join(checkout, "scripts/install-board");
const call = async (...args: string[]) =>
  await run(installer, args).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error) => error as { code: number; stdout: string; stderr: string },
  );

suite("board/install", (test) => {
  test("packages that only people who build or test need stay out", () => {
    const packages = {
      ...{ "": {}, "node_modules/yaml": {}, "node_modules/uvu": { dev: true }, native: {} },
      ...{ "node_modules/v4l2-camera": { link: true }, "node_modules/@types/node": {} },
    };
    assert.equal(packagesOf({ packages }), ["node_modules/yaml"]);
  });

  test(
    "what is installed runs by itself, and holds no test, no phone and no compiler",
    async () => {
      await using folder = await quickFolder();
      const tree = join(folder.path, "tree");
      await writeTree(tree);
      // Outside the checkout nothing else is found.
      const program = (path: string, ...args: string[]) =>
        run(process.execPath, [join(tree, "dist/src", path), ...args], { cwd: folder.path });
      const picture = join(tree, "models/pictures/astronaut.jpg");
      const { stdout } = await program("device/main.js", "detect", picture);
      assert.match(stdout, "1 person");
      assert.match((await program("relay/main.js", "--print-config")).stdout, "mailboxes:");
      const names = (await readdir(tree, { recursive: true })).filter(
        (name) => !name.startsWith("node_modules/"),
      );
      assert.equal(
        names.filter((name) => /\.ts$|\.map$|\.test\.|src\/phone/.test(name)),
        [],
      );
      const modules = await readdir(join(tree, "node_modules"));
      assert.equal(
        modules.filter((name) => /^(typescript|node-gyp|uvu|@biomejs)$/.test(name)),
        [],
      );
    },
    { deadlineMs: 240_000 },
  );

  test("says each step of an installation and of a removal without taking one", async () => {
    const places = ["/opt/obscura", "/etc/obscura", "/etc/systemd/system/obscura-camera.service"];
    const before = places.map((path) => existsSync(path));
    const install = await call("--dry-run", "--relay", "--country=DE");
    assert.is(install.code, 0, install.stderr);
    for (const step of [
      "iw reg set DE",
      "systemctl enable obscura-relay.service",
      "systemctl enable --now obscura-label.path",
      "sudo obscura-camera label",
    ]) {
      assert.match(install.stderr, step);
    }
    const bare = await call("--dry-run", "--no-label");
    assert.not.match(bare.stderr, "enable --now obscura-label.path");
    assert.match(bare.stderr, "sudo obscura-camera pair");
    const removal = await call("--dry-run", "--uninstall", "--purge");
    assert.is(removal.code, 0, removal.stderr);
    assert.match(removal.stderr, "+ rm -rf /etc/obscura /var/lib/obscura");
    const after = places.map((path) => existsSync(path));
    assert.equal(after, before);
  });

  test("a word that it does not know is misuse", async () => {
    assert.equal((await call("--unistall")).code, 2);
    assert.equal((await call("--purge")).code, 2);
    assert.equal((await call("--country=Germany")).code, 2);
  });

  const refusal = "without systemd it ends before it changed anything, and says what to do";
  if (existsSync("/run/systemd/system") || process.getuid?.() !== 0) {
    test.skip(refusal, "systemd runs here, or this is not root");
  } else {
    test(refusal, async () => {
      const { code, stderr } = await call();
      assert.is(code, 1);
      assert.match(stderr, "systemd does not run here");
      assert.match(stderr, "dist/src/device/main.js run");
      assert.not(existsSync("/opt/obscura"));
    });
  }
});
