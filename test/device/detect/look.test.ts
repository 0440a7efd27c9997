import { equal, is, ok } from "uvu/assert";
import type { Frame, Rect } from "../../../src/device/camera/camera.ts";
import { type CropPlan, type Finder, lookAt, planCrops } from "../../../src/device/detect/look.ts";
import { suite } from "../../lib/suite.ts";

const frame = { width: 1280, height: 720 };
const model = { input: { width: 416, height: 256 }, crop: { width: 192, height: 192 } };
const plan = (given: Partial<CropPlan>) =>
  planCrops({ frame, model, sure: [], regions: [], places: [], most: 3, turn: 0, ...given });
const at = (x: number, y: number, width = 30, height = 60): Rect => ({ x, y, width, height });
const middle = ({ x, y, width, height }: Rect) => ({ x: x + width / 2, y: y + height / 2 });

suite("look", (test) => {
  test("what moves is looked at closer: a native square around it, inside the picture", () => {
    const [crop] = plan({ regions: [at(600, 300)] });
    ok(crop);
    equal([crop.width, crop.height], [192, 192]);
    equal(middle(crop), { x: 615, y: 330 });
    for (const corner of [at(0, 0), at(1250, 0), at(0, 660), at(1250, 660)]) {
      const [crop] = plan({ regions: [corner] });
      ok(crop && crop.x >= 0 && crop.y >= 0);
      ok(crop.x + crop.width <= 1280 && crop.y + crop.height <= 720);
    }
  });

  test("what a sure box explains is not looked at again; a region beside it is", () => {
    const sure = [{ box: at(595, 290, 40, 80), score: 0.7 }];
    is(plan({ sure, regions: [at(600, 300)] }).length, 0);
    is(plan({ sure, regions: [at(700, 300)] }).length, 1);
    // A car with somebody beside it: the box explains a small part of what moves.
    is(plan({ sure, regions: [at(560, 270, 130, 100)] }).length, 1);
  });

  test("a place where somebody was and is not found now comes first", () => {
    const [first] = plan({ regions: [at(100, 100)], places: [at(900, 400)], most: 1 });
    ok(first && middle(first).x > 800);
    is(plan({ places: [at(900, 400)], sure: [{ box: at(902, 401), score: 0.5 }] }).length, 0);
  });

  test("large things gain nothing from a crop", () => {
    is(plan({ regions: [at(300, 50, 250, 600)] }).length, 0);
    is(plan({ regions: [at(0, 0, 1280, 720)] }).length, 0);
    is(plan({ regions: [at(300, 200, 80, 170)] }).length, 1);
  });

  test("neighbours share a crop", () => {
    is(plan({ regions: [at(600, 300), at(640, 310)] }).length, 1);
  });

  test("at most so many, and in turns when there is more", () => {
    const regions = [0, 1, 2, 3, 4].map((i) => at(20 + 250 * i, 300));
    const seen = new Set<number>();
    for (let turn = 0; turn < 5; turn++) {
      const crops = plan({ regions, most: 2, turn });
      is(crops.length, 2);
      for (const crop of crops) seen.add(crop.x);
    }
    is(seen.size, 5);
  });

  test("a small picture is cut finer than its pixels, a tiny one not at all", () => {
    const small = { frame: { width: 640, height: 360 } };
    const [crop] = plan({ ...small, regions: [at(300, 150, 12, 24)] });
    ok(crop && crop.width < 192);
    const tiny = { frame: { width: 64, height: 48 } };
    for (const crop of plan({ ...tiny, regions: [at(10, 10, 3, 5)] })) {
      ok(crop.width <= 48 && crop.x >= 0 && crop.y >= 0);
    }
  });

  test("boxes of frame and crops are joined; what a crop cuts through is left out", async () => {
    const asked: (Rect | undefined)[] = [];
    const finder: Finder = {
      ...{ ...model, overlap: 0.6, inferenceMs: () => 10 },
      async find(_frame, { crop }) {
        asked.push(crop);
        if (!crop) return [{ box: at(100, 100), score: 0.8 }];
        const whole = { box: at(600, 300), score: 0.6 };
        const cut = { box: at(crop.x, crop.y + 60, 20, 60), score: 0.6 };
        return [whole, cut];
      },
    };
    const options = {
      ...{ model: finder, threshold: 0.4, least: 0.2, places: [], turn: 0, isUrgent: false },
    };
    const regions = [at(600, 300), at(100, 100)];
    const picture = frame as Frame;
    const { detections, crops } = await lookAt(picture, { ...options, regions, mostCrops: 3 });
    is(crops.length, 1);
    equal(
      detections.map(({ box }) => box.x),
      [100, 600],
    );
    equal(asked, [undefined, crops[0]]);
    const plain = await lookAt(picture, { ...options, regions, mostCrops: 0 });
    is(plain.detections.length, 1);
    is(plain.crops.length, 0);
    const hurried = { ...options, mostCrops: 3, isUrgent: true };
    const told = await lookAt(picture, { ...hurried, regions });
    equal([told.isTelling, told.crops.length, told.detections.length], [true, 0, 1]);
    const standing = await lookAt(picture, { ...hurried, regions: [at(600, 300)] });
    equal([standing.isTelling, standing.crops.length], [false, 1]);
  });
});
