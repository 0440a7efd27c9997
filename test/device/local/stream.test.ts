import { connect } from "node:net";
import * as assert from "uvu/assert";
import { systemClock } from "../../../src/base/node/time.ts";
import type { States } from "../../../src/device/local/board.ts";
import { revokeToken } from "../../../src/device/local/token.ts";
import type { AlarmEvent, VisitEvent } from "../../../src/device/mqtt/mqtt.ts";
import { came, left, moved } from "../../lib/housed.ts";
import { deedOf, listen, openLocalWorld } from "../../lib/local.ts";
import { until } from "../../lib/mosquitto.ts";
import { suite } from "../../lib/suite.ts";
import { holdsPicture } from "../../lib/topics.ts";

const id = (number: number) => number.toString(16).padStart(32, "0");
const typesOf = (told: { data: unknown }[]) =>
  told.map(({ data }) => (data as VisitEvent).event_type);

/** Waits until so many read the stream. */
async function counted(at: Awaited<ReturnType<typeof openLocalWorld>>, expected: number) {
  const endMs = Date.now() + 30_000;
  for (;;) {
    const { body } = await at.read("/metrics");
    const count = Number(/subscribers (\d+)/.exec(body.toString())?.[1]);
    if (count === expected) return;
    if (Date.now() > endMs) assert.is(count, expected);
    await systemClock.sleep(20);
  }
}

suite("device/local/stream", (test) => {
  test("all states first, then what changes, and events as they come about", async () => {
    await using at = await openLocalWorld();
    const one = listen(at.port, at.good);
    await until("states", () => one.of("states").length === 1);
    const first = one.of("states")[0]?.data as States;
    assert.equal([first.states.person, first.zones.door?.count], [false, 0]);
    at.house.incident(came(["door"]));
    at.house.incident(left());
    at.house.set({ name: "Porch", zones: [{ name: "gate" }] });
    await until("an end", () => typesOf(one.of("visit")).includes("end"));
    await until("zones", () =>
      one.told.some(({ data }) => (data as { zone?: string }).zone === "gate"),
    );
    const changes = one.of("state").map(({ data }) => data);
    assert.equal(changes[0], { name: "person", value: true });
    for (const expected of [
      { zone: "door", name: "count", value: 1 },
      { name: "person", value: false },
      { zone: "door", name: "person", value: null },
      { zone: "gate", name: "person", value: false },
    ]) {
      assert.ok(
        changes.some((change) => JSON.stringify(change) === JSON.stringify(expected)),
        JSON.stringify(expected),
      );
    }
    assert.equal(typesOf(one.of("visit")), ["new", "end"]);
    assert.not(holdsPicture(Buffer.from(JSON.stringify(one.told))));
    one.close();
    const gone = async () => (await at.read("/metrics")).body.toString();
    let text = await gone();
    while (!/^obscura_camera_local_subscribers 0$/m.test(text)) text = await gone();
  });

  test("who comes again goes on behind the last event, and is told of a gap", async () => {
    await using at = await openLocalWorld();
    const one = listen(at.port, at.good);
    await until("states", () => one.of("states").length === 1);
    at.house.incident(came([], id(1)));
    await until("an event", () => one.of("visit").length === 1);
    const last = one.of("visit")[0]?.id ?? "";
    assert.match(last, /^[0-9a-f]{8}\.1$/);
    one.close();
    at.house.incident(left(id(1)));
    at.house.incident(came([], id(2)));
    const again = listen(at.port, { ...at.good, "last-event-id": last });
    await until("what was missed", () => again.of("visit").length === 2);
    assert.equal(typesOf(again.of("visit")), ["end", "new"]);
    assert.is(again.of("gap").length, 0);
    at.house.incident(left(id(2)));
    await until("what comes then", () => again.of("visit").length === 3);

    const [run] = last.split(".");
    for (const [from, gaps] of [
      [`${run}.4`, 0],
      ["00000000.7", 1],
      [`${run}.99`, 1],
    ] as const) {
      const other = listen(at.port, { ...at.good, "last-event-id": from });
      await until("states", () => other.of("states").length === 1);
      await until(
        from,
        () => other.of("gap").length === gaps && other.of("visit").length === gaps * 4,
      );
      other.close();
    }
    // More than is kept.
    for (let i = 3; i < 60; i++) {
      at.house.incident(came([], id(i)));
      at.house.incident(left(id(i)));
    }
    const late = listen(at.port, { ...at.good, "last-event-id": last });
    await until("what is kept", () => late.of("visit").length === 64);
    assert.is(late.of("gap").length, 1);
    for (const wrong of ["x", `${run}.0`, `${run}.-1`, "..", "é", "0".repeat(200)]) {
      const { status } = await at.read("/v1/stream", { headers: { "last-event-id": wrong } });
      assert.is(status, 400, wrong);
    }
    for (const each of [again, late]) each.close();
  });

  test("what the alarm did comes too, in the order of both; who comes again misses neither", async () => {
    await using at = await openLocalWorld();
    const one = listen(at.port, at.good);
    await until("states", () => one.of("states").length === 1);
    at.house.incident(came([], id(1)));
    at.local.alarm(deedOf(1));
    at.local.put("last_alarm", JSON.stringify(deedOf(1)));
    at.house.incident(left(id(1)));
    at.local.alarm(deedOf(2, { event_type: "siren", why: "asked for; for 5 s" }));
    const events = (told: typeof one) =>
      told.told.filter(({ event }) => event === "visit" || event === "alarm");
    await until("all", () => events(one).length === 4);
    const kinds = events(one).map(({ event }) => event);
    assert.equal(kinds, ["visit", "alarm", "visit", "alarm"]);
    assert.equal(
      one.of("alarm")[1]?.data,
      deedOf(2, { event_type: "siren", why: "asked for; for 5 s" }),
    );
    assert.equal(
      one.of("alarm").map((each) => each.id),
      ["0000000a.a1", "0000000a.a2"],
    );
    assert.not(
      one.of("state").some(({ data }) => (data as { name: string }).name === "last_alarm"),
    );
    const behind = async (lastId: string, count: number, gaps: number) => {
      const again = listen(at.port, { ...at.good, "last-event-id": lastId });
      await until("states", () => again.of("states").length === 1);
      await until(lastId, () => events(again).length === count && again.of("gap").length === gaps);
      again.close();
    };
    const ids = events(one).map((each) => each.id ?? "");
    for (const [i, lastId] of ids.entries()) await behind(lastId, 3 - i, 0);
    // More of the one kind than is kept, and none of the other.
    for (let i = 3; i < 70; i++) at.local.alarm(deedOf(i));
    await behind(ids[2] ?? "", 64, 1);
    await behind("0000000a.a5", 64, 0);
    await behind("0000000a.a6", 63, 0);
    await behind("0000000a.a4", 66, 1);
    one.close();
  });

  test("who comes again gets all that is kept, though it is more than may wait for him at once", async () => {
    await using at = await openLocalWorld();
    const contributions = Array.from({ length: 48 }, (_, i) => ({
      ...{ source: `sensor ${i} ${"x".repeat(40)}`, points: 5, at: "2026-11-23T12:00:00.000Z" },
    }));
    const deeds = Array.from({ length: 60 }, (_, i) => deedOf(i + 1, { contributions }));
    assert.ok(Buffer.byteLength(JSON.stringify(deeds)) > 2 * 128 * 1024);
    for (const deed of deeds) at.local.alarm(deed);
    const again = listen(at.port, { ...at.good, "last-event-id": "0000000a.a1" });
    // What comes meanwhile comes behind it.
    await until("some", () => again.isOver || again.of("alarm").length > 0);
    at.local.alarm(deedOf(61));
    await until("all", () => again.isOver || again.of("alarm").length === 60);
    assert.is(again.isOver, false, `cut off after ${again.of("alarm").length}`);
    assert.equal(
      again.of("alarm").map(({ data }) => (data as AlarmEvent).number),
      Array.from({ length: 60 }, (_, i) => i + 2),
    );
    assert.equal(again.of("gap"), []);
    again.close();
  });

  test("a revoked token ends its stream, and no other; the camera's end ends all", async () => {
    await using at = await openLocalWorld({ bounds: { tickMs: 100 } });
    const { makeToken } = await import("../../../src/device/local/token.ts");
    const other = await makeToken(at.state, "other");
    const kept = listen(at.port, at.good);
    const revoked = listen(at.port, { authorization: `Bearer ${other}` });
    await until("both", () => [kept, revoked].every((one) => one.of("states").length === 1));
    await until("signs of life", () => kept.comments > 2 && revoked.comments > 2);
    await revokeToken(at.state, "other");
    await until("ended", () => revoked.isOver);
    const before = kept.comments;
    await until("the other goes on", () => kept.comments > before + 2);
    await at.house.close();
    await at.local.close();
    await until("the end", () => kept.isOver);
    const last = kept.of("state").map(({ data }) => data);
    assert.equal(last.at(-1), { name: "availability", value: "offline" });
  });

  test("who does not read is cut off in bounded memory, and costs the others nothing", async () => {
    await using at = await openLocalWorld({ bounds: { tickMs: 60_000 } });
    const slow = Array.from({ length: 8 }, () => connect(at.port, "127.0.0.1"));
    for (const socket of slow) {
      socket.on("error", () => {});
      socket.write(
        `GET /v1/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${at.token}\r\n\r\n`,
      );
      socket.pause();
    }
    const quick = listen(at.port, at.good);
    await until("states", () => quick.of("states").length === 1);
    const subscribers = async () =>
      Number(/subscribers (\d+)/.exec((await at.read("/metrics")).body.toString())?.[1]);
    while ((await subscribers()) !== 9) await new Promise((resolve) => setTimeout(resolve, 20));
    // Until the kernel takes no more of them: what waits here is what is bounded.
    const held = () => {
      (globalThis as { gc?: () => void }).gc?.();
      return process.memoryUsage().external;
    };
    const before = held();
    let number = 0;
    while ((await subscribers()) > 1) {
      for (let i = 0; i < 40; i++) {
        number += 1;
        at.house.incident(came(["door"], id(number)));
        at.house.incident(moved(["door"], id(number)));
        at.house.incident(left(id(number)));
      }
      await until("the quick one has it", () => quick.of("visit").length >= number * 2);
      assert.ok(number < 200_000, "nobody was cut off");
    }
    const grown = held() - before;
    assert.ok(grown < 64 * 2 ** 20, `${grown} bytes of buffers`);
    const text = (await at.read("/metrics")).body.toString();
    assert.match(text, /^obscura_camera_local_cut_off_total 8$/m);
    assert.not(quick.isOver);
    quick.close();
    for (const socket of slow) socket.destroy();
    console.log(`\nmeasured: local: 8 who do not read were cut off within ${number * 2} events`);
  });

  test("of streams that are asked for in one pipeline none outlives its connection", async () => {
    await using at = await openLocalWorld({ bounds: { tickMs: 60_000 } });
    const asked = `GET /v1/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${at.token}\r\n\r\n`;
    const socket = connect(at.port, "127.0.0.1").on("error", () => {});
    socket.write(asked.repeat(3));
    await counted(at, 3);
    socket.destroy();
    await counted(at, 0);
  });

  test("who is gone while his token is looked for is no subscriber", async () => {
    await using at = await openLocalWorld({ bounds: { tickMs: 60_000 } });
    const asked = `GET /v1/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${at.token}\r\n\r\n`;
    for (let i = 0; i < 4; i++) {
      // Then the tokens are read anew, which takes a moment.
      await systemClock.sleep(1_100);
      const socket = connect(at.port, "127.0.0.1").on("error", () => {});
      await new Promise<void>((resolve) => socket.write(asked, () => resolve()));
      socket.resetAndDestroy();
    }
    await systemClock.sleep(500);
    await counted(at, 0);
  });

  test("no more subscribers than there is room for", async () => {
    await using at = await openLocalWorld({ bounds: { subscribers: 3 } });
    const some = Array.from({ length: 3 }, () => listen(at.port, at.good));
    await until("three", () => some.every((one) => one.of("states").length === 1));
    const refused = await at.read("/v1/stream");
    assert.equal([refused.status, refused.headers["retry-after"]], [503, "5"]);
    some[0]?.close();
    let again = listen(at.port, at.good);
    await until("room again", () => {
      if (again.status === 503) again = listen(at.port, at.good);
      return again.of("states").length === 1;
    });
    for (const one of [...some, again]) one.close();
  });
});
