import * as assert from "uvu/assert";
import type { Supervisor } from "../../src/base/node/program.ts";
import { ManualClock } from "../../src/base/pure/clock.ts";
import { judge, openHealth, type Signs } from "../../src/device/health.ts";
import type { State } from "../../src/device/light.ts";
import { suite } from "../lib/suite.ts";

const settle = () => new Promise((resolve) => setImmediate(resolve));
const calm: Signs = {
  ...{ nowUs: 100_000_000, waiting: undefined, lookedUs: 99_000_000, faults: new Map() },
  ...{ recordings: 0, watchedUs: undefined },
};
const stateOf = (signs: Partial<Signs>) => {
  const { state, isAlive } = judge({ ...calm, ...signs });
  return [state, isAlive];
};

/** A camera's health with everything about it in reach. */
function world() {
  const clock = new ManualClock();
  const told: string[] = [];
  const shown: State[] = [];
  const errors: string[] = [];
  let counted = 0;
  const supervisor: Supervisor = {
    ...{ listens: true, patienceMs: 30_000 },
    tell: (what) => told.push(what),
    status: (text) => told.push(text),
  };
  const silent = () => {};
  const health = openHealth({
    ...{ supervisor, clock },
    light: { show: (state) => shown.push(state), close: async () => {} },
    log: { debug: silent, info: silent, warn: silent, error: (text) => errors.push(text) },
  });
  return {
    ...{ clock, told, shown, errors, health },
    /** Seconds go by; with `looks` pictures are looked at in each of them. */
    async pass(seconds: number, { looks }: { looks: boolean }) {
      for (let i = 0; i < seconds; i++) {
        if (looks) counted += 5;
        clock.advance(1000);
        await settle();
      }
    },
    watch: () => health.watch(() => counted),
    alive: () => told.splice(0).filter((word) => word === "alive").length,
    [Symbol.asyncDispose]: () => health.close(),
  };
}

suite("device/health", (test) => {
  test("what is told of it, each by itself, whatever the light shows", async () => {
    await using at = world();
    const now = () => {
      const { recording, watched, problem } = at.health.now();
      return [recording, watched, problem];
    };
    assert.equal(now(), [false, false, undefined]);
    at.health.wait("problem", "no camera");
    assert.equal(now(), [false, false, "no camera"]);
    at.watch();
    at.health.recording(2);
    at.health.watched();
    at.health.fault("model", "it fails");
    at.health.fault("card", "it is full");
    assert.equal(now(), [true, true, "it fails; it is full"]);
    at.health.fault("model");
    at.health.fault("card");
    at.health.recording(0);
    await at.pass(11, { looks: true });
    assert.equal(now(), [false, false, undefined]);
    await at.pass(31, { looks: false });
    assert.match(at.health.now().problem ?? "", /no picture comes/);
  });

  test("pictures are stale until the first is looked at, and when none was for half a minute", async () => {
    await using at = world();
    const isStale = () => at.health.now().pictures.isStale;
    assert.is(isStale(), true);
    at.watch();
    await at.pass(5, { looks: true });
    assert.is(isStale(), false);
    await at.pass(29, { looks: false });
    assert.is(isStale(), false);
    await at.pass(2, { looks: false });
    assert.is(isStale(), true);
    assert.ok(at.health.now().pictures.ageS > 30);
    // Also when it is known why: the camera was pulled out.
    at.health.fault("camera", "gone");
    assert.is(isStale(), true);
    at.health.fault("camera");
    await at.pass(2, { looks: true });
    assert.is(isStale(), false);
    at.health.wait("starting", "stopping");
    assert.is(isStale(), true);
    // Nobody expects any in privacy.
    at.health.wait("private", "privacy");
    assert.is(isStale(), false);
  });

  test("what the light shows when several things are true at once", () => {
    assert.equal(stateOf({}), ["watching", true]);
    assert.equal(stateOf({ recordings: 1 }), ["recording", true]);
    assert.equal(stateOf({ recordings: 1, watchedUs: 95_000_000 }), ["watched", true]);
    assert.equal(stateOf({ recordings: 1, watchedUs: 5_000_000 }), ["recording", true]);
    const faults = new Map([["model", "it fails"]]);
    assert.equal(stateOf({ faults }), ["problem", true]);
    assert.equal(stateOf({ faults, recordings: 1 }), ["recording", true]);
    const waiting = { state: "unpaired", text: "waiting" } as const;
    assert.equal(stateOf({ waiting, lookedUs: 0 }), ["unpaired", true]);
  });

  test("a camera that is silent is dead, one that is known to be gone is waited for", () => {
    assert.equal(stateOf({ lookedUs: 0 }), ["problem", false]);
    assert.equal(stateOf({ lookedUs: 0, recordings: 1 }), ["problem", false]);
    assert.equal(stateOf({ lookedUs: 0, faults: new Map([["model", "it fails"]]) })[1], false);
    assert.equal(stateOf({ lookedUs: 0, faults: new Map([["camera", "gone"]]) }), [
      "problem",
      true,
    ]);
  });

  test("the supervisor hears of it while pictures are looked at, and no longer", async () => {
    await using camera = world();
    camera.watch();
    await camera.pass(60, { looks: true });
    const heard = camera.alive();
    assert.ok(heard >= 6 && heard <= 8, `${heard} times in two of its patiences`);
    await camera.pass(31, { looks: false });
    camera.alive();
    await camera.pass(120, { looks: false });
    assert.is(camera.alive(), 0);
    assert.is(camera.errors.length, 1);
    assert.is(camera.shown.at(-1), "problem");
    await camera.pass(2, { looks: true });
    assert.is(camera.alive(), 1);
    assert.is(camera.shown.at(-1), "watching");
  });

  test("in privacy no picture is missed, the light says so, and what else is wrong is told", async () => {
    await using camera = world();
    camera.watch();
    await camera.pass(5, { looks: true });
    camera.health.wait("private", "privacy");
    await camera.pass(600, { looks: false });
    assert.is(camera.shown.at(-1), "private");
    assert.ok(camera.alive() >= 55);
    assert.is(camera.health.now().problem, undefined);
    camera.health.fault("storage", "the card failed");
    await camera.pass(2, { looks: false });
    assert.is(camera.shown.at(-1), "private");
    assert.is(camera.health.now().problem, "the card failed");
    camera.watch();
    await camera.pass(40, { looks: false });
    assert.ok(camera.alive() <= 4);
    await camera.pass(60, { looks: false });
    assert.is(camera.alive(), 0, "and afterwards pictures are missed again");
    assert.is(camera.errors.length, 1);
  });

  test("nothing is expected of a camera that waits, and a fault that ends is forgotten", async () => {
    await using camera = world();
    camera.health.wait("unpaired", "waiting for an owner");
    await camera.pass(120, { looks: false });
    assert.ok(camera.told.includes("waiting for an owner"));
    assert.ok(camera.alive() >= 11);
    camera.watch();
    camera.health.fault("camera", "it was unplugged");
    await camera.pass(120, { looks: false });
    assert.ok(camera.told.includes("it was unplugged"));
    assert.ok(camera.alive() >= 11);
    camera.health.fault("camera");
    await camera.pass(2, { looks: true });
    assert.is(camera.shown.at(-1), "watching");
    assert.equal(camera.errors, []);
  });
});
