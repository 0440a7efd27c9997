import type { Told } from "../alarm/alarm.ts";

// What the alarm did and why, as the house is told: one message for each deed. topics.md has its fields.

/** Not retained, below `PREFIX/ID/`. */
export const alarmEvent = "alarm_event";

export const alarmTypes: readonly Told["what"][] = [
  ...(["arming", "armed", "disarmed", "warning", "pending", "siren", "quiet"] as const),
  ...(["test", "refused"] as const),
];

export type AlarmEvent = {
  event_type: Told["what"];
  run: string;
  number: number;
  at: string;
  clock_trusted: boolean;
  state: Told["state"];
  mode: "home" | "away" | null;
  by: Told["by"];
  score: number;
  why: string;
  contributions: { source: string; points: number; at: string }[];
  others: number;
};

/** The fields of a message of `alarm_event`, for people; its type is `AlarmEvent`. */
export const alarmFields: { readonly [K in keyof AlarmEvent]: string } = {
  event_type: alarmTypes.map((type) => `\`${type}\``).join(", "),
  run: "of this start of the camera, 8 hexadecimal digits",
  number: "of this message of this stream in this run, from 1",
  at: "when this came about, ISO 8601 in UTC",
  clock_trusted: "whether the camera's clock had been set",
  state: "of the panel after it, as `alarm`",
  mode: "`home` or `away`; null when it is not armed",
  by: "`command`, `evidence`, `delay` (time alone) or `restart`",
  score: "the sum of what counted",
  why: "for people",
  contributions:
    "what the score was made of, the oldest first: a list of `source`, `points` and `at`, the newest 48 at most",
  others: "the points of older ones that are not in the list",
};

const mostContributions = 48;

export type AlarmWriter = (told: Told) => AlarmEvent;

/** Numbers them. Decides, sends nothing. */
export function createAlarmWriter(options: {
  run: string;
  nowUs(): number;
  wallMs(): number;
  clockTrusted(): boolean;
}): AlarmWriter {
  const { run, nowUs, wallMs, clockTrusted } = options;
  let number = 0;
  return ({ what, atUs, by, state, mode, score, why, parts }) => {
    const iso = (us: number) => new Date(wallMs() - (nowUs() - us) / 1000).toISOString();
    number += 1;
    const listed = parts.slice(-mostContributions);
    const others = parts.slice(0, parts.length - listed.length);
    return {
      ...{ event_type: what, run, number, at: iso(atUs), clock_trusted: clockTrusted() },
      ...{ state, mode: mode ?? null, by, score, why },
      contributions: listed.map(({ source, points, atUs }) => ({ source, points, at: iso(atUs) })),
      others: others.reduce((sum, { points }) => sum + points, 0),
    };
  };
}

/** Whether a payload has the fields of such a message, all of them and no other. */
export function isAlarmEvent(payload: string): boolean {
  try {
    const value = JSON.parse(payload);
    const isWhole = Object.keys(value).join() === Object.keys(alarmFields).join();
    return isWhole && alarmTypes.includes(value.event_type);
  } catch {
    return false;
  }
}
