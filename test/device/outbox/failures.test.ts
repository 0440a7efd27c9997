import { execFile } from "node:child_process";
import { chmod, chown, readFile, stat, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import * as assert from "uvu/assert";
import {
  countStorageFailure,
  storageFailures,
  storageFailuresFile,
} from "../../../src/device/outbox/outbox.ts";
import { suite } from "../../lib/suite.ts";
import { quickFolder } from "../../lib/world.ts";

suite("outbox/failures", (test) => {
  test("storage failures are counted where a broken card is not needed", async () => {
    await using home = await quickFolder();
    const file = join(home.path, "storage-failures");
    assert.is(storageFailures(file), 0);
    countStorageFailure(file);
    countStorageFailure(file);
    assert.is(storageFailures(file), 2);
    await writeFile(file, "rubbish, more of it than a number has");
    assert.is(storageFailures(file), 0);
    countStorageFailure(file);
    assert.is(storageFailures(file), 1);
    assert.is((await stat(file)).mode & 0o777, 0o600);
  });

  test("a count that another user could have put there is neither read nor written", async () => {
    await using home = await quickFolder();
    const at = (name: string) => join(home.path, name);
    await writeFile(at("target"), "2");
    await symlink(at("target"), at("link"));
    await promisify(execFile)("mkfifo", [at("pipe")]);
    for (const file of [at("link"), at("pipe"), home.path, undefined]) {
      assert.is(storageFailures(file), 0);
      countStorageFailure(file);
      assert.is(storageFailures(file), 0);
    }
    assert.is(await readFile(at("target"), "utf8"), "2");
    if (process.getuid?.() === 0) {
      await chown(at("target"), 65534, 65534);
      assert.is(storageFailures(at("target")), 0);
    }

    const { RUNTIME_DIRECTORY, XDG_RUNTIME_DIR } = process.env;
    try {
      process.env.RUNTIME_DIRECTORY = `${at("run")}:${at("other")}`;
      delete process.env.XDG_RUNTIME_DIR;
      const own = storageFailuresFile("state") ?? "";
      assert.ok(own.startsWith(`${at("run")}/`), own);
      assert.is((await stat(at("run"))).mode & 0o777, 0o700);
      // Open to others, or a link to where others may write: the next best is taken.
      await chmod(at("run"), 0o777);
      await symlink("/tmp", at("lure"));
      for (const lure of [at("run"), at("lure")]) {
        process.env.RUNTIME_DIRECTORY = lure;
        const file = storageFailuresFile("state") ?? "";
        assert.ok(file.startsWith(`/dev/shm/obscura-${process.getuid?.()}/`), file);
        const { mode, uid } = await stat(dirname(file));
        assert.equal([mode & 0o777, uid], [0o700, process.getuid?.()]);
      }
    } finally {
      if (RUNTIME_DIRECTORY === undefined) delete process.env.RUNTIME_DIRECTORY;
      else process.env.RUNTIME_DIRECTORY = RUNTIME_DIRECTORY;
      if (XDG_RUNTIME_DIR !== undefined) process.env.XDG_RUNTIME_DIR = XDG_RUNTIME_DIR;
    }
  });
});
