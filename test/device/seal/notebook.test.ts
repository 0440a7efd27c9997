import * as assert from "uvu/assert";
import { fromText, toText } from "../../../src/base/pure/bytes.ts";
import { type Notebook, readNotebook, writeNotebook } from "../../../src/device/seal/notebook.ts";
import { suite } from "../../lib/suite.ts";

const notebook: Notebook = {
  ...{ incarnation: 2, epoch: 3, head: undefined, elapsedMs: 4, spent: {}, open: [] },
  ...{ announced: 1, receiving: "", days: [{ day: 5, orderMs: 6 }] },
};

/** What is read of a notebook whose text was changed. */
async function reread(change: (text: string) => string): Promise<Notebook | undefined> {
  let kept: Uint8Array = new Uint8Array();
  const folder = {
    read: async () => kept,
    write: async (_: string, bytes: Uint8Array) => {
      kept = fromText(change(toText(bytes)));
    },
  };
  await writeNotebook(folder, notebook);
  return await readNotebook(folder);
}

suite("notebook", (test) => {
  test("it is read as it was written; one from before clips went with age too", async () => {
    assert.equal((await reread((text) => text))?.days, notebook.days);
    const older = await reread((text) => text.replace(/,\s*"days": \[[^\]]*\]/, ""));
    assert.is(older?.days, undefined);
    assert.is(older?.epoch, 3);
  });

  test("days that are none make it a damaged one, which counts as none", async () => {
    for (const days of [
      "5",
      '[{"day":-1,"orderMs":6}]',
      '[{"day":5}]',
      "[null]",
      '[{"day":5,"orderMs":1e99}]',
    ]) {
      assert.is(
        await reread((text) => text.replace(/\[\s*{\s*"day"[^\]]*\]/, days)),
        undefined,
        days,
      );
    }
  });
});
