import * as assert from "uvu/assert";
import { toHex } from "../../src/base/pure/bytes.ts";
import { readJournal } from "../../src/phone/journal.ts";
import { addOutgoing, sendOutgoing } from "../../src/phone/outgoing.ts";
import { Vault } from "../../src/phone/vault.ts";
import { openCommand } from "../../src/protocol/sealed/command.ts";
import { kemPair, ready } from "../../src/protocol/sealed/sodium.ts";
import { printName } from "../../src/protocol/wire/name.ts";
import { nodeSuite } from "../lib/sealed.ts";
import { suite } from "../lib/suite.ts";
import { memoryWorld } from "./memory.ts";

await ready();

/** A world in which the phone may take its own objects away, as over a relay. */
async function world() {
  const made = await memoryWorld();
  const { link, objects, keys, vault, camera } = made;
  const own: typeof link = {
    ...link,
    remove: async (name) => void objects.delete(printName(name)),
  };
  let nowMs = 1_000_000;
  const send = async () => {
    const journal = await readJournal({ link: own, camera: keys, suite: nodeSuite });
    const newest = journal.records.at(-1)?.entry;
    if (newest) {
      const { incarnation, sequence, hash } = newest;
      keys.head = { incarnation, sequence, hash };
    }
    return sendOutgoing({ link: own, vault, camera: keys, journal, suite: nodeSuite, nowMs });
  };
  const boxes = () => [...objects.values()].filter(({ name }) => name.kind === "box");
  const opened = () =>
    boxes().map(({ bytes }) => {
      const expected = { camera: camera.signer.publicKey, incarnation: camera.incarnation };
      return openCommand(bytes, [camera.receiving], expected, nodeSuite);
    });
  const answer = (number: number, refused?: string) =>
    camera.say({
      ...{ kind: "command-done", phone: vault.content.phoneKey, number, action: "setting" },
      ...(refused === undefined ? {} : { refused }),
    });
  return {
    ...made,
    ...{ own, send, boxes, opened, answer },
    pass: (ms: number) => {
      nowMs += ms;
    },
    set: (value: string) =>
      addOutgoing(keys, { kind: "setting", name: "detect.threshold", value, replaces: 0 }, nowMs),
  };
}

suite("outgoing", (test) => {
  test("a command is durable before it leaves, lies there once, and goes when the log shows it", async () => {
    const { keys, store, vault, set, send, boxes, opened, answer } = await world();
    const item = set("0.6");
    assert.equal(await send(), []);
    assert.is(boxes().length, 1);
    const [command] = opened();
    assert.ok(command?.action.kind === "setting" && command.action.value === "0.6");
    assert.is(command.number, item.numbers[0]);
    const again = await Vault.open(store);
    assert.equal(again.content.cameras[0]?.outgoing[0]?.numbers, item.numbers);
    // Nothing new to say: nothing is sent.
    await send();
    assert.is(boxes().length, 1);
    await answer(command.number);
    const [settled] = await send();
    assert.is(settled?.item, item);
    assert.is(settled?.refused, undefined);
    assert.is(keys.outgoing.length, 0);
    assert.is(boxes().length, 0);
    assert.is((await Vault.open(store)).content.cameras[0]?.outgoing.length, 0);
    assert.ok(vault);
  });

  test("a link that fails loses nothing: it is sent when there is one again", async () => {
    const { own, keys, set, send, boxes } = await world();
    set("0.6");
    const { put } = own;
    own.put = async () => {
      throw new Error("no network");
    };
    await send().then(
      () => assert.unreachable(),
      () => {},
    );
    assert.is(boxes().length, 0);
    own.put = put;
    await send();
    assert.is(boxes().length, 1);
    assert.is(keys.outgoing.length, 1);
  });

  test("what a relay took away, or the camera passed over, is sent again under a higher number", async () => {
    const { objects, set, send, boxes, opened, answer, pass } = await world();
    const item = set("0.6");
    await send();
    for (const { name } of boxes()) objects.delete(printName(name));
    await send();
    assert.is(boxes().length, 1);
    const [first = 0, second = 0] = item.numbers;
    assert.ok(second > first);
    // A later command was taken, so this one never will be under its number.
    const other = set("0.7");
    await send();
    await answer(other.numbers.at(-1) ?? 0);
    await send();
    assert.is(item.numbers.length, 3);
    assert.is(boxes().length, 1);
    assert.is(opened()[0]?.number, item.numbers.at(-1));
    // The camera wrote on for long and did not mention it.
    pass(11 * 60_000);
    await answer(1);
    await send();
    assert.is(item.numbers.length, 4);
    assert.is(boxes().length, 1);
  });

  test("sent twice and carried out once is done; refused alone is refused", async () => {
    const { set, send, objects, boxes, answer } = await world();
    const item = set("0.6");
    await send();
    for (const { name } of boxes()) objects.delete(printName(name));
    await send();
    await answer(item.numbers[0] ?? 0);
    await answer(item.numbers[1] ?? 0, "replaces");
    assert.is((await send())[0]?.refused, undefined);
    const other = set("9");
    await send();
    await answer(other.numbers[0] ?? 0, "not a threshold");
    const [settled] = await send();
    assert.is(settled?.refused, "not a threshold");
    assert.is(boxes().length, 0);
  });

  test("it follows the camera into a new incarnation and to a new receiving key", async () => {
    const { camera, set, send, opened, boxes, pass } = await world();
    set("0.6");
    await send();
    camera.incarnation = 1;
    await camera.start();
    await send();
    assert.is(boxes().length, 1);
    assert.is(opened()[0]?.incarnation, 1);
    const before = boxes().map(({ name }) => printName(name))[0];
    Object.assign(camera, { receiving: kemPair() });
    await camera.say({ kind: "receiving-key", publicKey: camera.receiving.publicKey });
    await send();
    assert.is(
      boxes().map(({ name }) => printName(name))[0],
      before,
      "the old key is good for days",
    );
    pass(11 * 60_000);
    await send();
    assert.is(boxes().length, 1);
    assert.ok(opened()[0]);
    assert.is(toHex(opened()[0]?.phone ?? new Uint8Array()).length, 64);
  });
});
