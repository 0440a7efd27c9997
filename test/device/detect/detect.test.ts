import { equal, is, ok } from "uvu/assert";
import { ManualClock } from "../../../src/base/pure/clock.ts";
import { Failure } from "../../../src/base/pure/failure.ts";
import type { Frame, Rect } from "../../../src/device/camera/camera.ts";
import {
  type DetectEvent,
  type Detection,
  type DetectOptions,
  type Finder,
  type Incident,
  intervalMs,
  type Look,
  openDetect,
} from "../../../src/device/detect/detect.ts";
import { suite } from "../../lib/suite.ts";

const size = { width: 768, height: 576 };
type Person = Rect & { score?: number };

/** A world of grey ground; whoever is in it is darker. Frames remember their references. */
function openWorld(
  options: Partial<DetectOptions> & {
    inferenceMs?: number;
    find?: Finder["find"];
    fps?: number;
  } = {},
) {
  const clock = new ManualClock();
  const stop = new AbortController();
  const events: DetectEvent[] = [];
  const looks: Look[] = [];
  const asked: { index: number; crop?: Rect }[] = [];
  const shared: (number | undefined)[] = []; // of each picture that was analysed
  let held = 0;
  let index = 0;
  const scenes: Person[][] = [];
  const { inferenceMs = 20, fps = 10 } = options;
  const find: Finder["find"] = async (frame, { threshold, crop }) => {
    const at = frame.index ?? 0;
    asked.push(crop ? { index: at, crop } : { index: at });
    if (options.find) return options.find(frame, { threshold, ...(crop ? { crop } : {}) });
    return (scenes[at] ?? []).flatMap((person): Detection[] => {
      const { score = 0.8, ...box } = person;
      // As the real one: small persons are found in crops only.
      const isLarge = box.height > 60 || crop !== undefined;
      const isInside = !crop || (box.x > crop.x && box.x + box.width < crop.x + crop.width);
      return isLarge && isInside && score >= threshold ? [{ box, score }] : [];
    });
  };
  const model: Finder = {
    input: { width: 416, height: 320 },
    crop: { width: 192, height: 192 },
    overlap: 0.6,
    inferenceMs: () => inferenceMs,
    find,
  };
  const stage = openDetect({
    model,
    zones: [],
    threshold: 0.4,
    crops: true,
    separateVisitMs: 5_000,
    onEvent: (event) => events.push(event),
    onLook: (look) => looks.push(look),
    clock,
    signal: stop.signal,
    ...options,
  });
  const incidents: Incident[] = [];
  const reading = (async () => {
    for await (const incident of stage.incidents) incidents.push(incident);
  })();

  const frameOf = (
    people: Person[],
    { corrupt = false, luma }: { corrupt?: boolean; luma?: () => Promise<Uint8Array> } = {},
  ): Frame => {
    const mine = index++;
    scenes[mine] = people;
    let references = 1;
    held++;
    const frame = {
      ...{ sequence: mine, index: mine, capturedUs: clock.monotonicUs(), ...size },
      ...{ format: "MJPG", byteLength: 1, corrupt, dropped: 0 },
      retain() {
        ok(references > 0, "retained after the last release");
        references++;
        return frame;
      },
      release() {
        ok(references > 0, "released twice");
        references--;
        if (references === 0) held--;
      },
      luma:
        luma ??
        (async ({ finest, ...plane }: { width: number; height: number; finest?: number }) => {
          shared.push(finest);
          return draw(people, plane, mine);
        }),
    } as unknown as Frame;
    return frame;
  };
  const settle = async () => {
    for (let i = 0; i < 30; i++) await Promise.resolve();
  };
  return {
    ...{ clock, stop, stage, events, looks, asked, shared, incidents, frameOf, settle },
    held: () => held,
    /** Shows `count` frames at the world's rate. */
    async show(
      count: number,
      people: (i: number) => Person[],
      each?: Parameters<typeof frameOf>[1],
    ) {
      for (let i = 0; i < count; i++) {
        const frame = frameOf(people(i), each);
        stage.offer(frame);
        frame.release();
        await settle();
        clock.advance(1000 / fps);
        await settle();
      }
    },
    async [Symbol.asyncDispose]() {
      await stage.close();
      await reading;
      is(held, 0, "every frame was released");
    },
  };
}

/** Luma with a little fixed noise, so that the gate has something to learn. */
function draw(people: Person[], plane: { width: number; height: number }, seed: number) {
  const scale = plane.width / size.width;
  const luma = new Uint8Array(plane.width * plane.height);
  for (let i = 0; i < luma.length; i++) luma[i] = 128 + ((i * 7919 + seed * 104_729) % 5);
  for (const { x, y, width, height } of people) {
    for (let v = Math.floor(y * scale); v < (y + height) * scale; v++) {
      luma.fill(40, v * plane.width + Math.floor(x * scale), v * plane.width + (x + width) * scale);
    }
  }
  return luma;
}

const walker = (i: number): Person => ({ x: 20 + 6 * i, y: 200, width: 40, height: 110 });
const nobody = () => [];
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
    await using world = openWorld();
    await world.show(30, nobody);
    await world.show(10, (i) => [walker(i)], { corrupt: true });
    const torn = async () => {
      throw new Failure("corrupt", "no end of image");
    };
    await world.show(10, (i) => [walker(i)], { luma: torn });
    is(world.incidents.length, 0);
    is(world.events.length, 0);
    ok(world.stage.counts.corrupt >= 15, `${world.stage.counts.corrupt}`);
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
