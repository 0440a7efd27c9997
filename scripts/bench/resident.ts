import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import type { Precision } from "../../src/device/detect/detect.ts";
import { serviceEnvironment } from "../environment.ts";
import { composeFootage, type Footage } from "../footage.ts";
import { adopt, memoryOfTree, type ProcessMemory, residentOfSlab, startService } from "./camera.ts";
import { type BenchOptions, type Line, line, median, rounded } from "./measure.ts";

const slabMiB = 48;
const sampleMs = 500;
const aims = { int8: 150, fp32: 170 } as const;
const treeAimMB = 330;
const incidentsProgram = new URL("./incidents.js", import.meta.url).pathname;

const megabytes = (bytes: number) => rounded(bytes / 1e6, 1);

/**
 * Resident memory of the camera's own program on replayed footage, a person in it who is recorded,
 * with each form of the model; of its process tree while it records 720p; and whether it stays the
 * same over many incidents. The ffmpeg that decodes the footage stands for the camera and is told
 * apart: a board has none.
 */
export async function* benchMemory({ quick }: BenchOptions): AsyncGenerator<Line, void> {
  const folder = await mkdtemp(join(tmpdir(), "obscura-bench-"));
  try {
    const footage = await composeFootage({ say: (line) => process.stderr.write(`${line}\n`) });
    const state = await adopt(folder);
    const small = await cut(footage, join(folder, "small.mkv"), "null", quick);
    const large = await cut(
      footage,
      join(folder, "large.mkv"),
      "crop=768:432:0:72,scale=1280:720",
      quick,
    );
    for (const precision of ["int8", "fp32"] as const) {
      const { withoutSlab } = await watch({ folder, state, source: small, precision });
      yield line("memory", `the service on replay of 768x576, ${precision}, without the slab`, {
        value: megabytes(withoutSlab),
        unit: "MB resident, at its highest",
        aim: { most: aims[precision] },
        against: "VmRSS less what of the slab's mapping is resident",
      });
    }
    const { tree, decoder, parts } = await watch({
      folder,
      state,
      source: large,
      precision: "int8",
    });
    yield line("memory", "the process tree while recording 1280x720, int8, slab included", {
      value: megabytes(tree),
      unit: "MB resident, at its highest",
      aim: { most: treeAimMB },
      against: "the sum of VmRSS, without the ffmpeg that stands for the camera",
      parts: parts.map(({ name, bytes }) => `${name} ${megabytes(bytes)}`),
      standInMB: megabytes(decoder),
    });
    const incidents = quick ? 3 : 200;
    yield await countIncidents(footage, folder, state, incidents);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Three empty seconds of the film, then people. */
async function cut(footage: Footage, to: string, filter: string, quick: boolean): Promise<string> {
  const last = quick ? 159 : 219;
  const chosen = `select='between(n,70,${last})',setpts=PTS-STARTPTS,${filter}`;
  await promisify(execFile)("ffmpeg", [
    ...["-v", "error", "-i", footage.video, "-vf", chosen, "-fps_mode", "passthrough"],
    ...["-c:v", "mjpeg", "-q:v", "3", to],
  ]);
  return to;
}

type Watched = {
  withoutSlab: number;
  tree: number;
  decoder: number;
  parts: ProcessMemory[];
};

/** The highest of all samples, from the first picture to the end. */
async function watch(options: {
  folder: string;
  state: string;
  source: string;
  precision: Precision;
}): Promise<Watched> {
  const config = join(options.folder, "config.yaml");
  const settings = [
    "version: 1",
    `camera: { slabMiB: ${slabMiB} }`,
    `detect: { precision: ${options.precision} }`,
  ];
  await writeFile(config, `${settings.join("\n")}\n`);
  let flowing = false;
  let recorded = 0;
  const { state, source } = options;
  const service = startService({
    ...{ state, source, config },
    onEvent: ({ event }) => {
      if (event === "pictures") flowing = true;
      if (event === "part") recorded++;
    },
  });
  const most: Watched = { withoutSlab: 0, tree: 0, decoder: 0, parts: [] };
  let over = false;
  const ended = service.ended.finally(() => {
    over = true;
  });
  ended.catch(() => {});
  while (!over) {
    await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, sampleMs))]);
    if (!flowing || over) continue;
    const all = await memoryOfTree(service.pid);
    const [main] = all;
    const slab = await residentOfSlab(service.pid, slabMiB * 2 ** 20).catch(() => undefined);
    if (!main || slab === undefined) continue;
    most.withoutSlab = Math.max(most.withoutSlab, main.bytes - slab);
    // The replay's own ffmpeg was there first.
    const decoder = all.find(({ name }) => name === "ffmpeg");
    const parts = all.filter((one) => one !== decoder);
    const tree = parts.reduce((sum, { bytes }) => sum + bytes, 0);
    if (tree > most.tree) Object.assign(most, { tree, parts, decoder: decoder?.bytes ?? 0 });
  }
  await ended;
  if (recorded < 3) throw new Error("nobody was recorded: this measures nothing");
  return most;
}

/** What incidents.ts prints. */
export type Sample = { incident: number; residentBytes: number };

async function countIncidents(
  footage: Footage,
  folder: string,
  state: string,
  count: number,
): Promise<Line> {
  // Two seconds of the empty scene, then two with people, over and over.
  const film = join(folder, "short.mkv");
  await promisify(execFile)("ffmpeg", [
    ...["-v", "error", "-i", footage.video, "-fps_mode", "passthrough"],
    ...["-vf", "select='between(n,80,119)',setpts=PTS-STARTPTS"],
    ...["-c:v", "mjpeg", "-q:v", "3", film],
  ]);
  const child = spawn(process.execPath, [incidentsProgram, state, film, String(count)], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, ...serviceEnvironment },
  });
  const samples: Sample[] = [];
  createInterface({ input: child.stdout }).on("line", (line) => samples.push(JSON.parse(line)));
  const [code] = await once(child, "close");
  if (code !== 0 || samples.length < count) {
    throw new Error(`ended with ${code} after ${samples.length} of ${count} incidents`);
  }
  // The first tenth fills caches and heaps; then its own beginning is what the end is held against.
  const warm = samples.slice(Math.floor(count / 10)).map(({ residentBytes }) => residentBytes);
  const width = Math.max(1, Math.floor(warm.length / 6));
  const [before, after] = [median(warm.slice(0, width)), median(warm.slice(-width))];
  return line("memory", `growth over ${count} incidents through all stages`, {
    value: rounded((100 * (after - before)) / before, 2),
    unit: "% of resident memory",
    aim: { most: 5 },
    against: `the median of ${width} incidents after the first ${Math.floor(count / 10)}`,
    beforeMB: megabytes(before),
    afterMB: megabytes(after),
    highestMB: megabytes(Math.max(...warm)),
  });
}
