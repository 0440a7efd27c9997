import * as assert from "uvu/assert";
import { deleteClips } from "../../src/phone/delete.ts";
import { replenish } from "../../src/phone/keys.ts";
import { actionOf } from "../../src/phone/outgoing.ts";
import { ready } from "../../src/protocol/sealed/sodium.ts";
import { decodeSupply } from "../../src/protocol/sealed/supply.ts";
import { printName } from "../../src/protocol/wire/name.ts";
import { nodeSuite } from "../lib/sealed.ts";
import { suite } from "../lib/suite.ts";
import { film, memoryWorld } from "./memory.ts";

await ready();

type World = Awaited<ReturnType<typeof memoryWorld>>;
type Taken = Awaited<ReturnType<World["camera"]["record"]>>;

const withhold = ({ objects }: World, parts: Taken["parts"]) => {
  for (const { name } of parts) objects.delete(printName(name));
};
const giveBack = async ({ camera }: World, parts: Taken["parts"]) => {
  for (const part of parts) await camera.put(part);
};
const statesOf = async ({ look }: World) => (await look()).clips.map(({ state }) => state);

async function remove({ link, vault, keys, look }: World): Promise<void> {
  const found = await look();
  const options = { link, vault, camera: keys, survey: found, suite: nodeSuite, nowMs: 5 };
  await deleteClips(found.clips, options);
}

suite("settle", (test) => {
  test("whichever parts are withheld, what is needed for them stays, and no more", async () => {
    const all = (await (await memoryWorld()).camera.record({ film })).parts.length;
    assert.ok(all >= 3);
    for (let missing = 0; missing < 2 ** all; missing++) {
      const world = await memoryWorld();
      const { parts } = await world.camera.record({ film });
      const gone = parts.filter((_, i) => missing & (1 << i));
      withhold(world, gone);
      await world.look();
      await world.look();
      // Part 0 holds the key; with it in the vault the secret has done its work.
      const isThere = (missing & 1) === 0;
      assert.is(world.keys.oneTime.length, isThere ? 4 : 5, `missing ${missing.toString(2)}`);
      assert.is(world.keys.clips.length, isThere ? 1 : 0);
      await giveBack(world, gone);
      assert.equal(await statesOf(world), ["whole"], `missing ${missing.toString(2)}`);
      assert.is(world.keys.oneTime.length, 4);
    }
  });

  test("the entry that names the clip comes later than the clip, or its key: nothing goes before", async () => {
    const world = await memoryWorld();
    const { camera, keys, objects } = world;
    const before = new Set(objects.keys());
    await camera.record({ film });
    const entries = [...objects].filter(([name]) => !before.has(name) && name.startsWith("entry"));
    for (const [name] of entries) objects.delete(name);
    await world.look();
    assert.equal([keys.clips.length, keys.oneTime.length], [1, 5]);
    for (const [name, object] of entries) objects.set(name, object);
    await world.look();
    assert.equal([keys.clips.length, keys.oneTime.length], [1, 4]);
  });

  test("a clip that is deleted before any of it came leaves no secret, and stays shut", async () => {
    const world = await memoryWorld();
    const { parts } = await world.camera.record({ film });
    withhold(world, parts);
    await remove(world);
    assert.is(world.keys.oneTime.length, 4);
    await giveBack(world, parts);
    assert.equal(await statesOf(world), ["deleted"]);
    assert.is(world.keys.clips.length, 0);
  });

  test("a secret that another clip is named with is not destroyed with this one", async () => {
    const world = await memoryWorld();
    const { camera, keys } = world;
    const real = await camera.record({ film });
    withhold(world, real.parts);
    const id = keys.oneTime[0]?.id as Uint8Array;
    const bait = new Uint8Array(16).fill(9);
    const headerHash = new Uint8Array(32);
    await camera.say({ kind: "clip-started", clip: bait, headerHash, keyIds: [id] });
    const { look, link, vault } = world;
    const found = await look();
    const clips = found.clips.filter((clip) => clip.id.every((byte) => byte === 9));
    assert.is(clips.length, 1);
    const options = { link, vault, camera: keys, survey: found, suite: nodeSuite, nowMs: 5 };
    await deleteClips(clips, options);
    assert.is(keys.oneTime.length, 5);
    await giveBack(world, real.parts);
    assert.ok((await statesOf(world)).includes("whole"));
  });

  test("behind a hole in the log nothing goes by the log, and all of it when the hole is filled", async () => {
    const world = await memoryWorld();
    const { camera, keys, objects } = world;
    const said = await camera.say({ kind: "problem", code: "x", text: "x" });
    const { parts } = await camera.record({ film });
    withhold(world, parts);
    objects.delete(printName(said.name));
    await remove(world);
    assert.is(keys.oneTime.length, 5);
    await camera.put(said);
    await world.look();
    assert.is(keys.oneTime.length, 4);
  });

  test("a day is closed in its own incarnation alone", async () => {
    const { camera, keys, look } = await memoryWorld();
    camera.incarnation = 1;
    await camera.start();
    await camera.say({ kind: "incarnation-opened", reason: "behind" });
    await camera.say({ kind: "day-closed", day: 1 });
    await look();
    assert.is(keys.days.length, 3);
    assert.equal([keys.incarnation, keys.nextDay], [1, 2]);
  });

  test("keys that a vault gave out before it was put back are given no second time", async () => {
    const { camera, keys, vault, look } = await memoryWorld();
    const { phoneKey: phone } = vault.content;
    const told = {
      kind: "supply-acknowledged",
      phone,
      batch: 3,
      nextIndex: 9,
      endIndex: 20,
    } as const;
    await camera.say(told);
    keys.oneTime = [];
    const { journal } = await look();
    const size = { oneTime: 2, days: 1 };
    assert.ok(replenish({ vault, camera: keys, journal, suite: nodeSuite, nowMs: 9, size }));
    const [action] = keys.outgoing.map(actionOf);
    assert.ok(action?.kind === "supply");
    const { batch, firstIndex } = decodeSupply(action.supply);
    assert.equal([action.replaces, batch, firstIndex], [3, 4, 20]);
  });
});
