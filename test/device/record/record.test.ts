import { setTimeout as wait } from "node:timers/promises";
import * as assert from "uvu/assert";
import type { Encoder } from "../../../src/device/record/record.ts";
import { drawPicture, psnr } from "../../lib/footage.ts";
import {
  closing,
  decode,
  id,
  isRange,
  openWorld,
  person,
  range,
  realEncoder,
  size,
  within,
} from "../../lib/recorder.ts";
import { suite } from "../../lib/suite.ts";

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
      assert.is(opening?.codec, realEncoder.codec);
      const kinds = pieces.map((p) => p.kind);
      assert.equal(kinds.slice(0, 3).toSorted(), ["init", "thumbnail", "thumbnail"]);
      assert.is(kinds[3], "fragment");
      assert.equal(
        end.tracks.map((t) => t.track),
        [1],
      );
    });
  }

  test("the first pictures do not wait for the encoder", async () => {
    let open = () => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    async function* late<T>(segments: AsyncIterable<T>): AsyncGenerator<T, void> {
      await gate;
      yield* segments;
    }
    const encoder: Encoder = {
      ...realEncoder,
      start(input) {
        const run = realEncoder.start(input);
        return { ...run, segments: late(run.segments) };
      },
    };
    await using world = openWorld({ encoder });
    await world.play(30, 15);
    world.start(id(1));
    while ((world.taken[0]?.pieces.length ?? 0) < 2) await wait(5);
    const kinds = () => world.taken[0]?.pieces.map((piece) => piece.kind);
    assert.equal(kinds(), ["thumbnail", "thumbnail"]);
    open();
    await world.play(30, 15);
    world.end(id(1));
    await world.play(90, 15);
    await world.settled();
    assert.equal(kinds()?.slice(0, 4), ["thumbnail", "thumbnail", "init", "fragment"]);
    assert.is(kinds()?.at(-1), "closing");
  });

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

  test("split: the clip ends, its incident goes on in another, and no picture is lost", async () => {
    await using world = openWorld();
    world.stage.split();
    await world.play(90, 15);
    world.start(id(1));
    await world.play(60, 15);
    world.stage.split();
    await world.play(60, 15);
    world.end(id(1));
    await world.play(90, 15);
    await world.settled();
    assert.is(world.taken.length, 2);
    const clips = await Promise.all(world.taken.map(decode));
    const numbers = clips.flatMap((clip) => clip.numbers);
    assert.equal(numbers, range(numbers[0] ?? 0, numbers.at(-1) ?? 0));
    assert.equal(
      world.taken.map((one) => closing(one).reason),
      ["longest", "ended"],
    );
    assert.equal(new Set(world.taken.map((one) => one.recording.incident)).size, 1);
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

  test("by hand: a clip of nobody, with its pre-roll, as long as was asked, and longer when asked again", async () => {
    await using world = openWorld();
    const { stage } = world;
    await world.play(90, 15);
    stage.byHand(2_000);
    await world.play(15, 15);
    stage.byHand(3_000);
    await world.play(90, 15);
    stage.byHand(1_000);
    await world.play(60, 15);
    await world.settled();
    assert.is(world.taken.length, 2);
    const [first, second] = await Promise.all(world.taken.map(decode));
    isRange(first?.numbers ?? [], 90 - 75, 105 + 45);
    isRange(second?.numbers ?? [], 195 - 75, 195 + 15);
    assert.equal(
      [closing(world.taken[0]).reason, closing(world.taken[0]).mostPersons],
      ["ended", 0],
    );
    const kinds = world.taken[0]?.pieces.map(({ kind }) => kind) ?? [];
    assert.ok(kinds.includes("thumbnail"), "without a picture to show");
  });

  test("by hand while somebody is there: the visit's clip lasts as long as was asked", async () => {
    await using world = openWorld({ postRollMs: 1_000 });
    const { stage } = world;
    await world.play(30, 15);
    world.start(id(1));
    await world.play(15, 15);
    stage.byHand(4_000);
    const untilUs = world.now() + 4_000_000;
    await world.play(5, 15);
    world.end(id(1));
    await world.play(90, 15);
    // Somebody comes while it is recorded by hand: a clip of their own, and what was asked is kept.
    stage.byHand(4_000);
    await world.play(5, 15);
    world.start(id(2));
    await world.play(5, 15);
    world.end(id(2));
    await world.play(90, 15);
    await world.settled();
    assert.is(world.taken.length, 3);
    within(
      (closing(world.taken[0]).endUs - untilUs) / 1e6,
      0,
      0.2,
      "seconds beyond what was asked",
    );
    const third = closing(world.taken[2]);
    assert.is(world.taken[2]?.recording.incident, id(2));
    assert.ok(third.durationMs > 3_500, `${third.durationMs} ms`);
  });

  test("better pictures of a person are sent later, not many", async () => {
    await using world = openWorld();
    await world.play(90, 15);
    world.start(id(1));
    for (let i = 0; i < 30; i++) {
      await world.play(8, 15);
      const persons = [person(1, 0.8, 40 + 6 * i), person(2, 0.5, 30)];
      world.stage.incident({ kind: "update", id: id(1), atUs: world.now(), persons, count: 2 });
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

  test("name, pre-roll and post-roll can be set while a clip is recorded, which goes on", async () => {
    await using world = openWorld({ camera: "before" });
    const { stage } = world;
    await world.play(90, 15);
    world.start(id(1));
    await world.play(15, 15);
    stage.set({ preRollMs: 1000, postRollMs: 1000, camera: "after" });
    await world.play(15, 15);
    const lastUs = world.now();
    world.end(id(1));
    await world.play(60, 15);
    const secondUs = world.now();
    world.start(id(2));
    await world.play(15, 15);
    world.end(id(2));
    await world.play(30, 15);
    await world.settled();
    assert.equal(
      world.taken.map(({ recording }) => recording.opening.camera),
      ["before", "after"],
    );
    const [first, second] = world.taken;
    within((closing(first).endUs - lastUs) / 1e6, 1, 0.2, "seconds after the first");
    const startUs = second?.recording.opening.startUs ?? 0;
    within((secondUs - startUs) / 1e6, 1, 0.2, "seconds before the second");
  });
});
