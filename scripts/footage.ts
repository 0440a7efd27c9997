import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { parseArgs } from "node:util";
import { explain, Failure } from "../src/base/pure/failure.ts";
import { cacheFolder, checkSource, findSource, run, source } from "./footage/source.ts";

const help = `usage: node dist/scripts/footage.js [-o DIR] [--format mp4|mkv|mjpeg]

Composes surveillance footage in which people come and go: ten seconds of the empty scene, fifteen
with people, five times over (135 s, 768x576, 10 frames a second). Prints the paths of the film and
of its truth file. Made once, found again afterwards.

  -o, --output DIR   where to put it (default: the cache, $XDG_CACHE_HOME/obscura)
  --format FORMAT    mp4 (H.264, default), mkv (Motion JPEG in Matroska) or mjpeg (bare pictures)
`;

/** Frames of the film: when somebody is there, and which frames of vtest.avi they come from. */
export type Visit = { visit: number; start: number; end: number; source: number };
export type Footage = {
  /** The film. */
  video: string;
  /** JSON lines: one header, a line for each visit, a line for each frame. */
  truth: string;
  width: number;
  height: number;
  fps: number;
  frames: number;
  visits: Visit[];
};
export type FootageFormat = "mp4" | "mkv" | "mjpeg";

/** Raised when the composition changes, so that an old film in a cache is not taken for it. */
const edition = 1;
const emptyFrames = 100;
const visitFrames = 150;
const visitCount = 5;

const visits: Visit[] = Array.from({ length: visitCount }, (_, i) => {
  const start = emptyFrames + i * (visitFrames + emptyFrames);
  return { visit: i + 1, start, end: start + visitFrames - 1, source: i * visitFrames };
});
const frames = emptyFrames + visitCount * (visitFrames + emptyFrames);
const { width, height, fps } = source;
const pictureBytes = (width * height * 3) / 2;

/** The frame of vtest.avi that the film shows at `frame`; undefined while the scene is empty. */
export function sourceFrame(frame: number): number | undefined {
  const visit = visits.find((v) => v.start <= frame && frame <= v.end);
  return visit && visit.source + frame - visit.start;
}

const codecs: Record<FootageFormat, string[]> = {
  mp4: [
    ...["-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-bf", "0", "-g", "50"],
    ...["-pix_fmt", "yuv420p", "-movflags", "+faststart"],
  ],
  mkv: ["-c:v", "mjpeg", "-q:v", "3", "-pix_fmt", "yuvj420p"],
  mjpeg: ["-c:v", "mjpeg", "-q:v", "3", "-pix_fmt", "yuvj420p", "-f", "mjpeg"],
};

/**
 * Composes the film, or finds it made already. Deterministic for one ffmpeg.
 * Throws Failure "absent" when vtest.avi or ffmpeg cannot be had.
 */
export async function composeFootage(
  options: {
    cacheFolder?: string;
    outputFolder?: string;
    format?: FootageFormat;
    say?: (line: string) => void;
  } = {},
): Promise<Footage> {
  const cache = options.cacheFolder ?? cacheFolder();
  const folder = options.outputFolder ?? cache;
  const format = options.format ?? "mp4";
  const say = options.say ?? (() => {});
  const video = join(folder, `people-come-and-go-${edition}.${format}`);
  const truth = join(folder, `people-come-and-go-${edition}.jsonl`);
  const footage = { video, truth, width, height, fps, frames, visits };
  if (await isThere(video, truth)) return footage;

  await mkdir(folder, { recursive: true });
  const film = await findSource(cache, say);
  await checkSource(film);
  const empty = join(folder, `empty-${process.pid}.yuv`);
  const part = join(folder, `part-${process.pid}.${format}`);
  try {
    say("finding the empty scene");
    // The median of 133 pictures spread over the film: nobody stands in one place for half of it.
    await run("ffmpeg", [
      ...["-v", "error", "-y", "-i", film, "-vf", "select='not(mod(n,6))',tmedian=radius=66"],
      ...["-frames:v", "1", "-vsync", "0", "-pix_fmt", "yuv420p", "-f", "rawvideo", empty],
    ]);
    await encode(film, await readFile(empty), part, codecs[format], say);
    await writeFile(`${part}.jsonl`, truthText());
    await rename(`${part}.jsonl`, truth);
    await rename(part, video);
  } finally {
    for (const path of [empty, part, `${part}.jsonl`]) await rm(path, { force: true });
  }
  return footage;
}

async function isThere(...paths: string[]): Promise<boolean> {
  return Promise.all(paths.map((path) => access(path))).then(
    () => true,
    () => false,
  );
}

function truthText(): string {
  const lines: unknown[] = [{ film: "vtest.avi", edition, width, height, fps, frames }, ...visits];
  for (let frame = 0; frame < frames; frame++) {
    const visit = visits.find((v) => v.start <= frame && frame <= v.end)?.visit ?? null;
    lines.push({ frame, visit, source: sourceFrame(frame) ?? null });
  }
  return `${lines.map((line) => JSON.stringify(line)).join("\n")}\n`;
}

async function encode(
  film: string,
  empty: Uint8Array,
  to: string,
  codec: string[],
  say: (line: string) => void,
): Promise<void> {
  const raw = ["-f", "rawvideo", "-pix_fmt", "yuv420p"];
  const decoder = spawn("ffmpeg", ["-v", "error", "-i", film, "-vsync", "0", ...raw, "pipe:1"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  // A median has no noise at all, and a scene without noise would flatter any motion detector.
  const encoder = spawn(
    "ffmpeg",
    [
      ...["-v", "error", "-y", ...raw, "-video_size", `${width}x${height}`],
      ...["-framerate", String(fps), "-i", "pipe:0"],
      ...["-vf", "noise=all_seed=1:c0s=3:c0f=t", "-map_metadata", "-1", "-fflags", "+bitexact"],
      ...["-flags:v", "+bitexact", ...codec, to],
    ],
    { stdio: ["pipe", "ignore", "inherit"] },
  );
  const ended = once(encoder, "close");
  // A broken pipe is told better by the exit code.
  encoder.stdin.on("error", () => {});
  const shown = pictures(decoder.stdout);
  try {
    for (let frame = 0; frame < frames; frame++) {
      let picture = empty;
      if (sourceFrame(frame) !== undefined) {
        const next = await shown.next();
        if (next.done) throw new Failure("corrupt", `${film} ended before frame ${frame}`);
        picture = next.value;
      }
      if (!encoder.stdin.write(picture)) {
        await Promise.race([once(encoder.stdin, "drain"), ended]);
      }
      if (frame % 100 === 0) say(`composing: ${Math.round((frame * 100) / frames)} %`);
    }
    encoder.stdin.end();
    const [code] = await ended;
    if (code !== 0) throw new Failure("refused", `ffmpeg ended with ${code}`);
  } finally {
    // Not SIGTERM: a decoder that waits for a full pipe would wait on.
    decoder.kill("SIGKILL");
    decoder.stdout.destroy();
    encoder.kill("SIGKILL");
  }
  say("composing: done");
}

/** Cuts a stream of raw pictures at their borders. */
async function* pictures(stream: Readable): AsyncGenerator<Uint8Array, undefined> {
  let picture = new Uint8Array(pictureBytes);
  let filled = 0;
  for await (const chunk of stream as AsyncIterable<Uint8Array>) {
    for (let at = 0; at < chunk.length; ) {
      const piece = chunk.subarray(at, at + pictureBytes - filled);
      picture.set(piece, filled);
      filled += piece.length;
      at += piece.length;
      if (filled < pictureBytes) continue;
      yield picture;
      picture = new Uint8Array(pictureBytes);
      filled = 0;
    }
  }
  return undefined;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      output: { type: "string", short: "o" },
      format: { type: "string", default: "mp4" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(help);
    return 0;
  }
  const format = values.format;
  if (format !== "mp4" && format !== "mkv" && format !== "mjpeg") {
    console.error(`unknown format ${format}; see --help`);
    return 2;
  }
  const { video, truth } = await composeFootage({
    ...(values.output ? { outputFolder: values.output } : {}),
    format,
    say: (line) => console.error(line),
  });
  console.log(`${video}\n${truth}`);
  return 0;
}

if (process.argv[1]?.endsWith("scripts/footage.js")) {
  process.exitCode = await main().catch((error) => {
    console.error(explain(error));
    return 1;
  });
}
