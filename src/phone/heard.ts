import type { Beacon } from "../protocol/wire/beacon.ts";

/** A camera writes a beacon every quarter of an hour; two of them may be late. */
export const silentMs: number = 35 * 60_000;

/** What is known of a camera that somebody else tells us about. */
export type Heard = {
  readonly state: "heard" | "silent" | "never";
  /** By the camera's clock; undefined where that was not set. */
  readonly atMs: number | undefined;
  readonly ageMs: number | undefined;
  readonly text: string;
};

/**
 * How long ago the camera said something, by its newest beacon. A relay that withholds newer ones and
 * a camera that is off look alike from here, and the text says both.
 */
export function heardOf(beacon: Beacon | undefined, nowMs: number): Heard {
  if (!beacon) {
    const text = "never heard: it has not reached the relay yet, or the relay withholds";
    return { state: "never", atMs: undefined, ageMs: undefined, text };
  }
  if (!beacon.trusted) {
    return {
      ...{ state: "heard", atMs: undefined, ageMs: undefined },
      text: "heard, nobody knows when: its clock is not set",
    };
  }
  const atMs = beacon.wallMs;
  const ageMs = Math.max(0, nowMs - atMs);
  if (ageMs < silentMs) return { state: "heard", atMs, ageMs, text: `heard ${ago(ageMs)} ago` };
  return {
    ...{ state: "silent", atMs, ageMs },
    text: `not heard for ${ago(ageMs)}: the relay withholds, or the camera is off or without network`,
  };
}

/** "20 s", "3 min", "5 h", "12 days". */
export function ago(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 90) return `${seconds} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}
