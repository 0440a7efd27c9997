import { setTimeout as wait } from "node:timers/promises";
import * as assert from "uvu/assert";
import { concat } from "../../src/base/pure/bytes.ts";
import { ManualClock } from "../../src/base/pure/clock.ts";
import type { Frame } from "../../src/device/camera/camera.ts";
import type { Sighting } from "../../src/device/detect/detect.ts";
import type { EncoderRun } from "../../src/device/record/encoder.ts";
import {
  type Encoder,
  openRecord,
  type Piece,
  probeEncoder,
  type Recording,
  type RecordOptions,
  type RecordStage,
} from "../../src/device/record/record.ts";
import { FakeSlab, type FakeSpec } from "../fakes/frame.ts";
import { decodeVideo, makeJpegs } from "./footage.ts";

export const size = { width: 320, height: 240 };
/** Drawn and compressed once for all tests: picture `i` has the number `i` burnt in. */
const jpegs = await makeJpegs(600, size);
export const realEncoder = await probeEncoder({ ...size, fps: 15 });

export type Taken = { recording: Recording; pieces: Piece[]; error: unknown; over: boolean };

export type World = {
  stage: RecordStage;
  slab: FakeSlab;
  clock: ManualClock;
  runs: EncoderRun[];
  taken: Taken[];
  /** Capture times by number. */
  times: number[];
  /** Shows the camera's next `count` pictures, `fps` a second. */
  play(count: number, fps: number, change?: Partial<FakeSpec> & { free?: boolean }): Promise<void>;
  /** Capture time of the newest picture. */
  now(): number;
  start(id: string, firstSeenUs?: number): void;
  end(id: string, lastSeenUs?: number): void;
  settled(): Promise<void>;
} & AsyncDisposable;

export type Choice = Partial<RecordOptions> & {
  take?: (recording: Recording) => Promise<void> | void;
};

export function person(track: number, score = 0.8, height = 100): Sighting {
  const box = { x: 50, y: 60, width: height / 2, height };
  return { track, box, score, zones: ["door"], still: false };
}

export function openWorld({ take, ...choice }: Choice = {}): World {
  const clock = new ManualClock();
  const slab = new FakeSlab();
  const runs: EncoderRun[] = [];
  const inner = choice.encoder ?? realEncoder;
  const encoder: Encoder = {
    ...inner,
    start(input) {
      const run = inner.start(input);
      runs.push(run);
      return run;
    },
  };
  const stage = openRecord({
    fps: 15,
    preRollMs: 5000,
    postRollMs: 5000,
    longestMs: 180_000,
    preRollBytes: 24 * 1024 * 1024,
    model: { id: "test", precision: "int8" },
    clockTrusted: () => true,
    clock,
    signal: new AbortController().signal,
    ...choice,
    encoder,
  });
  const taken: Taken[] = [];
  const readings: Promise<void>[] = [];
  const reading = (async () => {
    for await (const recording of stage.recordings) {
      const one: Taken = { recording, pieces: [], error: undefined, over: false };
      taken.push(one);
      readings.push(collect(one, take));
    }
  })();
  const times: number[] = [];
  let nowUs = clock.monotonicUs();
  const now = () => times.at(-1) ?? 0;
  const frame = { width: size.width, height: size.height };
  return {
    stage,
    slab,
    clock,
    runs,
    taken,
    times,
    now,
    async play(count, fps, { free = false, ...change } = {}) {
      for (let i = 0; i < count; i++) {
        const number = times.length;
        // The camera's own jitter: up to a millisecond.
        const capturedUs = Math.round(nowUs) + ((number * 7919) % 1000);
        times.push(capturedUs);
        const jpeg = jpegs[number % jpegs.length] ?? new Uint8Array();
        const picture: Frame = slab.put({ jpeg, ...size, capturedUs, ...change });
        stage.offer(picture);
        picture.release();
        nowUs += 1e6 / fps;
        clock.advance(1000 / fps);
        // The test plays faster than life: give the encoder the time it would have had.
        if (!free && i % 5 === 4) await caughtUp(slab, taken, capturedUs);
      }
    },
    start(id, firstSeenUs = now()) {
      stage.incident({
        kind: "start",
        id,
        firstSeenUs,
        atUs: now(),
        count: 1,
        persons: [person(1)],
        frame,
      });
    },
    end(id, lastSeenUs = now()) {
      stage.incident({ kind: "end", id, atUs: now(), lastSeenUs, mostPersons: 1 });
    },
    async settled() {
      await Promise.all(readings);
    },
    async [Symbol.asyncDispose]() {
      await stage.close();
      await reading;
      await Promise.all(readings);
      assert.is(slab.frames, 0, "every picture was let go");
      assert.is(slab.usedBytes, 0);
    },
  };
}

async function collect(one: Taken, take: Choice["take"]): Promise<void> {
  try {
    await take?.(one.recording);
    for await (const piece of one.recording.pieces) one.pieces.push(piece);
  } catch (error) {
    one.error = error;
  }
  one.over = true;
}

/** More than any machine needs to start an ffmpeg, or lets one stand still. */
const patienceMs = 90_000;

/** Until the encoder has been given all but the newest pictures, or no clip is open. */
async function caughtUp(slab: FakeSlab, taken: Taken[], capturedUs: number): Promise<void> {
  for (const startMs = performance.now(); performance.now() - startMs < patienceMs; ) {
    await wait(1);
    const open = taken.some((one) => !one.over);
    const fed = slab.copies.reduce((most, at) => Math.max(most, at), 0);
    if (!open || capturedUs - fed < 500_000) return;
    await wait(10);
  }
}

export function mp4(pieces: Piece[]): Uint8Array {
  return concat(
    pieces.flatMap((p) => (p.kind === "init" || p.kind === "fragment" ? [p.bytes] : [])),
  );
}

export function closing(one: Taken | undefined) {
  const last = one?.pieces.at(-1);
  if (last?.kind !== "closing") throw new Error(`no closing: ${one?.error}`);
  return last.closing;
}

export async function decode(one: Taken | undefined) {
  if (!one) throw new Error("no such recording");
  const video = await decodeVideo(mp4(one.pieces));
  return { ...video, numbers: video.pictures.map((p) => p.number) };
}

export function range(from: number, to: number, step = 1): number[] {
  return Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, i) => from + i * step);
}

export function within(actual: number, expected: number, most: number, what: string): void {
  assert.ok(
    Math.abs(actual - expected) <= most,
    `${what}: ${actual}, expected ${expected} ± ${most}`,
  );
}

/** `numbers` are those from `from` to `to`; ± 1 at the ends, where the camera's jitter decides. */
export function isRange(numbers: number[], from: number, to: number): void {
  const [first, last] = [numbers[0] ?? -1, numbers.at(-1) ?? -1];
  within(first, from, 1, "first picture");
  within(last, to, 1, "last picture");
  const missing = range(first, last).filter((n) => !numbers.includes(n));
  assert.equal(missing, [], "pictures are missing");
  assert.is(numbers.length, last - first + 1, "pictures are doubled");
}

export const id = (n: number) => n.toString(16).padStart(32, "0");
