import { equal, is, ok } from "uvu/assert";
import { Failure } from "../../../src/base/pure/failure.ts";
import {
  type Detection,
  type Finder,
  type Incident,
  intervalMs,
} from "../../../src/device/detect/detect.ts";
import { draw, nobody, openWorld, type Person, size, walker } from "../../fakes/ground.ts";
import { suite } from "../../lib/suite.ts";

const kinds = (incidents: Incident[]) =>
  incidents.map(({ kind }) => kind).filter((kind) => kind !== "update");

suite("detect", (test) => {
  test("somebody comes and goes: one incident, dated by the first look, ended by time", async () => {
    await using world = openWorld();
    await world.show(50, nobody);
    const cameUs = world.clock.monotonicUs();
    await world.show(60, (i) => [walker(i)]);
    const wentUs = world.clock.monotonicUs();
    await world.show(80, nobody);
    equal(kinds(world.incidents), ["start", "end"]);
    const [start] = world.incidents;
    ok(start?.kind === "start");
    ok(start.firstSeenUs - cameUs <= 100_000, "found in one of the first two frames");
    ok(start.atUs - cameUs <= 400_000, "known within two intervals");
    equal(start.frame, size);
    const end = world.incidents.at(-1);
    ok(end?.kind === "end" && Math.abs(end.lastSeenUs - wentUs) <= 200_000);
  });

  test("an empty scene costs no inference at all once it is known", async () => {
    await using world = openWorld();
    await world.show(30, nobody);
    const before = world.stage.counts.looks;
    await world.show(300, nobody);
    is(world.stage.counts.looks, before);
    ok(world.stage.counts.analysed >= 160);
  });

  test("motion is told while something moves, and not while nothing does", async () => {
    let moved = 0;
    await using world = openWorld({ onMotion: () => moved++ });
    await world.show(50, nobody);
    const still = moved;
    await world.show(20, nobody);
    is(moved, still, "nothing moves");
    await world.show(30, (i) => [walker(i)]);
    ok(moved - still >= 10, `${moved - still} times in three seconds`);
  });

  test("motion is analysed five times a second at any rate of frames", async () => {
    for (const [fps, expected] of [
      [30, 5],
      [15, 5],
      [10, 5],
      [7.5, 3.75],
      [5, 5],
      [2, 2],
    ] as const) {
      await using world = openWorld({ fps });
      await world.show(fps * 20, nobody);
      const rate = world.stage.counts.analysed / 20;
      ok(Math.abs(rate - expected) < 0.3, `${fps} frames a second: ${rate} analysed`);
    }
  });

  test("looks keep their distance: twice the inference, and double when throttled", async () => {
    is(intervalMs(20, false), 200);
    is(intervalMs(150, false), 300);
    is(intervalMs(150, true), 600);
    for (const [inferenceMs, throttled, least] of [
      [20, false, 150],
      [250, false, 450],
      [20, true, 350],
    ] as const) {
      await using world = openWorld({ inferenceMs, throttled: () => throttled });
      await world.show(20, nobody);
      await world.show(80, (i) => [walker(i)]);
      const times = world.looks.map(({ frame }) => frame.capturedUs);
      const gaps = times.slice(1).map((us, i) => (us - (times[i] ?? 0)) / 1000);
      ok(gaps.length > 5 && Math.min(...gaps) >= least, `${Math.min(...gaps)} ms`);
    }
  });

  test("who was found once is confirmed as soon as a look may be, between two motion pictures", async () => {
    for (const [inferenceMs, laterMs] of [
      [20, 200],
      [143, 300], // 286 ms, and not the second of the pictures that come every 200 ms
      [240, 500],
    ] as const) {
      await using world = openWorld({ inferenceMs });
      await world.show(30, nobody);
      await world.show(30, (i) => [walker(i)]);
      const [first, second] = world.looks.slice(-20).filter(({ detections }) => detections.length);
      is(((second?.frame.capturedUs ?? 0) - (first?.frame.capturedUs ?? 0)) / 1000, laterMs);
      const [start] = world.incidents;
      is(start?.atUs, second?.frame.capturedUs);
      ok(world.stage.counts.analysed <= 32, `${world.stage.counts.analysed} analysed`);
    }
  });

  test("what moves, looks like somebody and never counts does not keep crops from others", async () => {
    // Never confirmed: found in every third look only.
    let turn = 0;
    const find: Finder["find"] = async (_frame, { crop }) => {
      if (crop) return [];
      turn++;
      return turn % 3 === 0
        ? [{ box: { x: 100, y: 200, width: 120, height: 300 }, score: 0.8 }]
        : [];
    };
    await using world = openWorld({ find });
    await world.show(30, nobody);
    await world.show(60, (i) => [walker(i), { x: 600 - 3 * i, y: 60, width: 16, height: 40 }]);
    is(world.incidents.length, 0);
    ok(world.stage.counts.crops > 5, `${world.stage.counts.crops} crops`);
  });

  test("a look never queues behind another, and then takes the newest frame", async () => {
    const answers: ((found: Detection[]) => void)[] = [];
    const find = () => new Promise<Detection[]>((resolve) => answers.push(resolve));
    await using world = openWorld({ find, crops: false });
    await world.show(40, (i) => [walker(i)]);
    is(answers.length, 1);
    ok(world.stage.counts.analysed >= 18, "motion goes on meanwhile");
    ok(world.held() <= 2, `${world.held()} frames held`);
    answers.shift()?.([]);
    await world.settle();
    await world.show(2, () => [walker(41)]);
    is(answers.length, 1);
    ok((world.asked[1]?.index ?? 0) >= 40);
    answers.shift()?.([]);
  });

  test("an open incident is looked at once a second although nothing moves", async () => {
    await using world = openWorld();
    await world.show(30, nobody);
    await world.show(20, (i) => [walker(i)]);
    await world.show(30, () => [walker(20)]);
    const before = world.stage.counts.looks;
    await world.show(300, () => [walker(20)]);
    const looks = world.stage.counts.looks - before;
    ok(looks >= 27 && looks <= 33, `${looks} looks in 30 s`);
    equal(kinds(world.incidents), ["start"]);
    await world.show(70, nobody);
    equal(kinds(world.incidents), ["start", "end"]);
  });

  test("a small one is found in a crop around what moves, and watched there when it stands", async () => {
    const far = (i: number): Person => ({ x: 300 + 2 * i, y: 100, width: 16, height: 40 });
    await using world = openWorld();
    await world.show(30, nobody);
    await world.show(40, (i) => [far(i)]);
    await world.show(150, () => [far(40)]);
    equal(kinds(world.incidents), ["start"]);
    const crops = world.asked.filter(({ crop }) => crop);
    ok(crops.length > 20, `${crops.length} crops`);
    await using without = openWorld({ crops: false });
    await without.show(30, nobody);
    await without.show(40, (i) => [far(i)]);
    is(without.incidents.length, 0);
    is(without.asked.filter(({ crop }) => crop).length, 0);
  });

  test("somebody whom the whole frame shows needs no crop", async () => {
    await using world = openWorld();
    await world.show(30, nobody);
    await world.show(50, (i) => [walker(i)]);
    ok(world.stage.counts.crops <= 2, `${world.stage.counts.crops} crops`);
  });

  test("a picture that will be looked at is decoded once, as fine as its crops need", async () => {
    await using world = openWorld();
    await world.show(100, () => []);
    ok(
      world.shared.slice(-20).every((finest) => finest === undefined),
      "still: for motion alone",
    );
    world.shared.length = 0;
    await world.show(20, (i) => [{ x: 100 + 12 * i, y: 200, width: 120, height: 300 }]);
    const whole = Math.max(size.width / 416, size.height / 320);
    ok(
      world.shared.slice(2).every((finest) => finest === whole),
      `${world.shared}`,
    );
    await world.show(100, () => []);
    world.shared.length = 0;
    await world.show(20, (i) => [{ x: 100 + 10 * i, y: 300, width: 20, height: 50 }]);
    is(world.shared.at(-1), 1);
  });

  test("light switched: no incident although a cone looks like a person", async () => {
    const cone = { x: 600, y: 300, width: 40, height: 90, score: 0.7 };
    await using world = openWorld();
    let light = 1;
    const lit = (people: Person[], seed: number) => async (plane: typeof size) => {
      return draw(people, plane, seed).map((value) => value * light);
    };
    for (const next of [1, 0.4, 1, 0.3]) {
      light = next;
      for (let i = 0; i < 40; i++) {
        const luma = lit([cone], i) as unknown as () => Promise<Uint8Array>;
        await world.show(1, () => [cone], { luma });
      }
    }
    is(world.incidents.length, 0);
    ok(world.stage.counts.looks > 4, "it did look");
  });

  test("corrupt frames are skipped: flagged ones, and such as fail to decode", async () => {
    let damaged = 0;
    await using world = openWorld({ onDamaged: () => damaged++ });
    await world.show(30, nobody);
    await world.show(10, (i) => [walker(i)], { corrupt: true });
    const torn = async () => {
      throw new Failure("corrupt", "no end of image");
    };
    await world.show(10, (i) => [walker(i)], { luma: torn });
    is(world.incidents.length, 0);
    is(world.events.length, 0);
    ok(world.stage.counts.corrupt >= 15, `${world.stage.counts.corrupt}`);
    is(damaged, world.stage.counts.corrupt);
    // One that went with its camera is not damaged.
    const gone = async () => {
      throw new Failure("gone", "the camera is closed");
    };
    await world.show(10, (i) => [walker(i)], { luma: gone });
    is(world.stage.counts.corrupt, damaged);
    await world.show(20, (i) => [walker(i)]);
    equal(kinds(world.incidents), ["start"]);
  });

  test("a model that fails is one problem, is tried once a second, and recovers", async () => {
    let broken = true;
    const find: Finder["find"] = async () => {
      if (broken) throw new Failure("gone", "the session died");
      return [{ box: walker(0), score: 0.8 }];
    };
    await using world = openWorld({ find, crops: false });
    await world.show(100, (i) => [walker(i)]);
    equal(
      world.events.map(({ kind }) => kind),
      ["problem"],
    );
    const { failures } = world.stage.counts;
    ok(failures >= 8 && failures <= 12, `${failures} tries in 10 s`);
    broken = false;
    await world.show(40, (i) => [walker(100 - i)]);
    equal(
      world.events.map(({ kind }) => kind),
      ["problem", "recovered"],
    );
  });

  test("pictures that stay away end a visit by the clock", async () => {
    await using world = openWorld();
    await world.show(30, nobody);
    await world.show(20, (i) => [walker(i)]);
    equal(kinds(world.incidents), ["start"]);
    for (let i = 0; i < 8; i++) {
      world.clock.advance(1000);
      await world.settle();
    }
    equal(kinds(world.incidents), ["start", "end"]);
  });

  test("paused: the visit ends at once, nothing is looked at, and it goes on as from a start", async () => {
    await using world = openWorld();
    const { stage } = world;
    await world.show(50, nobody);
    await world.show(40, (i) => [walker(i)]);
    equal(kinds(world.incidents), ["start"]);
    stage.pause(true);
    stage.pause(true);
    await world.show(1, nobody);
    equal(kinds(world.incidents), ["start", "end"]);
    const before = { ...stage.counts };
    await world.show(60, (i) => [walker(i)]);
    equal({ ...stage.counts }, before);
    stage.pause(false);
    await world.show(50, nobody);
    equal(kinds(world.incidents), ["start", "end"]);
    await world.show(40, (i) => [walker(i)]);
    equal(kinds(world.incidents), ["start", "end", "start"]);
  });

  test("close ends the open incident, releases what is held, and works twice", async () => {
    const world = openWorld();
    await world.show(30, nobody);
    await world.show(20, (i) => [walker(i)]);
    world.stop.abort();
    await world.stage.close();
    await world.stage.close();
    await world.settle();
    equal(kinds(world.incidents), ["start", "end"]);
    const late = world.frameOf([]);
    world.stage.offer(late);
    late.release();
    is(world.held(), 0);
    await world[Symbol.asyncDispose]();
  });

  test("close waits for a look under way and does not report what it found", async () => {
    let answer = (_: Detection[]) => {};
    const find = () =>
      new Promise<Detection[]>((resolve) => {
        answer = resolve;
      });
    const world = openWorld({ find, crops: false });
    await world.show(10, (i) => [walker(i)]);
    const closing = world.stage.close();
    await world.settle();
    answer([{ box: walker(0), score: 0.9 }]);
    await closing;
    is(world.incidents.length, 0);
    await world[Symbol.asyncDispose]();
  });
});
