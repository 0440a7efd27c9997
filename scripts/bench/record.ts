import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../src/base/node/time.ts";
import { openSlab } from "../../src/device/camera/camera.ts";
import { type Encoder, encoderArguments, probeEncoder } from "../../src/device/record/encoder.ts";
import { matroskaHeader, pictureHeader } from "../../src/device/record/matroska.ts";
import { openRecord } from "../../src/device/record/record.ts";
import {
  type BenchOptions,
  type Line,
  line,
  median as middle,
  rounded as round,
} from "./measure.ts";

const size = { width: 1280, height: 720 };
const fps = 15;
const input = { ...size, fps, turn: { rotate: 0, flip: false }, halfSize: false } as const;

type Cost = { cpuMs: number; wallMs: number };
type Recorded = Cost & {
  firstFragmentMs: number;
  frames: number;
  ffmpegBytes: number;
  ourBytes: number;
};

/**
 * The record stage on pictures in the native slab against ffmpeg alone, which reads the same
 * pictures from a file and writes nowhere: processor time of us and the child over the child's.
 * In turn, in one run; the middle of the rounds is given.
 */
export async function* benchRecord({ quick }: BenchOptions): AsyncGenerator<Line, void> {
  const [seconds, rounds] = quick ? [4, 1] : [20, 3];
  const encoder = await probeEncoder({ ...size, fps });
  const jpegs = makePictures(seconds);
  const folder = mkdtempSync(join(tmpdir(), "obscura-bench-"));
  try {
    const file = join(folder, "input.mkv");
    writeFileSync(file, matroska(jpegs));
    const alone: Cost[] = [];
    const stage: Recorded[] = [];
    await record(encoder, jpegs.slice(0, 30));
    for (let round = 0; round < rounds; round++) {
      alone.push(await ffmpegAlone(encoder, file));
      stage.push(await record(encoder, jpegs));
    }
    const cpu = {
      ours: middle(stage.map((s) => s.cpuMs)),
      ffmpeg: middle(alone.map((a) => a.cpuMs)),
    };
    const wall = {
      ours: middle(stage.map((s) => s.wallMs)),
      ffmpeg: middle(alone.map((a) => a.wallMs)),
    };
    yield line("record", `${seconds} s of 1280x720 MJPEG at ${fps}, ${encoder.name}`, {
      value: round(cpu.ours / cpu.ffmpeg),
      unit: "processor time, ours and the encoder's, over that of ffmpeg alone",
      aim: { most: 1.1 },
      against: "ffmpeg with the same arguments, which reads the same pictures from a file",
      pictures: jpegs.length,
      cpuMs: cpu,
      wallMs: wall,
      wallRatio: round(wall.ours / wall.ffmpeg),
    });
    yield line("record", "from the incident to the first fragment, all of it pre-roll", {
      value: middle(stage.map((s) => s.firstFragmentMs)),
      unit: "ms",
      against: "nothing",
      picturesPerSecond: Math.round(jpegs.length / (wall.ours / 1000)),
    });
    yield line("record", "the encoder while it records", {
      value: round(Math.max(...stage.map((s) => s.ffmpegBytes)) / 1e6, 1),
      unit: "MB resident, at its highest",
      against: "nothing",
      ourGrowthMB: round(Math.max(...stage.map((s) => s.ourBytes)) / 1e6, 1),
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** All pictures are pre-roll, so that nothing waits for a camera: the stage's full speed. */
async function record(encoder: Encoder, jpegs: Uint8Array[]): Promise<Recorded> {
  const slab = openSlab({ slabBytes: 96 * 1024 * 1024 });
  let pid: number | undefined;
  const watched: Encoder = {
    ...encoder,
    start(of) {
      const run = encoder.start(of);
      pid = run.pid;
      return run;
    },
  };
  const stage = openRecord({
    encoder: watched,
    fps,
    preRollMs: (jpegs.length / fps) * 1000,
    postRollMs: 0,
    longestMs: 180_000,
    preRollBytes: 64 * 1024 * 1024,
    model: { id: "bench", precision: "int8" },
    clockTrusted: () => false,
    clock: systemClock,
    signal: new AbortController().signal,
  });
  const endUs = systemClock.monotonicUs();
  for (const [i, jpeg] of jpegs.entries()) {
    const capturedUs = Math.round(endUs - ((jpegs.length - 1 - i) * 1e6) / fps);
    const frame = slab.put(jpeg, { ...size, format: "MJPG", capturedUs, sequence: i });
    stage.offer(frame);
    frame.release();
  }
  const before = cost();
  const rss = process.memoryUsage.rss();
  const id = "00".repeat(16);
  stage.incident({
    ...{ kind: "start", id, firstSeenUs: endUs, atUs: endUs },
    ...{ persons: [], count: 0, frame: size },
  });
  stage.incident({ kind: "end", id, atUs: endUs, lastSeenUs: endUs, mostPersons: 0 });
  let firstFragmentMs = 0;
  let frames = 0;
  let ffmpegBytes = 0;
  let ourBytes = 0;
  for await (const recording of stage.recordings) {
    for await (const piece of recording.pieces) {
      if (piece.kind === "fragment") firstFragmentMs ||= performance.now() - before.wallMs;
      if (piece.kind === "closing") frames = piece.closing.frames;
      ffmpegBytes = Math.max(ffmpegBytes, residentBytes(pid));
      ourBytes = Math.max(ourBytes, process.memoryUsage.rss() - rss);
    }
    break;
  }
  const after = cost();
  await stage.close();
  await slab.close();
  if (frames !== jpegs.length) throw new Error(`${frames} of ${jpegs.length} pictures recorded`);
  return {
    cpuMs: Math.round(after.cpuMs - before.cpuMs),
    wallMs: Math.round(after.wallMs - before.wallMs),
    firstFragmentMs: Math.round(firstFragmentMs),
    frames,
    ffmpegBytes,
    ourBytes,
  };
}

async function ffmpegAlone(encoder: Encoder, file: string): Promise<Cost> {
  const before = cost();
  const child = spawn("ffmpeg", encoderArguments(encoder.name, input), {
    stdio: [openSync(file, "r"), "ignore", "inherit"],
  });
  const code = await new Promise((resolve) => child.on("close", resolve));
  if (code !== 0) throw new Error(`ffmpeg ended with ${code}`);
  const after = cost();
  return {
    cpuMs: Math.round(after.cpuMs - before.cpuMs),
    wallMs: Math.round(after.wallMs - before.wallMs),
  };
}

/** Processor time of this process and of the children it has waited for. */
function cost(): Cost {
  const stat = readFileSync("/proc/self/stat", "latin1");
  // After the name in brackets: utime, stime, cutime, cstime are the 12th to 15th.
  const fields = stat
    .slice(stat.lastIndexOf(")") + 2)
    .split(" ")
    .map(Number);
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + field, 0);
  return { cpuMs: ticks * 10, wallMs: performance.now() };
}

function residentBytes(pid: number | undefined): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "latin1");
    return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}

function makePictures(seconds: number): Uint8Array[] {
  const picture = `testsrc2=size=${size.width}x${size.height}:rate=${fps},noise=alls=8:allf=t`;
  const source = ["-f", "lavfi", "-i", picture, "-frames:v", String(fps * seconds)];
  const target = ["-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-q:v", "4", "-f", "image2pipe", "-"];
  const bytes = execFileSync("ffmpeg", ["-v", "error", ...source, ...target], {
    maxBuffer: 512 * 1024 * 1024,
  });
  const pictures: Uint8Array[] = [];
  const between = Buffer.from([0xff, 0xd9, 0xff, 0xd8]);
  for (let start = 0; ; ) {
    const end = bytes.indexOf(between, start);
    pictures.push(bytes.subarray(start, end < 0 ? undefined : end + 2));
    if (end < 0) return pictures;
    start = end + 2;
  }
}

function matroska(jpegs: Uint8Array[]): Uint8Array {
  const pieces = [matroskaHeader(input)];
  for (const [i, jpeg] of jpegs.entries()) {
    pieces.push(pictureHeader(Math.round((i * 1e6) / fps), jpeg.length), jpeg);
  }
  return Buffer.concat(pieces);
}
