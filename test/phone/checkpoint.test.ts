import * as assert from "uvu/assert";
import { toHex } from "../../src/base/pure/bytes.ts";
import { baseOf } from "../../src/phone/base.ts";
import { deleteClips } from "../../src/phone/delete.ts";
import { look } from "../../src/phone/survey.ts";
import { Vault } from "../../src/phone/vault.ts";
import { encodeCheckpoint } from "../../src/protocol/sealed/checkpoint.ts";
import { sign } from "../../src/protocol/sealed/sodium.ts";
import { HouseCamera } from "../fakes/camera.ts";
import { nodeSuite } from "../lib/sealed.ts";
import { suite } from "../lib/suite.ts";
import { circleWorld, join, type Phone, tick } from "./circle.ts";

/** Keys are made: with other work on the machine that takes a while. */
const slow = { deadlineMs: 300_000 };
const often = { entries: 2, ageMs: 0, everyMs: 0 };

const serious = async (phone: Phone) =>
  (await phone.look()).faults
    .filter(({ severity }) => severity !== "note")
    .map(({ severity, kind, sequence }) => `${severity} ${kind} ${sequence ?? ""}`.trim());
const baseSequence = (phone: Phone) => baseOf(phone.camera(), nodeSuite)?.sequence;

/** Ada, and mostly Ben, with a camera that has three clips; nobody has vouched yet. */
async function makeWorld({ isAlone = false } = {}) {
  const world = await circleWorld();
  const { camera, ada, objects, together } = world;
  const ben = isAlone ? ada : await join(ada, camera, "Ben");
  await together(ada, ben);
  const sequences = () =>
    [...objects.all.values()].flatMap(({ name }) => (name.kind === "entry" ? name.sequence : []));
  const drop = (sequence: number) => {
    for (const [text, { name }] of objects.all) {
      if (name.kind === "entry" && name.sequence === sequence) objects.all.delete(text);
    }
  };
  /** As retention takes a clip, and says so. */
  const lose = async (clip: Uint8Array) => {
    const parts = [...objects.all].filter(
      ([, { name }]) => name.kind === "part" && toHex(name.clip) === toHex(clip),
    );
    for (const [text] of parts) objects.all.delete(text);
    const lost = { clip, parts: parts.length };
    await camera.say({ kind: "lost", clips: [lost], reason: "full" });
  };
  const remove = async (phone: Phone, clip: Uint8Array) => {
    const survey = await phone.look();
    const meant = survey.clips.filter(({ id }) => toHex(id) === toHex(clip));
    const options = { ...phone.options(), camera: phone.camera(), survey };
    await deleteClips(meant, options);
  };
  const gone = [await camera.record(), await camera.record()] as const;
  camera.newEpoch();
  const kept = await camera.record();
  camera.newEpoch();
  await together(ada, ben);
  return { ...world, ben, sequences, drop, lose, remove, gone, kept };
}

suite("phone/checkpoint", (test) => {
  test(
    "what is over is vouched for, quoted and let go; every phone goes on and is well",
    async () => {
      const { camera, ada, ben, together, objects, sequences, lose, remove, gone, kept } =
        await makeWorld();
      ada.worth = often;
      // The first clips are there: nothing may go.
      const before = (await ada.look()).journal.records;
      await together(ada, ben);
      const started = (clip: Uint8Array) =>
        before.find(({ body }) => {
          const said = body?.statement;
          return said?.kind === "clip-started" && toHex(said.clip) === toHex(clip);
        })?.entry.sequence ?? -1;
      assert.ok((baseSequence(ada) ?? 0) <= started(gone[0]));
      await lose(gone[0]);
      await remove(ada, gone[1]);
      await ada.tend();
      await camera.work();
      await ada.tend();
      await camera.work();
      await ada.tend();
      // Ben has not confirmed: what his phone has to read of it stays.
      assert.ok((baseSequence(ada) ?? 0) <= started(gone[1]));
      assert.ok(sequences().includes(started(gone[1])));
      await together(ada, ben);
      const base = baseSequence(ada);
      assert.is(base, started(kept), "up to the first clip that is there");
      assert.is(baseSequence(ben), base);
      assert.is(Math.min(...sequences()), base);
      for (const phone of [ada, ben]) {
        const survey = await phone.look();
        assert.ok(survey.well, JSON.stringify(survey.faults));
        assert.is(survey.journal.records[0]?.entry.sequence, base);
        assert.ok(survey.faults.some(({ kind }) => kind === "checkpoint"));
        assert.equal(
          survey.clips.map(({ id, state }) => [toHex(id), state]),
          [[toHex(kept), "whole"]],
        );
      }
      // A deletion after it becomes final as ever.
      await remove(ben, kept);
      await together(ada, ben);
      const [deleted] = (await ada.look()).clips.filter(({ id }) => toHex(id) === toHex(kept));
      assert.ok(!deleted || deleted.finality?.final);
      // One that joins begins there, of another role too; and from then on.
      const carl = await join(ada, camera, "Carl", "viewer");
      const asked: number[] = [];
      const { get } = objects.link;
      carl.objects = Object.assign(objects.copy(), {});
      Object.assign(carl.objects.link, {
        get: (name: Parameters<typeof get>[0]) => {
          if (name.kind === "entry") asked.push(name.sequence);
          return get(name);
        },
      });
      assert.equal(await serious(carl), []);
      assert.ok(Math.min(...asked) >= (base ?? 0));
      carl.objects = objects;
      await camera.record();
      await together(ada, ben, carl);
      for (const phone of [ada, ben, carl]) assert.equal(await serious(phone), []);
    },
    slow,
  );

  test(
    "a hole above a checkpoint is a hole, its own entry too; one below is none",
    async () => {
      const { ada, ben, together, drop, lose, sequences, gone, objects } = await makeWorld();
      for (const clip of gone) await lose(clip);
      const old = objects.copy();
      ada.worth = often;
      await together(ada, ben);
      const base = baseSequence(ada) ?? 0;
      assert.ok(base > 3);
      const all = objects.copy();
      const restore = () => {
        objects.all.clear();
        for (const [name, one] of all.all) objects.all.set(name, one);
      };
      drop(base + 2);
      assert.equal(await serious(ben), [`loss gap ${base + 2}`]);
      restore();
      drop(base);
      const without = await serious(ben);
      assert.is(without[0], `loss gap ${base}`);
      assert.ok(without.every((text) => text.startsWith("loss ")));
      restore();
      drop(Math.max(...sequences()));
      assert.ok((await serious(ben)).every((text) => /loss (rollback|gap|withheld)/.test(text)));
      assert.ok((await serious(ben)).length > 0);
      restore();
      // What an older copy still has before it is not asked for, with or without holes.
      for (const [name, one] of old.all) if (one.name.kind === "entry") objects.all.set(name, one);
      drop(1);
      assert.equal(await serious(ben), []);
    },
    slow,
  );

  test(
    "a phone that was away takes the word of an owner it knows, and nobody else's",
    async () => {
      const { ada, ben, camera, together, lose, gone, objects } = await makeWorld();
      const away = structuredClone(ben.home.all.at(-1));
      for (const clip of gone) await lose(clip);
      ada.worth = often;
      await together(ada);
      const base = baseSequence(ada) ?? 0;
      assert.ok(base > 0);
      // Its home is that of before: it knows of no checkpoint.
      if (away) ben.home.all.push(away);
      await ben.restart();
      assert.is(baseSequence(ben), undefined);
      assert.equal(await serious(ben), []);
      assert.is(baseSequence(ben), base);
      // Whoever has the camera's key can quote what it likes, and not sign for an owner.
      const last = (await ada.look()).journal.records.at(-1)?.entry;
      assert.ok(last);
      const { list } = baseOf(ada.camera(), nodeSuite) ?? {};
      assert.ok(list);
      const vouch = (phone: Uint8Array, seed: Uint8Array) => {
        const { incarnation, sequence, hash } = last;
        const about = { camera: camera.id, phone, atMs: tick(), incarnation, sequence, hash, list };
        const by = { sign: (bytes: Uint8Array) => sign(seed, bytes), suite: nodeSuite };
        return encodeCheckpoint(about, by).bytes;
      };
      const carl = await join(ada, camera, "Carl", "viewer");
      const { phone, phoneKey } = carl.vault.content;
      const at = await (async () => {
        await camera.say({ kind: "checkpointed", checkpoint: vouch(phoneKey, phone) });
        return (await ada.look()).journal.records.at(-1)?.entry.sequence;
      })();
      for (const one of [ada, ben, carl]) {
        assert.equal(await serious(one), [`lie forged ${at}`]);
        assert.ok((baseSequence(one) ?? 0) <= last.sequence);
        assert.is.not(baseSequence(one), last.sequence);
      }
      assert.ok(objects.all.size > 0);
    },
    slow,
  );

  test(
    "a fork below a checkpoint is named at it, by who was there and by who joined",
    async () => {
      const { ada, ben, camera, together, lose, gone, objects } = await makeWorld();
      // Whoever copied the card goes on from before what was vouched for.
      const fork = objects.copy();
      const copy = new HouseCamera(fork, "Front door", camera);
      for (const clip of gone) await lose(clip);
      camera.newEpoch();
      await camera.record();
      ada.worth = often;
      await together(ada, ben);
      camera.newEpoch();
      const newer = await camera.record();
      await lose(newer);
      await together(ada, ben);
      const base = baseSequence(ada) ?? 0;
      for (let i = 0; i < base + 20; i++) {
        if (i % 3 === 0) copy.newEpoch();
        await copy.say({ kind: "problem", code: "p", text: `${i}` });
      }
      ben.objects = fork;
      const found = await serious(ben);
      assert.ok(
        found.some((text) => text.startsWith("lie fork")),
        `${found}`,
      );
      // Both branches, mixed.
      for (const [name, one] of objects.all) fork.all.set(name, one);
      assert.ok((await serious(ben)).some((text) => text.startsWith("lie fork")));
    },
    slow,
  );

  test(
    "a phone that is killed at any step of it goes on with it, and nothing is torn",
    async () => {
      for (let step = 1; ; step++) {
        const world = await makeWorld({ isAlone: true });
        const { ada, camera, together, lose, sequences, gone, objects } = world;
        for (const clip of gone) await lose(clip);
        ada.worth = often;
        // Each thing that it puts or takes away, and each state of its home, is a step.
        let steps = 0;
        const count = () => {
          steps += 1;
          if (steps === step) throw new Error("killed");
        };
        const { remove, put } = objects.link;
        const { replace } = ada.home;
        Object.assign(objects.link, {
          put: (one: Parameters<typeof put>[0]) => {
            count();
            return put(one);
          },
          remove: (name: Parameters<NonNullable<typeof remove>>[0]) => {
            count();
            return remove?.(name);
          },
        });
        ada.home.replace = async (wrapped) => {
          count();
          await replace.call(ada.home, wrapped);
        };
        let killed = 0;
        for (let round = 0; round < 4; round++) {
          await ada.tend().catch(async () => {
            killed += 1;
            await ada.restart();
          });
          await camera.work();
        }
        Object.assign(objects.link, { put, remove });
        ada.home.replace = replace;
        await together(ada);
        const base = baseSequence(ada) ?? 0;
        assert.ok(base > 3, `step ${step}`);
        assert.is(Math.min(...sequences()), base, `step ${step}`);
        assert.equal(await serious(ada), [], `step ${step}`);
        if (killed === 0) {
          assert.ok(step > 5);
          return console.log(`measured: a checkpoint broken off at ${step - 1} steps of the phone`);
        }
        // Each of the first steps; of the many entries that are taken away afterwards some.
        if (step >= 8) step += 4;
      }
    },
    slow,
  );

  test(
    "with a shelf: the log that is kept begins there too, and is not fetched again",
    async () => {
      const { ada, ben, together, lose, gone } = await makeWorld();
      const pages = new Map<string, Uint8Array>();
      const shelf = {
        read: async (name: string) => pages.get(name),
        write: async (name: string, bytes: Uint8Array) => void pages.set(name, bytes),
      };
      const read = async () => {
        let fetched = 0;
        const { link } = ada.objects;
        const counting: typeof link = {
          ...link,
          get: (name) => {
            if (name.kind === "entry") fetched += 1;
            return link.get(name);
          },
        };
        const options = { vault: ada.vault, camera: ada.camera(), suite: nodeSuite, shelf };
        const { journal, keepOn } = await look({ ...options, link: counting, depth: "new" });
        await keepOn();
        return { journal, fetched };
      };
      const first = await read();
      assert.is(first.fetched, first.journal.records.length);
      for (const clip of gone) await lose(clip);
      ada.worth = often;
      await together(ada, ben);
      const base = baseSequence(ada) ?? 0;
      assert.ok(base > 0);
      const second = await read();
      assert.is(second.journal.records[0]?.entry.sequence, base);
      const again = await read();
      assert.is(again.fetched, 0);
      assert.equal(again.journal.records, second.journal.records);
      assert.is((await read()).fetched, 0);
      assert.ok((await Vault.open(ada.home)).content.cameras[0]?.base);
    },
    slow,
  );
});
