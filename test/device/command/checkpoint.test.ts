import { join } from "node:path";
import * as assert from "uvu/assert";
import { nodeSuite } from "../../../src/base/node/crypto.ts";
import { equal } from "../../../src/base/pure/bytes.ts";
import { createKeyring } from "../../../src/device/keyring.ts";
import { lost } from "../../../src/device/seal/seal.ts";
import { isIn } from "../../../src/device/uplink/uplink.ts";
import { adoptCamera } from "../../../src/phone/adopt.ts";
import { openFolder } from "../../../src/phone/cli/folder.ts";
import { survey } from "../../../src/phone/survey.ts";
import { tend } from "../../../src/phone/tend.ts";
import { type CameraKeys, Vault } from "../../../src/phone/vault.ts";
import type { Action } from "../../../src/protocol/sealed/action.ts";
import { encodeCheckpoint } from "../../../src/protocol/sealed/checkpoint.ts";
import { encodeMembership, follow } from "../../../src/protocol/sealed/membership.ts";
import { decodeEntry } from "../../../src/protocol/wire/entry.ts";
import type { EntryName } from "../../../src/protocol/wire/name.ts";
import { type Obeying, phoneOf, startCamera } from "../../lib/commands.ts";
import { FakeRelay } from "../../lib/mailbox.ts";
import { pattern } from "../../lib/sealed.ts";
import { type Camera, faultsOf, makeCamera, recording } from "../../lib/sealing.ts";
import { suite } from "../../lib/suite.ts";
import { settle } from "../../lib/uplink.ts";
import { quickFolder } from "../../lib/world.ts";
import { MemoryStore } from "../../phone/memory.ts";

const owner = phoneOf();
const guest = phoneOf(0x51);

/** A camera whose log has three starts, each with an epoch of its own. */
async function makeWorld() {
  const home = await quickFolder();
  const camera = await makeCamera(home.path);
  for (let i = 0; i < 2; i++) {
    const running = await startCamera(camera);
    await running.sealer.clip(recording(1));
    await running.stop();
  }
  return { home, camera, [Symbol.asyncDispose]: () => home[Symbol.asyncDispose]() };
}

async function openings({ outbox }: Pick<Obeying, "outbox">): Promise<EntryName[]> {
  const found: EntryName[] = [];
  for (const name of outbox.entries()) {
    if (decodeEntry(await outbox.read(name), nodeSuite).stanzas) found.push(name);
  }
  return found;
}

function vouch(
  { keyring }: Pick<Obeying, "keyring">,
  of: Pick<EntryName, "incarnation" | "sequence" | "hash">,
  { by = owner, list = keyring.adopted?.membership.hash } = {},
): Action {
  const about = { camera: keyring.identity.camera, phone: by.publicKey, atMs: 1 };
  const { incarnation, sequence, hash } = of;
  const fields = { ...about, incarnation, sequence, hash, list: list ?? pattern(32) };
  const { bytes } = encodeCheckpoint(fields, { sign: by.sign, suite: nodeSuite });
  return { kind: "checkpoint", replaces: 0, checkpoint: bytes };
}

const kindsOf = async (camera: Camera) =>
  (await camera.owner.readLog(camera.outbox)).map(({ body }) => body.statement.kind);

suite("command: checkpoint", (test) => {
  test("what an owner vouches for is let go, and the log says anew what has to be known", async () => {
    await using world = await makeWorld();
    const { camera, home } = world;
    const running = await startCamera(camera);
    await running.ask({ kind: "setting", replaces: 0, name: "name", value: "Porch" });
    await running.stop();
    const relay = new FakeRelay();
    const again = await startCamera(camera, { relays: [relay] });
    const before = again.outbox.entries();
    const at = (await openings(again))[2];
    assert.ok(at && at.sequence > 4);
    assert.is(await again.ask(vouch(again, at)), "done");
    assert.equal(again.outbox.entries()[0], at);
    const kinds = await kindsOf(camera);
    const said = kinds.slice(kinds.indexOf("checkpointed"));
    assert.equal(said.slice(0, 5), [
      ...["checkpointed", "membership", "receiving-key", "supply-acknowledged", "setting"],
    ]);
    assert.equal(await faultsOf(home.path), []);
    // What was let go is known all the same: nobody who has it makes the log begin a new life.
    for (const name of before) assert.ok(isIn(again.outbox.entries(), name));
    const head = before[1] as EntryName;
    assert.is(await again.ask({ kind: "ask", replaces: 0 }, { head }), "");
    await settle([relay]);
    assert.is(again.sealer.life.incarnation, 1);
    await again.stop();
    // And it goes on over a start.
    const last = await startCamera(camera);
    await last.sealer.clip(recording(1));
    assert.equal(last.outbox.entries()[0], at);
    assert.is(last.sealer.life.incarnation, 1);
    await last.stop();
    assert.equal(await faultsOf(home.path), []);
  });

  test("nothing is let go on the word of others, of another log, or of another time", async () => {
    await using world = await makeWorld();
    const { camera, home } = world;
    const running = await startCamera(camera);
    const [first, second, third] = await openings(running);
    assert.ok(first && second && third);
    const kept = () => running.outbox.entries()[0];
    const refused = async (action: Action, why: RegExp) => {
      const from = kept();
      assert.match(await running.ask(action), why);
      assert.equal(kept(), from);
    };
    await refused(vouch(running, second, { by: guest }), /no owner signed/);
    await refused(vouch(running, { ...second, hash: pattern(32) }), /not in this log/);
    await refused(vouch(running, { ...second, sequence: second.sequence + 1 }), /not in this log/);
    await refused(vouch(running, { ...second, incarnation: 7 }), /not in this log/);
    await refused(vouch(running, second, { list: pattern(32) }), /another member list/);
    const inside = running.outbox
      .entries()
      .find(({ sequence }) => sequence === second.sequence + 1);
    assert.ok(inside);
    await refused(vouch(running, inside), /opens no epoch/);
    // A viewer may neither send nor sign one, an owner who was removed no more.
    const members = running.keyring.adopted?.membership;
    assert.ok(members);
    const add = (role: "viewer" | "owner", of = members) => {
      const others = of.members.filter(({ phone }) => !equal(phone, guest.publicKey));
      return follow(of, owner.publicKey, [
        ...others,
        { phone: guest.publicKey, role, name: "guest" },
      ]);
    };
    const list = (of: Parameters<typeof encodeMembership>[0]): Action => {
      const { bytes } = encodeMembership(of, { sign: owner.sign, suite: nodeSuite });
      return { kind: "membership", replaces: of.version - 1, list: bytes };
    };
    assert.is(await running.ask(list(add("viewer"))), "done");
    await running.stop();
    const later = await startCamera(camera);
    assert.match(await later.ask(vouch(later, second), { seed: 0x51 }), /may not|role/);
    assert.match(await later.ask(vouch(later, second, { by: guest })), /no owner signed/);
    assert.equal(later.outbox.entries()[0], first);
    const own = vouch(later, third);
    const older = vouch(later, second);
    assert.is(await later.ask(own), "done");
    assert.equal(later.outbox.entries()[0], third);
    // An older one, and the same again.
    assert.match(await later.ask(older), /not in this log/);
    assert.is(await later.ask(own), "done");
    assert.equal(later.outbox.entries()[0], third);
    const second_ = later.keyring.adopted?.membership;
    assert.ok(second_);
    await later.stop();
    assert.equal(await faultsOf(home.path), []);
  });

  test(
    "a phone's own checkpoint is taken by the camera, and the phone begins there, with its keys or without",
    async () => {
      await using home = await quickFolder();
      const fresh = await createKeyring(home.path, "Porch");
      const store = new MemoryStore();
      const vault = Vault.create(store, "Ada");
      const { adoption } = await adoptCamera(vault, {
        ...{ identity: fresh.identity.bytes, name: undefined, nowMs: 1, suite: nodeSuite },
        supply: { oneTime: 8, days: 3 },
      });
      const keyring = await fresh.adopt(adoption);
      const state = home.path;
      const owner = {} as Camera["owner"];
      const camera: Camera = { state, outbox: join(state, "outbox"), keyring, owner };
      // Two clips in epochs of their own that the camera lets go, and one that stays.
      for (let i = 0; i < 3; i++) {
        const running = await startCamera(camera);
        const { clip } = await running.sealer.clip(recording(1));
        if (i < 2) {
          const gone = [{ clip, parts: running.outbox.parts(clip).length }];
          await running.sealer.note(lost(gone, "full"));
          await running.outbox.lose(gone);
        }
        await running.stop();
      }
      const running = await startCamera(camera);
      const folder = await openFolder(camera.outbox);
      const link = {
        ...folder,
        put: async (object: Parameters<typeof folder.put>[0]) =>
          void (await running.commands.take(object.bytes)),
      };
      const worth = { entries: 2, ageMs: 0, everyMs: 0 };
      const lookWith = async (of: Vault) => {
        const keys = of.content.cameras[0] as CameraKeys;
        const about = { link, vault: of, camera: keys, suite: nodeSuite, nowMs: Date.now() };
        const found = await survey({ ...about, depth: "all" });
        await tend({ ...about, survey: found, worth, size: { oneTime: 4, days: 3 } });
        return found;
      };
      const before = await Vault.open(store);
      const first = await lookWith(vault);
      const faults = first.faults.filter(
        ({ severity, kind }) => severity !== "note" && kind !== "lost",
      );
      assert.equal(faults, []);
      const floor = running.outbox.entries()[0];
      assert.ok(floor && floor.sequence > 8, "the camera has let go what was before");
      // The one knows its own word, the other finds it in the log.
      for (const phone of [vault, before]) {
        await lookWith(phone);
        const { journal, clips, well, faults } = await lookWith(phone);
        assert.ok(well, JSON.stringify(faults));
        assert.is(journal.records[0]?.entry.sequence, floor.sequence);
        assert.equal(
          clips.map((one) => one.state),
          ["whole"],
        );
      }
      await running.stop();
      assert.equal(await faultsOf(home.path), []);
    },
    { deadlineMs: 120_000 },
  );

  test("a log that begins late without a checkpoint is a hole", async () => {
    await using world = await makeWorld();
    const running = await startCamera(world.camera);
    await running.outbox.letGo(3);
    await running.stop();
    const [fault, ...more] = await faultsOf(world.home.path);
    assert.is(fault?.number, 5);
    assert.equal(fault?.faults, ["it begins at 3, and no checkpoint stands for what was before"]);
    assert.equal(more, []);
  });
});
