import { constants, open } from "node:fs/promises";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { readNamed } from "../../base/node/program.ts";
import { Failure, isFailure } from "../../base/pure/failure.ts";
import type { PixelFormat } from "../camera/camera.ts";
import { outputOf, startChild } from "../child.ts";
import { readJpegHeader } from "./jpeg.ts";

/** One picture of a file, not yet in a slab. `index` is the video's own, from 0; absent in images. */
export type Picture = {
  format: PixelFormat & ("MJPG" | "RGB3");
  width: number;
  height: number;
  bytes: Uint8Array;
  index?: number;
};
export type ReadOptions = {
  /** Pictures for each second of video time; a video that has fewer gives all of its own. */
  fps: number;
  /** False sends JPEG files through ffmpeg too, for kinds that libjpeg does not read. */
  direct?: boolean;
  signal?: AbortSignal;
};

const headLimitBytes = 64;
const longestPictureBytes = 64 * 2 ** 20;
const probeLimitMs = 60_000;
const probeBytes = 64 * 1024;
/** Matroska and others keep times to the millisecond: a frame this early is on time. */
const stampSlackS = 0.002;
const decoders: [RegExp, string][] = [
  [/^\xff\xd8/, "mjpeg"],
  [/^\x89PNG\r\n/, "png"],
  [/^BM.{12}/s, "bmp"],
  [/^RIFF....WEBP/s, "webp"],
  [/^(II\*\0|MM\0\*)/, "tiff"],
];
/** Pixels that are not square become so by the picture's width, as the service has them of footage. */
const square = [
  "scale=w='if(between(sar,0.25,4)*not(eq(sar,1)),2*max(1,round(iw*sar/2)),iw)':h=ih",
  "setsar=1",
];
/** How ffmpeg's filters undo EXIF orientations 2 to 8. */
const upright: Record<number, string> = {
  2: "hflip",
  3: "hflip,vflip",
  4: "vflip",
  5: "transpose=cclock_flip",
  6: "transpose=clock",
  7: "transpose=clock_flip",
  8: "transpose=cclock",
};

/**
 * The pictures of an image or video file, upright as a viewer shows them. Upright JPEG files come
 * as they are; all else is decoded by ffmpeg, one picture in memory at a time.
 *
 * @throws Failure absent (no such file), refused (ffmpeg cannot read it), denied, corrupt
 */
export async function* readPictures(file: string, options: ReadOptions): AsyncGenerator<Picture> {
  const head = await readHead(file);
  // JPEGs one after the other, as webcams and their programs keep them, begin as one does.
  const decoder = /\.mjpe?g$/i.test(file) ? undefined : decoderOf(head);
  if (!decoder && (await isVideo(file))) return yield* decodeVideo(file, options);
  let orientation = 1;
  if (decoder === "mjpeg") {
    const bytes = await readNamed(file, { what: "a picture", mostBytes: longestPictureBytes });
    const header = readJpegHeader(bytes);
    orientation = header?.orientation ?? 1;
    if (header && orientation === 1 && options.direct !== false) {
      const { width, height } = header;
      return yield { format: "MJPG", width, height, bytes };
    }
  }
  yield await decodeImage(file, decoder, orientation, options);
}

async function readHead(file: string): Promise<Uint8Array> {
  try {
    // A pipe without a writer would be waited for.
    await using handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
    const stat = await handle.stat();
    if (!stat.isFile()) throw new Failure("refused", "it is not a file");
    if (stat.size === 0) throw new Failure("refused", "it is empty");
    const head = new Uint8Array(headLimitBytes);
    const { bytesRead } = await handle.read(head, 0, headLimitBytes, 0);
    return head.subarray(0, bytesRead);
  } catch (cause) {
    if (cause instanceof Failure) throw cause;
    const errno = (cause as NodeJS.ErrnoException).code;
    if (errno === "ENOENT") throw new Failure("absent", "there is no such file", { cause });
    if (errno === "EACCES") throw new Failure("denied", "it may not be read", { cause });
    throw new Failure("refused", `it cannot be read (${errno ?? cause})`, { cause });
  }
}

/** ffmpeg's decoder of a still image, by first bytes; anything else is asked of ffprobe. */
function decoderOf(head: Uint8Array): string | undefined {
  const text = String.fromCharCode(...head);
  return decoders.find(([start]) => start.test(text))?.[1];
}

async function isVideo(file: string): Promise<boolean> {
  const entries = "format=format_name:stream=codec_type,nb_frames";
  const said = await outputOf(
    "ffprobe",
    ["-v", "error", "-protocol_whitelist", "file", "-select_streams", "v:0"].concat([
      "-show_entries",
      entries,
      "-of",
      "json",
      `file:${file}`,
    ]),
    { limitMs: probeLimitMs, mostBytes: probeBytes },
  ).catch((cause) => {
    throw isFailure(cause, "refused") ? refusal(cause.message, cause) : cause;
  });
  const { format, streams } = JSON.parse(said) as {
    format?: { format_name?: string };
    streams?: { nb_frames?: string }[];
  };
  const [stream] = streams ?? [];
  if (!stream) throw new Failure("refused", "it holds no picture");
  const name = format?.format_name ?? "";
  return !/_pipe$|^image2$/.test(name) && stream.nb_frames !== "1";
}

async function decodeImage(
  file: string,
  decoder: string | undefined,
  orientation: number,
  options: ReadOptions,
): Promise<Picture> {
  const turn = upright[orientation];
  const filters = turn ? ["-vf", turn] : [];
  // A name with a % would be a pattern, and its ending would choose the decoder.
  const kind = decoder ? ["-f", "image2", "-pattern_type", "none", "-c:v", decoder] : [];
  // Of a damaged JPEG its decoder would paint the rest grey, and nobody would be in it.
  const careful = decoder === "mjpeg" ? ["-err_detect", "explode"] : [];
  const strict = ["-noautorotate", "-xerror", ...careful];
  const input = [...strict, ...kind, ...from(file), ...filters, "-frames:v", "1"];
  for await (const picture of decode(input, options)) return picture;
  throw new Failure("refused", "it holds no picture");
}

/** The file and nothing else: no address of the network, no list of other files. */
function from(file: string): string[] {
  return ["-protocol_whitelist", "file", "-i", `file:${file}`];
}

/**
 * Chooses the pictures by their times and keeps each one's number: the number and the choice go
 * through ffmpeg's filters as the time stamp (2 × number + chosen) and come out on a pipe.
 */
async function* decodeVideo(file: string, options: ReadOptions): AsyncGenerator<Picture> {
  const seconds = `if(isnan(T),N/25,T-STARTT)+${stampSlackS}`;
  const slot = `floor((${seconds})*${options.fps})+1`;
  const stamp = `st(0,${slot});st(2,gt(ld(0),ld(1)));st(1,max(ld(0),ld(1)));2*N+ld(2)`;
  const filters = [
    `setpts='${stamp}'`,
    "select='mod(pts,2)'",
    ...square,
    "metadata=add:key=chosen:value=1",
    "metadata=print:file='pipe\\:3':direct=1",
  ].join(",");
  const input = [...from(file), "-map", "0:v:0", "-vf", filters, "-fps_mode", "passthrough"];
  let numbers: AsyncGenerator<number> | undefined;
  const pictures = decode(input, options, (stream) => {
    numbers = readNumbers(stream);
  });
  for await (const picture of pictures) {
    const next = await numbers?.next();
    if (!next || next.done)
      throw new Failure("corrupt", "ffmpeg gave a picture without its number");
    yield { ...picture, index: next.value };
  }
}

async function* decode(
  input: string[],
  { signal }: ReadOptions,
  aside?: (stream: Readable) => void,
): AsyncGenerator<Picture> {
  const output = ["-an", "-sn", "-dn", "-c:v", "ppm", "-pix_fmt", "rgb24", "-f", "image2pipe"];
  const child = startChild(
    "ffmpeg",
    ["-nostdin", "-hide_banner", "-loglevel", "error", ...input, ...output, "pipe:1"],
    { aside: aside !== undefined },
  );
  const stop = () => void child.kill();
  signal?.addEventListener("abort", stop, { once: true });
  try {
    child.input.end();
    aside?.(child.aside);
    yield* readPpm(child.output);
    const { code, lastLine, error } = await child.ended;
    if (code !== 0) throw refusal(lastLine, error);
  } finally {
    signal?.removeEventListener("abort", stop);
    await child.kill();
  }
}

/** The pictures' numbers out of the lines "frame:0    pts:7    pts_time:…". */
async function* readNumbers(stream: Readable): AsyncGenerator<number> {
  for await (const line of createInterface({ input: stream })) {
    const stamp = /^frame:\d+\s+pts:(\d+)/.exec(line)?.[1];
    if (stamp) yield (Number(stamp) - 1) / 2;
  }
}

/** Pictures out of a stream of binary PPM files. */
async function* readPpm(stream: Readable): AsyncGenerator<Picture> {
  let header = "";
  let picture: Picture | undefined;
  let filled = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    for (let at = 0; at < chunk.length; ) {
      if (!picture) {
        header += String.fromCharCode(chunk[at++] ?? 0);
        const match = /^P6\n(\d+) (\d+)\n255\n$/.exec(header);
        if (match) {
          const [width, height] = [Number(match[1]), Number(match[2])];
          const bytes = new Uint8Array(width * height * 3);
          picture = { format: "RGB3", width, height, bytes };
          filled = 0;
        } else if (header.length > headLimitBytes) {
          throw new Failure("corrupt", "ffmpeg gave no picture");
        }
        continue;
      }
      const part = chunk.subarray(at, at + picture.bytes.length - filled);
      picture.bytes.set(part, filled);
      filled += part.length;
      at += part.length;
      if (filled < picture.bytes.length) continue;
      yield picture;
      picture = undefined;
      header = "";
    }
  }
}

/** ffmpeg's own words, without its addresses in memory and without the file's name. */
function refusal(said: string, cause?: unknown): Failure {
  const reason = said.replace(/\[[^\]]*\]\s*|(file|pipe):\S*: /g, "");
  return new Failure("refused", `ffmpeg cannot read it${reason ? `: ${reason}` : ""}`, {
    ...(cause === undefined ? {} : { cause }),
  });
}
