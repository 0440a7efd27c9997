import * as assert from "uvu/assert";
import { type Candidate, chooseVictims } from "../../../src/device/outbox/retention.ts";
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
});
