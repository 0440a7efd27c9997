import { mkdir, readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { forgetAlarm, openKeep, parseNotes, printNotes } from "../../../src/device/alarm/keep.ts";
import type { Kept } from "../../../src/device/alarm/machine.ts";
import { suite } from "../../lib/suite.ts";
import { temporaryFolder } from "../../lib/world.ts";

const all: Kept[] = [
  { kind: "disarmed" },
  { kind: "arming", mode: "home", isAgain: false },
  { kind: "arming", mode: "away", isAgain: true },
  { kind: "armed", mode: "home" },
  { kind: "pending", mode: "away", isAgain: true },
  { kind: "triggered", mode: "home", isAgain: false },
  { kind: "triggered", mode: undefined, isAgain: true },
];

suite("device/alarm/keep", (test) => {
  test("each state is read back as it was", () => {
    for (const kept of all) {
      for (const failures of [0, 7]) {
        const text = printNotes({ kept, failures });
        assert.equal(parseNotes(Buffer.from(text)), { kept, failures }, text);
      }
    }
    assert.is(
      parseNotes(Buffer.from(printNotes({ kept: all[0] as Kept, failures: 1e9 })))?.failures,
      1e6,
    );
  });

  test("what this program did not write is not believed", () => {
    const good = printNotes({ kept: { kind: "armed", mode: "away" }, failures: 0 });
    for (const text of [
      ...["", "{}", "null", good.slice(0, -1), good.replace("away", "hall")],
      ...[good.replace("armed", "howling"), good.replace('"version":1', '"version":2')],
      ...[
        good.replace('"mode":"away",', ""),
        good.replace(":0", ":-1"),
        `${good}${" ".repeat(2000)}`,
      ],
    ]) {
      assert.is(parseNotes(Buffer.from(text)), undefined, text);
    }
  });

  test("the folder: written when it changes, for its owner only, forgotten when it is off", async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, "alarm");
    {
      const keep = await openKeep(path, { isReadOnly: false });
      assert.equal([keep.before, keep.isSpoilt], [undefined, false]);
      await keep.write({ kept: { kind: "armed", mode: "away" }, failures: 2 });
      const { mode, ino } = await stat(join(path, "state"));
      assert.is(mode & 0o077, 0);
      await keep.write({ kept: { kind: "armed", mode: "away" }, failures: 2 });
      assert.is((await stat(join(path, "state"))).ino, ino, "the same is not written again");
      await keep.close();
    }
    {
      const keep = await openKeep(path, { isReadOnly: true });
      assert.equal(keep.before, { kept: { kind: "armed", mode: "away" }, failures: 2 });
      await keep.write({ kept: { kind: "disarmed" }, failures: 0 });
      await keep.close();
    }
    await writeFile(join(path, "state"), "armed, honestly");
    {
      const keep = await openKeep(path, { isReadOnly: false });
      assert.equal([keep.before, keep.isSpoilt], [undefined, true]);
      await keep.close();
    }
    await forgetAlarm(path);
    assert.equal(
      (await readdir(path)).filter((name) => name === "state"),
      [],
    );
    await forgetAlarm(join(folder.path, "none"));
    // Also what cannot be read at all is no reason not to start, on a card that failed.
    await mkdir(join(path, "state"));
    const keep = await openKeep(path, { isReadOnly: true });
    assert.is(keep.before, undefined);
  });
});
