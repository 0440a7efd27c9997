import { exec } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { promisify } from "node:util";
import { systemClock } from "../../../src/base/node/time.ts";
import { Failure } from "../../../src/base/pure/failure.ts";
import { type CameraOptions, openCamera } from "../../../src/device/camera/camera.ts";
import { readCounter } from "../../lib/counter.ts";

/** What to do with a camera; the program reads it as JSON from /results/order.json. */
export type Order = {
  camera: Omit<CameraOptions, "clock" | "signal" | "onEvent">;
  /**
   * Shell commands before the camera is opened, and while it streams, after so many pictures: one after
   * the other, and some pictures after the one before has ended.
   */
  before?: string;
  steps?: { after: number; run: string }[];
  /** Ends after so many pictures, and some after the last step, or after so long. */
  frames: number;
  forMs: number;
  /** Read a counter from each picture. */
  counters?: boolean;
  /** Size of the luma planes to hand back, of the last picture only. */
  luma?: { width: number; height: number };
};
export type Seen = {
  sequence: number;
  capturedUs: number;
  format: string;
  width: number;
  height: number;
  byteLength: number;
  corrupt: boolean;
  dropped: number;
  counter?: number | null;
};
export type Said = Partial<Record<"kind" | "message" | "hint" | "syscall" | "errno", string>>;
export type Observation = {
  opened?: { source: string; format: string; width: number; height: number; fps: number };
  /** Why the camera did not open, or why its pictures ended. */
  failed?: Said;
  seen: Seen[];
  /** `afterFrames`: how many pictures had been seen by then. */
  events: { kind: string; afterFrames: number; failure?: Said }[];
  /** What the steps' commands printed. */
  steps: string[];
  luma?: number[];
  slab?: { bytes: number; usedBytes: number; frames: number };
};

/** Pictures that show what a step came to. */
const after = 8;
/** Enough to read a counter by, and cheap to decode. */
const glance = { width: 320, height: 180 };
const results = process.env.BOARD_RESULTS ?? "/results";
const order = JSON.parse(readFileSync(`${results}/order.json`, "utf8")) as Order;
const run = promisify(exec);
const observation: Observation = { seen: [], events: [], steps: [] };

function describe(error: unknown): Said {
  if (!(error instanceof Failure)) return { kind: "untyped", message: String(error) };
  const { kind, message, hint, syscall, errno } = error;
  const said = { kind, message, hint, syscall, errno };
  return Object.fromEntries(Object.entries(said).filter(([, text]) => text !== undefined));
}

async function observe(): Promise<void> {
  const over = new AbortController();
  const camera = await openCamera({
    ...order.camera,
    clock: systemClock,
    signal: over.signal,
    onEvent: ({ kind, failure }) =>
      observation.events.push({
        kind,
        afterFrames: observation.seen.length,
        ...(failure ? { failure: describe(failure) } : {}),
      }),
  });
  const { source, format, width, height, fps } = camera;
  observation.opened = { source, format, width, height, fps };
  const timer = setTimeout(() => over.abort(), order.forMs);
  let running: Promise<void> | undefined;
  /** How many pictures there were when the last step had ended. */
  let done = Number.NEGATIVE_INFINITY;
  const todo = [...(order.steps ?? [])];
  try {
    for await (const frame of camera.frames) {
      const { sequence, capturedUs, format, width, height, byteLength, corrupt, dropped } = frame;
      const seen: Seen = {
        ...{ sequence, capturedUs, format, width, height, byteLength, corrupt, dropped },
      };
      observation.seen.push(seen);
      const count = observation.seen.length;
      const isShown = running === undefined && count >= done + after;
      const last = isShown && todo.length === 0 && count >= order.frames;
      if (order.counters && !corrupt)
        seen.counter = readCounter(await frame.luma(glance), glance) ?? null;
      if (order.luma && last) observation.luma = [...(await frame.luma(order.luma))];
      frame.release();
      if (last) break;
      if (!todo[0] || !isShown || count < todo[0].after) continue;
      running = run(todo.shift()?.run ?? "").then(
        ({ stdout, stderr }) => void observation.steps.push(stdout + stderr),
        (error) => void observation.steps.push(`failed: ${error}`),
      );
      void running.then(() => {
        running = undefined;
        done = observation.seen.length;
      });
    }
  } catch (error) {
    if (!over.signal.aborted) observation.failed = describe(error);
  }
  await running;
  observation.slab = camera.slab();
  await camera.close();
  clearTimeout(timer);
}

if (order.before) observation.steps.push((await run(order.before)).stdout);
await observe().catch((error) => {
  observation.failed = describe(error);
});
writeFileSync(`${results}/observation.json`, JSON.stringify(observation));
