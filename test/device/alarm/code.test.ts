import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { type Failure, isFailure } from "../../../src/base/pure/failure.ts";
import {
  createLock,
  isNumeric,
  isSameCode,
  readCode,
  waitAfter,
} from "../../../src/device/alarm/code.ts";
import { suite } from "../../lib/suite.ts";
import { temporaryFolder } from "../../lib/world.ts";

suite("device/alarm/code", (test) => {
  test("a file of one line, that only its owner may read", async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, "code");
    const of = async (bytes: string | Uint8Array) => {
      await writeFile(file, bytes, { mode: 0o600 });
      return await readCode(file).catch((error: Failure) => {
        assert.ok(isFailure(error, "misuse"), String(error));
        return `refused: ${error.message}`;
      });
    };
    for (const [bytes, code] of [
      ["0815", "0815"],
      ["0815\n", "0815"],
      ["0815\r\n", "0815"],
      ["\uFEFF0815\r\n", "0815"],
      ["Öffne-dich!", "Öffne-dich!"],
      ["x".repeat(32), "x".repeat(32)],
    ] as const) {
      assert.is(await of(bytes), code);
    }
    const wrong = [
      "",
      "\n",
      "123",
      "x".repeat(33),
      "08 15",
      "0815\n4711",
      "0815\n\n",
      "08\u000015",
    ];
    for (const bytes of [...wrong, Uint8Array.of(0xff, 0xff, 0xff, 0xff)]) {
      const told = await of(bytes);
      assert.match(
        told,
        /refused: .*should hold one line: a code of 4 to 32 characters, and no spaces/,
      );
      if (bytes.length > 3 && typeof bytes === "string") assert.not(told.includes(bytes));
    }
    await writeFile(file, "0815");
    for (const mode of [0o640, 0o604, 0o666, 0o610]) {
      await chmod(file, mode);
      const error = await readCode(file).catch((one) => one);
      assert.ok(isFailure(error, "denied"), mode.toString(8));
      assert.not(String(error).includes("0815"));
    }
    assert.ok(isFailure(await readCode(join(folder.path, "none")).catch((e) => e), "absent"));
  });

  test("only the same is the same, of whatever length", () => {
    assert.ok(isSameCode("0815", "0815"));
    for (const other of ["", "0", "0816", "08150", "815", "0815 ", "0815\n"]) {
      assert.not(isSameCode(other, "0815"), JSON.stringify(other));
    }
    assert.ok(isNumeric("0815") && !isNumeric("08a5") && !isNumeric("٠٨١٥"));
  });

  test("two wrong codes cost nothing, then it is waited, twice as long each time up to 15 minutes", () => {
    const seconds = Array.from({ length: 12 }, (_, i) => waitAfter(i) / 1000);
    assert.equal(seconds, [0, 0, 0, 10, 20, 40, 80, 160, 320, 640, 900, 900]);
    assert.is(waitAfter(1_000_000), 900_000);
  });

  test("the lock: waits after the third, counts on after the wait, forgets with the right one", () => {
    const lock = createLock(0, 0);
    for (let i = 0; i < 3; i++) {
      assert.is(lock.remainingMs(0), 0);
      lock.wrong(0);
    }
    assert.is(lock.remainingMs(0), 10_000);
    assert.is(lock.remainingMs(9_999_000), 1);
    assert.is(lock.remainingMs(10_000_000), 0);
    lock.wrong(10_000_000);
    assert.is(lock.remainingMs(10_000_000), 20_000);
    // A new start forgets neither the count nor the wait.
    assert.is(createLock(lock.failures, 5).remainingMs(5), 20_000);
    lock.right();
    assert.equal([lock.failures, lock.remainingMs(10_000_000)], [0, 0]);
  });

  test("guessing four digits takes longer than a burglary: a hundred tries a day", () => {
    let [nowMs, tries] = [0, 0];
    const lock = createLock(0, 0);
    while (nowMs < 86_400_000) {
      lock.wrong(nowMs * 1000);
      tries += 1;
      nowMs += Math.max(1, lock.remainingMs(nowMs * 1000));
    }
    assert.ok(tries < 110, `${tries} tries`);
  });
});
