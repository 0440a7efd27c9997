import { systemClock } from "../../src/base/node/time.ts";
import { loadAddon, openCamera, openSlab } from "../../src/device/camera/camera.ts";
import { type BenchOptions, cpuMs, type Line, line, median, rounded } from "./measure.ts";

const [width, height] = [1280, 720];
const path = "/dev/video90";
const warmUp = 100;

/**
 * The camera stage over the fake driver, which delivers as fast as buffers come back: processor
 * time of the whole process for each picture that was handed over and released, against
 * that of a bare reader in C that copies `bytesused` out of the same driver's buffers.
 */
export async function* benchCapture({ quick }: BenchOptions): AsyncGenerator<Line, void> {
  const addon = loadAddon({ fake: true });
  const { fake } = addon;
  if (!fake) throw new Error("the fake driver is not built: scripts/addon");
  const [pictures, rounds] = quick ? [100, 1] : [1500, 7];
  const jpeg = await grainyJpeg();
  for (const format of ["MJPG", "YUYV"] as const) {
    const sizes = [{ width, height, rates: [30] }];
    fake.plug({ path, card: "Fake", driver: "fake", bus: "usb-1", formats: [{ format, sizes }] });
    fake.feed(path, [format === "MJPG" ? jpeg : new Uint8Array(width * height * 2).fill(90)]);
    fake.behave(path, { fps: 1e9 });
    const [reader, stage]: [number[], number[]] = [[], []];
    for (let round = 0; round < rounds; round++) {
      const { cpuUs } = fake.read(path, { format, width, height, pictures });
      reader.push(cpuUs / 1000 / pictures);
      stage.push(await capture(addon, format, pictures));
    }
    const more = stage.map((ms, i) => ms - (reader[i] ?? 0));
    const bytes = format === "MJPG" ? jpeg.length : width * height * 2;
    yield line("capture", `${format} ${width}x${height}, ${bytes} bytes`, {
      value: rounded(median(more)),
      unit: "ms of processor time a frame more than the reader",
      aim: { most: 0.15 },
      against: "a reader in C that copies bytesused from the same fake driver",
      frameMs: rounded(median(stage)),
      readerMs: rounded(median(reader)),
      ...{ pictures, rounds },
    });
    fake.unplug(path);
  }
}

async function capture(
  addon: ReturnType<typeof loadAddon>,
  format: "MJPG" | "YUYV",
  pictures: number,
): Promise<number> {
  const camera = await openCamera(
    {
      ...{ source: path, width, height, fps: 30, format, slabBytes: 16 * 2 ** 20 },
      clock: systemClock,
      signal: new AbortController().signal,
    },
    addon,
  );
  let [begin, seen] = [0, 0];
  try {
    for await (const frame of camera.frames) {
      frame.release();
      // The first ones warm the caches and the compiler up.
      if (++seen === warmUp) begin = cpuMs();
      if (seen === warmUp + pictures) return (cpuMs() - begin) / pictures;
    }
  } finally {
    await camera.close();
  }
  throw new Error("the pictures ended");
}

/** As busy as a real picture: about 150 KB. */
async function grainyJpeg(): Promise<Uint8Array> {
  const slab = openSlab({ slabBytes: 8 * 2 ** 20 });
  const grey = Uint8Array.from(
    { length: width * height },
    (_, i) => 100 + ((i * 2654435761) >>> 29) * 2,
  );
  const label = { format: "GREY", width, height, capturedUs: 0, sequence: 0 } as const;
  const jpeg = await slab.put(grey, label).jpeg({ quality: 90 });
  const bytes = Uint8Array.from(jpeg.copy());
  await slab.close();
  return bytes;
}
