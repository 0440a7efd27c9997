import { spawn } from "node:child_process";
import { link, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { type Fault, openDurable, type Step } from "../../../src/base/node/durable.ts";
import { fromText, toText } from "../../../src/base/pure/bytes.ts";
import { isFailure } from "../../../src/base/pure/failure.ts";
import { suite } from "../../lib/suite.ts";
import { temporaryFolder } from "../../lib/world.ts";

const errno = (code: string) => Object.assign(new Error(code), { code });

/** Makes one step fail, once, with or without its effect. */
function failAt(step: Step, applied: boolean, code = "EIO"): Fault {
  let isDone = false;
  return (now) => {
    if (isDone || now !== step) return undefined;
    isDone = true;
    return { applied, error: errno(code) };
  };
}

const failureOf = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (e: unknown) => e,
  );

suite("durable", (test) => {
  test("a file is there, whole, and nobody else may read it", async () => {
    await using home = await temporaryFolder();
    const path = join(home.path, "a/b");
    const folder = await openDurable(path);
    await folder.write("x", fromText("one"));
    await folder.write("x", fromText("two"));
    await folder.write("empty", new Uint8Array());
    await folder.close();
    assert.is(await readFile(join(path, "x"), "utf8"), "two");
    assert.equal(await readdir(path), ["empty", "x"]);
    assert.is((await stat(path)).mode & 0o777, 0o700);
    assert.is((await stat(join(path, "x"))).mode & 0o777, 0o600);
  });

  test("where no folder can be made it says so, and does not try for ever", async () => {
    await using home = await temporaryFolder();
    const file = join(home.path, "file");
    await writeFile(file, "");
    for (const path of [file, join(file, "x"), "/proc/x", "/proc/x/y"]) {
      const failure = await failureOf(openDurable(path));
      assert.ok(isFailure(failure, "absent"), `${path}: ${failure}`);
    }
  });

  test("the steps of a write are the ones that make it durable, in their order", async () => {
    await using home = await temporaryFolder();
    const steps: string[] = [];
    const folder = await openDurable(home.path, {
      fault: (step, name) => {
        steps.push(`${step} ${name}`);
        return undefined;
      },
    });
    await folder.write("x", fromText("one"));
    await folder.remove(["x", "y"]);
    await folder.close();
    assert.equal(steps, [
      ...["create x", "write x", "fsync x", "rename x", "fsync-folder x"],
      ...["unlink x", "unlink y", "fsync-folder x"],
    ]);
  });

  test("writes side by side are done one after the other", async () => {
    await using home = await temporaryFolder();
    const steps: string[] = [];
    const folder = await openDurable(home.path, {
      fault: (_, name) => {
        steps.push(name);
        return undefined;
      },
    });
    await Promise.all(["a", "b", "c"].map((name) => folder.write(name, fromText(name))));
    await folder.close();
    assert.equal(steps.join(""), "aaaaabbbbbccccc");
  });

  const steps: Step[] = ["create", "write", "fsync", "rename", "fsync-folder"];
  for (const step of steps) {
    for (const applied of [false, true]) {
      const what = applied ? "and was done" : "and was not done";
      test(`${step} failed ${what}: the old file or the new one, never half`, async () => {
        await using home = await temporaryFolder();
        const before = await openDurable(home.path);
        await before.write("x", fromText("old"));
        await before.close();
        const folder = await openDurable(home.path, { fault: failAt(step, applied) });
        const failure = await failureOf(folder.write("x", fromText("new")));
        assert.ok(isFailure(failure, "gone"));
        assert.is(failure.errno, "EIO");
        // Nobody knows what lies on the medium: everything after says the same.
        assert.is(await failureOf(folder.write("y", fromText("more"))), failure);
        assert.is(await failureOf(folder.remove(["x"])), failure);
        await folder.close();
        const after = await openDurable(home.path);
        const isNew = step === "fsync-folder" || (step === "rename" && applied);
        assert.is(toText(await after.read("x")), isNew ? "new" : "old");
        assert.equal(await readdir(home.path), ["x"]);
        await after.close();
      });
    }
  }

  test("no room: nothing was written, nothing lies about, and the next may try", async () => {
    for (const step of ["create", "write", "rename"] as const) {
      await using home = await temporaryFolder();
      const folder = await openDurable(home.path, { fault: failAt(step, false, "ENOSPC") });
      assert.ok(isFailure(await failureOf(folder.write("x", fromText("a"))), "full"), step);
      assert.equal(await readdir(home.path), []);
      await folder.write("x", fromText("b"));
      assert.is(toText(await folder.read("x")), "b");
      await folder.close();
    }
  });

  test("no room at an fsync is storage that failed: it is not tried again", async () => {
    await using home = await temporaryFolder();
    const folder = await openDurable(home.path, { fault: failAt("fsync", true, "ENOSPC") });
    assert.ok(isFailure(await failureOf(folder.write("x", fromText("a"))), "gone"));
    assert.ok(isFailure(await failureOf(folder.write("x", fromText("a"))), "gone"));
    await folder.close();
  });

  test("unfinished files go at the start and are never listed", async () => {
    await using home = await temporaryFolder();
    await writeFile(join(home.path, ".unfinished-x"), "half");
    await writeFile(join(home.path, "y"), "whole");
    const folder = await openDurable(home.path);
    assert.equal(await folder.list(), ["y"]);
    assert.equal(await readdir(home.path), ["y"]);
    await folder.close();
  });

  test("a second one is refused before it touches a draft of the first", async () => {
    await using home = await temporaryFolder();
    const seen: unknown[] = [];
    const folder = await openDurable(home.path);
    await writeFile(join(home.path, ".unfinished-x"), "being written");
    seen.push(await failureOf(openDurable(home.path)));
    const detour = `${home.path}/../${home.path.split("/").at(-1)}`;
    seen.push(await failureOf(openDurable(detour)));
    for (const failure of seen) assert.ok(isFailure(failure, "busy"));
    assert.equal(await readdir(home.path), [".unfinished-x"]);
    await folder.close();
    await (await openDurable(home.path)).close();
    assert.equal(await readdir(home.path), []);
  });

  test("the lock goes with whoever held it, however it ended", async () => {
    await using home = await temporaryFolder();
    const module = new URL("../../../src/base/node/durable.js", import.meta.url).href;
    const script = `
      const { openDurable } = await import(${JSON.stringify(module)});
      await openDurable(${JSON.stringify(home.path)});
      console.log("held");
      setInterval(() => {}, 1000);`;
    const holder = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await new Promise((resolve) => holder.stdout.once("data", resolve));
    assert.ok(isFailure(await failureOf(openDurable(home.path)), "busy"));
    holder.kill("SIGKILL");
    await new Promise((resolve) => holder.once("close", resolve));
    await (await openDurable(home.path)).close();
  });

  test("a folder that cannot be opened keeps no lock", async () => {
    await using home = await temporaryFolder();
    await writeFile(join(home.path, ".unfinished-x"), "");
    const path = home.path;
    assert.ok(isFailure(await failureOf(openDurable(path, { fault: failAt("unlink", false) }))));
    await (await openDurable(path)).close();
  });

  test("what is shredded is written over where it lay", async () => {
    await using home = await temporaryFolder();
    const folder = await openDurable(home.path);
    await folder.write("x", fromText("a secret"), { shred: true });
    // Whoever reads the medium sees the old bytes by another way than their name.
    await link(join(home.path, "x"), join(home.path, "old"));
    await folder.write("x", fromText("another"), { shred: true });
    assert.is(toText(await folder.read("x")), "another");
    const old = await readFile(join(home.path, "old"));
    assert.is(old.length, 8);
    assert.is.not(old.toString(), "a secret");
    await folder.close();
  });

  test("a time that is asked for is the file's", async () => {
    await using home = await temporaryFolder();
    const folder = await openDurable(home.path);
    await folder.write("x", fromText("a"), { modifiedMs: 1_234_567 });
    await folder.close();
    assert.is(Math.round((await stat(join(home.path, "x"))).mtimeMs), 1_234_567);
  });

  test("what is not there is absent", async () => {
    await using home = await temporaryFolder();
    const folder = await openDurable(home.path);
    assert.ok(isFailure(await failureOf(folder.read("x")), "absent"));
    await folder.remove(["x"]);
    await folder.close();
  });
});
