import { join } from "node:path";
import { systemClock } from "../../src/base/node/time.ts";
import type { Clock } from "../../src/base/pure/clock.ts";
import { openCamera, trimMemory } from "../../src/device/camera/camera.ts";
import { installedModels, openDetect, openModel } from "../../src/device/detect/detect.ts";
import { openKeyring } from "../../src/device/keyring.ts";
import { openOutbox } from "../../src/device/outbox/outbox.ts";
import { openRecord, probeEncoder } from "../../src/device/record/record.ts";
import { openSealer } from "../../src/device/seal/seal.ts";
import type { Sample } from "./resident.ts";

// The child process of bench/resident.ts: all stages of the service, wired as there, on footage that
// is shown again and again as fast as it goes, with short rolls; after each clip that was sealed one
// line says what the process holds. The stages' clock is the footage's.

const [state = "", film = "", count = "1"] = process.argv.slice(2);
const stop = new AbortController();
const { signal } = stop;
trimMemory();
let nowUs = systemClock.monotonicUs();
const clock: Clock = {
  monotonicUs: () => nowUs,
  wallMs: () => systemClock.wallMs(),
  sleep: (ms, sleepSignal) => systemClock.sleep(ms, sleepSignal),
};
const outbox = await openOutbox({
  ...{ folder: join(state, "outbox"), limitBytes: 64 * 2 ** 20, headroomBytes: 0 },
  wallMs: () => systemClock.wallMs(),
});
const sealer = await openSealer({
  ...{ keyring: await openKeyring(state), outbox, folder: join(state, "journal") },
  ...{ version: "bench", clock: systemClock, clockTrusted: () => true },
});
const camera = await openCamera({
  ...{ source: film, slabBytes: 48 * 2 ** 20, clock: systemClock, signal },
  replay: { speed: Number.POSITIVE_INFINITY, loop: true },
});
const { width, height } = camera;
const model = await openModel({
  ...{ folder: installedModels, precision: "int8", aspect: width / height },
});
trimMemory();
const detect = openDetect({
  ...{ model, zones: [], threshold: 0.4, crops: true, separateVisitMs: 1000, clock, signal },
});
const record = openRecord({
  ...{ encoder: await probeEncoder({ width, height, fps: 15 }), fps: 15, preRollMs: 1000 },
  ...{ postRollMs: 500, longestMs: 180_000, preRollBytes: 24 * 2 ** 20 },
  ...{
    model: { id: model.id, precision: model.precision },
    clockTrusted: () => true,
    clock,
    signal,
  },
});

let sealed = 0;
const grab = async () => {
  for await (const frame of camera.frames) {
    nowUs = frame.capturedUs;
    record.offer(frame);
    detect.offer(frame);
    frame.release();
    await detect.idle();
    if (sealed >= Number(count)) break;
  }
  await detect.close();
};
const watch = async () => {
  for await (const incident of detect.incidents) {
    record.incident(incident);
  }
  await record.close();
};
const seal = async () => {
  for await (const recording of record.recordings) {
    const { reason } = await sealer.clip(recording);
    if (reason === "cut-off") throw new Error("a clip was cut off");
    sealed++;
    const residentBytes = process.memoryUsage.rss();
    console.log(JSON.stringify({ incident: sealed, residentBytes } satisfies Sample));
  }
};
await Promise.all([grab(), watch(), seal()]);
stop.abort();
for (const stage of [camera, detect, record, model, sealer, outbox]) await stage.close();
