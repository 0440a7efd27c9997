import * as assert from "uvu/assert";
import { Load, ThinnedList } from "../../../src/device/record/load.ts";
import { suite } from "../../lib/suite.ts";

const s = 1_000_000;

suite("device/record/load", (test) => {
  test("two seconds behind: every second picture; when that does not help, smaller", () => {
    const load = new Load();
    assert.is(load.judge(0, 1.9 * s), "all");
    assert.is(load.judge(1 * s, 2.1 * s), "every-second");
    assert.is(load.judge(3 * s, 5 * s), "every-second");
    assert.is(load.judge(4 * s, 1.9 * s), "every-second");
    assert.is(load.judge(4.1 * s, 2.1 * s), "smaller");
  });

  test("it comes back when it has caught up, but not with every breath", () => {
    const load = new Load();
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
