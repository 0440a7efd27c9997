import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { intervalMs } from "../../src/device/detect/detect.ts";
import type { ServiceEvent } from "../../src/device/service.ts";
import { composeFootage, type Footage, sourceFrame } from "../footage.ts";
import { adopt, startService } from "./camera.ts";
import {
  type BenchOptions,
  type Line,
  line,
  percentile,
  rounded,
  type Skipped,
} from "./measure.ts";

const tallShare = 0.12;
/** Past this a part no longer belongs to the beginning of a clip. */
const firstPartLimitUs = 10e6;

type Visit = { tall: number; start: number; end: number };
type PersonEvent = ServiceEvent & { event: "person" };

/**
 * The camera's own program on the composed footage at its own speed, state on the disk: how long
 * after the capture of the first frame in which the ground truth has somebody taller than 12 % of
 * the picture the event comes, and how long after that the first parts of the clip are durable.
 */
export async function* benchLatency({ quick }: BenchOptions): AsyncGenerator<Line | Skipped, void> {
  const folder = await mkdtemp(join(tmpdir(), "obscura-bench-"));
  try {
    const footage = await composeFootage({ say: (line) => process.stderr.write(`${line}\n`) });
    const { film, visits, first } = quick
      ? { film: await shorten(footage, folder), visits: footage.visits.slice(0, 1), first: 50 }
      : { film: footage.video, visits: footage.visits, first: 0 };
    const state = await adopt(folder);
    // The first start tries both forms of the model out, while the film goes on.
    if (!quick) await watch(state, await shorten(footage, folder));
    const events = await watch(state, film);
    const frameUs = 1e6 / footage.fps;
    const begun = events.find(({ event }) => event === "pictures");
    if (begun?.event !== "pictures") throw new Error("no picture came");
    const originUs = begun.capturedUs - ((begun.index ?? 0) + first) * frameUs;
    const people = events.filter((one) => one.event === "person");
    const tall = await tallFrames(footage);
    const about = {
      against: `${visits.length} visits of the composed footage, ${footage.fps} fps`,
    };
    yield tall
      ? {
          ...eventLine(
            people,
            visits.map((visit) => ({ ...visit, tall: tall(visit) })),
            (frame) => originUs + frame * frameUs,
          ),
          ...about,
        }
      : {
          bench: "latency",
          name: "the event",
          skipped: "vtest-persons.csv is not in OBSCURA_SHARED/data",
        };
    for (const [number, what] of [
      "the first durable part",
      "the part with the first picture of the person",
      "the part with the first half second of video",
    ].entries()) {
      const ms = people.map((person) => sincePerson(events, person, number));
      if (ms.some(Number.isNaN)) throw new Error(`a clip has no part ${number}`);
      yield line("latency", `from the event to ${what}`, {
        value: rounded(percentile(ms, 0.95), 0),
        unit: "ms, 95 % of all",
        ...(number < 2 ? { aim: { most: 1000 } } : {}),
        ...about,
        eachMs: ms.map((one) => rounded(one, 0)),
      });
    }
  } finally {
    await rm(folder, { recursive: true });
  }
}

function eventLine(
  people: readonly PersonEvent[],
  visits: readonly Visit[],
  timeOf: (frame: number) => number,
): Line {
  const found = visits.flatMap(({ tall, start, end }) => {
    const event = people.find(
      ({ firstSeenUs }) => firstSeenUs >= timeOf(start) && firstSeenUs <= timeOf(end),
    );
    return event
      ? [{ ms: (event.atUs - timeOf(tall)) / 1000, inferenceMs: event.inferenceMs }]
      : [];
  });
  const each = found.map(({ ms, inferenceMs }) => ms / intervalMs(inferenceMs, false));
  return line("latency", "from the first frame with somebody tall (12 %) to the event", {
    value: rounded(percentile(each, 0.95), 2),
    unit: "detection intervals, 95 % of all",
    aim: { most: 3 },
    eachMs: found.map(({ ms }) => rounded(ms, 0)),
    inferenceMs: found.map(({ inferenceMs }) => inferenceMs),
    missed: visits.length - found.length,
  });
}

/** From the event to part `number` of the clip that it began; NaN when it never came. */
function sincePerson(events: readonly ServiceEvent[], person: PersonEvent, number: number): number {
  const part = events.find(
    (one) =>
      one.event === "part" &&
      one.number === number &&
      one.atUs >= person.atUs &&
      one.atUs < person.atUs + firstPartLimitUs,
  );
  return part?.event === "part" ? (part.atUs - person.atUs) / 1000 : Number.NaN;
}

async function watch(state: string, source: string): Promise<ServiceEvent[]> {
  const events: ServiceEvent[] = [];
  const service = startService({ state, source, onEvent: (event) => events.push(event) });
  await service.ended;
  return events;
}

/** For a visit: its first frame of the film with somebody tall; undefined without the ground truth. */
async function tallFrames(footage: Footage) {
  const shared = process.env.OBSCURA_SHARED ?? "../shared";
  const csv = await readFile(join(shared, "data/vtest-persons.csv"), "utf8").catch(() => undefined);
  if (csv === undefined) return undefined;
  const [head = "", ...lines] = csv.trim().split(/\r?\n/);
  const columns = head.split(",");
  const [frameAt, heightAt] = [columns.indexOf("frame"), columns.indexOf("height")];
  if (frameAt < 0 || heightAt < 0) throw new Error(`vtest-persons.csv begins with ${head}`);
  const rows = lines.map((line) => line.split(",").map(Number));
  const tall = new Set(
    rows
      .filter((row) => (row[heightAt] ?? 0) > tallShare * footage.height)
      .map((row) => row[frameAt]),
  );
  return ({ start, end }: Footage["visits"][number]): number => {
    for (let frame = start; frame <= end; frame++) if (tall.has(sourceFrame(frame))) return frame;
    throw new Error(`nobody is tall from frame ${start} to ${end}`);
  };
}

/** Five empty seconds and seven with people. */
export async function shorten(footage: Footage, folder: string): Promise<string> {
  const film = join(folder, "short.mkv");
  const filter = "select='between(n,50,169)',setpts=PTS-STARTPTS";
  await promisify(execFile)("ffmpeg", [
    ...["-v", "error", "-i", footage.video, "-vf", filter, "-fps_mode", "passthrough"],
    ...["-c:v", "mjpeg", "-q:v", "3", film],
  ]);
  return film;
}
