import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { composeFootage } from "../../scripts/footage.ts";
import { drawCounter } from "./counter.ts";

/** One picture of the footage: where it lies in the file, and when it is shown. */
export type Shot = { offset: number; length: number; atMs: number };
/** Written beside the pictures as JSON, for whoever plays them. */
export type Playlist = {
  format: "MJPG" | "YUYV";
  width: number;
  height: number;
  /** Each picture carries its place in this list as burnt-in counter. */
  shots: Shot[];
  /** How long one round takes: after it the first picture is shown again. */
  lengthMs: number;
  /** The pictures in which people are, first and last. */
  visit: { start: number; end: number };
};
export type CountedFootage = Playlist & { pictures: string; playlist: string };

/** Pictures of the empty scene, of people, and of the empty scene again, as vtest.avi has them. */
export type Scenes = { before: number; people: number; after: number };

/**
 * Real pedestrians (a part of vtest.avi, whole scene at a time) with a counter burnt into each
 * picture, as a file of bare pictures and a list of their places and times. `rates` gives the
 * pictures a second from each picture on: [[0, 15], [100, 7.5]].
 */
export async function countedFootage(options: {
  folder: string;
  format: "MJPG" | "YUYV";
  width: number;
  height: number;
  rates: [from: number, fps: number][];
  scenes: Scenes;
  /** The part of the 768×576 scene that fills the picture: width and height as the picture's shape. */
  part: { x: number; y: number; width: number; height: number };
}): Promise<CountedFootage> {
  const { format, width, height, scenes, part } = options;
  const film = await composeFootage();
  const first = film.visits[0];
  if (!first || scenes.before > first.start || scenes.people > first.end + 1 - first.start)
    throw new Error(
      `the film has no ${scenes.before} empty pictures before ${scenes.people} with people`,
    );
  const from = first.start - scenes.before;
  const count = scenes.before + scenes.people + scenes.after;
  // People leave when the scene's own time is up, so what follows them is the film's empty scene.
  const cut = first.end + 1 - (first.start + scenes.people);
  const chosen = `between(n,${from},${first.start + scenes.people - 1})+between(n,${first.end + 1},${from + count + cut - 1})`;
  const pictures = join(options.folder, "pictures");
  const raw = ["-f", "rawvideo", "-pix_fmt", "yuv420p"];
  const view = `crop=${part.width}:${part.height}:${part.x}:${part.y},scale=${width}:${height}`;
  const decoder = spawn(
    "ffmpeg",
    [
      ...["-v", "error", "-i", film.video, "-vf", `select='${chosen}',${view}`],
      ...["-vsync", "0", ...raw, "pipe:1"],
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  const coded =
    format === "MJPG"
      ? ["-c:v", "mjpeg", "-q:v", "3", "-pix_fmt", "yuvj422p", "-f", "mjpeg"]
      : ["-pix_fmt", "yuyv422", "-f", "rawvideo"];
  const encoder = spawn(
    "ffmpeg",
    [
      ...["-v", "error", "-y", ...raw, "-video_size", `${width}x${height}`, "-i", "pipe:0"],
      ...[...coded, pictures],
    ],
    { stdio: ["pipe", "ignore", "inherit"] },
  );
  const closed = once(encoder, "close");
  const size = (width * height * 3) / 2;
  let drawn = 0;
  let filled = 0;
  let picture = Buffer.alloc(size);
  for await (const chunk of decoder.stdout as AsyncIterable<Buffer>) {
    for (let at = 0; at < chunk.length; ) {
      const copied = chunk.copy(picture, filled, at);
      at += copied;
      filled += copied;
      if (filled < size) continue;
      drawCounter(picture, { width, height }, drawn++);
      if (!encoder.stdin.write(picture)) await once(encoder.stdin, "drain");
      picture = Buffer.alloc(size);
      filled = 0;
    }
  }
  encoder.stdin.end();
  const [code] = await closed;
  if (code !== 0 || drawn !== count)
    throw new Error(`ffmpeg ended with ${code} after ${drawn} pictures`);

  const places =
    format === "MJPG"
      ? await jpegPlaces(pictures)
      : Array.from({ length: count }, (_, i) => ({
          offset: i * width * height * 2,
          length: width * height * 2,
        }));
  if (places.length !== count) throw new Error(`${places.length} pictures instead of ${count}`);
  let atMs = 0;
  const shots = places.map((place, i) => {
    const shot = { ...place, atMs };
    const fps = options.rates.findLast(([start]) => start <= i)?.[1] ?? 15;
    atMs += 1000 / fps;
    return shot;
  });
  const list: Playlist = {
    ...{ format, width, height, shots, lengthMs: atMs },
    visit: { start: scenes.before, end: scenes.before + scenes.people - 1 },
  };
  const playlist = join(options.folder, "playlist.json");
  await writeFile(playlist, JSON.stringify(list));
  return { ...list, pictures, playlist };
}

/** Where each JPEG picture lies in a file of bare ones: FF D8 FF never stands inside one of ffmpeg's. */
async function jpegPlaces(path: string): Promise<{ offset: number; length: number }[]> {
  const bytes = await readFile(path);
  const starts: number[] = [];
  const mark = Buffer.from([0xff, 0xd8, 0xff]);
  for (let at = bytes.indexOf(mark); at >= 0; at = bytes.indexOf(mark, at + 3)) starts.push(at);
  return starts.map((offset, i) => ({ offset, length: (starts[i + 1] ?? bytes.length) - offset }));
}
