import { readdir } from "node:fs/promises";
import * as assert from "uvu/assert";
import type { Fault } from "../../../src/base/node/durable.ts";
import { ManualClock } from "../../../src/base/pure/clock.ts";
import { isFailure } from "../../../src/base/pure/failure.ts";
import { all } from "../../lib/owner.ts";
import { faultsOf, makeCamera, recording, startSealer } from "../../lib/sealing.ts";
import { suite } from "../../lib/suite.ts";
import { quickFolder } from "../../lib/world.ts";

suite("seal/clip", (test) => {
  test("a clip that begins as its day ends is sealed to no day that the log has closed", async () => {
    await using home = await quickFolder();
    const camera = await makeCamera(home.path, { oneTime: 0, days: 4 });
    const clock = new ManualClock();
    let midnightAt = "";
    const outboxFault: Fault = (step, name) => {
      if (step === "create" && midnightAt !== "" && name.startsWith(midnightAt)) {
        midnightAt = "";
        clock.advance(86_400_000);
      }
      return undefined;
    };
    const { sealer, stop } = await startSealer(home.path, { clock, outboxFault });
    // Before the clip's turn, and in the midst of it.
    for (const moment of ["entry.", "part."]) {
      midnightAt = moment;
      const noted = sealer.note({ kind: "problem", code: "x", text: "x" });
      await sealer.clip(recording(1));
      await noted;
    }
    await stop();
    const lines = await camera.owner.readLog(camera.outbox);
    assert.equal(
      lines.flatMap(({ body: { statement } }) => {
        if (statement.kind === "day-closed") return [`closed ${statement.day}`];
        if (statement.kind === "fallback-used") return [`used ${statement.day}`];
        return statement.kind === "clip-started" ? ["started"] : [];
      }),
      ["closed 0", "started", "used 1", "started", "closed 1", "used 1"],
    );
    assert.equal(await faultsOf(home.path), []);
  });

  test("a start that finds no room for its entry leaves no part behind", async () => {
    await using home = await quickFolder();
    const camera = await makeCamera(home.path);
    let isFull = false;
    const outboxFault: Fault = (step, name) =>
      isFull && step === "create" && name.startsWith("entry.")
        ? { applied: false, error: Object.assign(new Error("full"), { code: "ENOSPC" }) }
        : undefined;
    const { sealer, stop } = await startSealer(home.path, { outboxFault });
    isFull = true;
    const failure = await sealer.clip(recording(1)).catch((error: unknown) => error);
    assert.ok(isFailure(failure, "full"), String(failure));
    const parts = (await readdir(camera.outbox)).filter((file) => file.startsWith("part."));
    assert.equal(parts, []);
    isFull = false;
    const { clip } = await sealer.clip(recording(1));
    await stop();
    assert.is((await camera.owner.openClip(camera.outbox, clip)).whole, true);
    const lines = await camera.owner.readLog(camera.outbox);
    assert.equal(
      all(lines, "clip-started").map((one) => hex(one.clip)),
      [clip],
    );
    assert.equal(await faultsOf(home.path), []);
  });

  test("the oldest clips make room, and the log names each before it goes", async () => {
    await using home = await quickFolder();
    const camera = await makeCamera(home.path);
    const limitBytes = 2 * 1024 * 1024;
    const { sealer, outbox, stop } = await startSealer(home.path, { limitBytes });
    const clips: string[] = [];
    for (let i = 0; i < 5; i++)
      clips.push((await sealer.clip(recording(4, { bytes: 200_000 }))).clip);
    assert.ok(outbox.bytes() <= limitBytes);
    await stop();
    const kept = clips.filter((clip) => outbox.parts(clip).length > 0);
    const lines = await camera.owner.readLog(camera.outbox);
    const lost = all(lines, "lost").flatMap((one) => one.clips.map(({ clip }) => hex(clip)));
    assert.ok(lost.length > 0 && kept.length > 0);
    assert.equal([...lost, ...kept], clips);
    for (const clip of kept)
      assert.is((await camera.owner.openClip(camera.outbox, clip)).whole, true);
    assert.equal(await faultsOf(home.path, { limitBytes }), []);
  });

  test("what went so that an entry had room is named, however often its own entry found none", async () => {
    await using home = await quickFolder();
    const camera = await makeCamera(home.path);
    // Whether each next entry finds room; after these, all do.
    let entries: boolean[] = [];
    const noRoom = { applied: false, error: Object.assign(new Error("full"), { code: "ENOSPC" }) };
    const outboxFault: Fault = (step, name) =>
      step === "create" && name.startsWith("entry.") && entries.shift() === false
        ? noRoom
        : undefined;
    const { sealer, outbox, stop } = await startSealer(home.path, { outboxFault });
    const clips: string[] = [];
    for (let i = 0; i < 5; i++) clips.push((await sealer.clip(recording(1))).clip);
    const gone = () => clips.filter((clip) => outbox.parts(clip).length === 0);

    // The first goes for this entry, and its own entry finds no room until there is none to give.
    entries = [false, true, ...Array.from({ length: 5 }, () => false)];
    const note = { kind: "problem", code: "x", text: "x" } as const;
    const failure = await sealer.note(note).catch((error: unknown) => error);
    assert.ok(isFailure(failure, "full"), String(failure));
    assert.equal(gone(), clips);
    await sealer.note(note);
    const lost = async () => {
      const lines = await camera.owner.readLog(camera.outbox);
      return all(lines, "lost").flatMap((one) => one.clips.map(({ clip }) => hex(clip)));
    };
    assert.equal(await lost(), clips);

    // Nor is it forgotten when nothing is said any more before the stop.
    const { clip } = await sealer.clip(recording(1));
    clips.push(clip);
    entries = [false, false];
    await sealer.note(note).catch((error: unknown) => assert.ok(isFailure(error, "full")));
    assert.equal(gone(), clips);
    entries = [];
    await stop();
    assert.equal(await lost(), clips);
    assert.equal(await faultsOf(home.path), []);
  });

  test("a clip that does not fit even alone is cut off and said, and the camera goes on", async () => {
    await using home = await quickFolder();
    const camera = await makeCamera(home.path);
    const limitBytes = 1024 * 1024;
    const problems: unknown[] = [];
    const options = { limitBytes, onProblem: (p: unknown) => problems.push(p) };
    const { sealer, stop } = await startSealer(home.path, options);
    const big = await sealer.clip(recording(20, { bytes: 100_000 }));
    assert.is(big.reason, "cut-off");
    assert.ok(isFailure(problems[0], "full"));
    const opened = await camera.owner.openClip(camera.outbox, big.clip);
    assert.ok(opened.events.filter(({ kind }) => kind === "fragment").length > 2);
    const small = await sealer.clip(recording(1));
    assert.is(small.reason, "ended");
    await stop();
    const ended = all(await camera.owner.readLog(camera.outbox), "clip-ended");
    assert.equal(
      ended.map(({ reason }) => reason),
      ["cut-off", "ended"],
    );
    assert.is(ended[0]?.last.number, opened.last);
    assert.equal(await faultsOf(home.path, { limitBytes }), []);
  });
});

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
