import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { isFailure } from "../../src/base/pure/failure.ts";
import { checkRemote, loadConfig } from "../../src/device/config.ts";
import { checkFiles, checkPanel, setBroker } from "../../src/device/vet.ts";
import { makeCertificates } from "../lib/mosquitto.ts";
import { suite } from "../lib/suite.ts";
import { temporaryFolder } from "../lib/world.ts";

type World = { folder: string; at(name: string): string };

/** What is said of this file, by all that looks at settings before the service starts; "taken" of a good one. */
async function said(text: string, { at }: World, url?: string): Promise<string> {
  const file = at("camera.yaml");
  await writeFile(file, text);
  try {
    const { config, places } = await loadConfig(file);
    if (url !== undefined) setBroker(config, url, places);
    checkPanel(config, places);
    await checkFiles(config, places);
    return "taken";
  } catch (error) {
    assert.ok(isFailure(error, "misuse"), String(error));
    return error.message.replaceAll(file, "FILE");
  }
}

async function makeWorld(): Promise<World & AsyncDisposable> {
  const folder = await temporaryFolder();
  const at = (name: string) => join(folder.path, name);
  return {
    folder: folder.path,
    at,
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

const who = "  from: camera@example.org\n  to: owner@example.org\n";
const area = "polygon: [[0, 0], [1, 0], [1, 1]]";

suite("device/vet", (test) => {
  test("settings that cannot go together are told with the line of one that is there", async () => {
    await using world = await makeWorld();
    const cases: [text: string, expected: RegExp][] = [
      ["name: x\nmail:\n  host: mail.home\n", /^FILE:3: mail\.host needs mail\.from/],
      [
        `mail:\n  host: mail.home\n${who}  security: none\n  credentials: /x\n`,
        /^FILE:6: mail\.credentials and/,
      ],
      [`mail:\n  host: mail.home\n${who}  security: none\n  ca: /x\n`, /^FILE:6: mail\.cred/],
      [`mail:\n  host: mail.home\n${who}  picture: openpgp\n`, /^FILE:5: mail\.key and/],
      [`mail:\n  host: mail.home\n${who}  key: /k\n`, /^FILE:5: mail\.key and/],
      ["mqtt:\n  url: mqtts://b\n  certificate: /c\n", /^FILE:3: mqtt\.certificate and/],
      ["mqtt:\n  url: mqtts://b\n  certificate: ''\n  key: /k\n", /^FILE:4: mqtt\.certificate/],
      ["mqtt:\n  url: mqtt://b\n  ca: /ca\n", /^FILE:3: mqtt\.ca, .* are for mqtts/],
      ["local:\n  port: 1\n  key: /k\n", /^FILE:3: local\.certificate and/],
      ["local: {\n  port: 1,\n  certificate: /c }\n", /^FILE:3: local\.certificate and/],
      ["# all of it\nalarm:\n  motion: 0\n  person: 1\n", /^FILE:4: alarm\.sirenAt is 100/],
      ["alarm:\n  enabled: true\n", /^FILE:2: alarm\.enabled takes a broker/],
    ];
    for (const [text, expected] of cases) assert.match(await said(text, world), expected, text);
    const both = await said("local:\n  key: /k\nmqtt:\n  key: /k\n", world);
    assert.equal(
      both.split("\n").map((line) => line.slice(0, 12)),
      ["FILE:4: mqtt", "FILE:2: loca"],
    );
    const named = await said("mqtt:\n  ca: /ca\n", world, "mqtt://broker.home");
    assert.match(named, /^--mqtt: FILE:2: mqtt\.ca, .* are for mqtts/);
  });

  test("who writes the secret in the place of its file is told so, and reads it nowhere", async () => {
    await using world = await makeWorld();
    const secrets = ["4711", '"4711"', "porch:hush-4711", '"porch\\nhush-4711"', "[hush, 4711]"];
    for (const secret of secrets) {
      for (const [text, name] of [
        [`alarm:\n  code: ${secret}\n`, "alarm.code"],
        [`mqtt:\n  credentials: ${secret}\n`, "mqtt.credentials"],
        [`mail:\n  credentials: ${secret}\n`, "mail.credentials"],
      ] as const) {
        const told = await said(text, world);
        assert.ok(told.startsWith(`FILE:2: ${name} is no path of a file; expected `), told);
        assert.not.match(told, /4711/);
      }
    }
  });

  test("a file that is wrong is told with the line of the setting that names it", async () => {
    await using world = await makeWorld();
    const { at, folder } = world;
    const { client, broker } = await makeCertificates(folder);
    await writeFile(at("open"), "porch\nhush-4711\n", { mode: 0o644 });
    await chmod(at("open"), 0o644);
    await writeFile(at("hello"), "hello", { mode: 0o600 });
    const url = "mqtt:\n  url: mqtts://b\n";
    const mail = `mail:\n  host: mail.home\n${who}`;
    const cases: [text: string, expected: RegExp][] = [
      [`${url}  credentials: ${at("none")}\n`, /^FILE:3: mqtt: cannot read/],
      [`${url}  credentials: ${at("open")}\n`, /^FILE:3: mqtt: .*chmod 600/],
      [`${url}  credentials: ${at("hello")}\n`, /^FILE:3: mqtt: .*two lines/],
      [`${url}\n  ca: ${at("hello")}\n`, /^FILE:4: mqtt: .*not a PEM file/],
      [
        `${url}  certificate: ${client.certificate}\n  key: ${at("none")}\n`,
        /^FILE:4: mqtt: cannot/,
      ],
      [
        `${url}  certificate: ${client.certificate}\n  key: ${broker.key}\n`,
        /^FILE:3: mqtt: .*no certificate and its key/,
      ],
      [`local:\n  certificate: ${at("none")}\n  key: /k\n`, /^FILE:2: local: cannot read/],
      [`local:\n  certificate: ${client.certificate}\n  key: ${at("open")}\n`, /^FILE:3: .*chmod/],
      [
        `local:\n  certificate: ${client.certificate}\n  key: ${broker.key}\n`,
        /^FILE:2: local: .*no certificate and its key/,
      ],
      [`${mail}  credentials: ${at("open")}\n`, /^FILE:5: mail: .*chmod 600/],
      [`${mail}  ca: ${at("hello")}\n`, /^FILE:5: mail: .*not a PEM file/],
      [`${mail}  picture: openpgp\n  key: ${at("hello")}\n`, /^FILE:6: mail: .*no OpenPGP key/],
      [
        `mqtt: { url: mqtt://b }\nalarm:\n  enabled: true\n  code: ${at("open")}\n`,
        /^FILE:4: alarm\.code: .*chmod 600/,
      ],
    ];
    for (const [text, expected] of cases) {
      const told = await said(text, world);
      assert.match(told, expected, text);
      assert.not(told.includes("hush-4711"));
    }
    const { ca, certificate, key } = client;
    const whole = `${url}  ca: ${ca}\n  certificate: ${certificate}\n  key: ${key}\n`;
    assert.is(await said(whole, world), "taken");
  });

  test("two zones of one name in a file are told and stay one zone; a phone's are refused", async () => {
    await using world = await makeWorld();
    const file = world.at("camera.yaml");
    const door = `{name: door, ${area}}`;
    await writeFile(
      file,
      `detect:
  zones:
    - ${door}
    - {name: path, ${area}}
    - ${door}
    - ${door}
profiles:
  day: {}
  party:
    detect.zones:
      - ${door}
      - ${door}
  late: { detect.zones: [${door}] }
alarm:
  zones: [{zone: door, weight: 5}]
`,
    );
    const told: string[] = [];
    const { config } = await loadConfig(file, (line) => told.push(line.replace(file, "FILE")));
    assert.is(config.detect.zones.length, 4);
    const why = "twice, which are one zone: give one another name";
    assert.equal(told, [
      `FILE:5: detect.zones has door ${why}`,
      `FILE:12: profiles.party.detect.zones has door ${why}`,
    ]);
    assert.throws(() => checkRemote("detect.zones", `[${door}, ${door}]`), /has door twice/);
    checkRemote("detect.zones", `[${door}, {name: Door, ${area}}]`);
    // A weight for a zone that is there counts, whatever else is.
    assert.match(
      await said(`detect: {zones: [${door}]}\nalarm:\n  zones: [{zone: shed, weight: 5}]\n`, world),
      /^FILE:3: alarm\.zones names shed, which is not in detect\.zones/,
    );
  });
});
