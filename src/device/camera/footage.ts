import { concat } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import { startChild } from "../child.ts";

export type FootageFormat = "MJPG" | "YUYV";

export type Footage = {
  /** Upright, of square pixels: that is how its pictures come, whatever the file's own are. */
  width: number;
  height: number;
  /** Mean pictures a second; 0 for a single picture. */
  fps: number;
  /** Its pixels are not square: its pictures are scaled to the size above. */
  isScaled: boolean;
  /** Its pictures are JPEGs that need neither turning nor scaling: they can be taken as they are. */
  isJpeg: boolean;
};

export type FootagePicture = {
  /** Position in the file, from 0, every picture counted. */
  index: number;
  /** From the first picture. */
  atUs: number;
  bytes: Uint8Array;
};

// A file may name others (playlists do): it reads files here and nothing from the network.
const limits = ["-protocol_whitelist", "file,pipe"];

function unreadable(file: string, complaint: string): Failure {
  // ffmpeg's own words, without its addresses in memory and without the file's name again.
  const said = complaint.replace(/\[[^\]]*@ 0x[^\]]*\] /g, "").replaceAll(`file:${file}: `, "");
  const why = said ? `: ${said}` : "";
  return new Failure("corrupt", `${file} cannot be read as a picture or a video${why}`, {
    hint: "Give a file that ffmpeg can play",
  });
}

/** Asks ffprobe what the file is. Failure("corrupt") when it holds no picture, with a hint. */
export async function probeFootage(file: string): Promise<Footage> {
  const entries =
    "stream=codec_name,width,height,sample_aspect_ratio,avg_frame_rate:stream_side_data=rotation";
  const child = startChild("ffprobe", [
    ...["-v", "error", ...limits, "-select_streams", "v:0"],
    ...["-show_entries", entries, "-of", "json", `file:${file}`],
  ]);
  child.input.end();
  const chunks: Uint8Array[] = [];
  for await (const chunk of child.output) chunks.push(chunk);
  const { code, complaint } = await child.ended;
  const text = Buffer.from(concat(chunks)).toString();
  const { streams } = (code === 0 ? JSON.parse(text) : {}) as { streams?: Stream[] };
  const stream = streams?.[0];
  // ffmpeg shows any text file as a picture of its letters.
  if (!stream?.width || !stream.height || stream.codec_name === "ansi") {
    throw unreadable(file, complaint);
  }
  const turned = Number(
    stream.side_data_list?.find((d) => d.rotation !== undefined)?.rotation ?? 0,
  );
  const [over = 0, under = 1] = (stream.avg_frame_rate ?? "").split("/").map(Number);
  const lying = Math.abs(turned) % 180 === 90;
  const { width, height } = squared(stream.width, stream.height, stream.sample_aspect_ratio);
  const isScaled = width !== stream.width || height !== stream.height;
  return {
    width: lying ? height : width,
    height: lying ? width : height,
    fps: under > 0 ? over / under : 0,
    isScaled,
    isJpeg: stream.codec_name === "mjpeg" && turned === 0 && !isScaled,
  };
}

/** What no film's pixels are: it is a mistake, or somebody's joke with our memory. */
const mostOblong = 4;
/** As the settings have it of cameras. */
const longestSide = 4096;

/**
 * The size in square pixels of a picture whose own are `ratio`, such as "16:15", wide for one high. The
 * width changes, as players do it; where it would be too long, the height.
 */
export function squared(
  width: number,
  height: number,
  ratio = "1:1",
): { width: number; height: number } {
  const [over = 0, under = 0] = ratio.split(":").map(Number);
  const wide = over / under;
  // 0:1 is what ffprobe calls a ratio that it does not know.
  if (!(wide >= 1 / mostOblong && wide <= mostOblong) || wide === 1) return { width, height };
  const even = (side: number) => Math.max(2, 2 * Math.round(side / 2));
  return width * wide > longestSide && wide > 1
    ? { width, height: even(height / wide) }
    : { width: even(width * wide), height };
}

type Stream = {
  codec_name?: string;
  width?: number;
  height?: number;
  sample_aspect_ratio?: string;
  avg_frame_rate?: string;
  side_data_list?: { rotation?: number }[];
};

/**
 * Every picture of the file in order, with its own time, as fast as it is pulled. Ends at the
 * file's end; throws Failure("corrupt") when it cannot be decoded, after what could be.
 */
export async function* readFootage(
  file: string,
  footage: Footage,
  format: FootageFormat,
): AsyncGenerator<FootagePicture, void> {
  const codec = {
    // Near the source: recording compresses once more.
    MJPG: footage.isJpeg
      ? ["-c:v", "copy"]
      : ["-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-q:v", "2"],
    YUYV: ["-c:v", "rawvideo", "-pix_fmt", "yuyv422"],
  }[format];
  // After ffmpeg's own turning.
  const { width, height, isScaled } = footage;
  const square = isScaled ? ["-vf", `scale=w=${width}:h=${height},setsar=1`] : [];
  const child = startChild("ffmpeg", [
    ...["-hide_banner", "-nostats", "-loglevel", "error", ...limits],
    ...["-i", `file:${file}`, "-map", "0:v:0", "-an", ...square, ...codec],
    // One fragment a picture carries its time; QuickTime also takes raw pictures.
    ...["-fps_mode", "passthrough", "-enc_time_base", "1:1000000"],
    ...["-video_track_timescale", "1000000", "-f", "mov"],
    ...["-movflags", "+empty_moov+default_base_moof+frag_every_frame+skip_trailer", "pipe:1"],
  ]);
  child.input.end();
  try {
    let index = 0;
    let firstUs: number | undefined;
    for await (const { time, bytes } of splitPictures(child.output)) {
      firstUs ??= time;
      yield { index: index++, atUs: time - firstUs, bytes };
    }
    const { code, complaint } = await child.ended;
    if (code !== 0 || index === 0) throw unreadable(file, complaint);
  } finally {
    await child.kill();
  }
}

/** A raw 4K picture; ffmpeg is ours, the file's claims are not. */
const longestBytes = 64 * 1024 * 1024;

/** Reads moof and mdat in turn: the decode time of the one, the body of the other. */
async function* splitPictures(
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<{ time: number; bytes: Uint8Array }, void> {
  const held: Uint8Array[] = [];
  let heldBytes = 0;
  let wanted = 8;
  let time = 0;
  for await (const chunk of chunks) {
    held.push(chunk);
    heldBytes += chunk.length;
    while (heldBytes >= wanted) {
      const bytes = concat(held.splice(0));
      const view = new DataView(bytes.buffer);
      const size = view.getUint32(0);
      if (size < 8 || size > longestBytes) {
        throw new Failure("corrupt", `ffmpeg gave a box of ${size} bytes`, { stage: "box" });
      }
      const whole = bytes.length >= size;
      held.push(whole ? bytes.subarray(size) : bytes);
      heldBytes = whole ? bytes.length - size : bytes.length;
      wanted = whole ? 8 : size;
      if (!whole) continue;
      const type = nameAt(bytes, 4);
      if (type === "moof") time = decodeTime(bytes.subarray(0, size));
      if (type === "mdat") yield { time, bytes: bytes.slice(8, size) };
    }
  }
}

function nameAt(bytes: Uint8Array, at: number): string {
  return String.fromCharCode(...bytes.subarray(at, at + 4));
}

/** moof, traf, tfdt: the only way down that is needed (ISO/IEC 14496-12, 8.8.12). */
function decodeTime(moof: Uint8Array): number {
  const view = new DataView(moof.buffer, moof.byteOffset, moof.byteLength);
  let at = 8;
  while (at + 20 <= moof.length) {
    const type = nameAt(moof, at + 4);
    if (type === "tfdt") {
      return moof[at + 8] === 1 ? Number(view.getBigUint64(at + 12)) : view.getUint32(at + 12);
    }
    at += type === "traf" ? 8 : Math.max(8, view.getUint32(at));
  }
  throw new Failure("corrupt", "ffmpeg gave a picture without a time", { stage: "tfdt" });
}
