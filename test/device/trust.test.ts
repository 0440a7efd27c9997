import * as assert from "uvu/assert";
import { ManualClock } from "../../src/base/pure/clock.ts";
import { watchClock } from "../../src/device/trust.ts";
import { suite } from "../lib/suite.ts";

const settle = () => new Promise((resolve) => setImmediate(resolve));

suite("device/trust", (test) => {
  test("says once when the clock was set, with what it would have read", async () => {
    const clock = new ManualClock(1_000_000, 0);
    const stop = new AbortController();
    const said: number[] = [];
    let isSet = false;
    const trust = await watchClock({
      clock,
      signal: stop.signal,
      onSynchronised: (beforeMs) => said.push(beforeMs),
      ask: async () => isSet,
    });
    assert.is(trust.trusted(), false);
    clock.advance(30_000);
    await settle();
    assert.equal(said, []);
    clock.stepWall(5_000_000_000);
    isSet = true;
    clock.advance(30_000);
    await settle();
    assert.is(trust.trusted(), true);
    assert.equal(said, [1_060_000]);
    clock.advance(30_000);
    await settle();
    assert.equal(said, [1_060_000]);
    stop.abort();
    await trust.ended;
  });

  test("a clock that is right from the start is no news", async () => {
    const clock = new ManualClock();
    const stop = new AbortController();
    const said: number[] = [];
    const trust = await watchClock({
      clock,
      signal: stop.signal,
      onSynchronised: (beforeMs) => said.push(beforeMs),
      ask: async () => true,
    });
    assert.is(trust.trusted(), true);
    clock.advance(60_000);
    await settle();
    assert.equal(said, []);
    stop.abort();
    await trust.ended;
  });
});
