import type { Rect } from "../../src/device/camera/camera.ts";
import { type Detection, overlapOf } from "../../src/device/detect/boxes.ts";

/** One picture: who is there, and who was found. */
export type Judged = { truth: readonly Rect[]; found: readonly Detection[] };
export type Bin = { fromPx: number; toPx: number; persons: number; found: number };
export type Score = {
  pictures: number;
  persons: number;
  /** Average precision at IoU 0.5, area under the precision envelope, 0..1. */
  averagePrecision: number;
  /** At the given score: persons found, and boxes that are nobody. */
  found: number;
  wrong: number;
  /** Recall where one picture in ten has a wrong box. */
  recallAtTenth: number;
  byHeight: Bin[];
};

const sameBox = 0.5;

type Outcome = { score: number; person: number | undefined };

/** Gives each box, best first, the free person it overlaps most: once each, IoU 0.5 at least. */
function assign({ truth, found }: Judged): Outcome[] {
  const taken = new Set<number>();
  return [...found]
    .sort((a, b) => b.score - a.score)
    .map(({ box, score }) => {
      let best = sameBox;
      let person: number | undefined;
      for (const [at, rect] of truth.entries()) {
        const overlap = overlapOf(rect, box);
        if (taken.has(at) || overlap < best) continue;
        best = overlap;
        person = at;
      }
      if (person !== undefined) taken.add(person);
      return { score, person };
    });
}

/**
 * @param threshold from which a box counts as found, for the figures that need one
 * @param edges heights in pixels at which the groups by height begin, ascending from 0
 */
export function judge(
  pictures: readonly Judged[],
  threshold: number,
  edges: readonly number[],
): Score {
  const outcomes = pictures.flatMap((picture) =>
    assign(picture).map((one) => ({
      score: one.score,
      height: one.person === undefined ? undefined : picture.truth[one.person]?.height,
    })),
  );
  outcomes.sort((a, b) => b.score - a.score);
  const heights = pictures.flatMap(({ truth }) => truth.map((rect) => rect.height));
  const persons = heights.length;

  let hits = 0;
  let recallAtTenth = 0;
  const curve: { precision: number; recall: number }[] = [];
  for (const [at, { height }] of outcomes.entries()) {
    if (height !== undefined) hits++;
    curve.push({ precision: hits / (at + 1), recall: hits / persons });
    if (at + 1 - hits <= pictures.length / 10) recallAtTenth = hits / persons;
  }
  let averagePrecision = 0;
  let envelope = 0;
  for (let at = curve.length - 1; at >= 0; at--) {
    const { precision = 0, recall = 0 } = curve[at] ?? {};
    envelope = Math.max(envelope, precision);
    averagePrecision += envelope * (recall - (curve[at - 1]?.recall ?? 0));
  }

  const sure = outcomes.filter(({ score }) => score >= threshold);
  const seen = sure.flatMap(({ height }) => (height === undefined ? [] : [height]));
  const byHeight = edges.map((fromPx, at): Bin => {
    const toPx = edges[at + 1] ?? Number.POSITIVE_INFINITY;
    const within = (list: number[]) => list.filter((h) => h >= fromPx && h < toPx).length;
    return { fromPx, toPx, persons: within(heights), found: within(seen) };
  });
  return {
    pictures: pictures.length,
    persons,
    averagePrecision,
    found: seen.length,
    wrong: sure.length - seen.length,
    recallAtTenth,
    byHeight,
  };
}

/** Lines "frame,person,x,y,width,height" below a heading, by frame. */
export function readTruth(csv: string): Map<number, Rect[]> {
  const truth = new Map<number, Rect[]>();
  for (const line of csv.trim().split("\n").slice(1)) {
    const [frame = 0, , x = 0, y = 0, width = 0, height = 0] = line.split(",").map(Number);
    truth.set(frame, [...(truth.get(frame) ?? []), { x, y, width, height }]);
  }
  return truth;
}
