import { readdir, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { systemClock } from "../../../src/base/node/time.ts";
import { isFailure } from "../../../src/base/pure/failure.ts";
import { openKeyring } from "../../../src/device/keyring.ts";
import { openMemoryOutbox } from "../../../src/device/outbox/outbox.ts";
import { openSealer } from "../../../src/device/seal/seal.ts";
import { type Camera, makeCamera, recording, startSealer } from "../../lib/sealing.ts";
import { suite } from "../../lib/suite.ts";
import { quickFolder } from "../../lib/world.ts";

/** A state folder with two clips and their log, at rest. */
async function filled(state: string): Promise<Camera & { clips: string[] }> {
  const camera = await makeCamera(state);
  const { sealer, stop } = await startSealer(state);
  const clips: string[] = [];
  for (let i = 0; i < 2; i++) clips.push((await sealer.clip(recording(3))).clip);
  await stop();
  return { ...camera, clips };
}

suite("outbox/memory", (test) => {
  test("two runs in memory open incarnations of their own, whatever was kept of the log", async () => {
    await using home = await quickFolder();
    const camera = await filled(home.path);
    const opened: number[] = [];
    const heads: number[] = [];
    const runOnce = async () => {
      const outbox = await openInMemory(camera);
      await openInMemory(camera).then(
        () => assert.unreachable("two cameras on one state folder"),
        (error) => assert.ok(isFailure(error, "busy")),
      );
      const sealer = await openSealer({
        ...{ keyring: await openKeyring(home.path), outbox, clock: systemClock, version: "test" },
        ...{ folder: join(home.path, "journal"), clockTrusted: () => true },
      });
      const [first] = outbox.entries();
      assert.ok(first);
      opened.push(first.incarnation);
      heads.push(first.sequence);
      await sealer.close();
      await outbox.close();
    };
    for (let i = 0; i < 3; i++) await runOnce();
    // Nothing of the notebook is left, then nothing of the log either: the incarnation is no old one.
    await rm(join(home.path, "journal/notebook.json"));
    await runOnce();
    await rm(camera.outbox, { recursive: true });
    await runOnce();
    assert.is(new Set(opened).size, 5);
    assert.ok(opened.every((one) => one > 2 ** 16));
    const [next = 0] = heads;
    assert.equal(heads, [next, next, next, next, 0]);
  });

  test("in memory: bounded, oldest first, in an incarnation of its own, nothing on the card", async () => {
    await using home = await quickFolder();
    const camera = await filled(home.path);
    const before = await snapshot(home.path);
    const outbox = await openInMemory(camera);
    const sealer = await openSealer({
      ...{ keyring: await openKeyring(home.path), outbox, clock: systemClock, version: "test" },
      ...{ folder: join(home.path, "journal"), clockTrusted: () => true },
    });
    const clips: string[] = [];
    for (let i = 0; i < 5; i++) {
      clips.push((await sealer.clip(recording(4, { bytes: 200_000 }))).clip);
      assert.ok(outbox.bytes() <= 2 * 1024 * 1024);
    }
    const names = outbox.entries();
    await sealer.close();
    assert.equal(await snapshot(home.path), before);
    const [incarnation = 0, ...others] = new Set(names.map((name) => name.incarnation));
    // Above all that a card that works again would open next.
    assert.ok(incarnation > 2 ** 16 && others.length === 0, `${incarnation}`);
    // Linked to the head that the card had, and opened by the restart key.
    const away = await quickFolder();
    await using _ = away;
    for (const name of names) {
      const file = `entry.${String(name.incarnation).padStart(10, "0")}.${String(name.sequence).padStart(16, "0")}.${Buffer.from(name.hash).toString("hex")}`;
      await writeFile(join(away.path, file), await outbox.read(name));
    }
    const lines = await camera.owner.readLog(away.path);
    const [opened] = lines.flatMap(({ body }) =>
      body.statement.kind === "incarnation-opened" ? [body.statement] : [],
    );
    assert.is(opened?.head?.sequence, (lines[0]?.sequence ?? 0) - 1);
    const problems = lines.flatMap(({ body }) =>
      body.statement.kind === "problem" ? [body.statement.code] : [],
    );
    assert.equal(problems, ["storage-failed"]);
    assert.ok(outbox.parts(clips.at(-1) ?? "").length > 0);
    assert.is(outbox.parts(clips[0] ?? "").length, 0);
    await outbox.close();
  });
});

function openInMemory({ outbox }: Camera) {
  const limitBytes = 2 * 1024 * 1024;
  return openMemoryOutbox({ folder: outbox, limitBytes, wallMs: () => Date.now() });
}

async function snapshot(state: string): Promise<string[]> {
  const files = await readdir(state, { recursive: true, withFileTypes: true });
  const lines = files.map(async (file) => {
    const path = join(file.parentPath, file.name);
    const { size, mtimeMs } = await stat(path);
    return `${path} ${size} ${mtimeMs}`;
  });
  return (await Promise.all(lines)).sort();
}
