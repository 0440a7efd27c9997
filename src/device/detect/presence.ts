import type { Rect } from "../camera/camera.ts";
import { coverOf, overlapOf } from "./boxes.ts";
import { createTracker, type Found, mostLookMs, type Track } from "./track.ts";
import { type Zone, zonesOf } from "./zone.ts";

/** One person as found in one look. Boxes are pixels of the upright picture. */
export type Sighting = { track: number; box: Rect; score: number; zones: string[]; still: boolean };

export type Incident =
  | {
      kind: "start";
      /** 16 random bytes, hexadecimal. */
      id: string;
      /** Capture time of the first picture in which the person was found. */
      firstSeenUs: number;
      /** Capture time of the picture that confirmed it. */
      atUs: number;
      persons: Sighting[];
      /** How many at once: what two of the last three looks agree on, unsure boxes left out. */
      count: number;
      frame: { width: number; height: number };
    }
  | { kind: "update"; id: string; atUs: number; persons: Sighting[]; count: number }
  | { kind: "end"; id: string; atUs: number; lastSeenUs: number; mostPersons: number };

export type PresenceOptions = {
  zones: readonly Zone[];
  /** Score from which a box counts; who is known already is believed down to `keepShare` of it. */
  threshold: number;
  /**
   * Looked for in vain for so long: the visit is over, whoever comes next makes a new one. A look
   * stands for `mostLookMs` at most, and for the whole wait `mostWaitMs` longer by the clock.
   */
  separateVisitMs: number;
  /** Who came and has not stirred for so long is scenery. */
  stillForGoodMs?: number;
  newId(): string;
};

export type Presence = {
  /** From the next look on; a visit that is open goes on. */
  set(next: Pick<PresenceOptions, "zones" | "threshold">): void;
  /** The outcome of one look. Looks go forward in time; an older one is ignored. */
  look(look: {
    atUs: number;
    found: readonly Found[];
    frame: { width: number; height: number };
    /** The motion gate cannot tell what is fresh now: that nothing is proves nothing. */
    blind?: boolean;
  }): Incident[];
  /** Time goes on without looks: ends a visit that is over. */
  tick(atUs: number): Incident[];
  /** Ends an open incident now. */
  close(atUs: number): Incident[];
  /** The open incident's id. */
  readonly open: string | undefined;
  /** Somebody was found and the next look decides: do not wait for motion. */
  readonly undecided: boolean;
  /** Where counted persons were last found: look there even when nothing moves. */
  places(): Rect[];
};

export const keepShare = 0.6;
const lostMs = 4_000;
const needed = { hits: 2, looks: 3 };
const stillMs = 3_000; // a sighting is called still
const sceneryMs = 2_000; // what was never fresh is scenery after so long and `sceneryLooks` looks
const sceneryLooks = 3;
const sceneryOverlap = 0.55;
const sameBody = 0.6; // of the smaller box lies in the other
const sceneryMisses = 40; // looks in which it was not found: it was taken away
const mostScenery = 32;
const freshMs = 1_500; // a box counts while it was fresh so lately
const learntLooks = 5;
const learntOverlap = 0.6;
const restHeights = 0.3;
const earlierMs = 3_000;
const mostWaitMs = 15_000;

type Memory = {
  /** Looks, latest in the lowest bit: found sure, new to the scene, and in a zone. */
  hits: number;
  looks: number;
  bornUs: number;
  /** First found sure in a zone; first of the present hits. */
  seenUs: number | undefined;
  firstHitUs: number | undefined;
  counted: boolean;
  scenery: boolean;
  /** Where it has rested since it last stirred. */
  rest: Rect;
  /** How often it was fresh there, when last, and where exactly. */
  freshLooks: number;
  freshUs: number;
  freshBox: Rect;
  stirredUs: number;
};

/**
 * Turns what looks find into visits. A person is believed when found in two of three looks; it must
 * also be new to the scene or walk, so that a cone that looks like one never counts, nor does a
 * restart or a switched light start anything. An open incident always ends, once.
 */
export function createPresence(options: PresenceOptions): Presence {
  const { separateVisitMs, stillForGoodMs = 120_000, newId } = options;
  let { zones, threshold } = options;
  const tracker = createTracker({ sure: threshold, lostMs });
  const memories = new Map<number, Memory>();
  const scenery: { box: Rect; misses: number }[] = [];
  let open: { id: string; lastSeenUs: number; missedUs: number; mostPersons: number } | undefined;
  let names = ""; // of those present in the last update
  let lastUs = Number.NEGATIVE_INFINITY;

  const remember = (track: Track, memory: Memory) => {
    memory.scenery = true;
    memory.counted = false;
    memory.hits = 0;
    if (scenery.some(({ box }) => overlapOf(box, track.box) >= sceneryOverlap)) return;
    if (scenery.length === mostScenery) scenery.shift();
    scenery.push({ box: track.box, misses: 0 });
  };

  const isScenery = (box: Rect) => scenery.some((s) => overlapOf(s.box, box) >= sceneryOverlap);

  /** Counts scenery that was not found in this look, and forgets what has gone. */
  const age = (found: readonly Found[]) => {
    for (const piece of scenery) {
      const seen = found.find(({ box }) => overlapOf(piece.box, box) >= sceneryOverlap);
      piece.misses = seen ? 0 : piece.misses + 1;
    }
    for (let i = scenery.length - 1; i >= 0; i--) {
      if ((scenery[i]?.misses ?? 0) > sceneryMisses) scenery.splice(i, 1);
    }
  };

  const memoryOf = (track: Track, atUs: number): Memory => {
    const known = memories.get(track.id);
    if (known) return known;
    const memory: Memory = {
      ...{ hits: 0, looks: 0, bornUs: atUs, counted: false },
      ...{ seenUs: undefined, firstHitUs: undefined },
      ...{ scenery: isScenery(track.box), rest: track.box, stirredUs: atUs },
      ...{ freshLooks: 0, freshUs: Number.NEGATIVE_INFINITY, freshBox: track.box },
    };
    memories.set(track.id, memory);
    return memory;
  };

  /** One look of one track; tells whether it counts as a person in this look. */
  const judge = (track: Track, inZone: boolean, atUs: number, blind: boolean): boolean => {
    const memory = memoryOf(track, atUs);
    const rested = !hasLeft(memory.rest, track.box);
    if (!rested) {
      memory.rest = track.box;
      memory.freshLooks = 0;
      memory.freshUs = Number.NEGATIVE_INFINITY;
    }
    if (track.stirred || !rested) memory.stirredUs = atUs;
    if (track.fresh) {
      memory.freshLooks++;
      memory.freshUs = atUs;
      memory.freshBox = track.box;
    }
    if (!blind) memory.looks++;
    // Scenery that walks was somebody after all.
    if (memory.scenery && track.walked && !rested && !isScenery(track.box)) memory.scenery = false;
    // Freshness belongs to a place and a shape: a name that slips from a passer-by to a cone does
    // not take it along. What was fresh for long and then is not has been learnt by the gate, or
    // the light changed.
    const isLearnt =
      memory.freshLooks >= learntLooks &&
      track.score >= threshold &&
      overlapOf(memory.freshBox, track.box) >= learntOverlap;
    const isNew = track.fresh || isLearnt || (track.walked && (blind || !rested));
    const isPresent = isNew || atUs - memory.freshUs <= freshMs * 1000 || (blind && memory.counted);
    const sure = track.found && inZone && track.score >= threshold;
    if (sure) memory.seenUs ??= atUs;
    const hit = sure && isNew && !memory.scenery;
    memory.hits = ((memory.hits << 1) | (hit ? 1 : 0)) & ((1 << needed.looks) - 1);
    if (memory.hits === 0 && !memory.counted) memory.firstHitUs = undefined;
    else if (hit) memory.firstHitUs ??= atUs;
    if (!track.found || memory.scenery) return false;

    if (!isPresent) {
      const isKnown = memory.looks >= sceneryLooks && atUs - memory.bornUs >= sceneryMs * 1000;
      if (!blind && isKnown) remember(track, memory);
      return false;
    }
    if (atUs - memory.stirredUs >= stillForGoodMs * 1000) {
      remember(track, memory);
      return false;
    }
    if (bitsOf(memory.hits) >= needed.hits) memory.counted = true;
    return memory.counted && inZone;
  };

  /** Of the last three looks, the oldest first: one box too many in one look is nobody. */
  let recent = [0, 0, 0];
  /** Who stands half before another counts when they part; half a body never does. */
  const countOf = (persons: readonly Sighting[]): number => {
    const bodies: Sighting[] = [];
    for (const one of persons.toSorted((a, b) => b.score - a.score)) {
      if (one.score < threshold) break;
      if (bodies.every(({ box }) => coverOf(box, one.box) < sameBody)) bodies.push(one);
    }
    recent = [...recent.slice(1), bodies.length];
    return recent.toSorted((a, b) => a - b)[1] ?? 0;
  };

  const end = (atUs: number): Incident[] => {
    if (!open) return [];
    const { id, lastSeenUs, mostPersons } = open;
    open = undefined;
    names = "";
    // Who is still there must be confirmed again: one person is never two visits at once.
    for (const memory of memories.values()) {
      memory.counted = false;
      memory.hits = 0;
      memory.firstHitUs = undefined;
    }
    return [{ kind: "end", id, atUs, lastSeenUs, mostPersons }];
  };

  const tick = (atUs: number): Incident[] => {
    if (!open || atUs - open.lastSeenUs < separateVisitMs * 1000) return [];
    return end(Math.max(atUs, lastUs));
  };

  /** What the time since the look before adds, which this look may find nobody in. */
  const miss = (atUs: number): Incident[] => {
    if (!open) return [];
    open.missedUs += Math.min(atUs - lastUs, mostLookMs * 1000);
    const waitedMs = (atUs - open.lastSeenUs) / 1000;
    const isOver = open.missedUs >= separateVisitMs * 1000;
    return isOver || waitedMs >= separateVisitMs + mostWaitMs ? tick(atUs) : [];
  };

  return {
    set(next) {
      ({ zones, threshold } = next);
      tracker.trust(threshold);
    },
    look({ atUs, found, frame, blind = false }) {
      if (atUs <= lastUs) return [];
      const events = miss(atUs);
      lastUs = atUs;
      const tracks = tracker.step(found, atUs);
      age(found);
      const persons: Sighting[] = [];
      let firstSeenUs = atUs;
      for (const track of tracks) {
        const within = zonesOf(track.box, frame, zones);
        const inZone = zones.length === 0 || within.length > 0;
        if (!judge(track, inZone, atUs, blind)) continue;
        const memory = memoryOf(track, atUs);
        firstSeenUs = Math.min(firstSeenUs, firstSeen(memory, atUs));
        const still = atUs - memory.stirredUs >= stillMs * 1000;
        persons.push({ track: track.id, box: track.box, score: track.score, zones: within, still });
      }
      for (const id of memories.keys()) {
        if (!tracks.some((track) => track.id === id)) memories.delete(id);
      }

      const count = countOf(persons);
      const named = namesOf(persons);
      if (open) {
        if (persons.length > 0) Object.assign(open, { lastSeenUs: atUs, missedUs: 0 });
        open.mostPersons = Math.max(open.mostPersons, count);
        if (persons.length > 0 || names !== named) {
          events.push({ kind: "update", id: open.id, atUs, persons, count });
        }
      } else if (persons.length > 0) {
        open = { id: newId(), lastSeenUs: atUs, missedUs: 0, mostPersons: Math.max(1, count) };
        const { id, mostPersons } = open;
        events.push({ kind: "start", id, firstSeenUs, atUs, persons, count: mostPersons, frame });
      }
      names = named;
      return events;
    },
    tick,
    close: (atUs) => end(Math.max(atUs, lastUs)),
    get open() {
      return open?.id;
    },
    get undecided() {
      return [...memories.values()].some((memory) => memory.hits !== 0 && !memory.counted);
    },
    places() {
      return tracker.tracks().flatMap((track) => {
        return memories.get(track.id)?.counted ? [track.box] : [];
      });
    },
  };
}

/** When a person was first found; what stood about for long is dated by its first stir instead. */
function firstSeen({ seenUs, firstHitUs }: Memory, atUs: number): number {
  const hitUs = firstHitUs ?? atUs;
  return seenUs !== undefined && hitUs - seenUs <= earlierMs * 1000 ? seenUs : hitUs;
}

function hasLeft(rest: Rect, box: Rect): boolean {
  const way = Math.hypot(
    rest.x + rest.width / 2 - box.x - box.width / 2,
    rest.y + rest.height - box.y - box.height,
  );
  return way > restHeights * Math.max(rest.height, box.height);
}

function bitsOf(value: number): number {
  let count = 0;
  for (let rest = value; rest; rest &= rest - 1) count++;
  return count;
}

const namesOf = (persons: readonly Sighting[]) =>
  persons.map((person) => `${person.track}${person.still}${person.zones}`).join();
