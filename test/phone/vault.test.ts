import { chmod, mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { nodeSuite } from "../../src/base/node/crypto.ts";
import { toHex } from "../../src/base/pure/bytes.ts";
import { isFailure } from "../../src/base/pure/failure.ts";
import { adoptCamera } from "../../src/phone/adopt.ts";
import { choose } from "../../src/phone/cli/export.ts";
import { openHome } from "../../src/phone/cli/store.ts";
import { deleteClips } from "../../src/phone/delete.ts";
import { unwrapVault, Vault, type Wrapped } from "../../src/phone/vault.ts";
import { ready } from "../../src/protocol/sealed/sodium.ts";
import { encodeTombstone } from "../../src/protocol/sealed/tombstone.ts";
import { printName } from "../../src/protocol/wire/name.ts";
import { pattern } from "../lib/sealed.ts";
import { suite } from "../lib/suite.ts";
import { temporaryFolder } from "../lib/world.ts";
import { film, MemoryStore, memoryWorld as world } from "./memory.ts";
import { pairedWorld, phone } from "./world.ts";

await ready();

suite("vault", (test) => {
  test("a one-time secret goes after the clip's key is durable, and not before", async () => {
    const { camera, store, keys, look, vault } = await world();
    await camera.record({ film });
    assert.is(keys.oneTime.length, 5);
    const saves = store.all.length;
    store.fails = true;
    await look().then(
      () => assert.unreachable(),
      () => {},
    );
    assert.is(keys.oneTime.length, 5);
    // What is at rest has neither lost the secret nor gained the key.
    const rest = (at: Wrapped | undefined) =>
      JSON.parse(text(unwrapVault(at as Wrapped))).cameras[0];
    assert.is(rest(store.all.at(-1)).oneTime.length, 5);
    store.fails = false;
    await look();
    const [first, second] = store.all.slice(saves).map(rest);
    assert.is(first.oneTime.length, 5);
    assert.is(first.clips.length, 1);
    assert.is(second.oneTime.length, 4);
    assert.is(second.clips.length, 1);
    assert.is((await look()).clips[0]?.state, "whole");
    assert.ok(vault.content.cameras.includes(keys));
  });

  test("it stays while the log does not name it, or names another header", async () => {
    const { camera, keys, look } = await world();
    await camera.record({ film, log: false });
    assert.is((await look()).faults.length, 1);
    assert.is(keys.oneTime.length, 5);
    assert.is(keys.clips.length, 1);
    await camera.record({ film, header: pattern(32) });
    const { faults } = await look();
    assert.ok(faults.some(({ text }) => text.includes("header is not the one")));
    assert.is(keys.oneTime.length, 5);
  });

  test("no secret goes on the log's word alone", async () => {
    const { camera, keys, look, link, vault } = await world();
    const [, , , other] = keys.oneTime;
    assert.ok(other);
    const say = camera.say.bind(camera);
    camera.say = (one) =>
      say(one.kind === "clip-started" ? { ...one, keyIds: [...one.keyIds, other.id] } : one);
    await camera.record({ film });
    const found = await look();
    assert.is(keys.oneTime.length, 4);
    assert.ok(keys.oneTime.includes(other));
    const options = { link, vault, camera: keys, survey: found, suite: nodeSuite, nowMs: 5 };
    await deleteClips(found.clips, options);
    assert.is(keys.oneTime.length, 4);
  });

  test("a day's secret goes when the log closes the day and its clips are in the vault", async () => {
    const { camera, keys, look, objects } = await world();
    const { parts } = await camera.record({ film, key: "day" });
    const [first] = parts;
    assert.ok(first);
    // The clip is not there yet: its day must wait for it.
    objects.delete(printName(first.name));
    await camera.say({ kind: "day-closed", day: 0 });
    await look();
    assert.is(keys.days.length, 3);
    await camera.put(first);
    await look();
    assert.equal(
      keys.days.map(({ day }) => day),
      [1, 2],
    );
    assert.is((await look()).clips[0]?.state, "whole");
  });

  test("a deletion or a loss that the log only claims hides no clip and frees no day", async () => {
    const { camera, keys, look, objects } = await world();
    const { id, parts } = await camera.record({ film, key: "day" });
    const clip = Buffer.from(id, "hex");
    const [first] = parts;
    assert.ok(first);
    objects.delete(printName(first.name));
    const liar = { camera: camera.signer.publicKey, clip, phone: camera.signer.publicKey };
    const { bytes: tombstone } = encodeTombstone({ ...liar, atMs: 1, keyIds: [] }, camera.signer);
    await camera.say({ kind: "tombstone-done", tombstone });
    await camera.say({ kind: "lost", reason: "full", clips: [{ clip, parts: 1 }] });
    await camera.say({ kind: "day-closed", day: 0 });
    const partly = await look();
    assert.is(partly.clips[0]?.state, "lost");
    assert.is(keys.days.length, 3);
    await camera.put(first);
    const { clips, faults } = await look();
    assert.is(clips[0]?.state, "whole");
    assert.not.ok(clips[0]?.confirmed);
    assert.equal(
      faults.map(({ severity, kind }) => `${severity} ${kind}`),
      ["lie forged"],
    );
    // What is left of a clip that lost its end is exported all the same.
    objects.delete(printName((parts.at(-1) ?? first).name));
    const left = await look();
    assert.is(left.clips[0]?.state, "lost");
    assert.is(choose(left, []).length, 1);
  });

  test("deleting a clip lets its closed day go, and names what a shared key still opens", async () => {
    const { camera, keys, look, link, vault, objects } = await world();
    const { parts } = await camera.record({ film, key: "day" });
    const [first] = parts;
    objects.delete(printName((first as NonNullable<typeof first>).name));
    const remove = async () => {
      const found = await look();
      const options = { link, vault, camera: keys, survey: found, suite: nodeSuite, nowMs: 5 };
      return (await deleteClips(found.clips, options)).length;
    };
    assert.is(await remove(), 1);
    assert.is(keys.days.length, 3);
    await camera.say({ kind: "day-closed", day: 0 });
    keys.deleted = [];
    await look();
    assert.is(keys.days.length, 3);
    assert.is(await remove(), 0);
    assert.is(keys.days.length, 2);
    await camera.record({ film, key: "restart" });
    assert.is(await remove(), 1);
  });

  test("nothing of a closed day goes while the log has a hole", async () => {
    const { camera, keys, look, objects } = await world();
    const said = await camera.say({ kind: "problem", code: "x", text: "x" });
    await camera.say({ kind: "day-closed", day: 1 });
    objects.delete(printName(said.name));
    await look();
    assert.is(keys.days.length, 3);
    await camera.put(said);
    await look();
    assert.is(keys.days.length, 1);
  });

  test("deleting destroys the clip's key", async () => {
    const { camera, keys, look, vault, link, store, objects } = await world();
    const read = await camera.record({ film });
    const unread = await camera.record({ film });
    const kept = await camera.record({ film });
    for (const { name } of unread.parts) objects.delete(printName(name));
    const later = await look();
    // Of three clips one is withheld: its secret waits for it.
    assert.is(keys.oneTime.length, 3);
    assert.is(keys.clips.length, 2);
    const clips = later.clips.filter((clip) => toHex(clip.id) !== kept.id);
    const before = store.all.at(-1) as Wrapped;
    const options = { link, vault, camera: keys, survey: later, suite: nodeSuite, nowMs: 5 };
    await deleteClips(clips, options);
    // Of the one whose parts are withheld only the log says which secret it is, and says it well.
    assert.is(keys.oneTime.length, 2);
    assert.equal(
      keys.clips.map(({ clip }) => toHex(clip)),
      [kept.id],
    );
    const after = store.all.at(-1) as Wrapped;
    assert.is.not(toHex(after.key), toHex(before.key));
    assert.throws(
      () => unwrapVault({ key: after.key, sealed: before.sealed }),
      (error: unknown) => isFailure(error) && error.stage === "vault",
    );
    // The keeper of the folder brings it back; it stays shut.
    for (const part of [...read.parts, ...unread.parts]) await camera.put(part);
    assert.equal(
      (await look()).clips.map(({ state }) => state),
      ["deleted", "deleted", "whole"],
    );
    assert.is(keys.clips.length, 1);
  });

  test("every save has a wrapping key of its own, and a changed byte is refused", async () => {
    const store = new MemoryStore();
    const vault = Vault.create(store, "Ada");
    await vault.save();
    await vault.save();
    const [a, b] = store.all as [Wrapped, Wrapped];
    assert.is.not(toHex(a.key), toHex(b.key));
    const opened = await Vault.open(store);
    assert.equal(opened.content, vault.content);
    for (let i = 0; i < b.sealed.length; i += 13) {
      const sealed = Uint8Array.from(b.sealed);
      sealed[i] = (sealed[i] ?? 0) ^ 1;
      assert.throws(
        () => unwrapVault({ key: b.key, sealed }),
        (error: unknown) => isFailure(error, "corrupt"),
      );
    }
    assert.throws(() => unwrapVault({ key: b.key, sealed: b.sealed.subarray(0, 20) }));
  });

  test(
    "the folder holds one vault and one key, and no secret in clear",
    async () => {
      await using paired = await pairedWorld();
      const { home, camera } = paired;
      await camera.record({ film });
      // As long as no chance puts it into what is sealed.
      const text = "what the camera has to say of itself";
      await camera.say({ kind: "problem", code: "p", text });
      await paired.run("clips");
      const all = (await readdir(home)).sort();
      const pages = all.filter((name) => name.startsWith("log."));
      assert.is(pages.length, 1);
      const page = await readFile(join(home, pages[0] ?? ""));
      assert.not.ok(page.includes("0.1.0") || page.includes(text));
      const files = all.filter((name) => !pages.includes(name));
      assert.is(files.length, 2);
      assert.is(files[0], "key");
      assert.match(files[1] ?? "", /^vault\.\d+$/);
      const sealed = await readFile(join(home, files[1] ?? ""));
      assert.not.ok(sealed.includes("oneTime") || sealed.includes('"Ada"'));
      // One program at a time; who holds it and dies gives it back.
      const held = await openHome(home, () => {});
      const busy = await phone(home, "phones");
      assert.is(busy.code, 1);
      assert.match(busy.err, /another command has the keys: waiting/);
      assert.match(busy.err, /another program works in/);
      await held[Symbol.asyncDispose]();
      assert.is((await phone(home, "phones")).code, 0);
    },
    { deadlineMs: 300_000 },
  );

  test("a folder that holds other things keeps its modes, and theirs", async () => {
    await using folder = await temporaryFolder();
    const at = (name: string) => join(folder.path, name);
    const modeOf = async (path: string) => (await stat(path)).mode & 0o777;
    await chmod(folder.path, 0o755);
    await mkdir(at("ssh"));
    await chmod(at("ssh"), 0o755);
    await writeFile(at("notes"), "");
    await chmod(at("notes"), 0o644);
    const warned: string[] = [];
    await (await openHome(folder.path, (text) => warned.push(text)))[Symbol.asyncDispose]();
    assert.equal(warned, []);
    await writeFile(at("key"), new Uint8Array(36));
    await chmod(at("key"), 0o644);
    await (await openHome(folder.path, (text) => warned.push(text)))[Symbol.asyncDispose]();
    assert.is(warned.length, 2);
    const modes = await Promise.all(["ssh", "notes", "key", "."].map((one) => modeOf(at(one))));
    assert.equal(modes, [0o755, 0o644, 0o600, 0o700]);
  });

  test("adopting again makes further keys under further indexes", async () => {
    const { vault, keys, camera } = await world();
    const before = keys.oneTime.map(({ index }) => index);
    await adoptCamera(vault, {
      ...{ identity: camera.identity, name: undefined, nowMs: 1, suite: nodeSuite },
      supply: { oneTime: 2, days: 1 },
    });
    assert.equal(
      keys.oneTime.map(({ index }) => index),
      [...before, 5, 6],
    );
    assert.is(keys.batch, 2);
    assert.is(keys.restarts.length, 2);
    assert.is(vault.content.cameras.length, 1);
  });
});

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("utf8");
}
