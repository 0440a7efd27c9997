import * as assert from "uvu/assert";
import { nodeSuite } from "../../../src/base/node/crypto.ts";
import { equal } from "../../../src/base/pure/bytes.ts";
import { isIn } from "../../../src/device/uplink/uplink.ts";
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
