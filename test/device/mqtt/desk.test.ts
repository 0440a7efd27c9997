import * as assert from "uvu/assert";
import { ManualClock } from "../../../src/base/pure/clock.ts";
import { Desk, type Session } from "../../../src/device/mqtt/desk.ts";
import { suite } from "../../lib/suite.ts";

type Sent = { topic: string; payload: string; retain: boolean; answer(isTaken?: boolean): void };

/** A connection that answers when it is told to. */
function openSession(most = 65_535) {
  const sent: Sent[] = [];
  const session: Session = {
    most,
    publish: (topic, payload, { retain }) =>
      new Promise((resolve) => {
        sent.push({ topic, payload, retain, answer: (isTaken = true) => resolve(isTaken) });
      }),
    subscribe: async () => true,
    unsubscribe: async () => {},
  };
  const told = () => sent.map(({ topic, payload }) => `${topic}=${payload}`);
  const answer = async () => {
    for (let i = 0; i < sent.length; i++) {
      sent[i]?.answer();
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  return { session, sent, told, answer };
}

function openDesk(mostLetters = 4) {
  const clock = new ManualClock();
  const refused: string[][] = [];
  const onRefused = (topics: readonly string[]) => void refused.push([...topics]);
  return { clock, refused, desk: new Desk({ clock, mostLetters, letterMs: 60_000, onRefused }) };
}

suite("device/mqtt/desk", (test) => {
  test("of a state only what it is now goes, however often it changed while nobody listened", async () => {
    const { desk } = openDesk();
    for (let i = 0; i < 10_000; i++) desk.set("count", String(i));
    desk.set("person", "ON");
    const first = openSession();
    desk.attach(first.session);
    assert.equal(first.told(), ["count=9999", "person=ON"]);
    await first.answer();
    await desk.settled();
    desk.set("person", "ON");
    assert.is(first.sent.length, 2);
  });

  test("one of a topic is under way at a time, and the newest follows it", async () => {
    const { desk } = openDesk();
    const { session, told, answer } = openSession();
    desk.attach(session);
    for (const payload of ["1", "2", "3"]) desk.set("count", payload);
    assert.equal(told(), ["count=1"]);
    await answer();
    assert.equal(told(), ["count=1", "count=3"]);
  });

  test("eight at a time, letters first and in their order", async () => {
    const { desk } = openDesk(64);
    for (let i = 0; i < 20; i++) desk.set(`s${i}`, "x");
    for (let i = 0; i < 3; i++) desk.send("event", String(i), { isMinor: false });
    const { session, sent, told, answer } = openSession();
    desk.attach(session);
    assert.is(sent.length, 8);
    assert.equal(told().slice(0, 3), ["event=0", "event=1", "event=2"]);
    assert.equal(sent.map(({ retain }) => retain).slice(2, 4), [false, true]);
    await answer();
    await desk.settled();
    assert.is(sent.length, 23);
  });

  test("no more at a time than the broker takes", async () => {
    const { desk } = openDesk();
    for (let i = 0; i < 5; i++) desk.set(`s${i}`, "x");
    const { session, sent, answer } = openSession(2);
    desk.attach(session);
    assert.is(sent.length, 2);
    await answer();
    assert.is(sent.length, 5);
  });

  test("what is larger than the broker takes is not sent, is told, and holds up nothing", async () => {
    const { desk, refused } = openDesk();
    const { session, told, answer } = openSession();
    desk.attach({ ...session, mostBytes: 100 });
    desk.set("large", "ü".repeat(50));
    desk.send("event", "x".repeat(200), { isMinor: false });
    desk.set("small", "x".repeat(60));
    await answer();
    await desk.settled();
    assert.equal(told(), [`small=${"x".repeat(60)}`]);
    assert.equal(refused, [["large"], ["large", "event"]]);
    desk.set("large", "fits");
    assert.is(told().at(-1), "large=fits");
    await answer();
    assert.equal(refused.at(-1), ["event"], "what fits now is no fault any more");
  });

  test("a connection that broke: everything is said again, letters that nobody took too", async () => {
    const { desk } = openDesk();
    desk.set("person", "ON");
    desk.send("event", "new", { isMinor: false });
    const first = openSession();
    desk.attach(first.session);
    assert.equal(first.told(), ["event=new", "person=ON"]);
    desk.detach();
    await desk.settled();
    // An answer of the connection that is over is none.
    await first.answer();
    const second = openSession();
    desk.attach(second.session);
    assert.equal(second.told(), ["event=new", "person=ON"]);
    await second.answer();
    const third = openSession();
    desk.attach(third.session);
    assert.equal(third.told(), ["person=ON"]);
  });

  test("letters are bounded: the oldest minor one goes first, and none is kept for long", async () => {
    const { desk, clock } = openDesk();
    desk.send("event", "new", { isMinor: false });
    for (let i = 0; i < 100; i++) desk.send("event", `u${i}`, { isMinor: true });
    desk.send("event", "end", { isMinor: false });
    const first = openSession();
    desk.attach(first.session);
    assert.equal(first.told(), ["event=new", "event=u98", "event=u99", "event=end"]);
    desk.detach();
    clock.advance(61_000);
    desk.send("event", "later", { isMinor: false });
    const second = openSession();
    desk.attach(second.session);
    assert.equal(second.told(), ["event=later"]);
  });

  test("a topic that is taken away is forgotten, and one that is refused is told and not tried again", async () => {
    const { desk, refused } = openDesk();
    const { session, sent, told } = openSession();
    desk.attach(session);
    desk.set("zone", "ON");
    sent[0]?.answer();
    await new Promise((resolve) => setImmediate(resolve));
    desk.set("zone", "");
    sent[1]?.answer();
    desk.set("motion", "ON");
    sent[2]?.answer(false);
    await new Promise((resolve) => setImmediate(resolve));
    await desk.settled();
    assert.equal(told(), ["zone=ON", "zone=", "motion=ON"]);
    assert.equal(refused, [["motion"]]);
    desk.repeat();
    assert.equal(told().slice(3), ["motion=ON"]);
    assert.equal(desk.topics(), ["motion"]);
  });

  test("what was refused is said again when it is tried anew, and what was taken is not", async () => {
    const { desk, refused } = openDesk();
    const { session, sent, told } = openSession();
    const soon = () => new Promise((resolve) => setImmediate(resolve));
    desk.attach(session);
    for (const topic of ["person", "device"]) desk.set(topic, "x");
    desk.set("stale", "");
    sent[0]?.answer();
    for (const one of sent.slice(1)) one.answer(false);
    await soon();
    assert.equal(refused.at(-1), ["device", "stale"]);
    desk.retry();
    assert.equal(told().slice(3), ["device=x", "stale="]);
    for (const one of sent.slice(3)) one.answer();
    await soon();
    assert.equal(refused.at(-1), []);
    desk.retry();
    assert.is(sent.length, 5);
    // Another connection finds out for itself.
    desk.set("device", "y");
    sent[5]?.answer(false);
    await soon();
    assert.equal(refused.at(-1), ["device"]);
    const next = openSession();
    desk.attach(next.session);
    await next.answer();
    assert.equal(refused.at(-1), ["device"], "who asks for a connection clears what it was told");
    desk.retry();
    assert.equal(next.told(), ["person=x", "device=y"]);
  });
});
