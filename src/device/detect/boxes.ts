import type { Rect } from "../camera/camera.ts";

/** A person found: box in pixels of the upright picture, score 0..1. */
export type Detection = { box: Rect; score: number };
/** One raw output of the network: [1, 1 + 4 × bins, height, width] as it lies in memory. */
export type Head = { stride: number; width: number; height: number; data: Float32Array };
/** What of the network's picture is picture and not border, in network pixels. */
export type Bounds = { left: number; top: number; right: number; bottom: number };

/** More are never kept; a crowd of a hundred is a crowd. */
const mostBoxes = 300;
/** Cells looked at closer, best first: bounds the work when the threshold is near zero. */
const mostCandidates = 2000;

/**
 * Turns raw heads into boxes without allocating for each picture: all room is kept between calls.
 *
 * @param bins of the distribution that gives each side's distance, in strides
 * @param overlap boxes that overlap a better one by more than this (IoU) are dropped
 */
export function createDecoder({ bins, overlap }: { bins: number; overlap: number }) {
  /** left, top, right, bottom, score of each box, best first; network pixels. */
  const boxes = new Float32Array(mostBoxes * 5);
  let scores = new Float32Array(0);
  let candidates = new Float32Array(0); // left, top, right, bottom by cell
  let order = new Uint32Array(0);
  let used = 0;
  const byScore = (a: number, b: number) => (scores[b] ?? 0) - (scores[a] ?? 0) || a - b;

  const collect = (head: Head, least: number, bounds: Bounds) => {
    const { stride, width, height, data } = head;
    const plane = width * height;
    for (let cell = 0; cell < plane; cell++) {
      const logit = data[cell] ?? 0;
      if (!(logit >= least)) continue;
      const x = ((cell % width) + 0.5) * stride;
      const y = (Math.floor(cell / width) + 0.5) * stride;
      const at = used * 4;
      candidates[at] = Math.max(bounds.left, x - distance(data, cell, 0, plane, bins) * stride);
      candidates[at + 1] = Math.max(bounds.top, y - distance(data, cell, 1, plane, bins) * stride);
      candidates[at + 2] = Math.min(
        bounds.right,
        x + distance(data, cell, 2, plane, bins) * stride,
      );
      candidates[at + 3] = Math.min(
        bounds.bottom,
        y + distance(data, cell, 3, plane, bins) * stride,
      );
      if ((candidates[at + 2] ?? 0) - (candidates[at] ?? 0) < 1) continue;
      if ((candidates[at + 3] ?? 0) - (candidates[at + 1] ?? 0) < 1) continue;
      scores[used] = 1 / (1 + Math.exp(-logit));
      order[used] = used;
      used++;
    }
  };

  return {
    boxes,
    /** Fills `boxes` and returns how many there are. */
    decode(heads: readonly Head[], threshold: number, bounds: Bounds): number {
      const cells = heads.reduce((sum, head) => sum + head.width * head.height, 0);
      if (scores.length < cells) {
        scores = new Float32Array(cells);
        candidates = new Float32Array(cells * 4);
        order = new Uint32Array(cells);
      }
      used = 0;
      const least = Math.log(threshold / (1 - threshold));
      for (const head of heads) collect(head, least, bounds);
      const ranked = order.subarray(0, used).sort(byScore);
      let kept = 0;
      for (let i = 0; i < Math.min(used, mostCandidates) && kept < mostBoxes; i++) {
        const from = (ranked[i] ?? 0) * 4;
        let isNew = true;
        for (let k = 0; k < kept && isNew; k++)
          isNew = overlapAt(boxes, k * 5, candidates, from) <= overlap;
        if (!isNew) continue;
        for (let j = 0; j < 4; j++) boxes[kept * 5 + j] = candidates[from + j] ?? 0;
        boxes[kept * 5 + 4] = scores[ranked[i] ?? 0] ?? 0;
        kept++;
      }
      return kept;
    },
  };
}

/** The expectation of a softmax over the bins of one side, in strides. */
function distance(
  data: Float32Array,
  cell: number,
  side: number,
  plane: number,
  bins: number,
): number {
  const first = (1 + side * bins) * plane + cell;
  let most = Number.NEGATIVE_INFINITY;
  for (let bin = 0; bin < bins; bin++) most = Math.max(most, data[first + bin * plane] ?? 0);
  let sum = 0;
  let weighted = 0;
  for (let bin = 0; bin < bins; bin++) {
    const weight = Math.exp((data[first + bin * plane] ?? 0) - most);
    sum += weight;
    weighted += weight * bin;
  }
  return weighted / sum;
}

function overlapAt(a: Float32Array, i: number, b: Float32Array, j: number): number {
  const [aLeft = 0, aTop = 0, aRight = 0, aBottom = 0] = [a[i], a[i + 1], a[i + 2], a[i + 3]];
  const [bLeft = 0, bTop = 0, bRight = 0, bBottom = 0] = [b[j], b[j + 1], b[j + 2], b[j + 3]];
  const width = Math.min(aRight, bRight) - Math.max(aLeft, bLeft);
  const height = Math.min(aBottom, bBottom) - Math.max(aTop, bTop);
  if (width <= 0 || height <= 0) return 0;
  const both = width * height;
  return both / ((aRight - aLeft) * (aBottom - aTop) + (bRight - bLeft) * (bBottom - bTop) - both);
}

function common(a: Rect, b: Rect): number {
  const width = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x);
  const height = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y);
  return width > 0 && height > 0 ? width * height : 0;
}

/** Intersection over union of two boxes, 0..1. */
export function overlapOf(a: Rect, b: Rect): number {
  const both = common(a, b);
  return both === 0 ? 0 : both / (a.width * a.height + b.width * b.height - both);
}

/** How much of the smaller of two boxes the other covers, 0..1. */
export function coverOf(a: Rect, b: Rect): number {
  const least = Math.min(a.width * a.height, b.width * b.height);
  return least > 0 ? common(a, b) / least : 0;
}

/** The best of boxes that overlap each other by more than `overlap` (IoU); best first. */
export function suppress(detections: readonly Detection[], overlap: number): Detection[] {
  const kept: Detection[] = [];
  for (const detection of [...detections].sort((a, b) => b.score - a.score))
    if (kept.every(({ box }) => overlapOf(box, detection.box) <= overlap)) kept.push(detection);
  return kept;
}

/**
 * True when a box found in a crop ends at a side where the crop cuts through the picture: only a
 * part of the person may lie in the crop, so the box cannot be trusted.
 *
 * @param slack pixels of the picture within which a box counts as touching
 */
export function isCut(
  box: Rect,
  crop: Rect,
  frame: { width: number; height: number },
  slack: number,
): boolean {
  return (
    (crop.x > 0 && box.x - crop.x <= slack) ||
    (crop.y > 0 && box.y - crop.y <= slack) ||
    (crop.x + crop.width < frame.width && crop.x + crop.width - box.x - box.width <= slack) ||
    (crop.y + crop.height < frame.height && crop.y + crop.height - box.y - box.height <= slack)
  );
}

/**
 * Joins what the whole frame showed with what crops of it showed. Of two boxes of one person the
 * better score stays; a crop's box that lies within a whole person of the frame is a part of it.
 */
export function join(
  whole: readonly Detection[],
  crops: readonly Detection[],
  overlap: number,
): Detection[] {
  const added = crops.filter(({ box, score }) =>
    whole.every((one) => {
      const inside = common(one.box, box) / (box.width * box.height);
      return one.score < score * 0.5 || inside < 0.8 || overlapOf(one.box, box) > overlap;
    }),
  );
  return suppress([...whole, ...added], overlap);
}
