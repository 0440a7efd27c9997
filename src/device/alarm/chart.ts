import type { Deed, MachineSettings, PanelState } from "./machine.ts";
import { highestOf, printTime } from "./print.ts";
import type { Simulation } from "./simulate.ts";

// A simulation as a picture: the score over time with both thresholds, what counted, and how the alarm stood.

const size = { width: 960, right: 24, top: 52, score: 180, lane: 18, band: 22, gap: 34 };
/** Of what stands left of the plot, as wide as the longest name of a source needs it. */
const margin = { least: 150, most: 300 };
const mostLanes = 24;
const mostTitle = { about: 96, file: 90 };
const colours: Record<PanelState, string> = {
  ...{ disarmed: "#9aa0a6", arming: "#8ab4f8", armed_home: "#57a773", armed_away: "#2e7d4f" },
  ...{ pending: "#f2a900", triggered: "#c5221f" },
};
/** What white cannot be read on. */
const light: readonly PanelState[] = ["disarmed", "arming", "armed_home", "pending"];
const ink = { text: "#202124", faint: "#5f6368", warning: "#8a5a00", siren: "#c5221f" };
/** Between two times on the axis: what people count in, seconds. */
const stepsS = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200,
];
const longestStepS = 86_400;
const mostTicks = 10;
const shown: readonly Deed["what"][] = ["warning", "pending", "siren", "disarmed", "quiet"];

const escapes: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
// biome-ignore lint/suspicious/noControlCharactersInRegex: XML takes none
const clean = (text: string) => text.replace(/[\u0000-\u001f\u007f-\u009f\ufffe\uffff]/g, " ");
const escapeText = (text: string) => clean(text).replace(/[&<>"]/g, (one) => escapes[one] ?? "");
const round = (value: number) => Number(value.toFixed(1));
const cut = (text: string, most: number) => {
  const all = [...text];
  return all.length <= most ? text : `${all.slice(0, most - 1).join("")}…`;
};
/** Of the small writing, about, in pixels: letters of the East are as wide as they are high. */
const widthOf = (text: string) =>
  [...text].reduce((sum, one) => sum + ((one.codePointAt(0) ?? 0) > 0x1100 ? 11.5 : 6.5), 0);

type Panel = { svg: string; height: number };

/** One picture, the recordings below each other. */
export function drawChart(
  all: readonly { file: string; simulation: Simulation }[],
  settings: MachineSettings,
): string {
  let height = 0;
  let body = "";
  const names = all.flatMap(({ simulation }) => lanesOf(simulation).shown);
  const widest = names.reduce((most, name) => Math.max(most, widthOf(name)), 0);
  const left = Math.min(margin.most, Math.max(margin.least, Math.ceil(widest) + 16));
  for (const { file, simulation } of all) {
    const panel = drawPanel(file, simulation, settings, left);
    body += `<g transform="translate(0 ${height})">\n${panel.svg}</g>\n`;
    height += panel.height;
  }
  // For who cannot see it.
  const title = all.map(
    ({ file, simulation }) => `${cut(file, mostTitle.file)}: ${simulation.outcome}`,
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${size.width}" height="${height}" viewBox="0 0 ${size.width} ${height}" font-family="sans-serif" font-size="11">
<title>${escapeText(title.join("; "))}</title>
<rect width="100%" height="100%" fill="#ffffff"/>
${body}</svg>
`;
}

const text = (x: number, y: number, what: string, more = "") =>
  `<text x="${round(x)}" y="${round(y)}" ${more}>${escapeText(what)}</text>\n`;
const line = (x1: number, y1: number, x2: number, y2: number, more: string) =>
  `<line x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}" ${more}/>\n`;

/** The sources that counted: those that have a line of their own, and how many others there are. */
function lanesOf({ counted }: Simulation): { shown: string[]; others: number } {
  const all = [...new Set(counted.map(({ source }) => source))];
  const shown = all.slice(0, mostLanes);
  return { shown, others: all.length - shown.length };
}

function drawPanel(
  file: string,
  simulation: Simulation,
  settings: MachineSettings,
  left: number,
): Panel {
  const { samples, counted, recording, outcome, isRight, endUs } = simulation;
  const { warnAt, sirenAt } = settings;
  const highest = highestOf(samples);
  const most = Math.max(sirenAt, highest) * 1.1;
  const lastUs = Math.max(endUs, 1e6);
  const right = size.width - size.right;
  const x = (atUs: number) => left + (atUs / lastUs) * (right - left);
  const floor = size.top + size.score;
  const y = (score: number) => floor - (score / most) * size.score;
  const verdict =
    isRight === undefined ? "" : isRight ? ", as expected" : `, NOT ${recording.expect}`;
  const beside = (at: number, what: string, fill: string) =>
    text(left - 10, at, what, `text-anchor="end" fill="${fill}"`);

  const [about, name] = [cut(recording.about, mostTitle.about), cut(file, mostTitle.file)];
  let svg = text(size.right, 18, about || name, 'font-size="14" font-weight="bold"');
  svg += text(size.right, 34, `${name}: ${outcome}${verdict}`, `fill="${ink.faint}"`);
  svg += beside(size.top - 3, "score, points", ink.faint) + beside(floor + 4, "0", ink.faint);
  for (const [at, what, colour, fill] of [
    [warnAt, "warning", colours.pending, ink.warning],
    [sirenAt, "siren", colours.triggered, ink.siren],
  ] as const) {
    svg += line(left, y(at), right, y(at), `stroke="${colour}" stroke-dasharray="5 4"`);
    svg += beside(y(at) + 4, `${what} ${at}`, fill);
  }
  // Where it would not be written over another.
  const isFree = [0, warnAt, sirenAt].every((at) => Math.abs(y(at) - y(highest)) > 12);
  if (isFree) svg += beside(y(highest) + 4, `highest ${highest}`, ink.text);
  svg += `<path d="${stepsOf(simulation, x, y)}" fill="#4c6ef533" stroke="#3b5bdb" stroke-width="1.5"/>\n`;
  svg += line(left, floor, right, floor, `stroke="${ink.faint}"`);

  let at = floor + 8;
  const { shown: sources, others } = lanesOf(simulation);
  for (const source of sources) {
    svg += beside(at + 12, source, ink.text);
    // What lies on the same spot is seen once: a long recording is no larger a picture.
    const own = counted.filter((part) => part.source === source);
    const spots = new Map(own.map((part) => [Math.round(x(part.atUs)), part]));
    for (const { atUs, points } of spots.values()) {
      const title = `<title>${escapeText(`${source} +${points}, ${printTime(atUs)}`)}</title>`;
      svg += `<circle cx="${round(x(atUs))}" cy="${at + 8}" r="${round(2 + Math.min(4, Math.sqrt(points) / 2))}" fill="#3b5bdb">${title}</circle>\n`;
    }
    at += size.lane;
  }
  if (others > 0) {
    svg += beside(at + 12, `and ${others} more`, ink.faint);
    at += size.lane;
  }
  at += 4;
  svg += beside(at + 15, "alarm", ink.text);
  svg += drawStates(simulation, x, at);
  const deeds = simulation.deeds.filter(({ what }) => shown.includes(what));
  const marks = new Map(deeds.map((deed) => [Math.round(x(deed.atUs)), deed]));
  // What stands on a line is read for all that.
  const halo = `fill="${ink.text}" stroke="#ffffff" stroke-width="3" paint-order="stroke"`;
  let [lines, words] = ["", ""];
  let [row, taken] = [0, 0];
  for (const [from, { what }] of marks) {
    const wide = what.length * 6.5;
    const dots = `stroke="${ink.faint}" stroke-dasharray="1 3"`;
    lines += line(from, size.top, from, at + size.band, dots);
    // Those that are close to each other stand below each other, and none beyond the edge.
    row = from < taken ? (row + 1) % 3 : 0;
    const isLast = from + wide > right;
    const more = isLast ? `text-anchor="end" ${halo}` : halo;
    words += text(isLast ? from - 3 : from + 3, size.top + 9 + row * 11, what, more);
    taken = from + wide;
  }
  svg += lines + words;
  at += size.band;
  const unit = lastUs < 3600e6 ? "time, min:s" : "time, h:min:s";
  svg += text(left - 30, at + 15, unit, `text-anchor="end" fill="${ink.faint}"`);
  const stepUs = 1e6 * (stepsS.find((step) => lastUs / 1e6 / step <= mostTicks) ?? longestStepS);
  for (let atUs = 0; atUs <= lastUs; atUs += stepUs) {
    const time = printTime(atUs);
    svg += line(x(atUs), at, x(atUs), at + 4, `stroke="${ink.faint}"`);
    const isWide = x(atUs) + widthOf(time) / 2 > size.width;
    const [tick, anchor] = isWide ? [size.width - 2, "end"] : [x(atUs), "middle"];
    svg += text(tick, at + 15, time, `text-anchor="${anchor}" fill="${ink.faint}"`);
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
  for (const [i, { atUs, state }] of changes.entries()) {
    const from = x(atUs);
    const next = changes[i + 1];
    // Of those that begin on the same spot the last is the one that goes on.
    if (next && Math.round(x(next.atUs)) === Math.round(from)) continue;
    const width = Math.max(1, x(next?.atUs ?? endUs) - from);
    svg += `<rect x="${round(from)}" y="${top}" width="${round(width)}" height="${size.band}" fill="${colours[state]}"/>\n`;
    // Where it fits; the colour says the rest.
    const fill = light.includes(state) ? ink.text : "#ffffff";
    if (width > state.length * 6.5 + 8) svg += text(from + 5, top + 15, state, `fill="${fill}"`);
  }
  return svg;
}
