import * as assert from "uvu/assert";
import { systemClock } from "../../src/base/node/time.ts";
import { ManualClock } from "../../src/base/pure/clock.ts";
import { suite } from "../lib/suite.ts";

suite("base/clock", (test) => {
  test("a manual clock wakes whoever is due, and only them", async () => {
    const clock = new ManualClock();
    const woken: string[] = [];
    const early = clock.sleep(10).then(() => woken.push("early"));
    const late = clock.sleep(20).then(() => woken.push("late"));
    clock.advance(10);
    await early;
    assert.equal(woken, ["early"]);
    clock.advance(10);
    await late;
    assert.equal(woken, ["early", "late"]);
  });

  test("a step of wall time moves no monotonic time", () => {
    const clock = new ManualClock(1000, 5);
    clock.stepWall(-500);
    assert.equal([clock.wallMs(), clock.monotonicUs()], [500, 5]);
  });

  for (const [name, clock] of Object.entries({ manual: new ManualClock(), system: systemClock })) {
    test(`a ${name} sleep ends with the signal's reason`, async () => {
      const stop = new AbortController();
      const sleeping = clock.sleep(60_000, stop.signal);
      stop.abort(new Error("stopped"));
      await sleeping.then(
        () => assert.unreachable(),
        (error) => assert.is(error.message, "stopped"),
      );
      await clock.sleep(1, stop.signal).then(
        () => assert.unreachable(),
        (error) => assert.is(error.message, "stopped"),
      );
    });
  }

  test("the system clock is CLOCK_MONOTONIC in microseconds", async () => {
    const before = systemClock.monotonicUs();
    await systemClock.sleep(5);
    const spent = systemClock.monotonicUs() - before;
    assert.ok(spent >= 4_000 && spent < 60_000_000, `${spent}`);
  });
});
