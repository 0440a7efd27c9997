import * as assert from "uvu/assert";
import { toHex } from "../../../src/base/pure/bytes.ts";
import { ManualClock } from "../../../src/base/pure/clock.ts";
import { Failure } from "../../../src/base/pure/failure.ts";
import { commandWorld, nonceOf, phoneOf } from "../../lib/commands.ts";
import { all } from "../../lib/owner.ts";
import { pattern } from "../../lib/sealed.ts";
import { suite } from "../../lib/suite.ts";

// What has to be fresh: it quotes a nonce that the camera has just given out.

const _owner = phoneOf();

suite("fresh commands", (test) => {
  test("a window is opened for an owner with a young nonce; its secret is in no entry", async () => {
    const clock = new ManualClock();
    const opened: Uint8Array[] = [];
    const addresses = [{ ip: Uint8Array.of(192, 168, 1, 5), port: 41_234 }];
    const openWindow = async (secret: Uint8Array) => {
      if (opened.length > 0) throw new Failure("busy", "another program pairs here");
      opened.push(secret);
      return addresses;
    };
    await using world = await commandWorld({ clock, openWindow });
    const secret = pattern(32, 41);
    const open = (nonce: Uint8Array) => world.ask({ kind: "window", nonce, secret });
    assert.match(await open(pattern(16)), /old nonce/);
    assert.is(opened.length, 0);
    assert.is(await open(await nonceOf(world)), "done");
    assert.equal(opened, [secret]);
    assert.match(await open(await nonceOf(world)), /another program pairs here/);
    const lines = await world.camera.owner.readLog(world.camera.outbox);
    const told = all(lines, "window");
    assert.equal(
      told.map((one) => one.addresses),
      [addresses],
    );
    assert.not.match(JSON.stringify(lines), toHex(secret));
  });

  test("an owner arms and disarms, once for each young nonce; no alarm, and a viewer, are refused", async () => {
    const orders: string[] = [];
    let isThere = true;
    const alarm = async (order: string) => {
      if (!isThere) throw new Failure("refused", "this camera has no alarm");
      orders.push(order);
    };
    await using world = await commandWorld({ clock: new ManualClock(), alarm });
    const arm = { kind: "alarm", order: "arm_away" } as const;
    assert.match(await world.ask({ ...arm, nonce: pattern(16) }), /old nonce/);
    const nonce = await nonceOf(world);
    const box = world.seal({ ...arm, nonce });
    await world.commands.take(box.bytes);
    await world.commands.take(box.bytes);
    assert.match(await world.ask({ ...arm, nonce }), /old nonce/);
    assert.equal(orders, ["arm_away"]);
    isThere = false;
    const again = { ...arm, order: "disarm", nonce: await nonceOf(world) } as const;
    assert.match(await world.ask(again), /no alarm/);
    assert.equal(orders, ["arm_away"]);
    const lines = await world.camera.owner.readLog(world.camera.outbox);
    const done = all(lines, "command-done").filter(({ action }) => action === "alarm");
    assert.equal(
      done.map(({ refused }) => refused === undefined),
      [false, true, false, false],
    );
  });
});
