import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { systemClock } from "../../../src/base/node/time.ts";
import { toHex } from "../../../src/base/pure/bytes.ts";
import { ManualClock } from "../../../src/base/pure/clock.ts";
import { Failure, isFailure } from "../../../src/base/pure/failure.ts";
import type { Push } from "../../../src/device/push/push.ts";
import { until } from "../../lib/mosquitto.ts";
import { browserAt, clipOf, openPushing, type Pushing } from "../../lib/pushing.ts";
import { suite } from "../../lib/suite.ts";

const here = "https://push.example/send/";

async function house(options: Parameters<typeof openPushing>[0] = {}, more = {}) {
  const at = await openPushing(options);
  const push = await at.open(more);
  const [relay] = at.relays;
  if (!relay) throw new Error("no relay");
  const browser = browserAt(`${here}one`, at.camera);
  await push.subscribe(browser.phone, browser.subscription);
  return { at, push, relay, browser, [Symbol.asyncDispose]: () => at[Symbol.asyncDispose]() };
}

const whyNot = async (act: Promise<unknown>) => {
  try {
    await act;
  } catch (error) {
    if (isFailure(error)) return `${error.kind}: ${error.message}`;
    throw error;
  }
  return "done";
};

const saidOf = ({ notes }: Pushing) =>
  notes.flatMap((one) => (one.kind === "push" ? [one.what] : []));

suite("device/push", (test) => {
  test("one message for a visit, when its picture can be fetched and not before", async () => {
    await using all = await house();
    const { at, push, relay, browser } = all;
    const clip = await at.visit(push, { isAway: true, persons: 2 });
    assert.is(relay.pushes.length, 0);
    push.event({ event: "relayed", clip: "00".repeat(16), number: 0, atUs: 1, relay: 0 });
    assert.is(relay.pushes.length, 0);
    at.relayed(push, clip);
    await until("sent", () => relay.pushes.length === 1);
    const [message] = relay.pushes;
    assert.ok(message);
    const { endpoint, ttlS, urgency, topic } = message;
    assert.equal(
      { endpoint, ttlS, urgency, topic },
      { endpoint: `${here}one`, ttlS: 3600, urgency: "high", topic: "" },
    );
    const pointer = browser.read(message);
    assert.equal(
      { ...pointer, camera: undefined, phone: undefined, wallMs: 0, picture: 0 },
      {
        ...{ camera: undefined, phone: undefined, subscription: browser.subscription.id },
        ...{ incarnation: 1, number: 1, wallMs: 0, clockTrusted: true, what: "visit" },
        ...{ clip: clipOf(clip), picture: 0, persons: 2, name: "Porch" },
      },
    );
    // The parts that the picture needs are no more than those that lay there.
    assert.ok((pointer.picture ?? 99) < 8);
    // What of it goes by again changes nothing.
    at.relayed(push, clip);
    await at.visit(push, { isAway: true, isUnseen: true });
    assert.is(relay.pushes.length, 1);
    assert.equal(saidOf(at), ["key", "added"]);
    assert.equal(at.problems, []);
  });

  test("of a clip that a relay holds whole nothing more is waited for", async () => {
    await using all = await house();
    const { at, push, relay } = all;
    const clip = await at.visit(push, { isAway: true });
    at.whole.add(clip);
    push.event({ event: "relayed", clip: "00".repeat(16), number: 0, atUs: 1, relay: 0 });
    await until("sent", () => relay.pushes.length === 1);
  });

  test("all messages are of one length, whatever they say", async () => {
    await using all = await house();
    const { at, push, relay, browser } = all;
    await at.visit(push, { persons: 7 });
    await push.test(browser.phone);
    push.said({
      ...{ kind: "alarm", what: "siren", mode: "away", by: "evidence", score: 9, text: "why" },
    });
    await until("all sent", () => relay.pushes.length === 3);
    const whats = relay.pushes.map((message) => browser.read(message).what).sort();
    assert.equal(whats, ["alarm", "test", "visit"]);
    const shapes = relay.pushes.map(({ body, ttlS, urgency, topic }) =>
      [body.length, ttlS, urgency, topic].join(" "),
    );
    assert.equal([...new Set(shapes)], ["2027 3600 high "]);
    // An alarm that only warns is none yet.
    push.said({
      ...{ kind: "alarm", what: "warning", mode: "away", by: "evidence", score: 9, text: "why" },
    });
    assert.is(relay.pushes.length, 3);
  });

  test("no more in an hour than the settings say, and nothing that is an hour old", async () => {
    const clock = new ManualClock(Date.UTC(2026, 10, 23, 3));
    const push = { perHour: 2, contact: "mailto:camera@example.org" };
    await using all = await house({ clock }, { config: { name: "Porch", push } });
    const { at, relay } = all;
    const sent = async (count: number) => {
      await until(`${count} sent`, () => relay.pushes.length >= count);
      assert.is(relay.pushes.length, count);
    };
    for (let i = 0; i < 4; i++) await at.visit(all.push);
    await sent(2);
    // The two that wait are told when there is room, while they are news.
    clock.advance(3_500_000);
    await at.visit(all.push);
    assert.is(relay.pushes.length, 2);
    clock.advance(200_000);
    await until("the new one", () => relay.pushes.length === 3);
    clock.advance(10_000);
    assert.is(relay.pushes.length, 3);
    // A relay that was away for longer hears of nothing that is old.
    relay.mischief = { down: true };
    clock.advance(3_700_000);
    await at.visit(all.push);
    await until("tried", () => at.log().includes("no whole answer"));
    clock.advance(3_700_000);
    relay.mischief = {};
    const clip = await at.visit(all.push);
    // For as long as this one is news itself.
    let minutes = 0;
    await until("tried again", () => {
      if (minutes++ < 30) clock.advance(60_000);
      return relay.pushes.length >= 4;
    });
    const last = relay.pushes.at(-1);
    assert.is(toHex((last && all.browser.read(last).clip) ?? new Uint8Array()), clip);
    assert.is(relay.pushes.length, 4);
  });

  test("a service that wants patience is given it, and gets the same message again", async () => {
    const clock = new ManualClock(Date.UTC(2026, 10, 23, 3));
    await using all = await house({ clock });
    const { at, push, relay } = all;
    relay.verdict = () => ({ kind: "later", seconds: 120 });
    await at.visit(push);
    await until("asked", () => relay.pushes.length === 1 && at.log().includes("at present"));
    clock.advance(100_000);
    await at.visit(push);
    assert.is(relay.pushes.length, 1);
    relay.verdict = () => ({ kind: "accepted" });
    clock.advance(30_000);
    await until("all sent", () => relay.pushes.length === 3);
    const bodies = relay.pushes.map(({ body }) => toHex(body));
    assert.is(bodies.filter((body) => body === bodies[0]).length, 2);
    const numbers = relay.pushes.map((message) => all.browser.read(message).number);
    assert.equal([...new Set(numbers)].sort(), [1, 2]);
    assert.equal([...at.faults], []);
  });

  test("a service that wants more patience than the back-off has is given that too", async () => {
    const clock = new ManualClock(Date.UTC(2026, 10, 23, 3));
    await using all = await house({ clock });
    const { at, push, relay } = all;
    relay.verdict = () => ({ kind: "later", seconds: 1800 });
    await at.visit(push);
    await until("asked", () => relay.pushes.length === 1 && at.log().includes("at present"));
    for (let i = 0; i < 17; i++) {
      clock.advance(100_000);
      await systemClock.sleep(20);
      await at.visit(push);
    }
    assert.is(relay.pushes.length, 1);
    relay.verdict = () => ({ kind: "accepted" });
    clock.advance(110_000);
    await until("all sent", () => relay.pushes.length === 19);
    const [first, ...others] = relay.pushes.map(({ body }) => toHex(body));
    assert.is(others.filter((body) => body === first).length, 1);
  });

  test("the second relay does it where the first does not", async () => {
    await using all = await house({ relays: 2 });
    const { at, push } = all;
    const [first, second] = at.relays;
    if (!first || !second) throw new Error("no relays");
    first.mischief = { down: true };
    await at.visit(push);
    await until("sent", () => second.pushes.length === 1);
    first.mischief = {};
    first.onRequest = () => {
      throw new Failure("refused", "this relay hands no messages on", { stage: "push" });
    };
    await at.visit(push);
    await until("sent", () => second.pushes.length === 2);
    // Where none does it the owner hears of it.
    second.onRequest = first.onRequest;
    await at.visit(push);
    await until("said", () => at.faults.size === 1);
    assert.match([...at.faults.values()][0] ?? "", /hands no messages on/);
  });

  test("a subscription that the service does not know is dropped, and the log says so", async () => {
    await using all = await house();
    const { at, push, relay, browser } = all;
    const other = browserAt(`${here}two`, at.camera);
    await push.subscribe(other.phone, other.subscription);
    relay.verdict = () =>
      relay.pushes.at(-1)?.endpoint.endsWith("one") ? { kind: "gone" } : { kind: "accepted" };
    await at.visit(push);
    await until("gone", () => saidOf(at).includes("gone"));
    await until("both asked", () => relay.pushes.length === 2);
    const gone = at.notes.findLast((one) => one.kind === "push");
    assert.equal(gone, {
      ...{ kind: "push", what: "gone", phone: browser.phone, id: browser.subscription.id },
      service: "push.example",
    });
    await at.visit(push);
    await until("the other", () => relay.pushes.length === 3);
    assert.ok(relay.pushes[2]?.endpoint.endsWith("two"));
    // Also by a test, which says it.
    relay.verdict = () => ({ kind: "gone" });
    assert.match(await whyNot(push.test(other.phone)), /^absent: .*does not know/);
    assert.match(await whyNot(push.test(other.phone)), /^absent: this phone has no subscription/);
  });

  test("who was subscribed is so after a new start, with what waits and the next number", async () => {
    await using at = await openPushing();
    const [relay] = at.relays;
    if (!relay) throw new Error("no relay");
    const browser = browserAt(`${here}one`, at.camera);
    const first = await at.open();
    await first.subscribe(browser.phone, browser.subscription);
    await at.visit(first);
    await until("sent", () => relay.pushes.length === 1);
    relay.mischief = { down: true };
    const old = await at.visit(first, { isAway: true });
    const path = join(at.mailed.state, "push", "subscribers");
    const written = async () => JSON.parse(await readFile(path, "utf8"));
    const isKept = (all: Awaited<ReturnType<typeof written>>) =>
      all.subscriptions[0].tray.visits.map((one: { clip: string }) => one.clip).join() === old;
    let text = await written();
    // Nobody waits for what is kept: it comes behind the clip's own parts.
    for (let tries = 0; tries < 3_000 && !isKept(text); tries++) {
      await systemClock.sleep(20);
      text = await written();
    }
    assert.is(text.subscriptions[0].tray.visits.length, 1);
    // Made-up visits are of a fixed day: one that was a minute ago is news.
    text.subscriptions[0].tray.visits[0].atMs = Date.now() - 60_000;
    await first.close();
    const { writeFile } = await import("node:fs/promises");
    await writeFile(path, JSON.stringify(text));
    relay.mischief = {};
    const second = await at.open();
    at.relayed(second, old);
    await until("sent", () => relay.pushes.length === 2);
    const last = relay.pushes.at(-1);
    assert.ok(last);
    const { number, clip } = browser.read(last);
    assert.equal([number, toHex(clip ?? new Uint8Array())], [2, old]);
    await second.close();
    // One of a day ago is none.
    text.subscriptions[0].tray.visits[0].atMs = Date.now() - 86_400_000;
    await writeFile(path, JSON.stringify(text));
    const third = await at.open();
    at.relayed(third, old);
    const next = await at.visit(third);
    await until("sent", () => relay.pushes.length === 3);
    const newest = relay.pushes.at(-1);
    assert.is(toHex((newest && browser.read(newest).clip) ?? new Uint8Array()), next);
    // Damaged, it is said, and the camera goes on.
    await third.close();
    await writeFile(path, "{");
    const fourth = await at.open();
    assert.match(at.log(), /phones have to subscribe again/);
    assert.match(await whyNot(fourth.test(browser.phone)), /^absent/);
    await fourth.subscribe(browser.phone, browser.subscription);
    await fourth.close();
    const fifth = await at.open();
    await fifth.test(browser.phone);
  });

  test("bounds: four of a phone, sixteen of all, one for an address; tests are counted", async () => {
    await using all = await house();
    const { at, push, browser } = all;
    const of = (name: string, seed: number) => browserAt(here + name, at.camera, seed);
    const ask = (one: ReturnType<typeof of>) => whyNot(push.subscribe(one.phone, one.subscription));
    for (const name of ["two", "three", "four"]) assert.is(await ask(of(name, 0x77)), "done");
    assert.match(await ask(of("five", 0x77)), /^full: 4 subscriptions of this phone/);
    // The address of one that is there takes its place.
    const again = of("one", 0x77);
    assert.is(await ask(again), "done");
    assert.equal(saidOf(at).slice(-2), ["removed", "added"]);
    for (let seed = 1; seed <= 3; seed++) {
      for (let i = 0; i < 4; i++) assert.is(await ask(of(`${seed}-${i}`, seed)), "done");
    }
    assert.match(await ask(of("last", 9)), /^full: 16 subscriptions/);
    // Nobody takes another's, or ends it.
    const stolen = {
      ...of("x", 1),
      subscription: { ...of("x", 1).subscription, id: again.subscription.id },
    };
    assert.match(await whyNot(push.subscribe(stolen.phone, stolen.subscription)), /^refused/);
    await push.unsubscribe(stolen.phone, again.subscription.id);
    assert.is(saidOf(at).filter((what) => what === "removed").length, 1);
    await push.unsubscribe(browser.phone, again.subscription.id);
    assert.is(saidOf(at).filter((what) => what === "removed").length, 2);
    for (let i = 0; i < 20; i++) await push.test(browser.phone);
    assert.match(await whyNot(push.test(browser.phone)), /^full: too many tests/);
  });

  test("who is no member any more is told nothing more", async () => {
    await using all = await house();
    const { at, push, relay, browser } = all;
    const membership = { members: [] } as unknown as Parameters<Push["follow"]>[0];
    await push.follow(membership);
    assert.equal(saidOf(at), ["key", "added", "removed"]);
    await at.visit(push);
    assert.match(await whyNot(push.test(browser.phone)), /^absent/);
    assert.is(relay.pushes.length, 0);
  });

  test("a camera without a relay says so; its key is made once, and said anew where the log begins anew", async () => {
    await using at = await openPushing({ relays: 0 });
    const push = await at.open();
    const browser = browserAt(`${here}one`, at.camera);
    assert.match(await whyNot(push.subscribe(browser.phone, browser.subscription)), /no relay/);
    assert.equal(push.statements(), []);
    // Nothing is kept before somebody asks.
    assert.not.ok((await readdir(at.mailed.state)).includes("push"));
    await push.key();
    await push.key();
    const [first, second] = at.notes;
    assert.equal(first, second);
    assert.equal(push.statements(), [first]);
  });

  test("neither log nor notes nor open files hold an address", async () => {
    await using all = await house();
    const { at, push, relay } = all;
    await at.visit(push);
    await until("sent", () => relay.pushes.length === 1);
    relay.verdict = () => ({ kind: "refused", status: 413 });
    await at.visit(push);
    await until("refused", () => at.log().includes("413"));
    const secret = "push.example/send/one";
    assert.not.ok(at.log().includes("send/one"));
    assert.not.ok(JSON.stringify(at.notes).includes("send/one"));
    assert.not.ok(JSON.stringify([...at.faults]).includes("send/one"));
    // It lies in one file of the state, and nobody else may read that.
    const path = join(at.mailed.state, "push", "subscribers");
    assert.ok((await readFile(path, "utf8")).includes(secret));
    const { stat } = await import("node:fs/promises");
    assert.is((await stat(path)).mode & 0o077, 0);
  });
});
