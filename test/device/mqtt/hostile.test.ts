import { createServer, type Socket } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import * as assert from "uvu/assert";
import { systemClock } from "../../../src/base/node/time.ts";
import type { Clock } from "../../../src/base/pure/clock.ts";
import type { MqttOptions } from "../../../src/device/mqtt/mqtt.ts";
import { generator } from "../../lib/fuzz.ts";
import { came, type Housed, openHoused } from "../../lib/housed.ts";
import { until } from "../../lib/mosquitto.ts";
import { suite } from "../../lib/suite.ts";

const mib = 2 ** 20;
const length = (bytes: number): number[] =>
  bytes < 128 ? [bytes] : [(bytes & 127) | 128, ...length(bytes >> 7)];
const packet = (first: number, ...body: number[]) => [first, ...length(body.length), ...body];
const text = (value: string) => {
  const bytes = [...Buffer.from(value)];
  return [bytes.length >> 8, bytes.length & 255, ...bytes];
};
/** A message of MQTT 5 without properties. */
const message = (topic: string, payload: string | number[], flags = 0) =>
  packet(0x30 | flags, ...text(topic), 0, ...Buffer.from(payload as string));
const welcome = packet(0x20, 0, 0, 0);

/**
 * A broker that lets everybody in, takes everything, and says what it likes. `after` is told the n-th
 * connection when its client has subscribed.
 */
async function openLiar(
  after: (socket: Socket, count: number) => void,
  { isMean = () => false as boolean } = {},
) {
  const sockets = new Set<Socket>();
  let count = 0;
  let published = 0;
  const server = createServer((socket) => {
    sockets.add(socket);
    count += 1;
    const number = count;
    let rest = Buffer.alloc(0);
    let told = false;
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
    socket.on("data", (chunk) => {
      rest = Buffer.concat([rest, chunk]);
      for (;;) {
        const [size, at] = sizeOf(rest);
        if (size === undefined || rest.length < at + size) return;
        const [kind, body] = [(rest[0] ?? 0) >> 4, rest.subarray(at, at + size)];
        const flags = (rest[0] ?? 0) & 15;
        rest = rest.subarray(at + size);
        if (kind === 1) socket.write(Buffer.from(welcome));
        if (kind === 3) {
          published += 1;
          const id = 2 + body.readUInt16BE(0);
          if (flags & 6) socket.write(Buffer.from(packet(0x40, body[id] ?? 0, body[id + 1] ?? 0)));
        }
        if (kind === 8) {
          const granted: number[] = [];
          for (let i = 3; i < body.length; i += 3 + body.readUInt16BE(i))
            granted.push(isMean() ? 0x87 : 0);
          socket.write(Buffer.from(packet(0x90, body[0] ?? 0, body[1] ?? 0, 0, ...granted)));
          if (!told) after(socket, number);
          told = true;
        }
        if (kind === 10) socket.write(Buffer.from(packet(0xb0, body[0] ?? 0, body[1] ?? 0, 0, 0)));
        if (kind === 12) socket.write(Buffer.from([0xd0, 0]));
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  return {
    url: `mqtt://127.0.0.1:${port}`,
    count: () => count,
    published: () => published,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function sizeOf(bytes: Buffer): [size: number | undefined, at: number] {
  let size = 0;
  for (let i = 0; i < 4; i++) {
    const byte = bytes[i + 1];
    if (byte === undefined) return [undefined, 0];
    size += (byte & 127) * 128 ** i;
    if (byte < 128) return [size, i + 2];
  }
  return [undefined, 0];
}

const hung: Record<string, number[]> = {
  "a packet that is said to have 200 MB": [0x30, 0xff, 0xff, 0xff, 0x63],
  "a message in another way than asked for": message("homeassistant/status", "online", 4),
  "packets of no kind": packet(0x00, 1, 2, 3),
  "packets for a broker": packet(0x10, 0, 4, 77, 81, 84, 84, 5, 2, 0, 60, 0, 0, 0),
  "a second welcome": welcome,
  "messages without end": Array(3000).fill(message("homeassistant/status", "online")).flat(),
  "a topic that is none": packet(0x30, 0xff, 0xff, 1, 2),
  "properties that go on behind the end": packet(0x30, ...text("a"), 0x7f, 1),
};

const borne: Record<string, number[][]> = {
  "what was not subscribed to": [message("a/b", "x"), message("+/#", "x", 1), message("", "x")],
  "retained births": Array(200).fill(message("homeassistant/status", "online", 1)),
  "births of the wrong kind": [
    message("homeassistant/status", [0xff, 0xfe, 0xff, 0xfe, 0xff, 0xfe]),
    message("homeassistant/status", "x".repeat(60_000)),
    message("homeassistant/status", ""),
    message("homeassistant/status", "ONLINE"),
  ],
  "a device that is none": [
    "null",
    "[]",
    "{",
    '{"components":null}',
    '{"components":[1,2,3]}',
    '{"components":{"x":null,"y":{"platform":["sensor"]},"__proto__":{"platform":"sensor"}}}',
    `{"components":${"[".repeat(50_000)}`,
    JSON.stringify({
      components: Object.fromEntries(
        Array.from({ length: 3000 }, (_, i) => [`p${i}`, { platform: "sensor" }]),
      ),
    }),
  ].map((payload) => message("homeassistant/device/obscura_abc/config", payload, 1)),
  "states of ours without end": Array.from({ length: 1200 }, (_, i) =>
    message(`obscura/abc/zone/z${i}/person`, "ON", 1),
  ),
  "commands that are not allowed, retained, huge, looping or of the wrong kind": [
    message("obscura/abc/detection/set", "OFF"),
    message("obscura/abc/alarm/set", "DISARM"),
    message("obscura/abc/+/set", "ON"),
    message("obscura/abc/privacy/set/", "ON"),
    message("obscura/abc//set", "ON"),
    ...["privacy", "threshold"].flatMap((name) => [
      message(`obscura/abc/${name}/set`, "ON", 1),
      message(`obscura/abc/${name}/set`, "0.5", 1),
      message(`obscura/abc/${name}/set`, "x".repeat(60_000)),
      message(`obscura/abc/${name}/set`, [0xff, 0xfe, 0x4f]),
      message(`obscura/abc/${name}/set`, '{"state":"ON"}'),
      message(`obscura/abc/${name}/set`, ""),
    ]),
    ...Array(300).fill(message("obscura/abc/privacy/set", "toggle")),
  ],
  "answers to what was not asked": [packet(0x40, 0xff, 0xfe), packet(0xb0, 0xff, 0xfe, 0, 0)],
};

/** Hours go by in a minute: who is refused waits. */
const speed = 100;
const hasty: Clock = {
  ...{ monotonicUs: () => systemClock.monotonicUs() * speed, wallMs: systemClock.wallMs },
  sleep: (ms, signal) => systemClock.sleep(ms / speed, signal),
};

suite("device/mqtt hostile", (test) => {
  for (const [what, bytes] of Object.entries(hung)) {
    test(`${what}: hung up on, and not returned to at once`, async () => {
      await using broker = await openLiar((socket) => socket.write(Buffer.from(bytes)));
      await using camera = openHoused(broker.url, {}, { random: () => 0.9 });
      await until("hung up", () => camera.brokers.at(-1)?.isConnected === false);
      assert.match(camera.brokers.at(-1)?.why ?? "", /the broker (sends|does not speak)/);
      camera.incident(came());
      camera.motion();
      assert.is(broker.count(), 1, camera.log());
      assert.not(camera.log().includes("online"));
    });
  }

  for (const [what, packets] of Object.entries(borne)) {
    test(`${what}: passed over`, async () => {
      await using broker = await openLiar((socket) => {
        for (const bytes of packets) socket.write(Buffer.from(bytes));
      });
      await using camera = openHoused(broker.url, { commands: ["privacy", "threshold"] });
      const isAnnounced = () => broker.published() >= 20;
      await until("all is said", isAnnounced);
      await wait(1_500);
      assert.equal(
        camera.brokers.map(({ isConnected }) => isConnected),
        [true],
        camera.log(),
      );
      assert.equal(camera.orders, []);
      assert.ok(camera.log().split("\n").length < 20, camera.log());
      // It takes topics of its own away, those it may believe to be there, and says itself once more.
      assert.ok(broker.published() < 20 + 512 + 20, `${broker.published()} messages`);
    });
  }

  const many = "hundreds of connections of mutated packets: none ends the program, and it goes on";
  const testMany = async () => {
    const below = generator(20_261_123);
    const seeds = [...Object.values(borne).flat(), welcome, packet(0x90, 0, 1, 0, 0), [0xd0, 0]]
      .filter(({ length }) => length < 400)
      .concat([packet(0xe0, 0x8e, 0), packet(0x40, 0, 1, 0x87, 0), packet(0xb0, 0, 2, 0, 0)]);
    let isHonest = false;
    let sent = 0;
    await using broker = await openLiar((socket) => {
      if (isHonest) return;
      sent += 1;
      for (let i = 0; i < 8; i++) {
        const bytes = [...(seeds[below(seeds.length)] ?? [])];
        for (let n = below(4); n >= 0; n--) bytes[below(bytes.length)] = below(256);
        socket.write(Buffer.from(bytes));
      }
      // What it bore so far ends here too.
      socket.end(Buffer.from([0x30, 0xff]));
    });
    const cameras = Array.from({ length: 10 }, (_, i) =>
      openHoused(broker.url, { discovery: i % 2 ? "device" : "component" }, { clock: hasty }),
    );
    try {
      await until("sent", () => sent >= 600, { patienceMs: 300_000 });
      isHonest = true;
      const isUp = (camera: Housed) => camera.brokers.at(-1)?.isConnected === true;
      await until("all are connected", () => cameras.every(isUp));
    } finally {
      await Promise.all(cameras.map((camera) => camera.close()));
    }
  };
  test(many, testMany, { deadlineMs: 420_000 });

  test("who may subscribe to nothing says all the same what there is to say", async () => {
    let isMean = true;
    await using broker = await openLiar(() => {}, { isMean: () => isMean });
    const alarm: MqttOptions["alarm"] = {
      ...{ topics: ["house/door"], panel: { code: "none", codeToArm: false } },
      view: () => ({ state: "armed_away", mode: "away", score: 0, warning: false, siren: false }),
      ...{ message: () => {}, listen: () => {} },
    };
    const commands = ["privacy"] as const;
    await using camera = openHoused(broker.url, { commands }, { alarm, clock: hasty });
    await until("all is said, and the device announced", () => broker.published() >= 20);
    assert.match(camera.log(), /does not let this camera read homeassistant\/status/);
    assert.equal(camera.brokers, [{ isConnected: true }]);
    // An alarm that is deaf is a fault, and so is a camera that cannot be asked for what it may be.
    const told = /read what it may be asked for, nor all topics of alarm\.sensors/;
    await until("told", () => told.test(String(camera.faults.at(-1))), { told: camera.log });
    isMean = false;
    await until("mended", () => camera.faults.at(-1) === undefined, { told: camera.log });
    assert.equal(camera.brokers, [{ isConnected: true }]);
  });

  for (const [what, bytes] of Object.entries({
    "a broker that takes its leave": [0xe0, 0],
    "a broker whose owner has all clients begin anew": packet(0xe0, 152, 0),
    "a broker that lets nobody stay for long": packet(0xe0, 160, 0),
  })) {
    test(`${what}: nothing that the camera's owner would have to mend`, async () => {
      await using broker = await openLiar((socket, count) => {
        if (count === 1) socket.end(Buffer.from(bytes));
      });
      await using camera = openHoused(broker.url);
      await camera.up(2);
      assert.match(camera.log(), /the broker ended the connection/);
      assert.equal(camera.faults, [undefined, undefined]);
    });
  }

  test("a broker that lets in and throws out for ever is asked less and less", async () => {
    await using broker = await openLiar((socket) => socket.destroy());
    await using camera = openHoused(broker.url, {}, { random: () => 1 });
    await until("three times", () => broker.count() >= 3);
    const times = broker.count();
    await wait(2_000);
    assert.ok(broker.count() <= times + 1, "it hurries");
    assert.ok(camera.log().split("\n").length < 20, camera.log());
  });

  test("a broker that answers nothing, or garbage, holds up nothing, and memory does not grow", async () => {
    const server = createServer((socket) => {
      socket.on("error", () => {});
      socket.on("data", () => socket.write(Buffer.alloc(65_536, 0x55)));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as { port: number };
    {
      await using camera = openHoused(`mqtt://127.0.0.1:${port}`);
      const before = process.memoryUsage().rss;
      for (let i = 0; i < 20_000; i++) camera.incident(came([], String(i).padStart(32, "0")));
      await until("refused", () => camera.brokers.at(-1)?.isConnected === false);
      assert.ok(process.memoryUsage().rss - before < 200 * mib);
    }
    server.close();
  });
});
