// What waits to be sent, and what is sent next: decided here, done elsewhere.

/** One visit that nobody has been told of. */
export type Visit = {
  /** The first clip of it, in hexadecimal. */
  clip: string;
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

export type Plan =
  | { kind: "wait"; untilUs: number | undefined }
  /** One message for one visit. */
  | { kind: "letter"; visit: Visit }
  /** One for many, and for `earlier` before them. */
  | { kind: "summary"; visits: readonly Visit[]; earlier: number };

export const mostWaiting = 100;
export const hourUs = 3_600_000_000;

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

/**
 * A message for each visit, the newest first, while all that wait fit into what is left of the hour.
 * Else the older ones are summed up in one, and the newest get what is left.
 */
export function decide(tray: Tray, nowUs: number, perHour: number): Plan {
  const { visits, earlier } = tray;
  const newest = visits.at(-1);
  if (!newest && earlier === 0) return { kind: "wait", untilUs: undefined };
  const sent = tray.sentUs.filter((atUs) => atUs > nowUs - hourUs);
  const left = perHour - sent.length;
  if (left <= 0) return { kind: "wait", untilUs: (sent[sent.length - perHour] ?? nowUs) + hourUs };
  if (newest && earlier === 0 && visits.length <= left) return { kind: "letter", visit: newest };
  const summed = visits.slice(0, Math.max(0, visits.length - (left - 1)));
  return { kind: "summary", visits: summed, earlier };
}

/** What a plan told is not told again. */
export function sent(tray: Tray, plan: Plan, nowUs: number): void {
  if (plan.kind === "wait") return;
  const told = new Set(
    (plan.kind === "letter" ? [plan.visit] : plan.visits).map(({ clip }) => clip),
  );
  tray.visits = tray.visits.filter(({ clip }) => !told.has(clip));
  if (plan.kind === "summary") tray.earlier -= plan.earlier;
  tray.sentUs = [...tray.sentUs.filter((atUs) => atUs > nowUs - hourUs), nowUs];
}
