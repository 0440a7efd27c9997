import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { nodeSuite } from "../../../src/base/node/crypto.ts";
import type { Action } from "../../../src/protocol/sealed/action.ts";
import { encodeTombstone } from "../../../src/protocol/sealed/tombstone.ts";
import { printName, toFileName } from "../../../src/protocol/wire/name.ts";
import { type Obeying, phoneOf, startCamera } from "../../lib/commands.ts";
import { FakeRelay } from "../../lib/mailbox.ts";
import { pattern } from "../../lib/sealed.ts";
import { type Camera, makeCamera, recording } from "../../lib/sealing.ts";
import { suite } from "../../lib/suite.ts";
import { quickFolder } from "../../lib/world.ts";

const owner = phoneOf();

function tombstone(camera: Camera, clip: Uint8Array): Action {
  const about = { camera: camera.keyring.identity.camera, clip, phone: owner.publicKey };
  const by = { sign: owner.sign, suite: nodeSuite };
  const { bytes } = encodeTombstone({ ...about, atMs: 1, keyIds: [] }, by);
  return { kind: "tombstone", replaces: 0, tombstone: bytes };
}

const idOf = ({ outbox }: Pick<Obeying, "outbox">, i: number) =>
  Buffer.from(outbox.clips()[i]?.clip ?? "", "hex");

suite("poll", (test) => {
  test("without a relay: a box in the outbox's folder is found; what is none stops nothing", async () => {
    await using home = await quickFolder();
    const camera = await makeCamera(home.path);
    const first = await startCamera(camera, { boxes: camera.outbox });
    await first.sealer.clip(recording(1));
    const { name, bytes } = first.seal(tombstone(camera, new Uint8Array(idOf(first, 0))));
    await writeFile(join(camera.outbox, "box.nonsense"), bytes);
    await writeFile(join(camera.outbox, toFileName(name).replace(/.$/, "0")), bytes);
    await writeFile(join(camera.outbox, toFileName(name)), bytes, { mode: 0o600 });
    while (first.done.length < 1) await new Promise((go) => setTimeout(go, 100));
    assert.equal(first.outbox.clips(), []);
    await first.stop();
  });

  test("over a relay: from a box to the log, in the order of numbers, once, also after a start", async () => {
    await using home = await quickFolder();
    const camera = await makeCamera(home.path);
    const relay = new FakeRelay();
    const first = await startCamera(camera, { relays: [relay] });
    await first.sealer.clip(recording(1));
    const put = ({ name, bytes }: ReturnType<Obeying["seal"]>) => relay.put({ name, bytes });
    const junk = first.seal({ kind: "ask", replaces: 0 });
    const garbage = { name: junk.name, bytes: pattern(100) };
    relay.objects.set(printName(garbage.name), garbage.bytes);
    await put(first.seal(tombstone(camera, new Uint8Array(idOf(first, 0)))));
    while (first.done.length < 1) await new Promise((go) => setTimeout(go, 5));
    await put(first.seal({ kind: "ask", replaces: 0 }));
    const nonces = async () =>
      (await camera.owner.readLog(camera.outbox)).filter(
        ({ body }) => body.statement.kind === "nonce",
      ).length;
    while ((await nonces()) < 1) await new Promise((go) => setTimeout(go, 5));
    await first.stop();
    const before = relay.requests;
    const again = await startCamera(camera, { relays: [relay] });
    await new Promise((go) => setTimeout(go, 200));
    assert.is(again.done.length, 0);
    assert.ok(relay.requests - before < 60, `${relay.requests - before} requests`);
    await put(again.seal(tombstone(camera, pattern(16))));
    while (again.done.length < 1) await new Promise((go) => setTimeout(go, 5));
    await again.stop();
    assert.equal(again.problems, []);
  });
});
