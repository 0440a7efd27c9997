import { chmod, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import type { Fault } from "../../../src/base/node/durable.ts";
import { ManualClock } from "../../../src/base/pure/clock.ts";
import { isFailure } from "../../../src/base/pure/failure.ts";
import { isStorageFailure, openOutbox } from "../../../src/device/outbox/outbox.ts";
import { type Camera, faultsOf, makeCamera, recording, startSealer } from "../../lib/sealing.ts";
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

const filesOf = async ({ outbox }: Camera, start: string) =>
  (await readdir(outbox)).filter((file) => file.startsWith(start)).sort();

/** Each invariant of outbox.md, broken on purpose; check must name exactly these. */
const breakages: [string, number[], (camera: Camera & { clips: string[] }) => Promise<void>][] = [
  [
    "a stranger's file",
    [1],
    ({ outbox }) => writeFile(join(outbox, "notes.txt"), "", { mode: 0o600 }),
  ],
  [
    "an unfinished file",
    [1],
    ({ outbox }) => writeFile(join(outbox, ".unfinished-x"), "", { mode: 0o600 }),
  ],
  [
    "a flipped bit in a part",
    [2],
    async (camera) => {
      const [, file = ""] = await filesOf(camera, "part.");
      const bytes = await readFile(join(camera.outbox, file));
      bytes[500] = (bytes[500] ?? 0) ^ 4;
      await writeFile(join(camera.outbox, file), bytes);
    },
  ],
  [
    "a part cut short",
    [2],
    async (camera) => {
      const file = (await filesOf(camera, "part.")).at(-1) ?? "";
      const bytes = await readFile(join(camera.outbox, file));
      await writeFile(join(camera.outbox, file), bytes.subarray(0, -1));
    },
  ],
  [
    "an entry under another incarnation",
    [3],
    async (camera) => {
      const file = (await filesOf(camera, "entry.")).at(-1) ?? "";
      const other = file.replace(".0000000001.", ".0000000002.");
      await rename(join(camera.outbox, file), join(camera.outbox, other));
    },
  ],
  [
    "a part twice",
    [4],
    async ({ outbox, clips }) => {
      const files = await filesOf({ outbox } as Camera, `part.0000000001.${clips[0]}`);
      const file = files.at(-1) ?? "";
      await rename(join(outbox, file), join(outbox, file.replace(/\.0{9}3\./, ".0000000002.")));
    },
  ],
  [
    "a hole in a clip",
    [4],
    async ({ outbox, clips }) => {
      const files = await filesOf({ outbox } as Camera, `part.0000000001.${clips[0]}`);
      await rm(join(outbox, files[1] ?? ""));
    },
  ],
  [
    "a hole in the log",
    [5],
    async (camera) => rm(join(camera.outbox, (await filesOf(camera, "entry."))[2] ?? "")),
  ],
  [
    "the end of the log missing",
    [6],
    async (camera) => rm(join(camera.outbox, (await filesOf(camera, "entry.")).at(-1) ?? "")),
  ],
  ["a damaged notebook", [6], ({ state }) => writeFile(join(state, "journal/notebook.json"), "{}")],
  [
    "a file that others may read",
    [8],
    async (camera) => chmod(join(camera.outbox, (await filesOf(camera, "part."))[0] ?? ""), 0o644),
  ],
  ["a folder that others may list", [8], ({ outbox }) => chmod(outbox, 0o755)],
  [
    "a clip half taken away",
    [9],
    async ({ outbox, clips }) => {
      const files = await filesOf({ outbox } as Camera, `part.0000000001.${clips[0]}`);
      await rm(join(outbox, files[0] ?? ""));
    },
  ],
  [
    "a clip left open",
    [10],
    async ({ state, clips }) => {
      const file = join(state, "journal/notebook.json");
      const notebook = JSON.parse(await readFile(file, "utf8"));
      notebook.open = [{ clip: clips[0], at: 4, phase: "starting" }];
      await writeFile(file, JSON.stringify(notebook));
    },
  ],
];

suite("outbox", (test) => {
  for (const [what, numbers, damage] of breakages) {
    test(`check names ${what}: ${numbers.join(", ")}`, async () => {
      await using home = await quickFolder();
      const camera = await filled(home.path);
      assert.equal(await faultsOf(home.path), []);
      await damage(camera);
      const found = await faultsOf(home.path);
      assert.equal(
        found.map(({ number }) => number),
        numbers,
      );
      assert.ok(found.every(({ faults }) => faults.length > 0));
    });
  }

  test("check names what is over the limit, and another camera's files", async () => {
    await using home = await quickFolder();
    const camera = await filled(home.path);
    const over = await faultsOf(home.path, { limitBytes: 1000 });
    assert.equal(
      over.map(({ number }) => number),
      [7],
    );
    await using away = await quickFolder();
    const other = await filled(away.path);
    const [file = ""] = await filesOf(other, "entry.");
    const bytes = await readFile(join(other.outbox, file));
    await writeFile(join(camera.outbox, file), bytes, { mode: 0o600 });
    assert.equal(
      (await faultsOf(home.path)).map(({ number }) => number),
      [3, 5],
    );
  });

  test("a start clears what was half taken away and what was never finished", async () => {
    await using home = await quickFolder();
    const camera = await filled(home.path);
    const [first = "", second = ""] = await filesOf(camera, `part.0000000001.${camera.clips[0]}`);
    await rm(join(camera.outbox, first));
    await writeFile(join(camera.outbox, `.unfinished-${second}`), "half");
    const { stop } = await startSealer(home.path);
    await stop();
    assert.equal(await faultsOf(home.path), []);
    assert.equal(await filesOf(camera, `part.0000000001.${camera.clips[0]}`), []);
    assert.is((await camera.owner.openClip(camera.outbox, camera.clips[1] ?? "")).whole, true);
  });

  test("the same object again changes nothing", async () => {
    await using home = await quickFolder();
    const camera = await filled(home.path);
    const outbox = await openOutbox(options(camera));
    const [name] = outbox.entries();
    if (!name) throw new Error("no entry");
    const file = (await filesOf(camera, "entry."))[0] ?? "";
    const before = await stat(join(camera.outbox, file));
    await outbox.put({ name, bytes: await outbox.read(name) } as never);
    await outbox.close();
    assert.is((await stat(join(camera.outbox, file))).ino, before.ino);
  });

  test("a second process is kept out, and let in when the first is gone", async () => {
    await using home = await quickFolder();
    const camera = await filled(home.path);
    const first = await openOutbox(options(camera));
    const failure = await openOutbox(options(camera)).catch((error: unknown) => error);
    assert.ok(isFailure(failure, "busy"));
    await first.close();
    await (await openOutbox(options(camera))).close();
  });

  test("a clock that was set back does not make a new clip the oldest", async () => {
    await using home = await quickFolder();
    await makeCamera(home.path);
    const clock = new ManualClock();
    const limitBytes = 2_000_000;
    const { sealer, outbox, stop } = await startSealer(home.path, { clock, limitBytes });
    const first = await sealer.clip(recording(2, { bytes: 200_000 }));
    clock.stepWall(-1_000_000_000_000);
    const second = await sealer.clip(recording(2, { bytes: 200_000 }));
    await sealer.clip(recording(2, { bytes: 200_000 }));
    assert.equal(outbox.parts(first.clip).length, 0);
    assert.ok(outbox.parts(second.clip).length > 0);
    await stop();
    assert.equal(await faultsOf(home.path, { limitBytes }), []);
  });

  test("a card with no room costs the oldest clip, and the log says which", async () => {
    await using home = await quickFolder();
    const camera = await filled(home.path);
    let misses = 0;
    const fault: Fault = (step, name) => {
      if (step !== "write" || !name.startsWith("part.") || misses > 0) return undefined;
      misses += 1;
      return { applied: false, error: Object.assign(new Error("full"), { code: "ENOSPC" }) };
    };
    const { sealer, outbox, stop } = await startSealer(home.path, { outboxFault: fault });
    const { clip, reason } = await sealer.clip(recording(3));
    await stop();
    assert.is(misses, 1);
    assert.is(reason, "ended");
    assert.is(outbox.parts(camera.clips[0] ?? "").length, 0);
    assert.is((await camera.owner.openClip(camera.outbox, clip)).whole, true);
    const lost = (await camera.owner.readLog(camera.outbox)).flatMap(({ body }) =>
      body.statement.kind === "lost" ? body.statement.clips : [],
    );
    assert.equal(
      lost.map((one) => Buffer.from(one.clip).toString("hex")),
      [camera.clips[0]],
    );
    assert.equal(await faultsOf(home.path), []);
  });

  test("a card so full that no entry fits gives a clip first and names it then", async () => {
    await using home = await quickFolder();
    const camera = await filled(home.path);
    let misses = 0;
    const fault: Fault = (step, name) => {
      if (step !== "create" || !name.startsWith("entry.") || misses > 0) return undefined;
      misses += 1;
      return { applied: false, error: Object.assign(new Error("full"), { code: "ENOSPC" }) };
    };
    const { stop } = await startSealer(home.path, { outboxFault: fault });
    await stop();
    const lost = (await camera.owner.readLog(camera.outbox)).filter(
      ({ body }) => body.statement.kind === "lost",
    );
    assert.is(lost.length, 1);
    assert.equal(await filesOf(camera, `part.0000000001.${camera.clips[0]}`), []);
    assert.equal(await faultsOf(home.path), []);
  });

  for (const step of ["fsync", "rename", "fsync-folder"] as const) {
    for (const applied of [false, true]) {
      for (const what of ["part.", "entry."]) {
        test(`${what} ${step} fails ${applied ? "after" : "before"} its effect: the next start mends`, async () => {
          await using home = await quickFolder();
          const camera = await filled(home.path);
          let count = 0;
          const fault: Fault = (now, name) => {
            // The third of its kind: in the midst of a clip, or its start in the log.
            if (now !== step || !name.startsWith(what) || ++count !== 3) return undefined;
            return { applied, error: Object.assign(new Error("io"), { code: "EIO" }) };
          };
          const { sealer, outbox } = await startSealer(home.path, { outboxFault: fault });
          const failure = await sealer.clip(recording(4)).catch((error: unknown) => error);
          assert.ok(isStorageFailure(failure), String(failure));
          assert.ok(isStorageFailure(await sealer.close().catch((error: unknown) => error)));
          await outbox.close();
          const again = await startSealer(home.path);
          const { clip } = await again.sealer.clip(recording(1));
          await again.stop();
          assert.equal(await faultsOf(home.path), []);
          const lines = await camera.owner.readLog(camera.outbox);
          const started = lines.filter(({ body }) => body.statement.kind === "clip-started");
          const ended = lines.filter(({ body }) => body.statement.kind === "clip-ended");
          assert.is(started.length, ended.length);
          for (const { body } of ended) {
            if (body.statement.kind !== "clip-ended") continue;
            const id = Buffer.from(body.statement.clip).toString("hex");
            const opened = await camera.owner.openClip(camera.outbox, id);
            assert.is(opened.last, body.statement.last.number);
            assert.is(opened.whole, body.statement.reason !== "cut-off");
          }
          assert.is((await camera.owner.openClip(camera.outbox, clip)).whole, true);
        });
      }
    }
  }

  test("a card that somebody else fills costs no clip until nothing at all is left", async () => {
    await using home = await quickFolder();
    const camera = await filled(home.path);
    const headroomBytes = Number.MAX_SAFE_INTEGER;
    const outbox = await openOutbox({ ...options(camera), headroomBytes });
    assert.equal(await outbox.victims(100_000), []);
    assert.is((await outbox.victims(1, { force: true })).length, 1);
    await outbox.close();
  });
});

function options({ outbox }: Camera) {
  return { folder: outbox, limitBytes: 1e9, headroomBytes: 0, wallMs: () => Date.now() };
}
