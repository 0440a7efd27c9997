import { setTimeout as wait } from "node:timers/promises";
import { explain, Failure, isFailure } from "../../base/pure/failure.ts";
import { type Child, startChild } from "../child.ts";
import { matroskaHeader, pictureHeader } from "./matroska.ts";
import { type Fragment, type InitSegment, Mp4Splitter } from "./mp4.ts";

export type EncoderName = "h264_v4l2m2m" | "libx264";

export type EncoderInput = {
  /** Pixels of the JPEGs as they are stored. */
  width: number;
  height: number;
  /** Nominal pictures a second, for the bit rate; each picture brings its own time. */
  fps: number;
  /** What makes the stored picture upright: first turned clockwise, then mirrored left to right. */
  turn: { rotate: 0 | 90 | 180 | 270; flip: boolean };
  /** Half the width and half the height, for a board that cannot keep up. */
  halfSize: boolean;
};

/** One ffmpeg at work: JPEGs in, one fragmented MP4 out. */
export type EncoderRun = {
  readonly pid: number | undefined;
  /** Resolves when ffmpeg has room for the next; the bytes are not kept. Never rejects: a dead encoder is told by `segments`. */
  write(jpeg: Uint8Array, atUs: number): Promise<void>;
  /** No more pictures: what is inside comes out, then `segments` ends. */
  end(): void;
  /**
   * Pull-driven: what is not read stays in ffmpeg, which then takes no more pictures. Throws
   * Failure("gone") when ffmpeg ended by itself, ("stalled") when it hung, ("corrupt") when its
   * output is no MP4 of ours.
   */
  readonly segments: AsyncGenerator<InitSegment | Fragment, void>;
  /** When ffmpeg is gone, however it went. */
  readonly exited: Promise<unknown>;
  kill(): Promise<void>;
};

/** An encoder of which we have seen that it works here. */
export type Encoder = {
  readonly name: EncoderName;
  /** RFC 6381 codec string of the probe's pictures; a clip's own init segment is what counts. */
  readonly codec: string;
  start(input: EncoderInput): EncoderRun;
};

export type ProbeOptions = {
  /** Pixels and rate that will be recorded: an encoder may refuse a size. */
  width: number;
  height: number;
  fps: number;
  /** In order of preference. */
  names?: readonly EncoderName[];
  program?: string;
  /** A run that owes an answer for this long is given up: more than any board needs for a picture. */
  stalledMs?: number;
  /**
   * A trial that is silent for this long is given up. Far longer: a board that has just been switched on
   * reads ffmpeg from its card while all else starts too, and one that is given up for being slow would
   * cost the camera, or have it encode on the processor until the next start. It is given to each of
   * `names`, one after the other, so two that hang are well within what systemd gives a start.
   */
  trialMs?: number;
  /** Ends a trial that is under way. */
  signal?: AbortSignal;
  /** One that hangs is passed over; it has cost `trialMs`. */
  onStalled?(name: EncoderName, failure: Failure): void;
};

/**
 * The first encoder that turns ten pictures into a fragment with parameter sets: a name in
 * ffmpeg's list says nothing about whether this board has the hardware.
 * Throws Failure("absent") when none does; its hint says what to install. Throws Failure("stalled") when
 * none does and one has not answered, and the signal's reason.
 */
export async function probeEncoder({
  width,
  height,
  fps,
  names = ["h264_v4l2m2m", "libx264"],
  program = "ffmpeg",
  stalledMs = 10_000,
  trialMs = 60_000,
  signal,
  onStalled,
}: ProbeOptions): Promise<Encoder> {
  const refusals: string[] = [];
  let isStalled = false;
  for (const name of names) {
    signal?.throwIfAborted();
    try {
      const make: Make = { program, name, stalledMs };
      const codec = await tryEncoder(
        { ...make, stalledMs: trialMs },
        { width, height, fps, signal },
      );
      return { name, codec, start: (input) => startEncoder(make, input) };
    } catch (error) {
      signal?.throwIfAborted();
      refusals.push(`${name}: ${explain(error)}`);
      if (!isFailure(error, "stalled")) continue;
      isStalled = true;
      onStalled?.(name, error);
    }
  }
  throw new Failure(
    isStalled ? "stalled" : "absent",
    `no working H.264 encoder (${refusals.join("; ")})`,
    {
      hint: isStalled
        ? "ffmpeg hangs, or the machine is far too busy: look at what else runs on it"
        : "Install ffmpeg with libx264: sudo apt-get install ffmpeg",
    },
  );
}

const probePictures = 10;

type Make = { program: string; name: EncoderName; stalledMs: number };

async function tryEncoder(
  { program, name, stalledMs }: Make,
  {
    width,
    height,
    fps,
    signal,
  }: Pick<ProbeOptions, "width" | "height" | "fps"> & {
    signal: AbortSignal | undefined;
  },
): Promise<string> {
  const size = outputSize({ width, height, fps, turn: upright, halfSize: false });
  const picture = `testsrc2=size=${size.width}x${size.height}:rate=${fps}`;
  const source = ["-f", "lavfi", "-i", picture, "-frames:v", String(probePictures)];
  const child = startChild(program, [...quiet, ...source, ...encoding(name, size, fps)]);
  const stop = () => void child.kill();
  signal?.addEventListener("abort", stop, { once: true });
  child.input.end();
  let codec = "";
  let samples = 0;
  const expect = { ended: () => true, owing: () => true, stalledMs };
  try {
    for await (const segment of readSegments(child, expect)) {
      if (segment.kind === "init") codec = segment.codec;
      else samples += segment.samples;
    }
  } finally {
    signal?.removeEventListener("abort", stop);
  }
  if (samples !== probePictures) {
    throw new Failure("refused", `gave ${samples} of ${probePictures} pictures`);
  }
  return codec;
}

const upright = { rotate: 0, flip: false } as const;
const quiet = ["-hide_banner", "-nostats", "-loglevel", "error"];

/** ffmpeg's arguments for one clip: Matroska on standard input, fragmented MP4 on standard output. */
export function encoderArguments(name: EncoderName, input: EncoderInput): string[] {
  const size = outputSize(input);
  return [
    ...quiet,
    // The header says all there is to know: no guessing from the first pictures.
    ...["-fpsprobesize", "0", "-f", "matroska", "-i", "pipe:0"],
    ...["-vf", filters(input, size)],
    ...encoding(name, size, input.fps),
  ];
}

function startEncoder({ program, name, stalledMs }: Make, input: EncoderInput): EncoderRun {
  const child = startChild(program, encoderArguments(name, input));
  let ended = false;
  let waiting = false;
  child.input.write(matroskaHeader(input));
  return {
    pid: child.pid,
    async write(jpeg, atUs) {
      if (ended || !child.input.writable) return;
      child.input.write(pictureHeader(atUs, jpeg.length));
      if (child.input.write(jpeg)) return;
      waiting = true;
      await drained(child);
      waiting = false;
    },
    end() {
      ended = true;
      child.input.end();
    },
    segments: readSegments(child, { ended: () => ended, owing: () => ended || waiting, stalledMs }),
    exited: child.ended,
    kill: () => child.kill(),
  };
}

function drained(child: Child): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      child.input.off("drain", done);
      child.input.off("close", done);
      resolve();
    };
    child.input.on("drain", done);
    child.input.on("close", done);
  });
}

/** Pixels that come out: upright, halved if asked, and even, which 4:2:0 needs. */
export function outputSize(input: EncoderInput): { width: number; height: number } {
  const lying = input.turn.rotate % 180 !== 0;
  const [width, height] = lying ? [input.height, input.width] : [input.width, input.height];
  const even = (side: number) => Math.max(2, 2 * Math.floor(side / (input.halfSize ? 4 : 2)));
  return { width: even(width), height: even(height) };
}

const turns = {
  0: [],
  90: ["transpose=clock"],
  180: ["hflip", "vflip"],
  270: ["transpose=cclock"],
};

/**
 * JPEG is full range; players that overlook the flag show it washed out or crushed, so the clip is
 * limited range, which all of them take. Turning comes last, on the smaller planes.
 */
function filters({ turn }: EncoderInput, size: { width: number; height: number }): string {
  const lying = turn.rotate % 180 !== 0;
  const [width, height] = lying ? [size.height, size.width] : [size.width, size.height];
  return [
    `scale=w=${width}:h=${height}:flags=bilinear:in_range=full:out_range=limited`,
    "format=yuv420p",
    ...turns[turn.rotate],
    ...(turn.flip ? ["hflip"] : []),
  ].join(",");
}

function encoding(
  name: EncoderName,
  size: { width: number; height: number },
  fps: number,
): string[] {
  const bitRate = String(bitsPerSecond(size));
  return [
    // Each picture keeps its own time, in the microseconds it came with: ffmpeg would else round
    // to its idea of the frame rate (up to 8 ms off), drop or repeat pictures. Newer releases call
    // "-enc_time_base -1" deprecated; the ratio says the same to all of them.
    ...["-fps_mode", "passthrough", "-enc_time_base", "1:1000000"],
    ...["-video_track_timescale", "1000000"],
    // A key frame each second of video time: a fixed number of pictures drifts when the rate does.
    ...["-force_key_frames", "expr:gte(t,n_forced)", "-bf", "0"],
    ...["-c:v", name, "-pix_fmt", "yuv420p", ...encoderOptions(name, bitRate, fps)],
    ...["-color_range", "tv", "-colorspace", "smpte170m"],
    ...["-color_primaries", "bt709", "-color_trc", "bt709"],
    // A fragment at each key frame and after half a second; `moov` without samples comes first.
    ...["-f", "mp4", "-frag_duration", "500000", "-movflags", movFlags[name], "pipe:1"],
  ];
}

const common = "+frag_keyframe+default_base_moof+skip_trailer";
const movFlags = {
  // Its parameter sets are known only with the first picture: an early moov has an empty avcC.
  h264_v4l2m2m: `+empty_moov+delay_moov${common}`,
  libx264: `+empty_moov${common}`,
} as const;

function encoderOptions(name: EncoderName, bitRate: string, fps: number): string[] {
  // Far beyond the forced ones, so that no key frame comes that was not asked for.
  const group = ["-g", String(Math.ceil(fps) * 10)];
  switch (name) {
    case "h264_v4l2m2m":
      return ["-b:v", bitRate, ...group];
    case "libx264":
      return [
        ...["-preset", "ultrafast", "-tune", "zerolatency", ...group],
        // Quality decides until the cap does: grain in the dark would take 15 Mbit/s.
        ...["-crf", "23", "-maxrate", bitRate, "-bufsize", bitRate],
      ];
  }
}

/** 1 Mbit/s up to 640x360, 2 up to 720p, 4 above. */
function bitsPerSecond({ width, height }: { width: number; height: number }): number {
  const pixels = width * height;
  if (pixels <= 640 * 360) return 1_000_000;
  return pixels <= 1280 * 720 ? 2_000_000 : 4_000_000;
}

type Expectation = {
  /** No more input will come: an end is no surprise. */
  ended(): boolean;
  /** It has been given something and neither took nor answered it. */
  owing(): boolean;
  stalledMs: number;
};

async function* readSegments(child: Child, expect: Expectation) {
  const splitter = new Mp4Splitter();
  try {
    for await (const chunk of readOutput(child, expect)) yield* splitter.push(chunk);
    const { code, signal, complaint, error } = await child.ended;
    if (code !== 0 || !expect.ended()) {
      const how = error ? error.message : signal ? `was ended by ${signal}` : `ended with ${code}`;
      throw new Failure("gone", `ffmpeg ${how}${complaint ? ` (${complaint})` : ""}`, {
        ...(error ? { cause: error } : {}),
      });
    }
    splitter.end();
  } finally {
    await child.kill();
  }
}

async function* readOutput(
  child: Child,
  { owing, stalledMs }: Expectation,
): AsyncGenerator<Uint8Array, void> {
  const chunks = child.output[Symbol.asyncIterator]();
  for (;;) {
    // Killed while we wait: how it ended is read from `ended`, not from the broken pipe.
    const next = chunks.next().catch(() => ({ done: true, value: undefined }));
    let idleMs = 0;
    let result: Awaited<typeof next> | undefined;
    while (!result) {
      const tick = new AbortController();
      const second = wait(1000, undefined, { signal: tick.signal }).catch(() => undefined);
      result = await Promise.race([next, second]);
      tick.abort();
      if (result) break;
      idleMs = owing() ? idleMs + 1000 : 0;
      if (idleMs >= stalledMs) throw new Failure("stalled", "ffmpeg has stopped answering");
    }
    if (result.done) return;
    yield result.value;
  }
}
