import { type SpawnOptions, spawn } from "node:child_process";
import { access, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { composeFootage } from "../../scripts/footage.ts";
import { explain } from "../../src/base/pure/failure.ts";
import { installedModels } from "../../src/device/detect/detect.ts";
import { temporaryFolder } from "./world.ts";

/** Why nobody can be found here: no model, or no footage with people. */
export async function whyNobody(): Promise<string | undefined> {
  try {
    await access(join(installedModels, "nanodet-g-fp32.onnx"));
    await composeFootage();
    return undefined;
  } catch (error) {
    return explain(error);
  }
}

/** Bits of the number burnt into each picture: black and white blocks along its upper edge. */
const bits = 12;

export type Size = { width: number; height: number };

/** Runs a program to its end and gives its standard output. */
export async function run(program: string, args: string[], input?: Uint8Array): Promise<Buffer> {
  const options: SpawnOptions = { stdio: ["pipe", "pipe", "pipe"] };
  const child = spawn(program, args, options);
  const out: Buffer[] = [];
  let complaint = "";
  child.stdout?.on("data", (chunk: Buffer) => out.push(chunk));
  child.stderr?.on("data", (chunk: Buffer) => {
    complaint += chunk.toString();
  });
  child.stdin?.on("error", () => {});
  child.stdin?.end(input);
  const code = await new Promise((resolve) => child.on("close", resolve));
  if (code !== 0) throw new Error(`${program} ended with ${code}: ${complaint}`);
  return Buffer.concat(out);
}

/** Plain luma pictures in which everything moves, each with its own number burnt in. */
export function drawPicture(number: number, { width, height }: Size): Uint8Array {
  const luma = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const wave = Math.sin((x + 3 * number) / 17) * Math.cos((y - 2 * number) / 23);
      luma[y * width + x] = 128 + 80 * wave;
    }
  }
  const block = Math.floor(width / bits);
  for (let y = 0; y < block && y < height; y++) {
    for (let x = 0; x < block * bits; x++) {
      luma[y * width + x] = (number >> Math.floor(x / block)) & 1 ? 235 : 20;
    }
  }
  return luma;
}

/** JPEGs of `drawPicture(first + i)`, as a webcam would deliver them. */
export async function makeJpegs(count: number, size: Size, first = 0): Promise<Uint8Array[]> {
  return await asJpegs(
    Array.from({ length: count }, (_, i) => drawPicture(first + i, size)),
    size,
  );
}

/** Grey pictures as a webcam's JPEGs. */
export async function asJpegs(lumas: readonly Uint8Array[], size: Size): Promise<Uint8Array[]> {
  const raw = Buffer.concat(lumas);
  const source = ["-f", "rawvideo", "-pix_fmt", "gray", "-s", `${size.width}x${size.height}`];
  const target = ["-pix_fmt", "yuvj420p", "-c:v", "mjpeg", "-q:v", "3", "-f", "image2pipe", "-"];
  return splitJpegs(await run("ffmpeg", ["-v", "error", ...source, "-i", "-", ...target], raw));
}

export function splitJpegs(bytes: Buffer): Uint8Array[] {
  const pictures: Uint8Array[] = [];
  const between = Buffer.from([0xff, 0xd9, 0xff, 0xd8]);
  let start = 0;
  for (;;) {
    const end = bytes.indexOf(between, start);
    pictures.push(bytes.subarray(start, end < 0 ? undefined : end + 2));
    if (end < 0) return pictures;
    start = end + 2;
  }
}

export type Decoded = {
  /** Seconds from the clip's beginning, as a player sees them. */
  seconds: number;
  key: boolean;
  /** The number that was burnt in. */
  number: number;
  /** Full-range grey. */
  luma: Uint8Array;
};

export type Video = { size: Size; codec: string; range: string; pictures: Decoded[] };

/** Decodes a whole clip with ffmpeg, which knows nothing of how it was made. */
export async function decodeVideo(clip: Uint8Array): Promise<Video> {
  await using folder = await temporaryFolder();
  const file = join(folder.path, "clip.mp4");
  await writeFile(file, clip);
  const entries = "stream=codec_name,width,height,color_range:packet=pts_time,flags";
  const probe = JSON.parse(
    (
      await run("ffprobe", ["-v", "error", "-show_entries", entries, "-of", "json", file])
    ).toString(),
  ) as {
    packets: { pts_time: string; flags: string }[];
    streams: { codec_name: string; width: number; height: number; color_range: string }[];
  };
  const stream = probe.streams[0];
  if (!stream) throw new Error("no video in the clip");
  const size = { width: stream.width, height: stream.height };
  const filter = "scale=in_range=limited:out_range=full,format=gray";
  const args = ["-v", "error", "-i", file, "-fps_mode", "passthrough", "-vf", filter];
  const raw = await run("ffmpeg", [...args, "-f", "rawvideo", "-"]);
  await rm(file);
  const step = size.width * size.height;
  const pictures = probe.packets.map((packet, i) => {
    const luma = raw.subarray(i * step, (i + 1) * step);
    if (luma.length !== step) throw new Error(`picture ${i} does not decode`);
    return {
      seconds: Number(packet.pts_time),
      key: packet.flags.includes("K"),
      number: readNumber(luma, size),
      luma,
    };
  });
  return { size, codec: stream.codec_name, range: stream.color_range, pictures };
}

export function readNumber(luma: Uint8Array, { width }: Size): number {
  const block = Math.floor(width / bits);
  let number = 0;
  for (let bit = 0; bit < bits; bit++) {
    let sum = 0;
    for (let y = block >> 2; y < block - (block >> 2); y++) {
      for (let x = block >> 2; x < block - (block >> 2); x++) {
        sum += luma[y * width + bit * block + x] ?? 0;
      }
    }
    const pixels = (block - 2 * (block >> 2)) ** 2;
    if (sum / pixels > 128) number |= 1 << bit;
  }
  return number;
}

/** Peak signal-to-noise ratio in dB of two grey pictures. */
export function psnr(a: Uint8Array, b: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += ((a[i] ?? 0) - (b[i] ?? 0)) ** 2;
  return 10 * Math.log10(255 ** 2 / (sum / a.length));
}
