import type { Deed, MachineSettings, PanelState } from "./machine.ts";
import { highestOf, printTime } from "./print.ts";
import type { Simulation } from "./simulate.ts";

// A simulation as a picture: the score over time with both thresholds, what counted, and how the alarm stood.

const size = { width: 960, left: 150, right: 24, top: 46, score: 180, lane: 18, band: 22, gap: 34 };
const mostLanes = 24;
const colours: Record<PanelState, string> = {
  ...{ disarmed: "#9aa0a6", arming: "#8ab4f8", armed_home: "#57a773", armed_away: "#2e7d4f" },
  ...{ pending: "#f2a900", triggered: "#c5221f" },
};
const shown: readonly Deed["what"][] = ["warning", "pending", "siren", "disarmed", "quiet"];

const escapes: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
// biome-ignore lint/suspicious/noControlCharactersInRegex: XML takes none
const clean = (text: string) => text.replace(/[\u0000-\u001f\u007f-\u009f\ufffe\uffff]/g, " ");
const escapeText = (text: string) => clean(text).replace(/[&<>"]/g, (one) => escapes[one] ?? "");
const round = (value: number) => Number(value.toFixed(1));
const plotWidth = size.width - size.left - size.right;

type Panel = { svg: string; height: number };

/** One picture, the recordings below each other. */
export function drawChart(
  all: readonly { file: string; simulation: Simulation }[],
  settings: MachineSettings,
): string {
  let height = 0;
  let body = "";
  for (const { file, simulation } of all) {
    const panel = drawPanel(file, simulation, settings);
    body += `<g transform="translate(0 ${height})">\n${panel.svg}</g>\n`;
    height += panel.height;
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${size.width}" height="${height}" viewBox="0 0 ${size.width} ${height}" font-family="sans-serif" font-size="11">
<rect width="100%" height="100%" fill="#ffffff"/>
${body}</svg>
`;
}

const text = (x: number, y: number, what: string, more = "") =>
  `<text x="${round(x)}" y="${round(y)}" ${more}>${escapeText(what)}</text>\n`;
const line = (x1: number, y1: number, x2: number, y2: number, more: string) =>
  `<line x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}" ${more}/>\n`;

function drawPanel(file: string, simulation: Simulation, settings: MachineSettings): Panel {
  const { samples, counted, recording, outcome, isRight, endUs } = simulation;
  const { warnAt, sirenAt } = settings;
  const most = Math.max(sirenAt, highestOf(samples)) * 1.1;
  const lastUs = Math.max(endUs, 1e6);
  const x = (atUs: number) => size.left + (atUs / lastUs) * plotWidth;
  const floor = size.top + size.score;
  const y = (score: number) => floor - (score / most) * size.score;
  const verdict =
    isRight === undefined ? "" : isRight ? ", as expected" : `, NOT ${recording.expect}`;

  let svg = text(size.left, 18, recording.about || file, 'font-size="14" font-weight="bold"');
  svg += text(size.left, 34, `${file}: ${outcome}${verdict}`, 'fill="#5f6368"');
  for (const [at, name, colour] of [
    [warnAt, "warning", colours.pending],
    [sirenAt, "siren", colours.triggered],
  ] as const) {
    const stroke = `stroke="${colour}" stroke-dasharray="5 4"`;
    svg += line(size.left, y(at), size.width - size.right, y(at), stroke);
    svg += text(size.left - 6, y(at) + 4, `${name} ${at}`, `text-anchor="end" fill="${colour}"`);
  }
  svg += `<path d="${stepsOf(simulation, x, y)}" fill="#4c6ef533" stroke="#3b5bdb" stroke-width="1.5"/>\n`;
  svg += line(size.left, floor, size.width - size.right, floor, 'stroke="#5f6368"');

  let at = floor + 8;
  const sources = [...new Set(counted.map(({ source }) => source))];
  for (const source of sources.slice(0, mostLanes)) {
    svg += text(size.left - 6, at + 12, source, 'text-anchor="end"');
    // What lies on the same spot is seen once: a long recording is no larger a picture.
    const own = counted.filter((part) => part.source === source);
    const spots = new Map(own.map((part) => [Math.round(x(part.atUs)), part]));
    for (const { atUs, points } of spots.values()) {
      const title = `<title>${escapeText(`${source} +${points}, ${printTime(atUs)}`)}</title>`;
      svg += `<circle cx="${round(x(atUs))}" cy="${at + 8}" r="${round(2 + Math.min(4, Math.sqrt(points) / 2))}" fill="#3b5bdb">${title}</circle>\n`;
    }
    at += size.lane;
  }
  at += 4;
  svg += text(size.left - 6, at + 15, "alarm", 'text-anchor="end"');
  svg += drawStates(simulation, x, at);
  const deeds = simulation.deeds.filter(({ what }) => shown.includes(what));
  const marks = new Map(deeds.map((deed) => [Math.round(x(deed.atUs)), deed]));
  let [row, right] = [0, 0];
  for (const [from, { what }] of marks) {
    const wide = what.length * 6.5;
    svg += line(from, size.top, from, at + size.band, 'stroke="#5f6368" stroke-dasharray="1 3"');
    // Those that are close to each other stand below each other, and none beyond the edge.
    row = from < right ? (row + 1) % 3 : 0;
    const isLast = from + wide > size.width - size.right;
    const more = isLast ? 'text-anchor="end" fill="#202124"' : 'fill="#202124"';
    svg += text(isLast ? from - 3 : from + 3, size.top + 9 + row * 11, what, more);
    right = from + wide;
  }
  at += size.band;
  for (let i = 0; i <= 8; i++) {
    const time = printTime(Math.round((lastUs * i) / 8 / 1e6) * 1e6);
    svg += text(x((lastUs * i) / 8), at + 14, time, 'text-anchor="middle" fill="#5f6368"');
  }
  return { svg, height: at + size.gap };
}

/** The score as it is: level until something comes or goes. */
function stepsOf(
  { samples, endUs }: Simulation,
  x: (atUs: number) => number,
  y: (score: number) => number,
): string {
  let path = `M${round(x(0))} ${round(y(0))}`;
  let column = x(0);
  let highest = 0;
  for (const [i, { atUs, score }] of samples.entries()) {
    const next = Math.round(x(atUs));
    if (next > column) highest = score;
    else highest = Math.max(highest, score);
    column = next;
    const after = samples[i + 1];
    // Of what is closer together than can be seen the highest, and the last.
    if (after && Math.round(x(after.atUs)) === next) continue;
    path += `H${next}V${round(y(highest))}V${round(y(score))}`;
  }
  return `${path}H${round(x(endUs))}V${round(y(0))}Z`;
}

function drawStates({ samples, endUs }: Simulation, x: (atUs: number) => number, top: number) {
  const changes = samples.filter(({ state }, i) => state !== samples[i - 1]?.state);
  let svg = "";
  let drawn = Number.NEGATIVE_INFINITY;
  for (const [i, { atUs, state }] of changes.entries()) {
    const from = x(atUs);
    if (i > 0 && Math.round(from) === drawn) continue;
    drawn = Math.round(from);
    const width = Math.max(1, x(changes[i + 1]?.atUs ?? endUs) - from);
    svg += `<rect x="${round(from)}" y="${top}" width="${round(width)}" height="${size.band}" fill="${colours[state]}"/>\n`;
    // Where it fits; the colour says the rest.
    if (width > state.length * 6.5) svg += text(from + 5, top + 15, state, 'fill="#ffffff"');
  }
  return svg;
}
