import * as assert from "uvu/assert";
import { Failure } from "../../../src/base/pure/failure.ts";
import type { Frame } from "../../../src/device/camera/camera.ts";
import { openIntake, openPace } from "../../../src/device/record/intake.ts";
import { FakeSlab } from "../../fakes/frame.ts";
import { suite } from "../../lib/suite.ts";

/** How many of the pictures a camera gives in `seconds` are kept, and the longest gap in ms. */
function paced(fps: number, cameraFps: number, seconds: number, jitterUs = 0) {
  const due = openPace(fps);
  const kept: number[] = [];
  for (let i = 0; i < cameraFps * seconds; i++) {
    const at = Math.round((i * 1e6) / cameraFps + jitterUs * Math.sin(i * 2.3));
    if (due(at)) kept.push(at);
  }
  const gaps = kept.slice(1).map((at, i) => (at - (kept[i] ?? 0)) / 1000);
  return { count: kept.length, longestMs: Math.max(...gaps), shortestMs: Math.min(...gaps) };
}

const size = { width: 64, height: 48 };
const raw = { ...size, format: "YUYV", rawBytes: 6144, jpeg: new Uint8Array(500) } as const;

suite("device/record/intake", (test) => {
  test("a camera at the rate or below loses nothing, jitter or not", () => {
    for (const [camera, jitter] of [
      [15, 0],
      [15, 12_000],
      [10, 20_000],
      [7.5, 20_000],
      [14.9, 5000],
    ]) {
      assert.is(
        paced(15, camera ?? 0, 60, jitter).count,
        Math.ceil((camera ?? 0) * 60),
        `${camera}`,
      );
    }
  });

  test("a faster one is thinned evenly to the rate, never above", () => {
    for (const camera of [30, 60, 25, 20, 15.5]) {
      const { count, longestMs } = paced(15, camera, 60, 1000);
      assert.ok(count <= 15 * 60 + 1, `${camera}: ${count}`);
      assert.ok(count >= 14 * 60, `${camera}: ${count}`);
      assert.ok(longestMs <= 2000 / 15, `${camera}: ${longestMs} ms`);
    }
    assert.ok(paced(15, 30, 60, 2000).shortestMs > 60);
  });

  test("what is kept of an even camera is spaced as evenly as its pictures allow", () => {
    // In times to the microsecond, as V4L2 and footage give them, and to the millisecond, as Matroska does.
    for (const unitUs of [1, 1000]) {
      for (const [camera, fps, steps] of [
        [60, 15, [4]],
        [30, 15, [2]],
        [25, 10, [2, 3]],
        [24, 15, [1, 2]],
        [50, 15, [3, 4]],
        [60, 7, [8, 9]],
      ] as const) {
        const due = openPace(fps);
        const kept = Array.from({ length: 60 * camera }, (_, i) => i).filter((i) =>
          due(unitUs * Math.round((i * 1e6) / camera / unitUs)),
        );
        const gaps = kept.slice(1).map((at, i) => at - (kept[i] ?? 0));
        assert.equal([...new Set(gaps)].sort(), [...steps], `${camera} to ${fps} in ${unitUs} µs`);
        assert.is(kept.length, 60 * fps, `${camera} to ${fps}`);
        // Nor do the short gaps come in a bunch: pictures and beat are never a whole picture apart.
        const apart = kept.map((at, i) => Math.abs(at / camera - i / fps) * camera);
        assert.ok(Math.max(...apart) < 1, `${camera} to ${fps}: ${Math.max(...apart)} pictures`);
      }
    }
  });

  test("a pause and a clock that begins again do not stop it", () => {
    const due = openPace(15);
    assert.ok(due(0));
    assert.ok(due(60_000_000));
    assert.ok(due(60_067_000));
    assert.ok(due(1000), "time went back by a minute: a new line");
    assert.not.ok(due(2000));
  });

  test("raw pictures keep their order; what cannot be compressed in time is told", async () => {
    const slab = new FakeSlab();
    const taken: number[] = [];
    const missed: number[] = [];
    const intake = openIntake({
      fps: 15,
      quality: 85,
      onPicture(frame) {
        assert.is(frame.format, "MJPG");
        taken.push(frame.capturedUs);
        frame.release();
      },
      onMissed: (at) => missed.push(at),
      onFull: () => assert.unreachable(),
    });
    const offer = (capturedUs: number, corrupt = false) => {
      const frame = slab.put({ ...raw, capturedUs, corrupt });
      intake.offer(frame);
      frame.release();
    };
    // All at once: three wait, the others are too many.
    for (let i = 0; i < 5; i++) offer(i * 100_000);
    offer(450_000, true);
    await new Promise((resolve) => setTimeout(resolve, 20));
    offer(500_000);
    await intake.close();
    assert.equal(missed, [300_000, 400_000]);
    assert.equal(taken, [0, 100_000, 200_000], "what comes out after closing is let go");
    assert.is(slab.frames, 0);
  });

  test("a full slab is told, and tried once more", async () => {
    const slab = new FakeSlab();
    const events: string[] = [];
    let tries = 0;
    const intake = openIntake({
      fps: 15,
      quality: 85,
      onPicture(frame) {
        events.push(`picture ${frame.capturedUs}`);
        frame.release();
      },
      onMissed: (at) => events.push(`missed ${at}`),
      onFull: () => events.push("full"),
    });
    const failing = (capturedUs: number, failures: number): Frame => {
      const frame = slab.put({ ...raw, capturedUs });
      const real = frame.jpeg.bind(frame);
      tries = 0;
      frame.jpeg = async (spec) => {
        if (tries++ < failures) throw new Failure("full", "no room");
        return await real(spec);
      };
      return frame;
    };
    for (const failures of [1, 2]) {
      const frame = failing(failures * 1_000_000, failures);
      intake.offer(frame);
      frame.release();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    assert.equal(events, ["full", "picture 1000000", "full", "missed 2000000"]);
    await intake.close();
    assert.is(slab.frames, 0);
  });
});
