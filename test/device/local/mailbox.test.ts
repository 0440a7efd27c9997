import { connect } from "node:net";
import * as assert from "uvu/assert";
import { nodeSuite } from "../../../src/base/node/crypto.ts";
import { systemClock } from "../../../src/base/node/time.ts";
import { equal, toHex } from "../../../src/base/pure/bytes.ts";
import { isFailure } from "../../../src/base/pure/failure.ts";
import { findRelays } from "../../../src/phone/cli/lan.ts";
import type { Sealed } from "../../../src/protocol/sealed/sealed.ts";
import { cameraService } from "../../../src/protocol/wire/announce.ts";
import type { Ask } from "../../../src/protocol/wire/mailbox.ts";
import { printAsk } from "../../../src/protocol/wire/mailbox.ts";
import { checkName, type Name, printName } from "../../../src/protocol/wire/name.ts";
import { faultOf, operationAt } from "../../lib/document.ts";
import { lentOf, unhurried } from "../../lib/local.ts";
import { until } from "../../lib/mosquitto.ts";
import { loopback } from "../../lib/multicast.ts";
import { openShelved } from "../../lib/shelved.ts";
import { suite } from "../../lib/suite.ts";

const mdns = await loopback();

const page = (under: string, more = {}): Ask => ({
  act: "list",
  page: { under, after: "", ...more },
});
async function refused(act: Promise<unknown>, stage: string): Promise<void> {
  const error = await act.then(
    () => undefined,
    (one) => one,
  );
  assert.ok(isFailure(error, "refused"), String(error));
  assert.is(error.stage, stage);
}

suite("device/local mailbox", (test) => {
  test("a member's phone reads the log and every part, byte for byte, and nothing else", async () => {
    await using world = await openShelved();
    const { at, running, own } = world;
    await refused(
      world
        .as()
        .list()
        .catch((error) => {
          // Before the camera knows its phones nobody is let in.
          assert.ok(isFailure(error, "gone"), String(error));
          return Promise.reject(Object.assign(error, { kind: "refused", stage: "yet" }));
        }),
      "yet",
    );
    at.local.lend(running.commands);
    const mailbox = world.as();
    const all = await mailbox.list();
    const { outbox } = running;
    const parts = outbox.clips().flatMap(({ clip }) => outbox.parts(clip));
    const expected = [...outbox.entries(), ...parts].map(printName).sort();
    const found = all.map(({ name }) => printName(name));
    assert.equal(
      found.filter((name) => name !== "beacon"),
      expected,
    );
    for (const { name, bytes } of all) {
      const got = await mailbox.get(name);
      assert.ok(got && equal(got, await outbox.read(name)));
      assert.is(got.length, bytes);
      checkName(name, got, nodeSuite);
    }
    // A page at a time, and each kind and clip by itself.
    const walked: string[] = [];
    for (let after = ""; ; ) {
      const some = await mailbox.list({ after, limit: 3 });
      const last = some.at(-1);
      if (!last) break;
      assert.ok(some.length <= 3);
      walked.push(...some.map(({ name }) => printName(name)));
      after = printName(last.name);
    }
    assert.equal(walked, found);
    for (const under of ["entry/", "part/", printName(parts[0] as never).slice(0, 49)]) {
      const names = (await mailbox.list({ under })).map(({ name }) => printName(name));
      assert.ok(names.length > 0 && names.length < found.length, under);
      assert.equal(
        names,
        found.filter((name) => name.startsWith(under)),
      );
    }
    assert.is(await mailbox.get({ kind: "door" }), undefined);
    const [first] = parts;
    assert.is(first && (await mailbox.get({ ...first, number: 99 })), undefined);
    await refused(
      mailbox.put({ name: outbox.entries()[0] as never, bytes: new Uint8Array(9) }),
      "content",
    );
    assert.is(own.outbox.clips().length, 2);
    assert.equal(at.problems, []);
  });

  test("strangers, other mailboxes, other places and other times are refused", async () => {
    await using world = await openShelved();
    const { at, running } = world;
    at.local.lend(running.commands);
    await refused(world.as(0x99).list(), "right");
    await refused(world.as(undefined, { mailbox: new Uint8Array(32).fill(7) }).list(), "right");
    const entries = page("entry/");
    assert.is((await world.ask(entries)).status, 200);
    for (const hours of [-1, 1]) {
      const reply = await world.ask(entries, { createdMs: Date.now() + hours * 3_600_000 });
      assert.is(reply.status, 401);
      assert.is(JSON.parse(reply.body.toString()).stage, "created");
      assert.ok(Math.abs(Date.parse(String(reply.headers.date)) - Date.now()) < 60_000);
    }
    // A phone whose clock is wrong takes the camera's.
    assert.ok(
      (await world.as(undefined, { nowMs: () => Date.now() - 86_400_000 }).list()).length > 0,
    );
    // Signed for another place, and passed on by who stands there.
    const elsewhere = await world.ask(entries, { authority: `192.0.2.7:${at.port}` });
    assert.is(elsewhere.status, 421);
    // Scheme and host before the path are no other place, whatever the field says.
    const target = world.targetOf(entries);
    for (const [authority, status] of [
      [`127.0.0.1:${at.port}`, 200],
      [`192.0.2.7:${at.port}`, 421],
    ] as const) {
      const headers = { ...world.sign(target, { authority }), host: "localhost" };
      assert.is((await at.ask(`http://${authority}${target}`, { headers })).status, status);
    }
    const forged = { signature: `obscura=:${"A".repeat(86)}==:` };
    assert.is((await world.ask(entries, { headers: forged })).status, 401);
    assert.is((await at.ask("/mailbox/")).status, 400);
    const { path } = printAsk(world.own.mailbox, entries);
    assert.is((await at.ask(`/mailbox${path}`)).status, 401, "not signed");
    assert.is((await at.read(`/mailbox${path}`)).status, 401, "a token is no phone");
    for (const method of ["PUT", "DELETE", "POST", "HEAD"]) {
      assert.is((await world.ask(entries, { method })).status, 405, method);
    }
    assert.is(
      (await world.ask(entries, { body: Buffer.from("x"), headers: { "content-length": "1" } }))
        .status,
      400,
    );
    // The phone is removed: nothing is kept of what it was.
    at.local.lend(lentOf(async () => false));
    await refused(world.as().list(), "right");
    assert.equal(at.problems, []);
  });

  test("who waits hears of what comes, and no more than a few wait", async () => {
    await using world = await openShelved();
    const { at, running } = world;
    at.local.lend(running.commands);
    const mailbox = world.as();
    const last = (await mailbox.list({ under: "entry/" })).at(-1);
    const after = last ? printName(last.name) : "";
    const waiting = mailbox.list({ under: "entry/", after, waitMs: 60_000 });
    await running.sealer.note({ kind: "problem", code: "test", text: "something" });
    const came = await waiting;
    assert.is(came.length, 1);
    // The beacon, which is overwritten, is awaited behind itself.
    const beacon: Name = { kind: "beacon" };
    const bytes = await running.outbox.read(beacon);
    const fresh = mailbox.list({ under: "beacon", after: "beacon", waitMs: 60_000 });
    let isBack = false;
    void fresh.finally(() => {
      isBack = true;
    });
    while (!isBack) {
      await running.outbox.put({ name: beacon, bytes } as Sealed);
      await systemClock.sleep(20);
    }
    assert.equal(
      (await fresh).map(({ name }) => name),
      [beacon],
    );
    const next = printName((came[0] as (typeof came)[number]).name);
    const idle = page("entry/", { after: next, waitS: 60 });
    const all = Array.from({ length: 6 }, () => world.ask(idle));
    const statuses: number[] = [];
    for (const one of all) void one.then(({ status }) => statuses.push(status));
    await until("two are turned away", () => statuses.length >= 2);
    assert.equal(statuses.slice(0, 2), [429, 429]);
    await Promise.all(all);
    assert.equal(statuses.filter((status) => status === 200).length, 4);
    assert.is((await world.ask(page("entry/"))).status, 200);
  });

  test("answers that nobody takes have a bounded room, which who hangs up gives back", async () => {
    await using world = await openShelved({ bounds: { periods: unhurried } });
    const { at, running, own } = world;
    at.local.lend(running.commands);
    const name = running.outbox.entries()[0];
    assert.ok(name);
    const target = world.targetOf({ act: "get", name });
    let reading = 0;
    let go = () => {};
    const gate = new Promise<void>((resolve) => {
      go = resolve;
    });
    const { read } = own.outbox;
    own.outbox.read = async (...asked) => {
      reading += 1;
      await gate;
      return await read(...asked);
    };
    const fields = Object.entries(world.sign(target)).map(([field, value]) => `${field}: ${value}`);
    const text = [`GET ${target} HTTP/1.1`, ...fields, "", ""].join("\r\n");
    // Two of each connection: the second waits for its turn.
    const sockets = Array.from({ length: 16 }, () => connect(at.port, "127.0.0.1"));
    for (const socket of sockets) socket.on("error", () => {}).write(text.repeat(2));
    await until("32 are read", () => reading === 32);
    const full = await world.ask(page("entry/"));
    assert.equal([full.status, full.headers["retry-after"]], [429, "5"]);
    assert.is((await world.ask({ act: "get", name })).status, 429);
    sockets[0]?.destroy();
    while ((await world.ask(page("entry/"))).status !== 200) await systemClock.sleep(20);
    const last = Promise.all([1, 2].map(() => world.ask({ act: "get", name })));
    await until("both in its place", () => reading === 34);
    go();
    assert.equal(
      (await last).map(({ status }) => status),
      [200, 200],
    );
    for (const socket of sockets) socket.destroy();
    assert.equal(at.problems, []);
  });

  test("the document has every request that is answered here, and each answer", async () => {
    await using world = await openShelved();
    const { at, running, own } = world;
    at.local.lend(running.commands);
    const names = (await world.as().list()).map(({ name }) => name);
    const seen = new Set<string>();
    const answer = async (target: string, status: number, headers = world.sign(target)) => {
      const operation = operationAt("GET", target);
      assert.ok(operation, target);
      const reply = await at.ask(target, { headers });
      assert.equal([reply.status, faultOf(reply, operation)], [status, []], target);
      seen.add(operation.operationId);
    };
    for (const name of names) await answer(world.targetOf({ act: "get", name }), 200);
    const entry = names.find(({ kind }) => kind === "entry");
    assert.ok(entry?.kind === "entry");
    const hash = new Uint8Array(32);
    for (const target of [
      ...["", "?under=entry/", "?under=part/&limit=1", "?after=zzz&wait=1"].map(
        (query) => `/mailbox/${toHex(own.mailbox)}/${query}`,
      ),
      world.targetOf({ act: "get", name: { kind: "beacon" } }),
    ]) {
      const isThere = !target.endsWith("beacon") || names.some(({ kind }) => kind === "beacon");
      await answer(target, isThere ? 200 : 404);
      await answer(target, 401, { ...world.sign(target), signature: "" });
      await answer(target, 403, world.sign(target, { seed: 0x99 }));
      await answer(target, 421, { ...world.sign(target), host: "192.0.2.1" });
    }
    await answer(world.targetOf({ act: "get", name: { ...entry, hash } }), 404);
    await answer(`/mailbox/${toHex(own.mailbox)}/?limit=0`, 400);
    assert.equal([...seen].sort(), ["beacon", "entry", "list", "part"]);
    // What the document does not have is not there.
    const box = `/mailbox/${toHex(own.mailbox)}/box/${toHex(hash)}/${"0".repeat(16)}/${toHex(hash)}`;
    for (const target of [`/mailbox/${toHex(own.mailbox)}/door`, box]) {
      assert.is(operationAt("GET", target), undefined);
      assert.is((await at.ask(target, { headers: world.sign(target) })).status, 404, target);
    }
  });

  if (!mdns) return test.skip("found over loopback", "no multicast on the loopback interface");
  test("a phone that knows the camera finds it by its mark, and no other does", async () => {
    const settings = { port: 0, host: "", names: [], certificate: "", key: "", announce: true };
    await using world = await openShelved({ settings, mdns });
    const find = (hash: Uint8Array, timeoutMs = 4_000) =>
      findRelays({
        ...{ mailboxes: [hash], suite: nodeSuite, timeoutMs, mdns, service: cameraService },
        onFound: () => true,
      });
    const found = await find(world.own.hash, 60_000);
    assert.equal(
      found.map(({ url }) => url),
      [`http://127.0.0.1:${world.at.port}`],
    );
    for (const other of [world.own.mailbox, new Uint8Array(32).fill(5)]) {
      assert.equal(await find(other), []);
    }
  });
});
