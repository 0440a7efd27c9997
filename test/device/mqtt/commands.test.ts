import * as assert from "uvu/assert";
import { openLog } from "../../../src/base/node/log.ts";
import { ManualClock } from "../../../src/base/pure/clock.ts";
import { Failure } from "../../../src/base/pure/failure.ts";
import { commandNames, commandOf, commands } from "../../../src/device/mqtt/commands.ts";
import { createEar } from "../../../src/device/mqtt/ear.ts";
import { stateOf } from "../../../src/device/mqtt/topics.ts";
import { type Order, type OrderName, orderNames } from "../../../src/device/order.ts";
import { generator } from "../../lib/fuzz.ts";
import { openHoused } from "../../lib/housed.ts";
import { listen, startMosquitto, until, whyNoBroker } from "../../lib/mosquitto.ts";
import { suite } from "../../lib/suite.ts";
import { faultOf } from "../../lib/topics.ts";
import { quickFolder } from "../../lib/world.ts";

const base = "obscura/abc";
const noBroker = await whyNoBroker();

/** An ear that writes down what it hears. */
function openEar({
  allowed = orderNames,
  fails,
}: {
  allowed?: readonly OrderName[];
  fails?: Failure;
} = {}) {
  const orders: Order[] = [];
  const clock = new ManualClock();
  let said = "";
  let taken = 0;
  const ear = createEar({
    ...{ base, allowed, clock },
    async take(order) {
      if (fails) throw fails;
      orders.push(order);
    },
    onTaken: () => taken++,
    log: openLog("mqtt", "debug", (line) => {
      said += line;
    }),
  });
  const send = (name: string, payload: string | Uint8Array, isRetained = false) =>
    ear.message({ topic: `${base}/${name}`, payload: Buffer.from(payload as string), isRetained });
  const lines = () => said.split("\n").filter((line) => line !== "");
  return { ear, orders, clock, send, lines, said: () => said, taken: () => taken };
}

const right: { [K in OrderName]: [payload: string, value: unknown][] } = {
  privacy: [
    ["ON", true],
    ["OFF", false],
  ],
  detection: [["OFF", false]],
  threshold: [
    ["0.35", 0.35],
    ["0.01", 0.01],
    ["0.990000", 0.99],
    // As a slider reckons it: 57 times 0.01.
    ["0.5700000000000001", 0.57],
  ],
  profile: [
    ["night", "night"],
    ["none", "none"],
  ],
  record: [
    ["PRESS", 15],
    ["1", 1],
    ["300", 300],
  ],
  alarm: [
    ["ARM_HOME", { command: "arm_home", code: undefined }],
    ["TRIGGER", { command: "trigger", code: undefined }],
    ['{"action":"ARM_AWAY"}', { command: "arm_away", code: undefined }],
    ['{"action": "DISARM", "code": "0815"}', { command: "disarm", code: "0815" }],
    ['{"action": "DISARM", "code": 4711}', { command: "disarm", code: "4711" }],
    ['{"action": "ARM_AWAY", "code": null}', { command: "arm_away", code: undefined }],
    ['{"action": "ARM_AWAY", "code": ""}', { command: "arm_away", code: undefined }],
  ],
  alarm_test: [["PRESS", true]],
};
const wrong: Record<OrderName, string[]> = {
  privacy: ["on", "1", "true", " ON", "ON\n", "ON ", "ONN", '"ON"', "\u0000"],
  detection: ["", "OFFF", "toggle"].filter(Boolean),
  threshold: [
    "0",
    "1",
    "-0.5",
    "NaN",
    "1e-1",
    "0x1",
    "+0.5",
    ".5",
    "0.",
    "0,5",
    "0.1234567890123456789012",
    "Infinity",
  ],
  profile: ["a/b", "+", "#", "x".repeat(33), "day night", "../day", "tür", "__proto__\n"],
  record: ["0", "301", "1.5", "press", "-1", "15s", "1e2", "00001"],
  alarm: [
    ...["disarm", "DISARM ", "ARM_NIGHT", "toString", "__proto__", "null", "[]", "7", '"TRIGGER"'],
    ...['{"code":"0815"}', '{"action":"TEST"}', '{"action":"DISARM","code":["0815"]}'],
    ...['{"action":"DISARM","code":{}}', '{"action":"DISARM","code":true}', "{".repeat(200)],
    ...['{"action":"DISARM","code":"0815","more":1}', `{"action":"DISARM"}${" ".repeat(600)}`],
  ],
  alarm_test: ["ON", "press", "PRESS "],
};

suite("device/mqtt/commands", (test) => {
  test("each payload of the map is read, and what is none is refused without being repeated", async () => {
    for (const name of orderNames) {
      for (const [payload, value] of right[name]) {
        const at = openEar();
        assert.ok(at.send(`${name}/set`, payload));
        await at.ear.idle();
        assert.equal(at.orders, [{ name, value }], payload);
        assert.is(at.taken(), 1);
        assert.ok(Buffer.byteLength(payload) <= commands[name].most);
      }
      for (const payload of wrong[name]) {
        const at = openEar();
        assert.ok(at.send(`${name}/set`, payload));
        await at.ear.idle();
        assert.equal(at.orders, [], `${name}: ${JSON.stringify(payload)}`);
        assert.match(at.said(), new RegExp(`refused: ${name}/set is not what it should be`));
        if (payload.length > 6) assert.not(at.said().includes(payload), at.said());
      }
    }
  });

  test("100,000 payloads, mutated and made up: what is read is one of its command, the rest is none", () => {
    const below = generator(20_261_123);
    const seeds = Object.values(right).flatMap((all) => all.map(([payload]) => payload));
    const signs = "0123456789.+-eExON F\u0000\u0660\uff11PRES{}[]\"'";
    let taken = 0;
    for (let i = 0; i < 100_000; i++) {
      const letters = [...(seeds[below(seeds.length)] ?? "")];
      for (let n = below(3); n > 0; n--) {
        letters.splice(below(letters.length + 1), below(2), signs[below(signs.length)] ?? "");
      }
      const payload = letters.join("");
      const { privacy, threshold, record, profile } = commands;
      const flag = privacy.read(payload);
      assert.is(flag !== undefined, payload === "ON" || payload === "OFF", payload);
      const share = threshold.read(payload);
      if (share !== undefined) {
        taken += 1;
        assert.ok(share >= 0.01 && share <= 0.99 && /^0\.\d+$/.test(payload), payload);
      }
      const seconds = record.read(payload);
      if (seconds !== undefined) {
        taken += 1;
        assert.ok(Number.isInteger(seconds) && seconds >= 1 && seconds <= 300, payload);
      }
      assert.is(profile.read(payload) !== undefined, /^[\w-]{1,32}$/.test(payload), payload);
    }
    assert.ok(taken > 1_000, String(taken));
  });

  test("bytes that are no text, and a megabyte of it, are refused", async () => {
    const at = openEar();
    for (const name of orderNames) {
      at.send(`${name}/set`, Uint8Array.from([0xff, 0xfe]));
      at.send(`${name}/set`, Uint8Array.from([0xef, 0xbb, 0xbf, 0x4f, 0x4e]));
      at.send(`${name}/set`, new Uint8Array(2 ** 20).fill(0x4f));
    }
    await at.ear.idle();
    assert.equal(at.orders, []);
    assert.is(at.lines().length, orderNames.length, "once each");
  });

  test("what is no command goes by, and what is not allowed or retained is refused and told once", async () => {
    const at = openEar({ allowed: ["record"] });
    for (const topic of [
      "person",
      "set",
      "privacy",
      "privacy/set/x",
      "+/set",
      "#",
      "toString/set",
    ]) {
      assert.not(at.send(topic, "ON"), topic);
    }
    assert.not(
      at.ear.message({ topic: "privacy/set", payload: Buffer.from("ON"), isRetained: false }),
    );
    for (let i = 0; i < 5; i++) {
      at.send("privacy/set", "ON");
      at.send("record/set", "PRESS", true);
    }
    // One that is taken away at the broker.
    assert.ok(at.send("record/set", "", true) && at.send("record/set", ""));
    await at.ear.idle();
    assert.equal(at.orders, []);
    assert.is(at.lines().length, 2, at.said());
    assert.match(at.said(), /privacy\/set is not among mqtt\.commands/);
    assert.match(at.said(), /record\/set is retained/);
    // A day later it is said again.
    await at.clock.advance(24 * 3_600_000);
    at.send("privacy/set", "ON");
    assert.is(at.lines().length, 3);
  });

  test("a loop is cut short, by command, and what comes later is heard again", async () => {
    const at = openEar();
    for (let i = 0; i < 1000; i++) at.send("privacy/set", i % 2 ? "ON" : "OFF");
    at.send("record/set", "PRESS");
    await at.ear.idle();
    assert.is(at.orders.length, 13);
    assert.is(at.orders.at(-1)?.name, "record", "another command is not held up by it");
    assert.is(at.lines().length, 1, at.said());
    assert.match(at.said(), /comes too often/);
    await at.clock.advance(25_000);
    for (let i = 0; i < 100; i++) at.send("privacy/set", "ON");
    await at.ear.idle();
    assert.is(at.orders.length, 15);
    // Nor does silence save up more than that.
    await at.clock.advance(10 * 3_600_000);
    for (let i = 0; i < 100; i++) at.send("privacy/set", "ON");
    await at.ear.idle();
    assert.is(at.orders.length, 27);
  });

  test("what the camera refuses is told, and the next is carried out", async () => {
    const fails = new Failure("refused", "in privacy nothing is recorded");
    const at = openEar({ fails });
    for (let i = 0; i < 3; i++) at.send("record/set", "PRESS");
    await at.ear.idle();
    assert.is(at.taken(), 3);
    assert.equal(at.lines().length, 1);
    assert.match(at.said(), /record\/set: in privacy nothing is recorded/);
  });

  test("topics are one map: none is a state's, and each has its state", () => {
    assert.equal(commandNames, orderNames);
    for (const name of commandNames) {
      assert.is(commandOf(`${name}/set`), name);
      assert.is(stateOf(`${name}/set`), undefined);
      const { state } = commands[name];
      if (state) assert.is(stateOf(state), state);
    }
  });

  const why = noBroker;
  if (why) {
    test.skip("with a real broker", why);
    return;
  }

  for (const protocolVersion of [5, 4] as const) {
    test(`a real broker, a house that speaks MQTT ${protocolVersion}: asked, refused, and asked after a restart`, async () => {
      await using folder = await quickFolder();
      await using broker = await startMosquitto(folder.path);
      await using house = await listen(broker.url, { protocolVersion });
      await house.publish(`${base}/privacy/set`, "ON", { retain: true });
      await using camera = openHoused(broker.url, { commands: ["privacy", "threshold"] });
      await camera.up();
      await until("told", () => /privacy\/set is retained/.test(camera.log()));
      // While it looks at what lies there, and after.
      const ask = async (topic: string, payload: string) =>
        house.publish(`${base}/${topic}/set`, payload);
      await ask("privacy", "OFF");
      await ask("record", "PRESS");
      await ask("threshold", "0.5");
      await until("two", () => camera.orders.length >= 2);
      assert.equal(camera.orders, [
        { name: "privacy", value: false },
        { name: "threshold", value: 0.5 },
      ]);
      await until("what lies there was looked at", () =>
        house
          .of("homeassistant/device/obscura_abc/config")
          .some((text) => text.includes("set_privacy")),
      );
      await ask("threshold", "0.6");
      await until("three", () => camera.orders.length >= 3);

      await broker.stop();
      await broker.start();
      await camera.up(2);
      await until("the house is back", house.isUp);
      const asked = /\b0 obscura\/abc\/threshold\/set/g;
      await until("it listens again", () => broker.log().match(asked)?.length === 2, {
        told: broker.log,
      });
      await ask("threshold", "0.7");
      await until("four", () => camera.orders.length >= 4);
      assert.equal(camera.orders.at(-1), { name: "threshold", value: 0.7 });
      assert.not(camera.log().includes("0.7"));
      const where = { base, node: "obscura_abc", prefix: "homeassistant", form: "device" as const };
      const others = house.messages.filter(({ topic }) => !topic.endsWith("/set"));
      assert.equal(
        others.flatMap((message) => faultOf(message, where) ?? []),
        [],
      );
    });
  }
});
