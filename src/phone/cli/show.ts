import { toHex } from "../../base/pure/bytes.ts";
import { type Finality, printFinality } from "../deletions.ts";
import type { Fault } from "../fault.ts";
import { type Journal, statements } from "../journal.ts";
import type { Clip, Survey } from "../survey.ts";
import { type CameraKeys, shortId } from "../vault.ts";

// What people read and what programs read.

/** Local time of the user's zone; "~" before it where the camera's clock was not set. */
export function printTime(ms: number | undefined, trusted: boolean): string {
  if (ms === undefined) return "-";
  const at = new Date(ms);
  const two = (value: number) => String(value).padStart(2, "0");
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  const time = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  return `${trusted ? "" : "~"}${day} ${time}`;
}

/** Columns as wide as their widest cell; the last is not padded. */
export function printTable(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, cell.length);
    });
  }
  const line = (row: readonly string[]) =>
    row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i] ?? 0))).join("  ");
  return rows.map((row) => `${line(row).trimEnd()}\n`).join("");
}

export function clipToJson(clip: Clip) {
  const { id, state, parts, startMs, clockTrusted, summary } = clip;
  return {
    id: toHex(id),
    state,
    ...(startMs === undefined ? {} : { start: new Date(startMs).toISOString() }),
    clockTrusted,
    parts: parts.length,
    ...(summary?.durationMs === undefined ? {} : { seconds: summary.durationMs / 1000 }),
    ...(summary?.persons === undefined ? {} : { persons: summary.persons }),
    ...(summary ? { zones: summary.zones, width: summary.width, height: summary.height } : {}),
    ...(state === "deleted" ? { confirmed: clip.confirmed, ...finalityToJson(clip) } : {}),
  };
}

function finalityToJson({ finality }: Clip) {
  if (!finality) return {};
  const missing = finality.missing.map(({ phone, name, why }) => ({
    ...{ phone: toHex(phone), name, why },
  }));
  return { final: finality.final, missing };
}

function printDeleted(confirmed: boolean, finality: Finality | undefined): string {
  if (!confirmed) return "deleted here, waits for the camera";
  return finality ? `deleted, ${printFinality(finality)}` : "deleted";
}

export function surveyToJson(camera: CameraKeys, survey: Survey) {
  const { journal, clips, faults, well } = survey;
  const head = journal.records.at(-1)?.entry;
  return {
    camera: toHex(camera.id),
    name: camera.name,
    well,
    entries: journal.records.length,
    ...(head
      ? {
          head: {
            incarnation: head.incarnation,
            sequence: head.sequence,
            hash: toHex(head.hash),
          },
        }
      : {}),
    incarnations: openedIn(journal),
    clips: clips.map(clipToJson),
    faults,
  };
}

/** Where the log went on in another incarnation and why, as far as this phone can read it. */
function openedIn(journal: Journal) {
  return statements(journal, "incarnation-opened").map(({ record, statement }) => {
    const { incarnation, sequence } = record.entry;
    return { incarnation, sequence, reason: statement.reason };
  });
}

export function printClips(clips: readonly Clip[]): string {
  if (clips.length === 0) return "no clips yet\n";
  const rows = clips.map(({ id, state, startMs, clockTrusted, summary, confirmed, finality }) => [
    shortId(id),
    printTime(startMs, clockTrusted),
    summary?.durationMs === undefined ? "-" : `${(summary.durationMs / 1000).toFixed(1)} s`,
    summary?.persons === undefined ? "-" : String(summary.persons),
    summary?.zones.join(", ") || "-",
    state === "deleted" ? printDeleted(confirmed, finality) : state,
  ]);
  const untrusted = clips.some((clip) => !clip.clockTrusted && clip.startMs !== undefined);
  const note = untrusted ? "~ the camera's clock was not set\n" : "";
  return printTable([["CLIP", "START", "LENGTH", "PERSONS", "ZONES", "STATE"], ...rows]) + note;
}

/** Lies first, then losses; equal ones in the order in which they were found. */
export function printFaults(faults: readonly Fault[]): string {
  const order = ["lie", "loss", "note"];
  const sorted = [...faults].sort((a, b) => order.indexOf(a.severity) - order.indexOf(b.severity));
  return printTable(
    sorted.map(({ severity, kind, text, name }) => [
      severity,
      kind,
      name && !text.includes(name) ? `${text} (${name})` : text,
    ]),
  );
}

export function printVerdict({ journal, clips, faults, well }: Survey): string {
  const opened = openedIn(journal).map(
    ({ incarnation, sequence, reason }) =>
      `       incarnation ${incarnation} from entry ${sequence} on: ${reason}\n`,
  );
  const { records } = journal;
  const head = records.at(-1);
  const counts = new Map<string, number>();
  for (const { state } of clips) counts.set(state, (counts.get(state) ?? 0) + 1);
  const states = [...counts].map(([state, count]) => `${count} ${state}`).join(", ");
  const incarnations = new Set(records.map(({ entry }) => entry.incarnation)).size;
  const lives = incarnations > 1 ? `, ${incarnations} incarnations` : "";
  const newest = head
    ? `newest ${printTime(head.wallMs, head.clockTrusted)}${lives}`
    : "nothing in it";
  const bad = faults.filter(({ severity }) => severity !== "note").length;
  return [
    `log    ${records.length} entries, ${newest}\n`,
    ...opened,
    `clips  ${clips.length}${states ? ` (${states})` : ""}\n`,
    well ? "well   no lie and no loss found\n" : `NOT WELL: ${bad} found\n`,
  ].join("");
}
