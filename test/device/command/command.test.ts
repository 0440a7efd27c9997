import { cp, rm } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { nodeSuite } from "../../../src/base/node/crypto.ts";
import { equal, toHex } from "../../../src/base/pure/bytes.ts";
import { ManualClock } from "../../../src/base/pure/clock.ts";
import type { Action } from "../../../src/protocol/sealed/action.ts";
import {
  encodeMembership,
  follow,
  type Member,
  type Version,
} from "../../../src/protocol/sealed/membership.ts";
import { encodeConfirmation, encodeTombstone } from "../../../src/protocol/sealed/tombstone.ts";
import { commandWorld, nonceOf, type Obeying, phoneOf, startCamera } from "../../lib/commands.ts";
import { FakeRelay } from "../../lib/mailbox.ts";
import { all } from "../../lib/owner.ts";
import { pattern } from "../../lib/sealed.ts";
import { type Camera, faultsOf, makeCamera, recording, startSealer } from "../../lib/sealing.ts";
import { suite } from "../../lib/suite.ts";
import { settle } from "../../lib/uplink.ts";
import { quickFolder } from "../../lib/world.ts";

const owner = phoneOf();
const second = phoneOf(0x51);
const by = { sign: owner.sign, suite: nodeSuite };

function tombstone(camera: Camera, clip: Uint8Array, signer = owner): Action {
  const about = { camera: camera.keyring.identity.camera, clip, phone: signer.publicKey };
  const { bytes } = encodeTombstone(
    { ...about, atMs: 1, keyIds: [] },
    { sign: signer.sign, suite: nodeSuite },
  );
  return { kind: "tombstone", replaces: 0, tombstone: bytes };
}

function membership(parent: Version, members: readonly Member[], signer = owner): Action {
  const list = follow(parent, signer.publicKey, members);
  const { bytes } = encodeMembership(list, { sign: signer.sign, suite: nodeSuite });
  return { kind: "membership", replaces: parent.version, list: bytes };
}

const idOf = ({ outbox }: Pick<Obeying, "outbox">, i: number) =>
  Buffer.from(outbox.clips()[i]?.clip ?? "", "hex");

suite("command", (test) => {
  test("a tombstone takes the clip away here and at the relay, and the log quotes it", async () => {
    const relay = new FakeRelay();
    await using world = await commandWorld({ relays: [relay] });
    const { clip } = await world.sealer.clip(recording(3));
    await world.sealer.clip(recording(3));
    while (relay.names("part/").length < 8) await settle([relay]);
    const asked = tombstone(world.camera, new Uint8Array(idOf(world, 0)));
    assert.is(await world.ask(asked), "done");
    assert.is(world.outbox.clips().length, 1);
    assert.not(world.outbox.clips().some((one) => one.clip === clip));
    assert.equal(
      relay.names("part/").filter((name) => name.includes(clip)),
      [],
    );
    const lines = await world.camera.owner.readLog(world.camera.outbox);
    const [done] = all(lines, "tombstone-done");
    assert.ok(done && asked.kind === "tombstone" && equal(done.tombstone, asked.tombstone));
    assert.is(all(lines, "command-done").at(-1)?.refused, undefined);
    // Of a clip that is not there it is said all the same.
    assert.is(await world.ask(tombstone(world.camera, pattern(16))), "done");
    const viewer = tombstone(world.camera, new Uint8Array(idOf(world, 0)), second);
    assert.match(await world.ask(viewer), /no owner/);
    assert.is(world.outbox.clips().length, 1);
  });

  test("a clip that is being recorded ends, goes, and another goes on", async () => {
    let cuts = 0;
    await using world = await commandWorld({
      onCut: () => {
        cuts += 1;
      },
    });
    let end = () => {};
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    const source = recording(3);
    async function* pieces() {
      for await (const piece of source.pieces) {
        if (piece.kind === "closing") await ended;
        yield piece;
      }
    }
    const sealing = world.sealer.clip({ ...source, pieces: pieces() });
    while (world.outbox.clips().length === 0) await new Promise((go) => setTimeout(go, 5));
    const deleting = world.ask(tombstone(world.camera, new Uint8Array(idOf(world, 0))));
    while (cuts === 0) await new Promise((go) => setTimeout(go, 5));
    const next = world.sealer.clip(recording(1));
    await new Promise((go) => setTimeout(go, 30));
    assert.is(world.outbox.clips().length, 1, "the next waits");
    end();
    await sealing;
    assert.is(await deleting, "done");
    const { clip } = await next;
    assert.equal(
      world.outbox.clips().map((one) => one.clip),
      [clip],
    );
  });

  test("numbers: a repeat does nothing, a lower one neither, also after a start", async () => {
    await using home = await quickFolder();
    const camera = await makeCamera(home.path);
    const first = await startCamera(camera);
    await first.sealer.clip(recording(1));
    await first.sealer.clip(recording(1));
    const early = first.seal(tombstone(camera, new Uint8Array(idOf(first, 1))));
    const asked = first.seal(tombstone(camera, new Uint8Array(idOf(first, 0))));
    assert.is(await first.commands.take(asked.bytes), true);
    assert.is(first.outbox.clips().length, 1);
    await first.commands.take(asked.bytes);
    await first.commands.take(early.bytes);
    assert.is(first.outbox.clips().length, 1);
    assert.is(first.done.length, 1);
    await first.stop();
    const again = await startCamera(camera);
    await again.commands.take(early.bytes);
    await again.commands.take(asked.bytes);
    assert.is(again.outbox.clips().length, 1);
    assert.is(again.done.length, 0);
    await again.stop();
    assert.is(all(await camera.owner.readLog(camera.outbox), "command-done").length, 1);
    assert.equal(await faultsOf(home.path), []);
  });

  test("for another camera, another life, of a stranger, damaged: nothing happens, nothing is written", async () => {
    await using world = await commandWorld();
    await using other = await commandWorld();
    await world.sealer.clip(recording(1));
    const action = tombstone(world.camera, new Uint8Array(idOf(world, 0)));
    const before = world.outbox.entries().length;
    const good = world.seal(action).bytes;
    const cut = new Uint8Array(good);
    cut[5000] = (cut[5000] ?? 0) ^ 1;
    assert.is(await world.commands.take(other.seal(action).bytes), false);
    assert.is(await world.commands.take(cut), false);
    assert.is(await world.commands.take(new Uint8Array()), false);
    assert.is(await world.ask(action, { incarnation: 2 }), "");
    assert.is(await world.ask(action, { camera: pattern(32) }), "");
    assert.is(await world.ask(action, { seed: 0x51 }), "");
    assert.is(await world.ask(action, { phone: owner.publicKey, seed: 0x51 }), "");
    assert.is(world.outbox.clips().length, 1);
    assert.is(world.outbox.entries().length, before);
    assert.is(await world.commands.take(good), true);
    assert.is(world.outbox.clips().length, 0);
  });

  test("members: a new one reads from its keys on, a viewer may little, a removed one opens nothing more", async () => {
    await using home = await quickFolder();
    const camera = await makeCamera(home.path);
    await using world = await startCameraOf(camera);
    const first = camera.keyring.adopted?.membership;
    assert.ok(first);
    const added = membership(first, [
      ...first.members,
      { phone: second.publicKey, role: "viewer", name: "second" },
    ]);
    assert.is(await world.ask(added), "done");
    assert.is(await world.ask(added), "a command that replaces version 1");
    const { clip: without } = await world.sealer.clip(recording(1));
    const supply = camera.owner.supply({ seed: 0x51, batch: 1, firstIndex: 0, oneTime: 2 });
    assert.is(await world.ask({ kind: "supply", replaces: 0, supply }), "done");
    const { clip: shared } = await world.sealer.clip(recording(1));
    assert.match(
      await world.ask(tombstone(camera, new Uint8Array(16), second), { seed: 0x51 }),
      /may not/,
    );
    const list = (await world.adopted())?.membership;
    assert.is(list?.version, 2);
    const rival = membership(first, [{ phone: owner.publicKey, role: "owner", name: "rival" }]);
    assert.match(await world.ask(rival), /replaces version 1/, "the first stays");
    assert.ok(list);
    assert.is(await world.ask(membership(list, first.members)), "done");
    const { clip: after } = await world.sealer.clip(recording(1));
    const lines = await camera.owner.readLog(camera.outbox);
    const ids = new Map(
      all(lines, "clip-started").map(({ clip, keyIds }) => [toHex(clip), keyIds.length]),
    );
    assert.equal(
      [without, shared, after].map((clip) => ids.get(clip)),
      [1, 2, 1],
    );
    assert.is(all(lines, "membership").length, 3);
    assert.ok(all(lines, "problem").some(({ code }) => code === "no-keys"));
    const removed = await world.ask({ kind: "ask", replaces: 0 }, { seed: 0x51 });
    assert.is(removed, "");
    assert.equal(all(await camera.owner.readLog(camera.outbox), "nonce"), []);
    await world.stop();
    // It all outlives a start.
    const again = await startSealer(home.path);
    const { clip: later } = await again.sealer.clip(recording(1));
    await again.stop();
    const started = all(await camera.owner.readLog(camera.outbox), "clip-started");
    assert.is(started.find(({ clip }) => toHex(clip) === later)?.keyIds.length, 1);
    assert.equal(await faultsOf(home.path), []);
  });

  test("a setting is held against the schema, counted, and durable", async () => {
    await using world = await commandWorld();
    const set = (name: string, value: string, replaces = 0) =>
      world.ask({ kind: "setting", name, value, replaces });
    assert.match(await set("outbox.limitMiB", "64"), /not a setting that a phone/);
    assert.match(await set("detect.threshold", "much"), /expected a number/);
    assert.match(await set("detect.threshold", "[1, *a"), /not YAML/);
    assert.match(await set("__proto__", "{}"), /not a setting/);
    assert.match(await set("relay.urls", "none"), /no phone could ever/);
    assert.match(await set("relay.urls", "[ftp://relay]"), /expected adopted/);
    assert.equal(world.endings, []);
    assert.match(await set("detect.threshold", "0.6", 4), /replaces version 4/);
    assert.is(await set("detect.threshold", "0.6"), "done");
    assert.equal(world.endings, []);
    assert.is(await set("camera.flip", "true"), "done");
    assert.equal(world.endings, ["restart"]);
    const lines = await world.camera.owner.readLog(world.camera.outbox);
    assert.equal(all(lines, "setting"), [
      { kind: "setting", name: "detect.threshold", value: "0.6", version: 1 },
      { kind: "setting", name: "camera.flip", value: "true", version: 1 },
    ]);
  });

  test("a snapshot needs a nonce of this phone that is young, once; it is sealed and said", async () => {
    const clock = new ManualClock();
    await using world = await commandWorld({ clock });
    const nonce = () => nonceOf(world);
    const snap = (given: Uint8Array) => world.ask({ kind: "snapshot", nonce: given });
    assert.match(await snap(pattern(16)), /old nonce/);
    const late = await nonce();
    clock.advance(30_000);
    assert.match(await snap(late), /old nonce/);
    const given = await nonce();
    clock.advance(29_000);
    assert.is(await snap(given), "done");
    assert.match(await snap(given), /old nonce/, "once");
    const lines = await world.camera.owner.readLog(world.camera.outbox);
    const watched = all(lines, "watched");
    assert.equal(
      watched.map(({ how, state }) => [how, state]),
      [
        ["snapshot", "started"],
        ["snapshot", "ended"],
      ],
    );
    const clip = toHex(watched[1]?.clip ?? new Uint8Array());
    const opened = await world.camera.owner.openClip(world.camera.outbox, clip);
    assert.ok(opened.whole);
    const [picture] = opened.events.filter(({ kind }) => kind === "thumbnail");
    assert.ok(picture?.kind === "thumbnail" && equal(picture.bytes, pattern(5000, 77)));
  });

  test("asks, and refusals, do not fill the log", async () => {
    const clock = new ManualClock();
    await using world = await commandWorld({ clock });
    for (let i = 0; i < 60; i++) await world.ask({ kind: "ask", replaces: 0 });
    for (let i = 0; i < 60; i++) await world.ask({ kind: "erase", replaces: 9 });
    const lines = await world.camera.owner.readLog(world.camera.outbox);
    assert.is(all(lines, "nonce").length, 20);
    assert.is(all(lines, "command-done").length, 30);
    clock.advance(61_000);
    await world.ask({ kind: "ask", replaces: 0 });
    assert.is(all(await world.camera.owner.readLog(world.camera.outbox), "nonce").length, 21);
  });

  test("confirmations are quoted when they are good", async () => {
    await using world = await commandWorld();
    const { camera: id } = world.camera.keyring.identity;
    const about = { camera: id, phone: owner.publicKey, atMs: 1 };
    const done = [{ clip: pattern(16), tombstone: pattern(32) }];
    const confirmation = encodeConfirmation({ ...about, done }, by).bytes;
    assert.is(await world.ask({ kind: "confirm", replaces: 0, confirmation }), "done");
    const lines = await world.camera.owner.readLog(world.camera.outbox);
    assert.is(all(lines, "tombstone-confirmed").length, 1);
  });

  test("erase is for owners, the last thing the log says, and nothing is done after it", async () => {
    await using world = await commandWorld();
    await world.sealer.clip(recording(1));
    const late = tombstone(world.camera, new Uint8Array(idOf(world, 0)));
    assert.is(await world.ask({ kind: "erase", replaces: 1 }), "done");
    assert.equal(world.endings, ["marked", "erase"]);
    assert.is(await world.ask(late), "");
    assert.is(world.outbox.clips().length, 1);
    const lines = await world.camera.owner.readLog(world.camera.outbox);
    assert.is(lines.at(-1)?.body.statement.kind, "command-done");
  });

  test("a card that was put back: an owner's head opens a new life, then commands are for that one", async () => {
    await using home = await quickFolder();
    await using copy = await quickFolder();
    const camera = await makeCamera(home.path);
    const first = await startCamera(camera);
    await first.stop();
    await cp(home.path, copy.path, { recursive: true });
    const second_ = await startCamera(camera);
    await second_.sealer.clip(recording(1));
    const newest = second_.outbox.entries().at(-1);
    await second_.stop();
    assert.ok(newest);
    await rm(join(home.path), { recursive: true });
    await cp(copy.path, home.path, { recursive: true });
    const third = await startCamera(camera);
    const head = { incarnation: 1, sequence: newest.sequence, hash: newest.hash };
    const viewer = await third.ask({ kind: "ask", replaces: 0 }, { head, seed: 0x51 });
    assert.is(viewer, "");
    assert.is(third.sealer.life.incarnation, 1, "not on a stranger's word");
    assert.is(await third.ask({ kind: "ask", replaces: 0 }, { head }), "");
    assert.is(third.sealer.life.incarnation, 2);
    assert.ok((third.sealer.head?.sequence ?? 0) > newest.sequence);
    await third.ask({ kind: "ask", replaces: 0 }, { head });
    assert.is(third.sealer.life.incarnation, 2, "once");
    const { clip } = await third.sealer.clip(recording(1));
    const opened = await camera.owner.openClip(camera.outbox, clip);
    assert.ok(opened.whole, "with the restart key");
    await third.stop();
  });
});

async function startCameraOf(camera: Camera) {
  const running = await startCamera(camera);
  return {
    ...running,
    adopted: async () => (await running.keyring.adopt(camera.owner.adoption)).adopted,
    [Symbol.asyncDispose]: async () => {},
  };
}
