import * as assert from "uvu/assert";
import { equal, toHex } from "../../src/base/pure/bytes.ts";
import {
  acceptAnswer,
  grant,
  isJoined,
  readAnswer,
  showAgain,
  showLink,
  takeBack,
} from "../../src/phone/add.ts";
import { adoptCamera } from "../../src/phone/adopt.ts";
import { answerLink, takeGrant } from "../../src/phone/join.ts";
import { statements } from "../../src/phone/journal.ts";
import { parseLink } from "../../src/protocol/sealed/link.ts";
import { HouseCamera, Objects } from "../fakes/camera.ts";
import { nodeSuite } from "../lib/sealed.ts";
import { suite } from "../lib/suite.ts";
import { circleWorld, fewKeys, join, Killed, killer, Phone, tick } from "./circle.ts";

/** All that two people do with their phones, from wherever the two stand; true when it is done. */
async function goOn(ada: Phone, ben: Phone, camera: HouseCamera): Promise<boolean> {
  const isIn = () => ben.vault.content.cameras.length > 0;
  const [known] = ada.vault.content.links;
  if (!known && isIn()) return true;
  const { shown, text } = known
    ? { shown: known, text: await showAgain(known, ada.camera(), ada.options()) }
    : await showLink([await ada.looked()], "owner", ada.options());
  const taken = isIn() || (ben.vault.content.joining && (await takeGrant(ben.options())));
  if (!taken) {
    const { word } = await answerLink(parseLink("join", text), ben.options());
    const answered = await readAnswer(shown, ada.camera(), ada.options());
    assert.is(answered?.word, word);
    if (answered && !shown.answer) await acceptAnswer(shown, answered, ada.vault);
  }
  await ada.tend();
  await camera.work();
  const looked = [await ada.looked()];
  if (!isIn() && shown.answer) await grant(shown, looked, ada.options());
  if (isIn()) await ben.tend();
  await camera.work();
  await ada.tend();
  if (!isJoined(shown, [await ada.looked()], nodeSuite)) return false;
  await takeBack(shown, ada.vault);
  await ada.tend();
  return true;
}

suite("join", (test) => {
  test(
    "killed wherever something becomes durable, before it or behind it, a phone joins all the same",
    async () => {
      let steps = 0;
      let kills = 0;
      for (const behind of [false, true]) {
        for (let at = 1; ; at++) {
          const { objects, camera, ada } = await circleWorld();
          const ben = new Phone("Ben", objects);
          await ben.vault.save();
          const count = killer(at, behind, [ada, ben], objects);
          let [done, killed] = [false, false];
          for (let attempt = 0; attempt < 8 && !done; attempt++) {
            try {
              done = await goOn(ada, ben, camera);
            } catch (error) {
              if (!(error instanceof Killed)) throw error;
              killed = true;
              await ada.restart();
              await ben.restart();
            }
          }
          const what = `${behind ? "behind" : "before"} step ${at}`;
          steps = Math.max(steps, count());
          assert.ok(done, what);
          const members = camera.members?.head.members ?? [];
          assert.equal(members.map(({ name }) => name).sort(), ["Ada", "Ben"], what);
          const clip = await camera.record();
          for (const phone of [ada, ben]) {
            const found = await phone.look();
            const state = found.clips.find(({ id }) => equal(id, clip))?.state;
            assert.is(state, "whole", `${what}: ${phone.name}`);
            const wrong = found.faults.filter(({ severity }) => severity !== "note");
            assert.equal(wrong, [], what);
          }
          assert.equal(camera.troubles, [], what);
          kills += killed ? 1 : 0;
          if (!killed) break;
        }
      }
      console.log(`\nmeasured: joining has ${steps} durable steps; ended at ${kills} places`);
      assert.ok(kills >= 20, String(kills));
    },
    { deadlineMs: 400_000 },
  );

  test("one link is good for several cameras at once", async () => {
    const { objects, camera, ada } = await circleWorld();
    const far = new Objects();
    const garden = new HouseCamera(far, "Garden");
    const { adoption } = await adoptCamera(ada.vault, {
      ...{ identity: garden.identity, name: undefined, nowMs: tick(), suite: nodeSuite },
      supply: fewKeys,
    });
    await garden.adopt(adoption);
    const at = async <T>(phone: Phone, where: Objects, act: () => Promise<T>): Promise<T> => {
      phone.objects = where;
      return await act().finally(() => {
        phone.objects = objects;
      });
    };
    const looked = async () => [
      await ada.looked(camera.id),
      await at(ada, far, () => ada.looked(garden.id)),
    ];
    const { text, shown } = await showLink(await looked(), "viewer", ada.options());
    const ben = new Phone("Ben", objects);
    await answerLink(parseLink("join", text), ben.options());
    const answered = await readAnswer(shown, ada.camera(), ada.options());
    assert.ok(answered);
    await acceptAnswer(shown, answered, ada.vault);
    await ada.tend(camera.id);
    await camera.work();
    // Not before the other camera has taken it too.
    assert.not(await grant(shown, await looked(), ada.options()));
    await at(ada, far, () => ada.tend(garden.id));
    await garden.work();
    assert.ok(await grant(shown, await looked(), ada.options()));
    assert.is((await takeGrant(ben.options()))?.length, 2);
    const clips = [await camera.record(), await garden.record()];
    const states = [
      (await ben.look(camera.id)).clips.at(-1),
      (await at(ben, far, () => ben.look(garden.id))).clips.at(-1),
    ];
    assert.equal(
      states.map((clip) => clip && `${toHex(clip.id)} ${clip.state}`),
      clips.map((clip) => `${toHex(clip)} whole`),
    );
  });

  test("keys that run out are made anew, and sent until the camera has them", async () => {
    const { camera, ada, together } = await circleWorld();
    const ben = await join(ada, camera, "Ben", "viewer");
    for (let clip = 0; clip < 5; clip++) await camera.record();
    await ada.tend();
    const sent = ada.camera().outgoing.filter(({ what }) => what === "supply");
    assert.is(sent.length, 1);
    // Killed before it was read: nothing is made twice.
    await ada.restart();
    await together(ada, ben);
    assert.equal(ada.camera().outgoing, []);
    assert.is(ada.camera().batch, 2);
    const acknowledged = statements((await ada.look()).journal, "supply-acknowledged")
      .filter(({ statement }) => equal(statement.phone, ada.key))
      .map(({ statement }) => statement.batch);
    assert.equal(acknowledged, [1, 2]);
    const clip = await camera.record();
    const opened = ada.camera().oneTime.length;
    await together(ada, ben);
    const state = (await ada.look()).clips.find(({ id }) => equal(id, clip))?.state;
    assert.is(state, "whole");
    assert.is(ada.camera().oneTime.length, opened - 1);
  });
});
