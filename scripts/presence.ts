import { parseArgs } from "node:util";
import type { Clock } from "../src/base/pure/clock.ts";
import { explain } from "../src/base/pure/failure.ts";
import { openSlab } from "../src/device/camera/camera.ts";
import {
  type Finder,
  type Incident,
  openDetect,
  openModel,
  type Precision,
} from "../src/device/detect/detect.ts";
import { readPictures } from "../src/device/detect/pictures.ts";
import { composeFootage, type Footage } from "./footage.ts";

const help = `usage: node dist/scripts/presence.js [--precision auto|fp32|int8] [--no-crops] [--json]

Shows the composed footage (scripts/footage) to the detection stage and compares its incidents with
the visits that the footage was made of.
`;

export type PresenceResult = {
  visits: number;
  found: number;
  missed: number;
  /** Incidents outside every visit. */
  false: number;
  /** Incidents beyond the first within one visit, and visits beyond the first in one incident. */
  split: number;
  joined: number;
  /** From the first frame with people to the event, the looks' own time included; each visit's. */
  delayMs: number[];
  /** The same without the looks' own time: between frames of the footage. */
  footageDelayMs: number[];
  /** Detection interval at the end, for comparison. */
  intervalMs: number;
  looks: number;
  crops: number;
  looksInEmptyScene: number;
  mostPersons: number[];
  incidents: Incident[];
};

/**
 * Runs footage through the stage as fast as it goes. The stage's clock is the footage's; the time
 * that a look really takes is added to the delay of what it reports.
 */
export async function measurePresence(
  footage: Pick<Footage, "video" | "fps" | "frames" | "visits">,
  { model, crops, say = () => {} }: { model: Finder; crops: boolean; say?: (line: string) => void },
): Promise<PresenceResult> {
  const frameUs = 1e6 / footage.fps;
  let nowUs = 0;
  const clock: Clock = {
    monotonicUs: () => nowUs,
    wallMs: () => nowUs / 1000,
    sleep: (_ms, signal) =>
      new Promise((_, reject) => {
        signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
      }),
  };
  const inVisit = (us: number) =>
    footage.visits.find((v) => v.start * frameUs <= us && us <= (v.end + 1) * frameUs);
  const stop = new AbortController();
  let looksInEmptyScene = 0;
  const stage = openDetect({
    ...{ model, zones: [], threshold: 0.4, crops, separateVisitMs: 5_000, clock },
    signal: stop.signal,
    onLook: ({ frame }) => {
      if (!inVisit(frame.capturedUs)) looksInEmptyScene++;
    },
    onEvent: (event) => {
      if (event.kind === "problem") say(explain(event.failure));
    },
  });
  const incidents: Incident[] = [];
  const costMs = new Map<string, number>();
  let offeredMs = 0;
  const reading = (async () => {
    for await (const incident of stage.incidents) {
      if (incident.kind === "start") costMs.set(incident.id, performance.now() - offeredMs);
      incidents.push(incident);
    }
  })();
  const slab = openSlab({ slabBytes: 32 * 2 ** 20 });
  try {
    for await (const { index = 0, ...picture } of readPictures(footage.video, {
      fps: footage.fps,
    })) {
      nowUs = Math.round(index * frameUs);
      const { bytes, ...about } = picture;
      const frame = slab.put(bytes, { ...about, capturedUs: nowUs, sequence: index, index });
      offeredMs = performance.now();
      stage.offer(frame);
      frame.release();
      await stage.idle();
      if (index % 100 === 0) say(`watching: ${Math.round((index * 100) / footage.frames)} %`);
    }
  } finally {
    await stage.close();
    await reading;
    await slab.close();
  }
  return {
    ...compare(footage, incidents, costMs),
    intervalMs: Math.max(200, 2 * model.inferenceMs()),
    ...{ looks: stage.counts.looks, crops: stage.counts.crops, looksInEmptyScene, incidents },
  };
}

function compare(
  { fps, visits }: Pick<Footage, "fps" | "visits">,
  incidents: readonly Incident[],
  costMs: ReadonlyMap<string, number>,
) {
  const starts = incidents.filter((incident) => incident.kind === "start");
  const ends = incidents.filter((incident) => incident.kind === "end");
  const spans = starts.map((start) => {
    const end = ends.find(({ id }) => id === start.id);
    return { start, end, toUs: end?.lastSeenUs ?? start.atUs };
  });
  const us = (frame: number) => (frame * 1e6) / fps;
  const touches = ({ start, toUs }: (typeof spans)[number], visit: (typeof visits)[number]) =>
    start.firstSeenUs <= us(visit.end + 1) && toUs >= us(visit.start);
  const delayMs: number[] = [];
  const footageDelayMs: number[] = [];
  let split = 0;
  for (const visit of visits) {
    const mine = spans.filter(
      ({ start }) => us(visit.start) <= start.atUs && start.atUs <= us(visit.end + 1),
    );
    split += Math.max(0, mine.length - 1);
    const [first] = mine;
    if (!first) continue;
    const footageMs = (first.start.atUs - us(visit.start)) / 1000;
    footageDelayMs.push(footageMs);
    delayMs.push(footageMs + (costMs.get(first.start.id) ?? 0));
  }
  const joined = spans.reduce(
    (sum, span) => sum + Math.max(0, visits.filter((visit) => touches(span, visit)).length - 1),
    0,
  );
  return {
    ...{ visits: visits.length, found: delayMs.length, missed: visits.length - delayMs.length },
    ...{ false: spans.filter((span) => !visits.some((visit) => touches(span, visit))).length },
    ...{ split, joined, delayMs, footageDelayMs },
    ...{ mostPersons: ends.map(({ mostPersons }) => mostPersons) },
  };
}

/** The value that a share of all values does not exceed. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

/** One line for people. */
export function describe(result: PresenceResult): string {
  const { visits, found, missed, split, joined, delayMs, looks, crops, intervalMs } = result;
  const ms = (share: number) => `${Math.round(percentile(delayMs, share))} ms`;
  return (
    `${found} of ${visits} visits found, ${missed} missed, ${result.false} false, ${split} split, ` +
    `${joined} joined; event after ${ms(0.5)} (median), ${ms(0.95)} (95 %) at an interval of ` +
    `${Math.round(intervalMs)} ms; ${looks} looks (${result.looksInEmptyScene} of them at the ` +
    `empty scene) with ${crops} crops`
  );
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    allowNegative: true,
    options: {
      precision: { type: "string", default: "auto" },
      crops: { type: "boolean", default: true },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(help);
    return 0;
  }
  if (!["auto", "fp32", "int8"].includes(values.precision)) {
    console.error(`unknown precision ${values.precision}; see --help`);
    return 2;
  }
  const say = (line: string) => console.error(line);
  const footage = await composeFootage({ say });
  const model = await openModel({
    folder: new URL("../../models", import.meta.url).pathname,
    precision: values.precision as Precision | "auto",
    aspect: footage.width / footage.height,
  });
  try {
    const result = await measurePresence(footage, { model, crops: values.crops, say });
    const about = { model: model.id, precision: model.precision, crops: values.crops };
    if (values.json) console.log(JSON.stringify({ ...about, ...result, incidents: undefined }));
    else console.log(`${model.id} ${model.precision}: ${describe(result)}`);
    return result.missed + result.false === 0 ? 0 : 1;
  } finally {
    await model.close();
  }
}

if (process.argv[1]?.endsWith("scripts/presence.js")) {
  process.exitCode = await main().catch((error) => {
    console.error(explain(error));
    return 1;
  });
}
