import * as assert from "uvu/assert";
import { openLog } from "../../../src/base/node/log.ts";
import { ManualClock } from "../../../src/base/pure/clock.ts";
import { Failure } from "../../../src/base/pure/failure.ts";
import { Desk, type Session } from "../../../src/device/mqtt/desk.ts";
import type { Form } from "../../../src/device/mqtt/discovery.ts";
import { Herald } from "../../../src/device/mqtt/herald.ts";
import { base } from "../../lib/housed.ts";
import { suite } from "../../lib/suite.ts";

/** A connection that takes everything at once. */
function openSession() {
  const said = new Map<string, string>();
  const all: { topic: string; payload: string; retain: boolean }[] = [];
  let left = 0;
  const session: Session = {
    most: 65_535,
    publish: async (topic, payload, { retain }) => {
      said.set(topic, payload);
      all.push({ topic, payload, retain });
      return true;
    },
    subscribe: async () => true,
    unsubscribe: async () => {
      left += 1;
    },
  };
  return { session, said, all, left: () => left };
}

async function soon(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
}

function openHerald(form: Form) {
  const clock = new ManualClock();
  const end = new AbortController();
  const desk = new Desk({ clock, mostLetters: 4, letterMs: 60_000, onRefused: () => {} });
  const device = { id: "abc", base, name: "Porch", version: "0.1.0", conditions: [] };
  const at = { zones: [] as string[] };
  const herald = new Herald({
    ...{ desk, clock, form, prefix: "homeassistant", random: () => 0 },
    ...{ log: openLog("mqtt", "error", () => {}), signal: end.signal },
    device: () => ({ ...device, ...at, allowed: [], profiles: [], panel: undefined }),
  });
  const connect = (session: Session) => {
    desk.attach(session);
    void herald.up(session);
  };
  return Object.assign(at, { clock, desk, herald, connect, end: () => end.abort() });
}

suite("device/mqtt/herald", (test) => {
  for (const [form, where] of [
    ["device", "homeassistant/device/obscura_abc/config"],
    ["component", "homeassistant/binary_sensor/obscura_abc/zone_shed_person/config"],
  ] as const) {
    test(`${form}: a zone that is back at once comes when Home Assistant has forgotten it`, async () => {
      const house = openHerald(form);
      const { clock, herald } = house;
      const broker = openSession();
      const isThere = () => broker.said.get(where)?.includes("zone/shed/person") === true;
      house.zones = ["shed"];
      house.connect(broker.session);
      await soon();
      clock.advance(1_500);
      await soon();
      assert.ok(isThere(), "announced");
      house.zones = [];
      void herald.changed();
      await soon();
      assert.not(isThere(), "taken leave of");
      clock.advance(500);
      house.zones = ["shed"];
      void herald.changed();
      await soon();
      assert.not(isThere(), "not yet");
      clock.advance(1_600);
      await soon();
      assert.ok(isThere(), "back");
      house.end();
    });
  }

  /** What the broker has by now, with time to pass as often as it takes. */
  const lives = async ({ clock }: ReturnType<typeof openHerald>, seconds: number) => {
    for (let i = 0; i < seconds * 2; i++) {
      await soon();
      clock.advance(500);
    }
    await soon();
  };
  const isConfig = ({ topic }: { topic: string }) => topic.endsWith("/config");

  for (const [form, other] of [
    ["device", "component"],
    ["component", "device"],
  ] as const) {
    test(`${form} in place of ${other}: Home Assistant is told so first, and keeps what was set for each part`, async () => {
      const old = openHerald(other);
      const lay = openSession();
      old.connect(lay.session);
      await lives(old, 4);
      old.end();
      const now = openHerald(form);
      const broker = openSession();
      now.connect(broker.session);
      await soon();
      const before = lay.all.filter(isConfig);
      assert.ok(before.length > 0);
      for (const { topic, payload } of before) {
        now.herald.message(topic, Buffer.from(payload), true);
      }
      // A part that does not go on, and one that is nobody's.
      const gone = "homeassistant/sensor/obscura_abc/radio/config";
      now.herald.message(gone, Buffer.from("{}"), true);
      await lives(now, 8);
      now.end();
      const said = broker.all.filter(isConfig);
      for (const { topic } of before) {
        const own = said.flatMap((one, at) => (one.topic === topic ? [{ ...one, at }] : []));
        assert.equal(
          own.map(({ payload, retain }) => [payload, retain]),
          [
            ['{"migrate_discovery":true}', false],
            ["", true],
          ],
          topic,
        );
        // The other form's announcement comes between the two.
        const isNew = (one: { payload: string }) => one.payload.length > 40;
        const [first = -1, last = -1] = [said.findIndex(isNew), said.findLastIndex(isNew)];
        assert.ok((own[0]?.at ?? first) < first && last < (own[1]?.at ?? last));
      }
      assert.equal(
        said.filter(({ topic }) => topic === gone).map(({ payload }) => payload),
        [""],
      );
    });
  }

  test("a connection that ends within a hand-over: what was announced by then is not handed over again", async () => {
    const house = openHerald("device");
    const [old, now] = [
      "homeassistant/binary_sensor/obscura_abc/person/config",
      "homeassistant/device/obscura_abc/config",
    ];
    const first = openSession();
    house.connect(first.session);
    await soon();
    house.herald.message(old, Buffer.from("{}"), true);
    // Handed over and announced, and not taken away yet.
    while (!first.said.has(now)) await lives(house, 1);
    house.desk.detach();
    house.herald.down(new Failure("gone", "the broker was started anew"));
    await lives(house, 8);
    const second = openSession();
    house.connect(second.session);
    await soon();
    house.herald.message(old, Buffer.from("{}"), true);
    house.herald.message(now, Buffer.from(first.said.get(now) ?? ""), true);
    await lives(house, 8);
    house.end();
    const of = ({ all }: typeof first) => all.filter(({ topic }) => topic === old);
    assert.equal(of(first), [{ topic: old, payload: '{"migrate_discovery":true}', retain: false }]);
    assert.equal(of(second), [{ topic: old, payload: "", retain: true }]);
  });

  test("a device of which a part does not go on is taken away whole, and comes part by part", async () => {
    const house = openHerald("component");
    const broker = openSession();
    house.connect(broker.session);
    await soon();
    const where = "homeassistant/device/obscura_abc/config";
    const components = { person: { platform: "binary_sensor" }, radio: { platform: "sensor" } };
    house.herald.message(where, Buffer.from(JSON.stringify({ components })), true);
    await lives(house, 8);
    house.end();
    const own = broker.all.filter(({ topic }) => topic === where);
    assert.equal(own, [{ topic: where, payload: "", retain: true }]);
    assert.ok(broker.said.has("homeassistant/binary_sensor/obscura_abc/person/config"));
  });

  test("a connection that follows at once looks at what lies at the broker for its whole time", async () => {
    const { clock, desk, herald, connect, end } = openHerald("device");
    const first = openSession();
    connect(first.session);
    await soon();
    clock.advance(600);
    desk.detach();
    herald.down(new Failure("gone", "the broker was started anew"));
    const second = openSession();
    connect(second.session);
    await soon();
    // The time of the first is over, that of the second is not.
    clock.advance(500);
    await soon();
    const stale = `${base}/zone/shed/person`;
    herald.message(stale, Buffer.from("ON"), true);
    clock.advance(600);
    await soon();
    assert.is(second.left(), 1, "it has asked for its own topics no more");
    assert.is(second.said.get(stale), "", "what no topic has any more is taken away");
    clock.advance(5_000);
    await soon();
    assert.ok(second.said.has("homeassistant/device/obscura_abc/config"));
    end();
  });
});
