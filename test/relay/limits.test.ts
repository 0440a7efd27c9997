import { readdir } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import * as assert from "uvu/assert";
import { systemClock } from "../../src/base/node/time.ts";
import { toHex } from "../../src/base/pure/bytes.ts";
import { isFailure } from "../../src/base/pure/failure.ts";
import { longest } from "../../src/protocol/wire/mailbox.ts";
import { until } from "../lib/mosquitto.ts";
import {
  clip,
  entry,
  head,
  heardBy,
  mailbox,
  part,
  relayWorld,
  speak,
  statuses,
  type Who,
  who,
} from "../lib/relay.ts";
import { suite } from "../lib/suite.ts";

const bytes = new Uint8Array(50_000).fill(7);
const object = part(0, bytes);
const put = { act: "put", name: object.name } as const;
const get = { act: "get", name: object.name } as const;

suite("relay limits", (test) => {
  test("slow heads, slow writers and slow readers are cut off and leave nothing", async () => {
    await using world = await relayWorld({
      settings: "limits: {leastBytesPerSecond: 100000}",
      periods: { graceMs: 300, headersMs: 1000 },
    });
    const large = part(1, new Uint8Array(longest.part).fill(3));
    await again(() => world.as("camera").put(large));
    const silent = speak(world, [], { endMs: 30_000 });
    const dripping = speak(world, ["GET / HTTP/1.1\r\nHost: "], { endMs: 30_000 });
    const writer = connect(world.relay.port, "127.0.0.1");
    const writerClosed = closing(writer);
    writer.write(head(world, "camera", "PUT", put, { body: bytes }));
    const drip = setInterval(() => writer.write("x"), 50);
    const reader = connect({ port: world.relay.port, host: "127.0.0.1" });
    const readerClosed = closing(reader);
    reader.pause();
    // The system's buffers hold several answers before anybody has to wait.
    const ask = { act: "get", name: large.name } as const;
    const more = setInterval(() => reader.write(head(world, "owner", "GET", ask)), 50);
    await Promise.race([
      Promise.all([writerClosed, readerClosed]),
      sleep(60_000, undefined, { ref: false }),
    ]);
    clearInterval(drip);
    clearInterval(more);
    assert.ok(writer.destroyed && reader.destroyed);
    assert.ok((await silent).wasClosed && (await dripping).wasClosed);
    assert.match((await dripping).text, /^HTTP\/1\.1 408 /);
    const drafts = async () => (await readdir(join(world.folder, "drafts"))).length;
    for (let tries = 0; tries < 400 && (await drafts()) > 0; tries++) await sleep(50);
    assert.is(await drafts(), 0);
    assert.equal(await again(() => world.as("owner").get(large.name)), large.bytes);
  });

  test("what drips in behind a refusal is cut off too", async () => {
    await using world = await relayWorld({
      settings: "limits: {leastBytesPerSecond: 100000}",
      periods: { graceMs: 300 },
    });
    const writer = connect(world.relay.port, "127.0.0.1");
    const closed = closing(writer);
    let said = "";
    writer.setEncoding("latin1").on("data", (text) => {
      said += text;
    });
    const path = `/${"a".repeat(64)}/door`;
    const host = `127.0.0.1:${world.relay.port}`;
    writer.write(`PUT ${path} HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 2000000\r\n\r\n`);
    const drip = setInterval(() => writer.write("x"), 50);
    await Promise.race([closed, sleep(60_000, undefined, { ref: false })]);
    clearInterval(drip);
    assert.ok(writer.destroyed);
    assert.match(said, /^HTTP\/1\.1 401 /);
  });

  test(
    "ten thousand who want to wait: a few do, the others are refused, none is left over",
    async () => {
      const settings =
        "limits: {waiting: 40, waitingPerKey: 30, requestsPerSecondPerAddress: 0, requestsPerSecondPerKey: 1000000}";
      await using world = await relayWorld({ settings });
      const page = { under: "entry/", after: "", waitS: 60 };
      const before = process.memoryUsage().rss;
      const counts: Record<number, number> = {};
      const sockets: Socket[] = [];
      const waiters = { viewer: 0, owner: 0 };
      for (const by of ["viewer", "owner"] as const) {
        const request = head(world, by, "GET", { act: "list", page });
        for (let n = 0; n < 30; n++) {
          const socket = connect(world.relay.port, "127.0.0.1");
          sockets.push(socket);
          socket.setEncoding("latin1");
          // Held requests say nothing; refused ones are repeated on their connection.
          let left = 500;
          socket.on("data", (text: string) => {
            for (const status of statuses(text)) {
              counts[status] = (counts[status] ?? 0) + 1;
              if (--left > 0) socket.write(request);
            }
          });
          socket.write(request);
          waiters[by]++;
          await sleep(2);
        }
      }
      // Viewer: 30 wait. Owner: 10 more wait, which is all; the other 20 are refused on and on.
      const deadline = Date.now() + 250_000;
      while ((counts[503] ?? 0) < 9960 && Date.now() < deadline) await sleep(100);
      assert.ok((counts[503] ?? 0) >= 9960, JSON.stringify(counts));
      const extra = await world.ask("viewer", "GET", { act: "list", page });
      assert.is(extra.status, 503);
      await world.as("camera").put(entry(1));
      const woken = Date.now() + 30_000;
      while ((counts[200] ?? 0) < 40 && Date.now() < woken) await sleep(20);
      assert.ok((counts[200] ?? 0) >= 40, JSON.stringify(counts));
      const grownMb = (process.memoryUsage().rss - before) / 1e6;
      console.log(
        `\nmeasured: waiters: ${JSON.stringify(counts)}, resident ${grownMb.toFixed(0)} MB more`,
      );
      assert.ok(grownMb < 200);
      for (const socket of sockets) socket.destroy();
      // All places are free again: as many as may be wait at once, and none is refused.
      const waitAll = () =>
        Promise.all(
          Array.from({ length: 30 }, async () => {
            const ask = { act: "list", page: { ...page, after: "entry/1", waitS: 1 } } as const;
            return (await world.ask("viewer", "GET", ask)).status;
          }),
        );
      let again = await waitAll();
      for (let i = 0; i < 10 && again.some((status) => status !== 200); i++)
        again = await waitAll();
      assert.equal(again, Array(30).fill(200));
    },
    { deadlineMs: 400_000 },
  );

  test("too many waits of one key are its own problem", async () => {
    await using world = await relayWorld();
    const page = { under: "entry/", after: "", waitS: 30 };
    const waits = Array.from({ length: 8 }, () =>
      world.as("viewer").list({ under: "entry/", waitMs: 30_000 }),
    );
    await heardBy(world.as("owner"));
    const ninth = await world.ask("viewer", "GET", { act: "list", page });
    assert.is(ninth.status, 429);
    assert.match(String(ninth.headers["retry-after"]), /^\d+$/);
    const other = world.as("owner").list({ under: "entry/", waitMs: 30_000 });
    await heardBy(world.as("owner"));
    await world.as("camera").put(entry(1));
    for (const page of await Promise.all([...waits, other])) assert.is(page.length, 1);
  });

  test("requests over the rate are refused, of a key and of an address, and it recovers", async () => {
    const settings = "limits: {requestsPerSecondPerKey: 2, requestsPerSecondPerAddress: 20}";
    let monotonicUs = 1e9;
    const clock = { ...systemClock, monotonicUs: () => monotonicUs };
    await using world = await relayWorld({ settings, clock });
    const times = async (count: number, by: Who, options?: { createdMs: number }) => {
      const seen: number[] = [];
      for (let i = 0; i < count; i++) seen.push((await world.ask(by, "GET", get, options)).status);
      return seen;
    };
    // Twenty seconds' allowance at once, and no more.
    assert.equal(await times(42, "owner"), [...Array(40).fill(404), 429, 429]);
    assert.equal(await times(1, "viewer"), [404]);
    monotonicUs += 1_000_000;
    assert.equal(await times(3, "owner"), [404, 404, 429]);
    // A refused signature counts as twenty requests more: 400 of the address, some are used.
    monotonicUs += 60_000_000;
    assert.equal(await times(20, "owner", { createdMs: 0 }), [...Array(20).fill(401)]);
    assert.equal(await times(1, "viewer"), [429]);
    monotonicUs += 1_000_000;
    assert.equal(await times(1, "viewer"), [404]);
  });

  test("connections: so many of one address, so many in all", async () => {
    await using world = await relayWorld({
      settings: "limits: {connectionsPerAddress: 6, connections: 20}",
    });
    const open = Array.from({ length: 12 }, () => connect(world.relay.port, "127.0.0.1"));
    let closed = 0;
    for (const socket of open) {
      socket.on("close", () => closed++);
      socket.on("error", () => {});
    }
    await until("six are hung up on", () => closed >= 6);
    for (const socket of open) socket.destroy();
    // Their places are free as soon as the relay has seen that they are gone.
    for (;;) {
      const listed = await world
        .as("owner")
        .list()
        .catch(() => undefined);
      if (listed) break;
      await sleep(20);
    }
  });

  test("neither logs nor metrics hold a mailbox, a key, a name or an address", async () => {
    await using world = await relayWorld({
      settings: "metrics: {port: 0}\nlog: debug",
      periods: { sumsMs: 100 },
    });
    await world.as("camera").put(object);
    await world.as("owner").get(object.name);
    await world.ask("stranger", "GET", get);
    await speak(world, ["garbage\r\n\r\n"]);
    const sums = /in about the last hour requests=0 refused=0/;
    await until("the sums are told", () => sums.test(world.lines.join("")));
    const text = world.lines.join("");
    const secret = [
      toHex(mailbox),
      toHex(clip),
      "127.0.0.1",
      ...Object.values(who).map((k) => toHex(k.publicKey)),
    ];
    for (const one of secret) assert.not.ok(text.includes(one.slice(0, 12)), `${one} in ${text}`);
  });
});

/** Where a second in which this machine stood still counts as slow: as often as it takes. */
async function again<T>(act: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await act();
    } catch (error) {
      if (!isFailure(error, "gone")) throw error;
    }
  }
}

function closing(socket: Socket): Promise<void> {
  socket.on("error", () => {});
  return new Promise((resolve) => socket.on("close", () => resolve()));
}
