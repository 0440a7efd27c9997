import { readFile } from "node:fs/promises";
import * as assert from "uvu/assert";
import { stateOf, states } from "../../../src/device/mqtt/topics.ts";
import { suite } from "../../lib/suite.ts";
import { faultOf, holdsPicture, printTables } from "../../lib/topics.ts";

const root = new URL("../../../../", import.meta.url).pathname;
const where = {
  ...{ base: "obscura/abc", node: "obscura_abc", prefix: "homeassistant" },
  form: "device" as const,
};
const fault = (topic: string, payload: string | Buffer, isRetained = false) =>
  faultOf({ topic, payload: Buffer.from(payload), isRetained }, where);

suite("device/mqtt/topics", (test) => {
  test("topics.md says what topics.ts does", async () => {
    const text = await readFile(`${root}src/device/mqtt/topics.md`, "utf8");
    const { states, event, commands, alarm } = printTables();
    assert.ok(text.includes(`\n\n${alarm}\n\n`), alarm);
    assert.ok(text.includes(`\n\n${commands}\n\n`), commands);
    assert.ok(text.includes(`\n\n${states}\n\n`), states);
    assert.ok(text.includes(`\n\n${event}\n\n`), event);
  });

  test("a topic is found by its name, also one of a zone, and nothing else is", () => {
    assert.is(stateOf("person"), "person");
    assert.is(stateOf("zone/door/count"), "zone/+/count");
    for (const topic of ["zone/+/person", "zone/a/b/person", "zone//person", "armed", "toString"]) {
      assert.is(stateOf(topic), undefined, topic);
    }
  });

  test("what is written is right by the map, whatever a camera has to say", () => {
    const lines = ["", " ", "a\nb\u0000c", "x".repeat(1000), "none", "Tür"];
    for (const line of lines) {
      assert.ok(states.problem_text.isRight(states.problem_text.write(line)), line);
    }
    for (const value of [0, 0.4, -1, 1e9]) {
      assert.ok(states.storage_free.isRight(states.storage_free.write(value)), String(value));
    }
    for (const [value, payload] of [
      ...([
        [-17, "-17"],
        [-0.4, "0"],
        [44.6, "45"],
      ] as const),
    ]) {
      assert.is(states.temperature.write(value), payload, "a board in frost is as cold as it is");
      assert.ok(states.temperature.isRight(payload));
    }
    assert.not(states.temperature.isRight("-0"));
    assert.not(states.count.isRight("1.5"));
    assert.not(states.count.isRight("01"));
    assert.not(states.person.isRight("on"));
  });

  test("the comparison of messages with the map can fail", () => {
    assert.is(fault("obscura/abc/person", "ON"), undefined);
    assert.match(fault("obscura/abc/person", "maybe") ?? "", /maybe/);
    assert.match(fault("obscura/abc/armed", "ON") ?? "", /not in the map/);
    assert.match(fault("obscura/other/person", "ON") ?? "", /of nobody/);
    assert.match(fault("obscura/abc/event", "{}") ?? "", /not an event/);
    assert.match(fault("obscura/abc/problem_text", "x".repeat(20_000)) ?? "", /bytes/);
    assert.match(fault("homeassistant/sensor/obscura_abc/x/config", "{}") ?? "", /not in the map/);
  });

  test("a picture is found, plain and in disguise", () => {
    const jpeg = Buffer.concat([Buffer.from([0xff, 0xd8, 0xff, 0xe0]), Buffer.alloc(60, 7)]);
    const film = Buffer.concat([Buffer.from([0, 0, 0, 24]), Buffer.from("ftypisom"), jpeg]);
    for (const bytes of [jpeg, film]) {
      assert.ok(holdsPicture(bytes));
      assert.ok(holdsPicture(Buffer.from(JSON.stringify({ a: bytes.toString("base64") }))));
      assert.ok(holdsPicture(Buffer.from(bytes.toString("base64url"))));
      assert.ok(holdsPicture(Buffer.from(bytes.toString("hex"))));
    }
    assert.not(holdsPicture(Buffer.from(JSON.stringify({ id: "0".repeat(32), zones: ["door"] }))));
  });
});
