import * as assert from "uvu/assert";
import { equal, toHex } from "../../src/base/pure/bytes.ts";
import { canStillOpen, finalityOf } from "../../src/phone/deletions.ts";
import { doorKeyOf, readDoors } from "../../src/phone/doors.ts";
import { drawKit, grantKit, installKit, openKit, tendKit } from "../../src/phone/recovery.ts";
import { removePhone } from "../../src/phone/remove.ts";
import { readTold } from "../../src/phone/told.ts";
import { kitKeys } from "../../src/protocol/sealed/kit.ts";
import { keyFingerprint } from "../../src/protocol/sealed/stanza.ts";
import { nodeSuite } from "../lib/sealed.ts";
import { suite } from "../lib/suite.ts";
import {
  circleWorld,
  copyHouse,
  type House,
  join,
  Killed,
  killer,
  Phone,
  remove,
} from "./circle.ts";

/** A relay for the phones, as far as doors go and what may be taken away there. */
async function house(): Promise<House & { clips: Uint8Array[]; ada: Phone }> {
  const { objects, camera, ada, together } = await circleWorld();
  Object.assign(objects.link, { kind: "relay" });
  const ben = await join(ada, camera, "Ben");
  const clips = [await camera.record(), await camera.record()];
  await together(ada, ben);
  return { objects, camera, phones: [ada, ben], clips, ada };
}
const start = await house();
const [gone, kept] = start.clips as [Uint8Array, Uint8Array];

const firstOf = ({ phones }: House): Phone => {
  const [phone] = phones;
  assert.ok(phone);
  return phone;
};
const names = ({ camera }: House) => camera.members?.head.members.map(({ name }) => name).sort();

type Deed = {
  readonly start?: House;
  /** All that people do, from wherever things stand. */
  readonly act: (house: House) => Promise<void>;
  readonly check: (house: House, where: string) => Promise<void>;
};

/** Kills the phones before each request that changes something, and each save; then they go on. */
async function everyRequest(deed: Deed): Promise<number> {
  for (let at = 1; ; at++) {
    const now = await copyHouse(deed.start ?? start);
    Object.assign(now.objects.link, { kind: "relay" });
    const callOff = killer(at, false, now.phones, now.objects);
    let killed = false;
    for (let isDone = false; !isDone; ) {
      try {
        await deed.act(now);
        isDone = true;
      } catch (error) {
        if (!(error instanceof Killed) || killed) throw error;
        killed = true;
        for (const phone of now.phones) await phone.restart();
      }
    }
    const count = callOff();
    const where = `before ${at}`;
    await deed.check(now, where);
    for (const phone of now.phones) {
      const { faults, clips } = await phone.look();
      assert.equal(
        faults.filter(({ severity }) => severity !== "note"),
        [],
        where,
      );
      const state = clips.find(({ id }) => equal(id, kept))?.state;
      assert.is(state, phone.name === "Dora" ? "not for this phone" : "whole", where);
    }
    assert.equal(now.camera.troubles, [], where);
    if (!killed) return count;
  }
}

async function allTend({ phones, camera }: House): Promise<void> {
  for (let round = 0; round < 3; round++) {
    for (const phone of phones) await phone.tend();
    await camera.work();
  }
}

const deleting: Deed = {
  async act(now) {
    const ada = firstOf(now);
    await remove(ada, gone);
    await allTend(now);
  },
  async check(now, where) {
    for (const phone of now.phones) {
      const { journal, deletions } = await phone.look();
      const told = readTold(journal).get(toHex(gone));
      assert.ok(finalityOf(deletions.get(toHex(gone)), told, journal).final, where);
      assert.not(canStillOpen(phone.camera(), gone, told?.started?.keyIds ?? []), where);
    }
    const said = now.camera.said.map(({ kind }) => kind);
    assert.is(said.filter((kind) => kind === "tombstone-done").length, 1, where);
    assert.is(said.filter((kind) => kind === "tombstone-confirmed").length, 2, where);
  },
};

const removing: Deed = {
  async act(now) {
    const ada = firstOf(now);
    const { camera, journal } = await ada.looked();
    const ben = journal.members.head.members.find(({ name }) => name === "Ben");
    if (ben) await removePhone(ben.phone, { vault: ada.vault, camera, journal });
    await ada.tend();
    await now.camera.work();
    await ada.tend();
  },
  async check(now, where) {
    const ada = firstOf(now);
    assert.equal(names(now), ["Ada"], where);
    assert.equal(ada.camera().removing, [], where);
    const { link } = now.objects;
    const { list } = await readDoors({ link, camera: ada.camera(), suite: nodeSuite });
    const ben = now.phones.find(({ name }) => name === "Ben");
    const door = doorKeyOf(ada.camera().root ?? new Uint8Array(), ben?.key ?? new Uint8Array());
    assert.not(
      list?.doors.some(({ key }) => equal(key, door)),
      where,
    );
  },
};

/** A kit on paper, and Dora who has nothing else. */
async function kitHouse(): Promise<Deed> {
  const now = await copyHouse(start);
  Object.assign(now.objects.link, { kind: "relay" });
  const ada = firstOf(now);
  const paper = drawKit(ada.camera());
  await installKit(paper, [await ada.looked()], ada.options());
  await allTend(now);
  await grantKit(paper, [await ada.looked()], ada.options());
  const clip = await now.camera.record();
  const dora = new Phone("Dora", now.objects);
  await dora.vault.save();
  return {
    start: { ...now, phones: [...now.phones, dora] },
    async act({ phones, camera }) {
      const [user] = phones.filter(({ name }) => name === "Dora");
      assert.ok(user);
      // Forgotten is wiped: each time it is read from the paper again.
      await openKit({ ...paper, secret: paper.secret.slice() }, user.options());
      for (let isNeeded = true; isNeeded; ) {
        const { survey } = await user.tend();
        isNeeded = await tendKit(user.camera(), survey.journal, user.options());
        await camera.work();
      }
    },
    async check(then, where) {
      assert.equal(names(then), ["Ada", "Ben", "Dora", "recovery kit"], where);
      const [user] = then.phones.filter(({ name }) => name === "Dora");
      assert.ok(user);
      // What is durable has nothing of the kit any more.
      await user.restart();
      const { kit, restarts, id } = user.camera();
      assert.is(kit, undefined, where);
      const print = keyFingerprint(kitKeys(paper.secret).seal(id).publicKey);
      assert.not(
        restarts.some(({ fingerprint }) => equal(fingerprint, print)),
        where,
      );
      const found = (await user.look()).clips.find((one) => equal(one.id, clip));
      assert.is(found?.state, "whole", where);
      const own = await then.camera.record();
      assert.ok(
        (await user.look()).clips.some((one) => equal(one.id, own)),
        where,
      );
    },
  };
}

suite("phones killed before each request", (test) => {
  const deeds: [string, () => Promise<Deed>][] = [
    ["a deletion is final, asked for once and confirmed once by each", async () => deleting],
    ["who is removed is out, and his door shut", async () => removing],
    ["a kit makes an owner, and is forgotten then", kitHouse],
  ];
  for (const [what, make] of deeds) {
    test(what, async () => {
      const steps = await everyRequest(await make());
      console.log(`\nmeasured: ${what}: killed at each of ${steps} durable steps`);
    });
  }
});
