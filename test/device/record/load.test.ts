import * as assert from "uvu/assert";
import { Load, ThinnedList } from "../../../src/device/record/load.ts";
import { suite } from "../../lib/suite.ts";

const s = 1_000_000;

/** One whose pre-roll has drained. */
function drained(): Load {
  const load = new Load();
  assert.is(load.judge(-10 * s, 0.1 * s), "all");
  return load;
}

suite("device/record/load", (test) => {
  test("while it catches up with its pre-roll nothing is left out", () => {
    const load = new Load();
    for (let t = 0; t < 10; t++) assert.is(load.judge(t * s, (5 - t / 2) * s), "all");
    // It has caught up: from now on the rule is the rule.
    assert.is(load.judge(11 * s, 0.1 * s), "all");
    assert.is(load.judge(12 * s, 2.1 * s), "every-second");
  });

  test("one that does not gain for three seconds is too slow", () => {
    const load = new Load();
    assert.is(load.judge(0, 5 * s), "all");
    assert.is(load.judge(1 * s, 4.5 * s), "all");
    assert.is(load.judge(3.9 * s, 4.46 * s), "all");
    assert.is(load.judge(4 * s, 4.46 * s), "every-second");
    assert.is(load.judge(7 * s, 4.4 * s), "smaller");
  });

  test("two seconds behind: every second picture; when that does not help, smaller", () => {
    const load = drained();
    assert.is(load.judge(0, 1.9 * s), "all");
    assert.is(load.judge(1 * s, 2.1 * s), "every-second");
    assert.is(load.judge(3 * s, 5 * s), "every-second");
    assert.is(load.judge(4 * s, 1.9 * s), "every-second");
    assert.is(load.judge(4.1 * s, 2.1 * s), "smaller");
  });

  test("it comes back when it has caught up, but not with every breath", () => {
    const load = drained();
    load.judge(0, 3 * s);
    assert.is(load.judge(1 * s, 0.1 * s), "every-second");
    assert.is(load.judge(4 * s, 0.6 * s), "every-second");
    assert.is(load.judge(5 * s, 0.4 * s), "all");
    assert.is(load.judge(6 * s, 0.4 * s), "all");
    assert.is(load.judge(7 * s, 2.5 * s), "every-second");
  });

  test("neighbouring gaps of a kind are one; the list is bounded and never says too little", () => {
    const list = new ThinnedList();
    list.add("half-rate", 0);
    list.add("dropped", 0.4 * s);
    list.add("half-rate", 0.9 * s);
    list.add("half-rate", 3 * s);
    assert.equal(list.all(), [
      { fromUs: 0, toUs: 0.9 * s, how: "half-rate" },
      { fromUs: 0.4 * s, toUs: 0.4 * s, how: "dropped" },
      { fromUs: 3 * s, toUs: 3 * s, how: "half-rate" },
    ]);
    for (let i = 0; i < 1000; i++) list.add("dropped", (10 + 5 * i) * s);
    const all = list.all();
    assert.is(all.length, 256);
    for (let i = 0; i < 1000; i++) {
      const at = (10 + 5 * i) * s;
      assert.ok(all.some((gap) => gap.how === "dropped" && gap.fromUs <= at && at <= gap.toUs));
    }
  });
});
