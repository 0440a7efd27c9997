import { chmod, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import * as assert from "uvu/assert";
import { base, came, left, moved, openHoused, visit, well, where } from "../../lib/housed.ts";
import {
  freePort,
  type Listener,
  listen,
  makeCertificates,
  makeUsers,
  startMosquitto,
  until,
  whyNoBroker,
} from "../../lib/mosquitto.ts";
import { suite } from "../../lib/suite.ts";
import { expectedStates, faultOf } from "../../lib/topics.ts";
import { temporaryFolder } from "../../lib/world.ts";

const everything = ["relay", "temperature", "throttled"];
const device = "homeassistant/device/obscura_abc/config";

/** Every message is one of the map. */
function check({ messages }: Listener, form: "device" | "component" = "device"): void {
  const faults = messages.flatMap((message) => faultOf(message, { ...where, form }) ?? []);
  assert.equal(faults, []);
}

/** The states that lie at the broker now. */
const lying = (house: Listener) =>
  [...new Set(house.messages.map(({ topic }) => topic))]
    .filter((topic) => topic.startsWith(`${base}/`) && topic !== `${base}/event`)
    .filter((topic) => house.at(topic) !== "")
    .map((topic) => topic.slice(base.length + 1))
    .sort();

const events = (house: Listener) => house.of(`${base}/event`).map((text) => JSON.parse(text));
const why = await whyNoBroker();

suite("device/mqtt", (define) => {
  const test: typeof define = why
    ? Object.assign((name: string) => define.skip(name, why), { skip: define.skip })
    : define;

  test("every state is said at the start, and the whole life of a visit", async () => {
    await using folder = await temporaryFolder();
    await using broker = await startMosquitto(folder.path);
    await using house = await listen(broker.url);
    await using camera = openHoused(
      broker.url,
      {},
      { zones: [{ name: "door" }, { name: "path" }] },
    );
    await until("online", () => house.at(`${base}/availability`) === "online");
    assert.equal(lying(house), expectedStates(["door", "path"], everything).sort());
    // What is said last is that all of it holds.
    const at = house.messages.findIndex(({ topic }) => topic === `${base}/availability`);
    assert.is(at, lying(house).length - 1);
    for (const [topic, payload] of Object.entries({
      ...{ person: "OFF", count: "0", motion: "OFF", recording: "OFF", last_event: "{}" },
      ...{ "zone/door/person": "OFF", "zone/path/count": "0" },
      ...{ problem: "OFF", problem_text: "none", version: "0.1.0" },
    })) {
      assert.is(house.at(`${base}/${topic}`), payload, topic);
    }

    camera.motion();
    camera.incident(came(["door"]));
    await until("somebody is there", () => house.at(`${base}/zone/door/count`) === "1");
    await until("it is an event", () => events(house).length === 1);
    assert.is(house.at(`${base}/person`), "ON");
    // It may be over by now.
    assert.ok(house.of(`${base}/motion`).includes("ON"));
    assert.is(house.at(`${base}/zone/path/person`), "OFF");
    camera.part({ clip: "c".repeat(32), incident: visit });
    camera.reading = { ...well, recording: true };
    await until("recording", () => house.at(`${base}/recording`) === "ON");
    camera.incident(moved(["path"]));
    await until("on the path", () => house.at(`${base}/zone/path/person`) === "ON");
    assert.is(house.at(`${base}/zone/door/person`), "OFF");
    await until("an update", () => events(house).some(({ zones }) => zones[0] === "path"));
    camera.incident(left());
    await until("it ended", () => events(house).at(-1).event_type === "end");
    assert.is(house.at(`${base}/person`), "OFF");
    assert.is(house.at(`${base}/zone/path/count`), "0");
    camera.sealed({ clip: "c".repeat(32), incident: visit });
    await until("the clip", () => events(house).at(-1).event_type === "clip");
    await until("nothing moves", () => house.at(`${base}/motion`) === "OFF");

    const all = events(house);
    assert.equal(
      all.map(({ number }) => number),
      all.map((_, i) => i + 1),
    );
    assert.equal(new Set(all.map(({ id, run }) => `${id} ${run}`)).size, 1);
    const [first, last] = [all[0], all.at(-1)];
    assert.equal(first.persons[0].box, [0.1, 0.1, 0.2, 1]);
    assert.equal([first.event_type, first.clip, first.sealed], ["new", null, false]);
    assert.equal(
      [last.clip, last.clips, last.sealed, last.delivered],
      ["c".repeat(32), 1, true, true],
    );
    assert.equal(last.entered, ["door", "path"]);
    await until(
      "the same lies there",
      () => house.at(`${base}/last_event`) === JSON.stringify(last),
    );
    camera.reading = { ...well, watched: true, pairing: true };
    const ends = ["being_watched", "pairing_window"];
    await until("watched", () => ends.every((name) => house.at(`${base}/${name}`) === "ON"));
    await camera.close();
    await until("it said goodbye", () => house.at(`${base}/availability`) === "offline");
    // What was under way when it ended is said once more behind that.
    await until("all ended", () => ends.every((name) => house.at(`${base}/${name}`) === "OFF"));
    check(house);
    assert.equal(camera.faults, [undefined]);
    assert.not(camera.log().includes(visit), "payloads in the log");
  });

  for (const isForgetful of [true, false]) {
    const what = isForgetful ? "forgets all" : "remembers";
    test(`a broker that is started anew and ${what}: states are right, no event is lost unseen`, async () => {
      await using folder = await temporaryFolder();
      await using broker = await startMosquitto(folder.path, { isForgetful });
      // Who wants to lose nothing keeps a session, as Node-RED does when it is told to.
      const session = { clean: false, clientId: "house", protocolVersion: 4 as const };
      await using house = await listen(broker.url, isForgetful ? {} : session);
      await using camera = openHoused(broker.url);
      await camera.up();
      camera.incident(came());
      await until("an event", () => events(house).length === 1);
      let told = 1;
      for (const hard of [false, true]) {
        await broker.stop(hard);
        const ups = camera.brokers.filter(({ isConnected }) => isConnected).length;
        await until("away", () => camera.brokers.at(-1)?.isConnected === false);
        // Nobody is there when it comes back: what is stuck at ON would be seen.
        camera.incident(left());
        camera.incident(came([], "f".repeat(32)));
        camera.incident(left("f".repeat(32)));
        const said = house.messages.length;
        await broker.start();
        await camera.up(ups + 1);
        await until("all is there again", () => {
          const since = { ...house, messages: house.messages.slice(said) };
          return lying(since).join() === expectedStates([], everything).sort().join();
        });
        await until("nobody is", () => house.at(`${base}/person`) === "OFF");
        camera.incident(came());
        await until("somebody is", () => house.at(`${base}/person`) === "ON");
        told += 4;
        // A broker that is killed may take what it has not handed on yet.
        await until("the event", () => events(house).at(-1)?.number === told);
      }
      const numbers: number[] = events(house).map(({ number }) => number);
      // A broker that was killed may say again what it had said; nobody takes it for another.
      const distinct = [...new Set(numbers)];
      assert.equal(
        distinct,
        distinct.toSorted((one, other) => one - other),
        "in order",
      );
      if (!isForgetful) assert.equal(distinct, [1, 2, 3, 4, 5, 6, 7, 8, 9], "none is lost");
      check(house);
      const lines = camera
        .log()
        .split("\n")
        .filter((line) => line.startsWith("warn"));
      assert.ok(lines.length <= 8, `a broker that is away fills the log:\n${camera.log()}`);
    });
  }

  test("what lies there of an earlier start is taken away, and nothing of others", async () => {
    await using folder = await temporaryFolder();
    await using broker = await startMosquitto(folder.path);
    await using house = await listen(broker.url);
    // The streams too, of which nothing is to lie there, whoever has put it.
    const streams = [`${base}/event`, `${base}/alarm_event`];
    const old = [
      ...[`${base}/zone/shed/person`, `${base}/zone/shed/count`, ...streams],
      `${base}/relay`,
    ];
    const part = "homeassistant/sensor/obscura_abc/count/config";
    const others = [`${base}/mine`, "homeassistant/sensor/other/count/config"];
    for (const topic of [...old, part, ...others]) {
      await house.publish(topic, "ON", { retain: true });
    }
    await using camera = openHoused(broker.url);
    camera.reading = { ...well, relay: undefined };
    await using _ = camera;
    await using alone = openHoused(
      broker.url,
      {},
      {
        ...{ id: "alone", clientId: "obscura_alone" },
        read: () => ({ ...well, relay: undefined }),
      },
    );
    await alone.up();
    await camera.up();
    await until("tidied", () =>
      [...old.slice(0, 4), part].every((topic) => house.at(topic) === ""),
    );
    await until("announced", () => house.at(device) !== undefined);
    for (const topic of others) assert.is(house.at(topic), "ON");
    assert.equal(house.of("obscura/alone/relay"), []);
  });

  test("a user with too few rights and one with a wrong password are told of, without the password", async () => {
    await using folder = await temporaryFolder();
    const credentials = join(folder.path, "credentials");
    await writeFile(credentials, "porch\nhush-hush-42\n", { mode: 0o600 });
    const lines = await makeUsers(folder.path, {
      porch: {
        password: "hush-hush-42",
        rights: [
          ...[`write ${base}/#`, `deny ${base}/motion`, `deny ${base}/event`],
          "read homeassistant/status",
        ],
      },
      house: { password: "house", rights: ["readwrite #"] },
    });
    await using broker = await startMosquitto(folder.path, { lines });
    await using house = await listen(broker.url, { username: "house", password: "house" });
    await using camera = openHoused(broker.url, { credentials, discovery: "off" });
    await until("online", () => house.at(`${base}/availability`) === "online");
    await until("told", () => camera.faults.some((text) => text?.includes(`write ${base}/motion`)));
    assert.equal(house.of(`${base}/motion`), []);
    camera.incident(came());
    await until("of both", () =>
      camera.faults.some((text) => text?.endsWith(`write ${base}/motion, ${base}/event`)),
    );
    camera.incident(left());
    check(house);

    // Mended while it runs: the file is read again for each connection.
    await writeFile(credentials, "porch\nwrong-one-43\n");
    await broker.stop();
    await broker.start();
    await until("refused", () => camera.faults.at(-1)?.includes("user or password") ?? false);
    await chmod(credentials, 0o644);
    for (const secret of ["hush-hush-42", "wrong-one-43"]) {
      assert.not(camera.log().includes(secret));
      assert.not(camera.faults.join().includes(secret));
    }
  });

  test("by TLS, with a certificate of its own; not to a broker that nobody vouches for", async () => {
    await using folder = await temporaryFolder();
    const { broker: theirs, client } = await makeCertificates(folder.path);
    await using broker = await startMosquitto(folder.path, {
      tls: theirs,
      lines: ["allow_anonymous true"],
    });
    const { ca, certificate, key } = client;
    await using camera = openHoused(broker.url, { ca, certificate, key });
    await camera.up();
    await until("as its certificate says", () => /as obscura_abc .*u'camera'/.test(broker.log()));
    await using stranger = openHoused(broker.url, { certificate, key }, { id: "s", clientId: "s" });
    await until("no trust", () => stranger.faults.at(-1)?.includes("no trust") ?? false);
    await using bare = openHoused(broker.url, { ca }, { id: "b", clientId: "b" });
    await until("refused", () => bare.brokers.at(-1)?.isConnected === false);
    assert.is(
      stranger.brokers.some(({ isConnected }) => isConnected),
      false,
    );
    assert.is(
      bare.brokers.some(({ isConnected }) => isConnected),
      false,
    );
  });

  test("by 3.1.1 with a broker that refuses 5, says nothing to it, or answers in 3.1.1", async () => {
    await using folder = await temporaryFolder();
    await using broker = await startMosquitto(folder.path);
    await using house = await listen(broker.url);
    const { connect } = await import("node:net");
    for (const refusal of [[0x20, 3, 0, 0x84, 0], [0x20, 2, 0, 1], []]) {
      const versions: number[] = [];
      // In front of the real one: it lets 3.1.1 through and nothing else.
      const front = createServer((socket) => {
        socket.on("error", () => {});
        socket.once("data", (first: Buffer) => {
          const version = first[2 + 6] ?? 0;
          versions.push(version);
          if (version === 5) return socket.end(Buffer.from(refusal));
          const behind = connect(broker.port, "127.0.0.1");
          behind.on("error", () => socket.destroy());
          behind.write(first);
          socket.pipe(behind).pipe(socket);
        });
      });
      const port = await freePort();
      front.listen(port, "127.0.0.1");
      {
        await using camera = openHoused(`mqtt://127.0.0.1:${port}`);
        await camera.up();
        await until("online", () => house.at(`${base}/availability`) === "online");
        await until("announced", () => house.at(device) !== undefined);
        assert.equal(versions, [5, 4]);
        assert.match(camera.log(), /by MQTT 3\.1\.1/);
        assert.equal(camera.faults, [undefined]);
      }
      await until("offline", () => house.at(`${base}/availability`) === "offline");
      front.close();
    }
    check(house);
  });

  test("a broker that is only starting is not taken for one of 3.1.1", async () => {
    await using folder = await temporaryFolder();
    await using broker = await startMosquitto(folder.path);
    const { connect } = await import("node:net");
    let count = 0;
    // As what passes on to a broker does while that is not there yet.
    const front = createServer((socket) => {
      socket.on("error", () => {});
      count += 1;
      if (count <= 2) return socket.destroy();
      const behind = connect(broker.port, "127.0.0.1");
      behind.on("error", () => socket.destroy());
      socket.pipe(behind).pipe(socket);
    });
    const port = await freePort();
    front.listen(port, "127.0.0.1");
    {
      await using camera = openHoused(`mqtt://127.0.0.1:${port}`);
      await camera.up();
      assert.match(camera.log(), /by MQTT 5/);
      assert.is(count, 3);
    }
    front.close();
  });

  test("Home Assistant that was started is told again, and not more often for being loud", async () => {
    await using folder = await temporaryFolder();
    await using broker = await startMosquitto(folder.path);
    await using house = await listen(broker.url);
    const startMs = performance.now();
    await using camera = openHoused(broker.url);
    await until("announced", () => house.of(device).length === 1);
    const births = Array.from({ length: 200 }, () => "online");
    await Promise.all(
      [...births, "offline"].map((said) => house.publish("homeassistant/status", said)),
    );
    await until("again", () => house.of(device).length >= 2);
    await until("the states too", () => house.of(`${base}/person`).length >= 2);
    await wait(1_500);
    // Once every ten seconds at most, which on a slow machine may have been more than one.
    const most = 1 + Math.floor((performance.now() - startMs) / 10_000);
    assert.ok(house.of(device).length <= most, `${house.of(device).length} times`);
    assert.is(camera.brokers.length, 1);
  });

  test("a zone that goes is taken leave of; another form takes the place of the one before", async () => {
    await using folder = await temporaryFolder();
    await using broker = await startMosquitto(folder.path);
    await using house = await listen(broker.url);
    const parts = () => JSON.parse(house.at(device) || "{}").components ?? {};
    {
      await using camera = openHoused(
        broker.url,
        {},
        { zones: [{ name: "door" }, { name: "path" }] },
      );
      await until("announced", () => "zone_path_person" in parts());
      camera.set({ name: "Back", zones: [{ name: "door" }] });
      await until("gone", () => !("zone_path_person" in parts()));
      const farewell = house.of(device).map((text) => JSON.parse(text).components.zone_path_person);
      assert.equal(farewell.at(-2), { platform: "binary_sensor" });
      assert.is(JSON.parse(house.at(device) ?? "").device.name, "Back");
      assert.is(house.at(`${base}/zone/path/count`), "");
      check(house);
    }
    {
      // Of what an earlier start has announced it knows nothing but what lies there.
      await using _ = openHoused(broker.url);
      await until("gone", () => "person" in parts() && !("zone_door_person" in parts()));
      const of = house.of(device).map((text) => JSON.parse(text).components.zone_door_person);
      assert.equal(of.at(-2), { platform: "binary_sensor" });
    }
    {
      await using _ = openHoused(broker.url, { discovery: "component" });
      const part = "homeassistant/binary_sensor/obscura_abc/person/config";
      await until("part by part", () => house.at(part) !== undefined && house.at(device) === "");
      assert.equal(house.of(device).slice(-2), ['{"migrate_discovery":true}', ""]);
    }
    {
      await using _ = openHoused(broker.url, { discovery: "off" });
      const isConfig = ({ topic }: { topic: string }) => topic.endsWith("/config");
      const topics = new Set(house.messages.filter(isConfig).map(({ topic }) => topic));
      assert.ok(topics.size > 20);
      await until("nothing", () => [...topics].every((topic) => house.at(topic) === ""));
    }
  });
});
