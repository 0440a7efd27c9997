import { chmod, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { nodeSuite } from "../../src/base/node/crypto.ts";
import { Failure, isFailure } from "../../src/base/pure/failure.ts";
import { adoptFrom, writeIdentity } from "../../src/device/adoption.ts";
import { createKeyring, openKeyring } from "../../src/device/keyring.ts";
import {
  checkWord,
  parsePairingFile,
  printPairingFile,
  verifyIdentity,
} from "../../src/protocol/sealed/pairing.ts";
import { makeOwner } from "../lib/owner.ts";
import { faultsOf, makeCamera, recording, startSealer } from "../lib/sealing.ts";
import { suite } from "../lib/suite.ts";
import { quickFolder } from "../lib/world.ts";

const failureOf = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  );

/** camera.json of a new camera, read as a phone reads it, and the owner.json that phone makes. */
async function prepare(home: string, seed = 0x77) {
  const camera = join(home, "camera.json");
  const { word, isNew } = await writeIdentity(home, { name: "porch", file: camera });
  const content = parsePairingFile("camera identity", new Uint8Array(await readFile(camera)));
  const identity = { ...verifyIdentity(content, nodeSuite), bytes: content };
  const owner = await makeOwner(identity, { seed });
  const file = join(home, `owner-${seed}.json`);
  await writeFile(file, printPairingFile("camera adoption", owner.adoption, ""));
  return { word, isNew, identity, owner, file };
}

suite("adoption", (test) => {
  test("two files make a camera ready, and both sides show the same words", async () => {
    await using home = await quickFolder();
    const { word, isNew, identity, file } = await prepare(home.path);
    assert.is(isNew, true);
    assert.is(word, checkWord(identity.hash));
    assert.is(identity.name, "porch");
    const { members, oneTimeKeys, word: both } = await adoptFrom(home.path, file);
    assert.equal(members, ["owner"]);
    assert.is(oneTimeKeys, 8);
    const { adopted } = await openKeyring(home.path);
    assert.is(both, checkWord(identity.hash, adopted?.hash ?? new Uint8Array()));
    assert.is(adopted?.membership.version, 1);
  });

  test("asking for the identity again gives the same one", async () => {
    await using home = await quickFolder();
    const first = await prepare(home.path);
    const second = await prepare(home.path);
    assert.is(second.isNew, false);
    assert.equal(second.identity.bytes, first.identity.bytes);
  });

  test("the same adoption again is well, another owner's is refused", async () => {
    await using home = await quickFolder();
    const { file, owner } = await prepare(home.path);
    const other = await prepare(home.path, 0x55);
    await adoptFrom(home.path, file);
    await adoptFrom(home.path, file);
    const failure = await failureOf(adoptFrom(home.path, other.file));
    assert.ok(isFailure(failure, "refused"));
    const kept = await readFile(join(home.path, "keys/adoption"));
    assert.is(Buffer.compare(kept, owner.adoption), 0);
  });

  test("an adoption of the same owner with more keys is taken, and what it replaces is used up first", async () => {
    await using home = await quickFolder();
    const { owner } = await makeCamera(home.path, { oneTime: 2, days: 1 });
    const ids: string[] = [];
    const record = async () => {
      const { sealer, stop } = await startSealer(home.path);
      const { clip } = await sealer.clip(recording(1));
      await stop();
      ids.push((await owner.openClip(join(home.path, "outbox"), clip)).keyId);
    };
    await record();
    const file = join(home.path, "more.json");
    const adopt = async (adoption: Uint8Array) => {
      await writeFile(file, printPairingFile("camera adoption", adoption, ""));
      return await adoptFrom(home.path, file);
    };
    const second = owner.further({ oneTime: 2 });
    assert.is((await adopt(second)).oneTimeKeys, 4);
    // Again is well; what came before it, and other bytes in its place, are not.
    await adopt(second);
    const stageOf = async (adoption: Uint8Array) => {
      const failure = await failureOf(adopt(adoption));
      return failure instanceof Failure ? failure.stage : failure;
    };
    assert.is(await stageOf(owner.adoption), "index");
    assert.is(await stageOf(owner.further({ batch: 2, oneTime: 3 })), "index");
    assert.is(await stageOf(owner.further({ batch: 9, firstIndex: 1 })), "index");
    assert.is(await stageOf(owner.further({ incarnation: 2 })), "incarnation");
    assert.is(await stageOf(owner.further({ member: "somebody else" })), "members");
    for (let i = 0; i < 4; i++) await record();
    // Two of the first supply, two of the second, and then a day key of the second.
    assert.is(new Set(ids).size, 5);
    const said = (await owner.readLog(join(home.path, "outbox"))).map(({ body }) => body.statement);
    assert.equal(
      said.flatMap((one) => (one.kind === "fallback-used" ? [one.key] : [])),
      ["day"],
    );
    assert.equal(
      said.flatMap((one) =>
        one.kind === "supply-acknowledged" ? [[one.batch, one.nextIndex, one.endIndex]] : [],
      ),
      [
        [1, 0, 2],
        [2, 1, 4],
        [2, 2, 4],
        [2, 3, 4],
        [2, 4, 4],
      ],
    );
    // By a command, while it runs: nothing is read from a file again.
    const running = await startSealer(home.path);
    const keyring = await openKeyring(home.path);
    const more = await keyring.resupply(owner.supply({ batch: 3, firstIndex: 4, oneTime: 1 }), {
      incarnation: 1,
    });
    assert.ok(more.adopted);
    await running.sealer.resupply(more.adopted);
    const { clip } = await running.sealer.clip(recording(1));
    await running.stop();
    ids.push((await owner.openClip(join(home.path, "outbox"), clip)).keyId);
    assert.is(new Set(ids).size, 6);
    assert.is(await stageOf(second), undefined);
    const strange = owner.supply({ batch: 4, firstIndex: 9, seed: 3 });
    const failure = await failureOf(keyring.resupply(strange, { incarnation: 1 }));
    assert.ok(isFailure(failure, "refused") && failure.stage === "phone");
    assert.equal(await faultsOf(home.path), []);
  });

  test("after a new incarnation only keys that are bound to it are taken, and used again", async () => {
    await using home = await quickFolder();
    const { owner, outbox } = await makeCamera(home.path);
    await (await startSealer(home.path)).stop();
    await rm(join(home.path, "journal"), { recursive: true });
    await (await startSealer(home.path)).stop();
    const file = join(home.path, "more.json");
    const adopt = async (adoption: Uint8Array) => {
      await writeFile(file, printPairingFile("camera adoption", adoption, ""));
      return await adoptFrom(home.path, file);
    };
    const failure = await failureOf(adopt(owner.further({})));
    assert.ok(failure instanceof Failure && failure.stage === "incarnation");
    await adopt(owner.further({ incarnation: 2 }));
    const { sealer, stop } = await startSealer(home.path);
    const { clip } = await sealer.clip(recording(1));
    await stop();
    assert.is((await owner.openClip(outbox, clip)).whole, true);
    const used = (await owner.readLog(outbox)).flatMap(({ body: { statement } }) =>
      statement.kind === "fallback-used" && statement.clip ? [statement.key] : [],
    );
    assert.equal(used, []);
  });

  test("an adoption of another camera, a wrong file and a cut one say what they are", async () => {
    await using home = await quickFolder();
    await using away = await quickFolder();
    await prepare(home.path);
    const other = await prepare(away.path);
    const stageOf = async (promise: Promise<unknown>) => {
      const failure = await failureOf(promise);
      return failure instanceof Failure ? failure.stage : failure;
    };
    assert.is(await stageOf(adoptFrom(home.path, other.file)), "camera");
    assert.is(await stageOf(adoptFrom(home.path, join(home.path, "camera.json"))), "holds");
    const text = await readFile(other.file, "utf8");
    await writeFile(other.file, text.slice(0, text.length / 2));
    assert.is(await stageOf(adoptFrom(home.path, other.file)), "json");
    const missing = await failureOf(adoptFrom(home.path, join(home.path, "none.json")));
    assert.ok(isFailure(missing, "absent"));
  });

  test("keys are kept to oneself: modes are tight, and loose ones are refused with the mend", async () => {
    await using home = await quickFolder();
    await prepare(home.path);
    const keys = join(home.path, "keys");
    assert.is((await stat(keys)).mode & 0o777, 0o700);
    for (const file of await readdir(keys)) {
      assert.is((await stat(join(keys, file))).mode & 0o777, 0o600, file);
    }
    await chmod(join(keys, "camera.key"), 0o640);
    const failure = await failureOf(openKeyring(home.path));
    assert.ok(isFailure(failure, "denied"));
    assert.match(failure.hint ?? "", /chmod 600/);
  });

  test("no secret stands in camera.json or comes out of the keyring", async () => {
    await using home = await quickFolder();
    const { file } = await prepare(home.path);
    await adoptFrom(home.path, file);
    const keyring = await openKeyring(home.path);
    const shown = JSON.stringify(keyring, (_, value) =>
      value instanceof Uint8Array ? Buffer.from(value).toString("hex") : value,
    );
    const written = await readFile(join(home.path, "camera.json"), "utf8");
    for (const name of ["camera.key", "request.key", "receiving.key"]) {
      const secret = (await readFile(join(home.path, "keys", name))).subarray(-32);
      assert.is(secret.length, 32);
      for (const text of [shown, written]) {
        assert.not.ok(text.includes(secret.toString("hex")), name);
        assert.not.ok(text.includes(secret.toString("base64").slice(0, 40)), name);
      }
    }
  });

  test("a camera is never made over another, and half a one is none", async () => {
    await using home = await quickFolder();
    const first = await createKeyring(home.path, "one");
    assert.ok(isFailure(await failureOf(createKeyring(home.path, "two")), "refused"));
    // The identity is written last: without it, making a camera was not finished.
    await rm(join(home.path, "keys/identity"));
    assert.ok(isFailure(await failureOf(openKeyring(home.path)), "absent"));
    const second = await createKeyring(home.path, "two");
    assert.not.equal(second.identity.camera, first.identity.camera);
  });

  test("keys of two cameras in one folder are noticed", async () => {
    await using home = await quickFolder();
    await using away = await quickFolder();
    await createKeyring(home.path, "one");
    await createKeyring(away.path, "two");
    const key = await readFile(join(away.path, "keys/camera.key"));
    await writeFile(join(home.path, "keys/camera.key"), key);
    assert.ok(isFailure(await failureOf(openKeyring(home.path)), "corrupt"));
  });
});
