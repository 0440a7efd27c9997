import * as assert from "uvu/assert";
import { openSlab } from "../../../src/device/camera/camera.ts";
import { takeThumbnails, widen, worth } from "../../../src/device/record/thumbnail.ts";
import { makeJpegs, run } from "../../lib/footage.ts";
import { suite } from "../../lib/suite.ts";

suite("device/record/thumbnail", (test) => {
  test("a crop has its margin and stays within the picture", () => {
    const frame = { width: 100, height: 80 };
    assert.equal(widen({ x: 40, y: 20, width: 10, height: 20 }, frame), {
      x: 38,
      y: 16,
      width: 14,
      height: 28,
    });
    assert.equal(widen({ x: -5, y: 60, width: 30, height: 40 }, frame), {
      x: 0,
      y: 52,
      width: 31,
      height: 28,
    });
    assert.equal(widen({ x: 200, y: 0, width: 10, height: 10 }, frame).width, 0);
  });

  test("sure and near beats unsure or far", () => {
    const at = (score: number, side: number) =>
      worth({ score, box: { x: 0, y: 0, width: side, height: side } });
    assert.ok(at(0.9, 100) > at(0.5, 100));
    assert.ok(at(0.6, 200) > at(0.9, 100));
  });

  test("real pictures: sizes, bounds, and nothing left in the slab", async () => {
    const size = { width: 1280, height: 720 };
    const [jpeg] = await makeJpegs(1, size, 5);
    const slab = openSlab({ slabBytes: 4 * 1024 * 1024 });
    const label = { ...size, format: "MJPG", capturedUs: 7_000_000, sequence: 1 } as const;
    const frame = slab.put(jpeg ?? new Uint8Array(), label);
    const thumbnails = await takeThumbnails(frame, { x: 300, y: 100, width: 200, height: 500 });
    assert.equal(
      thumbnails.map((t) => [t.what, t.capturedUs]),
      [
        ["person", 7_000_000],
        ["frame", 7_000_000],
      ],
    );
    for (const { bytes, width, height, what } of thumbnails) {
      assert.ok(width <= (what === "person" ? 320 : 640), `${width}`);
      const probe = await run(
        "ffprobe",
        ["-v", "error", "-show_entries", "stream=width,height", "-of", "csv=p=0", "-"],
        bytes,
      );
      assert.is(probe.toString().trim(), `${width},${height}`);
    }
    assert.equal(
      (await takeThumbnails(frame)).map((t) => t.what),
      ["frame"],
    );
    assert.is(slab.usage().frames, 1);
    frame.release();
    await slab.close();
  });
});
