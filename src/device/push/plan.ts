import { hourUs, type Tray, type Visit } from "../visit/visit.ts";

// What a subscriber is told next: decided here, done elsewhere.

export type Plan =
  | { kind: "wait"; untilUs: number | undefined }
  | { kind: "message"; visit: Visit };

/**
 * The newest visit whose picture is where a phone finds it, while there is room in the hour. What is old
 * is told no more: its clip is in the list of clips all the same.
 */
export function next(
  tray: Tray,
  options: {
    nowUs: number;
    perHour: number;
    isThere(visit: Visit): boolean;
    isOld(visit: Visit): boolean;
  },
): Plan {
  const { nowUs, perHour, isThere, isOld } = options;
  tray.visits = tray.visits.filter((visit) => !isOld(visit));
  tray.earlier = 0;
  tray.sentUs = tray.sentUs.filter((atUs) => atUs > nowUs - hourUs);
  const visit = tray.visits.findLast(isThere);
  if (!visit) return { kind: "wait", untilUs: undefined };
  const full = tray.sentUs.at(-perHour);
  if (full !== undefined) return { kind: "wait", untilUs: full + hourUs };
  return { kind: "message", visit };
}

/** It was taken, or never will be; `isSent` counts it against the hour. */
export function settle(tray: Tray, { clip }: Visit, sentUs: number | undefined): void {
  tray.visits = tray.visits.filter((one) => one.clip !== clip);
  if (sentUs !== undefined) tray.sentUs = [...tray.sentUs, sentUs];
}

/** Which parts of running clips lie at a relay: whether a picture can be fetched. */
export class Arrivals {
  readonly #parts = new Map<string, Set<number>>();

  add(clip: string, number: number): void {
    const parts = this.#parts.get(clip) ?? new Set();
    // The first picture is in a clip's first parts.
    if (parts.size < mostParts) parts.add(number);
    this.#parts.set(clip, parts);
    for (const old of this.#parts.keys()) if (this.#parts.size > mostClips) this.#parts.delete(old);
  }

  /** Whether all parts up to the first picture's have arrived; of a clip without one, whether any has. */
  has({ clip, picture }: Pick<Visit, "clip" | "picture">): boolean {
    const parts = this.#parts.get(clip);
    if (!parts) return false;
    for (let number = 0; number <= (picture ?? -1); number++) if (!parts.has(number)) return false;
    return true;
  }
}

const mostParts = 1024;
const mostClips = 64;
