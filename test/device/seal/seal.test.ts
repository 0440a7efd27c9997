import { readdirSync } from "node:fs";
import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { ManualClock } from "../../../src/base/pure/clock.ts";
import { Failure, isFailure } from "../../../src/base/pure/failure.ts";
import { createKeyring } from "../../../src/device/keyring.ts";
import { all, type Line } from "../../lib/owner.ts";
import { pattern } from "../../lib/sealed.ts";
import { faultsOf, makeCamera, recording, startSealer } from "../../lib/sealing.ts";
import { suite } from "../../lib/suite.ts";
import { quickFolder } from "../../lib/world.ts";

const kindsOf = (lines: readonly Line[]) => lines.map(({ body }) => body.statement.kind);

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

suite("seal", (test) => {
  test("a recording becomes a clip that the owner alone opens, and the log names it", async () => {
    await using home = await quickFolder();
    const camera = await makeCamera(home.path);
    const { sealer, parts, stop } = await startSealer(home.path);
    const sealed = await sealer.clip(recording(7));
    await stop();
    const { events, whole, last, keyId } = await camera.owner.openClip(camera.outbox, sealed.clip);
    assert.is(whole, true);
    const fragments = events.flatMap((event) => (event.kind === "fragment" ? [event.bytes] : []));
    assert.is(fragments.length, 7);
    for (const [i, bytes] of fragments.entries()) assert.equal(bytes, pattern(10_000, 100 + i));
    // Opening; first fragment; two at a time after that; the closing piece.
    assert.equal(
      parts.map(({ number }) => number),
      [0, 1, 2, 3, 4, 5],
    );
    assert.is(sealed.parts, 6);
    const lines = await camera.owner.readLog(camera.outbox);
    assert.equal(kindsOf(lines), [
      ...["membership", "receiving-key", "started", "supply-acknowledged"],
      ...["clip-started", "clip-ended"],
    ]);
    assert.equal(
      all(lines, "clip-started").map(({ keyIds }) => keyIds.map(hex)),
      [[keyId]],
    );
    const [ended] = all(lines, "clip-ended");
    assert.is(ended?.last.number, last);
    assert.is(ended?.reason, "ended");
    assert.equal(await faultsOf(home.path), []);
  });

  test("a part is durable before the next piece is asked for", async () => {
    await using home = await quickFolder();
    const camera = await makeCamera(home.path);
    const { sealer, stop } = await startSealer(home.path);
    const seen: number[] = [];
    const source = recording(5);
    async function* watched() {
      for await (const piece of source.pieces) {
        // At once: a piece that lets itself be waited for is another case (the next test).
        const files = readdirSync(camera.outbox).filter((file) => file.startsWith("part."));
        seen.push(files.length);
        yield piece;
      }
    }
    await sealer.clip({ ...source, pieces: watched() });
    await stop();
    // init, thumbnail, then fragments 1 to 5 and the end: how many parts there were before each.
    assert.equal(seen, [1, 1, 1, 2, 2, 3, 3, 4]);
  });

  test("the first picture is durable while the encoder is still starting", async () => {
    await using home = await quickFolder();
    const camera = await makeCamera(home.path);
    let tell = () => {};
    const isKept = new Promise<void>((resolve) => {
      tell = resolve;
    });
    const { sealer, parts, stop } = await startSealer(home.path, {
      onPart: ({ number }) => number === 1 && tell(),
    });
    const source = recording(3);
    async function* slow() {
      const [init, thumbnail, ...rest] = await collect(source.pieces);
      if (thumbnail) yield thumbnail;
      await isKept;
      if (init) yield init;
      yield* rest;
    }
    const sealed = await sealer.clip({ ...source, pieces: slow() });
    await stop();
    const { events, whole } = await camera.owner.openClip(camera.outbox, sealed.clip);
    assert.is(whole, true);
    const kinds = events.map(({ kind }) => kind);
    assert.equal(kinds.filter((kind) => kind === "fragment").length, 3);
    assert.ok(kinds.indexOf("thumbnail") < kinds.indexOf("init"));
    // Opening; picture; first fragment; two; the closing piece.
    assert.equal(
      parts.map(({ number }) => number),
      [0, 1, 2, 3, 4],
    );
    assert.equal(await faultsOf(home.path), []);
  });

  test("an encoder that dies leaves a clip cut off, and the next one works", async () => {
    await using home = await quickFolder();
    const camera = await makeCamera(home.path);
    const problems: unknown[] = [];
    const { sealer, stop } = await startSealer(home.path, { onProblem: (p) => problems.push(p) });
    const cut = await sealer.clip(recording(9, { breakAfter: 4 }));
    const next = await sealer.clip(recording(2));
    await stop();
    assert.is(cut.reason, "cut-off");
    assert.is(problems.length, 1);
    const opened = await camera.owner.openClip(camera.outbox, cut.clip);
    assert.is(opened.whole, false);
    assert.is(opened.events.filter(({ kind }) => kind === "fragment").length, 4);
    assert.is((await camera.owner.openClip(camera.outbox, next.clip)).whole, true);
    const lines = await camera.owner.readLog(camera.outbox);
    assert.equal(
      all(lines, "clip-ended").map(({ reason }) => reason),
      ["cut-off", "ended"],
    );
    assert.is(all(lines, "problem")[0]?.code, "clip-cut-off");
    assert.equal(await faultsOf(home.path), []);
  });

  test("a camera that went away is not taken for storage that failed", async () => {
    await using home = await quickFolder();
    const camera = await makeCamera(home.path);
    const { sealer, stop } = await startSealer(home.path);
    const unplugged = new Failure("gone", "unplugged", {
      syscall: "VIDIOC_DQBUF",
      errno: "ENODEV",
    });
    const cut = await sealer.clip(recording(9, { breakAfter: 2, breakWith: unplugged }));
    await stop();
    assert.is(cut.reason, "cut-off");
    const lines = await camera.owner.readLog(camera.outbox);
    assert.is(all(lines, "problem")[0]?.text, "unplugged");
  });

  test("two clips at once keep apart, with a key each", async () => {
    await using home = await quickFolder();
    const camera = await makeCamera(home.path);
    const { sealer, stop } = await startSealer(home.path);
    const clips = await Promise.all([
      sealer.clip(recording(6, { paceMs: 2 })),
      sealer.clip(recording(5)),
    ]);
    await stop();
    const opened = await Promise.all(
      clips.map(({ clip }) => camera.owner.openClip(camera.outbox, clip)),
    );
    assert.equal(
      opened.map(({ whole }) => whole),
      [true, true],
    );
    assert.is(new Set(opened.map(({ keyId }) => keyId)).size, 2);
    assert.equal(await faultsOf(home.path), []);
  });

  test("no key is used twice, also over restarts; then day keys, and the log says so", async () => {
    await using home = await quickFolder();
    const camera = await makeCamera(home.path, { oneTime: 3 });
    const ids = new Set<string>();
    for (let i = 0; i < 5; i++) {
      const { sealer, stop } = await startSealer(home.path);
      const { clip } = await sealer.clip(recording(1));
      await stop();
      ids.add((await camera.owner.openClip(camera.outbox, clip)).keyId);
    }
    assert.is(ids.size, 5);
    const lines = await camera.owner.readLog(camera.outbox);
    assert.equal(
      all(lines, "fallback-used").map(({ key, day }) => [key, day]),
      [
        ["day", 0],
        ["day", 0],
      ],
    );
    assert.equal(
      all(lines, "supply-acknowledged").map(({ nextIndex }) => nextIndex),
      [0, 1, 2, 3, 3],
    );
    assert.equal(all(lines, "membership").length, 1);
    assert.equal(await faultsOf(home.path), []);
  });

  test("a day that is over is closed in the log, under the new day's key", async () => {
    await using home = await quickFolder();
    const camera = await makeCamera(home.path, { oneTime: 0, days: 3 });
    const clock = new ManualClock();
    const { sealer, stop } = await startSealer(home.path, { clock });
    await sealer.clip(recording(1));
    clock.advance(86_400_000);
    // Wall time means nothing here.
    clock.stepWall(-10 * 86_400_000);
    await sealer.clip(recording(1));
    clock.advance(3 * 86_400_000);
    await sealer.clip(recording(1));
    await stop();
    const lines = await camera.owner.readLog(camera.outbox);
    assert.equal(
      all(lines, "day-closed").map(({ day }) => day),
      [0, 1],
    );
    assert.equal(
      all(lines, "fallback-used").map(({ key, day, clip }) => [key, day, clip !== undefined]),
      [
        ["day", 0, true],
        ["day", 1, true],
        ["restart", undefined, false],
        ["restart", undefined, true],
      ],
    );
    assert.is(new Set(lines.map(({ epoch }) => epoch)).size, 3);
  });

  test("elapsed days go on over restarts", async () => {
    await using home = await quickFolder();
    const camera = await makeCamera(home.path, { oneTime: 0 });
    for (let i = 0; i < 3; i++) {
      const clock = new ManualClock();
      const { sealer, stop } = await startSealer(home.path, { clock });
      await sealer.clip(recording(1));
      clock.advance(50_000_000);
      await stop();
    }
    const days = all(await camera.owner.readLog(camera.outbox), "fallback-used").map(
      ({ day }) => day,
    );
    assert.equal(days, [0, 0, 1]);
  });

  test("a clip goes after its days of run time, whatever the clock says, and the log names it", async () => {
    await using home = await quickFolder();
    const camera = await makeCamera(home.path);
    const clock = new ManualClock();
    const dayMs = 86_400_000;
    const kept: string[][] = [];
    const clips: string[] = [];
    // A clip on each of the first two days; on the third the clock is ten years on.
    for (const day of [0, 1, 2, 3, 4, 5]) {
      const { sealer, outbox, stop } = await startSealer(home.path, { clock, retentionDays: 2 });
      if (day < 2) clips.push((await sealer.clip(recording(2))).clip);
      if (day === 2) clock.stepWall(3650 * dayMs);
      kept.push(outbox.clips().map(({ clip }) => clip));
      clock.advance(dayMs);
      await stop();
    }
    const [first = "", second = ""] = clips;
    assert.equal(kept, [[first], clips, clips, clips, [second], []]);
    assert.equal(
      all(await camera.owner.readLog(camera.outbox), "lost").map(({ reason, clips: gone }) => [
        reason,
        ...gone.map(({ clip, parts }) => [hex(clip), parts]),
      ]),
      [
        ["expired", [first, 3]],
        ["expired", [second, 3]],
      ],
    );
    assert.equal(await faultsOf(home.path), []);
  });

  test("a log that was put back goes on in a new incarnation, with the restart key", async () => {
    await using home = await quickFolder();
    const camera = await makeCamera(home.path);
    const first = await startSealer(home.path);
    await first.sealer.clip(recording(1));
    await first.stop();
    const entries = (await readdir(camera.outbox))
      .filter((file) => file.startsWith("entry."))
      .sort();
    for (const file of entries.slice(-1)) await rm(join(camera.outbox, file));
    const second = await startSealer(home.path);
    const { clip } = await second.sealer.clip(recording(2));
    await second.stop();
    const third = await startSealer(home.path);
    await third.stop();
    const names = (await readdir(camera.outbox)).filter((file) => file.startsWith("entry."));
    assert.is(
      names.filter((file) => file.startsWith("entry.0000000002.")).length,
      names.length - 5,
    );
    const opened = await camera.owner.openClip(camera.outbox, clip);
    assert.is(opened.whole, true);
    assert.is(opened.events.filter(({ kind }) => kind === "fragment").length, 2);
    // The hole stays to be seen: the entry before is named and missing.
    const broken = (await faultsOf(home.path)).map(({ number }) => number);
    assert.equal(broken, [5]);
  });

  test("a lost notebook means a new incarnation that is linked to the newest entry", async () => {
    await using home = await quickFolder();
    const camera = await makeCamera(home.path);
    const first = await startSealer(home.path);
    await first.sealer.clip(recording(1));
    await first.stop();
    await rm(join(home.path, "journal"), { recursive: true });
    const second = await startSealer(home.path);
    await second.sealer.clip(recording(1));
    await second.stop();
    const lines = await camera.owner.readLog(camera.outbox);
    const [opened] = all(lines, "incarnation-opened");
    assert.is(opened?.head?.incarnation, 1);
    assert.is(opened?.head?.sequence, 5);
    assert.equal([...new Set(lines.map(({ incarnation }) => incarnation))], [1, 2]);
    assert.ok(all(lines, "fallback-used").every(({ key }) => key === "restart"));
    assert.equal(await faultsOf(home.path), []);
  });

  test("without an owner nothing is sealed, and the way to one is said", async () => {
    await using home = await quickFolder();
    await createKeyring(home.path, "alone");
    const failure = await startSealer(home.path).then(
      () => undefined,
      (error: unknown) => error,
    );
    assert.ok(failure instanceof Failure && failure.kind === "absent");
    assert.match(failure.hint ?? "", /obscura-phone pair LINK/);
  });

  test("closing in the midst of a clip is refused, twice is well", async () => {
    await using home = await quickFolder();
    await makeCamera(home.path);
    const { sealer, stop } = await startSealer(home.path);
    const busy = sealer.clip(recording(1));
    const refusal = await sealer.close().catch((error: unknown) => error);
    assert.ok(isFailure(refusal, "misuse"));
    await busy;
    await stop();
    await sealer.close();
    assert.is((await stat(join(home.path, "journal"))).mode & 0o777, 0o700);
  });
});

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
