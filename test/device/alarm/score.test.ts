import * as assert from "uvu/assert";
import { type Contribution, createScore } from "../../../src/device/alarm/score.ts";
import { generator } from "../../lib/fuzz.ts";
import { suite } from "../../lib/suite.ts";

const second = 1_000_000;
const of = (source: string, points: number, atS: number): Contribution => ({
  ...{ source, points, atUs: atS * second, isInstant: false },
});

/** The same by its definition, without keeping anything. */
function reference(all: readonly Contribution[], windowUs: number, sliceUs: number) {
  const counted: Contribution[] = [];
  for (const one of all) {
    const before = counted.findLast(({ source }) => source === one.source);
    if (one.points > 0 && (!before || one.atUs - before.atUs >= sliceUs)) counted.push(one);
  }
  return (nowUs: number) =>
    counted
      .filter(({ atUs }) => atUs <= nowUs && atUs > nowUs - windowUs)
      .reduce((sum, { points }) => sum + points, 0);
}

suite("device/alarm/score", (test) => {
  test("what counted is in the score from then on, and gone after the window, to the microsecond", () => {
    const score = createScore({ windowUs: 60 * second, sliceUs: 10 * second });
    assert.is(score.at(0), 0);
    assert.ok(score.add(of("door", 50, 1)));
    assert.ok(score.add(of("motion", 2, 3)));
    assert.is(score.at(3 * second), 52);
    assert.is(score.at(61 * second - 1), 52);
    assert.is(score.at(61 * second), 2);
    assert.is(score.at(63 * second), 0);
    assert.equal(score.parts(63 * second), []);
  });

  test("a source counts once in its slice, however often it speaks; others beside it", () => {
    const score = createScore({ windowUs: 60 * second, sliceUs: 10 * second });
    assert.ok(score.add(of("door", 50, 0)));
    for (let i = 1; i < 1000; i++) assert.not(score.add(of("door", 50, i / 100)));
    assert.ok(score.add(of("window", 7, 9.99)));
    assert.is(score.at(9.99 * second), 57);
    assert.ok(score.add(of("door", 50, 10)), "the next slice");
    assert.is(score.at(10 * second), 107);
    assert.equal(
      score.parts(10 * second).map(({ source }) => source),
      ["door", "window", "door"],
    );
    assert.equal(
      score.fresh(10 * second).map(({ atUs }) => atUs),
      [10 * second],
    );
  });

  test("without points nothing counts, and no slice begins", () => {
    const score = createScore({ windowUs: 60 * second, sliceUs: 10 * second });
    assert.not(score.add(of("hall", 0, 0)));
    assert.ok(score.add(of("hall", 5, 1)));
  });

  test("what comes late counts as of now: time never goes back", () => {
    const score = createScore({ windowUs: 60 * second, sliceUs: 10 * second });
    score.at(100 * second);
    assert.ok(score.add(of("door", 50, 5)));
    assert.is(score.at(100 * second), 50);
    assert.is(score.at(159 * second), 50);
    assert.is(score.at(160 * second), 0);
  });

  test("a slice as long as the window, and what was cleared counts anew", () => {
    const score = createScore({ windowUs: 10 * second, sliceUs: 10 * second });
    score.add(of("door", 5, 0));
    assert.not(score.add(of("door", 5, 9)));
    assert.ok(score.add(of("door", 5, 10)));
    assert.is(score.at(10 * second), 5);
    score.clear();
    assert.is(score.at(10 * second), 0);
    assert.ok(score.add(of("door", 5, 10)));
  });

  test("2,000 random histories: the sum is what its definition says, at every moment", () => {
    const random = generator(7);
    const whole = (least: number, most: number) => least + random(most - least + 1);
    let added = 0;
    for (let round = 0; round < 2_000; round++) {
      const windowUs = whole(1, 20);
      const sliceUs = whole(1, windowUs);
      const score = createScore({ windowUs, sliceUs });
      const told: Contribution[] = [];
      let nowUs = 0;
      for (let i = 0; i < 40; i++) {
        nowUs += whole(0, 6);
        const one = { source: "abc"[whole(0, 2)] ?? "", points: whole(0, 3), atUs: nowUs };
        told.push({ ...one, isInstant: false });
        if (score.add({ ...one, isInstant: false })) added++;
        if (random(2) === 0) nowUs += whole(0, 9);
        const expected = reference(told, windowUs, sliceUs)(nowUs);
        assert.is(score.at(nowUs), expected, `round ${round}, step ${i}`);
        const parts = score.parts(nowUs);
        assert.is(
          parts.reduce((sum, { points }) => sum + points, 0),
          expected,
        );
      }
    }
    assert.ok(added > 10_000, `${added} counted`);
  });
});
