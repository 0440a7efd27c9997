import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { type Failure, isFailure } from "../../../src/base/pure/failure.ts";
import { openSlab, type Rect } from "../../../src/device/camera/camera.ts";
import { openModel } from "../../../src/device/detect/model.ts";
import { redPicture, tinyModels } from "../../fakes/detector.ts";
import { suite } from "../../lib/suite.ts";

async function failureOf(promise: Promise<unknown>): Promise<Failure> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(isFailure(error), `a Failure, not ${error}`);
  return error as Failure;
}

async function world(width: number, height: number, reds: readonly Rect[]) {
  const folder = await tinyModels();
  const model = await openModel({ folder: folder.path, precision: "fp32", aspect: width / height });
  const slab = openSlab({ slabBytes: 8 * 2 ** 20 });
  const bytes = redPicture(width, height, reds);
  const label = { format: "RGB3", width, height, capturedUs: 0, sequence: 0 } as const;
  return {
    folder,
    model,
    frame: slab.put(bytes, label),
    async [Symbol.asyncDispose]() {
      await model.close();
      await slab.close();
      await folder[Symbol.asyncDispose]();
    },
  };
}

const near = (a: number, b: number, slack: number) => Math.abs(a - b) <= slack;

suite("model", (test) => {
  test("boxes come back in pixels of the frame, through scale and border", async () => {
    // 256 x 128 into 128 x 64: half scale, no border. The red square is one cell of the network.
    await using plain = await world(256, 128, [{ x: 96, y: 48, width: 16, height: 16 }]);
    assert.equal(plain.model.input, { width: 128, height: 64 });
    const [one, ...rest] = await plain.model.find(plain.frame, { threshold: 0.4 });
    assert.is(rest.length, 0);
    assert.ok(one && one.score > 0.9);
    assert.ok(near(one.box.x, 72, 1) && near(one.box.width, 64, 1), JSON.stringify(one));
    assert.ok(near(one.box.y, 24, 1) && near(one.box.height, 64, 1));
  });

  test("a picture of another shape is letterboxed, and boxes end with the picture", async () => {
    // 128 x 32 into 128 x 64: 16 lines of border above and below.
    await using wide = await world(128, 32, [{ x: 64, y: 8, width: 8, height: 8 }]);
    const [one] = await wide.model.find(wide.frame, { threshold: 0.4 });
    assert.ok(one, "somebody");
    assert.ok(near(one.box.x, 52, 1) && near(one.box.width, 32, 1), JSON.stringify(one));
    assert.is(one.box.y, 0);
    assert.ok(near(one.box.height, 28, 1));
  });

  test("closed in the midst of a look it waits for it; the process lives", async () => {
    for (let round = 0; round < 5; round++) {
      const eyes = await world(256, 128, []);
      const looks = [1, 2, 3].map(() => eyes.model.find(eyes.frame, { threshold: 0.4 }));
      const ends = Promise.allSettled(looks);
      await eyes[Symbol.asyncDispose]();
      for (const end of await ends) {
        if (end.status === "rejected") assert.is((end.reason as Failure).kind, "gone");
      }
    }
  });

  test("a crop is looked at closer and answers in pixels of the whole frame", async () => {
    await using far = await world(512, 256, [{ x: 304, y: 144, width: 8, height: 8 }]);
    assert.equal(await far.model.find(far.frame, { threshold: 0.4 }), []); // a quarter of a cell
    const crop = { x: 280, y: 120, width: 64, height: 64 };
    const [one] = await far.model.find(far.frame, { threshold: 0.4, crop });
    assert.ok(one, "somebody");
    assert.ok(near(one.box.x + one.box.width / 2, 308, 1), JSON.stringify(one));
    assert.ok(near(one.box.y + one.box.height / 2, 148, 1));
    assert.ok(near(one.box.width, 32, 1));
  });

  test("blue is not red: the channels arrive in the network's order", async () => {
    await using eyes = await world(256, 128, []);
    const slab = openSlab({ slabBytes: 2 ** 20 });
    const bytes = redPicture(256, 128, [{ x: 96, y: 48, width: 16, height: 16 }]);
    for (let i = 0; i < bytes.length; i += 3)
      [bytes[i], bytes[i + 2]] = [bytes[i + 2] ?? 0, bytes[i] ?? 0];
    const label = { format: "RGB3", width: 256, height: 128, capturedUs: 0, sequence: 0 } as const;
    assert.equal(await eyes.model.find(slab.put(bytes, label), { threshold: 0.4 }), []);
    await slab.close();
  });

  test("looks asked for at once are all answered, each with its own", async () => {
    await using eyes = await world(256, 128, [{ x: 96, y: 48, width: 16, height: 16 }]);
    const crops = [0, 64, 96, 128, 192].map((x) => ({ x, y: 0, width: 64, height: 128 }));
    const answers = await Promise.all(
      crops.map((crop) => eyes.model.find(eyes.frame, { threshold: 0.4, crop })),
    );
    const centre = (at: number) => {
      const box = answers[at]?.[0]?.box;
      return box ? box.x + box.width / 2 : undefined;
    };
    assert.is(answers[0]?.length, 0);
    assert.ok(near(centre(1) ?? 0, 100, 1), `cut at the right side: ${centre(1)}`);
    assert.is(answers[4]?.length, 0);
    assert.ok(eyes.model.inferenceMs() === 0, "crops are not counted as looks at the whole");
    await eyes.model.find(eyes.frame, { threshold: 0.4 });
    assert.ok(eyes.model.inferenceMs() > 0);
  });

  test("closing ends a waiting look and refuses the next; twice is well", async () => {
    await using eyes = await world(256, 128, []);
    const waiting = failureOf(eyes.model.find(eyes.frame, { threshold: 0.4 }));
    await eyes.model.close();
    await eyes.model.close();
    assert.is((await waiting).kind, "gone");
    assert.is((await failureOf(eyes.model.find(eyes.frame, { threshold: 0.4 }))).kind, "gone");
  });

  test("a file that is not the manifest's is refused with the way to mend it", async () => {
    await using folder = await tinyModels();
    const path = join(folder.path, "tiny.onnx");
    const bytes = await readFile(path);
    bytes[100] = (bytes[100] ?? 0) ^ 1;
    await writeFile(path, bytes);
    const open = () => openModel({ folder: folder.path, precision: "fp32", aspect: 1 });
    const flipped = await failureOf(open());
    assert.is(flipped.kind, "corrupt");
    assert.is(flipped.stage, "sha256");
    assert.match(flipped.hint ?? "", /npm run model/);
    await rm(path);
    const gone = await failureOf(open());
    assert.is(gone.kind, "absent");
    assert.match(gone.hint ?? "", /npm run model/);
  });

  test("a manifest of another format, or without the model, is refused", async () => {
    await using folder = await tinyModels();
    const open = (id?: string) =>
      openModel({ folder: folder.path, precision: "fp32", aspect: 1, ...(id ? { id } : {}) });
    assert.is((await failureOf(open("yolo"))).kind, "absent");
    await writeFile(join(folder.path, "manifest.json"), '{"format": 2, "models": []}');
    assert.is((await failureOf(open())).kind, "refused");
    await writeFile(join(folder.path, "manifest.json"), "{");
    assert.is((await failureOf(open())).kind, "corrupt");
    for (const models of ["{}", "[null]", "5"]) {
      await writeFile(join(folder.path, "manifest.json"), `{"format": 1, "models": ${models}}`);
      assert.is((await failureOf(open())).kind, "absent", models);
    }
    await writeFile(join(folder.path, "manifest.json"), "null");
    assert.is((await failureOf(open())).kind, "refused");
  });

  test("an entry that nobody could be found with is refused, not obeyed", async () => {
    await using folder = await tinyModels();
    const file = join(folder.path, "manifest.json");
    const text = await readFile(file, "utf8");
    const open = () => openModel({ folder: folder.path, precision: "fp32", aspect: 1 });
    for (const [from, to] of [
      [/"score":[0-9.]+/, '"score":"x"'],
      [/"deviation":\[[^\]]*\]/, '"deviation":[1,0,1]'],
      [/"sizes":\[.*?\]/, '"sizes":[]'],
      [/"bytes":\d+/, '"bytes":1'],
    ] as const) {
      assert.match(text, from);
      await writeFile(file, text.replace(from, to));
      assert.is((await failureOf(open())).kind, "corrupt", to);
    }
  });

  test("a size that no stride divides is misuse", async () => {
    await using folder = await tinyModels();
    const size = { width: 100, height: 64 };
    const failure = await failureOf(
      openModel({ folder: folder.path, precision: "fp32", aspect: 1, size }),
    );
    assert.is(failure.kind, "misuse");
  });

  test("what is no network is refused when it is loaded, not when it is asked", async () => {
    await using folder = await tinyModels();
    const text = await readFile(join(folder.path, "manifest.json"), "utf8");
    await writeFile(join(folder.path, "tiny.onnx"), "nonsense");
    const { createHash } = await import("node:crypto");
    const hash = createHash("sha256").update("nonsense").digest("hex");
    const other = text
      .replace(/"sha256":"[0-9a-f]+"/g, `"sha256":"${hash}"`)
      .replace(/"bytes":\d+/g, `"bytes":${"nonsense".length}`);
    await writeFile(join(folder.path, "manifest.json"), other);
    const failure = await failureOf(
      openModel({ folder: folder.path, precision: "fp32", aspect: 1 }),
    );
    assert.is(failure.kind, "refused");
    assert.is(failure.stage, "session");
  });
});
