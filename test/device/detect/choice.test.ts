import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { isFailure } from "../../../src/base/pure/failure.ts";
import { agrees, choosePrecision, decide, type Trial } from "../../../src/device/detect/choice.ts";
import { readEntry } from "../../../src/device/detect/manifest.ts";
import { tinyModels } from "../../fakes/detector.ts";
import { suite } from "../../lib/suite.ts";

const somebody = (score: number, x = 0) => ({ box: { x, y: 0, width: 40, height: 100 }, score });
const trial = (inferenceMs: number, ...seen: Trial["seen"]): Trial => ({ inferenceMs, seen });

suite("choice", (test) => {
  test("int8 is taken when it is faster and sees the same", () => {
    const fp32 = trial(20, [somebody(0.8)], []);
    assert.is(decide(fp32, trial(10, [somebody(0.76, 3)], [])), "int8");
    assert.is(decide(fp32, trial(19.5, [somebody(0.8)], [])), "fp32", "a hair faster is noise");
    assert.is(decide(fp32, trial(30, [somebody(0.8)], [])), "fp32");
    assert.is(decide(fp32, trial(10, [somebody(0.6)], [])), "fp32", "another score");
    assert.is(decide(fp32, trial(10, [somebody(0.8, 30)], [])), "fp32", "another place");
    assert.is(decide(fp32, trial(10, [somebody(0.8)], [somebody(0.6)])), "fp32", "a ghost");
    assert.is(decide(fp32, trial(10, [], [])), "fp32", "blind");
  });

  test("doubtful persons need not agree, but agreeing on nobody proves nothing", () => {
    const sure = somebody(0.8);
    assert.ok(agrees(trial(1, [sure, somebody(0.35, 200)]), trial(1, [sure])));
    assert.not.ok(agrees(trial(1, []), trial(1, [])));
    assert.not.ok(agrees(trial(1, [sure]), trial(1, [sure], [])));
  });

  test("the choice is remembered for this machine, size and files, and only for them", async () => {
    await using folder = await tinyModels();
    const entry = await readEntry(folder.path);
    const file = join(folder.path, "choice.json");
    const options = { folder: folder.path, entry, threads: 1, file };
    const size = { width: 128, height: 96 };
    assert.is(await choosePrecision({ ...options, size }), "fp32"); // no pictures: no agreement
    const kept = JSON.parse(await readFile(file, "utf8"));
    assert.is(kept.precision, "fp32");
    await writeFile(file, JSON.stringify({ ...kept, precision: "int8" }));
    assert.is(await choosePrecision({ ...options, size }), "int8", "not tried again");
    const other = { width: 128, height: 64 };
    assert.is(await choosePrecision({ ...options, size: other }), "fp32", "tried again");
    await writeFile(file, "{ torn");
    assert.is(await choosePrecision({ ...options, size }), "fp32", "a torn file is forgotten");
  });

  test("a test picture that is gone, or none, is said at once", async () => {
    for (const harm of ["gone", "none"]) {
      await using folder = await tinyModels();
      if (harm === "none") await writeFile(join(folder.path, "picture.jpg"), "no JPEG");
      const entry = { ...(await readEntry(folder.path)), pictures: ["picture.jpg"] };
      const path = join(folder.path, "manifest.json");
      const manifest = JSON.parse(await readFile(path, "utf8"));
      const models = manifest.models.map((one: { id: string }) =>
        one.id === entry.id ? entry : one,
      );
      await writeFile(path, JSON.stringify({ ...manifest, models }));
      const size = { width: 128, height: 96 };
      const options = { folder: folder.path, entry, size, threads: 1 };
      const failure = await choosePrecision(options).catch((error) => error);
      assert.ok(isFailure(failure, "refused"), String(failure));
      const what = harm === "gone" ? /picture\.jpg cannot be read/ : /picture\.jpg is no JPEG/;
      assert.match(failure.message, what);
    }
  });

  test("a place that cannot be written costs no more than the memory", async () => {
    await using folder = await tinyModels();
    const entry = await readEntry(folder.path);
    const size = { width: 128, height: 96 };
    const file = join(folder.path, "no such folder", "choice.json");
    const chosen = await choosePrecision({ folder: folder.path, entry, size, threads: 1, file });
    assert.is(chosen, "fp32");
  });
});
