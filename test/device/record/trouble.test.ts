import { setTimeout as wait } from "node:timers/promises";
import * as assert from "uvu/assert";
import { Failure, isFailure } from "../../../src/base/pure/failure.ts";
import type { Encoder } from "../../../src/device/record/record.ts";
import { makeJpegs, type Size } from "../../lib/footage.ts";
import { closing, decode, id, isRange, openWorld, realEncoder } from "../../lib/recorder.ts";
import { suite } from "../../lib/suite.ts";

suite("device/record/trouble", (test) => {
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
    { deadlineMs: 300_000 },
  );

  test(
    "a slow encoder gets every second picture, then smaller ones in a next clip",
    async () => {
      const preRoll = 75;
      let fed = 0;
      const encoder: Encoder = {
        ...realEncoder,
        start(input) {
          const run = realEncoder.start(input);
          // Five pictures a second at full size, as many as you like at half.
          if (input.halfSize) return run;
          return {
            ...run,
            async write(jpeg, atUs) {
              if (fed >= preRoll) await wait(40);
              await run.write(jpeg, atUs);
              fed += 1;
            },
          };
        },
      };
      await using world = openWorld({ encoder });
      await world.play(90, 15);
      world.start(id(1));
      // However long ffmpeg takes to start: what follows is as much too fast for it on any machine.
      while (fed < preRoll) await wait(5);
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
    { deadlineMs: 300_000 },
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
