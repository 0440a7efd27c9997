import { writeFileSync } from "node:fs";
import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { systemClock } from "../../src/base/node/time.ts";
import { ManualClock } from "../../src/base/pure/clock.ts";
import { type Edge, openButton, type Press } from "../../src/device/button.ts";
import { suite } from "../lib/suite.ts";
import { quickFolder } from "../lib/world.ts";

const settle = () => new Promise((resolve) => setImmediate(resolve));
const silent = () => {};

/** A button that is pressed by hand, and a line that may break. */
function world() {
  const clock = new ManualClock();
  const pressed: Press[] = [];
  const warnings: string[] = [];
  let edge: (edge: Edge) => void = silent;
  let broken: (error: Error) => void = silent;
  let watched = 0;
  const button = openButton("gpiochip0/17", {
    clock,
    log: { debug: silent, info: silent, error: silent, warn: (text) => warnings.push(text) },
    onPress: (press) => pressed.push(press),
    watch(_, onEdge, signal) {
      watched++;
      edge = onEdge;
      return new Promise((resolve, reject) => {
        broken = reject;
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
    },
  });
  return {
    ...{ pressed, warnings, button },
    watched: () => watched,
    breaks: (why: string) => broken(new Error(why)),
    async after(ms: number, ...edges: Edge[]) {
      for (const one of edges) edge(one);
      clock.advance(ms);
      await settle();
    },
    [Symbol.asyncDispose]: () => button.close(),
  };
}

/** A gpiomon of our own, the first in PATH until it is disposed of. */
async function fakeProgram(lines: string, version = "v1.6.3") {
  const folder = await quickFolder();
  const path = process.env.PATH;
  const program = join(folder.path, "gpiomon");
  const asked = `[ "$*" != --version ] || { sleep 0.2; echo "gpiomon (libgpiod) ${version}"; exit; }`;
  await writeFile(program, `#!/bin/sh\n${asked}\n${lines}\n`);
  await chmod(program, 0o755);
  process.env.PATH = `${folder.path}:${path}`;
  return {
    program,
    async [Symbol.asyncDispose]() {
      process.env.PATH = path;
      await folder[Symbol.asyncDispose]();
    },
  };
}

suite("device/button", (test) => {
  test("a press is one press, however its contact bounces", async () => {
    await using at = world();
    await at.after(1, "down");
    await at.after(1, "up");
    await at.after(300, "down");
    await at.after(1, "up");
    await at.after(1, "down");
    await at.after(20_000, "up");
    assert.equal(at.pressed, ["short"]);
  });

  test("held: warned, then long; let go in between is neither", async () => {
    await using at = world();
    await at.after(2_900, "down");
    assert.equal(at.pressed, []);
    await at.after(200);
    assert.equal(at.pressed, ["warned"]);
    await at.after(6_800);
    await at.after(20_000, "up");
    assert.equal(at.pressed.splice(0), ["warned", "let go"]);
    await at.after(3_000, "down");
    await at.after(7_000);
    assert.equal(at.pressed, ["warned", "long"]);
    await at.after(1, "up");
    assert.equal(at.pressed, ["warned", "long"]);
  });

  test("a line that breaks is said and tried again; what was held then counts for nothing", async () => {
    await using at = world();
    await at.after(5_000, "down");
    at.breaks("unplugged");
    await at.after(0);
    assert.equal(at.warnings, ["the button at gpiochip0/17 cannot be used: unplugged"]);
    await at.after(20_000);
    assert.equal(at.pressed, ["warned"]);
    assert.is(at.watched(), 2);
    await at.after(100, "down");
    await at.after(0, "up");
    assert.equal(at.pressed, ["warned", "short"]);
  });

  test("a line that stays broken is said once, and again when it had worked", async () => {
    await using at = world();
    for (let i = 0; i < 20; i++) {
      at.breaks("unplugged");
      await at.after(0);
      await at.after(60_000);
    }
    assert.is(at.warnings.length, 1);
    assert.is(at.watched(), 21);
    at.breaks("no right");
    await at.after(0);
    await at.after(60_000);
    at.breaks("unplugged");
    await at.after(0);
    assert.is(at.warnings.length, 3);
    await at.after(60_000, "down");
    await at.after(100, "up");
    at.breaks("unplugged");
    await at.after(0);
    assert.is(at.warnings.length, 4);
    await at.after(60_000);
  });

  test("closed while libgpiod is asked for its version, and later, it leaves nothing behind", async () => {
    for (const afterMs of [0, 600]) {
      await using _ = await fakeProgram("exec sleep 1000");
      const button = openButton("gpiochip4/17", {
        ...{ clock: systemClock, onPress: () => assert.unreachable() },
        log: { debug: silent, info: silent, error: silent, warn: assert.unreachable },
      });
      await systemClock.sleep(afterMs);
      await button.close();
    }
  });

  // The first libgpiod's own program is pressed in test/system/panel.
  for (const { version, words, wanted } of [
    {
      ...{ version: "v1.6.3", words: ["1", "0"] },
      wanted: "-b -l -B pull-up -F %e gpiochip4 17",
    },
    {
      ...{ version: "v2.2.1", words: ["rising", "falling"] },
      wanted: "-c gpiochip4 -l -b pull-up -F %E 17",
    },
  ]) {
    test(`libgpiod ${version}: its program is asked in its own words`, async () => {
      const [down, up] = words;
      await using fake = await fakeProgram(
        `[ "$*" = "${wanted}" ] || { echo "asked $*" >&2; exit 1; }
echo ${down}; while [ ! -e "$0.heard" ]; do sleep 0.02; done
echo ${up}; echo "no such line" >&2; exit 1`,
        version,
      );
      // It is held for a tenth of a second, however long its words take.
      const clock = new ManualClock();
      const sleep = clock.sleep.bind(clock);
      let isHeld = false;
      clock.sleep = (ms, signal) => {
        if (!isHeld) {
          isHeld = true;
          clock.advance(100);
          writeFileSync(`${fake.program}.heard`, "");
        }
        return sleep(ms, signal);
      };
      const pressed: Press[] = [];
      let say: (text: string) => void = silent;
      const said = new Promise<string>((resolve) => {
        say = resolve;
      });
      const button = openButton("gpiochip4/17", {
        clock,
        log: { debug: silent, info: silent, error: silent, warn: (text) => say(text) },
        onPress: (press) => pressed.push(press),
      });
      assert.is(await said, "the button at gpiochip4/17 cannot be used: no such line");
      assert.equal(pressed, ["short"]);
      await button.close();
    });
  }
});
