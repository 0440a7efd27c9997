import type { Deed, MachineSettings } from "./machine.ts";
import { harmless, type strangersIn } from "./recording.ts";
import type { Sample, Simulation } from "./simulate.ts";

// What a simulation says, for a terminal and as JSON.

const mostRows = 48;
const mostContributions = 48;
const barWidth = 40;

/** 0:00 and on; with hours where there are any, and tenths where they count. */
export function printTime(atUs: number): string {
  const tenths = Math.round(atUs / 1e5);
  const [whole, rest] = [Math.floor(tenths / 10), tenths % 10];
  const [hours, minutes, seconds] = [
    Math.floor(whole / 3600),
    Math.floor(whole / 60) % 60,
    whole % 60,
  ];
  const two = (value: number) => String(value).padStart(2, "0");
  const minute = hours > 0 ? `${hours}:${two(minutes)}` : String(minutes);
  return `${minute}:${two(seconds)}${rest > 0 ? `.${rest}` : ""}`;
}

/**
 * Equally long stretches of time, at most `mostRows`: the state is that of the end of a stretch, the score the
 * highest in it, and what was asked for the most.
 */
function rowsOf({ samples, endUs }: Simulation): Sample[] {
  const stretchUs = Math.max(1, Math.ceil(endUs / 1e6 / mostRows)) * 1e6;
  const rows: Sample[] = [];
  let i = 0;
  let last = samples[0];
  for (let fromUs = 0; fromUs <= endUs; fromUs += stretchUs) {
    // What was before is over when something else is from its first moment on.
    let best = samples[i]?.atUs === fromUs ? undefined : last && { ...last, atUs: fromUs };
    for (; i < samples.length; i++) {
      const sample = samples[i];
      if (!sample || sample.atUs >= fromUs + stretchUs) break;
      const score = Math.max(sample.score, best?.score ?? 0);
      const asked = {
        warning: sample.warning || best?.warning === true,
        siren: sample.siren || best?.siren === true,
      };
      best = { ...sample, atUs: fromUs, score, ...asked };
      last = sample;
    }
    if (best) rows.push(best);
  }
  // Of a stretch in which nothing changes its ends are enough.
  return rows.filter((row, i) => isNew(row, rows[i - 1]) || isNew(row, rows[i + 1]));
}

const isNew = (row: Sample, other: Sample | undefined) =>
  !other || JSON.stringify({ ...row, atUs: 0 }) !== JSON.stringify({ ...other, atUs: 0 });

function bar(score: number, { warnAt, sirenAt }: MachineSettings, highest: number): string {
  const column = (value: number) => Math.round((value / highest) * barWidth);
  const filled = "#".repeat(column(score));
  const cells: string[] = [...filled.padEnd(barWidth + 1)];
  for (const [at, mark] of [
    [warnAt, "w"],
    [sirenAt, "S"],
  ] as const) {
    if (column(score) <= column(at)) cells[column(at)] = mark;
  }
  return cells.join("").trimEnd();
}

const mostStrangers = 8;

/** A misspelt name is no mistake of a recording's form, and is not what was meant: empty, or a line for each kind. */
export function printStrangers(
  file: string,
  { zones, topics }: ReturnType<typeof strangersIn>,
): string {
  const list = (names: readonly string[]) => {
    const more = names.length - mostStrangers;
    const first = names.slice(0, mostStrangers).map((name) => JSON.stringify(harmless(name)));
    return `${first.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
  };
  const lines = [
    ...(zones.length > 0 ? [`zones that detect.zones does not have: ${list(zones)}`] : []),
    ...(topics.length > 0 ? [`topics of none of alarm.sensors: ${list(topics)}`] : []),
  ];
  return lines.map((line) => `note: ${file}: ${line}\n`).join("");
}

const outputs = ({ warning, siren }: Sample) => (siren ? "SIREN" : warning ? "warning" : "");

/** Of a list of any length: as many arguments would be too many. */
function most<T>(all: readonly T[], of: (one: T) => number): number {
  return all.reduce((found, one) => Math.max(found, of(one)), 0);
}

export const highestOf = (samples: readonly Sample[]): number =>
  most(samples, ({ score }) => score);

/** Equally wide columns; the last is as long as it is. */
function columns(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]?.map((_, i) => most(rows, (row) => row[i]?.length ?? 0)) ?? [];
  const line = (row: readonly string[]) =>
    row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i] ?? 0))).join("  ");
  return rows.map((row) => line(row).trimEnd()).join("\n");
}

/** The score over time, and what was done and why. */
export function printSimulation(
  simulation: Simulation,
  settings: MachineSettings,
  { file }: { file: string },
): string {
  const { recording, deeds } = simulation;
  const rows = rowsOf(simulation);
  const highest = Math.max(settings.sirenAt, highestOf(rows));
  const scores = columns([
    ["time", "score", "state", "asks for", "w: warning, S: siren"],
    ...rows.map((row) => [
      ...[printTime(row.atUs), String(row.score), row.state, outputs(row)],
      bar(row.score, settings, highest),
    ]),
  ]);
  const did = deeds.length === 0 ? "nothing was done" : columns(deeds.flatMap(describe));
  const about = recording.about ? `: ${harmless(recording.about)}` : "";
  return `${file}${about}\n\n${scores}\n\n${did}\n`;
}

/** The newest contributions of a deed, as many as an event has, and the points of the others. */
function newest({ parts }: Pick<Deed, "parts">) {
  const shown = parts.slice(-mostContributions);
  const others = parts
    .slice(0, parts.length - shown.length)
    .reduce((sum, { points }) => sum + points, 0);
  return { shown, others };
}

/** One deed and, below it, each contribution to its score. */
function describe({ atUs, what, state, score, why, parts }: Deed): string[][] {
  const { shown, others } = newest({ parts });
  const rows = shown.map((part) => {
    return ["", "", "", `+${part.points}`, `${part.source}, ${printTime(part.atUs)}`];
  });
  const before = others > 0 ? [["", "", "", `+${others}`, "older ones"]] : [];
  return [[printTime(atUs), what, state, String(score), why], ...before, ...rows];
}

/** What came of each, in one line. */
export function printOutcomes(all: readonly { file: string; simulation: Simulation }[]): string {
  const rows = all.map(({ file, simulation: { samples, recording, outcome, isRight } }) => [
    ...[file, String(highestOf(samples))],
    ...[
      outcome,
      recording.expect ?? "-",
      isRight === undefined ? "-" : isRight ? "right" : "WRONG",
    ],
  ]);
  return `${columns([["recording", "highest score", "came of it", "expected", ""], ...rows])}\n`;
}

const seconds = (us: number) => us / 1e6;

/** For programs. */
export function toJson(file: string, { recording, ...rest }: Simulation): object {
  const { about, as, expect } = recording;
  return {
    ...{ file, about, as, ...(expect ? { expect } : {}), outcome: rest.outcome },
    ...(rest.isRight === undefined ? {} : { right: rest.isRight }),
    samples: rest.samples.map(({ atUs, ...sample }) => ({ at: seconds(atUs), ...sample })),
    deeds: rest.deeds.map(({ atUs, parts, ...deed }) => {
      const { shown, others } = newest({ parts });
      return {
        ...{ at: seconds(atUs), ...deed },
        contributions: shown.map(({ atUs, source, points }) => ({
          ...{ at: seconds(atUs), source, points },
        })),
        ...(others > 0 ? { others } : {}),
      };
    }),
  };
}
