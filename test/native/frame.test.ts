import * as assert from "uvu/assert";
import { openSlab } from "../../src/device/camera/v4l2.ts";
import { addon, jpegOf, outcome, plugCamera, sessionOf, slope, yuyv } from "../lib/fake.ts";
import { suite } from "../lib/suite.ts";

const [width, height] = [64, 48];
const label = { format: "GREY" as const, width, height, capturedUs: 7, sequence: 3 };
/** The left half, as one polygon. */
const leftHalf = [
  { x: 0, y: 0 },
  { x: 0.5, y: 0 },
  { x: 0.5, y: 1 },
  { x: 0, y: 1 },
];
const flat = leftHalf.flatMap(({ x, y }) => [x, y]);
const meanOf = (plane: Uint8Array, across: number, from: number, to: number) => {
  const inside = [...plane].filter((_, i) => i % across >= from && i % across < to);
  return inside.reduce((sum, value) => sum + value, 0) / inside.length;
};

suite("frame", (test) => {
  test("each turn: size, luma, jpeg and tensor agree", async () => {
    const grey = slope(width, height);
    for (const rotate of [0, 90, 180, 270] as const) {
      for (const flip of [false, true]) {
        const slab = openSlab({ slabBytes: 1 << 20, rotate, flip }, addon);
        const frame = slab.put(grey, label);
        const swap = rotate % 180 !== 0;
        const size = swap ? { width: height, height: width } : { width, height };
        assert.equal({ width: frame.width, height: frame.height }, size);
        assert.equal(frame.turn, { rotate, flip });
        const luma = await frame.luma(size);
        const at = (x: number, y: number) => {
          const unflipped = flip ? size.width - 1 - x : x;
          const [sx, sy] = (
            {
              0: [unflipped, y],
              90: [y, height - 1 - unflipped],
              180: [width - 1 - unflipped, height - 1 - y],
              270: [width - 1 - y, unflipped],
            } as const
          )[rotate];
          return grey[sy * width + sx] ?? -1;
        };
        for (const [x, y] of [
          [0, 0],
          [size.width - 1, 0],
          [5, 9],
          [size.width - 1, size.height - 1],
        ] as const) {
          assert.is(luma[y * size.width + x], at(x, y), `${rotate} ${flip} at ${x},${y}`);
        }
        const upright = await frame.jpeg({ quality: 95 });
        assert.equal(upright.turn, { rotate: 0, flip: false });
        assert.equal([upright.width, upright.height], [size.width, size.height]);
        assert.equal([upright.capturedUs, upright.sequence, upright.format], [7, 3, "MJPG"]);
        const again = await upright.luma(size);
        for (let i = 0; i < again.length; i += 97) {
          assert.ok(Math.abs((again[i] ?? 0) - (luma[i] ?? 0)) < 16, `${i}`);
        }
        const tensor = await frame.tensor({
          crop: { x: 4, y: 8, width: 16, height: 16 },
          width: 16,
          height: 16,
          order: "BGR",
          mean: [0, 0, 0],
          deviation: [1, 1, 1],
          pad: 0,
        });
        assert.equal([tensor.scale, tensor.offsetX, tensor.offsetY], [1, 0, 0]);
        assert.is(Math.round(tensor.data[3 * 16 + 2] ?? 0), luma[(8 + 3) * size.width + 4 + 2]);
        upright.release();
        frame.release();
        assert.is(slab.usage().usedBytes, 0);
        await slab.close();
      }
    }
  });

  test("references: the last release gives the slot back, one more is a misuse", async () => {
    const slab = openSlab({ slabBytes: 1 << 20 }, addon);
    const frame = slab.put(slope(width, height), { ...label, index: 12 });
    assert.is(frame.index, 12);
    assert.is(frame.retain(), frame);
    frame.release();
    assert.is(slab.usage().frames, 1);
    assert.equal(Uint8Array.from(frame.copy()), slope(width, height));
    frame.release();
    assert.is(slab.usage().frames, 0);
    assert.is(await outcome(() => frame.release()), "misuse");
    assert.is(await outcome(() => frame.copy()), "misuse");
    assert.is(await outcome(() => frame.luma({ width: 2, height: 2 })), "misuse");
    await slab.close();
    frame.release();
    assert.is(await outcome(() => frame.copy()), "gone");
  });

  test("no room for the result is told as such", async () => {
    const slab = openSlab({ slabBytes: 1 << 16 }, addon);
    const noise = Uint8Array.from({ length: 128 * 256 }, (_, i) => (i * 2654435761) >>> 24);
    const frame = slab.put(noise, { ...label, width: 256, height: 128 });
    const filler = slab.put(new Uint8Array(30_000), { ...label, width: 100, height: 300 });
    assert.is(await outcome(() => frame.jpeg({ quality: 95 })), "full");
    filler.release();
    (await frame.jpeg({ quality: 20 })).release();
    await slab.close();
  });

  test("arguments that no picture can satisfy are a misuse", async () => {
    const slab = openSlab({ slabBytes: 1 << 20 }, addon);
    const frame = slab.put(slope(width, height), label);
    const good = {
      width: 8,
      height: 8,
      order: "RGB" as const,
      mean: [0, 0, 0] as [number, number, number],
      deviation: [1, 1, 1] as [number, number, number],
      pad: 0,
    };
    const crops = [
      { x: -1, y: 0, width: 4, height: 4 },
      { x: 0, y: 0, width: 65, height: 4 },
      { x: 0, y: 0, width: 0, height: 4 },
      { x: 63, y: 0, width: 2, height: 2 },
      { x: Number.NaN, y: 0, width: 2, height: 2 },
      { x: 2 ** 40, y: 0, width: 2, height: 2 },
    ];
    for (const crop of crops) {
      assert.is(
        await outcome(() => frame.tensor({ ...good, crop })),
        "misuse",
        JSON.stringify(crop),
      );
      assert.is(await outcome(() => frame.jpeg({ quality: 80, crop })), "misuse");
    }
    for (const size of [0, -1, 1.5, 2 ** 33, Number.NaN]) {
      assert.is(await outcome(() => frame.luma({ width: size, height: 4 })), "misuse", `${size}`);
      assert.is(await outcome(() => frame.tensor({ ...good, width: size })), "misuse", `${size}`);
    }
    for (const quality of [0, -1, 101, Number.NaN]) {
      assert.is(await outcome(() => frame.jpeg({ quality })), "misuse", `${quality}`);
    }
    const short = new Float32Array(3 * 64 - 1);
    assert.is(await outcome(() => frame.tensor({ ...good, into: short })), "misuse");
    assert.is(await outcome(() => frame.tensor({ ...good, deviation: [1, 0, 1] })), "misuse");
    frame.release();
    assert.is(slab.usage().frames, 0);
    await slab.close();
  });

  test("`into` is filled; one that is transferred away meanwhile does no harm", async () => {
    const slab = openSlab({ slabBytes: 1 << 20 }, addon);
    const frame = slab.put(new Uint8Array(width * height).fill(200), label);
    const spec = {
      width: 8,
      height: 6,
      order: "RGB" as const,
      mean: [100, 100, 100] as [number, number, number],
      deviation: [50, 50, 50] as [number, number, number],
      pad: 0,
    };
    const into = new Float32Array(3 * 48);
    const { data } = await frame.tensor({ ...spec, into });
    assert.is(data, into);
    assert.ok(into.every((value) => value === 2));
    const job = frame.tensor({ ...spec, into });
    structuredClone(into.buffer, { transfer: [into.buffer] });
    assert.is((await job).data.length, 0);
    await slab.close();
  });

  test("masks are in every byte that leaves the slab: raw formats", async () => {
    const camera = plugCamera();
    camera.feed(yuyv(width, height, 235));
    await using session = sessionOf(camera, { masks: [flat] });
    await session.open();
    camera.push();
    const { handle, byteLength } = await session.picture();
    assert.is(byteLength, width * height * 2);
    const bytes = session.capture.copy(handle);
    for (let y = 0; y < height; y += 5) {
      assert.is.not(bytes[y * width * 2], 235);
      assert.is.not(bytes[y * width * 2 + width - 2], 235);
      assert.is(bytes[y * width * 2 + width + 8], 235);
    }
  });

  test("masks are in every byte that leaves the slab: MJPG, turned, in order", async () => {
    const bright = await jpegOf(new Uint8Array(width * height).fill(230), width, height);
    const camera = plugCamera({
      formats: [{ format: "MJPG", sizes: [{ width, height, rates: [30] }] }],
    });
    camera.feed(bright);
    await using session = sessionOf(camera, { masks: [flat], rotate: 90 });
    await session.open();
    for (let i = 0; i < 4; i++) camera.push();
    await session.picture(4);
    assert.equal(
      session.pictures.map(({ sequence }) => sequence),
      [0, 1, 2, 3],
    );
    for (const { handle, byteLength } of session.pictures) {
      const bytes = session.capture.copy(handle);
      assert.is(bytes.length, byteLength);
      assert.equal([bytes[0], bytes[1], ...bytes.slice(-2)], [0xff, 0xd8, 0xff, 0xd9]);
      const luma = await session.capture.luma(handle, { width: height, height: width });
      assert.ok(meanOf(luma, height, 0, height / 2 - 8) < 150, "masked");
      assert.ok(meanOf(luma, height, height / 2 + 8, height) > 220, "not masked");
    }
    for (const { handle } of session.pictures) session.capture.release(handle);
    assert.is(session.capture.usage().usedBytes, 0);
  });

  test("a picture that cannot be masked is never shown", async () => {
    const bright = await jpegOf(new Uint8Array(width * height).fill(230), width, height);
    const camera = plugCamera({
      formats: [{ format: "MJPG", sizes: [{ width, height, rates: [30] }] }],
    });
    camera.feed(bright, bright.slice(0, bright.length >> 1), new Uint8Array(500).fill(77));
    await using session = sessionOf(camera, { masks: [flat] });
    await session.open();
    for (const picture of [1, 2, 0]) camera.push({ picture });
    await session.picture(3);
    assert.equal(
      session.pictures.map(({ handle, corrupt, byteLength }) => [
        handle > 0,
        corrupt,
        byteLength > 0,
      ]),
      [
        [false, true, false],
        [false, true, false],
        [true, false, true],
      ],
    );
    assert.is(session.capture.usage().frames, 1);

    const raw = plugCamera();
    await using second = sessionOf(raw, { masks: [flat] });
    await second.open();
    raw.push({ bytesUsed: 1000 });
    const { handle, corrupt } = await second.picture();
    assert.equal([handle, corrupt], [0, true]);
    assert.is(second.capture.usage().frames, 0);
  });

  test("masks reach replayed pictures too", async () => {
    const slab = openSlab({ slabBytes: 1 << 20, masks: [leftHalf] }, addon);
    const bright = new Uint8Array(width * height).fill(230);
    for (const frame of [
      slab.put(bright, label),
      slab.put(await jpegOf(bright, width, height), { ...label, format: "MJPG" }),
    ]) {
      const luma = await frame.luma({ width, height });
      assert.ok(meanOf(luma, width, 0, width / 2 - 8) < 150);
      assert.ok(meanOf(luma, width, width / 2 + 8, width) > 220);
      frame.release();
    }
    assert.is(slab.usage().frames, 0);
    await slab.close();
  });
});
