import * as assert from "uvu/assert";
import {
  type Candidate,
  chooseExpired,
  chooseVictims,
  type DayMark,
} from "../../../src/device/outbox/retention.ts";
import { suite } from "../../lib/suite.ts";

const clip = (name: string, orderMs: number, bytes: number, isOpen = false): Candidate => ({
  ...{ clip: name, orderMs, bytes, isOpen },
});
const room = { incomingBytes: 10, usedBytes: 90, limitBytes: 100, spareBytes: 1000 };

suite("retention", (test) => {
  test("nothing goes while there is room, to the byte", () => {
    assert.equal(chooseVictims([clip("a", 1, 90)], room), { victims: [], enough: true });
  });

  test("one byte too many costs the oldest clip, and no more than needed", () => {
    const list = [clip("new", 3, 30), clip("old", 1, 30), clip("middle", 2, 30)];
    assert.equal(chooseVictims(list, { ...room, incomingBytes: 11 }).victims, ["old"]);
    assert.equal(chooseVictims(list, { ...room, incomingBytes: 40 }).victims, ["old"]);
    assert.equal(chooseVictims(list, { ...room, incomingBytes: 41 }).victims, ["old", "middle"]);
  });

  test("the card's own room counts like the limit", () => {
    const list = [clip("a", 1, 30), clip("b", 2, 30)];
    const full = { ...room, limitBytes: 1000, spareBytes: -25 };
    assert.equal(chooseVictims(list, full), { victims: ["a", "b"], enough: true });
  });

  test("a clip that is being recorded never goes, however old", () => {
    const list = [clip("running", 1, 80, true), clip("over", 2, 10)];
    const chosen = chooseVictims(list, { ...room, incomingBytes: 15 });
    assert.equal(chosen, { victims: ["over"], enough: true });
    assert.is(chooseVictims(list, { ...room, incomingBytes: 50 }).enough, false);
  });

  test("clips of one moment go in a fixed order", () => {
    const list = [clip("b", 1, 5), clip("a", 1, 5)];
    assert.equal(chooseVictims(list, { ...room, incomingBytes: 11 }).victims, ["a"]);
  });

  test("a clip goes after as many whole days, whichever way the order of clips came about", () => {
    const all = [clip("a", 5, 1), clip("b", 7, 1), clip("c", 9, 1)];
    let there: Candidate[] = [];
    let marks: DayMark[] = [];
    const gone: [number, string[]][] = [];
    for (let today = 0; today < 6; today++) {
      there.push(...all.slice(today, today + 1));
      const chosen = chooseExpired(there, marks, { today, retentionDays: 2 });
      there = there.filter((one) => !chosen.victims.includes(one.clip));
      if (chosen.victims.length > 0) gone.push([today, chosen.victims]);
      marks = chosen.marks;
      assert.ok(marks.length <= 3, "no more than the days kept, and today");
    }
    assert.equal(gone, [
      [3, ["a"]],
      [4, ["b"]],
      [5, ["c"]],
    ]);
  });

  test("what is recorded goes when it is over; days without a look at the clips are no shorter", () => {
    const marks = [{ day: 0, orderMs: 5 }];
    const running = [clip("long", 4, 1, true), clip("new", 6, 1)];
    const first = chooseExpired(running, marks, { today: 9, retentionDays: 3 });
    assert.equal(first, { victims: [], marks: [{ day: 9, orderMs: 6 }] });
    const over = running.map((one) => ({ ...one, isOpen: false }));
    const later = chooseExpired(over, first.marks, { today: 12, retentionDays: 3 });
    assert.equal(later.victims, []);
    const last = chooseExpired(over, later.marks, { today: 13, retentionDays: 3 });
    assert.equal(last.victims, ["long", "new"]);
  });
});
