import { is, ok } from "uvu/assert";
import { ManualClock } from "../../src/base/pure/clock.ts";
import type { Frame, Rect } from "../../src/device/camera/camera.ts";
import {
  type DetectEvent,
  type Detection,
  type DetectOptions,
  type Finder,
  type Incident,
  type Look,
  openDetect,
} from "../../src/device/detect/detect.ts";

export const size = { width: 768, height: 576 };
export type Person = Rect & { score?: number };

/** The detection stage in a world of grey ground; whoever is in it is darker. Frames remember their references. */
export function openWorld(
  options: Partial<DetectOptions> & {
    inferenceMs?: number;
    find?: Finder["find"];
    fps?: number;
  } = {},
) {
  const clock = new ManualClock();
  const stop = new AbortController();
  const events: DetectEvent[] = [];
  const looks: Look[] = [];
  const asked: { index: number; crop?: Rect }[] = [];
  const shared: (number | undefined)[] = []; // of each picture that was analysed
  let held = 0;
  let index = 0;
  const scenes: Person[][] = [];
  const { inferenceMs = 20, fps = 10 } = options;
  const find: Finder["find"] = async (frame, { threshold, crop }) => {
    const at = frame.index ?? 0;
    asked.push(crop ? { index: at, crop } : { index: at });
    if (options.find) return options.find(frame, { threshold, ...(crop ? { crop } : {}) });
    return (scenes[at] ?? []).flatMap((person): Detection[] => {
      const { score = 0.8, ...box } = person;
      // As the real one: small persons are found in crops only.
      const isLarge = box.height > 60 || crop !== undefined;
      const isInside = !crop || (box.x > crop.x && box.x + box.width < crop.x + crop.width);
      return isLarge && isInside && score >= threshold ? [{ box, score }] : [];
    });
  };
  const model: Finder = {
    input: { width: 416, height: 320 },
    crop: { width: 192, height: 192 },
    overlap: 0.6,
    inferenceMs: () => inferenceMs,
    find,
  };
  const stage = openDetect({
    model,
    zones: [],
    threshold: 0.4,
    crops: true,
    separateVisitMs: 5_000,
    onEvent: (event) => events.push(event),
    onLook: (look) => looks.push(look),
    clock,
    signal: stop.signal,
    ...options,
  });
  const incidents: Incident[] = [];
  const reading = (async () => {
    for await (const incident of stage.incidents) incidents.push(incident);
  })();

  const frameOf = (
    people: Person[],
    { corrupt = false, luma }: { corrupt?: boolean; luma?: () => Promise<Uint8Array> } = {},
  ): Frame => {
    const mine = index++;
    scenes[mine] = people;
    let references = 1;
    held++;
    const frame = {
      ...{ sequence: mine, index: mine, capturedUs: clock.monotonicUs(), ...size },
      ...{ format: "MJPG", byteLength: 1, corrupt, dropped: 0 },
      retain() {
        ok(references > 0, "retained after the last release");
        references++;
        return frame;
      },
      release() {
        ok(references > 0, "released twice");
        references--;
        if (references === 0) held--;
      },
      luma:
        luma ??
        (async ({ finest, ...plane }: { width: number; height: number; finest?: number }) => {
          shared.push(finest);
          return draw(people, plane, mine);
        }),
    } as unknown as Frame;
    return frame;
  };
  const settle = async () => {
    for (let i = 0; i < 30; i++) await Promise.resolve();
  };
  return {
    ...{ clock, stop, stage, events, looks, asked, shared, incidents, frameOf, settle },
    held: () => held,
    /** Shows `count` frames at the world's rate. */
    async show(
      count: number,
      people: (i: number) => Person[],
      each?: Parameters<typeof frameOf>[1],
    ) {
      for (let i = 0; i < count; i++) {
        const frame = frameOf(people(i), each);
        stage.offer(frame);
        frame.release();
        await settle();
        clock.advance(1000 / fps);
        await settle();
      }
    },
    async [Symbol.asyncDispose]() {
      await stage.close();
      await reading;
      is(held, 0, "every frame was released");
    },
  };
}

/** Luma with a little fixed noise, so that the gate has something to learn. */
export function draw(people: Person[], plane: { width: number; height: number }, seed: number) {
  const scale = plane.width / size.width;
  const luma = new Uint8Array(plane.width * plane.height);
  for (let i = 0; i < luma.length; i++) luma[i] = 128 + ((i * 7919 + seed * 104_729) % 5);
  for (const { x, y, width, height } of people) {
    for (let v = Math.floor(y * scale); v < (y + height) * scale; v++) {
      luma.fill(40, v * plane.width + Math.floor(x * scale), v * plane.width + (x + width) * scale);
    }
  }
  return luma;
}

export const walker = (i: number): Person => ({ x: 20 + 6 * i, y: 200, width: 40, height: 110 });
export const nobody = () => [];
