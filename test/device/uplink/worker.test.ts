import * as assert from "uvu/assert";
import { fromHex, toHex } from "../../../src/base/pure/bytes.ts";
import { decodeBeacon } from "../../../src/protocol/wire/beacon.ts";
import { printClip } from "../../../src/protocol/wire/mailbox.ts";
import { parseName } from "../../../src/protocol/wire/name.ts";
import { FakeRelay } from "../../lib/mailbox.ts";
import { makeCamera, type Running, recording, startSealer } from "../../lib/sealing.ts";
import { suite } from "../../lib/suite.ts";
import { makeWorld, namesOf, settle, startUplink } from "../../lib/uplink.ts";
import { quickFolder } from "../../lib/world.ts";

const hourMs = 3_600_000;

suite("uplink: a relay that is full", (test) => {
  const bytesOf = (relay: FakeRelay) =>
    [...relay.objects.values()].reduce((sum, one) => sum + one.length, 0);

  test("gives its oldest clips for newer ones, says so, and nothing goes to and fro", async () => {
    await using world = await makeWorld({ clips: 6 });
    const relay = new FakeRelay();
    const all = new FakeRelay();
    {
      await using _ = startUplink(world.camera, world.outbox, [all]);
      await settle([all]);
    }
    relay.mischief.quotaBytes = bytesOf(all) * 0.6;
    await using sending = startUplink(world.camera, world.outbox, [relay]);
    await settle([relay]);
    const there = () =>
      world.clips().map((clip) => relay.names("part/").filter((n) => n.includes(clip)).length);
    const full = world.clips().map((clip) => world.outbox.parts(clip).length);
    assert.equal(there().slice(3), full.slice(3), "the newest are whole");
    assert.is(there()[0], 0);
    assert.equal(
      sending.given.map(({ clip }) => clip),
      world.clips().slice(0, sending.given.length),
    );
    const puts = relay.puts.length;
    await sending.pass(5 * hourMs, hourMs / 2);
    assert.ok(relay.puts.length - puts < 5, "no thrash");
    await sending.uplink.close();
    // After a start the oldest find no room, and push nothing out.
    const before = relay.names("part/").filter((name) =>
      world
        .clips()
        .slice(3)
        .some((clip) => name.includes(clip)),
    );
    await using again = startUplink(world.camera, world.outbox, [relay]);
    await settle([relay]);
    await again.pass(5 * hourMs, hourMs / 2);
    for (const name of before) assert.ok(relay.objects.has(name));
    assert.ok(again.given.length <= 1, "what had only begun to come back");
    const second = relay.puts.length - puts;
    assert.ok(second < 30, `${second} puts after it`);
    const source = await world.sealer.clip(recording(6));
    await settle([relay]);
    await again.pass(hourMs, 60_000);
    const newest = relay.names("part/").filter((name) => name.includes(source.clip)).length;
    assert.is(newest, source.parts, "what is recorded has its place");
  });

  test("one where nothing may go is asked rarely, and gets all when there is room", async () => {
    await using world = await makeWorld({ clips: 2 });
    const relay = new FakeRelay();
    relay.mischief.quotaBytes = 1000;
    relay.mischief.mayRemove = () => false;
    await using sending = startUplink(world.camera, world.outbox, [relay]);
    await settle([relay]);
    const before = relay.requests;
    await sending.pass(24 * hourMs, 60_000);
    assert.ok(relay.requests - before < 2500, `${relay.requests - before} requests in a day`);
    relay.mischief.quotaBytes = 1e9;
    await sending.pass(3 * hourMs, 60_000);
    assert.equal(relay.names(), namesOf(world.outbox));
    console.log(`measured: ${relay.requests - before} requests in a day to a full relay`);
  });

  test("one that is always full, and invents clips to be rid of, is left alone", async () => {
    await using world = await makeWorld({ clips: 2 });
    const relay = new FakeRelay();
    relay.mischief.quotaBytes = 0;
    relay.mischief.invents = Array.from({ length: 500 }, (_, i) => {
      const clip = i.toString(16).padStart(32, "0");
      return `part/0000000001/${clip}/0000000000/${"cd".repeat(32)}`;
    });
    await using sending = startUplink(world.camera, world.outbox, [relay]);
    await settle([relay]);
    const before = relay.requests;
    await sending.pass(hourMs, 30_000);
    assert.ok(relay.requests - before < 8000, `${relay.requests - before} requests in an hour`);
    assert.equal(sending.given, [], "the log names nothing that was not ours");
  });
});

suite("uplink: heads", (test) => {
  test("a card that was put back: the relay's newer entries are found, forged and old ones are not", async () => {
    await using world = await makeWorld({ clips: 1 });
    const relay = new FakeRelay();
    {
      await using _ = startUplink(world.camera, world.outbox, [relay]);
      await settle([relay]);
    }
    await using older = await quickFolder();
    const other = await makeCamera(older.path);
    const stranger: Running = await startSealer(older.path);
    await stranger.sealer.clip(recording(3));
    const entries = world.outbox.entries();
    const head = entries.at(-1);
    const short = (count: number) => ({
      ...world.outbox,
      entries: () => entries.slice(0, count),
      clips: () => [],
    });
    {
      await using sending = startUplink(world.camera, short(entries.length - 3), [relay]);
      await settle([relay]);
      assert.is(sending.ahead.length, 1);
      assert.is(sending.ahead[0]?.sequence, head?.sequence);
      assert.equal(sending.ahead[0]?.hash, head?.hash);
    }
    {
      // Without the entries, the beacon is enough.
      for (const { sequence } of entries.slice(-3)) {
        for (const name of relay.names("entry/")) {
          const parsed = parseName(name);
          if (parsed.kind === "entry" && parsed.sequence === sequence) relay.objects.delete(name);
        }
      }
      await using sending = startUplink(world.camera, short(entries.length - 3), [relay]);
      await settle([relay]);
      const beacon = decodeBeacon(await world.outbox.read({ kind: "beacon" }));
      assert.is(sending.ahead[0]?.sequence, beacon.head.sequence);
      assert.ok(beacon.head.sequence >= entries.length - 3);
    }
    {
      // In a later incarnation all that is over.
      await using sending = startUplink(world.camera, short(entries.length - 3), [relay], {
        incarnation: 2,
      });
      await settle([relay]);
      assert.equal(sending.ahead, []);
    }
    // Another camera's, under its own names and under ours.
    for (const name of stranger.outbox.entries()) {
      const bytes = await stranger.outbox.read(name);
      relay.objects.set(
        `entry/0000000001/${String(900 + name.sequence).padStart(16, "0")}/${toHex(name.hash)}`,
        bytes,
      );
      relay.objects.set(
        `entry/0000000007/${String(900 + name.sequence).padStart(16, "0")}/${toHex(name.hash)}`,
        bytes,
      );
    }
    relay.objects.set("beacon", await stranger.outbox.read({ kind: "beacon" }));
    relay.objects.set(
      `entry/0000000001/0000000000009999/${"ee".repeat(32)}`,
      new Uint8Array(500).fill(1),
    );
    await using sending = startUplink(world.camera, world.outbox, [relay]);
    await settle([relay]);
    assert.equal(sending.ahead, []);
    await stranger.stop();
    assert.ok(other);
  });
});

suite("uplink: what is to go", (test) => {
  test("a clip that was deleted goes at the relay, behind what is on its way, and does not come back", async () => {
    await using world = await makeWorld({ clips: 2 });
    const relay = new FakeRelay();
    const [clip = ""] = world.clips();
    let release = () => {};
    relay.onRequest = (what) => {
      if (!what.startsWith("put part/") || !what.includes(clip)) return;
      relay.onRequest = () => {};
      return new Promise<void>((resolve) => {
        release = resolve;
      });
    };
    await using sending = startUplink(world.camera, world.outbox, [relay]);
    await settle([relay]);
    await world.outbox.lose([{ clip, parts: 1 }]);
    let isDone = false;
    const removed = sending.uplink.remove(clip, 1).then(() => {
      isDone = true;
    });
    await settle([relay]);
    assert.is(isDone, false, "a put is under way");
    release();
    await removed;
    await settle([relay]);
    assert.equal(relay.removed, [printClip({ incarnation: 1, clip: fromHex(clip) })]);
    assert.equal(relay.names(), namesOf(world.outbox));
    await sending.pass(8 * hourMs, hourMs);
    assert.is(relay.removed.length, 2, "and once more, for one that was still under way there");
    await sending.pass(24 * hourMs, hourMs);
    assert.is(relay.removed.length, 2);
  });

  test("one that is too young, or at a relay that is away, goes later", async () => {
    await using world = await makeWorld({ clips: 1 });
    const [young, away] = [new FakeRelay(), new FakeRelay()];
    await using sending = startUplink(world.camera, world.outbox, [young, away]);
    await settle([young, away]);
    const [clip = ""] = world.clips();
    young.mischief.mayRemove = () => false;
    away.mischief.down = true;
    await world.outbox.lose([{ clip, parts: 1 }]);
    let isDone = false;
    void sending.uplink.remove(clip, 1).then(() => {
      isDone = true;
    });
    await sending.pass(hourMs, 60_000);
    assert.is(isDone, false);
    assert.is(sending.uplink.status()[0]?.failure, undefined, "no reason to leave it alone");
    young.mischief.mayRemove = () => true;
    away.mischief.down = false;
    await sending.pass(8 * hourMs, 600_000);
    assert.ok(isDone);
    assert.equal([young.names("part/"), away.names("part/")], [[], []]);
  });
});
