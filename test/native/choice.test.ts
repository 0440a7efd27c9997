import * as assert from "uvu/assert";
import { plugCamera, sessionOf } from "../lib/fake.ts";
import { suite } from "../lib/suite.ts";

type Formats = NonNullable<Parameters<typeof plugCamera>[0]>["formats"];
type Wish = { width: number; height: number; fps: number; format?: string };

/** What a camera with these formats is set to for this wish, as "MJPG 1280x720 15". */
async function chosen(formats: Formats, wish: Partial<Wish> = {}, personality?: "libcamera") {
  const camera = plugCamera({
    ...(formats ? { formats } : {}),
    ...(personality ? { personality } : {}),
  });
  await using session = sessionOf(camera, { slabBytes: 24 << 20 });
  const mode = await session.capture.open(
    { source: camera.path, width: 1280, height: 720, fps: 15, ...wish },
    () => {},
    () => {},
  );
  const { format, width, height } = camera.state();
  assert.equal(
    [mode.format, mode.width, mode.height],
    [format === "JPEG" ? "MJPG" : format, width, height],
  );
  return `${format} ${width}x${height} ${mode.fps}`;
}

const sizes = (...list: [number, number, ...number[]][]) =>
  list.map(([width, height, ...rates]) => ({ width, height, rates }));
const webcam: Formats = [
  { format: "YUYV", sizes: sizes([640, 480, 30, 15], [1280, 720, 10, 5], [1920, 1080, 5]) },
  { format: "MJPG", sizes: sizes([640, 480, 30, 15], [1280, 720, 30, 15], [1920, 1080, 30]) },
  { format: "H264", sizes: sizes([1280, 720, 30]) },
];

suite("choice", (test) => {
  test("a webcam gives MJPG at the wished size and the slowest rate that is enough", async () => {
    assert.is(await chosen(webcam), "MJPG 1280x720 15");
    assert.is(await chosen(webcam, { fps: 20 }), "MJPG 1280x720 30");
    assert.is(await chosen(webcam, { fps: 90 }), "MJPG 1280x720 30");
    assert.is(await chosen(webcam, { fps: 5 }), "MJPG 1280x720 15");
    assert.is(await chosen(webcam, { width: 640, height: 480 }), "MJPG 640x480 15");
  });

  test("a wished format is kept to", async () => {
    assert.is(await chosen(webcam, { format: "YUYV" }), "YUYV 1280x720 10");
    assert.is(await chosen(webcam, { format: "YUYV", width: 640, height: 480 }), "YUYV 640x480 15");
    const other: Formats = [{ format: "JPEG", sizes: sizes([640, 480, 30]) }];
    assert.is(await chosen(other, { format: "MJPG" }), "JPEG 640x480 30");
  });

  test("without MJPG the raw formats in their order", async () => {
    const all = ["GREY", "RGB3", "NV12", "YUYV"];
    for (let count = 1; count <= all.length; count++) {
      const formats = all
        .slice(0, count)
        .map((format) => ({ format, sizes: sizes([640, 480, 30]) }));
      assert.is(await chosen(formats), `${all[count - 1]} 640x480 30`);
    }
  });

  test("the nearest size, rather smaller than larger, and of the same shape", async () => {
    const formats: Formats = [
      {
        format: "YUYV",
        sizes: sizes([320, 240, 30], [960, 540, 30], [1024, 768, 30], [2560, 1440, 30]),
      },
    ];
    assert.is(await chosen(formats), "YUYV 960x540 30");
    assert.is(await chosen(formats, { width: 320, height: 200 }), "YUYV 320x240 30");
    assert.is(await chosen(formats, { width: 1000, height: 750 }), "YUYV 1024x768 30");
  });

  test("a size that is too slow gives way to one that is not", async () => {
    const formats: Formats = [{ format: "YUYV", sizes: sizes([1280, 720, 2], [1024, 576, 15]) }];
    assert.is(await chosen(formats), "YUYV 1024x576 15");
  });

  test("stepwise sizes and rates are kept to their steps", async () => {
    const step = { width: 1920, height: 1080, leastWidth: 32, leastHeight: 32 };
    const formats = (more: object) => [{ format: "YUYV", sizes: [{ ...step, ...more }] }];
    assert.is(await chosen(formats({ rates: [60, 5], rateStepwise: true })), "YUYV 1280x720 15");
    assert.is(
      await chosen(formats({ stepWidth: 16, stepHeight: 16, rates: [60, 5], rateStepwise: true }), {
        width: 1000,
        height: 700,
      }),
      "YUYV 992x688 15",
    );
    const rates = { rates: [60, 5], rateStepwise: true };
    assert.is(await chosen(formats(rates), { fps: 100 }), "YUYV 1280x720 60");
    assert.is(await chosen(formats(rates), { fps: 1 }), "YUYV 1280x720 5");
    assert.is(await chosen(formats(rates), { width: 4000, height: 4000 }), "YUYV 1920x1080 15");
    assert.is(await chosen(formats(rates), { width: 8, height: 8 }), "YUYV 32x32 15");
  });

  test("libcamera's layer lists no rates and gets listed sizes only", async () => {
    const formats: Formats = [
      { format: "NV12", sizes: sizes([800, 600], [1296, 972], [2592, 1944]) },
      { format: "RGB3", sizes: sizes([800, 600]) },
    ];
    assert.is(await chosen(formats, {}, "libcamera"), "NV12 1296x972 0");
    assert.is(await chosen(formats, { width: 640, height: 480 }, "libcamera"), "NV12 800x600 0");
  });

  test("a driver that lists no sizes is asked for the wished one", async () => {
    assert.is(
      await chosen([{ format: "YUYV", sizes: [] }], { width: 320, height: 240 }),
      "YUYV 320x240 0",
    );
  });
});
