import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { Failure } from "../../../src/base/pure/failure.ts";
import { alarmSchema } from "../../../src/device/alarm/settings.ts";
import { loadConfig } from "../../../src/device/config.ts";
import { checkPanel } from "../../../src/device/vet.ts";
import { suite } from "../../lib/suite.ts";
import { temporaryFolder } from "../../lib/world.ts";

async function load(text: string) {
  await using folder = await temporaryFolder();
  const file = join(folder.path, "camera.yaml");
  await writeFile(file, text);
  return await loadConfig(file);
}

const read = async (text: string) => (await load(text)).config;

async function refusal(text: string): Promise<string> {
  try {
    await read(text);
  } catch (error) {
    assert.instance(error, Failure);
    return (error as Failure).message.replace(/^.*camera\.yaml/gm, "camera.yaml");
  }
  return "it was read";
}

const sensor = (more: string) =>
  refusal(`alarm:\n  sensors:\n    - {name: ok, topic: a, weight: 1}\n    - {${more}}\n`);
const zones = `detect:
  zones:
    - {name: door, polygon: [[0, 0], [1, 0], [1, 1]]}
    - {name: path, polygon: [[0, 0], [1, 0], [1, 1]]}
`;

suite("device/alarm/settings", (test) => {
  test("nothing needs to be set; it is off", async () => {
    const { alarm } = await read("");
    assert.is(alarm.enabled, false);
    assert.equal([alarm.windowS, alarm.sliceS, alarm.warnAt, alarm.sirenAt], [60, 10, 40, 100]);
    assert.equal(alarm.person, { away: 20, home: 20 });
  });

  test("all that can be set", async () => {
    const { alarm } = await read(`${zones}alarm:
  enabled: true
  exitS: 0
  person: 10
  motion: {away: 3, home: 0}
  zones:
    - {zone: door, weight: {away: 30, home: 5}}
  sensors:
    - {name: Tür vorn, topic: a/b c/d, weight: 50, field: state.contact, counts: [false, open, 1], instant: true}
  codeToArm: true
  code: /etc/obscura/alarm.code
`);
    assert.equal(alarm.zones, [{ zone: "door", weight: { away: 30, home: 5 } }]);
    assert.equal(alarm.sensors, [
      {
        ...{ name: "Tür vorn", topic: "a/b c/d", weight: { away: 50, home: 50 } },
        ...{ field: ["state", "contact"], counts: ["false", "open", "1"], isInstant: true },
      },
    ]);
  });

  test("a sensor is called by the letters of any script, those with marks too", async () => {
    for (const name of ["Haustür", "Haustu\u0308r", "दरवाज़ा", "หน้าต่าง", "дверь 1"]) {
      assert.ok(alarmSchema.sensors.read([{ name, topic: "a", weight: 1 }]), name);
    }
    for (const name of ["\u0308a", "a\u202eb", "a\u200bb", "a/b", "a\u2028b"]) {
      assert.is(alarmSchema.sensors.read([{ name, topic: "a", weight: 1 }]), undefined, name);
    }
  });

  test("a wrong sensor is named by its place, with what is wrong, in the file and its line", async () => {
    const cases: [string, RegExp][] = [
      [
        "name: x, topic: a/+, weight: 1",
        /item 2 \(x\) has the topic "a\/\+", which holds a wildcard/,
      ],
      ['name: x, topic: "a/#", weight: 1', /item 2 \(x\) .*wildcard/],
      ["name: x, topic: $SYS/uptime, weight: 1", /broker's own/],
      [`name: x, topic: ${"t".repeat(257)}, weight: 1`, /longer than 256 bytes/],
      ['name: x, topic: "a\\0b", weight: 1', /control characters/],
      ["name: x, topic: 7, weight: 1", /is no text/],
      ["name: x, weight: 1", /topic nothing, which is no text/],
      ["topic: a, weight: 1", /item 2 has the name nothing, which is not 1 to 32 letters/],
      ['name: "a\\nb", topic: a, weight: 1', /item 2 has the name/],
      ["name: x, topic: a", /\(x\) has the weight nothing/],
      ["name: x, topic: a, weight: -1", /\(x\) has the weight -1/],
      ["name: x, topic: a, weight: 1.5", /\(x\) has the weight 1.5/],
      ["name: x, topic: a, weight: {away: 1}", /\(x\) has the weight \{"away":1\}/],
      ["name: x, topic: a, weight: 1001", /\(x\) has the weight 1001/],
      ["name: x, topic: a, weight: 1, field: a..b", /\(x\) has the field "a\.\.b"/],
      ["name: x, topic: a, weight: 1, field: 7", /\(x\) has the field 7/],
      ["name: x, topic: a, weight: 1, counts: []", /\(x\) counts \[\]/],
      ["name: x, topic: a, weight: 1, counts: 98765432109876543210", /\(x\) counts 9876543210/],
      ["name: x, topic: a, weight: 1, counts: [1, .nan]", /\(x\) counts/],
      ["name: x, topic: a, weight: 1, counts: {a: 1}", /\(x\) counts \{"a":1\}/],
      ["name: x, topic: a, weight: 1, instant: yes", /\(x\) has instant: "yes"/],
      ["name: x, topic: a, weight: 1, payload: ON", /item 2 holds "payload", which is not known/],
    ];
    for (const [line, expected] of cases) {
      const told = await sensor(line);
      assert.match(told, /^camera\.yaml:2: alarm\.sensors is a list whose item 2 /, line);
      assert.match(told, expected);
    }
    assert.match(await refusal("alarm:\n  sensors: door\n"), /alarm\.sensors is no list; expected/);
    assert.match(
      await refusal(
        `alarm:\n  sensors: [${Array(33).fill("{name: a, topic: b, weight: 1}").join(", ")}]`,
      ),
      /a list of 33; expected a list of at most 32/,
    );
    assert.match(
      await refusal(`${zones}alarm:\n  zones: [{zone: door, weight: a}]`),
      /alarm\.zones is a list whose item 1 has the weight "a"/,
    );
    assert.match(await refusal("alarm:\n  warnat: 3"), /warnat is not a setting.*alarm\.warnAt/);
  });

  test("what cannot go together is told, all at once", async () => {
    const told = await refusal(`mqtt: {id: porch}
${zones}alarm:
  warnAt: 100
  sliceS: 61
  codeToArm: true
  zones:
    - {zone: shed, weight: 1}
    - {zone: door, weight: 1}
    - {zone: door, weight: 2}
  sensors:
    - {name: a, topic: obscura/porch/person, weight: 1}
    - {name: a, topic: b, weight: 1}
`);
    const lines = told.split("\n");
    for (const expected of [
      /^camera\.yaml:7: alarm\.warnAt is to be below alarm\.sirenAt/,
      /^camera\.yaml:8: alarm\.sliceS is to be alarm\.windowS at most/,
      /^camera\.yaml:11: alarm\.zones names shed, which is not in detect\.zones/,
      /^camera\.yaml:13: alarm\.zones has door twice/,
      /^camera\.yaml:16: alarm\.sensors has a twice/,
      /^camera\.yaml:15: .*the topic of a is this camera's own/,
      /^camera\.yaml:9: alarm\.codeToArm needs alarm\.code/,
    ]) {
      assert.ok(
        lines.some((line) => expected.test(line)),
        `${expected}\n${told}`,
      );
    }
  });

  test("a siren that no evidence can ask for is a mistake", async () => {
    const one = "alarm:\n  person: 0\n  motion: 2\n";
    assert.match(
      await refusal(one),
      /^camera\.yaml:2: alarm\.sirenAt is 100, and all evidence .* is 12 at most/,
    );
    // A zone of two polygons is one: nobody is elsewhere.
    const parts = zones.replace("path", "door");
    const known = "alarm:\n  motion: 2\n  zones: [{zone: door, weight: 1}]\n";
    assert.match(await refusal(parts + known), /all evidence .* is 18 at most/);
    const more = "  sensors: [{name: a, topic: b, weight: 15}]\n";
    assert.is((await read(one + more)).alarm.sensors.length, 1);
  });

  test("an alarm without a broker is refused: nobody could arm it", async () => {
    const { config, places } = await load("name: x\nalarm:\n  enabled: true\n");
    assert.throws(
      () => checkPanel(config, places),
      (error: Failure) =>
        error.kind === "misuse" && /camera\.yaml:3: .*mqtt\.url/.test(error.message),
    );
    for (const text of ["alarm: {enabled: true}\nmqtt: {url: 'mqtt://broker.home'}\n", ""]) {
      const right = await load(text);
      checkPanel(right.config, right.places);
    }
  });
});
