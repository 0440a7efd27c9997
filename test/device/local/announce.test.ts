import { createSocket } from "node:dgram";
import { once } from "node:events";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import openMdns, { type ResponsePacket } from "multicast-dns";
import * as assert from "uvu/assert";
import {
  parseAnnouncement,
  cameraService as service,
} from "../../../src/protocol/wire/announce.ts";
import { call, openLocalWorld } from "../../lib/local.ts";
import { until } from "../../lib/mosquitto.ts";
import { loopback } from "../../lib/multicast.ts";
import { suite } from "../../lib/suite.ts";

const mdns = await loopback();
const settings = {
  ...{ port: 0, host: "", names: [], certificate: "", key: "", announce: true },
};

suite("device/local announced", (test) => {
  if (!mdns) return test.skip("over loopback", "no multicast on the loopback interface");

  /** Hears all answers, and asks once a second. */
  async function ear() {
    const heard: ResponsePacket[] = [];
    const socket = openMdns(mdns);
    await once(socket, "ready");
    socket.on("response", (packet) => heard.push(packet));
    const ask = () => socket.query({ questions: [{ name: service, type: "PTR" }] });
    const timer = setInterval(ask, 1000);
    ask();
    return {
      heard,
      all: () => heard.flatMap(({ answers = [] }) => answers),
      async [Symbol.asyncDispose]() {
        clearInterval(timer);
        await new Promise<void>((resolve) => socket.destroy(() => resolve()));
      },
    };
  }

  test("who asks in the network finds it, and it answers there", async () => {
    await using listener = await ear();
    await using at = await openLocalWorld({ settings, mdns });
    const found = () => {
      const all = listener.all();
      const pointer = all.find((one) => one.type === "PTR" && one.name === service);
      const named = pointer?.type === "PTR" ? pointer.data : undefined;
      const place = all.find((one) => one.type === "SRV" && one.name === named);
      if (place?.type !== "SRV") return undefined;
      const address = all.find((one) => one.type === "A" && one.name === place.data.target);
      return { port: place.data.port, address: address?.type === "A" ? address.data : undefined };
    };
    await until("found", () => found() !== undefined);
    assert.equal(found(), { port: at.port, address: "127.0.0.1" });
    assert.is((await call(found()?.port ?? 0, "/health")).status, 200);
    const [text] = listener.all().flatMap((one) => (one.type === "TXT" ? [one.data] : []));
    const strings = [text].flat().map(String);
    assert.equal(strings.slice(0, 2), ["v=1", "t=0"]);
    assert.is(parseAnnouncement(strings).marks.length, 8, "marks of nobody's, as many as of one");
    await at.local.close();
    await until("goodbye", () => listener.all().some((one) => "ttl" in one && one.ttl === 0));
  });

  test("it names neither camera nor machine, and is another at each start", async () => {
    await using listener = await ear();
    const names = () =>
      new Set(JSON.stringify(listener.heard).match(/[0-9a-f]{16}(?=\._obscura-camera)/g));
    for (let i = 1; i <= 2; i++) {
      await using at = await openLocalWorld({ settings, mdns });
      await until("heard by a name of its own", () => names().size === i);
      await at.local.close();
    }
    const told = JSON.stringify(listener.heard);
    for (const secret of ["Porch", hostname(), "obscura_abc"]) assert.not(told.includes(secret));
    assert.is(names().size, 2);
  });

  test("noise costs a bounded number of answers, and no problem", async () => {
    await using listener = await ear();
    await using at = await openLocalWorld({ settings, mdns });
    const noise = createSocket("udp4");
    noise.bind(0);
    await once(noise, "listening");
    noise.setMulticastInterface("127.0.0.1");
    const asker = openMdns(mdns);
    await once(asker, "ready");
    const startMs = performance.now();
    const before = listener.heard.length;
    for (let i = 0; i < 300; i++) {
      noise.send(Buffer.alloc(i, i), mdns.port, "224.0.0.251");
      asker.query({ questions: [{ name: service, type: "PTR" }] });
      await sleep(5);
    }
    noise.close();
    await new Promise<void>((resolve) => asker.destroy(() => resolve()));
    const most = (performance.now() - startMs) / 1000 + 2;
    assert.ok(listener.heard.length - before <= most, `${listener.heard.length - before} answers`);
    assert.equal([at.problems, at.log().split("\n").length], [[], 2]);
  });

  test("by the settings, or on loopback alone, nothing is said", async () => {
    await using listener = await ear();
    await using quiet = await openLocalWorld({ settings: { ...settings, announce: false }, mdns });
    await using near = await openLocalWorld({ settings: { ...settings, host: "127.0.0.1" } });
    await sleep(2500);
    assert.equal(listener.heard, []);
    for (const { port } of [quiet, near]) assert.is((await call(port, "/health")).status, 200);
  });
});
