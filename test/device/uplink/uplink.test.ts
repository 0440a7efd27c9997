import * as assert from "uvu/assert";
import { nodeSuite } from "../../../src/base/node/crypto.ts";
import { toHex } from "../../../src/base/pure/bytes.ts";
import { Failure } from "../../../src/base/pure/failure.ts";
import { sealBeacon } from "../../../src/protocol/sealed/epoch.ts";
import { type Name, parseName } from "../../../src/protocol/wire/name.ts";
import { FakeRelay } from "../../lib/mailbox.ts";
import { recording } from "../../lib/sealing.ts";
import { suite } from "../../lib/suite.ts";
import { makeWorld, namesOf, settle, startUplink } from "../../lib/uplink.ts";

const hourMs = 3_600_000;

/** Doubles among what was put, beacons aside. */
function doubles({ puts }: FakeRelay): string[] {
  const parts = puts.filter((name) => name !== "beacon");
  return parts.filter((name, i) => parts.indexOf(name) !== i);
}

/** A recording whose pieces come when they are let. */
function slowly(fragments: number): { recording: ReturnType<typeof recording>; next(): void } {
  const gates: (() => void)[] = [];
  let open = 0;
  const source = recording(fragments);
  async function* pieces() {
    for await (const piece of source.pieces) {
      if (piece.kind === "fragment") {
        if (open > 0) open -= 1;
        else await new Promise<void>((resolve) => gates.push(resolve));
      }
      yield piece;
    }
  }
  const next = () => {
    const gate = gates.shift();
    if (gate) gate();
    else open += 1;
  };
  return { recording: { ...source, pieces: pieces() }, next };
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 2));
}

suite("uplink", (test) => {
  test("all that lies in the outbox comes to the relay, once, the log in its order and first", async () => {
    await using world = await makeWorld();
    const relay = new FakeRelay();
    await using sending = startUplink(world.camera, world.outbox, [relay]);
    await settle([relay]);
    assert.equal(relay.names(), namesOf(world.outbox));
    assert.equal(doubles(relay), []);
    const entries = relay.puts.filter((name) => name.startsWith("entry/"));
    assert.equal(entries, [...entries].sort());
    assert.is(relay.puts.indexOf("beacon"), entries.length);
    const parts = relay.puts.filter((name) => name.startsWith("part/"));
    const order = world
      .clips()
      .flatMap((clip) => world.outbox.parts(clip).map(({ number }) => [clip, number]));
    const sent = parts
      .map((name) => parseName(name))
      .map((name) => (name.kind === "part" ? [toHex(name.clip), name.number] : []));
    assert.equal(sent, order);
    assert.equal(
      sending.relayed.map(({ clip, number }) => [clip, number]),
      order,
    );
    assert.equal(sending.uplink.status(), [
      { url: "fake:0", failure: undefined, entries: 0, clips: 0 },
    ]);
    for (const clip of world.clips()) assert.ok(sending.uplink.holds(clip));
    assert.not(sending.uplink.holds("0".repeat(32)));
    for (const [name, bytes] of relay.objects) {
      assert.equal(bytes, await world.outbox.read(parseName(name)));
    }
  });

  test("parts of a running clip go as they come, before older clips", async () => {
    await using world = await makeWorld({ clips: 3 });
    const relay = new FakeRelay();
    const held: (() => void)[] = [];
    let isHeld = true;
    // Old parts crawl: a line that is too slow for them.
    relay.onRequest = (what) => {
      const isOld =
        what.startsWith("put part/") &&
        world
          .clips()
          .slice(0, 3)
          .some((clip) => what.includes(clip));
      if (isOld && isHeld) return new Promise<void>((resolve) => held.push(resolve));
    };
    await using _ = startUplink(world.camera, world.outbox, [relay]);
    await settle([relay]);
    const { recording: source, next } = slowly(4);
    const sealing = world.sealer.clip(source);
    await until(() => world.clips().length === 4);
    const clip = world.clips()[3] ?? "";
    const arrived = () => relay.names("part/").filter((name) => name.includes(clip)).length;
    for (let i = 1; i <= 4; i++) {
      next();
      await new Promise((resolve) => setTimeout(resolve, 30));
      // While the clip runs and the old ones wait, however long its parts take to be sealed.
      await until(() => arrived() === world.outbox.parts(clip).length);
      assert.ok(arrived() > 0, `after fragment ${i}`);
    }
    await sealing;
    await settle([relay]);
    assert.is(arrived(), world.outbox.parts(clip).length, "its end too, though it is over");
    assert.is(held.length, 1, "one old part under way");
    isHeld = false;
    held[0]?.();
    await settle([relay]);
    assert.equal(relay.names(), namesOf(world.outbox));
    assert.equal(doubles(relay), []);
  });

  test("days without a network: few tries, and at once when it comes", async () => {
    await using world = await makeWorld({ clips: 1 });
    const relay = new FakeRelay();
    relay.mischief.down = true;
    await using sending = startUplink(world.camera, world.outbox, [relay]);
    await settle([relay]);
    await sending.pass(24 * hourMs, 10_000);
    const aDay = relay.requests;
    // Each lane and the comparison try for themselves, every 150 s with this random number.
    assert.ok(aDay > 24 * 10 && aDay < 24 * 24 * 3 + 40, `${aDay} tries in a day`);
    relay.mischief.down = false;
    sending.network.routes = "eth0\nwlan0";
    const before = sending.clock.monotonicUs();
    await sending.pass(2_000);
    await settle([relay]);
    assert.equal(relay.names(), namesOf(world.outbox));
    assert.ok(sending.clock.monotonicUs() - before <= 2_000_000);
    assert.equal(doubles(relay), []);
    console.log(`measured: ${aDay} requests in a day without a network`);
  });

  test("answers that are cut off: sent again, kept once", async () => {
    await using world = await makeWorld({ clips: 1 });
    const relay = new FakeRelay();
    relay.mischief.cutAnswers = 3;
    await using sending = startUplink(world.camera, world.outbox, [relay]);
    for (let i = 0; i < 20; i++) await sending.pass(30_000);
    assert.equal(relay.names(), namesOf(world.outbox));
    assert.ok(doubles(relay).length <= 3);
  });

  test("a start after another sends what is missing, and nothing else", async () => {
    await using world = await makeWorld({ clips: 3 });
    const relay = new FakeRelay();
    {
      await using _ = startUplink(world.camera, world.outbox, [relay]);
      await settle([relay]);
    }
    const [gone] = relay.names("part/");
    relay.objects.delete(gone ?? "");
    relay.puts.length = 0;
    await world.sealer.note({ kind: "problem", code: "x", text: "y" });
    await using _ = startUplink(world.camera, world.outbox, [relay]);
    await settle([relay]);
    assert.equal(relay.names(), namesOf(world.outbox));
    const expected = [relay.puts.find((name) => name.startsWith("entry/")), "beacon", gone];
    assert.equal(relay.puts, expected);
  });

  test("a relay that is stuck or dead slows no other", async () => {
    await using world = await makeWorld();
    const [stuck, dead, good] = [new FakeRelay(), new FakeRelay(), new FakeRelay()];
    stuck.mischief.stuck = true;
    dead.mischief.down = true;
    await using sending = startUplink(world.camera, world.outbox, [stuck, dead, good]);
    await settle([good]);
    assert.equal(good.names(), namesOf(world.outbox));
    assert.equal(
      sending.uplink.status().map(({ failure }) => failure?.kind),
      [undefined, "gone", undefined],
    );
  });

  test("one that keeps nothing gets the same again, less and less often", async () => {
    await using world = await makeWorld({ clips: 1 });
    const relay = new FakeRelay();
    relay.mischief.keepsNothing = true;
    await using sending = startUplink(world.camera, world.outbox, [relay]);
    await settle([relay]);
    await sending.pass(30 * 24 * hourMs, hourMs / 2);
    const times = relay.puts.filter((name) =>
      name.endsWith(relay.puts.find((n) => n.startsWith("part/")) ?? "-"),
    ).length;
    assert.ok(times >= 3 && times <= 10, `${times} times in 30 days`);
    assert.ok(sending.states.some((text) => text.includes("lost")));
    assert.is(world.clips().length, 1, "the board keeps its own");
    console.log(`measured: the same part ${times} times in 30 days`);
  });

  test("one that hides what it has, or lists what it has not, costs little and nothing here", async () => {
    await using world = await makeWorld({ clips: 2 });
    const relay = new FakeRelay();
    relay.mischief.hides = () => true;
    const other = toHex(new Uint8Array(32).fill(9));
    relay.mischief.invents = Array.from(
      { length: 3000 },
      (_, i) => `entry/0000000001/${String(i + 5000).padStart(16, "0")}/${other}`,
    );
    await using sending = startUplink(world.camera, world.outbox, [relay]);
    await settle([relay]);
    assert.ok(relay.requests < 200, `${relay.requests} requests`);
    await sending.pass(48 * hourMs, hourMs);
    const put = relay.puts.length;
    assert.ok(put <= 5 * namesOf(world.outbox).length, `${put} puts in two days`);
    assert.equal(relay.names(), namesOf(world.outbox));
    assert.equal(sending.ahead, [], "names without entries prove nothing");
  });

  test("a listing without an end is not read to its end", async () => {
    await using world = await makeWorld({ clips: 1 });
    const relay = new FakeRelay();
    let page = 0;
    const list = relay.list.bind(relay);
    relay.list = async (options = {}) => {
      if (options.under !== "entry/") return await list(options);
      relay.requests += 1;
      await new Promise((resolve) => setImmediate(resolve));
      return Array.from({ length: 1000 }, (_, i) => {
        const sequence = String(1_000_000 + 1000 * page + i).padStart(16, "0");
        if (i === 999) page += 1;
        const name: Name = parseName(`entry/0000000001/${sequence}/${"ab".repeat(32)}`);
        return { name, bytes: 1 };
      });
    };
    await using sending = startUplink(world.camera, world.outbox, [relay]);
    await settle([relay]);
    assert.ok(page <= 70, `${page} pages`);
    assert.is(sending.uplink.status()[0]?.failure?.kind, "corrupt");
    const { recording: source, next } = slowly(1);
    const sealing = world.sealer.clip(source);
    next();
    await sealing;
    await sending.pass(300_000);
    assert.is(relay.names("part/").length, 3, "what is recorded goes all the same");
  });

  test("an older beacon than the relay's is no error, and an object it will not take is put aside", async () => {
    await using world = await makeWorld({ clips: 1 });
    const relay = new FakeRelay();
    const { sign, identity } = world.camera.keyring;
    const last = world.outbox.entries().at(-1);
    const head = { sequence: last?.sequence ?? 0, hash: last?.hash ?? new Uint8Array(32) };
    const later = sealBeacon(
      {
        ...{ camera: identity.camera, version: 99, incarnation: 1, head },
        ...{ uptimeMs: 1, wallMs: 1, trusted: true },
      },
      { sign, suite: nodeSuite },
    );
    relay.objects.set("beacon", later.bytes);
    const bad = namesOf(world.outbox).find((name) => name.startsWith("part/")) ?? "";
    relay.mischief.refuses = (name) =>
      name === bad ? new Failure("refused", "the relay answers 400", { stage: "hash" }) : undefined;
    await using sending = startUplink(world.camera, world.outbox, [relay]);
    for (let i = 0; i < 10; i++) await sending.pass(60_000);
    assert.equal(relay.objects.get("beacon"), later.bytes);
    assert.equal(
      relay.names(),
      namesOf(world.outbox).filter((name) => name !== bad),
    );
    assert.is(sending.uplink.status()[0]?.failure, undefined);
    relay.mischief.refuses = () => undefined;
    await sending.pass(12 * hourMs, hourMs);
    assert.ok(relay.objects.has(bad), "tried again after the next comparison");
  });

  test("a key that is not let in: tried rarely, nothing is given up", async () => {
    await using world = await makeWorld({ clips: 1 });
    const relay = new FakeRelay();
    relay.mischief.refuses = () =>
      new Failure("refused", "the relay answers 403", { stage: "right" });
    await using sending = startUplink(world.camera, world.outbox, [relay]);
    await settle([relay]);
    const before = relay.requests;
    await sending.pass(hourMs, 5_000);
    assert.ok(relay.requests - before < 200, `${relay.requests - before} requests in an hour`);
    relay.mischief.refuses = () => undefined;
    await sending.pass(hourMs, 60_000);
    assert.equal(relay.names(), namesOf(world.outbox));
  });

  test("clips that go from the outbox on their way stop nothing", async () => {
    await using world = await makeWorld({ clips: 3 });
    const relay = new FakeRelay();
    const [first = ""] = world.clips();
    relay.onRequest = async (what) => {
      if (!what.startsWith("put part/") || !what.includes(first)) return;
      relay.onRequest = () => {};
      await world.outbox.lose([{ clip: first, parts: 1 }]);
    };
    await using _ = startUplink(world.camera, world.outbox, [relay]);
    await settle([relay]);
    await until(() => namesOf(world.outbox).every((name) => relay.objects.has(name)));
    assert.is(world.clips().length, 2);
  });
});
