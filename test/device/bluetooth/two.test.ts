import * as assert from "uvu/assert";
import { nodeSuite } from "../../../src/base/node/crypto.ts";
import { openLog } from "../../../src/base/node/log.ts";
import { isFailure } from "../../../src/base/pure/failure.ts";
import { openPeripheral } from "../../../src/device/bluetooth/bluetooth.ts";
import type { Pairing } from "../../../src/device/pairing/host.ts";
import { pairCamera } from "../../../src/phone/pair.ts";
import { Vault } from "../../../src/phone/vault.ts";
import { parseInvite } from "../../../src/protocol/sealed/invite.ts";
import { ready } from "../../../src/protocol/sealed/sodium.ts";
import { fakeBluez, phoneAt } from "../../lib/bluez.ts";
import { board, firstMessage, pairBy, wanted } from "../../lib/pairing.ts";
import { suite } from "../../lib/suite.ts";
import { MemoryStore } from "../../phone/memory.ts";

await ready();

// Two phones that come to one camera by its radio at the same time. Two real controllers are not to be had
// in a test: what the radio carries is what BlueZ would hand over, everything else is real.

/** The radio of a camera whose window is open. */
async function radioOf(pairing: Pairing) {
  const bluez = fakeBluez();
  const peripheral = await openPeripheral({
    ...{ bus: bluez.bus, name: "obscura-test", log: openLog("bluetooth", "debug", () => {}) },
    serve: (guest) => pairing.serve({ ...guest, admit() {} }),
  });
  const pair = async (device: string, link: string, name: string) => {
    const pipe = phoneAt(bluez, device);
    try {
      return await pairCamera(Vault.create(new MemoryStore(), name), {
        ...{ pipe, invite: parseInvite(link), name: undefined, nowMs: 1, suite: nodeSuite },
        ...{ supply: { oneTime: 3, days: 2 }, relays: ["https://relay.example"] },
      });
    } finally {
      pipe.close();
      bluez.leave(device);
    }
  };
  return { bluez, pair, [Symbol.asyncDispose]: () => peripheral.close() };
}

/** Until the radio is free again: a phone that is told that it is busy tries again. */
async function patiently<T>(act: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await act();
    } catch (error) {
      if (!isFailure(error, "busy", "gone")) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

const deadlineMs = 120_000;

suite("bluetooth: two phones at once", (test) => {
  test(
    "one of them becomes the owner; the other is told that it is busy, and then that it is too late",
    async () => {
      await using at = await board();
      const pairing = await at.start();
      await using radio = await radioOf(pairing);
      const ends = await Promise.allSettled([
        radio.pair("/dev/a", pairing.link, "Ada"),
        radio.pair("/dev/b", pairing.link, "Bob"),
      ]);
      const went = ends.map((end) => {
        if (end.status === "fulfilled") return "owner";
        return isFailure(end.reason) ? end.reason.kind : String(end.reason);
      });
      assert.equal(went.toSorted(), ["busy", "owner"]);
      const outcome = await pairing.outcome;
      const winner = went.indexOf("owner") === 0 ? "Ada" : "Bob";
      assert.ok(outcome.kind === "paired" && outcome.confirmed);
      assert.equal(outcome.members, [winner]);
      // The window is over, on every way.
      const late = await radio.pair("/dev/c", pairing.link, "Eve").catch((error: unknown) => error);
      assert.ok(isFailure(late), String(late));
    },
    { deadlineMs },
  );

  test(
    "the first vanishes half-way: the second tries again, and is the owner",
    async () => {
      await using at = await board();
      const pairing = await at.start();
      await using radio = await radioOf(pairing);
      const { first } = firstMessage(pairing.link);
      const half = phoneAt(radio.bluez, "/dev/a");
      await half.send(first);
      await half.receive(wanted);
      // It holds the radio until it goes.
      const early = await radio
        .pair("/dev/b", pairing.link, "Bob")
        .catch((error: unknown) => error);
      assert.ok(isFailure(early, "busy"), String(early));
      radio.bluez.leave("/dev/a");
      await patiently(() => radio.pair("/dev/b", pairing.link, "Bob"));
      const outcome = await pairing.outcome;
      assert.ok(outcome.kind === "paired");
      assert.equal(outcome.members, ["Bob"]);
    },
    { deadlineMs },
  );

  test(
    "one by radio and one by the network, with the same link: one owner, and the other knows",
    async () => {
      await using at = await board();
      const pairing = await at.start();
      await using radio = await radioOf(pairing);
      const ends = await Promise.allSettled([
        radio.pair("/dev/a", pairing.link, "Ada"),
        pairBy(pairing.link),
      ]);
      assert.is(ends.filter(({ status }) => status === "fulfilled").length, 1);
      const lost = ends.find((end) => end.status === "rejected");
      assert.ok(isFailure(lost?.reason), String(lost?.reason));
      const outcome = await pairing.outcome;
      assert.ok(outcome.kind === "paired" && outcome.members.length === 1);
    },
    { deadlineMs },
  );
});
