import * as assert from "uvu/assert";
import { toHex } from "../../src/base/pure/bytes.ts";
import { deleteClips } from "../../src/phone/delete.ts";
import { type Finality, finalityOf } from "../../src/phone/deletions.ts";
import { readTold } from "../../src/phone/told.ts";
import { nodeSuite } from "../lib/sealed.ts";
import { suite } from "../lib/suite.ts";
import { circleWorld, join, type Phone, tick } from "./circle.ts";

/** What one phone says of one deletion. */
export async function finality(phone: Phone, clip: Uint8Array): Promise<Finality> {
  const { journal, deletions } = await phone.look();
  const id = toHex(clip);
  return finalityOf(deletions.get(id), readTold(journal).get(id), journal);
}

async function remove(phone: Phone, ...clips: Uint8Array[]): Promise<void> {
  const survey = await phone.look();
  const meant = survey.clips.filter(({ id }) => clips.some((clip) => toHex(clip) === toHex(id)));
  const { link } = phone.objects;
  const options = { link, vault: phone.vault, camera: phone.camera(), suite: nodeSuite };
  await deleteClips(meant, { ...options, survey, nowMs: tick() });
}

const stateOf = async (phone: Phone, clip: Uint8Array) =>
  (await phone.look()).clips.find(({ id }) => toHex(id) === toHex(clip))?.state;
const missing = ({ missing }: Finality) => missing.map(({ name, why }) => `${name} ${why}`).sort();

suite("phones", (test) => {
  test("a phone that joins opens what comes after, and nothing before", async () => {
    const { camera, ada } = await circleWorld();
    const before = await camera.record();
    const ben = await join(ada, camera, "Ben", "viewer");
    const after = await camera.record();
    assert.is(await stateOf(ada, before), "whole");
    assert.is(await stateOf(ada, after), "whole");
    assert.is(await stateOf(ben, after), "whole");
    assert.is(await stateOf(ben, before), "not for this phone");
    for (const phone of [ada, ben]) {
      const { faults } = await phone.look();
      assert.equal(
        faults.filter(({ severity }) => severity !== "note"),
        [],
        phone.name,
      );
    }
    assert.is(ben.camera().root, undefined);
    assert.is(camera.troubles.length, 0, camera.troubles.join());
  });

  test("a deletion is final when every phone has confirmed, and any of them can say so", async () => {
    const { camera, ada, together } = await circleWorld();
    const ben = await join(ada, camera, "Ben", "viewer");
    const clip = await camera.record();
    const kept = await camera.record();
    await together(ada);
    await remove(ada, clip);
    assert.equal(missing(await finality(ada, clip)), ["Ada asked", "Ben asked"]);
    await camera.work();
    assert.equal(missing(await finality(ada, clip)), ["Ben asked"]);
    // Ben looks for the first time since: he opened neither clip before.
    const { faults } = await ben.look();
    assert.equal(
      faults.filter(({ severity }) => severity !== "note"),
      [],
    );
    await together(ben, ada);
    for (const phone of [ada, ben]) {
      assert.ok((await finality(phone, clip)).final, phone.name);
      assert.is(await stateOf(phone, clip), "deleted");
      assert.is(await stateOf(phone, kept), "whole");
    }
  });
});
