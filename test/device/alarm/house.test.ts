import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { makeToken } from "../../../src/device/local/token.ts";
import { type Camera, door, openCamera } from "../../lib/alarmed.ts";
import { came } from "../../lib/housed.ts";
import { listen as listenLocal } from "../../lib/local.ts";
import {
  freePort,
  type Listener,
  listen,
  startMosquitto,
  until,
  whyNoBroker,
} from "../../lib/mosquitto.ts";
import { suite } from "../../lib/suite.ts";
import { faultOf } from "../../lib/topics.ts";
import { quickFolder } from "../../lib/world.ts";

// The alarm at a real broker: what the house is told of a camera.

const base = "obscura/abc";
const device = "homeassistant/device/obscura_abc/config";
const panel = `${base}/alarm`;
const open = JSON.stringify({ contact: false, battery: 97 });

const deeds = (house: Listener) =>
  house.of(`${base}/alarm_event`).map((text) => JSON.parse(text) as Record<string, unknown>);
const whats = (house: Listener) => deeds(house).map(({ event_type }) => event_type);
/** How much of what the panel said was looked at: what holds for a second may be over when it is. */
const looked = new WeakMap<Listener, number>();
async function is(house: Listener, state: string, camera?: Camera): Promise<void> {
  const from = looked.get(house) ?? 0;
  const place = () => house.of(panel).indexOf(state, from);
  await until(`the panel says ${state}`, () => place() >= 0, {
    told: () => `${house.of(panel).slice(from).join(" ")}\n${camera?.said() ?? ""}`,
  });
  looked.set(house, place() + 1);
}
/** So many messages one after the other, without waiting for each: payloads take turns. */
async function flood(house: Listener, count: number, topic: string, ...payloads: string[]) {
  const all = Array.from({ length: count }, (_, i) => payloads[i % payloads.length] ?? "");
  await Promise.all(all.map((payload) => house.publish(topic, payload)));
}
const notes = ({ lines }: Camera) =>
  lines.flatMap(({ note }) => (note?.kind === "alarm" ? [note.what] : []));
/** A camera that is heard: who reads `online` may ask. */
async function startCamera(house: Listener, ...args: Parameters<typeof openCamera>) {
  const since = house.messages.length;
  const camera = await openCamera(...args);
  const isOnline = ({ topic, payload }: Listener["messages"][number]) =>
    topic === `${base}/availability` && payload.toString() === "online";
  await until("online", () => house.messages.slice(since).some(isOnline), { told: camera.said });
  return camera;
}
/** Every message of the camera's is one of the map. */
function check(house: Listener, form: "device" | "component" = "device"): void {
  const where = { base, node: "obscura_abc", prefix: "homeassistant", form };
  const own = house.messages.filter(
    ({ topic }) => !/\/set$|^zigbee2mqtt|^obscura\/hall|^garbage/.test(topic),
  );
  assert.equal(
    own.flatMap((message) => faultOf(message, where) ?? []),
    [],
  );
}

const why = await whyNoBroker();

suite("device/alarm/house", (define) => {
  const test: typeof define = why
    ? Object.assign((name: string) => define.skip(name, why), { skip: define.skip })
    : define;

  for (const protocolVersion of [5, 4] as const) {
    test(`the whole life, for a house that speaks MQTT ${protocolVersion}`, async () => {
      await using folder = await quickFolder();
      const code = join(folder.path, "code");
      await writeFile(code, "0815\n", { mode: 0o600 });
      await using broker = await startMosquitto(folder.path);
      await using house = await listen(broker.url, { protocolVersion });
      {
        await using camera = await startCamera(house, folder.path, broker.url, { code });
        const config = JSON.parse(
          await (async () => {
            await until("announced", () => house.at(device) !== undefined, { told: camera.said });
            return house.at(device) ?? "";
          })(),
        ).components.set_alarm;
        assert.equal(
          [config.platform, config.state_topic, config.command_topic, config.code],
          ["alarm_control_panel", panel, `${panel}/set`, "REMOTE_CODE"],
        );
        // As Home Assistant fills in its template.
        const press = (action: string, typed: string | null = null) =>
          house.publish(config.command_topic, JSON.stringify({ action, code: typed }));
        await is(house, "disarmed", camera);
        for (const state of ["alarm_siren", "alarm_warning"]) {
          assert.is(house.at(`${base}/${state}`), "OFF");
        }
        await house.publish(door, open);
        await press("ARM_AWAY");
        await is(house, "arming", camera);
        await is(house, "armed_away", camera);
        assert.is(house.at(`${base}/alarm_score`), "0");
        camera.tell(JSON.stringify(came(["door"])));
        camera.tell("motion");
        await until("a warning", () => whats(house).includes("warning"), { told: camera.said });
        await house.publish(door, JSON.stringify({ contact: true }));
        await house.publish(door, open);
        await is(house, "pending", camera);
        await until("the warning was on", () => house.of(`${base}/alarm_warning`).includes("ON"));
        await is(house, "triggered", camera);
        await until("the siren is on", () => house.at(`${base}/alarm_siren`) === "ON");
        await press("DISARM", "0816");
        await until("refused", () => whats(house).includes("refused"), { told: camera.said });
        assert.is(house.at(panel), "triggered");
        await press("DISARM", "0815");
        await is(house, "disarmed", camera);
        await until("silent", () => house.at(`${base}/alarm_siren`) === "OFF");
        const isAll = () => notes(camera).length >= 7 && whats(house).length >= 7;
        await until("all is noted", isAll, { told: camera.said });
        assert.equal(notes(camera), whats(house));
        assert.not(/0815|0816/.test(camera.said()), "a code in what it says");
      }
      const all = deeds(house);
      assert.equal(whats(house), [
        ...["arming", "armed", "warning", "pending", "siren", "refused", "disarmed"],
      ]);
      assert.equal(
        all.map(({ number }) => number),
        all.map((_, i) => i + 1),
      );
      const pending = all.find(({ event_type }) => event_type === "pending");
      const parts = pending?.contributions as { source: string; points: number; at: string }[];
      assert.equal(
        parts.map(({ source, points }) => `${source} ${points}`),
        ["person in door 45", "motion 2", "front door 60"].filter((part) =>
          parts.some(({ source, points }) => `${source} ${points}` === part),
        ),
      );
      assert.ok((pending?.score as number) >= 105);
      assert.is(JSON.parse(house.at(`${base}/last_alarm`) ?? "").event_type, "disarmed");
      assert.is(house.at(`${base}/availability`), "offline");
      check(house);
    });
  }

  test("the second camera is heard by its topic; what is retained is neither evidence nor command", async () => {
    await using folder = await quickFolder();
    await using broker = await startMosquitto(folder.path, { isForgetful: false });
    await using house = await listen(broker.url);
    await house.publish("obscura/hall/person", "ON", { retain: true });
    await house.publish(door, open, { retain: true });
    await house.publish(`${panel}/set`, "DISARM", { retain: true });
    await using camera = await startCamera(house, folder.path, broker.url);
    await until("refused", () => /alarm\/set is retained/.test(camera.said()), {
      told: camera.said,
    });
    await house.publish(`${panel}/set`, "ARM_AWAY");
    await is(house, "armed_away", camera);
    // All that is retained comes again with each connection.
    await broker.stop();
    await broker.start();
    await until("back", () => camera.said().split('"isConnected":true').length >= 3, {
      told: camera.said,
    });
    await until("the house is back", house.isUp);
    // A command that is sent to be kept is none either, by MQTT 5.
    await house.publish(`${panel}/set`, "DISARM", { retain: true });
    await house.publish(`${panel}/set`, "ARM_AWAY");
    camera.tell("motion");
    await until("it listens", () => house.at(`${base}/alarm_score`) === "2", { told: camera.said });
    assert.equal([house.at(panel), whats(house)], ["armed_away", ["arming", "armed"]]);
    await house.publish("obscura/hall/person", "OFF", { retain: true });
    await house.publish("obscura/hall/person", "ON", { retain: true });
    await is(house, "triggered", camera);
    await until("the siren is told of", () => whats(house).at(-1) === "siren");
    check(house);
  });

  test("hostile: garbage, what is too long, wildcards, loops; it stays armed and hears the door", async () => {
    await using folder = await quickFolder();
    await using broker = await startMosquitto(folder.path);
    await using house = await listen(broker.url);
    await using camera = await startCamera(house, folder.path, broker.url);
    await is(house, "disarmed", camera);
    await house.publish(`${panel}/set`, "ARM_AWAY");
    await is(house, "armed_away", camera);
    const bytes = String.fromCharCode(...Array.from({ length: 200 }, (_, i) => i));
    const garbage = ["", "disarm", "DISARM ", "{", '{"action":"DISARM","code":{}}', "null", bytes];
    for (const payload of [...garbage, "D".repeat(100_000)]) {
      for (const topic of [`${panel}/set`, door, `${base}/alarm_test/set`]) {
        await house.publish(topic, payload);
      }
    }
    for (const topic of [`${panel}/set/x`, `${base}/alarm/get`, "zigbee2mqtt/front", `${base}/x`]) {
      await house.publish(topic, "DISARM");
    }
    // What the camera itself says, said by another.
    for (const [topic, payload] of [
      ["alarm_siren", "ON"],
      ["alarm_event", '{"event_type":"siren"}'],
    ] as const) {
      await house.publish(`${base}/${topic}`, payload);
    }
    await flood(house, 300, door, JSON.stringify({ contact: true }));
    await flood(house, 100, `${panel}/set`, "ARM_AWAY");
    assert.is(house.at(panel), "armed_away", camera.said());
    // One that is longer than the camera takes, which a broker of MQTT 5 keeps to itself.
    await house.publish(door, "x".repeat(200_000));
    assert.is(house.at(panel), "armed_away", camera.said());
    assert.equal(whats(house).slice(0, 2), ["arming", "armed"]);
    // At once: what comes in more than one slice counts in each.
    await flood(house, 300, door, open);
    camera.tell(JSON.stringify(came(["door"])));
    await is(house, "triggered", camera);
    // The camera's own, which says why.
    const siren = () =>
      deeds(house).find((deed) => deed.event_type === "siren" && deed.contributions !== undefined);
    await until("the siren is told of", () => siren() !== undefined);
    const parts = siren()?.contributions as { source: string }[];
    assert.is(parts.filter(({ source }) => source === "front door").length, 1, "once in its slice");
    assert.not(
      camera.lines.some(({ problem }) => problem),
      camera.said(),
    );
    const warned = camera.said().match(/warn mqtt: refused/g)?.length ?? 0;
    assert.ok(warned <= 6, camera.said());
  });

  test("a camera that is stopped leaves no siren on, and goes on with it when it is back", async () => {
    await using folder = await quickFolder();
    await using broker = await startMosquitto(folder.path);
    await using house = await listen(broker.url);
    const siren = () => house.at(`${base}/alarm_siren`);
    {
      await using camera = await startCamera(house, folder.path, broker.url);
      await house.publish(`${panel}/set`, "TRIGGER");
      await until("the siren is on", () => siren() === "ON", { told: camera.said });
    }
    await until("it said goodbye", () => house.at(`${base}/availability`) === "offline");
    // What was under way when it ended is said once more behind that.
    await until("silent", () => siren() === "OFF");
    assert.is(house.at(panel), "triggered");
    await using camera = await startCamera(house, folder.path, broker.url);
    await until("the siren is on again", () => siren() === "ON", { told: camera.said });
    await house.publish(`${panel}/set`, "DISARM");
    await until("silent", () => siren() === "OFF", { told: camera.said });
    check(house);
  });

  test("who reads the local interface is told the same as the broker", async () => {
    await using folder = await quickFolder();
    await using broker = await startMosquitto(folder.path);
    await using house = await listen(broker.url);
    const localPort = await freePort();
    await using camera = await startCamera(house, folder.path, broker.url, { localPort });
    const token = await makeToken(join(folder.path, "state"), "house");
    const stream = listenLocal(localPort, { authorization: `Bearer ${token}` });
    await until("states", () => stream.of("states").length === 1, { told: camera.said });
    await house.publish(`${panel}/set`, "TRIGGER");
    await house.publish(`${panel}/set`, "DISARM");
    await until("both", () => stream.of("alarm").length === 2 && deeds(house).length === 2);
    assert.equal(
      stream.of("alarm").map(({ data }) => data),
      deeds(house),
    );
    stream.close();
  });

  test("a loop that arms and disarms without a code costs a dozen deeds, and not more", async () => {
    await using folder = await quickFolder();
    await using broker = await startMosquitto(folder.path);
    await using house = await listen(broker.url);
    await using camera = await startCamera(house, folder.path, broker.url);
    await is(house, "disarmed", camera);
    await flood(house, 400, `${panel}/set`, "ARM_HOME", "DISARM");
    // Carried out behind all of them.
    await house.publish(`${base}/alarm_test/set`, "PRESS");
    await until("all are noted", () => notes(camera).includes("test"), { told: camera.said });
    assert.match(camera.said(), /alarm\/set comes too often/);
    // A slow camera may be armed in between, or be given one more.
    assert.ok(notes(camera).length <= 24, notes(camera).join(" "));
  });

  test("killed in each state it goes on from there, at a broker that has forgotten all", async () => {
    await using folder = await quickFolder();
    await using broker = await startMosquitto(folder.path);
    await using house = await listen(broker.url);
    const ask = (action: string) => house.publish(`${panel}/set`, action);
    const ways: [state: string, go: (camera: Camera) => Promise<void>, next: string][] = [
      ["armed_home", async () => await ask("ARM_HOME"), "armed_home"],
      ["armed_away", async () => await ask("ARM_AWAY"), "armed_away"],
      [
        "pending",
        async (camera) => {
          await ask("ARM_AWAY");
          await is(house, "armed_away", camera);
          await house.publish(door, open);
          camera.tell(JSON.stringify(came(["door"])));
        },
        "triggered",
      ],
      ["triggered", async () => await ask("TRIGGER"), "triggered"],
    ];
    for (const [state, go, next] of ways) {
      {
        const camera = await startCamera(house, folder.path, broker.url);
        await is(house, "disarmed", camera);
        await go(camera);
        await is(house, state, camera);
        await camera.kill();
      }
      await broker.stop(true);
      await broker.start();
      await until("the house is back", house.isUp);
      const since = house.messages.length;
      const of = (topic: string) =>
        house.messages
          .slice(since)
          .filter((one) => one.topic === topic)
          .map(({ payload }) => payload.toString());
      await using camera = await startCamera(house, folder.path, broker.url);
      await until(`${next} after ${state}`, () => of(panel).includes(next), { told: camera.said });
      assert.not(of(panel).includes("disarmed"), of(panel).join(" "));
      await until("noted", () => notes(camera).length > 0);
      await ask("DISARM");
      await is(house, "disarmed", camera);
    }
  });

  test("switched off in the settings its topics go, and what it was is forgotten", async () => {
    await using folder = await quickFolder();
    await using broker = await startMosquitto(folder.path);
    await using house = await listen(broker.url);
    const isSet = "homeassistant/alarm_control_panel/obscura_abc/set_alarm/config";
    {
      await using camera = await startCamera(house, folder.path, broker.url, {
        discovery: "component",
      });
      await house.publish(`${panel}/set`, "ARM_HOME");
      await is(house, "armed_home", camera);
      await until("announced", () => JSON.parse(house.at(isSet) || "{}").state_topic === panel);
      check(house, "component");
    }
    {
      const off = { enabled: false, discovery: "component" } as const;
      await using camera = await startCamera(house, folder.path, broker.url, off);
      await until("gone", () => house.at(panel) === "" && house.at(isSet) === "", {
        told: camera.said,
      });
      await house.publish(`${panel}/set`, "ARM_HOME");
    }
    await using camera = await startCamera(house, folder.path, broker.url);
    await is(house, "disarmed", camera);
  });
});
