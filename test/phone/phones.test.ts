import * as assert from "uvu/assert";
import { equal, toHex } from "../../src/base/pure/bytes.ts";
import { isFailure } from "../../src/base/pure/failure.ts";
import { readAnswer, showLink, takeBack } from "../../src/phone/add.ts";
import { type Finality, finalityOf, printFinality } from "../../src/phone/deletions.ts";
import { doorKeyOf, readDoors } from "../../src/phone/doors.ts";
import { circle } from "../../src/phone/heads.ts";
import { answerLink } from "../../src/phone/join.ts";
import {
  drawKit,
  grantKit,
  installKit,
  openKit,
  tendKit,
  testKit,
} from "../../src/phone/recovery.ts";
import { removePhone } from "../../src/phone/remove.ts";
import { tend } from "../../src/phone/tend.ts";
import { readTold } from "../../src/phone/told.ts";
import { Vault } from "../../src/phone/vault.ts";
import { openBox } from "../../src/protocol/sealed/box.ts";
import { parseLines, parseLink, printLines } from "../../src/protocol/sealed/link.ts";
import { seenPair } from "../../src/protocol/sealed/seen.ts";
import { signPublicKey } from "../../src/protocol/sealed/sodium.ts";
import { encodeTombstone } from "../../src/protocol/sealed/tombstone.ts";
import { HouseCamera } from "../fakes/camera.ts";
import { nodeSuite, signer } from "../lib/sealed.ts";
import { suite } from "../lib/suite.ts";
import { circleWorld, fewKeys, join, Phone, remove } from "./circle.ts";

/** What one phone says of one deletion. */
async function finality(phone: Phone, clip: Uint8Array): Promise<Finality> {
  const { journal, deletions } = await phone.look();
  const id = toHex(clip);
  return finalityOf(deletions.get(id), readTold(journal).get(id), journal);
}

const stateOf = async (phone: Phone, clip: Uint8Array) =>
  (await phone.look()).clips.find(({ id }) => equal(id, clip))?.state;
const missing = ({ missing }: Finality) => missing.map(({ name, why }) => `${name} ${why}`).sort();
const wrong = async (phone: Phone) =>
  (await phone.look()).faults.filter(({ severity }) => severity !== "note");

async function refused(stage: string, act: () => Promise<unknown>): Promise<void> {
  try {
    await act();
  } catch (error) {
    assert.ok(isFailure(error), String(error));
    assert.is(error.stage, stage, error.message);
    return;
  }
  assert.unreachable(`not refused: ${stage}`);
}

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
    for (const phone of [ada, ben]) assert.equal(await wrong(phone), [], phone.name);
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
    assert.is(printFinality(await finality(ada, clip)), "not final: Ben has not confirmed");
    // Ben looks for the first time since: he opened neither clip before.
    assert.equal(await wrong(ben), []);
    await together(ben, ada);
    for (const phone of [ada, ben]) {
      assert.ok((await finality(phone, clip)).final, phone.name);
      assert.is(await stateOf(phone, clip), "deleted");
      assert.is(await stateOf(phone, kept), "whole");
    }
  });

  test("homes and folders of before and after: nothing taken after a final deletion opens it", async () => {
    const { camera, ada, together, objects } = await circleWorld();
    const ben = await join(ada, camera, "Ben");
    const clip = await camera.record();
    await together(ada, ben);
    const folders = [objects.copy()];
    const before = { ada: ada.home.all.length, ben: ben.home.all.length };
    await remove(ada, clip);
    await together(ada, ben);
    assert.ok((await finality(ada, clip)).final);
    folders.push(objects.copy());
    const after = { ada: ada.home.all.length, ben: ben.home.all.length };
    await camera.record();
    await together(ada, ben);
    folders.push(objects.copy());
    // Every state that a home was ever in, with every copy of the folder.
    const opens = async (phone: Phone, at: number, folder: (typeof folders)[number]) => {
      const thief = new Phone(phone.name, folder);
      const wrapped = phone.home.all[at];
      assert.ok(wrapped);
      thief.vault = await Vault.open({ load: async () => wrapped, replace: async () => {} });
      return (await stateOf(thief, clip)) === "whole";
    };
    let tried = 0;
    for (const [phone, from] of [
      [ada, after.ada],
      [ben, after.ben],
    ] as const) {
      for (let at = from - 1; at < phone.home.all.length; at++) {
        for (const folder of folders) {
          assert.not(await opens(phone, at, folder), `${phone.name} ${at}`);
          tried++;
        }
      }
    }
    // The control: what was taken before does open it, where the parts are.
    const [first] = folders;
    assert.ok(first && (await opens(ada, before.ada - 1, first)));
    assert.ok(await opens(ben, before.ben - 1, first));
    console.log(`\nmeasured: ${tried} combinations of homes and folders, none opens the clip`);
  });

  test("a home that was put back destroys again what was deleted since", async () => {
    const { camera, ada, together } = await circleWorld();
    const ben = await join(ada, camera, "Ben");
    const clip = await camera.record();
    await together(ada, ben);
    const old = ben.home.all.at(-1);
    assert.ok(old);
    await remove(ada, clip);
    await together(ada, ben);
    ben.home.all.push(old);
    await ben.restart();
    assert.ok(ben.camera().clips.some((one) => equal(one.clip, clip)));
    assert.is(await stateOf(ben, clip), "deleted");
    await ben.restart();
    assert.not(ben.camera().clips.some((one) => equal(one.clip, clip)));
    // Nor does it say so twice.
    await together(ben);
    assert.equal(ben.camera().outgoing, []);
  });

  test("a phone that is away, or was removed before it confirmed, is named", async () => {
    const { camera, ada, together } = await circleWorld();
    const ben = await join(ada, camera, "Ben");
    const cleo = await join(ada, camera, "Cleo", "viewer");
    const clip = await camera.record();
    await together(ada, ben);
    await remove(ben, clip);
    await together(ada, ben);
    for (const phone of [ada, ben]) {
      assert.equal(missing(await finality(phone, clip)), ["Cleo asked"], phone.name);
    }
    const { journal } = await ada.look();
    await removePhone(cleo.key, { vault: ada.vault, camera: ada.camera(), journal });
    await together(ada, ben);
    const text = printFinality(await finality(ben, clip));
    assert.match(text, /Cleo was removed before it confirmed, and may keep its keys/);
    // What comes after is not sealed to Cleo, who therefore has nothing to confirm.
    const next = await camera.record();
    await together(ada, ben);
    assert.is(await stateOf(cleo, next), "not for this phone");
    await remove(ada, next);
    await together(ada, ben);
    assert.ok((await finality(ben, next)).final);
  });

  test("a clip that was sealed to a day's key is confirmed when that key has gone", async () => {
    const { camera, ada, together } = await circleWorld();
    const clip = await camera.record({ day: true });
    await together(ada);
    await remove(ada, clip);
    await together(ada);
    assert.equal(missing(await finality(ada, clip)), ["Ada asked"]);
    await camera.say({ kind: "day-closed", day: 0 });
    await together(ada);
    assert.ok((await finality(ada, clip)).final);
  });

  test("of two owners who take themselves out at once one stays", async () => {
    const { camera, ada, together } = await circleWorld();
    const ben = await join(ada, camera, "Ben");
    for (const phone of [ada, ben]) {
      const { journal } = await phone.look();
      await removePhone(phone.key, { vault: phone.vault, camera: phone.camera(), journal });
    }
    await together(ada, ben);
    assert.is(camera.members?.head.members.length, 1);
    assert.equal(ben.camera().removing, []);
  });

  test("a removal is not done before the log shows it, and its door is shut", async () => {
    const { camera, ada, together } = await circleWorld();
    const ben = await join(ada, camera, "Ben");
    const { root } = ada.camera();
    assert.ok(root);
    const door = doorKeyOf(root, ben.key);
    const doors = async () => {
      const { link } = ada.objects;
      const { list } = await readDoors({ link, camera: ada.camera(), suite: nodeSuite });
      return list?.doors.map(({ key }) => toHex(key)) ?? [];
    };
    assert.ok((await doors()).includes(toHex(door)));
    const { journal } = await ada.look();
    await removePhone(ben.key, { vault: ada.vault, camera: ada.camera(), journal });
    await ada.tend();
    assert.not((await doors()).includes(toHex(door)));
    assert.is(ada.camera().removing.length, 1);
    // A command that was lost on its way is sent again.
    for (const [text, { name }] of ada.objects.all) {
      if (name.kind === "box" && !equal(name.writer, door)) ada.objects.all.delete(text);
    }
    await camera.work();
    assert.is((await ada.look()).journal.members.head.members.length, 2);
    await together(ada);
    assert.is(ada.camera().removing.length, 0);
    assert.is((await ada.look()).journal.members.head.members.length, 1);
    // The last owner cannot go.
    await refused("owner", async () =>
      removePhone(ada.key, {
        ...{ vault: ada.vault, camera: ada.camera() },
        journal: (await ada.look()).journal,
      }),
    );
  });

  test("a viewer deletes nothing, neither by this program nor by another", async () => {
    const { camera, ada, together } = await circleWorld();
    const ben = await join(ada, camera, "Ben", "viewer");
    const clip = await camera.record();
    await together(ada, ben);
    await refused("role", () => remove(ben, clip));
    // A camera that was talked into it, or forges: the log shows no owner's tombstone.
    const stranger = signer();
    const about = { camera: camera.id, clip, phone: stranger.key, atMs: 1, keyIds: [] };
    const { bytes: tombstone } = encodeTombstone(about, stranger);
    await camera.say({ kind: "tombstone-done", tombstone });
    for (const phone of [ada, ben]) {
      assert.equal(
        (await wrong(phone)).map(({ severity, kind }) => `${severity} ${kind}`),
        ["lie forged"],
      );
      assert.is(await stateOf(phone, clip), "whole");
    }
  });

  test("a link is over: by success, by time, taken back, or answered twice", async () => {
    const { camera, ada } = await circleWorld();
    const show = async () => showLink([await ada.looked()], "owner", ada.options());
    const { text, shown } = await show();
    const [eve, ben] = [new Phone("Eve", ada.objects), new Phone("Ben", ada.objects)];
    const day = 24 * 60 * 60 * 1000;
    await refused("time", () =>
      answerLink(parseLink("join", text), { ...ben.options(), nowMs: shown.untilMs }),
    );
    const { word } = await answerLink(parseLink("join", text), ben.options());
    // Again, after a kill: the same answer, the same word.
    await ben.restart();
    assert.is((await answerLink(parseLink("join", text), ben.options())).word, word);
    assert.is((await readAnswer(shown, ada.camera(), ada.options()))?.word, word);
    const late = { ...ada.options(), nowMs: shown.untilMs + day };
    assert.is(await readAnswer(shown, ada.camera(), late), undefined);
    const other = await answerLink(parseLink("join", text), eve.options());
    assert.is.not(other.word, word);
    await refused("answers", () => readAnswer(shown, ada.camera(), ada.options()).then(() => {}));
    await takeBack(shown, ada.vault);
    await ada.tend();
    const { link } = ada.objects;
    const { list } = await readDoors({ link, camera: ada.camera(), suite: nodeSuite });
    assert.not(list?.doors.some(({ key }) => equal(key, shown.door)));
    assert.is(camera.members?.head.members.length, 1);
  });

  test("phones that are served different logs find out", async () => {
    const { camera, ada, together, objects } = await circleWorld();
    const ben = await join(ada, camera, "Ben", "viewer");
    await together(ada, ben);
    // Whoever keeps the objects shows Ben what a copy of the card wrote.
    const others = objects.copy();
    const copy = new HouseCamera(others, "Front door", camera);
    camera.newEpoch();
    await camera.record();
    await copy.record();
    ben.objects = others;
    await ada.tend(undefined, true);
    for (const [name, one] of objects.all) if (one.name.kind === "box") others.all.set(name, one);
    const { faults } = await ben.tend();
    const found = faults.map(({ severity, kind }) => `${severity} ${kind}`);
    assert.equal(found, ["lie fork"]);
    assert.match(faults[0]?.text ?? "", /Ada was shown another log entry/);
  });

  test("of what a phone named to the others the newest lies there, of each phone", async () => {
    const { camera, ada, together, objects } = await circleWorld();
    const ben = await join(ada, camera, "Ben", "viewer");
    await together(ada, ben);
    const boxesOf = (phone: Phone) => {
      const writer = signPublicKey(phone.camera().request);
      return [...objects.all.values()].filter(
        ({ name }) => name.kind === "box" && equal(name.writer, writer),
      );
    };
    const seenOf = (phone: Phone) => {
      const secret = circle(phone.camera());
      const pair = secret && seenPair(secret);
      return boxesOf(phone).filter(({ bytes }) => pair && openBox(bytes, [pair], nodeSuite));
    };
    // As older programs left them.
    for (const phone of [ada, ben]) {
      const { remove: _, ...keeps } = objects.link;
      for (let i = 0; i < 5; i++) {
        await camera.record();
        const link = { ...keeps };
        const found = await phone.look();
        const camera_ = phone.camera();
        const options = { ...phone.options(), link, camera: camera_, survey: found };
        await tend({ ...options, size: fewKeys, name: true });
      }
      assert.ok(seenOf(phone).length >= 5);
    }
    for (let i = 0; i < 3; i++) {
      await camera.record();
      for (const phone of [ada, ben]) {
        const others = boxesOf(phone).length - seenOf(phone).length;
        await phone.tend(undefined, true);
        assert.is(seenOf(phone).length, 1);
        assert.ok(boxesOf(phone).length >= others, "nothing else went");
      }
    }
  });

  test("a recovery kit: everything is sealed to it, nothing is final, and it makes an owner", async () => {
    const { camera, ada, together } = await circleWorld();
    const paper = drawKit(ada.camera());
    const lines = printLines("kit", paper).join("\n");
    await installKit(paper, [await ada.looked()], ada.options());
    await refused("member", async () => grantKit(paper, [await ada.looked()], ada.options()));
    await together(ada);
    await grantKit(paper, [await ada.looked()], ada.options());
    const states = await testKit(parseLines("kit", lines), [await ada.looked()], ada.options());
    for (const { isMember, hasKey, isGranted } of states) {
      assert.ok(isMember && hasKey && isGranted);
    }
    const [clip, kept] = [await camera.record(), await camera.record()];
    await together(ada);
    await remove(ada, clip);
    await together(ada);
    assert.equal(missing(await finality(ada, clip)), ["recovery kit kit"]);
    assert.match(printFinality(await finality(ada, clip)), /on paper, which forgets nothing/);
    // Ada's phone is lost. A new one has the paper.
    const dora = new Phone("Dora", ada.objects);
    await openKit(parseLines("kit", lines), dora.options());
    await dora.restart();
    for (let round = 0; round < 4; round++) {
      const { survey } = await dora.tend();
      await tendKit(dora.camera(), survey.journal, dora.options());
      await camera.work();
    }
    assert.is(await stateOf(dora, kept), "whole");
    assert.is(dora.camera().kit, undefined);
    const roles = camera.members?.head.members.map(({ name, role }) => `${name} ${role}`).sort();
    assert.equal(roles, ["Ada owner", "Dora owner", "recovery kit kit"]);
    // She decides: Ada's phone and the paper go, what comes is hers alone.
    const { journal } = await dora.look();
    for (const { phone, role, name } of journal.members.head.members) {
      if (name === "Dora") continue;
      assert.ok(role);
      await removePhone(phone, { vault: dora.vault, camera: dora.camera(), journal });
    }
    await together(dora);
    const next = await camera.record();
    await together(dora);
    assert.is(await stateOf(dora, next), "whole");
    await remove(dora, next);
    await together(dora);
    assert.ok((await finality(dora, next)).final);
    assert.equal(await wrong(dora), []);
  });
});
