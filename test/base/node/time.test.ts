import * as assert from "uvu/assert";
import { systemClock } from "../../../src/base/node/time.ts";
import { suite } from "../../lib/suite.ts";

suite("time", (test) => {
  test("nobody wakes before it is time by the same clock", async () => {
    let early = 0;
    const sleep = async (_: unknown, i: number) => {
      await systemClock.sleep(i * 0.7);
      const untilUs = systemClock.monotonicUs() + 20_000;
      await systemClock.sleep(20);
      if (systemClock.monotonicUs() < untilUs) early += 1;
    };
    await Promise.all(Array.from({ length: 500 }, sleep));
    assert.is(early, 0);
  });

  test("a sleep ends with the reason of its signal", async () => {
    const end = new AbortController();
    const reason = new Error("enough");
    const slept = systemClock.sleep(60_000, end.signal).catch((error) => error);
    end.abort(reason);
    assert.is(await slept, reason);
  });
});
