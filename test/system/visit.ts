import * as assert from "uvu/assert";
import { countedFootage } from "../lib/counted.ts";
import { readClip } from "./service.ts";

// Somebody passes a small camera again and again: what the first clip of a board is made of.

const fps = 10;
const size = { width: 640, height: 360 };

/** Text of the camera's settings. */
export const visitSettings: string = `version: 1
camera: { width: ${size.width}, height: ${size.height}, fps: ${fps}, format: YUYV, slabMiB: 12 }
detect: { input: 256x160, precision: int8, crops: false, threads: 1 }
record: { fps: ${fps}, preRollMiB: 8, preRollS: 2, postRollS: 2 }
`;

/** What a story in the guest plays to the camera: paths. */
export type VisitOrder = { pictures: string; playlist: string };

export async function visitFootage(folder: string): Promise<VisitOrder> {
  const { pictures, playlist } = await countedFootage({
    ...{ folder, format: "YUYV", ...size, rates: [[0, fps]] },
    scenes: { before: 30, people: 40, after: 50 },
    part: { x: 128, y: 150, width: 512, height: 288 },
  });
  return { pictures, playlist };
}

/** That a film is of this footage, and not only its beginning. */
export async function assertVisit(film: Uint8Array): Promise<void> {
  const { pictures } = await readClip(film);
  const counters = pictures.map(({ counter }) => counter);
  assert.ok(counters.length > 3 * fps && !counters.includes(undefined), String(counters));
}
