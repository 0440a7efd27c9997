import type { Rect } from "../camera/camera.ts";
import { createLight } from "./light.ts";

/** Something that moves, in pixels of the plane it was found on. */
export type Region = Rect & {
  /** How many pixels differ from the empty scene, and how many of them changed just now. */
  pixels: number;
  moving: number;
};

export type Motion = {
  /** What moves, largest first. The array and its entries are used again by the next call. */
  regions: readonly Region[];
  /**
   * The whole picture changed (light, infrared, exposure) or the scene is still being learnt:
   * nothing can be said about what moves.
   */
  unsettled: boolean;
  /** How many pixels of each cell differ, and changed: cells of 4x4 row by row; used again too. */
  front: Uint8Array;
  moving: Uint8Array;
  columns: number;
};

/** The side of a cell in pixels of the plane. */
export const cell = 4;

/** Which share of a box (in pixels of the plane) counted pixels fill, 0..1. */
export function shareOf(counts: Uint8Array, columns: number, box: Rect): number {
  const rows = counts.length / columns;
  const right = Math.min(columns * cell, box.x + box.width);
  const bottom = Math.min(rows * cell, box.y + box.height);
  let filled = 0;
  for (let row = Math.max(0, Math.floor(box.y / cell)); row * cell < bottom; row++) {
    const high = Math.min(bottom, (row + 1) * cell) - Math.max(box.y, row * cell);
    for (let column = Math.max(0, Math.floor(box.x / cell)); column * cell < right; column++) {
      const wide = Math.min(right, (column + 1) * cell) - Math.max(box.x, column * cell);
      filled += ((counts[row * columns + column] ?? 0) * high * wide) / (cell * cell);
    }
  }
  return Math.min(1, filled / (box.width * box.height));
}

export type MotionGate = {
  /** Compares one plane of luma, row by row, with what was seen before. */
  step(luma: Uint8Array, atUs: number): Motion;
};

// Two memories of the scene: a slow one that holds what is always there, and a fast one that holds
// what was there a moment ago. What moves differs from both; a parked thing soon only from the
// first, the place that somebody left only from the second.
const slowMs = 12_000;
const slowUnderMs = 120_000; // where something stands in front: it becomes scenery after minutes
const fastMs = 900;
const noiseMs = 4_000;
const noiseUnderMs = 120_000; // a tree is learnt as noise, a passer-by is not
const settleMs = 1_000;
// Under a light that never rests the camera must see again, well or badly.
const settleLongestMs = 5_000;
const calmMs = 3_000;

// Levels are ninths of a luma step: pixels are sums of their 3x3 neighbourhood.
const ninths = 9;
const leastLevel = 6 * ninths;
const noiseCap = 5 * ninths;
const grainCap = 12 * ninths;
const deviations = 5.5;
const cellPixels = 2;
const leastPixels = 7;
const leastMoving = 4;
const mostRegions = 32;
const wholeShare = 0.6;
const jumpLevel = 10 * ninths;

/**
 * A motion gate that knows how much each pixel fluctuates, so that a dim and grainy picture is as
 * still to it as a bright one. Brightness and contrast of the whole picture are taken out before
 * the comparison. Allocates nothing after it was made.
 */
export function createMotion({ width, height }: { width: number; height: number }): MotionGate {
  const size = width * height;
  const columns = Math.ceil(width / cell);
  const rows = Math.ceil(height / cell);
  const sums = new Uint16Array(size);
  const smooth = new Uint16Array(size);
  const slow = new Float32Array(size);
  const fast = new Float32Array(size);
  const noise = new Float32Array(size);
  const front = new Uint8Array(columns * rows);
  const moving = new Uint8Array(columns * rows);
  const joined = new Uint8Array(columns * rows);
  const stack = new Int32Array(columns * rows);
  const light = createLight({ width, height, unit: ninths });
  const store = Array.from({ length: mostRegions }, emptyRegion);
  const regions: Region[] = [];
  const result = { regions, unsettled: true, front, moving, columns };

  let lastUs: number | undefined;
  let settledUs = 0;
  let unsettledSinceUs = 0;
  let changedUs = 0;

  const learn = (atUs: number) => {
    for (let i = 0; i < size; i++) {
      const value = smooth[i] ?? 0;
      slow[i] = value;
      fast[i] = value;
    }
    light.reset();
    settledUs = atUs + settleMs * 1000;
  };

  /** 3x3 sums; the border repeats itself. */
  const blur = (luma: Uint8Array) => {
    for (let y = 0; y < height; y++) {
      const at = y * width;
      const last = at + width - 1;
      let left = luma[at] ?? 0;
      let here = left;
      for (let i = at; i <= last; i++) {
        const right = i < last ? (luma[i + 1] ?? 0) : here;
        sums[i] = left + here + right;
        left = here;
        here = right;
      }
    }
    for (let y = 0, i = 0; y < height; y++) {
      let above = Math.max(0, y - 1) * width;
      let below = Math.min(height - 1, y + 1) * width;
      for (const end = i + width; i < end; i++, above++, below++) {
        smooth[i] = (sums[above] ?? 0) + (sums[i] ?? 0) + (sums[below] ?? 0);
      }
    }
  };

  /** Marks what differs and updates both memories; returns the share of pixels that differ. */
  const compare = (elapsedMs: number, settling: boolean): number => {
    const ease = (ms: number) => 1 - Math.exp(-elapsedMs / ms);
    const slowEase = ease(settling ? 300 : slowMs);
    const slowUnder = settling ? slowEase : ease(slowUnderMs);
    const fastEase = ease(settling ? 300 : fastMs);
    const noiseEase = ease(settling ? 1_000 : noiseMs);
    const noiseUnder = settling ? noiseEase : ease(noiseUnderMs);
    const { gain, offset, grain } = light;
    const floor = Math.max(leastLevel, deviations * Math.min(grain, grainCap));
    const scale = 1 / gain;
    front.fill(0);
    moving.fill(0);
    let differing = 0;
    for (let y = 0, i = 0; y < height; y++) {
      const row = Math.floor(y / cell) * columns;
      for (let x = 0; x < width; x++, i++) {
        const value = smooth[i] ?? 0;
        const always = slow[i] ?? 0;
        const before = fast[i] ?? 0;
        const usual = noise[i] ?? 0;
        const even = (value - offset) * scale;
        const difference = Math.abs(even - always);
        // The mean of |x| is 0.8 deviations.
        const limit = Math.max(floor, deviations * 1.25 * usual);
        const capped = Math.min(difference, noiseCap);
        fast[i] = before + (even - before) * fastEase;
        if (difference > limit) {
          differing++;
          const at = row + (x >> 2);
          front[at] = (front[at] ?? 0) + 1;
          if (Math.abs(even - before) > limit) moving[at] = (moving[at] ?? 0) + 1;
          slow[i] = always + (value - always) * slowUnder;
          noise[i] = usual + (capped - usual) * noiseUnder;
        } else {
          slow[i] = always + (value - always) * slowEase;
          noise[i] = usual + (capped - usual) * noiseEase;
        }
      }
    }
    return differing / size;
  };

  /** Joins neighbouring cells into regions and keeps those in which enough moves. */
  const collect = () => {
    joined.fill(0);
    for (let start = 0; start < front.length && regions.length < mostRegions; start++) {
      if (joined[start] || (front[start] ?? 0) < cellPixels) continue;
      let left = columns;
      let right = 0;
      let top = rows;
      let bottom = 0;
      let pixels = 0;
      let changed = 0;
      let depth = 0;
      stack[depth++] = start;
      joined[start] = 1;
      while (depth > 0) {
        const at = stack[--depth] ?? 0;
        pixels += front[at] ?? 0;
        changed += moving[at] ?? 0;
        const x = at % columns;
        const y = (at - x) / columns;
        if (x < left) left = x;
        if (x > right) right = x;
        if (y < top) top = y;
        if (y > bottom) bottom = y;
        for (let ny = Math.max(0, y - 1); ny <= Math.min(rows - 1, y + 1); ny++) {
          for (let nx = Math.max(0, x - 1); nx <= Math.min(columns - 1, x + 1); nx++) {
            const next = ny * columns + nx;
            if (joined[next] || (front[next] ?? 0) < cellPixels) continue;
            joined[next] = 1;
            stack[depth++] = next;
          }
        }
      }
      if (pixels < leastPixels || changed < leastMoving) continue;
      const region = store[regions.length] ?? emptyRegion();
      region.x = left * cell;
      region.y = top * cell;
      region.width = Math.min(width, (right + 1) * cell) - region.x;
      region.height = Math.min(height, (bottom + 1) * cell) - region.y;
      region.pixels = pixels;
      region.moving = changed;
      regions.push(region);
    }
    regions.sort((a, b) => b.pixels - a.pixels);
  };

  return {
    step(luma, atUs) {
      blur(luma);
      regions.length = 0;
      result.unsettled = true;
      if (lastUs === undefined) {
        noise.fill(2 * ninths);
        learn(atUs);
        unsettledSinceUs = atUs;
        lastUs = atUs;
        return result;
      }
      // A long pause says nothing about how the scene changes.
      const elapsedMs = Math.min(1_000, Math.max(1, (atUs - lastUs) / 1000));
      lastUs = atUs;
      const settling = atUs < settledUs;
      const lastLevel = light.level;
      light.fit(smooth, slow);
      const share = compare(elapsedMs, settling);
      if (share > wholeShare || Math.abs(light.level - lastLevel) > jumpLevel) {
        if (atUs - changedUs > calmMs * 1000) unsettledSinceUs = atUs;
        changedUs = atUs;
        if (atUs - unsettledSinceUs < settleLongestMs * 1000) {
          learn(atUs);
          return result;
        }
      }
      if (settling) return result;
      result.unsettled = false;
      collect();
      return result;
    },
  };
}

function emptyRegion(): Region {
  return { x: 0, y: 0, width: 0, height: 0, pixels: 0, moving: 0 };
}
