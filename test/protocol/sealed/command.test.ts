import * as assert from "uvu/assert";
import { generator } from "../../../scripts/vectors-pointer.ts";
import { Writer } from "../../../src/base/pure/bytes.ts";
import { isFailure } from "../../../src/base/pure/failure.ts";
import { type Action, actionBytes, decodeAction } from "../../../src/protocol/sealed/action.ts";
import { boxBytes, boxKind } from "../../../src/protocol/sealed/box.ts";
import {
  admit,
  type Command,
  commandKind,
  type Gate,
  nonceLifeMs,
  openCommand,
  sealCommand,
} from "../../../src/protocol/sealed/command.ts";
import type { Role } from "../../../src/protocol/sealed/membership.ts";
import {
  derive,
  encapsulate,
  encrypt,
  kemPair,
  ready,
} from "../../../src/protocol/sealed/sodium.ts";
import { keyId } from "../../../src/protocol/sealed/stanza.ts";
import { encodeSubscription } from "../../../src/protocol/sealed/subscription.ts";
import { encodeSupply } from "../../../src/protocol/sealed/supply.ts";
import { encodeConfirmation } from "../../../src/protocol/sealed/tombstone.ts";
import {
  digest,
  type Suite,
  signObject,
  writeEnvelope,
} from "../../../src/protocol/wire/signature.ts";
import { fuzz, quickSign, quickSuite } from "../../lib/fuzz.ts";
import { nodeSuite, pattern, type Signer, signer } from "../../lib/sealed.ts";
import { suite } from "../../lib/suite.ts";

await ready();

const owner = signer();
const camera = signer().key;
const receiving = kemPair();
const old = kemPair();
const expected = { camera, incarnation: 1 };
const receivingKeys = [old, receiving];
// One for all boxes made here, to save the fuzz run its price.
const toReceiving = encapsulate(receiving.publicKey);
const nonce = pattern(16);
const viewer = kemPair().publicKey;
const clip = pattern(16, 3);
const key = pattern(32, 9);

const subscribed = {
  ...{ kind: "subscribe" as const, replaces: 0 },
  subscription: {
    ...{ id: pattern(16), key: viewer, p256dh: generator, auth: pattern(16) },
    endpoint: "https://push.example/send/abc",
  },
};
const actions: Action[] = [
  { kind: "live", nonce, viewer },
  { kind: "talk", nonce, viewer },
  { kind: "snapshot", nonce },
  { kind: "setting", replaces: 4, name: "record.post-roll", value: "5 s" },
  { kind: "membership", replaces: 1, list: pattern(500) },
  { kind: "tombstone", replaces: 0, tombstone: pattern(300) },
  { kind: "supply", replaces: 2, supply: pattern(500_000) },
  { kind: "erase", replaces: 3 },
  { kind: "ask", replaces: 0 },
  { kind: "confirm", replaces: 0, confirmation: confirmed(owner) },
  { kind: "checkpoint", replaces: 0, checkpoint: pattern(216) },
  { kind: "window", nonce, secret: pattern(32) },
  { kind: "push-key", replaces: 0 },
  subscribed,
  { kind: "unsubscribe", replaces: 0, id: pattern(16) },
  { kind: "push-test", nonce },
  { kind: "alarm", nonce, order: "arm_home" },
  { kind: "alarm", nonce, order: "arm_away" },
  { kind: "alarm", nonce, order: "disarm" },
];

function confirmed(by: Signer): Uint8Array {
  const done = [{ clip, tombstone: pattern(32) }];
  return encodeConfirmation({ camera, phone: by.key, atMs: 1, done }, by).bytes;
}

function command(action: Action, change: Partial<Command> = {}): Command {
  const head = { incarnation: 1, sequence: 7, hash: pattern(32) };
  return { ...expected, phone: owner.key, number: 5, head, action, ...change };
}

function seal(one: Command, by = owner): Uint8Array {
  return sealCommand(one, receiving.publicKey, by).bytes;
}

function open(bytes: Uint8Array): Command | null {
  return openCommand(bytes, receivingKeys, expected, nodeSuite);
}

function refused(stage: string, act: () => unknown): void {
  assert.throws(act, (error: unknown) => isFailure(error) && error.stage === stage, stage);
}

suite("command", (test) => {
  test("each kind of action arrives as it was sent, whatever its length", () => {
    for (const action of actions) {
      const sent = command(action);
      assert.equal(JSON.stringify(open(seal(sent))), JSON.stringify(sent), action.kind);
    }
    const without = command(actions[7] as Action, { head: undefined });
    assert.is(open(seal(without))?.head, undefined);
  });

  test("an order for the alarm that is not known is not taken for another", () => {
    for (const number of [0, 4, 255]) {
      refused("action", () => decodeAction(17, Uint8Array.of(...nonce, number)));
    }
    for (const rest of [[], [1, 1]]) {
      const bytes = Uint8Array.of(...nonce, ...rest);
      assert.throws(
        () => decodeAction(17, bytes),
        (error: unknown) => isFailure(error, "corrupt"),
      );
    }
  });

  test("its name is in the phone's own box, under its number", () => {
    const writer = pattern(32, 77);
    const erase = command({ kind: "erase", replaces: 1 });
    const { name } = sealCommand(erase, receiving.publicKey, { ...owner, writer });
    assert.ok(name.kind === "box" && name.sequence === 5);
    // The door list's key: the one that signs inside would tell the relay who it is elsewhere.
    assert.equal(name.writer, writer);
  });

  test("lengths say no more than steps of 64 KiB, ids do not repeat", () => {
    const small = actions.filter(({ kind }) => kind !== "supply").map((one) => seal(command(one)));
    assert.is(new Set(small.map((bytes) => bytes.length)).size, 1);
    const id = (bytes: Uint8Array) => Buffer.from(bytes.subarray(4, 20)).toString("hex");
    assert.is(new Set(small.map(id)).size, small.length);
  });

  test("the longest action goes through, a byte more does not", () => {
    const supply = (bytes: number): Action => ({
      ...{ kind: "supply", replaces: 1, supply: pattern(bytes) },
    });
    const longest = seal(command(supply(actionBytes - 4)));
    assert.ok(longest.length <= boxBytes);
    assert.ok(open(longest));
    refused("length", () => seal(command(supply(actionBytes - 3))));
    refused("length", () => open(new Uint8Array(boxBytes + 1)));
  });

  test("null for a key that is not ours, a refusal for what is ours and broken", () => {
    const bytes = seal(command(actions[3] as Action));
    assert.is(openCommand(bytes, [old], expected, nodeSuite), null);
    assert.is(openCommand(bytes, [], expected, nodeSuite), null);
    for (const at of [1200, 1300, 40_000, bytes.length - 1]) {
      const flipped = Uint8Array.from(bytes);
      flipped[at] = (flipped[at] ?? 0) ^ 4;
      refused("box", () => open(flipped));
    }
    const longer = Uint8Array.from(seal(command(actions[6] as Action)));
    longer[4 + 16 + 1120 + 3] = 7;
    refused("length", () => open(longer));
    refused("slots", () => open(longer.fill(0, 4 + 16 + 1120)));
  });

  test("for another camera, another incarnation, by another key", () => {
    const action = actions[3] as Action;
    refused("camera", () => open(seal(command(action, { camera: pattern(32) }))));
    refused("incarnation", () => open(seal(command(action, { incarnation: 2 }))));
    refused("signature", () => open(seal(command(action), signer())));
    refused("key", () => open(seal(command(action, { phone: new Uint8Array(32) }))));
  });

  test("an action that is not known: an update, or skipped when it may be", () => {
    refused("action", () => open(boxOf(plainOf(99), receiving.publicKey, nodeSuite)));
    refused("skipped", () => open(boxOf(plainOf(200), receiving.publicKey, nodeSuite)));
  });

  test("the gate: roles, rising numbers, young nonces, the version replaced", () => {
    const gate: Gate = {
      role: (phone) => (phone[0] === 1 ? "owner" : phone[0] === 2 ? "viewer" : undefined),
      highest: (phone) => (phone[1] === 1 ? 4 : undefined),
      nonceAgeMs: (given) => (given[0] === 9 ? undefined : (given[0] ?? 0) * 10_000),
      version: ({ kind }) => (kind === "tombstone" || kind === "ask" ? 0 : 3),
    };
    const from = (role: number, seen: number) => Uint8Array.of(role, seen, ...pattern(30));
    const with9 = (age: number) => Uint8Array.of(age, ...pattern(15));
    const ask = (action: Action, phone = from(1, 1), number = 5) =>
      admit(command(action, { phone, number }), gate);
    const erase = { kind: "erase", replaces: 3 } as const;
    assert.is(ask(erase), "do");
    assert.is(ask(erase, from(1, 1), 4), "done");
    assert.is(ask(erase, from(1, 0), 0), "do");
    refused("role", () => ask(erase, from(2, 0)));
    refused("role", () => ask(erase, from(3, 0)));
    refused("role", () => ask({ kind: "talk", nonce: with9(1), viewer }, from(2, 0)));
    refused("role", () => ask({ kind: "window", nonce: with9(1), secret: key }, from(2, 0)));
    assert.is(ask({ kind: "window", nonce: with9(1), secret: key }), "do");
    refused("nonce", () => ask({ kind: "window", nonce: with9(3), secret: key }));
    for (const order of ["arm_home", "arm_away", "disarm"] as const) {
      const alarm = (age: number): Action => ({ kind: "alarm", nonce: with9(age), order });
      refused("role", () => ask(alarm(1), from(2, 0)));
      refused("role", () => ask(alarm(1), from(3, 0)));
      refused("nonce", () => ask(alarm(3)));
      refused("nonce", () => ask(alarm(9)));
      assert.is(ask(alarm(1)), "do");
    }
    assert.is(ask({ kind: "live", nonce: with9(1), viewer }, from(2, 0)), "do");
    assert.is(ask({ kind: "ask", replaces: 0 }, from(2, 0)), "do");
    refused("nonce", () => ask({ kind: "push-test", nonce: with9(3) }, from(2, 0)));
    refused("role", () => ask({ kind: "ask", replaces: 0 }, from(3, 0)));
    assert.is(ask({ kind: "snapshot", nonce: with9(2) }), "do");
    assert.is(nonceLifeMs, 30_000);
    refused("nonce", () => ask({ kind: "snapshot", nonce: with9(3) }));
    refused("nonce", () => ask({ kind: "snapshot", nonce: with9(9) }));
    refused("replaces", () => ask({ kind: "erase", replaces: 2 }));
    assert.is(ask({ kind: "tombstone", replaces: 0, tombstone: pattern(99) }), "do");
    // Who hands in what for whom.
    const roles: Record<string, Role> = {};
    const by = signer();
    const allow = (action: Action, role: Role, phone = by.key) => {
      roles.now = role;
      const open = { ...gate, role: () => roles.now, highest: () => undefined, version: () => 0 };
      return admit(command(action, { phone }), open);
    };
    const confirm: Action = { kind: "confirm", replaces: 0, confirmation: confirmed(by) };
    const keys = { oneTime: [viewer], days: [] };
    const about = { camera, incarnation: 1, batch: 1, firstIndex: 0, firstDay: 0 };
    const supply = encodeSupply({ ...about, phone: by.key, ...keys }, by).bytes;
    const hand: Action = { kind: "supply", replaces: 0, supply };
    const list: Action = { kind: "membership", replaces: 0, list: pattern(9) };
    for (const role of ["owner", "viewer"] as const) assert.is(allow(confirm, role), "do");
    for (const role of ["owner", "viewer", "kit"] as const) assert.is(allow(hand, role), "do");
    assert.is(allow(hand, "owner", owner.key), "do");
    refused("role", () => allow(hand, "viewer", owner.key));
    refused("role", () => allow(confirm, "owner", owner.key));
    refused("role", () => allow(confirm, "kit"));
    assert.is(allow(list, "kit"), "do");
    refused("role", () => allow(list, "viewer"));
    const gone: Action = { kind: "tombstone", replaces: 0, tombstone: pattern(99) };
    refused("role", () => allow(gone, "viewer"));
    refused("role", () => allow(gone, "kit"));
    const pushes = actions.filter(({ kind }) => /push|subscribe/.test(kind));
    assert.is(pushes.length, 4);
    for (const action of pushes) {
      for (const role of ["owner", "viewer"] as const) {
        assert.is(allow("nonce" in action ? { ...action, nonce: with9(1) } : action, role), "do");
      }
      refused("role", () => allow(action, "kit"));
    }
    // A repeat of what was taken is no error, even when its nonce is old by now.
    assert.is(ask({ kind: "snapshot", nonce: with9(9) }, from(1, 1), 4), "done");
  });

  test(
    "fuzz",
    () => {
      const quick = { sign: quickSign(key), suite: quickSuite, writer: key };
      const boxes = [actions[3], actions[5]].map((action) =>
        sealCommand(command(action as Action, { phone: key }), receiving.publicKey, quick),
      );
      const plains = [1, 3, 4, 5, 6, 7, 8, 9, 12, 14].map((kind) => plainOf(kind, key, true));
      fuzz({
        name: "command",
        seeds: [...boxes.map(({ bytes }) => bytes), ...plains],
        decode: (bytes) => openCommand(bytes, receivingKeys, expected, quickSuite),
        reseal: (bytes) => {
          const plain = bytes.length > 4096 ? bytes.subarray(0, 4096) : bytes;
          if (plain.length > 64) signObject(commandKind, plain, quick.sign, quickSuite);
          return boxOf(plain, receiving.publicKey, quickSuite);
        },
        reaches: [
          ...["taken", "length", "version", "suite", "kind", "flags", "box", "camera"],
          ...["incarnation", "signature", "action", "skipped", "point", "endpoint"],
        ],
      });
    },
    { deadlineMs: 580_000 },
  );
});

/** A command's plain text with an action of any number, signed by the owner unless said. */
function plainOf(kind: number, key = owner.key, quick = false): Uint8Array {
  const body = new Writer();
  if (kind <= 3 || kind === 12) body.raw(nonce);
  else body.u32(1);
  if (kind === 1) body.raw(viewer);
  if (kind === 12) body.raw(pattern(32));
  if (kind === 14) body.raw(encodeSubscription(subscribed.subscription));
  if (kind === 4) body.bytes16(pattern(4).map(() => 97)).bytes16(new Uint8Array());
  const plain = writeEnvelope(commandKind)
    .raw(camera)
    .u32(1)
    .raw(key)
    .u64(5)
    .u8(kind)
    .bytes32(body.done())
    .raw(new Uint8Array(64))
    .done();
  const [sign, by] = quick ? [quickSign(key), quickSuite] : [owner.sign, nodeSuite];
  signObject(commandKind, plain, sign, by);
  return plain;
}

/** The sealed box round any plain text of one slot, made from the specification alone. */
function boxOf(plain: Uint8Array, publicKey: Uint8Array, by: Suite): Uint8Array {
  const { ciphertext, shared } = toReceiving;
  const head = writeEnvelope(boxKind)
    .raw(keyId(publicKey, ciphertext))
    .raw(ciphertext)
    .u32(1)
    .done();
  const key = derive(shared, "obscura/1/box", digest(by, head), publicKey);
  const slot = Buffer.alloc(65_536);
  slot.writeUInt32BE(plain.length);
  slot.set(plain, 4);
  const at = new Uint8Array(24);
  at[4] = 1;
  return Buffer.concat([head, encrypt(key, at, slot, new Uint8Array())]);
}
