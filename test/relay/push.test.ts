import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { isFailure } from "../../src/base/pure/failure.ts";
import { encodePush, type PushMessage } from "../../src/protocol/wire/push.ts";
import { isPublic } from "../../src/relay/push.ts";
import { makeCertificates, until } from "../lib/mosquitto.ts";
import { type PushService, startPushService, vapidFor } from "../lib/pushed.ts";
import { type RelayWorld, relayWorld } from "../lib/relay.ts";
import { suite } from "../lib/suite.ts";
import { quickFolder } from "../lib/world.ts";

let last = 0;
function messageTo(endpoint: string, change: Partial<PushMessage> = {}): PushMessage {
  const body = new Uint8Array(2283).fill(0x61);
  body.set(Buffer.from(`once ${++last}`));
  return {
    ...{ endpoint, authorization: vapidFor(new URL(endpoint).origin), ttlS: 3600 },
    ...{ urgency: "high", topic: "", body },
    ...change,
  };
}

async function house(settings = "") {
  const folder = await quickFolder();
  const { broker: tls } = await makeCertificates(folder.path);
  const service = await startPushService(tls);
  const ca = await readFile(tls.ca, "utf8");
  const own = `push:\n  own: ["${service.origin}"]\n${settings}`;
  return {
    ...{ folder, service, ca, tls },
    open: (text = own, resolve?: (host: string) => Promise<readonly string[]>) =>
      relayWorld({ settings: text, outside: { ca, ...(resolve ? { resolve } : {}) } }),
    async [Symbol.asyncDispose]() {
      await service[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

const pushTo = (world: RelayWorld, message: PushMessage) =>
  world.as("camera").push(encodePush(message));

async function refusalOf(act: Promise<unknown>) {
  try {
    await act;
  } catch (error) {
    if (isFailure(error)) return { kind: error.kind, stage: error.stage };
    throw error;
  }
  throw new Error("it was taken");
}

suite("push", (test) => {
  test("a message is handed on as it is, once, and what the service says comes back", async () => {
    await using at = await house();
    const { service } = at;
    await using world = await at.open();
    const message = messageTo(`${service.origin}/send/a-capability?x=1`, { topic: "t-1" });
    assert.equal(await pushTo(world, message), { kind: "accepted" });
    const [one] = service.received;
    assert.is(one?.path, "/send/a-capability?x=1");
    assert.ok(one?.body.equals(message.body));
    const { authorization, ttl, urgency, topic, host } = one?.headers ?? {};
    assert.equal(
      { authorization, ttl, urgency, topic, host },
      {
        ...{ authorization: message.authorization, ttl: "3600", urgency: "high", topic: "t-1" },
        host: `127.0.0.1:${service.port}`,
      },
    );
    assert.is(one?.claims.aud, service.origin);
    // The camera's answer was lost, or somebody replays the request: no second message.
    assert.equal(await pushTo(world, message), { kind: "accepted" });
    assert.is(service.received.length, 1);
    assert.equal(service.wrong, []);
    const answers: [status: number, after: string | undefined, verdict: object][] = [
      [410, undefined, { kind: "gone" }],
      [404, undefined, { kind: "gone" }],
      [429, "7", { kind: "later", seconds: 7 }],
      [503, "Tue, 19 Jan 2038 03:14:07 GMT", { kind: "later", seconds: 3600 }],
      [500, undefined, { kind: "later", seconds: 0 }],
      [403, undefined, { kind: "refused", status: 403 }],
      [307, undefined, { kind: "refused", status: 307 }],
    ];
    for (const [status, after, verdict] of answers) {
      service.answer = () => ({
        status,
        headers: { ...(after ? { "retry-after": after } : {}), location: `${service.origin}/2` },
      });
      const before = service.received.length;
      assert.equal(await pushTo(world, messageTo(`${service.origin}/a`)), verdict, `${status}`);
      // Where a redirection leads nobody goes.
      assert.is(service.received.length, before + 1, `${status}`);
    }
    assert.not.ok(service.received.some(({ path }) => path === "/2"));
  });

  test("the same message at the same moment goes once", async () => {
    await using at = await house();
    await using world = await at.open();
    const bytes = encodePush(messageTo(`${at.service.origin}/a`));
    const all = await Promise.all([1, 2, 3].map(() => world.as("camera").push(bytes)));
    assert.equal(
      all.map(({ kind }) => kind),
      ["accepted", "accepted", "accepted"],
    );
    assert.is(at.service.received.length, 1);
  });

  test("the services of the browsers are named from the beginning, and nobody else's", async () => {
    await using at = await house();
    const asked: string[] = [];
    await using world = await at.open("", async (host) => {
      asked.push(host);
      return [];
    });
    for (const [endpoint, isKnown] of [
      ["https://fcm.googleapis.com/fcm/send/a:b", true],
      ["https://jmt17.google.com/fcm/send/a:b", true],
      ["https://updates.push.services.mozilla.com/wpush/v2/a", true],
      ["https://web.push.apple.com/a", true],
      ["https://wns2-par02p.notify.windows.com/w/?token=a%3d", true],
      ["https://google.com/a", false],
      ["https://evil-jmt17.google.com/a", false],
      ["https://jmt17.google.com.evil.example/a", false],
      ["https://notify.windows.com/a", false],
    ] as const) {
      asked.length = 0;
      const said = await pushTo(world, messageTo(endpoint)).catch((error) => error);
      assert.is(said.kind, isKnown ? "later" : "refused", endpoint);
      assert.is(asked.length, isKnown ? 1 : 0, endpoint);
    }
  });

  test("only to whom the operator names, and never to what is not public", async () => {
    await using at = await house();
    const port = at.service.port;
    const names: Record<string, string[]> = {
      "inside.push.apple.com": ["127.0.0.1"],
      "inside6.push.apple.com": ["::1"],
      "mapped.push.apple.com": ["::ffff:127.0.0.1"],
      "cloud.push.apple.com": ["169.254.169.254"],
      "home.push.apple.com": ["192.168.1.1", "10.0.0.1", "fd00::1", "fe80::1"],
      "nowhere.push.apple.com": [],
    };
    const asked: string[] = [];
    const resolve = async (host: string) => {
      asked.push(host);
      return names[host] ?? ["127.0.0.1"];
    };
    await using world = await at.open(
      `push:\n  services: ["*.push.apple.com", "fcm.googleapis.com"]\n  own: ["https://own.example:${port}"]\n`,
      resolve,
    );
    const host = { kind: "refused", stage: "host" };
    const table: [endpoint: string, expected: object | string][] = [
      // Nobody named them.
      [`https://127.0.0.1:${port}/a`, host],
      [`http://127.0.0.1:${port}/a`, host],
      ["http://169.254.169.254/latest/meta-data/", host],
      ["https://[::1]/a", host],
      ["https://[::ffff:127.0.0.1]/a", host],
      ["https://[::ffff:7f00:1]/a", host],
      ["https://localhost/a", host],
      ["https://2130706433/a", host],
      ["https://0x7f000001/a", host],
      ["https://127.1/a", host],
      ["https://push.apple.com/a", host],
      ["https://evilpush.apple.com/a", host],
      ["https://x.push.apple.com.evil.example/a", host],
      ["https://fcm.googleapis.com.evil.example/a", host],
      ["https://xfcm.googleapis.com/a", host],
      ["https://fcm.googleapis.com./a", host],
      // Named, and not in this way.
      ["http://fcm.googleapis.com/a", host],
      ["https://fcm.googleapis.com:8443/a", host],
      ["https://x.push.apple.com:22/a", host],
      [`http://own.example:${port}/a`, host],
      ["https://own.example/a", host],
      // Named, and they say that they live here.
      ...Object.keys(names).map((name): [string, object | string] => [
        `https://${name}/a`,
        name.startsWith("nowhere") ? "later" : host,
      ]),
    ];
    for (const [endpoint, expected] of table) {
      const act = pushTo(world, messageTo(endpoint));
      if (typeof expected === "string") assert.is((await act).kind, expected, endpoint);
      else assert.equal(await refusalOf(act), expected, endpoint);
    }
    assert.equal(at.service.received, []);
    assert.equal(new Set(asked), new Set(Object.keys(names)));
    // The operator's own may be at home. Its certificate is for another name, which counts.
    assert.is((await pushTo(world, messageTo(`https://own.example:${port}/a`))).kind, "later");
    assert.ok(asked.includes("own.example"));
    assert.equal(at.service.received, []);
  });

  test("a name is asked for once, and what it was is what is connected to", async () => {
    await using at = await house();
    const { port } = at.service;
    let times = 0;
    await using world = await at.open(`push:\n  own: ["https://localhost:${port}"]\n`, async () => [
      ++times === 1 ? "127.0.0.1" : "127.0.0.2",
    ]);
    assert.is((await pushTo(world, messageTo(`https://localhost:${port}/a`))).kind, "accepted");
    assert.is(times, 1);
    assert.is(at.service.received[0]?.headers.host, `localhost:${port}`);
  });

  test("of several addresses the first that answers is taken, once", async () => {
    await using at = await house();
    const { port } = at.service;
    // Without a way out by IPv6, or by IPv4, the first ones lead nowhere; nobody listens at the second.
    const addresses = ["2001:db8::1", "127.0.0.2", "127.0.0.1", "127.0.0.3"];
    for (const found of [addresses, addresses.toReversed(), addresses.slice(0, 2)]) {
      await using world = await at.open(
        `push:\n  own: ["https://localhost:${port}"]\n`,
        async () => found,
      );
      const before = at.service.received.length;
      const isThere = found.includes("127.0.0.1");
      let kind = "";
      // An address has a second to answer: where the machine stood still meanwhile it is asked again.
      for (let tries = 0; tries < (isThere ? 5 : 1) && kind !== "accepted"; tries++) {
        kind = (await pushTo(world, messageTo(`https://localhost:${port}/a`))).kind;
      }
      assert.is(kind, isThere ? "accepted" : "later", found.join(" "));
      assert.is(at.service.received.length, before + (isThere ? 1 : 0));
    }
  });

  test("plain HTTP to a service of the operator's own", async () => {
    await using service = await startPushService();
    await using world = await relayWorld({ settings: `push:\n  own: ["${service.origin}"]\n` });
    assert.is((await pushTo(world, messageTo(`${service.origin}/UP?id=1`))).kind, "accepted");
    assert.is(service.received.length, 1);
  });

  test("which addresses are anybody's", () => {
    const not = [
      ..."0.0.0.0 10.1.2.3 100.64.0.1 127.0.0.1 169.254.1.1 172.16.0.1 172.31.255.255".split(" "),
      ..."192.0.0.1 192.0.2.1 192.88.99.1 192.168.0.1 198.18.0.1 198.51.100.1".split(" "),
      ..."203.0.113.1 224.0.0.1 240.0.0.1 255.255.255.255 :: ::1 fe80::1 fc00::1 fd12::1".split(
        " ",
      ),
      ..."ff02::1 ::ffff:8.8.8.8 ::ffff:127.0.0.1 ::7f00:1 64:ff9b::7f00:1 2001::1".split(" "),
      ..."2001:db8::1 2002:7f00:1::1 3fff::1 100::1 5f00::1 fe80::1%lo fec0::1".split(" "),
      ...["", "localhost", "127.1", "1", "8.8.8.8.", "2606:4700::1111%1"],
    ];
    for (const address of not) assert.not.ok(isPublic(address), address);
    const all =
      "8.8.8.8 1.1.1.1 172.15.0.1 172.32.0.1 100.63.0.1 192.0.1.1 223.255.255.255 2606:4700::1111 2a00:1450::1";
    for (const address of all.split(" ")) assert.ok(isPublic(address), address);
  });

  test("a relay that hands nothing on says so; one that is asked too much too", async () => {
    await using at = await house();
    await using shut = await at.open("push:\n  forward: false\n");
    const message = () => messageTo(`${at.service.origin}/a`);
    assert.equal(await refusalOf(pushTo(shut, message())), { kind: "refused", stage: "push" });
    await using few = await at.open(`push:\n  own: ["${at.service.origin}"]\n  perHour: 2\n`);
    const first = message();
    await pushTo(few, first);
    await pushTo(few, message());
    assert.is((await refusalOf(pushTo(few, message()))).kind, "gone");
    // What was sent before costs nothing more.
    assert.is((await pushTo(few, first)).kind, "accepted");
    assert.is(at.service.received.length, 2);
  });

  test("only the camera may, and only a message", async () => {
    await using at = await house();
    await using world = await at.open();
    const bytes = encodePush(messageTo(`${at.service.origin}/a`));
    for (const by of ["root", "owner", "viewer", "guest", "stranger"] as const) {
      const { status, stage } = await world.ask(by, "POST", { act: "push" }, { body: bytes });
      assert.equal([status, stage], [403, "right"], by);
    }
    const of = async (body: Uint8Array) => {
      const { status, stage } = await world.ask("camera", "POST", { act: "push" }, { body });
      return [status, stage];
    };
    assert.equal(await of(bytes.subarray(0, 100)), [400, "length"]);
    assert.equal(await of(new Uint8Array(5935)), [413, "length"]);
    assert.equal(await of(bytes.with(0, 9)), [400, "version"]);
    assert.equal(await of(bytes.with(4, 0x20)), [400, "endpoint"]);
    assert.equal(at.service.received, []);
  });

  test(
    "a service that hangs, sends without end, or is not there keeps nobody waiting for ever",
    async () => {
      await using at = await house();
      await using world = await at.open();
      at.service.answer = () => "hang";
      const hanging = pushTo(world, messageTo(`${at.service.origin}/a`));
      await until("there", () => at.service.received.length === 1);
      // Others are served meanwhile.
      await world.as("owner").list();
      assert.equal(await hanging, { kind: "later", seconds: 0 });
      await at.service[Symbol.asyncDispose]();
      const away = await pushTo(world, messageTo(`${at.service.origin}/b`)).catch((error) => error);
      assert.equal(away, { kind: "later", seconds: 0 });
    },
    { deadlineMs: 180_000 },
  );

  test("neither folder nor log nor figures hold an address or a message", async () => {
    await using at = await house();
    await using world = await at.open(
      `push:\n  own: ["${at.service.origin}"]\nmetrics:\n  port: 0\nlog: debug\n`,
    );
    const path = "/send/CANARYPATH0123456789abcdef";
    const message = messageTo(at.service.origin + path);
    const text = "CANARYBODY0123456789abcdef";
    message.body.set(Buffer.from(text), 100);
    await pushTo(world, message);
    at.service.answer = () => ({ status: 500 });
    const failed = messageTo(at.service.origin + path);
    failed.body.set(Buffer.from(text), 100);
    await pushTo(world, failed);
    // The same search finds both where they must be: at the service.
    const sought = [Buffer.from("CANARYPATH0123456789"), Buffer.from(text)];
    const seen = at.service.received.map(({ path: to, body }) =>
      Buffer.concat([Buffer.from(to), body]),
    );
    for (const one of sought) assert.ok(seen[0]?.includes(one));
    await world.restart();
    const everything = [Buffer.from(world.lines.join("\n"))];
    for (const file of await readdir(world.folder, { recursive: true, withFileTypes: true })) {
      everything.push(Buffer.from(file.name));
      if (file.isFile()) everything.push(await readFile(join(file.parentPath, file.name)));
    }
    assert.ok(Buffer.concat(everything).length > 100);
    for (const one of sought) {
      for (const form of [
        one,
        Buffer.from(one.toString("base64")),
        Buffer.from(one.toString("hex")),
      ]) {
        assert.not.ok(Buffer.concat(everything).includes(form.subarray(0, 20)));
      }
    }
  });
});

export type { PushService };
