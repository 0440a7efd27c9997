import * as assert from "uvu/assert";
import { alarmSchema, type Sensor } from "../../../src/device/alarm/settings.ts";
import { createSources } from "../../../src/device/alarm/sources.ts";
import { suite } from "../../lib/suite.ts";

/** As the settings read them. */
const read = (...sensors: Record<string, unknown>[]): Sensor[] => {
  const result = alarmSchema.sensors.read(
    sensors.map((one, i) => ({ name: `s${i}`, topic: "t", weight: 1, ...one })),
  );
  assert.ok(result, "the settings take it");
  return result;
};
const open = (sensors: Sensor[], zones: unknown[] = []) =>
  createSources({
    person: { away: 20, home: 10 },
    motion: { away: 2, home: 2 },
    zones: alarmSchema.zones.read(zones) ?? [],
    sensors,
  });
const counts = (sensor: Record<string, unknown>, payload: string | Uint8Array) =>
  open(read(sensor)).message({
    ...{ topic: "t", isRetained: false },
    payload: typeof payload === "string" ? Buffer.from(payload) : payload,
  }).length === 1;

suite("device/alarm/sources", (test) => {
  test("which payload counts", () => {
    const cases: [Record<string, unknown>, string, boolean][] = [
      [{}, "anything", true],
      [{}, "", false],
      [{}, "  \n", false],
      [{ counts: "ON" }, "ON", true],
      [{ counts: "ON" }, " ON\n", true],
      [{ counts: "ON" }, "on", false],
      [{ counts: "ON" }, "ONE", false],
      [{ counts: ["open", "tilted"] }, "tilted", true],
      [{ counts: ["open", "tilted"] }, "closed", false],
      [{ counts: 1 }, "1", true],
      [{ counts: false }, "false", true],
      [{ field: "contact", counts: false }, '{"contact":false,"battery":97}', true],
      [{ field: "contact", counts: false }, '{"contact":true}', false],
      [{ field: "contact", counts: false }, '{"contact":"false"}', true],
      [{ field: "contact", counts: false }, '{"contact":null}', false],
      [{ field: "contact", counts: false }, '{"contact":[false]}', false],
      [{ field: "contact", counts: false }, "false", false],
      [{ field: "contact", counts: false }, "null", false],
      [{ field: "contact", counts: false }, '{"contact":false', false],
      [{ field: "contact" }, '{"contact":0}', true],
      [{ field: "contact" }, '{"other":0}', false],
      [{ field: "state.door.open", counts: true }, '{"state":{"door":{"open":true}}}', true],
      [{ field: "state.door.open", counts: true }, '{"state":{"door":true}}', false],
      [{ field: "1", counts: "b" }, '["a","b"]', true],
      [{ field: "toString" }, "{}", false],
      [{ field: "__proto__.x" }, '{"y":1}', false],
      [{ field: "length" }, '"text"', false],
      [{ field: "a", counts: 1e3 }, '{"a":1000}', true],
      // As YAML reads 1.0, 007 and -0.5.
      [{ counts: 1 }, "1.0", true],
      [{ counts: 7 }, "007", true],
      [{ counts: -0.5 }, "-0.50", true],
      [{ counts: "1.0" }, "1", true],
      [{ field: "a", counts: "1.50" }, '{"a":1.5}', true],
      [{ counts: 1 }, "1.1", false],
      [{ counts: 1 }, "10", false],
      [{ counts: 16 }, "0x10", false],
      [{ counts: 0 }, " ", false],
      [{ counts: "" }, "0", false],
      [{ counts: "9007199254740993" }, "9007199254740992", false],
    ];
    for (const [sensor, payload, expected] of cases) {
      assert.is(counts(sensor, payload), expected, `${JSON.stringify(sensor)} ${payload}`);
    }
  });

  test("what is no text, too long or too deep is no evidence, and no error", () => {
    assert.not(counts({}, Uint8Array.of(0xff, 0xfe)));
    assert.not(counts({ field: "a" }, Uint8Array.of(0x7b, 0xff)));
    assert.ok(counts({}, "x".repeat(4096)));
    assert.not(counts({}, "x".repeat(4097)));
    assert.not(counts({ field: "a" }, "[".repeat(4096)));
  });

  test("no two sensors are one source, whatever they are called", () => {
    const names = ["motion", "sensor motion", "sensor sensor motion", "person", "sensor person"];
    const more = ["person in door", "sensor person in door", "sensor", "hall"];
    const sources = open(read(...[...names, ...more].map((name) => ({ name }))));
    const told = sources.message({ topic: "t", payload: Buffer.from("x"), isRetained: false });
    const all = [...told, ...sources.motion(), ...sources.persons([[], ["door"]])];
    const found = all.map(({ source }) => source);
    assert.is(new Set(found).size, names.length + more.length + 2, found.join(", "));
  });

  test("what is retained was said whenever: it is no evidence", () => {
    const sources = open(read({ counts: "ON" }));
    const message = { topic: "t", payload: Buffer.from("ON") };
    assert.equal(sources.message({ ...message, isRetained: true }), []);
    assert.is(sources.message({ ...message, isRetained: false }).length, 1);
  });

  test("a topic is heard exactly, once, and by all of its sensors", () => {
    const sources = open(
      read({ counts: "a" }, { counts: ["a", "b"] }, { topic: "u", counts: "a" }, { topic: "U" }),
    );
    assert.equal(sources.topics, ["t", "u", "U"]);
    const names = (topic: string, payload: string) =>
      sources
        .message({ topic, payload: Buffer.from(payload), isRetained: false })
        .map(({ source }) => source);
    assert.equal(names("t", "a"), ["s0", "s1"]);
    assert.equal(names("t", "b"), ["s1"]);
    assert.equal(names("u", "a"), ["s2"]);
    for (const topic of ["t/", "t/u", "T", "+", "#", "toString", ""]) {
      assert.equal(names(topic, "a"), [], topic);
    }
  });

  test("a sensor that is called as the camera's own eye is another source", () => {
    const sources = open(
      read({ name: "motion" }, { name: "person in door" }, { name: "personal" }),
    );
    const all = sources.message({ topic: "t", payload: Buffer.from("x"), isRetained: false });
    assert.equal(
      all.map(({ source }) => source),
      ["sensor motion", "sensor person in door", "personal"],
    );
    assert.is(sources.motion()[0]?.source, "motion");
  });

  test("persons by zone: the heaviest of each, each zone once, elsewhere as anywhere", () => {
    const zones = [
      { zone: "street", weight: 2 },
      { zone: "door", weight: { away: 15, home: 5 } },
    ];
    const sources = open([], zones);
    const found = (...all: string[][]) =>
      sources.persons(all).map(({ source, weight }) => `${source} ${weight.away}/${weight.home}`);
    assert.equal(found(), []);
    assert.equal(found([]), ["person 20/10"]);
    assert.equal(found(["garden"]), ["person 20/10"]);
    assert.equal(found(["street", "door"]), ["person in door 15/5"]);
    assert.equal(found(["door"], ["door"], ["street"], ["garden"], []), [
      ...["person in door 15/5", "person in street 2/2", "person 20/10"],
    ]);
  });
});
