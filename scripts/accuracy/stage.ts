import { ManualClock } from "../../src/base/pure/clock.ts";
import type { Rect } from "../../src/device/camera/camera.ts";
import { openSlab } from "../../src/device/camera/camera.ts";
import { type Finder, openDetect, type PersonModel } from "../../src/device/detect/detect.ts";
import { readPictures } from "../../src/device/detect/pictures.ts";
import type { Judged } from "./score.ts";

/**
 * What the service would see of a film: the detection stage with its motion gate and, with `crops`,
 * its closer looks at what moves, at the film's own speed. Judges the frames it looked at.
 */
export async function lookAsService(options: {
  film: string;
  truth: ReadonlyMap<number, readonly Rect[]>;
  filmFps: number;
  model: PersonModel;
  crops: boolean;
}): Promise<{ judged: Judged[]; crops: number }> {
  const { film, truth, filmFps, model, crops } = options;
  const judged: Judged[] = [];
  let underWay = 0;
  const watched: Finder = {
    ...model,
    inferenceMs: () => 1, // as on a board that keeps up: what counts here is seeing, not speed
    async find(frame, wanted) {
      underWay++;
      return await model.find(frame, wanted).finally(() => underWay--);
    },
  };
  const clock = new ManualClock();
  const slab = openSlab({ slabBytes: 32 * 2 ** 20 });
  const stop = new AbortController();
  const stage = openDetect({
    ...{ model: watched, zones: [], threshold: model.threshold, crops, clock },
    ...{ separateVisitMs: 10_000, signal: stop.signal },
    onLook({ frame, detections }) {
      judged.push({ truth: truth.get(frame.index ?? -1) ?? [], found: detections });
    },
  });
  for await (const { bytes, ...about } of readPictures(film, { fps: filmFps })) {
    const capturedUs = clock.monotonicUs();
    const frame = slab.put(bytes, { ...about, capturedUs, sequence: about.index ?? 0 });
    stage.offer(frame);
    // The pixel thread works in order: when it has done this, the stage's own plane is done.
    await frame.luma({ width: 16, height: 16 });
    frame.release();
    for (let calm = 0; calm < 3; calm = underWay === 0 ? calm + 1 : 0)
      await new Promise((resolve) => setTimeout(resolve, 3));
    clock.advance(1000 / filmFps);
  }
  await stage.close();
  await slab.close();
  return { judged, crops: stage.counts.crops };
}
