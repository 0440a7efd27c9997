import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { nodeSuite } from "../../src/base/node/crypto.ts";
import { toHex } from "../../src/base/pure/bytes.ts";
import { ManualClock } from "../../src/base/pure/clock.ts";
import { isFailure } from "../../src/base/pure/failure.ts";
import { createKeyring, openKeyring } from "../../src/device/keyring.ts";
import {
  advance,
  decodeKeys,
  encodeKeys,
  lifeMs,
  type ReceivingKey,
} from "../../src/device/receiving.ts";
import { sealCommand } from "../../src/protocol/sealed/command.ts";
import { signer } from "../lib/sealed.ts";
import { faultsOf, makeCamera, startSealer } from "../lib/sealing.ts";
import { suite } from "../lib/suite.ts";
import { quickFolder } from "../lib/world.ts";

const dayMs = 86_400_000;

/** Keys that are known by the number in them. */
function maker() {
  let made = 0;
  return () => new Uint8Array(32).fill(++made);
}

const agesOf = (keys: readonly ReceivingKey[], nowMs: number) =>
  keys.map(({ madeMs }) => (nowMs - madeMs) / dayMs);

suite("receiving keys", (test) => {
  test("one a day, none older than thirty days, and nothing to do in between", () => {
    const make = maker();
    let keys = advance([], 0, make) ?? [];
    let changes = 0;
    for (let hour = 1; hour <= 24 * 90; hour++) {
      const nowMs = hour * 3_600_000;
      const next = advance(keys, nowMs, make);
      if (next) changes += 1;
      keys = next ?? keys;
      const ages = agesOf(keys, nowMs);
      assert.ok(Math.max(...ages) < 30 && (ages.at(-1) ?? 1) < 1, ages.join());
    }
    assert.is(changes, 90);
    assert.is(keys.length, 30);
  });

  test("after a long run or a short one, and when the time is known no more", () => {
    const make = maker();
    const old = [0, 5, 400].map((day) => ({ madeMs: day * dayMs, secret: make() }));
    assert.is(advance(old, 400 * dayMs + 1, make)?.length, 1);
    assert.equal(agesOf(advance(old, 405 * dayMs, make) ?? [], 405 * dayMs), [5, 0]);
    // The notebook was lost: time is 0 again, and no key may stay for 400 days and 30.
    const anew = advance(old, 0, make) ?? [];
    assert.equal(agesOf(anew, 0), [0, 0, 0]);
    assert.equal(anew.at(-1)?.secret, old.at(-1)?.secret);
    assert.is(advance(anew, lifeMs, make)?.length, 1);
  });

  test("the file reads back, and what is none is refused", () => {
    const keys = [1, 2].map((day) => ({
      madeMs: day * dayMs,
      secret: new Uint8Array(32).fill(day),
    }));
    const bytes = encodeKeys(keys);
    assert.equal(decodeKeys(bytes), keys);
    const stage = (change: (bytes: Uint8Array) => Uint8Array) => {
      try {
        decodeKeys(change(bytes.slice()));
      } catch (error) {
        return isFailure(error, "corrupt") ? error.stage : error;
      }
      return undefined;
    };
    assert.is(
      stage((b) => b.subarray(0, -1)),
      "length",
    );
    assert.is(
      stage((b) => Uint8Array.of(...b, 0)),
      "length",
    );
    assert.is(
      stage((b) => b.fill(2, 0, 1)),
      "version",
    );
    assert.is(
      stage((b) => b.fill(0, 1, 2)),
      "count",
    );
  });

  test("a command opens for thirty days after its key was announced, and then never again", async () => {
    await using home = await quickFolder();
    const { identity } = await createKeyring(home.path, "porch");
    const keyring = await openKeyring(home.path);
    const phone = signer();
    const commandTo = (publicKey: Uint8Array) =>
      sealCommand(
        {
          ...{ camera: identity.camera, incarnation: 1, phone: phone.key, number: 1 },
          ...{ head: undefined, action: { kind: "erase", replaces: 1 } },
        },
        publicKey,
        { sign: phone.sign, suite: nodeSuite, writer: phone.key },
      ).bytes;
    const opens = async (box: Uint8Array) => {
      const both = [keyring, await openKeyring(home.path)];
      const found = both.map((one) => one.open(box, identity)?.action.kind);
      assert.is(found[0], found[1]);
      return found[0] === "erase";
    };
    assert.equal(keyring.receiving, identity.receiving);
    const first = commandTo(identity.receiving);
    const file = join(home.path, "keys/receiving.key");
    const secret = (await readFile(file)).subarray(-32);
    const second = commandTo(await keyring.rotate(dayMs));
    assert.not.equal(keyring.receiving, identity.receiving);
    assert.equal([await opens(first), await opens(second)], [true, true]);
    await keyring.rotate(30 * dayMs - 1);
    assert.equal([await opens(first), await opens(second)], [true, true]);
    await keyring.rotate(30 * dayMs);
    assert.equal([await opens(first), await opens(second)], [false, true]);
    assert.not.ok((await readFile(file)).includes(secret));
    await keyring.rotate(31 * dayMs);
    assert.equal([await opens(first), await opens(second)], [false, false]);
  });

  test("the log announces each key, once, over restarts and whatever the wall clock says", async () => {
    await using home = await quickFolder();
    const camera = await makeCamera(home.path);
    const clock = new ManualClock();
    for (const hours of [1, 30, 1, 30, 24 * 40]) {
      const { stop } = await startSealer(home.path, { clock });
      clock.advance(hours * 3_600_000);
      clock.stepWall(-hours * 7_200_000);
      await stop();
    }
    const { stop } = await startSealer(home.path, { clock });
    await stop();
    const announced = (await camera.owner.readLog(camera.outbox)).flatMap(({ body }) =>
      body.statement.kind === "receiving-key" ? [toHex(body.statement.publicKey)] : [],
    );
    // The one that the identity names; after 31, 62 hours and forty days.
    assert.is(announced.length, 4);
    assert.is(new Set(announced).size, 4);
    assert.is(announced[0], toHex(camera.keyring.identity.receiving));
    assert.is(announced.at(-1), toHex((await openKeyring(home.path)).receiving));
    assert.equal(await faultsOf(home.path), []);
  });
});
