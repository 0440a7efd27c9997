import { execFile } from "node:child_process";
import { mkdir, readdir, readFile, rename, rm, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import * as assert from "uvu/assert";
import { checkout } from "../lib/machine.ts";
import { suite } from "../lib/suite.ts";
import { quickFolder } from "../lib/world.ts";

const run = promisify(execFile);

/** A board's state and its boot partition. */
async function board() {
  const home = await quickFolder();
  const [from, to] = [join(home.path, "obscura"), join(home.path, "boot")];
  const label = join(from, "camera/label");
  await mkdir(label, { recursive: true });
  await mkdir(to);
  await writeFile(join(to, "config.txt"), "the board's own");
  return {
    ...{ home: home.path, from, to, label },
    async fill(text: string, picture = "a picture") {
      await writeFile(join(label, "pairing.png"), picture);
      await writeFile(join(label, "pairing.txt"), text);
    },
    call: async (...options: string[]) =>
      (await run(join(checkout, "board/label"), [...options, from, to])).stdout,
    read: (name: string) => readFile(join(to, name), "utf8"),
    names: async () => (await readdir(to)).sort(),
    [Symbol.asyncDispose]: () => home[Symbol.asyncDispose](),
  };
}

const both = ["config.txt", "pairing.png", "pairing.txt"];

suite("board/label", (test) => {
  test("what the camera has is on the boot partition, written once, and gone when it is gone", async () => {
    await using at = await board();
    assert.is(await at.call(), "");
    await at.fill("first");
    assert.match(await at.call(), /on .*: pairing.png pairing.txt/);
    assert.equal(await at.names(), both);
    assert.equal(
      [await at.read("pairing.txt"), await at.read("pairing.png")],
      ["first", "a picture"],
    );
    const { ino } = await stat(join(at.to, "pairing.txt"));
    assert.is(await at.call(), "");
    assert.is((await stat(join(at.to, "pairing.txt"))).ino, ino, "nothing is written twice");
    await at.fill("second");
    await at.call();
    assert.equal(
      [await at.read("pairing.txt"), await at.read("pairing.png")],
      ["second", "a picture"],
    );
    // The words are what counts, whatever else is there still.
    await rm(join(at.label, "pairing.txt"));
    assert.match(await at.call(), /not on .* any more/);
    assert.equal(await at.names(), ["config.txt"]);
    await rm(at.label, { recursive: true });
    assert.is(await at.call(), "");
    assert.is(await at.read("config.txt"), "the board's own");
  });

  test("told to remove it removes, and what a power cut left too", async () => {
    await using at = await board();
    await at.fill("first");
    await at.call();
    await writeFile(join(at.to, "pairing.txt.new"), "fir");
    await at.call("--remove");
    assert.equal(await at.names(), ["config.txt"]);
    await writeFile(join(at.to, "pairing.png.new"), "a pict");
    await at.call();
    assert.equal(await at.names(), both);
  });

  test("what is overwritten is not what lay there", async () => {
    await using at = await board();
    await at.fill("first");
    await at.call();
    // Another name for the same bytes shows what becomes of them.
    await run("ln", [join(at.to, "pairing.txt"), join(at.home, "watched")]);
    await at.call("--remove");
    assert.not.match(await readFile(join(at.home, "watched"), "latin1"), "first");
  });

  test("a link of the camera's user leads to nothing of root's", async () => {
    await using at = await board();
    const secret = join(at.home, "secret");
    await mkdir(secret);
    for (const name of ["pairing.png", "pairing.txt"])
      await writeFile(join(secret, name), "root's");
    await at.fill("first");
    for (const name of ["pairing.png", "pairing.txt"]) {
      await rm(join(at.label, name));
      await symlink(join(secret, name), join(at.label, name));
      const failed = await at.call().catch((error) => error);
      assert.match(String(failed.stderr), "symbolic link");
      for (const file of await at.names()) assert.not.match(await at.read(file), "root's");
      await rm(join(at.label, name));
      await at.fill("first");
    }
    await rename(at.label, `${at.label}.before`);
    await symlink(secret, at.label);
    await at.call();
    assert.equal(await at.names(), ["config.txt"]);
  });

  test("more than a label can be is cut", async () => {
    await using at = await board();
    await at.fill("first", "x".repeat(200_000));
    await at.call();
    assert.is((await at.read("pairing.png")).length, 65_536);
  });
});
