import { createSocket } from "node:dgram";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import openMdns, { type ResponsePacket } from "multicast-dns";
import * as assert from "uvu/assert";
import { nodeSuite } from "../../src/base/node/crypto.ts";
import { toHex } from "../../src/base/pure/bytes.ts";
import { findRelays, relaysIn } from "../../src/phone/cli/lan.ts";
import { announce, printAnnouncement, service } from "../../src/protocol/wire/announce.ts";
import { openAnnouncer } from "../../src/relay/announce.ts";
import { until } from "../lib/mosquitto.ts";
import { loopback } from "../lib/multicast.ts";
import { suite } from "../lib/suite.ts";

const mine = new Uint8Array(32).fill(1);
const other = new Uint8Array(32).fill(2);

const mdns = await loopback();

suite("relay announced", (test) => {
  if (!mdns) return test.skip("over loopback", "no multicast on the loopback interface");
  const open = (mailboxes: Uint8Array[], freshMs?: number) =>
    openAnnouncer({
      ...{ port: 8470, isTls: false, mdns, mailboxes: async () => mailboxes },
      onProblem: (error) => {
        throw error;
      },
      ...(freshMs ? { freshMs } : {}),
    });
  const find = (mailboxes: Uint8Array[], timeoutMs = 30_000) =>
    findRelays({ mailboxes, suite: nodeSuite, timeoutMs, mdns, onFound: () => true });

  test("a phone finds the relay of its mailboxes, and a stranger's phone does not", async () => {
    const announcer = open([mine]);
    await using _ = { [Symbol.asyncDispose]: announcer.close };
    await sleep(1100);
    assert.equal(await find([other, mine]), [{ url: "http://127.0.0.1:8470", mailboxes: [mine] }]);
    await sleep(1100);
    assert.equal(await find([other], 1500), []);
  });

  test("one of more mailboxes than an announcement names is found all the same", async () => {
    const many = Array.from({ length: 40 }, (_, i) => new Uint8Array(32).fill(100 + i));
    const announcer = open([...many, mine]);
    await using _ = { [Symbol.asyncDispose]: announcer.close };
    assert.is((await find([mine])).length, 1);
    assert.is((await find(many.slice(20, 21))).length, 1);
  });

  test("a relay that starts later is found; whoever stops says so", async () => {
    const finding = find([mine]);
    await sleep(300);
    const announcer = open([other, mine]);
    assert.is((await finding).length, 1);
    const ear = openMdns(mdns);
    await once(ear, "ready");
    const goodbye = new Promise<ResponsePacket>((resolve) => {
      ear.on("response", (packet) => {
        if ((packet.answers ?? []).some((one) => "ttl" in one && one.ttl === 0)) resolve(packet);
      });
    });
    await announcer.close();
    await announcer.close();
    const { answers = [] } = await goodbye;
    assert.is(
      answers.every((one) => "ttl" in one && one.ttl === 0),
      true,
    );
    await new Promise<void>((resolve) => ear.destroy(() => resolve()));
  });

  test("what is said holds no name of the machine or the mailbox, and is another each time", async () => {
    const ear = openMdns(mdns);
    await once(ear, "ready");
    const texts: string[] = [];
    ear.on("response", (packet) => texts.push(JSON.stringify(packet)));
    const announcer = open([mine], 300);
    const instances = () =>
      new Set(texts.flatMap((text) => text.match(/[0-9a-f]{16}(?=\._obscura)/g) ?? []));
    await until("it calls itself otherwise", () => instances().size >= 2);
    await announcer.close();
    await new Promise<void>((resolve) => ear.destroy(() => resolve()));
    const { hostname } = await import("node:os");
    // As a word: a machine may be called as two of the random digits are.
    const own = new RegExp(`\\b${hostname().replace(/[^\w-]/g, "\\$&")}\\b`);
    for (const text of texts) {
      assert.not.ok(text.includes(toHex(mine).slice(0, 12)));
      assert.not.match(text, own);
    }
  });

  test("noise and lies on the network: passed over, in bounded time", async () => {
    const noise = createSocket("udp4");
    noise.bind(0);
    await once(noise, "listening");
    noise.setMulticastInterface("127.0.0.1");
    const timer = setInterval(() => {
      for (let i = 0; i < 20; i++) noise.send(Buffer.alloc(i * 20, i), mdns.port, "224.0.0.251");
    }, 20);
    const announcer = open([mine]);
    try {
      await sleep(1100);
      assert.is((await find([mine])).length, 1);
    } finally {
      clearInterval(timer);
      noise.close();
      await announcer.close();
    }
    const strings = printAnnouncement(
      announce([mine], { isTls: true, random: new Uint8Array(112).fill(3), suite: nodeSuite }),
    );
    const name = `x.${service}`;
    const srv = { name, type: "SRV" as const, data: { port: 1, target: "x.local" } };
    const txt = (data: string[]) => ({ name, type: "TXT" as const, data });
    const a = (data: string) => ({ name: "x.local", type: "A" as const, data });
    const cases: [answers: ResponsePacket["answers"], urls: string[]][] = [
      [
        [srv, txt(strings), a("10.0.0.1"), a("10.0.0.2")],
        ["https://10.0.0.1:1", "https://10.0.0.2:1"],
      ],
      [[txt(strings), a("10.0.0.1")], []],
      [[srv, txt(strings)], []],
      [[srv, txt(strings), a("evil.example/")], []],
      [[srv, txt([...strings, "x=1"]), a("10.0.0.1")], []],
      [[{ ...srv, data: { port: 0, target: "x.local" } }, txt(strings), a("10.0.0.1")], []],
    ];
    for (const [answers, urls] of cases) {
      const found = relaysIn({ answers, additionals: [] }, [mine], nodeSuite);
      assert.equal(
        found.map(({ url }) => url),
        urls,
      );
    }
  });
});
