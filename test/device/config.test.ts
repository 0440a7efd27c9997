import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { Failure } from "../../src/base/pure/failure.ts";
import { printConfig, readConfig } from "../../src/device/config.ts";
import { suite } from "../lib/suite.ts";
import { temporaryFolder } from "../lib/world.ts";

async function read(text: string) {
  await using folder = await temporaryFolder();
  const file = join(folder.path, "camera.yaml");
  await writeFile(file, text);
  return await readConfig(file);
}

async function refusal(text: string): Promise<string> {
  try {
    await read(text);
  } catch (error) {
    assert.instance(error, Failure);
    return (error as Failure).message.replace(/^.*camera\.yaml/, "camera.yaml");
  }
  return "it was read";
}

/**
 * A file of format version 1 with every kind of value. It is never edited: whatever the format
 * becomes, this file must go on to mean this.
 */
const firstVersion = `version: 1
name: porch
camera:
  source: /dev/v4l/by-id/usb-cam
  width: 640
  height: 480
  fps: 10
  format: YUYV
  rotate: 180
  flip: true
  masks:
    - [[0, 0], [0.5, 0], [0.5, 1]]
  controls:
    power_line_frequency: 1
detect:
  threshold: 0.55
  crops: false
  zones:
    - {name: door, polygon: [[0, 0.5], [1, 0.5], [1, 1]]}
record:
  preRollS: 3
outbox:
  limitMiB: 512
log: warn
`;

suite("device/config", (test) => {
  test("no setting is needed", async () => {
    const config = await readConfig(undefined);
    assert.is(config.camera.source, "auto");
    assert.is(config.record.preRollS, 5);
    assert.is(config.record.longestS, 180);
  });

  test("a file of version 1 goes on to mean what it meant", async () => {
    const { name, camera, detect, record, outbox, log } = await read(firstVersion);
    assert.is(name, "porch");
    assert.is(camera.source, "/dev/v4l/by-id/usb-cam");
    assert.equal([camera.width, camera.height, camera.fps], [640, 480, 10]);
    assert.equal([camera.format, camera.rotate, camera.flip], ["YUYV", 180, true]);
    assert.equal(camera.masks, [
      [
        { x: 0, y: 0 },
        { x: 0.5, y: 0 },
        { x: 0.5, y: 1 },
      ],
    ]);
    assert.equal(camera.controls, { power_line_frequency: 1 });
    assert.equal([detect.threshold, detect.crops, detect.precision], [0.55, false, "auto"]);
    assert.is(detect.zones[0]?.name, "door");
    assert.equal([record.preRollS, record.postRollS], [3, 5]);
    assert.is(outbox.limitMiB, 512);
    assert.is(log, "warn");
  });

  test("the printed file is the defaults", async () => {
    assert.equal(await read(printConfig()), await readConfig(undefined));
  });

  const wrong: [string, RegExp][] = [
    ["camera:\n  masks: [[[0, 0], [1, 1]]]\n", /camera\.yaml:2: camera\.masks .* 3 to 32/],
    ["camera:\n  masks: [[[0, 0], [1, 1], [2, 0]]]\n", /:2: camera\.masks/],
    [
      "detect:\n  zones: [{name: a b, polygon: [[0,0],[1,0],[1,1]]}]\n",
      /:2: detect\.zones .*the name letters, digits/,
    ],
    [
      "detect:\n  zones: [{name: a, polygon: [[0,0],[1,0],[1,1]], threshold: 0.5}]\n",
      /:2: detect\.zones/,
    ],
    ["camera:\n  rotate: 45\n", /:2: camera\.rotate is 45; expected one of 0, 90, 180, 270/],
    ["camera:\n  format: MJPEG\n", /:2: camera\.format is "MJPEG"; .*Did you mean MJPG\?/],
    [
      "light: x\nnonsenseofakind: 1\n",
      /:2: .* is not a setting; there are version, name, .*camera/,
    ],
    ["camera:\n  nonsenseofakind: 1\n", /:2: .* there are camera\.source, /],
    ["camera:\n  fps: 1e999\n", /:2: camera\.fps is Infinity; expected/],
    ["record:\n  preRolS: 4\n", /:2: .*Did you mean record\.preRollS\?/],
    ["camera:\n  controls: {x: 1.5}\n", /:2: camera\.controls/],
    ["mqtt:\n  commands: [privacy, everything]\n", /:2: mqtt\.commands .*some of privacy, /],
    ["mqtt:\n  commands: [record, record]\n", /:2: mqtt\.commands/],
    ["mqtt:\n  commands: all\n", /:2: mqtt\.commands/],
    ["mqtt:\n  commands: [alarm]\n", /:2: mqtt\.commands .*come with alarm\.enabled/],
    ["name: x\nprofiles: {none: {}}\n", /:2: profiles .* 32 at most, and not none/],
    ["name: x\nprofiles: {a b: {}}\n", /:2: profiles/],
    ["name: x\nprofiles: {a: {detect.threshold: 2}}\n", /:2: profiles .*detect\.threshold, /],
    ["name: x\nprofiles: {a: {camera.flip: true}}\n", /:2: profiles/],
    ["name: x\nprofiles: {a: {constructor: 1}}\n", /:2: profiles/],
    ["name: x\nprofiles: [day]\n", /:2: profiles/],
    [
      `name: x\nprofiles: {${Array.from("abcdefghi", (name) => `${name}: {}`).join(", ")}}\n`,
      /:2: profiles .* at most 8 names/,
    ],
    [`# ${"x".repeat(70_000)}\n`, /at most 65536/],
  ];
  for (const [text, message] of wrong) {
    test(`refuses ${JSON.stringify(text.slice(0, 50))}`, async () => {
      assert.match(await refusal(text), message);
    });
  }

  test("a file that is not there is named", async () => {
    try {
      await readConfig("/nowhere/camera.yaml");
    } catch (error) {
      assert.is((error as Failure).kind, "misuse");
      assert.match((error as Failure).message, /\/nowhere\/camera\.yaml \(ENOENT\)/);
      return;
    }
    assert.unreachable();
  });

  test("the local interface is off until a port is named, and its settings hang together", async () => {
    assert.is((await readConfig(undefined)).local.port, 0);
    const { local } = await read("local: { port: 8480, names: [camera.home], announce: false }");
    assert.equal([local.port, local.names, local.announce], [8480, ["camera.home"], false]);
    assert.match(await refusal("local: { port: 8480, key: /k.pem }"), /are set together/);
    for (const wrong of [
      "port: 65536",
      "port: x",
      "names: camera.home",
      "names: [A.B]",
      "names: ['a:1']",
    ]) {
      assert.match(
        await refusal(`local: { ${wrong} }`),
        /camera\.yaml:1: local\..* expected/,
        wrong,
      );
    }
  });
});
