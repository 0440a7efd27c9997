import * as assert from "uvu/assert";
import { openLimits, plainAddress } from "../../../src/device/local/limit.ts";
import { suite } from "../../lib/suite.ts";

function world(ofAll = { perSecond: 1000, burst: 10_000 }) {
  const time = { ms: 0 };
  const limits = openLimits({
    connectionsOfAddress: 2,
    connections: { ofAddress: { perSecond: 1, burst: 10 }, ofAll: { perSecond: 10, burst: 100 } },
    requests: { ofAddress: { perSecond: 2, burst: 5 }, ofAll },
    monotonicMs: () => time.ms,
  });
  const taken = (address: string, times: number) =>
    Array.from({ length: times }, () => limits.take(address)).filter(Boolean).length;
  return { ...limits, time, taken };
}

suite("device/local/limit", (test) => {
  test("an address has its burst, then its rate, and is heard again however hard it knocks", () => {
    const at = world();
    assert.is(at.taken("a", 20), 5);
    assert.is(at.taken("b", 20), 5);
    at.time.ms += 1000;
    assert.is(at.taken("a", 20), 2);
    at.time.ms += 3_600_000;
    assert.is(at.taken("a", 20), 5);
    at.time.ms += 3_600_000;
    at.charge("a", 100);
    assert.is(at.taken("a", 20), 0);
    at.time.ms += 500;
    assert.is(at.taken("a", 20), 1);
  });

  test("all together have theirs", () => {
    const at = world({ perSecond: 1, burst: 8 });
    assert.is(at.taken("a", 20) + at.taken("b", 20) + at.taken("c", 20), 8);
    at.time.ms += 1000;
    assert.is(at.taken("d", 20), 1);
  });

  test("who guesses takes nobody else's place, however long and hard", () => {
    const at = world({ perSecond: 10, burst: 50 });
    let [heard, refused] = [0, 0];
    for (let i = 0; i < 2_000; i++) {
      at.time.ms += 50;
      if (at.take("guesser")) at.charge("guesser", 10);
      if (i % 20 === 0) at.take("reader") ? heard++ : refused++;
    }
    assert.equal([heard, refused], [100, 0]);
  });

  test("100,000 addresses leave bounded memory behind, and the newest are known", () => {
    const at = world({ perSecond: 1e9, burst: 1e9 });
    for (let i = 0; i < 100_000; i++) at.take(`10.0.${i >> 8}.${i & 255}`);
    assert.is(at.taken("x", 20), 5);
    for (let i = 0; i < 1_000; i++) at.take(`11.0.${i >> 8}.${i & 255}`);
    assert.is(at.taken("x", 20), 0, "forgotten too soon");
  });

  test("connections are counted up and down", () => {
    const at = world();
    assert.equal([at.connect("a"), at.connect("a"), at.connect("a")], [true, true, false]);
    assert.is(at.connect("b"), true);
    at.disconnect("a");
    assert.is(at.connect("a"), true);
    for (let i = 0; i < 10; i++) at.disconnect("a");
    assert.equal([at.connect("a"), at.connect("a"), at.connect("a")], [true, true, false]);
    // Five were made; five more may be, one after the other, and then one a second.
    let made = 0;
    for (let i = 0; i < 20; i++) {
      at.disconnect("a");
      if (at.connect("a")) made += 1;
    }
    assert.is(made, 5);
    at.time.ms += 2000;
    at.disconnect("a");
    assert.is(at.connect("a"), true);
  });

  test("an IPv4 address is the same within IPv6", () => {
    assert.is(plainAddress("::ffff:10.0.0.1"), "10.0.0.1");
    assert.is(plainAddress("fe80::1"), "fe80::1");
    assert.is(plainAddress(undefined), "");
  });
});
