import { setTimeout as wait } from "node:timers/promises";
import * as assert from "uvu/assert";
import { concat } from "../../../src/base/pure/bytes.ts";
import { ManualClock } from "../../../src/base/pure/clock.ts";
import { Failure, isFailure } from "../../../src/base/pure/failure.ts";
import type { Frame } from "../../../src/device/camera/camera.ts";
import type { Sighting } from "../../../src/device/detect/detect.ts";
import type { EncoderRun } from "../../../src/device/record/encoder.ts";
import {
  type Encoder,
  openRecord,
  type Piece,
  probeEncoder,
  type Recording,
  type RecordOptions,
  type RecordStage,
} from "../../../src/device/record/record.ts";
import { FakeSlab, type FakeSpec } from "../../fakes/frame.ts";
import { decodeVideo, drawPicture, makeJpegs, psnr, type Size } from "../../lib/footage.ts";
import { suite } from "../../lib/suite.ts";

const size = { width: 320, height: 240 };
/** Drawn and compressed once for all tests: picture `i` has the number `i` burnt in. */
const jpegs = await makeJpegs(600, size);
const realEncoder = await probeEncoder({ ...size, fps: 15 });

type Taken = { recording: Recording; pieces: Piece[]; error: unknown; over: boolean };

type World = {
  stage: RecordStage;
  slab: FakeSlab;
  clock: ManualClock;
  runs: EncoderRun[];
  taken: Taken[];
  /** Capture times by number. */
  times: number[];
  /** Shows the camera's next `count` pictures, `fps` a second. */
  play(count: number, fps: number, change?: Partial<FakeSpec> & { free?: boolean }): Promise<void>;
  /** Capture time of the newest picture. */
  now(): number;
  start(id: string, firstSeenUs?: number): void;
  end(id: string, lastSeenUs?: number): void;
  settled(): Promise<void>;
} & AsyncDisposable;

type Choice = Partial<RecordOptions> & { take?: (recording: Recording) => Promise<void> | void };

function person(track: number, score = 0.8, height = 100): Sighting {
  const box = { x: 50, y: 60, width: height / 2, height };
  return { track, box, score, zones: ["door"], still: false };
}

function openWorld({ take, ...choice }: Choice = {}): World {
  const clock = new ManualClock();
  const slab = new FakeSlab();
  const runs: EncoderRun[] = [];
  const inner = choice.encoder ?? realEncoder;
  const encoder: Encoder = {
    ...inner,
    start(input) {
      const run = inner.start(input);
      runs.push(run);
      return run;
    },
  };
  const stage = openRecord({
    fps: 15,
    preRollMs: 5000,
    postRollMs: 5000,
    longestMs: 180_000,
    preRollBytes: 24 * 1024 * 1024,
    model: { id: "test", precision: "int8" },
    clockTrusted: () => true,
    clock,
    signal: new AbortController().signal,
    ...choice,
    encoder,
  });
  const taken: Taken[] = [];
  const readings: Promise<void>[] = [];
  const reading = (async () => {
    for await (const recording of stage.recordings) {
      const one: Taken = { recording, pieces: [], error: undefined, over: false };
      taken.push(one);
      readings.push(collect(one, take));
    }
  })();
  const times: number[] = [];
  let nowUs = clock.monotonicUs();
  const now = () => times.at(-1) ?? 0;
  const frame = { width: size.width, height: size.height };
  return {
    stage,
    slab,
    clock,
    runs,
    taken,
    times,
    now,
    async play(count, fps, { free = false, ...change } = {}) {
      for (let i = 0; i < count; i++) {
        const number = times.length;
        // The camera's own jitter: up to a millisecond.
        const capturedUs = Math.round(nowUs) + ((number * 7919) % 1000);
        times.push(capturedUs);
        const jpeg = jpegs[number % jpegs.length] ?? new Uint8Array();
        const picture: Frame = slab.put({ jpeg, ...size, capturedUs, ...change });
        stage.offer(picture);
        picture.release();
        nowUs += 1e6 / fps;
        clock.advance(1000 / fps);
        // The test plays faster than life: give the encoder the time it would have had.
        if (!free && i % 5 === 4) await caughtUp(slab, taken, capturedUs);
      }
    },
    start(id, firstSeenUs = now()) {
      stage.incident({
        kind: "start",
        id,
        firstSeenUs,
        atUs: now(),
        persons: [person(1)],
        best: person(1),
        frame,
      });
    },
    end(id, lastSeenUs = now()) {
      stage.incident({ kind: "end", id, atUs: now(), lastSeenUs, mostPersons: 1 });
    },
    async settled() {
      await Promise.all(readings);
    },
    async [Symbol.asyncDispose]() {
      await stage.close();
      await reading;
      await Promise.all(readings);
      assert.is(slab.frames, 0, "every picture was let go");
      assert.is(slab.usedBytes, 0);
    },
  };
}

async function collect(one: Taken, take: Choice["take"]): Promise<void> {
  try {
    await take?.(one.recording);
    for await (const piece of one.recording.pieces) one.pieces.push(piece);
  } catch (error) {
    one.error = error;
  }
  one.over = true;
}

/** Until the encoder has been given all but the newest pictures, or no clip is open. */
async function caughtUp(slab: FakeSlab, taken: Taken[], capturedUs: number): Promise<void> {
  for (let i = 0; i < 400; i++) {
    await wait(1);
    const open = taken.some((one) => !one.over);
    const fed = slab.copies.reduce((most, at) => Math.max(most, at), 0);
    if (!open || capturedUs - fed < 500_000) return;
    await wait(10);
  }
}

function mp4(pieces: Piece[]): Uint8Array {
  return concat(
    pieces.flatMap((p) => (p.kind === "init" || p.kind === "fragment" ? [p.bytes] : [])),
  );
}

function closing(one: Taken | undefined) {
  const last = one?.pieces.at(-1);
  if (last?.kind !== "closing") throw new Error(`no closing: ${one?.error}`);
  return last.closing;
}

async function decode(one: Taken | undefined) {
  if (!one) throw new Error("no such recording");
  const video = await decodeVideo(mp4(one.pieces));
  return { ...video, numbers: video.pictures.map((p) => p.number) };
}

function range(from: number, to: number, step = 1): number[] {
  return Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, i) => from + i * step);
}

function within(actual: number, expected: number, most: number, what: string): void {
  assert.ok(
    Math.abs(actual - expected) <= most,
    `${what}: ${actual}, expected ${expected} ± ${most}`,
  );
}

/** `numbers` are those from `from` to `to`; ± 1 at the ends, where the camera's jitter decides. */
function isRange(numbers: number[], from: number, to: number): void {
  const [first, last] = [numbers[0] ?? -1, numbers.at(-1) ?? -1];
  within(first, from, 1, "first picture");
  within(last, to, 1, "last picture");
  const missing = range(first, last).filter((n) => !numbers.includes(n));
  assert.equal(missing, [], "pictures are missing");
  assert.is(numbers.length, last - first + 1, "pictures are doubled");
}

const id = (n: number) => n.toString(16).padStart(32, "0");

suite("device/record/record", (test) => {
  const rates: [string, [number, number][]][] = [
    ["at 15 pictures a second", [[300, 15]]],
    ["at 7.5, as cameras do in the dark", [[150, 7.5]]],
    [
      "when the rate halves while somebody is there",
      [
        [160, 15],
        [70, 7.5],
      ],
    ],
  ];
  for (const [name, runs] of rates) {
    test(`a clip covers the incident, its pre-roll and its post-roll ${name}`, async () => {
      await using world = openWorld();
      const [first, ...rest] = runs;
      const [count, fps] = first ?? [0, 15];
      const seen = Math.round(8 * fps);
      await world.play(seen + 1, fps);
      const firstSeenUs = world.now();
      await world.play(4, fps);
      world.start(id(1), firstSeenUs);
      await world.play(count - seen - 5 - 7 * fps, fps);
      for (const [more, slower] of rest) await world.play(more, slower);
      const lastSeenUs = world.now();
      world.end(id(1));
      await world.play(Math.round(7 * (rest[0]?.[1] ?? fps)), rest[0]?.[1] ?? fps);
      await world.settled();

      assert.is(world.taken.length, 1);
      const { recording, pieces } = world.taken[0] ?? { pieces: [] };
      const video = await decode(world.taken[0]);
      const from = world.times.findIndex((t) => t >= firstSeenUs - 5_000_000);
      const to = world.times.findLastIndex((t) => t <= lastSeenUs + 5_000_000);
      assert.equal(video.numbers, range(from, to));
      const startUs = world.times[from] ?? 0;
      const off = video.pictures.map((p) =>
        Math.abs(p.seconds * 1e6 - ((world.times[p.number] ?? 0) - startUs)),
      );
      assert.ok(Math.max(...off) < 2, `a picture is ${Math.max(...off)} µs off`);
      const worst = Math.min(
        ...video.pictures.map((p) => psnr(p.luma, drawPicture(p.number, size))),
      );
      assert.ok(worst >= 30, `worst picture ${worst} dB`);

      const end = closing(world.taken[0]);
      within(end.durationMs, ((world.times[to] ?? 0) - startUs) / 1000, 100, "duration");
      assert.is(end.frames, to - from + 1);
      assert.equal(end.thinned, []);
      assert.is(end.reason, "ended");
      assert.is(recording?.incident, id(1));
      const opening = recording?.opening;
      assert.is(opening?.startUs, startUs);
      assert.equal([opening?.width, opening?.height], [size.width, size.height]);
      within(opening?.preRollMs ?? 0, 5000, 1000 / fps, "pre-roll");
      within(
        opening?.wallMs ?? 0,
        world.clock.wallMs() - (world.clock.monotonicUs() - startUs) / 1000,
        2,
        "wall time",
      );
      assert.equal(opening?.zones, ["door"]);
      const kinds = pieces.map((p) => p.kind);
      assert.equal(kinds.slice(0, 4), ["init", "thumbnail", "thumbnail", "fragment"]);
      assert.equal(
        end.tracks.map((t) => t.track),
        [1],
      );
    });
  }

  test("a camera of 30 a second is recorded at 15, evenly", async () => {
    await using world = openWorld();
    await world.play(200, 30);
    world.start(id(1));
    await world.play(60, 30);
    world.end(id(1));
    await world.play(200, 30);
    await world.settled();
    const { numbers } = await decode(world.taken[0]);
    const steps = numbers.slice(1).map((n, i) => n - (numbers[i] ?? 0));
    assert.ok(
      steps.every((s) => s === 2),
      `steps ${[...new Set(steps)]}`,
    );
    assert.equal(closing(world.taken[0]).thinned, []);
  });

  test("raw pictures are compressed once, at the recording rate only", async () => {
    await using world = openWorld();
    const raw = { format: "YUYV", rawBytes: size.width * size.height * 2 } as const;
    await world.play(120, 30, raw);
    assert.ok(world.slab.usedBytes < 100 * 20_000, `${world.slab.usedBytes} bytes held`);
    world.start(id(1));
    await world.play(30, 30, raw);
    world.end(id(1));
    await world.play(180, 30, raw);
    await world.settled();
    const { numbers } = await decode(world.taken[0]);
    assert.equal(numbers, range(numbers[0] ?? 0, numbers.at(-1) ?? 0, 2));
    within((149 - (numbers[0] ?? 0)) / 30, 4.97, 0.1, "all the pre-roll there was");
  });

  test("at its longest a clip is followed by the next, without a gap", async () => {
    await using world = openWorld({ longestMs: 8000 });
    await world.play(90, 15);
    world.start(id(1));
    await world.play(240, 15);
    world.end(id(1));
    await world.play(90, 15);
    await world.settled();
    assert.is(world.taken.length, 4);
    const clips = await Promise.all(world.taken.map(decode));
    const numbers = clips.flatMap((clip) => clip.numbers);
    assert.equal(numbers, range(numbers[0] ?? 0, numbers.at(-1) ?? 0));
    assert.equal(
      world.taken.map((one) => closing(one).reason),
      ["longest", "longest", "longest", "ended"],
    );
    assert.equal(new Set(world.taken.map((one) => one.recording.incident)).size, 1);
    for (const [i, one] of world.taken.entries()) {
      assert.ok(closing(one).durationMs <= 8070);
      if (i > 0) {
        assert.is(one.recording.opening.preRollMs, 0);
        within(one.recording.opening.startUs, closing(world.taken[i - 1]).endUs, 67_000, "gap");
      }
      assert.ok(one.pieces.some((p) => p.kind === "thumbnail" || i > 0));
    }
  });

  test("somebody who comes during the post-roll is a clip of their own, and no picture is lost", async () => {
    await using world = openWorld();
    await world.play(90, 15);
    world.start(id(1));
    await world.play(45, 15);
    world.end(id(1));
    await world.play(30, 15);
    world.start(id(2));
    await world.play(30, 15);
    world.end(id(2));
    await world.play(90, 15);
    await world.settled();
    assert.equal(
      world.taken.map((one) => one.recording.incident),
      [id(1), id(2)],
    );
    const [first, second] = await Promise.all(world.taken.map(decode));
    // The first ends where the second begins to be seen; the second has its whole pre-roll.
    isRange(first?.numbers ?? [], 14, 164);
    isRange(second?.numbers ?? [], 164 - 75, 194 + 75);
    assert.is(closing(world.taken[0]).reason, "ended");
  });

  test("an encoder that is killed cuts its clip off; the incident goes on in the next", async () => {
    await using world = openWorld();
    await world.play(90, 15);
    world.start(id(1));
    await world.play(60, 15);
    const [run] = world.runs;
    process.kill(run?.pid ?? 0, "SIGKILL");
    await run?.exited;
    await wait(20);
    await world.play(60, 15);
    world.end(id(1));
    await world.play(90, 15);
    await world.settled();
    assert.is(world.taken.length, 2);
    assert.ok(isFailure(world.taken[0]?.error, "gone"), String(world.taken[0]?.error));
    assert.is(
      world.taken[0]?.pieces.some((p) => p.kind === "closing"),
      false,
    );
    const [cut, next] = await Promise.all(world.taken.map(decode));
    const both = new Set([...(cut?.numbers ?? []), ...(next?.numbers ?? [])]);
    isRange(
      [...both].sort((a, b) => a - b),
      14,
      209 + 75,
    );
    assert.is(closing(world.taken[1]).reason, "ended");
    // And the next incident works as if nothing had been.
    world.start(id(2));
    await world.play(30, 15);
    world.end(id(2));
    await world.play(90, 15);
    await world.settled();
    assert.is(closing(world.taken[2]).reason, "ended");
  });

  test("an encoder that cannot start is told by the pieces, tried again ever less often", async () => {
    let broken = true;
    const encoder: Encoder = {
      ...realEncoder,
      start(input) {
        if (broken) throw new Failure("absent", "ffmpeg is not installed");
        return realEncoder.start(input);
      },
    };
    await using world = openWorld({ encoder });
    await world.play(90, 15);
    world.start(id(1));
    await world.play(300, 15);
    assert.ok(
      world.taken.length >= 3 && world.taken.length <= 6,
      `${world.taken.length} tries in 20 s`,
    );
    assert.ok(world.taken.every((one) => isFailure(one.error, "absent")));
    broken = false;
    await world.play(300, 15);
    world.end(id(1));
    await world.play(90, 15);
    await world.settled();
    assert.is(closing(world.taken.at(-1)).reason, "ended");
  });

  test(
    "a slow taker thins the clip, says so, and never grows memory",
    async () => {
      let open = () => {};
      const gate = new Promise<void>((resolve) => {
        open = resolve;
      });
      const bound = 1024 * 1024;
      await using world = openWorld({
        preRollBytes: bound,
        queueBytes: bound,
        take: () => gate,
      });
      await world.play(90, 15);
      world.start(id(1));
      await world.play(1500, 15, { free: true });
      await wait(200);
      await world.play(300, 15, { free: true });
      console.log(`measured: slab at most ${world.slab.mostBytes} bytes while nobody takes`);
      assert.ok(world.slab.mostBytes <= 2 * bound + 200_000, `${world.slab.mostBytes} bytes`);
      open();
      await wait(300);
      world.end(id(1));
      await world.play(90, 15);
      await world.settled();
      const gaps = world.taken.flatMap((one) => closing(one).thinned);
      assert.ok(
        gaps.some((gap) => gap.how === "dropped"),
        JSON.stringify(gaps),
      );
      // What is missing is what was said to be missing.
      const seen = new Set<number>();
      for (const one of world.taken) {
        const video = await decode(one);
        const { startUs } = one.recording.opening;
        for (const p of video.pictures) seen.add(startUs + Math.round(p.seconds * 1e6));
      }
      const firstUs = Math.min(...seen);
      const lastUs = Math.max(...seen);
      for (const at of world.times.filter((t) => t >= firstUs && t <= lastUs)) {
        const shown = [...seen].some((t) => Math.abs(t - at) <= 2);
        const told = gaps.some(
          (gap) => gap.how !== "half-size" && at >= gap.fromUs && at <= gap.toUs,
        );
        assert.ok(shown || told, `the picture at ${at} is missing without a word`);
      }
    },
    { deadlineMs: 60_000 },
  );

  test(
    "a slow encoder gets every second picture, then smaller ones in a next clip",
    async () => {
      const encoder: Encoder = {
        ...realEncoder,
        start(input) {
          const run = realEncoder.start(input);
          // Five pictures a second at full size, as many as you like at half.
          if (input.halfSize) return run;
          let fed = 0;
          return {
            ...run,
            async write(jpeg, atUs) {
              if (++fed > 60) await wait(40);
              await run.write(jpeg, atUs);
            },
          };
        },
      };
      await using world = openWorld({ encoder });
      await world.play(90, 15);
      world.start(id(1));
      // Eight times life: 40 ms are then 320.
      for (let i = 0; i < 60; i++) {
        await world.play(5, 15, { free: true });
        await wait(40);
      }
      world.end(id(1));
      await world.play(90, 15);
      await world.settled();
      const [whole, half] = world.taken;
      assert.is(world.taken.length, 2);
      assert.is(closing(whole).reason, "resized");
      assert.ok(closing(whole).thinned.some((gap) => gap.how === "half-rate"));
      assert.equal((await decode(half)).size, { width: 160, height: 120 });
      assert.equal([half?.recording.opening.width, half?.recording.opening.height], [160, 120]);
      const gap = closing(half).thinned.find((g) => g.how === "half-size");
      assert.is(gap?.fromUs, half?.recording.opening.startUs);
      // The pre-roll is whole.
      const { numbers } = await decode(whole);
      isRange(numbers.slice(0, 75), 14, 88);
      const { numbers: after } = await decode(half);
      assert.ok((after[0] ?? 0) - (numbers.at(-1) ?? 0) <= 2, "it goes on with the next picture");
    },
    { deadlineMs: 60_000 },
  );

  test("stopped in the middle, the clip is finished with what there is", async () => {
    const world = openWorld();
    await world.play(90, 15);
    world.start(id(1));
    await world.play(22, 15);
    await world.stage.close();
    await world.stage.close();
    await world.settled();
    assert.is(closing(world.taken[0]).reason, "stopped");
    isRange((await decode(world.taken[0])).numbers, 14, 111);
    world.start(id(2));
    await world.play(3, 15);
    assert.is(world.taken.length, 1);
    await world[Symbol.asyncDispose]();
  });

  test("a camera that goes silent: the clip is finished; when it comes back the incident goes on", async () => {
    await using world = openWorld();
    await world.play(90, 15);
    world.start(id(1));
    await world.play(30, 15);
    for (let i = 0; i < 6; i++) {
      world.clock.advance(1000);
      await wait(5);
    }
    await world.settled();
    assert.is(closing(world.taken[0]).reason, "stopped");
    assert.is((await decode(world.taken[0])).numbers.at(-1), 119);
    await world.play(30, 15);
    world.end(id(1));
    await world.play(90, 15);
    await world.settled();
    assert.is(world.taken.length, 2);
    assert.is((await decode(world.taken[1])).numbers[0], 120);
  });

  test("a camera that comes back with another size starts a next clip", async () => {
    const other: Size = { width: 160, height: 120 };
    const small = await makeJpegs(30, other);
    await using world = openWorld();
    await world.play(90, 15);
    world.start(id(1));
    await world.play(30, 15);
    for (const jpeg of small) await world.play(1, 15, { jpeg, ...other });
    world.end(id(1));
    await world.play(1, 15, { jpeg: small[0] ?? new Uint8Array(), ...other });
    await world.stage.close();
    await world.settled();
    assert.equal(
      world.taken.map((one) => closing(one).reason),
      ["resized", "stopped"],
    );
    assert.equal((await decode(world.taken[1])).size, other);
    assert.is((await decode(world.taken[1])).numbers[0], 0);
  });

  test("better pictures of a person are sent later, not many", async () => {
    await using world = openWorld();
    await world.play(90, 15);
    world.start(id(1));
    for (let i = 0; i < 30; i++) {
      await world.play(8, 15);
      const persons = [person(1, 0.8, 40 + 6 * i), person(2, 0.5, 30)];
      const best = person(1, 0.8, 40 + 6 * i);
      world.stage.incident({ kind: "update", id: id(1), atUs: world.now(), persons, best });
    }
    world.end(id(1));
    await world.play(90, 15);
    await world.settled();
    const one = world.taken[0];
    const pictures = (one?.pieces ?? []).flatMap((p) => (p.kind === "thumbnail" ? [p] : []));
    const persons = pictures.filter((p) => p.what === "person");
    assert.ok(persons.length >= 3 && persons.length <= 6, `${persons.length} pictures`);
    assert.is(pictures.filter((p) => p.what === "frame").length, persons.length);
    for (const p of pictures) {
      assert.ok(p.width <= (p.what === "person" ? 320 : 640));
      assert.equal([p.bytes[0], p.bytes[1]], [0xff, 0xd8]);
    }
    const end = closing(one);
    assert.is(end.mostPersons, 2);
    assert.is(end.bestScore, 0.8);
    assert.equal(
      end.tracks.map((t) => t.track),
      [1, 2],
    );
    const samples = end.tracks[0]?.samples ?? [];
    assert.ok(samples.length >= 29, `${samples.length} samples`);
    assert.ok(
      samples.slice(2).every((s, i) => s.height > (samples[i + 1]?.height ?? 0)),
      JSON.stringify(samples.map((s) => s.height)),
    );
  });

  test("a taker that breaks off gives the clip up, not the stage", async () => {
    await using world = openWorld({
      take: async (recording) => {
        if (recording.incident !== id(1)) return;
        for await (const piece of recording.pieces) if (piece.kind === "fragment") break;
      },
    });
    await world.play(90, 15);
    world.start(id(1));
    await world.play(30, 15);
    await wait(100);
    world.end(id(1));
    await world.play(90, 15);
    world.start(id(2));
    await world.play(30, 15);
    world.end(id(2));
    await world.play(90, 15);
    await world.settled();
    assert.is(closing(world.taken.at(-1)).reason, "ended");
    assert.is(world.taken.at(-1)?.recording.incident, id(2));
  });
});
