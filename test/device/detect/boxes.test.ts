import * as assert from "uvu/assert";
import {
  createDecoder,
  type Head,
  isCut,
  join,
  overlapOf,
  suppress,
} from "../../../src/device/detect/boxes.ts";
import { suite } from "../../lib/suite.ts";

const bins = 11;
const everywhere = { left: 0, top: 0, right: 1000, bottom: 1000 };

function emptyHead(stride: number, width: number, height: number): Head {
  const data = new Float32Array((1 + 4 * bins) * width * height);
  data.fill(-12, 0, width * height);
  return { stride, width, height, data };
}

/** Puts a person into a cell: logit, and the distances to its sides in strides. */
function put(head: Head, cell: number, logit: number, sides: readonly number[]) {
  const plane = head.width * head.height;
  head.data[cell] = logit;
  for (const [side, distance] of sides.entries()) {
    const low = Math.floor(distance);
    const part = distance - low;
    for (let bin = 0; bin < bins; bin++) {
      const share = bin === low ? 1 - part : bin === low + 1 ? part : 0;
      head.data[(1 + side * bins + bin) * plane + cell] = share > 0 ? Math.log(share) : -60;
    }
  }
}

const box = (x: number, y: number, width: number, height: number) => ({ x, y, width, height });

suite("boxes", (test) => {
  const decoder = () => createDecoder({ bins, overlap: 0.6 });

  test("a cell gives the box around its middle, distances between bins included", () => {
    const head = emptyHead(16, 10, 6);
    put(head, 2 * 10 + 3, 2, [1.25, 2, 0.5, 3.75]); // middle at (56, 40)
    const { decode, boxes } = decoder();
    assert.is(decode([head], 0.4, everywhere), 1);
    const [left, top, right, bottom, score] = boxes;
    assert.ok(Math.abs((left ?? 0) - 36) < 1e-3, `${left}`);
    assert.ok(Math.abs((top ?? 0) - 8) < 1e-3);
    assert.ok(Math.abs((right ?? 0) - 64) < 1e-3);
    assert.ok(Math.abs((bottom ?? 0) - 100) < 1e-3);
    assert.ok(Math.abs((score ?? 0) - 1 / (1 + Math.exp(-2))) < 1e-6);
  });

  test("the threshold is a score, met exactly from above", () => {
    const head = emptyHead(8, 4, 4);
    put(head, 5, Math.log(0.3 / 0.7), [1, 1, 1, 1]);
    const { decode } = decoder();
    assert.is(decode([head], 0.299, everywhere), 1);
    assert.is(decode([head], 0.301, everywhere), 0);
  });

  test("overlapping boxes of several heads leave the best, others stay, best first", () => {
    const fine = emptyHead(8, 32, 32);
    const coarse = emptyHead(16, 16, 16);
    put(fine, 10 * 32 + 10, 1, [4, 4, 4, 4]); // around (84, 84)
    put(coarse, 5 * 16 + 5, 3, [2, 2, 2, 2]); // around (88, 88): nearly the same
    put(fine, 25 * 32 + 25, 2, [4, 4, 4, 4]);
    const { decode, boxes } = decoder();
    assert.is(decode([fine, coarse], 0.4, everywhere), 2);
    assert.is(Math.round(boxes[0] ?? 0), 56);
    assert.ok((boxes[4] ?? 0) > (boxes[9] ?? 0));
  });

  test("boxes end where the picture ends; what lies in the border alone is nothing", () => {
    const head = emptyHead(8, 8, 8);
    put(head, 0, 3, [3, 3, 3, 3]);
    put(head, 7 * 8 + 7, 3, [0.2, 0.2, 3, 3]); // wholly below the picture
    const { decode, boxes } = decoder();
    assert.is(decode([head], 0.4, { left: 0, top: 2, right: 64, bottom: 54 }), 1);
    assert.equal([...boxes.subarray(0, 2)], [0, 2]);
  });

  test("a second picture does not see the first one's boxes, and no room is made anew", () => {
    const head = emptyHead(8, 40, 40);
    for (let cell = 0; cell < 1600; cell++) put(head, cell, 3, [0.5, 0.5, 0.5, 0.5]);
    const { decode, boxes } = decoder();
    assert.is(decode([head], 0.01, everywhere), 300); // bounded
    assert.is(decode([emptyHead(8, 4, 4)], 0.01, everywhere), 0);
    put(head, 0, Number.NaN, [1, 1, 1, 1]);
    assert.is(decode([head], 0.9, everywhere), 300);
    assert.ok(boxes.every((value) => Number.isFinite(value)));
  });

  test("overlap is intersection over union", () => {
    assert.is(overlapOf(box(0, 0, 10, 10), box(5, 0, 10, 10)), 50 / 150);
    assert.is(overlapOf(box(0, 0, 10, 10), box(10, 0, 10, 10)), 0);
    assert.is(overlapOf(box(0, 0, 10, 10), box(0, 0, 10, 10)), 1);
  });

  test("suppress keeps the best of each heap and does not touch its input", () => {
    const all = [
      { box: box(1, 0, 10, 10), score: 0.5 },
      { box: box(0, 0, 10, 10), score: 0.9 },
      { box: box(50, 0, 10, 10), score: 0.4 },
    ];
    const kept = suppress(all, 0.6).map(({ score }) => score);
    assert.equal(kept, [0.9, 0.4]);
    assert.is(all[0]?.score, 0.5);
  });

  test("a box is cut where its crop cuts the picture, not where the picture ends", () => {
    const frame = { width: 200, height: 100 };
    const crop = box(0, 0, 100, 100);
    assert.not.ok(isCut(box(0, 0, 50, 100), crop, frame, 2));
    assert.ok(isCut(box(60, 10, 39, 50), crop, frame, 2));
    assert.not.ok(isCut(box(60, 10, 30, 50), crop, frame, 2));
    assert.ok(isCut(box(101, 10, 30, 50), box(100, 0, 100, 100), frame, 2));
  });

  test("a crop adds persons, replaces worse boxes, and does not add limbs", () => {
    const whole = [{ box: box(0, 0, 40, 100), score: 0.8 }];
    const same = { box: box(1, 0, 40, 100), score: 0.9 };
    const limb = { box: box(5, 60, 20, 40), score: 0.6 };
    const other = { box: box(80, 60, 20, 40), score: 0.6 };
    assert.equal(join(whole, [same, limb, other], 0.6), [same, other]);
  });
});
