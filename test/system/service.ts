import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { ServiceEvent } from "../../src/device/service.ts";
import { type Board, boardUntilEnd } from "../lib/board.ts";
import type { CountedFootage } from "../lib/counted.ts";
import { readCounter } from "../lib/counter.ts";
import { decodeVideo, run } from "../lib/footage.ts";
import type { Machine } from "../lib/machine.ts";
import type { Played } from "./guest/play.ts";
import type { ServiceOrder, ServiceReport } from "./guest/service.ts";
import { loopback } from "./observe.ts";

/** Settings of a Zero 2 W: 720p pictures at 10, the small model input, no crops, 12 MiB of slab. */
export function zeroSettings(more: {
  format?: string;
  fps?: number;
  width?: number;
  height?: number;
}) {
  const { format = "MJPG", fps = 10, width = 1280, height = 720 } = more;
  return `version: 1
name: canary-kitchen
camera: { width: ${width}, height: ${height}, fps: ${fps}, format: ${format}, slabMiB: 12 }
detect: { input: 256x160, precision: int8, crops: false, threads: 1, separateVisitS: 3 }
record: { fps: ${fps}, preRollMiB: 8 }
`;
}

export type Run = {
  report: ServiceReport;
  played: Played[];
  /** What the service told of itself, all its lives in a row. */
  events: ServiceEvent[];
  /** Every exported clip, by name. */
  clips: { name: string; bytes: Uint8Array }[];
  /** Output of one of the commands: "clips", "verify", "export", "check". */
  said(name: string): Promise<string>;
  /** Exit codes of these commands. */
  codes: Record<string, number>;
  serviceLog: string;
  console: string;
  board: Board;
};

/**
 * Camera, service, owner and export in one guest. The board, and so its results, is the caller's to
 * dispose of.
 */
export async function runService(
  machine: Machine,
  footage: CountedFootage,
  order: Omit<ServiceOrder, "pictures" | "playlist">,
  more: {
    memoryMiB: number;
    disks?: string[];
    modules?: string[];
    files?: Record<string, Uint8Array>;
  },
): Promise<Run> {
  const { pictures, playlist } = footage;
  const { board, ending } = await boardUntilEnd(machine, {
    command: ["node", "dist/test/system/guest/service.js"],
    modules: [loopback, ...(more.modules ?? [])],
    memoryMiB: more.memoryMiB,
    urgent: true,
    ...(more.disks ? { disks: more.disks } : {}),
    files: { ...more.files, "order.json": JSON.stringify({ ...order, pictures, playlist }) },
    timeoutMs: order.rounds * footage.lengthMs + order.settleMs + order.afterMs + 500_000,
  });
  const read = (name: string) => readFile(join(board.results, name), "utf8").catch(() => "");
  try {
    const serviceLog = await read("service.log");
    if (ending.exit !== 0) {
      const all = [ending.fault, ending.stdout, ending.stderr, await read("commands.log")];
      throw new Error(
        [...all, serviceLog, ending.console].map((text) => (text ?? "").slice(-6000)).join("\n"),
      );
    }
    const folder = join(board.results, "clips");
    await mkdir(folder, { recursive: true });
    const names = (await readdir(folder)).filter((name) => name.endsWith(".mp4")).sort();
    return {
      report: JSON.parse(await read("report.json")) as ServiceReport,
      played: lines<Played>(await read("played")),
      events: lines<ServiceEvent>(await read("events")),
      clips: await Promise.all(
        names.map(async (name) => ({ name, bytes: await readFile(join(folder, name)) })),
      ),
      said: (name) => read(`${name}.out`),
      codes: JSON.parse(await read("codes.json")) as Record<string, number>,
      serviceLog,
      console: ending.console,
      board,
    };
  } catch (error) {
    await board[Symbol.asyncDispose]();
    throw error;
  }
}

/** A line that was being written when its writer was killed is left out. */
function lines<T>(text: string): T[] {
  const whole = text.slice(0, text.lastIndexOf("\n") + 1).split("\n");
  return whole
    .filter((line) => line.startsWith("{") && line.endsWith("}"))
    .map((line) => JSON.parse(line) as T);
}

export type Picture = { seconds: number; counter: number | undefined; luma: Uint8Array };

/** The pictures of a clip as a player sees them, with the counter in each. */
export async function readClip(clip: Uint8Array) {
  const { size, codec, pictures } = await decodeVideo(clip);
  const read = pictures.map(
    ({ seconds, luma }): Picture => ({ seconds, luma, counter: readCounter(luma, size) }),
  );
  return { size, codec, pictures: read };
}

/** Full-range luma of the footage's own pictures. */
export async function footageLuma(footage: CountedFootage): Promise<(index: number) => Uint8Array> {
  const { width, height, format } = footage;
  const from =
    format === "MJPG"
      ? ["-f", "mjpeg"]
      : ["-f", "rawvideo", "-pix_fmt", "yuyv422", "-video_size", `${width}x${height}`];
  const view =
    format === "MJPG" ? "format=gray" : "scale=in_range=limited:out_range=full,format=gray";
  const raw = await run("ffmpeg", [
    ...["-v", "error", ...from, "-i", footage.pictures, "-fps_mode", "passthrough"],
    ...["-vf", view, "-f", "rawvideo", "-"],
  ]);
  return (index) => raw.subarray(index * width * height, (index + 1) * width * height);
}

/** Keeps a clip that a test did not like for whoever looks into it (environment OBSCURA_KEEP). */
export async function keep(run: Run): Promise<void> {
  const folder = process.env.OBSCURA_KEEP;
  if (!folder) return;
  await mkdir(folder, { recursive: true });
  for (const { name, bytes } of run.clips) await writeFile(join(folder, name), bytes);
  await writeFile(join(folder, "service.log"), run.serviceLog);
}
