import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { Failure, isFailure } from "../../src/base/pure/failure.ts";
import { finishErase, markErased } from "../../src/device/command/command.ts";
import { readConfig } from "../../src/device/config.ts";
import { type Mode, openModes, plainMode } from "../../src/device/mode.ts";
import { type Order, orderNames } from "../../src/device/order.ts";
import { carryOut, noteStart } from "../../src/device/orders.ts";
import { openTuning } from "../../src/device/tuning.ts";
import type { Statement } from "../../src/protocol/sealed/body.ts";
import { suite } from "../lib/suite.ts";
import { temporaryFolder } from "../lib/world.ts";

const profiles = { day: {}, night: { "detect.threshold": 0.3, "record.postRollS": 15 } };
const rights = { allowed: orderNames, profiles: Object.keys(profiles) };

/** A camera as far as orders reach into it, start after start. */
async function world() {
  const folder = await temporaryFolder();
  const steps: string[] = [];
  return {
    ...{ state: folder.path, steps },
    async start({ note, spare }: { note?: () => Promise<void>; spare?: string } = {}) {
      const modes = await openModes(folder.path, { ...rights, spare });
      const config = { ...(await readConfig(undefined)), profiles };
      const set = { detect: 0, record: 0, pauses: [] as boolean[] };
      const tuning = openTuning({
        ...{ config, modes, cap: () => {}, onChange: () => steps.push("told") },
        onPrivacy: async () => void steps.push(modes.now().privacy ? "shut" : "open"),
      });
      tuning.attach({
        detect: { set: () => set.detect++, pause: (is) => set.pauses.push(is) },
        record: { set: () => set.record++ },
      });
      const faults = new Map<string, string>();
      const problems: unknown[] = [];
      let isSeeing = true;
      const desk = {
        ...{ modes, tuning, by: "mqtt" },
        sight: {
          get seeing() {
            const model = { id: "m", precision: "int8" as const };
            const byHand = (ms: number) => void steps.push(`record ${ms}`);
            return isSeeing ? { model, record: { byHand, split: () => {} } } : undefined;
          },
          async shut() {
            steps.push("shut");
            isSeeing = false;
          },
          open() {
            steps.push("open");
            isSeeing = true;
          },
        },
        health: {
          fault: (about: string, text?: string) =>
            void (text === undefined ? faults.delete(about) : faults.set(about, text)),
        },
        note: async (statement: Statement) => {
          await note?.();
          assert.ok(statement.kind === "asked");
          steps.push(`log ${statement.what} ${statement.value} ${statement.by}`);
        },
        onProblem: (error: unknown) => void problems.push(error),
      };
      return {
        ...{ modes, config, tuning, set, faults, problems, desk },
        do: (order: Order) => carryOut(order, desk),
      };
    },
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

const failed = async (act: Promise<unknown>): Promise<Failure> => {
  const error = await act.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  if (!isFailure(error)) throw error ?? new Error("nothing failed");
  return error;
};

suite("device/orders", (test) => {
  test("each that changes something is in the log before it is done, and what changes nothing is not", async () => {
    await using at = await world();
    const camera = await at.start();
    const done = async (order: Order, expected: string[]) => {
      at.steps.length = 0;
      await camera.do(order);
      assert.equal(at.steps, expected, JSON.stringify(order));
      at.steps.length = 0;
      if (order.name !== "record") await camera.do(order);
      assert.equal(at.steps, [], `twice: ${JSON.stringify(order)}`);
    };
    await done({ name: "detection", value: false }, ["log detection OFF mqtt", "told"]);
    assert.equal(camera.set.pauses.at(-1), true);
    await done({ name: "detection", value: true }, ["log detection ON mqtt", "told"]);
    await done({ name: "threshold", value: 0.7 }, ["log threshold 0.7 mqtt", "told"]);
    assert.is(camera.config.detect.threshold, 0.7);
    await done({ name: "profile", value: "night" }, ["log profile night mqtt", "told"]);
    assert.equal([camera.config.detect.threshold, camera.config.record.postRollS], [0.3, 15]);
    await done({ name: "profile", value: "none" }, ["log profile none mqtt", "told"]);
    assert.equal([camera.config.detect.threshold, camera.config.record.postRollS], [0.4, 5]);
    await done({ name: "record", value: 7 }, ["log record 7 mqtt", "record 7000"]);
  });

  test("privacy shuts the lens before anything else, and opens it after all else", async () => {
    await using at = await world();
    const camera = await at.start();
    await camera.do({ name: "privacy", value: true });
    assert.equal(at.steps, ["shut", "log privacy ON mqtt"]);
    const refused = await failed(camera.do({ name: "record", value: 7 }));
    assert.match(refused.message, /in privacy nothing is recorded/);
    at.steps.length = 0;
    await camera.do({ name: "privacy", value: false });
    assert.equal(at.steps, ["log privacy OFF mqtt", "open"]);
    assert.is((await at.start()).modes.now().privacy, false);
  });

  test("without a picture nothing is recorded, and a profile that is not there is named by none", async () => {
    await using at = await world();
    const camera = await at.start();
    await camera.desk.sight.shut();
    assert.is((await failed(camera.do({ name: "record", value: 7 }))).kind, "gone");
    for (const value of ["constructor", "toString", "dusk"]) {
      const failure = await failed(camera.do({ name: "profile", value }));
      assert.match(failure.message, /there are none, day, night/);
      assert.not(failure.message.includes(value));
    }
  });

  test("a log that takes nothing: nothing is done, but privacy begins all the same", async () => {
    await using at = await world();
    const note = async () => {
      throw new Failure("full", "no room");
    };
    const camera = await at.start({ note });
    for (const order of [
      { name: "detection", value: false },
      { name: "threshold", value: 0.7 },
      { name: "profile", value: "night" },
      { name: "record", value: 7 },
    ] as const) {
      assert.is((await failed(camera.do(order))).kind, "full");
    }
    assert.equal(camera.modes.now(), plainMode);
    assert.equal(at.steps, []);
    await camera.do({ name: "privacy", value: true });
    assert.equal(at.steps, ["shut"]);
    assert.is(camera.problems.length, 1);
    assert.is((await failed(camera.do({ name: "privacy", value: false }))).kind, "full");
    assert.is(camera.modes.now().privacy, true);
    assert.is((await at.start()).modes.now().privacy, true);
  });

  test("a card that takes nothing: the lens is shut, the owner is told, and a start finds it in memory", async () => {
    await using at = await world();
    const spare = join(at.state, "spare");
    await writeFile(join(at.state, "mode"), "a file where a folder should be");
    const camera = await at.start({ spare });
    // What lies there cannot be read either: it may have said anything.
    assert.is(camera.modes.now().privacy, true);
    const open = await openModes(join(at.state, "mode", "nowhere"), { ...rights, spare });
    await open.set({ privacy: true }).catch(() => {});
    assert.is(open.now().privacy, true);
    assert.is((await openModes(join(at.state, "new"), { ...rights, spare })).now().privacy, true);
    await camera.do({ name: "privacy", value: true });
    assert.equal(at.steps, []);
    const other = { ...camera.desk, modes: open };
    await open.set({ privacy: false }).catch(() => {});
    await carryOut({ name: "privacy", value: true }, other);
    assert.match(camera.faults.get("mode") ?? "", /is over with the next start/);
    assert.is((await openModes(join(at.state, "new"), { ...rights, spare })).now().privacy, true);
    at.steps.length = 0;
    await failed(carryOut({ name: "privacy", value: false }, other));
    assert.equal(at.steps, ["log privacy OFF mqtt", "open"], "what is said to be open is");
    assert.is((await openModes(join(at.state, "new"), { ...rights, spare })).now().privacy, false);
  });

  test("what was set is found again; what cannot be read shuts the lens; an erase leaves nothing", async () => {
    await using at = await world();
    const mode: Mode = { privacy: false, detection: false, profile: "night", threshold: 0.55 };
    await (await at.start()).modes.set(mode);
    const again = await at.start();
    assert.equal(again.modes.now(), mode);
    assert.equal([again.config.detect.threshold, again.config.record.postRollS], [0.55, 15]);
    assert.equal(again.set.pauses, [true]);
    const file = join(at.state, "mode", "now");
    const right = JSON.parse(await readFile(file, "utf8"));
    const wrong = ["", "{", "null", "[]", "7", "x".repeat(5000)].concat(
      [
        { version: 2 },
        { privacy: "no" },
        { detection: 1 },
        { profile: 7 },
        { threshold: 0 },
        { threshold: "0.5" },
      ].map((one) => JSON.stringify({ ...right, ...one })),
    );
    for (const text of wrong) {
      await writeFile(file, text);
      assert.is((await at.start()).modes.now().privacy, true, text.slice(0, 80));
    }
    await markErased(at.state);
    await finishErase(at.state);
    assert.equal((await at.start()).modes.now(), plainMode);
  });

  test("a file that may not be read shuts the lens", async () => {
    await using at = await world();
    await (await at.start()).modes.set({ detection: false });
    const file = join(at.state, "mode", "now");
    await chmod(file, 0);
    const isRoot = process.getuid?.() === 0;
    if (isRoot) {
      // Who may read everything meets what is no file.
      await mkdir(join(at.state, "other", "mode", "now"), { recursive: true });
      const modes = await openModes(join(at.state, "other"), rights);
      assert.is(modes.now().privacy, true);
    } else assert.is((await at.start()).modes.now().privacy, true);
  });

  test("what the owner does not allow any more is as the settings say, and the log says so once", async () => {
    await using at = await world();
    const { modes } = await at.start();
    await modes.set({ privacy: true, detection: false, profile: "night", threshold: 0.9 });
    const less = await openModes(at.state, { allowed: ["record"], profiles: ["night"] });
    assert.equal(less.now(), plainMode);
    const told: string[] = [];
    const note = async (statement: Statement) => {
      if (statement.kind === "asked")
        told.push(`${statement.what} ${statement.value} ${statement.by}`);
    };
    await noteStart({ modes: less, note });
    assert.equal(told.splice(0), ["privacy OFF settings", "detection ON settings"]);
    // The next start, whatever it allows: it does not come back.
    const later = await openModes(at.state, rights);
    assert.equal(later.now(), plainMode);
    await noteStart({ modes: later, note });
    assert.equal(told, []);
    await later.set({ privacy: true });
    const kept = await openModes(at.state, rights);
    await noteStart({ modes: kept, note });
    assert.equal(told.splice(0), ["privacy ON start"]);
    // Begun anew in the same life: only what is now.
    await kept.set({ privacy: false });
    await noteStart({ modes: kept, note });
    assert.equal(told, []);
    const unknown = await openModes(at.state, { ...rights, profiles: [] });
    assert.is(unknown.now().profile, "none");
  });

  test("an owner's privacy is the owner's: the house cannot end it, and what the house began an owner ends", async () => {
    await using at = await world();
    const camera = await at.start();
    assert.ok(await camera.tuning.set("privacy", "true"));
    assert.equal([at.steps.shift(), camera.modes.now().privacy], ["shut", true]);
    const failure = await failed(camera.do({ name: "privacy", value: false }));
    assert.match(failure.message, /owner's/);
    await camera.do({ name: "privacy", value: true });
    assert.is(camera.modes.now().privacy, true);
    // It is a setting, kept as those are: of the house's nothing is left behind.
    assert.is((await at.start()).modes.now().privacy, false);
    at.steps.length = 0;
    assert.ok(await camera.tuning.set("privacy", "false"));
    assert.equal([at.steps.shift(), camera.modes.now().privacy], ["open", false]);
    await camera.do({ name: "privacy", value: true });
    at.steps.length = 0;
    assert.ok(await camera.tuning.set("privacy", "false"));
    assert.equal([at.steps.shift(), camera.modes.now().privacy], ["open", false]);
    const again = await at.start();
    assert.is(again.modes.now().privacy, false);
    again.modes.follow({ privacy: true });
    assert.is(again.modes.now().privacy, true);
  });

  test("what an owner's phone sets is in force at once, and ends what the house had put in its place", async () => {
    await using at = await world();
    const camera = await at.start();
    const { config, tuning, modes } = camera;
    await camera.do({ name: "profile", value: "night" });
    await camera.do({ name: "threshold", value: 0.8 });
    assert.ok(await tuning.set("record.preRollS", "9"));
    assert.equal([config.record.preRollS, config.detect.threshold], [9, 0.8]);
    assert.is(modes.now().profile, "night", "that was of nothing the profile holds");
    assert.ok(await tuning.set("record.postRollS", "7"));
    assert.equal([config.record.postRollS, config.detect.threshold], [7, 0.4]);
    assert.equal((await at.start()).modes.now(), plainMode);
    await camera.do({ name: "threshold", value: 0.8 });
    assert.ok(await tuning.set("detect.threshold", "0.45"));
    assert.is(config.detect.threshold, 0.45);
    await camera.do({ name: "threshold", value: 0.8 });
    await camera.do({ name: "profile", value: "day" });
    assert.is(config.detect.threshold, 0.45, "the settings' own, and the owner's over them");
    assert.not(await tuning.set("camera.flip", "true"), "that needs a new start");
  });
});
