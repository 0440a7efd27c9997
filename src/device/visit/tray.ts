import type { Clock } from "../../base/pure/clock.ts";

// Visits that somebody waits to be told of, in memory and as they are kept over a stop.

/** One visit that nobody has been told of. */
export type Visit = {
  /** The first clip of it, in hexadecimal; of an alarm something that is no clip's. */
  clip: string;
  /** An alarm is told as a visit is, and has no clip. */
  what?: "alarm";
  /** When somebody was first seen, ms since 1970. */
  atMs: number;
  clockTrusted: boolean;
  /** How many were seen first; not kept over a new start. */
  persons: number | undefined;
  /** The last part of the clip that its first picture needs; undefined without one. */
  picture: number | undefined;
  /** How often a server refused its message for good. */
  refusals: number;
};

export type Tray = {
  /** The oldest first. */
  visits: Visit[];
  /** Those before them that are only counted any more. */
  earlier: number;
  /** When messages were sent, in µs of the monotonic clock, the oldest first; of the last hour. */
  sentUs: number[];
};

export const mostWaiting = 100;
export const hourUs = 3_600_000_000;
const clipPattern = /^[0-9a-f]{32}$/;

export function newTray(): Tray {
  return { visits: [], earlier: 0, sentUs: [] };
}

/** A clip is told of once. */
export function add(tray: Tray, visit: Visit): void {
  if (tray.visits.some(({ clip }) => clip === visit.clip)) return;
  tray.visits.push(visit);
  const over = tray.visits.splice(0, Math.max(0, tray.visits.length - mostWaiting));
  tray.earlier += over.length;
}

/** What outlives a stop, for JSON. It shows no more than the names and times of what lies in the outbox. */
export function printTray({ visits, earlier, sentUs }: Tray, clock: Clock) {
  const kept = visits.map(({ clip, what, atMs, clockTrusted, picture, refusals }) => ({
    ...{ clip, ...(what ? { what } : {}), atMs, clockTrusted, picture, refusals },
  }));
  // The monotonic clock begins anew with the board, so what is kept is by the wall's.
  const nowUs = clock.monotonicUs();
  const sentMs = sentUs.map((atUs) => Math.round(clock.wallMs() - (nowUs - atUs) / 1000));
  return { earlier, visits: kept, sentMs };
}

/** What cannot be read is as if it were not there: the clips and their log do not depend on it. */
export function readTray(value: unknown, clock: Clock): Tray {
  const tray = newTray();
  const { visits, earlier, sentMs } = (value ?? {}) as Record<string, unknown>;
  if (Array.isArray(visits)) {
    tray.visits = visits.flatMap((one) => readVisit(one) ?? []).slice(-mostWaiting);
  }
  if (isCount(earlier)) tray.earlier = earlier;
  const nowUs = clock.monotonicUs();
  const ages = (Array.isArray(sentMs) ? sentMs : []).map((atMs) => clock.wallMs() - Number(atMs));
  // A clock that was set since makes ages that none can be.
  tray.sentUs = ages
    .map((ageMs) => ageMs * 1000)
    .filter((ageUs) => ageUs >= 0 && ageUs < hourUs)
    .map((ageUs) => nowUs - ageUs)
    .slice(-60);
  return tray;
}

function readVisit(value: unknown): Visit | undefined {
  const read = (value ?? {}) as Record<string, unknown>;
  const { clip, what, atMs, clockTrusted, picture, refusals } = read;
  const isRight = typeof clip === "string" && clipPattern.test(clip) && isTime(atMs);
  if (!isRight) return undefined;
  return {
    ...{ clip, ...(what === "alarm" ? { what } : {}), atMs, persons: undefined },
    clockTrusted: clockTrusted === true,
    picture: isCount(picture) ? picture : undefined,
    refusals: isCount(refusals) ? refusals : 0,
  };
}

const isCount = (value: unknown): value is number =>
  Number.isSafeInteger(value) && Number(value) >= 0;
const isTime = (value: unknown): value is number =>
  typeof value === "number" && Math.abs(value) <= 8.64e15;
