import { readdir } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import * as assert from "uvu/assert";
import { toHex } from "../../src/base/pure/bytes.ts";
import { longest } from "../../src/protocol/wire/mailbox.ts";
import {
  doorList,
  entry,
  exchange,
  head,
  mailbox,
  part,
  type RelayWorld,
  relayWorld,
  signed,
  speak,
  statuses,
  who,
} from "../lib/relay.ts";
import { suite } from "../lib/suite.ts";

const bytes = new Uint8Array(50_000).fill(7);
const object = part(0, bytes);

const put = { act: "put", name: object.name } as const;
const get = { act: "get", name: object.name } as const;
/** For what the relay is to end at once, and not because it has become slow: by nothing else in that time. */
const untilClosed = 60_000;
const patient = { periods: { graceMs: 600_000, headersMs: 600_000 } };

async function assertUntouched(world: RelayWorld, isThere = false): Promise<void> {
  const found = await world.as("owner").list({ under: "part/" });
  assert.is(found.length, isThere ? 1 : 0);
  const deadline = Date.now() + 30_000;
  for (;;) {
    const drafts = await readdir(join(world.folder, "drafts"));
    if (drafts.length === 0) return;
    if (Date.now() > deadline) throw new Error(`drafts are left: ${drafts}`);
    await sleep(20);
  }
}

suite("relay against hostile clients", (test) => {
  test("content that is cut short, another's, or not what the name ends in is not there", async () => {
    await using world = await relayWorld();
    const whole = head(world, "camera", "PUT", put, { body: bytes });
    await speak(world, [whole, bytes.subarray(0, 30_000)], { half: true });
    await assertUntouched(world);
    assert.not.match(world.lines.join(""), /failed/);
    const other = new Uint8Array(bytes.length).fill(8);
    const wrong = await speak(world, [whole, other]);
    assert.match(wrong.text, /^HTTP\/1\.1 400 .*"stage":"content"/s);
    await assertUntouched(world);
    // Signed as it is, under a name that it does not end in: refused before a byte of it came.
    const misnamed = head(world, "camera", "PUT", put, { body: other });
    assert.match((await speak(world, [misnamed])).text, /^HTTP\/1\.1 400 .*"stage":"hash"/s);
    await assertUntouched(world);
    assert.equal(statuses((await speak(world, [whole, bytes])).text), [201]);
    // What is there already is held against its signature all the same.
    assert.match((await speak(world, [whole, other])).text, /"stage":"content"/);
    assert.equal(await world.as("owner").get(object.name), bytes);
    await assertUntouched(world, true);
  });

  test("too long, without length, in chunks, empty: refused by the head alone", async () => {
    await using world = await relayWorld(patient);
    const long = (fields: Record<string, string | undefined>, endMs = 400) =>
      speak(world, [head(world, "camera", "PUT", put, { body: bytes, fields })], { endMs });
    const tooLong = await long({ "content-length": String(longest.part + 1) });
    assert.match(tooLong.text, /^HTTP\/1\.1 413 .*"stage":"length"/s);
    const endless = await long({ "content-length": "999999999999999" }, untilClosed);
    assert.match(endless.text, /^HTTP\/1\.1 413 /);
    assert.ok(endless.wasClosed);
    const absent = await long({ "content-length": undefined });
    assert.match(absent.text, /^HTTP\/1\.1 411 /);
    const inChunks = { "content-length": undefined, "transfer-encoding": "chunked" };
    const chunked = await long(inChunks, untilClosed);
    assert.match(chunked.text, /^HTTP\/1\.1 411 /);
    // Chunks have no end that could be waited for.
    assert.ok(chunked.wasClosed);
    const nothing = { ...put, name: part(0, new Uint8Array()).name };
    const empty = await speak(world, [head(world, "camera", "PUT", nothing)]);
    assert.match(empty.text, /^HTTP\/1\.1 400 .*"stage":"length"/s);
    await assertUntouched(world);
  });

  test("a replay does nothing that was not done; a late one is refused", async () => {
    await using world = await relayWorld();
    const whole = head(world, "camera", "PUT", put, { body: bytes });
    const answers = [];
    for (let i = 0; i < 3; i++)
      answers.push(...statuses((await speak(world, [whole, bytes])).text));
    assert.equal(answers, [201, 200, 200]);
    for (const offMs of [-310_000, 400_000]) {
      const fromMs = Date.now();
      const late = await world.ask("owner", "GET", get, { createdMs: fromMs + offMs });
      assert.equal([late.status, late.stage], [401, "created"]);
      const saidMs = Date.parse(late.headers.date ?? "");
      assert.ok(saidMs > fromMs - 2000 && saidMs <= Date.now(), late.headers.date);
    }
    // What was signed for one thing is good for no other.
    const { path, headers } = signed("owner", "GET", get, world.authority);
    const port = world.relay.port;
    const deleted = await exchange(port, { method: "DELETE", path, headers });
    assert.equal([deleted.status, deleted.stage], [401, "signature"]);
    const elsewhere = signed("owner", "GET", get, "127.0.0.1:1");
    const misdirected = await exchange(port, { method: "GET", ...elsewhere });
    assert.equal([misdirected.status, misdirected.stage], [421, "authority"]);
    // With scheme and host before the path, as a proxy is asked: that host counts, not the field.
    for (const [authority, field, status] of [
      [world.authority, world.authority, 200],
      [world.authority, "evil.example", 200],
      ["evil.example", world.authority, 421],
      [`x@${world.authority}`, world.authority, 421],
    ] as const) {
      const asked = { method: "GET", path: `http://${authority}${path}` };
      const answer = await exchange(world.relay.port, {
        ...{ ...asked, headers: { ...headers, host: field } },
      });
      assert.is(answer.status, status, `${authority}, Host: ${field}`);
    }
    await assertUntouched(world, true);
  });

  test("signatures: none, of another, of a key that fits anybody, in another form", async () => {
    await using world = await relayWorld();
    const { path, headers } = signed("owner", "GET", get, world.authority);
    const swap = (change: Record<string, string>) =>
      exchange(world.relay.port, { method: "GET", path, headers: { ...headers, ...change } });
    const { signature = "", "signature-input": input = "" } = headers;
    const cases: [Record<string, string>, string][] = [
      [{ signature: "" }, "signature-field"],
      [{ "signature-input": "" }, "signature-input"],
      [{ "content-digest": "sha-256=:AAAA:" }, "content-digest"],
      [{ signature: signature.replace(/:.{4}/, ":AAAA") }, "signature"],
      [
        { "signature-input": input.replace(toHex(who.owner.publicKey), toHex(who.root.publicKey)) },
        "signature",
      ],
      [{ "signature-input": input.replace(toHex(who.owner.publicKey), "00".repeat(32)) }, "key"],
      [{ "signature-input": input.replace("obscura-1", "obscura-2") }, "signature-input"],
    ];
    for (const [change, stage] of cases) {
      const { status, stage: found } = await swap(change);
      assert.equal([status, found], [401, stage], JSON.stringify(change));
    }
  });

  test("paths: nothing but a mailbox and a name, in one spelling", async () => {
    await using world = await relayWorld();
    const id = toHex(mailbox);
    const targets = [
      ...["/", "//", "*", "/..", "/../elapsed", "/elapsed", "/drafts/0", `/${id}`, `/${id}/..`],
      ...[`/${id}/../${id}/door`, `/${id}/%64oor`, `/${id}/door/`, `/${id}//door`, `/${id}/./door`],
      ...[`/${id}/door%00`, `/${id}/entry/../door`, `/${id.toUpperCase()}/door`, `/${id}/door?`],
      ...[`/${id}/door#x`, `/${id}\\door`, `ftp://x/${id}/door`, `/${id}/door?x=1`],
      ...[`/${"a".repeat(7000)}`, `/${id}/part/0000000001/`, `/${id}/?under=../`],
    ];
    for (const target of targets) {
      const { path: _, headers } = signed("owner", "GET", get, world.authority);
      const lines = Object.entries(headers).map((field) => field.join(": "));
      const { text } = await speak(
        world,
        [`GET ${target} HTTP/1.1\r\n${lines.join("\r\n")}\r\nConnection: close\r\n\r\n`],
        { endMs: 3000 },
      );
      assert.match(text, /^HTTP\/1\.1 (400|401|404) /, target);
    }
  });

  test("fields that stand twice, and framings that two parsers read in two ways", async () => {
    await using world = await relayWorld();
    await world.as("camera").put(object);
    const drop = head(world, "owner", "DELETE", { act: "delete", name: object.name });
    const { path, headers } = signed("owner", "GET", get, world.authority);
    const lines = Object.entries(headers).map((field) => field.join(": "));
    const start = `GET ${path} HTTP/1.1\r\n${lines.join("\r\n")}\r\n`;
    const size = drop.length;
    const chunk = `${size.toString(16)}\r\n${drop}\r\n0\r\n\r\n`;
    const twice = ["host: evil.example", "signature: x", "signature-input: x", "content-digest: x"];
    for (const field of twice) {
      const { text } = await speak(world, [`${start}${field}\r\n\r\n`]);
      assert.match(text, /^HTTP\/1\.1 400 /, field);
    }
    const shapes = [
      // A GET with content, in which a request stands that would be carried out if it were one.
      `${start}Content-Length: ${size}\r\n\r\n${drop}`,
      `${start}Transfer-Encoding: chunked\r\n\r\n${chunk}`,
      `${start}Content-Length: ${size}\r\nContent-Length: 0\r\n\r\n${drop}`,
      `${start}Content-Length: 0\r\nContent-Length: ${size}\r\n\r\n${drop}`,
      `${start}Content-Length: ${size}, ${size}\r\n\r\n${drop}`,
      `${start}Content-Length: +${size}\r\n\r\n${drop}`,
      `${start}Content-Length: 0x${size.toString(16)}\r\n\r\n${drop}`,
      `${start}Content-Length: ${size}\r\nTransfer-Encoding: chunked\r\n\r\n${drop}`,
      `${start}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n${chunk}`,
      `${start}Transfer-Encoding: gzip, chunked\r\n\r\n${chunk}`,
      `${start}Transfer-Encoding: chunked, identity\r\n\r\n${chunk}`,
      `${start}Transfer-Encoding : chunked\r\n\r\n${chunk}`,
      `${start} Transfer-Encoding: chunked\r\n\r\n${chunk}`,
      `${start}X: y\r\n folded\r\nContent-Length : 0\r\n\r\n${drop}`,
      `${start}X: y\n\nContent-Length: ${size}\r\n\r\n${drop}`.replace(start, `${start}A: b\n`),
      `${start}Transfer-Encoding: xchunked\r\n\r\n${chunk}`,
    ];
    for (const shape of shapes) {
      const { text } = await speak(world, [shape]);
      const row = JSON.stringify(shape.slice(start.length, start.length + 70));
      assert.not.ok(statuses(text).includes(204), `${row}: ${text}`);
      assert.match(text, /^HTTP\/1\.1 400 /, row);
    }
    await assertUntouched(world, true);
  });

  test("a pipeline is answered in order; one without end is cut off", async () => {
    await using world = await relayWorld(patient);
    await world.as("camera").put(object);
    const gets = head(world, "owner", "GET", get);
    const missing = head(world, "owner", "GET", { act: "get", name: entry(9).name });
    const three = await speak(world, [gets + missing + gets], { answers: 3 });
    assert.equal(statuses(three.text), [200, 404, 200]);
    const many = await speak(world, [gets.repeat(500)], { endMs: untilClosed });
    assert.ok(many.wasClosed);
    assert.ok(statuses(many.text).length <= 4);
    await world.as("owner").list();
  });

  test("a browser asks first; other methods are not known", async () => {
    await using world = await relayWorld();
    const first = await speak(world, [
      `OPTIONS /${toHex(mailbox)}/door HTTP/1.1\r\nHost: ${world.authority}\r\nOrigin: https://x\r\n\r\n`,
    ]);
    assert.match(first.text, /^HTTP\/1\.1 204 .*access-control-allow-headers: content-digest/s);
    for (const method of ["POST", "HEAD", "PATCH", "TRACE", "PROPFIND"]) {
      const { text } = await speak(world, [
        `${method} /${toHex(mailbox)}/door HTTP/1.1\r\nHost: ${world.authority}\r\n\r\n`,
      ]);
      assert.match(text, /^HTTP\/1\.1 405 /, method);
    }
    for (const start of [
      "CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
      "\u0016\u0003\u0001",
      "\r\n\r\nGET",
    ]) {
      const { text } = await speak(world, [start, "\r\n\r\n"]);
      assert.not.match(text, /HTTP\/1\.1 2/, JSON.stringify(start));
    }
  });

  test("who asks before sending content gets the verdict first", async () => {
    await using world = await relayWorld(patient);
    const fields = { expect: "100-continue" };
    const socket = connect(world.relay.port, "127.0.0.1");
    let text = "";
    socket.setEncoding("latin1").on("data", (data: string) => {
      text += data;
      if (text.endsWith("100 Continue\r\n\r\n")) socket.write(bytes);
    });
    socket.write(head(world, "camera", "PUT", put, { body: bytes, fields }));
    for (let i = 0; i < 3000 && statuses(text).length < 2; i++) await sleep(10);
    assert.equal(statuses(text), [100, 201]);
    socket.destroy();
    const asked = head(world, "viewer", "PUT", put, { body: bytes, fields });
    const denied = await speak(world, [asked], { endMs: untilClosed });
    assert.equal(statuses(denied.text), [403]);
    assert.ok(denied.wasClosed);
  });

  test("a mailbox is opened only where the settings let it be", async () => {
    const only = `mailboxes: {only: ["${"ab".repeat(32)}"]}`;
    await using closed = await relayWorld({ settings: only, isEmpty: true });
    const ask = { act: "put", name: { kind: "door" } } as const;
    const body = doorList();
    const refused = await closed.ask("root", "PUT", ask, { body });
    assert.equal([refused.status, refused.stage], [403, "right"]);
    await using full = await relayWorld({ settings: "mailboxes: {most: 1}" });
    const other = doorList({ root: who.stranger });
    const { mailboxOf } = await import("../../src/protocol/wire/name.ts");
    const { nodeSuite } = await import("../../src/base/node/crypto.ts");
    const to = mailboxOf(who.stranger.publicKey, nodeSuite);
    const second = await exchange(full.relay.port, {
      ...{ method: "PUT", body: other },
      ...signed("stranger", "PUT", ask, full.authority, { body: other, to }),
    });
    assert.equal([second.status, second.stage], [507, "mailboxes"]);
    await full.restart();
    assert.is((await full.ask("root", "PUT", ask, { body })).status, 409);
  });
});
