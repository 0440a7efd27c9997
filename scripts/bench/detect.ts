import { execFile } from "node:child_process";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { ManualClock } from "../../src/base/pure/clock.ts";
import { openSlab } from "../../src/device/camera/camera.ts";
import {
  type Finder,
  openDetect,
  openModel,
  type Precision,
} from "../../src/device/detect/detect.ts";
import { readEntry, type Size, sizeFor, verifyFile } from "../../src/device/detect/manifest.ts";
import { type BenchOptions, cpuMs, type Line, line, median, rounded } from "./measure.ts";

const run = promisify(execFile);
const folder = fileURLToPath(new URL("../../../models", import.meta.url));
const size = { width: 1280, height: 720 };
const fps = 5; // the motion gate's own cadence: each picture is analysed
const rounds = 5;
const warmRuns = 10;
const threads = 2;
const idleMs = 1_000; // no look comes of a picture in which nothing moves

/**
 * The detect stage against its parts. Somebody walks through a picture of 1280 × 720 in MJPEG; the
 * stage sees it as it comes: motion, the whole frame, and with crops a closer look. Against it, in
 * the same run: the same inferences by the runtime alone, picture by picture in turns, so that what
 * else the machine does falls on both; and ffmpeg decoding each analysed picture once. Processor
 * time, because the machine may be shared.
 */
export async function* benchDetect({ quick }: BenchOptions): AsyncGenerator<Line, void> {
  const jpegs = await film(quick ? 6 : 30);
  const decodeMs = (await decodeCpuMs(jpegs)) / jpegs.length;
  for (const precision of ["fp32", "int8"] as const)
    for (const crops of [false, true]) {
      const costs: Cost[] = [];
      for (let round = 0; round < (quick ? 1 : rounds); round++) {
        costs.push(await wholeStage(precision, crops, jpegs, quick));
      }
      const [last] = costs;
      const bareMs = (cost: Cost) => cost.runsMs + cost.analysed * decodeMs;
      yield line("detect", `${precision}${crops ? " with crops" : ""}, 1280x720 MJPEG`, {
        value: rounded(median(costs.map((cost) => cost.stageMs / bareMs(cost)))),
        unit: "processor time of the stage over that of its parts",
        aim: { most: 1.15 },
        against: "the same inferences by the runtime alone, and ffmpeg decoding each picture once",
        cpuMs: rounded(median(costs.map(({ stageMs }) => stageMs))),
        bareMs: rounded(median(costs.map(bareMs))),
        bareDecodeMs: rounded(decodeMs),
        ...(last ? { analysed: last.analysed, looks: last.looks, crops: last.crops } : {}),
      });
    }
  for (const precision of ["int8", "fp32"] as const) {
    const script = fileURLToPath(new URL("./memory.js", import.meta.url));
    const { stdout } = await run(process.execPath, [script, folder, precision], {
      env: { ...process.env, MALLOC_ARENA_MAX: "2" },
    });
    const { nodeMb, residentMb } = JSON.parse(stdout) as { nodeMb: number; residentMb: number };
    yield line("detect", `a process with the ${precision} detector, without its pictures`, {
      value: rounded(residentMb, 1),
      unit: "MB resident",
      aim: { most: precision === "int8" ? 150 : 170 },
      against: "nothing",
      nodeAloneMB: rounded(nodeMb, 1),
    });
  }
}

/** Processor time of the stage, and of its inferences by the runtime alone. */
type Cost = { stageMs: number; runsMs: number; looks: number; crops: number; analysed: number };

async function wholeStage(
  precision: Precision,
  withCrops: boolean,
  jpegs: readonly Uint8Array[],
  quick: boolean,
): Promise<Cost> {
  const model = await openModel({ folder, precision, aspect: 16 / 9, threads });
  await using bare = await openBare(precision);
  const runs: Size[] = [];
  let looked = () => {};
  const watched: Finder = {
    ...model,
    inferenceMs: () => 1, // as on a board that keeps up: each picture in which something moves
    async find(frame, options) {
      runs.push(options.size ?? (options.crop ? model.crop : model.input));
      return await model.find(frame, options);
    },
  };
  const clock = new ManualClock();
  const slab = openSlab({ slabBytes: 24 * 2 ** 20 });
  const stop = new AbortController();
  const stage = openDetect({
    ...{ model: watched, zones: [], threshold: model.threshold, crops: withCrops, clock },
    ...{ separateVisitMs: 10_000, signal: stop.signal, onLook: () => looked() },
  });
  const show = async (bytes: Uint8Array, sequence: number) => {
    const frame = slab.put(bytes, label(sequence, clock.monotonicUs()));
    // Woken by the look itself: to ask again and again would cost what is to be measured.
    const look = new Promise<void>((resolve) => {
      looked = resolve;
    });
    stage.offer(frame);
    frame.release();
    await Promise.race([look, wait(idleMs, undefined, { ref: false })]);
    clock.advance(1000 / fps);
  };
  // What is done once is not what is measured: the runtime makes its plans, the compiler ours. A
  // camera runs for months.
  const back = jpegs.toReversed();
  const warm = [jpegs[0] ?? new Uint8Array(), ...(quick ? back : [...back, ...jpegs, ...back])];
  for (const [sequence, bytes] of warm.entries()) await show(bytes, sequence);
  await model.find(slab.put(warm[0] ?? new Uint8Array(), label(0, 0)), {
    ...{ threshold: 0.4, crop: { x: 0, y: 0, width: 400, height: 400 } },
  });
  const { looks, crops, analysed } = stage.counts;
  runs.length = 0;

  const cost = { stageMs: 0, runsMs: 0 };
  for (const [number, bytes] of jpegs.entries()) {
    const beginMs = cpuMs();
    await show(bytes, warm.length + number);
    const shownMs = cpuMs();
    for (const size of runs) await bare.run(size);
    runs.length = 0;
    cost.stageMs += shownMs - beginMs;
    cost.runsMs += cpuMs() - shownMs;
  }
  await stage.close();
  await model.close();
  await slab.close();
  return {
    ...cost,
    looks: stage.counts.looks - looks,
    crops: stage.counts.crops - crops,
    analysed: stage.counts.analysed - analysed,
  };
}

function label(sequence: number, capturedUs: number) {
  return { format: "MJPG", ...size, capturedUs, sequence } as const;
}

/** The runtime alone, its rooms made and its plans warm. */
async function openBare(precision: Precision) {
  const entry = await readEntry(folder);
  const session = await InferenceSession.create(await verifyFile(folder, entry, precision), {
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    extra: { session: { intra_op: { allow_spinning: "0" } } },
  });
  const roomFor = async ({ width, height }: Size) => {
    const image = new Tensor("float32", new Float32Array(3 * width * height), [
      1,
      3,
      height,
      width,
    ]);
    const outputs = Object.fromEntries(
      entry.output.heads.map(({ name, stride }) => {
        const dims = [1, 1 + 4 * entry.output.bins, height / stride, width / stride];
        const data = new Float32Array(dims.reduce((a, b) => a * b));
        return [name, new Tensor("float32", data, dims)];
      }),
    );
    const run = () => session.run({ [entry.input.name]: image }, outputs);
    for (let i = 0; i < warmRuns; i++) await run();
    return run;
  };
  const { crop } = entry.input;
  const sizes = [sizeFor(entry, size.width / size.height), crop];
  const rooms = new Map<string, Awaited<ReturnType<typeof roomFor>>>();
  const key = ({ width, height }: Size) => `${width}x${height}`;
  for (const one of sizes) rooms.set(key(one), await roomFor(one));
  return {
    async run(one: Size): Promise<void> {
      const run = rooms.get(key(one));
      if (!run) throw new Error(`the stage looks at ${key(one)}, which the bench does not expect`);
      await run();
    },
    [Symbol.asyncDispose]: () => session.release(),
  };
}

/** Somebody walks through a still picture: both are the project's own test pictures. */
async function film(pictures: number): Promise<Uint8Array[]> {
  const [scene, walker] = ["pictures/coffee.jpg", "pictures/astronaut.jpg"].map((name) =>
    join(folder, name),
  );
  const still = ["-loop", "1", "-framerate", String(fps), "-i"];
  const walk = "[1]scale=-2:240[w];[0]scale=1280:720,setsar=1[s];[s][w]overlay=x=t*150:y=380";
  const { stdout } = await run(
    "ffmpeg",
    [
      ...["-v", "error", ...still, scene ?? "", ...still, walker ?? "", "-filter_complex", walk],
      ...["-frames:v", String(pictures), "-pix_fmt", "yuvj420p", "-q:v", "4"],
      ...["-c:v", "mjpeg", "-f", "mjpeg", "pipe:1"],
    ],
    { encoding: "buffer", maxBuffer: 2 ** 28 },
  );
  const jpegs: Uint8Array[] = [];
  const end = Buffer.from([0xff, 0xd9, 0xff, 0xd8]);
  let from = 0;
  for (let at = stdout.indexOf(end); at >= 0; at = stdout.indexOf(end, at + 2)) {
    jpegs.push(stdout.subarray(from, at + 2));
    from = at + 2;
  }
  jpegs.push(stdout.subarray(from));
  return jpegs;
}

/** Processor time in which ffmpeg decodes all pictures, without what its start costs. */
async function decodeCpuMs(jpegs: readonly Uint8Array[]): Promise<number> {
  const cpuOf = (count: number) =>
    new Promise<number>((resolve, reject) => {
      const child = execFile(
        "ffmpeg",
        [
          ...["-v", "info", "-benchmark", "-threads", "1", "-f", "mjpeg", "-i", "pipe:0"],
          ...["-f", "null", "-"],
        ],
        (error, _, said) => {
          const [, user, system] = /utime=([\d.]+)s stime=([\d.]+)s/.exec(said) ?? [];
          if (error || user === undefined) reject(error ?? new Error("ffmpeg gave no time"));
          else resolve((Number(user) + Number(system)) * 1000);
        },
      );
      child.stdin?.end(Buffer.concat(jpegs.slice(0, count)));
    });
  return ((await cpuOf(jpegs.length)) - (await cpuOf(1))) * (jpegs.length / (jpegs.length - 1));
}
