import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { createServer as createHttp } from "node:http";
import { type AddressInfo, connect as connectTcp, createServer } from "node:net";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { systemClock } from "../../../src/base/node/time.ts";
import type { Clock } from "../../../src/base/pure/clock.ts";
import { isFailure } from "../../../src/base/pure/failure.ts";
import { readBroker } from "../../../src/device/broker.ts";
import { type MqttOptions, reachBroker } from "../../../src/device/mqtt/mqtt.ts";
import { base, came, openHoused, well } from "../../lib/housed.ts";
import {
  freePort,
  listen,
  makeCertificates,
  makeUsers,
  startMosquitto,
  until,
  whyNoBroker,
} from "../../lib/mosquitto.ts";
import { suite } from "../../lib/suite.ts";
import { temporaryFolder } from "../../lib/world.ts";

// A real broker that takes less than others, or that somebody has filled.

const device = "homeassistant/device/obscura_abc/config";
const why = await whyNoBroker();
const anybody = "allow_anonymous true";
/** Minutes go by in seconds: what was refused is tried anew each minute. */
const speed = 30;
const hasty: Clock = {
  ...{ monotonicUs: () => systemClock.monotonicUs() * speed, wallMs: systemClock.wallMs },
  sleep: (ms, signal) => systemClock.sleep(ms / speed, signal),
};
const quiet = (heard: string[]): NonNullable<MqttOptions["alarm"]> => ({
  ...{ topics: [], panel: { code: "none", codeToArm: false }, listen: () => {} },
  view: () => ({ state: "disarmed", mode: undefined, score: 0, warning: false, siren: false }),
  message: ({ topic }) => void heard.push(topic),
});

suite("device/mqtt/limits", (define) => {
  const test: typeof define = why
    ? Object.assign((name: string) => define.skip(name, why), { skip: define.skip })
    : define;

  for (const [limit, discovery] of [
    ["max_packet_size 2000", "is said with its welcome"],
    ["message_size_limit 2000", "is said of each message"],
  ] as const) {
    test(`a broker that takes small messages alone, which ${discovery}: the large one is told of, all else is said`, async () => {
      await using folder = await temporaryFolder();
      await using broker = await startMosquitto(folder.path, { lines: [anybody, limit] });
      await using house = await listen(broker.url);
      {
        await using camera = openHoused(broker.url);
        await until("told", () => camera.faults.some((text) => text?.includes(`write ${device}`)));
        camera.incident(came());
        await until("said", () => house.at(`${base}/person`) === "ON");
        await until("the event", () => house.of(`${base}/event`).length === 1);
        assert.match(camera.log(), /how large a message may be/);
        // One connection, which goes on.
        assert.equal(camera.brokers, [{ isConnected: true }]);
        assert.is(house.at(device), undefined);
      }
      await using camera = openHoused(broker.url, { discovery: "component" });
      const part = "homeassistant/binary_sensor/obscura_abc/person/config";
      await until("part by part", () => house.at(part) !== undefined);
      assert.equal(camera.brokers, [{ isConnected: true }]);
      assert.equal(camera.faults, [undefined]);
    });
  }

  test("a broker whose rights are mended: what it did not take is said, and is no problem any more", async () => {
    await using folder = await temporaryFolder();
    const rightsOf = (...rights: string[]) =>
      makeUsers(folder.path, {
        porch: { password: "secret", rights: ["read homeassistant/status", ...rights] },
        house: { password: "house", rights: ["readwrite #"] },
      });
    const lines = await rightsOf(`readwrite ${base}/availability`);
    const login = join(folder.path, "login");
    await writeFile(login, "porch\nsecret\n", { mode: 0o600 });
    await using broker = await startMosquitto(folder.path, { lines });
    await using house = await listen(broker.url, { username: "house", password: "house" });
    await using camera = openHoused(broker.url, { credentials: login }, { clock: hasty });
    await until("told", () => /write obscura.* and others/.test(camera.faults.at(-1) ?? ""));
    await rightsOf(`readwrite ${base}/#`, `readwrite ${device}`);
    broker.reload();
    await until("mended", () => camera.faults.at(-1) === undefined, { told: camera.log });
    await until("said", () => house.at(`${base}/version`) === "0.1.0");
    await until("announced", () => house.at(device) !== undefined);
    // By the connection that stands.
    assert.equal(camera.brokers, [{ isConnected: true }]);
  });

  test("as many sensors as there can be are asked for in parts that a broker takes", async () => {
    await using folder = await temporaryFolder();
    const lines = [anybody, "max_packet_size 2500"];
    await using broker = await startMosquitto(folder.path, { lines });
    await using house = await listen(broker.url);
    const topics = Array.from({ length: 32 }, (_, i) => `house/${i}/${"x".repeat(240)}`);
    const heard: string[] = [];
    await using camera = openHoused(broker.url, {}, { alarm: { ...quiet(heard), topics } });
    const last = topics.at(-1) ?? "";
    // It is told until it hears: a subscription may come after the first of them.
    await until("all are heard", () => {
      void house.publish(last, "ON");
      return heard.includes(last);
    });
    assert.equal(camera.brokers, [{ isConnected: true }]);
  });

  test("a broker that hung up once is not spoken to by 3.1.1 for good", async () => {
    await using folder = await temporaryFolder();
    await using broker = await startMosquitto(folder.path);
    const versions: number[] = [];
    let isLetIn = () => false;
    const front = createServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", (first: Buffer) => {
        versions.push(first[2 + 6] ?? 0);
        if (versions.length === 1) return socket.destroy();
        const behind = connectTcp(broker.port, "127.0.0.1");
        behind.on("error", () => socket.destroy());
        behind.write(first);
        socket.pipe(behind).pipe(socket);
        if (versions.length === 2)
          void until("let in", () => isLetIn()).then(() => socket.destroy());
      });
    }).listen(0, "127.0.0.1");
    await once(front, "listening");
    {
      await using camera = openHoused(`mqtt://127.0.0.1:${(front.address() as AddressInfo).port}`);
      isLetIn = () => camera.brokers.some(({ isConnected }) => isConnected);
      await camera.up(2);
      assert.equal(versions, [5, 4, 5]);
      assert.match(camera.log(), /by MQTT 3\.1\.1(.|\n)*by MQTT 5/);
    }
    front.close();
  });

  test("a broker without QoS 1 is told all the same, its will too", async () => {
    await using folder = await temporaryFolder();
    await using broker = await startMosquitto(folder.path, { lines: [anybody, "max_qos 0"] });
    const qos = (state: string) => new RegExp(`from obscura_abc \\(d0, q0, r1.*${state}'`);
    await using camera = openHoused(broker.url);
    await until("online", () => qos("availability").test(broker.log()));
    assert.equal(camera.brokers, [{ isConnected: true }]);
    assert.match(broker.log(), /Will message specified \(7 bytes\) \(r1, q0\)/);
  });

  test("a broker that keeps nothing is told of in words", async () => {
    await using folder = await temporaryFolder();
    const lines = [anybody, "retain_available false"];
    await using broker = await startMosquitto(folder.path, { lines });
    await using camera = openHoused(broker.url);
    await until("told", () => /no retained messages/.test(camera.faults.at(-1) ?? ""));
  });

  test("two cameras of one card take turns, and both are told why", async () => {
    await using folder = await temporaryFolder();
    await using broker = await startMosquitto(folder.path);
    await using one = openHoused(broker.url);
    await using other = openHoused(broker.url);
    for (const camera of [one, other]) {
      await until(
        "told",
        () =>
          camera.faults.some((text) => /another client use this camera's name/.test(text ?? "")),
        { told: camera.log },
      );
    }
    // From then on it is not hurried.
    const many = one.brokers.length;
    assert.ok(many < 40, `${many}`);
  });

  test("what the board cannot tell any more does not stay at the broker as it was", async () => {
    await using folder = await temporaryFolder();
    await using broker = await startMosquitto(folder.path);
    await using house = await listen(broker.url);
    await using camera = openHoused(broker.url);
    const [slow, warm] = [`${base}/throttled`, `${base}/temperature`];
    camera.reading = { ...well, throttled: true };
    await until("slowed down", () => house.at(slow) === "ON" && house.at(device) !== undefined);
    camera.reading = { ...well, throttled: undefined };
    await until("gone", () => house.at(slow) === "" && !house.at(device)?.includes(slow));
    assert.is(house.at(warm), "44");
    camera.reading = well;
    await until("back", () => house.at(slow) === "OFF" && !!house.at(device)?.includes(slow));
  });

  test("the wrong port, with TLS or without: told with the way out, and as a problem when it stays so", async () => {
    await using folder = await temporaryFolder();
    const { broker: tls, client } = await makeCertificates(folder.path);
    await using plain = await startMosquitto(folder.path);
    await using closed = await startMosquitto(folder.path, { tls });
    const web = createHttp().listen(0, "127.0.0.1");
    await once(web, "listening");
    const page = `127.0.0.1:${(web.address() as AddressInfo).port}`;
    const { ca } = client;
    for (const [url, told, settings] of [
      [`mqtts://127.0.0.1:${plain.port}`, /Is it a port without TLS\?.*mqtt:\/\//, { ca }],
      [`mqtt://127.0.0.1:${closed.port}`, /Is it a port for TLS\?.*mqtts:\/\//, {}],
      [`mqtts://${page}`, /no TLS between camera and broker .*mqtt:\/\//, { ca }],
    ] as const) {
      await using camera = openHoused(url, settings);
      const isTold = () => camera.faults.some((text) => told.test(text ?? ""));
      await until(`told of ${url}`, isTold, { told: camera.log });
      assert.match(camera.log(), told);
    }
    web.close();
  });

  test("doctor's look at a broker: there, not there, silent, and one that nobody vouches for", async () => {
    await using folder = await temporaryFolder();
    const { broker: tls, client } = await makeCertificates(folder.path);
    await using plain = await startMosquitto(folder.path);
    await using closed = await startMosquitto(folder.path, { tls, lines: [anybody] });
    const silent = createServer((socket) => socket.on("error", () => {}));
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const port = (silent.address() as AddressInfo).port;
    const none = { credentials: "", ca: "", certificate: "", key: "" };
    const look = async (url: string, more: Partial<typeof none> = {}) =>
      await reachBroker(await readBroker({ url, ...none, ...more })).then(
        () => "there",
        (error: unknown) => (isFailure(error) ? error.kind : String(error)),
      );
    assert.is(await look(plain.url), "there");
    assert.is(await look(closed.url, { ca: client.ca }), "there");
    assert.is(await look(closed.url), "refused");
    assert.is(await look(`mqtt://127.0.0.1:${await freePort()}`), "offline");
    assert.is(await look(`mqtts://127.0.0.1:${port}`), "stalled");
    assert.is(await look(`mqtts://127.0.0.1:${plain.port}`), "gone");
    assert.not(/CONNACK/.test(plain.log()), "it says nothing");
    silent.close();
  });

  test("who fills the camera's topics with what is not its own does not keep it away", async () => {
    await using folder = await temporaryFolder();
    await using broker = await startMosquitto(folder.path);
    await using house = await listen(broker.url);
    const topics = Array.from({ length: 2_500 }, (_, i) => `${base}/g${i}`);
    await Promise.all(topics.map((topic) => house.publish(topic, "x", { retain: true })));
    await using camera = openHoused(broker.url);
    await camera.up(2);
    await until("announced", () => house.at(device) !== undefined);
    assert.match(camera.log(), /sends without end/);
    assert.is(camera.brokers.at(-1)?.isConnected, true);
    assert.is(camera.faults.at(-1), undefined);
  });
});
