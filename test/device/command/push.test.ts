import * as assert from "uvu/assert";
import { nodeSuite } from "../../../src/base/node/crypto.ts";
import { systemClock } from "../../../src/base/node/time.ts";
import { equal } from "../../../src/base/pure/bytes.ts";
import type { CommandOptions } from "../../../src/device/command/command.ts";
import { openPush, type Push } from "../../../src/device/push/push.ts";
import type { Action } from "../../../src/protocol/sealed/action.ts";
import {
  encodeMembership,
  follow,
  type Member,
  type Version,
} from "../../../src/protocol/sealed/membership.ts";
import { type Obeying, phoneOf, startCamera } from "../../lib/commands.ts";
import { FakeRelay } from "../../lib/mailbox.ts";
import { browserAt } from "../../lib/pushing.ts";
import { makeCamera } from "../../lib/sealing.ts";
import { suite } from "../../lib/suite.ts";
import { quickFolder } from "../../lib/world.ts";

const owner = phoneOf();
const guest = phoneOf(0x51);
const here = "https://push.example/send/";

function listAfter(parent: Version, members: readonly Member[]): Action {
  const next = follow(parent, owner.publicKey, members);
  const { bytes } = encodeMembership(next, { sign: owner.sign, suite: nodeSuite });
  return { kind: "membership", replaces: parent.version, list: bytes };
}

/** A camera that obeys, with who is told of visits as the service has it. */
async function makeWorld() {
  const home = await quickFolder();
  const camera = await makeCamera(home.path);
  const relay = new FakeRelay();
  let running: Obeying | undefined;
  let push: Push | undefined;
  const reach = (): Push => {
    if (!push) throw new Error("not open yet");
    return push;
  };
  const hands: CommandOptions["push"] = {
    key: () => reach().key(),
    subscribe: (...about) => reach().subscribe(...about),
    unsubscribe: (...about) => reach().unsubscribe(...about),
    test: (phone) => reach().test(phone),
    follow: (membership) => reach().follow(membership),
    statements: () => reach().statements(),
  };
  const start = async () => {
    running = await startCamera(camera, { push: hands });
    const { sealer, keyring } = running;
    push = await openPush({
      config: { name: "Porch", push: { perHour: 20, contact: "mailto:camera@example.org" } },
      ...{ state: home.path, isKept: true, camera: keyring.identity.camera, sign: keyring.sign },
      ...{ membership: keyring.adopted?.membership, incarnation: () => sealer.life.incarnation },
      ...{ relays: [{ urgent: relay }], uplink: { holds: () => true }, note: sealer.note },
      health: { fault: () => {} },
      onProblem: (error) => assert.unreachable(String(error)),
      clock: systemClock,
      clockTrusted: () => true,
      logs: () => ({ debug() {}, info() {}, warn() {}, error() {} }) as never,
    });
    return running;
  };
  const stop = async () => {
    await push?.close();
    await running?.stop();
  };
  const said = async () => {
    const lines = await camera.owner.readLog(camera.outbox);
    return lines.flatMap(({ body: { statement } }) =>
      statement.kind === "push" ? [statement] : [],
    );
  };
  return {
    ...{ camera, relay, start, stop, said },
    async [Symbol.asyncDispose]() {
      await stop();
      await home[Symbol.asyncDispose]();
    },
  };
}

suite("device/command push", (test) => {
  test("a phone asks for the camera's key, is told, is told no more; each stands in the log", async () => {
    await using world = await makeWorld();
    const { ask, keyring } = await world.start();
    const { subscription } = browserAt(`${here}one`, keyring.identity.camera);
    assert.is(await ask({ kind: "push-key", replaces: 0 }), "done");
    assert.is(await ask({ kind: "subscribe", replaces: 0, subscription }), "done");
    assert.equal(
      (await world.said()).map(({ what, service }) => [what, service]),
      [
        ["key", undefined],
        ["added", "push.example"],
      ],
    );
    assert.is((await world.said())[0]?.key?.length, 65);
    // Nothing of the address is in what members read.
    const log = JSON.stringify(await world.camera.owner.readLog(world.camera.outbox));
    assert.not.match(log, /send\/one/);
    // A test needs a nonce that is young.
    const nonce = new Uint8Array(16);
    assert.match(await ask({ kind: "push-test", nonce }), /old nonce/);
    assert.is(await ask({ kind: "unsubscribe", replaces: 0, id: subscription.id }), "done");
    assert.is(await ask({ kind: "unsubscribe", replaces: 0, id: subscription.id }), "done");
    assert.equal(
      (await world.said()).map(({ what }) => what),
      ["key", "added", "removed"],
    );
  });

  test("who is removed is told no more, at once and also when the camera was off", async () => {
    await using world = await makeWorld();
    const first = await world.start();
    const { camera } = first.keyring.identity;
    const list = first.keyring.adopted?.membership;
    assert.ok(list);
    const member: Member = { phone: guest.publicKey, role: "viewer", name: "Guest" };
    const withGuest = listAfter(list, [...list.members, member]);
    assert.is(await first.ask(withGuest), "done");
    const { subscription } = browserAt(`${here}guest`, camera, 0x51);
    const own = browserAt(`${here}own`, camera);
    const asGuest = { seed: 0x51 };
    assert.is(await first.ask({ kind: "subscribe", replaces: 0, subscription }, asGuest), "done");
    const mine = { kind: "subscribe", replaces: 0, subscription: own.subscription } as const;
    assert.is(await first.ask(mine), "done");
    // Of a stranger nothing is taken and nothing said.
    const before = (await world.said()).length;
    assert.is(await first.ask({ ...mine }, { seed: 0x61 }), "");
    assert.is((await world.said()).length, before);
    await world.stop();
    const again = await world.start();
    const now = again.keyring.adopted?.membership;
    assert.ok(now);
    assert.is(await again.ask(listAfter(now, list.members)), "done");
    const told = (await world.said()).at(-1);
    assert.is(told?.what, "removed");
    assert.ok(told?.id && equal(told.id, subscription.id));
    // The owner's own goes on.
    await world.stop();
    const last = await world.start();
    assert.is(
      await last.ask({ kind: "unsubscribe", replaces: 0, id: own.subscription.id }),
      "done",
    );
    assert.equal(
      (await world.said()).map(({ what }) => what),
      ["key", "added", "added", "removed", "removed"],
    );
  });
});
