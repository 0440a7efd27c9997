import * as assert from "uvu/assert";
import { openDurable } from "../../../src/base/node/durable.ts";
import { ManualClock } from "../../../src/base/pure/clock.ts";
import { watchAttempts } from "../../../src/device/pairing/attempts.ts";
import { openWindow } from "../../../src/device/pairing/window.ts";
import type { Statement } from "../../../src/protocol/sealed/body.ts";
import { suite } from "../../lib/suite.ts";
import { quickFolder } from "../../lib/world.ts";

/** A clock that tells when somebody waits by it: what a look was for has then been done. */
class WatchedClock extends ManualClock {
  #waiting: (() => void)[] = [];

  override sleep(ms: number, signal?: AbortSignal): Promise<void> {
    const slept = super.sleep(ms, signal);
    for (const wake of this.#waiting.splice(0)) wake();
    return slept;
  }

  /** Resolves when somebody waits again. */
  rest(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}

async function world() {
  const home = await quickFolder();
  const clock = new WatchedClock();
  const problems: unknown[] = [];
  const notes: Statement[] = [];
  const open: boolean[] = [];
  let nowMs = 0;
  return {
    notes,
    /** Whether one was open at the last look. */
    isOpen: () => open.at(-1),
    pass: (ms: number) => {
      nowMs += ms;
    },
    watch: () =>
      watchAttempts({
        ...{ state: home.path, clock },
        time: { boot: "a", elapsedMs: () => nowMs },
        onWindow: (isOpen) => open.push(isOpen),
        note: async (statement) => void notes.push(statement),
        onProblem: (error) => problems.push(error),
      }),
    /** What was said since the last time, after two looks. */
    async news() {
      for (let i = 0; i < 2; i++) {
        const looked = clock.rest();
        clock.advance(2_000);
        await looked;
      }
      assert.equal(problems, []);
      return notes.splice(0).map((note) => (note.kind === "problem" ? note.text : note.kind));
    },
    async window(elapsedMs: number) {
      const folder = await openDurable(`${home.path}/pairing`);
      const { window } = await openWindow(folder, { boot: "a", elapsedMs: () => elapsedMs });
      await window.listenAt(7);
      return { window, [Symbol.asyncDispose]: () => folder.close() };
    },
    [Symbol.asyncDispose]: () => home[Symbol.asyncDispose](),
  };
}

const opened = "a window for pairing was opened";

suite("attempts", (test) => {
  test("each window, each wrong secret and each end is told once, over a restart", async () => {
    await using at = await world();
    let watching = at.watch();
    assert.equal(await at.news(), []);
    assert.is(at.isOpen(), false);
    at.pass(1);
    await using first = await at.window(1);
    assert.equal(await at.news(), [opened]);
    assert.is(at.isOpen(), true);
    // Ten minutes close it, also when the program that opened it is not there to say so.
    at.pass(600_000);
    await at.news();
    assert.is(at.isOpen(), false);
    at.pass(-600_000);
    await first.window.fail();
    assert.equal(await at.news(), ["a wrong secret was tried"]);
    await watching.close();
    watching = at.watch();
    assert.equal(await at.news(), []);
    await first.window.fail();
    await first.window.fail();
    await first.window.close("success");
    assert.equal(await at.news(), [
      "2 wrong secrets were tried",
      "the window for pairing closed: a phone was paired",
    ]);
    assert.equal(await at.news(), []);
    await watching.close();
  });

  test("what happened while nobody watched is told afterwards", async () => {
    await using at = await world();
    {
      await using before = await at.window(1);
      for (let i = 0; i < 5; i++) await before.window.fail();
    }
    const watching = at.watch();
    assert.equal(await at.news(), [
      opened,
      "5 wrong secrets were tried",
      "the window for pairing closed: a wrong secret was tried 5 times. Is somebody else in this network?",
    ]);
    await using _ = await at.window(9);
    assert.equal(await at.news(), [opened]);
    await watching.close();
  });
});
