import { hourUs, type Tray, type Visit } from "../visit/visit.ts";

// What is sent next of what waits: decided here, done elsewhere.

export type Plan =
  | { kind: "wait"; untilUs: number | undefined }
  /** One message for one visit. */
  | { kind: "letter"; visit: Visit }
  /** One for many, and for `earlier` before them. */
  | { kind: "summary"; visits: readonly Visit[]; earlier: number };

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
