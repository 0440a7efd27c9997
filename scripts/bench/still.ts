import { ManualClock } from "../../src/base/pure/clock.ts";
import { type Frame, openSlab, type PixelFormat } from "../../src/device/camera/camera.ts";
import { openDetect, openModel } from "../../src/device/detect/detect.ts";
import { type BenchOptions, type Line, line, median, rounded } from "./measure.ts";

const size = { width: 1280, height: 720 };
const quarter = { width: size.width / 4, height: size.height / 4 };
const fps = 15;
const pictures = 12;

/**
 * What a still scene costs: frames of 1280x720 at 15 a second through the detection stage, in which
 * nothing moves and so nobody looks. Processor time of the whole process a frame, against that of
 * one inference (raw formats) or, for each picture analysed, of one bare grey decode at a quarter
 * of the size (MJPEG).
 */
export async function* benchStill({ quick }: BenchOptions): AsyncGenerator<Line, void> {
  const length = quick ? { frames: 30, rounds: 1 } : { frames: 150, rounds: 7 };
  const folder = new URL("../../../models", import.meta.url).pathname;
  const model = await openModel({ folder, aspect: size.width / size.height, threads: 1 });
  const slab = openSlab({ slabBytes: 64 * 2 ** 20 });
  try {
    const raw = noisyPictures().map((bytes, sequence) =>
      slab.put(bytes, { format: "YUYV", ...size, capturedUs: sequence, sequence }),
    );
    const jpegs = await Promise.all(raw.map((frame) => frame.jpeg({ quality: 85 })));
    const [first] = raw;
    if (!first) return;
    const look = () => model.find(first, { threshold: 0.4 });
    for (let i = 0; i < 3; i++) await look();
    const inference = await measure(raw, model, { ...length, each: 10, yardstick: look });
    yield line("still", "YUYV 1280x720 at 15, all that a frame costs", {
      value: rounded(inference.frameRatio, 4),
      unit: "processor time of a frame over that of an inference",
      aim: { most: 0.02 },
      against: `one look at a whole frame, ${model.precision}, one thread`,
      ...inference,
    });
    const decode = (i: number) => (jpegs[i % pictures] ?? first).luma(quarter);
    const jpeg = await measure(jpegs, model, { ...length, each: 40, yardstick: decode });
    yield line("still", "MJPG 1280x720 at 15, all that an analysed picture costs", {
      value: rounded(jpeg.analysedRatio),
      unit: "processor time of an analysed picture over that of a decode",
      aim: { most: 1.2 },
      against: "a bare grey decode at a quarter of the size",
      ...jpeg,
    });
  } finally {
    await model.close();
    await slab.close();
  }
}

/** One empty scene with the noise of a webcam, several times over, as YUYV. */
function noisyPictures(): Uint8Array[] {
  let state = 1;
  return Array.from({ length: pictures }, () => {
    const bytes = new Uint8Array(size.width * size.height * 2);
    for (let i = 0; i < bytes.length; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      const x = (i >> 1) % size.width;
      bytes[i] = i & 1 ? 128 : 60 + (x >> 4) + (i >> 16) + ((state >>> 24) % 7);
    }
    return bytes;
  });
}

async function cpuMsOf(count: number, work: (i: number) => Promise<unknown>): Promise<number> {
  const before = process.cpuUsage();
  for (let i = 0; i < count; i++) await work(i);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000 / count;
}

/** Shows a still scene and takes the yardstick in turns; the middle of the rounds is given. */
async function measure(
  kept: readonly Frame[],
  model: Awaited<ReturnType<typeof openModel>>,
  {
    each,
    frames,
    rounds,
    yardstick,
  }: {
    each: number;
    frames: number;
    rounds: number;
    yardstick: (i: number) => Promise<unknown>;
  },
) {
  const clock = new ManualClock();
  const { signal } = new AbortController();
  const stage = openDetect({
    ...{ model, zones: [], threshold: 0.4, crops: true, separateVisitMs: 5_000, clock, signal },
  });
  const show = async (count: number) => {
    for (let i = 0; i < count; i++) {
      const frame = kept[i % kept.length];
      if (frame) stage.offer(stamped(frame, clock.monotonicUs()));
      await stage.idle();
      clock.advance(1000 / fps);
    }
  };
  await show(20 * fps); // learns the scene
  const before = { ...stage.counts };
  const taken: { frameMs: number; analysedMs: number; yardstickMs: number }[] = [];
  for (let round = 0; round < rounds; round++) {
    const { analysed } = stage.counts;
    const frameMs = (await cpuMsOf(1, () => show(frames))) / frames;
    const analysedMs = (frameMs * frames) / (stage.counts.analysed - analysed);
    taken.push({ frameMs, analysedMs, yardstickMs: await cpuMsOf(each, yardstick) });
  }
  await stage.close();
  const middle = (value: (one: (typeof taken)[number]) => number) =>
    rounded(median(taken.map(value)), 4);
  return {
    frameMs: middle((one) => one.frameMs),
    analysedMs: middle((one) => one.analysedMs),
    yardstickMs: middle((one) => one.yardstickMs),
    frameRatio: middle((one) => one.frameMs / one.yardstickMs),
    analysedRatio: middle((one) => one.analysedMs / one.yardstickMs),
    looks: stage.counts.looks - before.looks,
  };
}

/** The same picture, captured at another time. */
function stamped(frame: Frame, capturedUs: number): Frame {
  const { sequence, width, height, byteLength, turn } = frame;
  const format: PixelFormat = frame.format;
  const again: Frame = {
    ...{
      sequence,
      capturedUs,
      width,
      height,
      format,
      byteLength,
      turn,
      corrupt: false,
      dropped: 0,
    },
    retain() {
      frame.retain();
      return again;
    },
    release: () => frame.release(),
    copy: () => frame.copy(),
    luma: (to) => frame.luma(to),
    tensor: (spec) => frame.tensor(spec),
    jpeg: (spec) => frame.jpeg(spec),
  };
  return again;
}
