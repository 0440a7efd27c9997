import { access } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { judge, readTruth } from "../../scripts/accuracy/score.ts";
import { measure } from "../../scripts/accuracy.ts";
import { openModel } from "../../src/device/detect/model.ts";
import { modelsFolder } from "../fakes/detector.ts";
import { suite } from "../lib/suite.ts";
import { sharedFolder } from "../lib/world.ts";

const truth = join(sharedFolder(), "data/vtest-persons.csv");
const films = [
  process.env.OBSCURA_VTEST ?? "",
  "/usr/share/doc/opencv-doc/examples/data/vtest.avi",
  join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "obscura/vtest.avi"),
];

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

const box = (x: number, height = 100) => ({ x, y: 0, width: 50, height });
const found = (x: number, score: number) => ({ box: box(x), score });
const near = (a: number, b: number) => Math.abs(a - b) < 1e-9;

const film = (await Promise.all(films.map(exists))).indexOf(true);
const isInstalled = await exists(join(modelsFolder, "nanodet-g-fp32.onnx"));
const isKnown = await exists(truth);

suite("accuracy", (test) => {
  test("average precision by hand: found, ghost, found of three", () => {
    const picture = {
      truth: [box(0), box(200), box(400)],
      found: [found(2, 0.9), found(800, 0.8), found(198, 0.7)],
    };
    const score = judge([picture], 0.75, [0]);
    assert.ok(near(score.averagePrecision, 1 / 3 + (1 / 3) * (2 / 3)));
    assert.is(score.found, 1);
    assert.is(score.wrong, 1);
    assert.ok(near(score.recallAtTenth, 1 / 3));
  });

  test("a second box on the same person is wrong, and one overlap below a half is none", () => {
    const twice = { truth: [box(0)], found: [found(0, 0.9), found(1, 0.8)] };
    assert.is(judge([twice], 0.5, [0]).wrong, 1);
    const beside = { truth: [box(0)], found: [found(18, 0.9)] }; // 32 / 68
    assert.is(judge([beside], 0.5, [0]).found, 0);
    const nobody = judge([{ truth: [], found: [] }, twice], 0.5, [0]);
    assert.is(nobody.averagePrecision, 1);
  });

  test("persons are counted by their height", () => {
    const picture = { truth: [box(0, 40), box(200)], found: [found(200, 0.9)] };
    const { byHeight } = judge([picture], 0.5, [0, 60]);
    assert.equal(
      byHeight.map(({ persons, found }) => [persons, found]),
      [
        [1, 0],
        [1, 1],
      ],
    );
  });

  test("the truth is read by frame", () => {
    const read = readTruth(
      "frame,person,x,y,width,height\n0,9,1,2,3,4\n0,15,5,6,7,8\n2,9,1,1,1,1\n",
    );
    assert.equal([...read.keys()], [0, 2]);
    assert.equal(read.get(0)?.[1], { x: 5, y: 6, width: 7, height: 8 });
  });

  for (const precision of ["fp32", "int8"] as const) {
    const name = `${precision} finds the persons of vtest.avi`;
    if (!isInstalled || !isKnown || film < 0) {
      const lack = !isInstalled ? "the detector is not installed" : "vtest.avi or its persons";
      test.skip(name, isInstalled ? `${lack} are not here` : lack);
      continue;
    }
    test(
      name,
      async () => {
        const model = await openModel({ folder: modelsFolder, precision, aspect: 4 / 3 });
        const score = await measure({
          ...{ film: films[film] ?? "", truth, fps: 1, model, crops: false },
        });
        await model.close();
        const percent = (100 * score.averagePrecision).toFixed(1);
        console.log(
          `\nmeasured: ${precision} AP50 ${percent}, ${score.found} of ${score.persons} persons found` +
            `, ${score.wrong} wrong boxes, ${score.inferenceMs.toFixed(1)} ms`,
        );
        assert.is(score.pictures, 80);
        assert.ok(score.averagePrecision >= 0.85, `AP ${percent}`);
        assert.ok(score.found / score.persons >= 0.85);
      },
      { deadlineMs: 300_000 },
    );
  }
});
