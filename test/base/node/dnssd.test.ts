import { createSocket } from "node:dgram";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import openMdns, { type ResponsePacket } from "multicast-dns";
import * as assert from "uvu/assert";
import { openService } from "../../../src/base/node/dnssd.ts";
import { localAddresses } from "../../../src/base/node/socket.ts";
import { until } from "../../lib/mosquitto.ts";
import { loopback } from "../../lib/multicast.ts";
import { suite } from "../../lib/suite.ts";

const mdns = await loopback();
const skip = mdns ? undefined : "no multicast on the loopback interface";
const type = "_canary._tcp.local";
const types = "_services._dns-sd._udp.local";
const [elsewhere] = localAddresses();

function open() {
  let described = 0;
  const service = openService({
    ...{ type, port: 4711, ...(mdns ? { mdns } : {}) },
    describe: () => {
      const text = [`turn=${++described}`];
      return async () => text;
    },
    onProblem: (error) => {
      throw error;
    },
  });
  return { [Symbol.asyncDispose]: service.close, close: service.close };
}

/** A program that asks from a port of its own, as `dig` does, and what comes back to it. */
async function asker(address: string) {
  // Such a port is not multicast DNS's, so `openMdns` takes what is sent to it alone.
  const socket = createSocket("udp4");
  socket.bind(0, address);
  await once(socket, "listening");
  socket.setMulticastInterface("127.0.0.1");
  const heard: ResponsePacket[] = [];
  const ears = openMdns({ socket, port: mdns?.port ?? 0, multicast: false, bind: false as never });
  ears.on("response", (packet) => heard.push(packet));
  return {
    heard,
    ask: (name: string, id: number) =>
      ears.query({ id, questions: [{ name, type: "PTR" }] } as never),
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => ears.destroy(() => resolve())),
  };
}

suite("base/node dnssd", (test) => {
  test(
    "who asks a network for all types of service hears of it, and a goodbye is not for others",
    async () => {
      const ears = openMdns(mdns);
      await once(ears, "ready");
      const heard: ResponsePacket[] = [];
      ears.on("response", (packet) => heard.push(packet));
      await using service = open();
      const answers = () => heard.flatMap((packet) => packet.answers ?? []);
      await until("said at the start", () => heard.length > 0);
      heard.length = 0;
      await sleep(1100);
      ears.query({ questions: [{ name: types, type: "PTR" }] });
      await until("answered", () => heard.length > 0);
      const pointers = answers().filter((one) => one.type === "PTR");
      assert.equal(
        pointers.map((one) => [one.name, one.name === types && "data" in one ? one.data : ""]),
        [
          [type, ""],
          [types, type],
        ],
      );
      heard.length = 0;
      await service.close();
      await until("goodbye", () => heard.length > 0);
      assert.ok(answers().every((one) => "ttl" in one && one.ttl === 0 && one.name !== types));
      await new Promise<void>((resolve) => ears.destroy(() => resolve()));
    },
    { skip },
  );

  test(
    "who asks from another port is answered there alone, with its number",
    async () => {
      await using service = open();
      await using one = await asker("0.0.0.0");
      await until("answered", () => {
        one.ask(type, 4242);
        return one.heard.length > 0;
      });
      const [first] = one.heard as (ResponsePacket & { id: number; questions: unknown[] })[];
      assert.is(first?.id, 4242);
      assert.is(first?.questions.length, 1);
      const answers = first?.answers ?? [];
      assert.ok(answers.some((answer) => answer.type === "SRV" && answer.data.port === 4711));
      assert.ok(answers.some((answer) => answer.type === "A" && answer.data === "127.0.0.1"));
      assert.ok(answers.every((answer) => "ttl" in answer && Number(answer.ttl) <= 10));
      const { length } = one.heard;
      const fromMs = performance.now();
      for (let i = 0; i < 200; i++) one.ask(type, i);
      await sleep(1500);
      const most = 1 + Math.ceil((performance.now() - fromMs) / 1000);
      assert.ok(one.heard.length - length <= most, `${one.heard.length - length} answers`);
      await service.close();
    },
    { skip },
  );

  test(
    "who is in no network of this machine's is not answered",
    async () => {
      await using _ = open();
      await using stranger = await asker(elsewhere ?? "");
      await using neighbour = await asker("127.0.0.1");
      for (let i = 0; i < 5; i++) {
        stranger.ask(type, i);
        await sleep(300);
      }
      assert.equal(stranger.heard, []);
      await until("the neighbour is answered", () => {
        neighbour.ask(type, 1);
        return neighbour.heard.length > 0;
      });
    },
    { skip: skip ?? (elsewhere ? undefined : "this machine has no address but its own") },
  );

  test(
    "questions that nobody would ask are told back or passed over, and end nothing",
    async () => {
      await using _ = open();
      await using one = await asker("0.0.0.0");
      const raw = createSocket("udp4").bind(0, "0.0.0.0");
      await once(raw, "listening");
      raw.setMulticastInterface("127.0.0.1");
      let answers = 0;
      raw.on("message", () => {
        answers += 1;
      });
      const send = (packet: Uint8Array) => raw.send(packet, mdns?.port ?? 0, "224.0.0.251");
      const labels = type.split(".").map((label) => [label.length, ...Buffer.from(label)]);
      const ours = [...labels.flat(), 0, 0, 12, 0, 1];
      const question = (label: Uint8Array, kind = 12, of = 1) =>
        Buffer.from([label.length, ...label, 0, kind >> 8, kind & 255, of >> 8, of & 255]);
      const odd = [
        // Grows when it is read as text: what is told back is no label any more.
        question(Buffer.alloc(63, 0xff)),
        question(Buffer.alloc(63, ".")),
        question(Buffer.from("x"), 0xffff, 0x1234),
        question(Buffer.from("x"), 41),
        question(Buffer.from("x"), 0, 0),
      ];
      for (const before of odd) {
        const had = answers;
        await until("answered", () => {
          send(Buffer.from([...[1, 2, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0], ...before, ...ours]));
          return answers > had;
        });
      }
      for (let i = 0; i < 2000; i++) {
        const packet = Buffer.from([...[1, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0], ...ours]);
        packet[(i * 7919) % packet.length] = (i * 104_729) & 255;
        send(packet.subarray(0, i % 3 === 0 ? i % packet.length : undefined));
        if (i % 50 === 0) await sleep(5);
      }
      await until("it answers still", () => {
        one.ask(type, 1);
        return one.heard.length > 0;
      });
      raw.close();
    },
    { skip },
  );
});
