import type { Rect } from "../camera/camera.ts";
import { overlapOf } from "./boxes.ts";

/**
 * A found box. `fresh`: what it shows is not part of the empty scene. `stirred`: something in it
 * moved since the last look.
 */
export type Found = { box: Rect; score: number; fresh: boolean; stirred: boolean };

export type Track = {
  /** Unique for the tracker's life, from 1. */
  readonly id: number;
  /** Where it was last found, and when. */
  box: Rect;
  score: number;
  fresh: boolean;
  stirred: boolean;
  lastUs: number;
  /** For how long it was looked for since (`mostLookMs`). */
  missedUs: number;
  /** Found in the latest look? */
  found: boolean;
  /** Where it was first found; `walked` once it has been elsewhere. */
  readonly anchor: Rect;
  walked: boolean;
  /** Pixels a second of the box's centre, smoothed. */
  velocity: { x: number; y: number };
};

export type Tracker = {
  /** All tracks after this look: found, new, and looked for in vain for less than `lostMs`. Times never go back. */
  step(found: readonly Found[], atUs: number): readonly Track[];
  /** Another score from which a box may begin a track. */
  trust(sure: number): void;
  /** The same as the latest step gave. */
  tracks(): readonly Track[];
};

/**
 * How long one look stands for at most: a board that is too busy to look has not seen that nobody is
 * there. No board that keeps up looks less often.
 */
export const mostLookMs = 2_000;

// How far a prediction may be off, in heights of the box: at once, and more for each second.
const furthest = { least: 0.5, perSecond: 0.8, most: 1.5 };
const leastScale = 0.5; // a person's height does not halve between two looks
const predictMs = 1_000; // then it may have turned round
const echo = 0.3;
const walkedHeights = 0.3; // boxes of a still thing tremble by a tenth

const centreX = (box: Rect) => box.x + box.width / 2;
const centreY = (box: Rect) => box.y + box.height / 2;

/**
 * Follows boxes from look to look by where each should be by now. Sure boxes choose their track
 * first, doubtful ones continue what is left and never begin a track: a person half behind a tree
 * keeps the name.
 * @param sure score from which a box may begin a track
 */
export function createTracker({ lostMs, ...options }: { sure: number; lostMs: number }): Tracker {
  let { sure } = options;
  let tracks: Track[] = [];
  let lastId = 0;
  let steppedUs: number | undefined;

  const predict = (track: Track, atUs: number): Rect => {
    const seconds = Math.min(predictMs, (atUs - track.lastUs) / 1000) / 1000;
    return {
      ...track.box,
      x: track.box.x + track.velocity.x * seconds,
      y: track.box.y + track.velocity.y * seconds,
    };
  };

  const assign = (free: Track[], found: readonly Found[], atUs: number): Found[] => {
    const pairs: { track: Track; one: Found; cost: number }[] = [];
    for (const track of free) {
      const place = predict(track, atUs);
      const reach = furthest.least + (furthest.perSecond * (atUs - track.lastUs)) / 1e6;
      for (const one of found) {
        const cost = costOf(place, one.box, Math.min(reach, furthest.most));
        if (cost !== undefined) pairs.push({ track, one, cost });
      }
    }
    pairs.sort((a, b) => a.cost - b.cost);
    const taken = new Set<Found>();
    for (const { track, one } of pairs) {
      if (track.found || taken.has(one)) continue;
      taken.add(one);
      follow(track, one, atUs);
    }
    return found.filter((one) => !taken.has(one));
  };

  return {
    trust(score) {
      sure = score;
    },
    step(found, atUs) {
      const sinceUs = Math.min(atUs - (steppedUs ?? atUs), mostLookMs * 1000);
      steppedUs = atUs;
      for (const track of tracks) track.missedUs += sinceUs;
      tracks = tracks.filter((track) => track.missedUs <= lostMs * 1000);
      for (const track of tracks) {
        track.found = false;
        track.fresh = false;
        track.stirred = false;
      }
      const isSure = (one: Found) => one.score >= sure;
      const best = found.filter(isSure);
      const fresh = assign(tracks, best, atUs);
      // A doubtful box over a sure one is its echo, not somebody else.
      const doubtful = found.filter(
        (one) => !isSure(one) && best.every(({ box }) => overlapOf(box, one.box) < echo),
      );
      assign(
        tracks.filter((track) => !track.found),
        doubtful,
        atUs,
      );
      for (const one of fresh) {
        lastId++;
        const still = { walked: false, velocity: { x: 0, y: 0 } };
        const now = { lastUs: atUs, missedUs: 0, found: true };
        tracks.push({ id: lastId, ...one, ...now, anchor: one.box, ...still });
      }
      return tracks;
    },
    tracks: () => tracks,
  };
}

/** Distance of two boxes in heights, less for overlap; undefined when they cannot be one person. */
function costOf(place: Rect, box: Rect, reach: number): number | undefined {
  const height = Math.max(place.height, box.height);
  const scale = Math.min(place.height, box.height) / height;
  const distance =
    Math.hypot(centreX(place) - centreX(box), centreY(place) - centreY(box)) / height;
  const overlap = overlapOf(place, box);
  if (overlap < 0.1 && (distance > reach || scale < leastScale)) return undefined;
  return distance + (1 - overlap) + (1 - scale);
}

function follow(track: Track, found: Found, atUs: number): void {
  const { box } = found;
  const seconds = (atUs - track.lastUs) / 1e6;
  if (seconds > 0) {
    // After a long loss the mean speed tells little about the present one.
    const weight = seconds > 1 ? 0.2 : 0.5;
    const x = (centreX(box) - centreX(track.box)) / seconds;
    const y = (centreY(box) - centreY(track.box)) / seconds;
    track.velocity.x += (x - track.velocity.x) * weight;
    track.velocity.y += (y - track.velocity.y) * weight;
  }
  const { anchor } = track;
  const way = Math.hypot(centreX(box) - centreX(anchor), centreY(box) - centreY(anchor));
  if (way > walkedHeights * Math.max(box.height, anchor.height)) track.walked = true;
  Object.assign(track, found);
  track.lastUs = atUs;
  track.missedUs = 0;
  track.found = true;
}
