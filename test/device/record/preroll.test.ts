import * as assert from "uvu/assert";
import type { Frame } from "../../../src/device/camera/camera.ts";
import { PreRoll } from "../../../src/device/record/preroll.ts";
import { FakeSlab } from "../../fakes/frame.ts";
import { suite } from "../../lib/suite.ts";

const size = { width: 64, height: 48 };

function filled(options: { longestMs: number; bytes: number }, count: number) {
  const slab = new FakeSlab();
  const preRoll = new PreRoll(options);
  const put = (i: number, change: { width?: number; turn?: Frame["turn"] } = {}) =>
    preRoll.push(
      slab.put({ jpeg: new Uint8Array(1000), ...size, capturedUs: i * 100_000, ...change }),
    );
  for (let i = 0; i < count; i++) put(i);
  return { slab, preRoll, put };
}

function take(frames: Frame[]): number[] {
  for (const frame of frames) frame.release();
  return frames.map((frame) => frame.capturedUs / 100_000);
}

suite("device/record/preroll", (test) => {
  test("is bounded by time, the oldest goes first", () => {
    const { slab, preRoll } = filled({ longestMs: 5000, bytes: 1e9 }, 200);
    assert.is(preRoll.frames, 51);
    assert.is(slab.frames, 51);
    assert.equal(take(preRoll.since(0)).at(0), 149);
    assert.equal(take(preRoll.since(19_800_000)), [198, 199]);
    preRoll.clear();
    assert.equal([slab.frames, preRoll.bytes], [0, 0]);
  });

  test("is bounded by bytes, whatever the time", () => {
    const { slab, preRoll } = filled({ longestMs: 5000, bytes: 10_500 }, 200);
    assert.equal([preRoll.frames, preRoll.bytes, slab.usedBytes], [10, 10_000, 10_000]);
    preRoll.yieldHalf();
    assert.equal(take(preRoll.since(0)), [195, 196, 197, 198, 199]);
    // A picture larger than the bound does not stay, and nothing else does.
    preRoll.push(slab.put({ jpeg: new Uint8Array(20_000), ...size, capturedUs: 2e7 }));
    assert.equal([preRoll.frames, slab.frames], [0, 0]);
    assert.equal(preRoll.since(0), []);
    assert.is(preRoll.nearest(0), undefined);
  });

  test("gives only pictures of one shape", () => {
    const { preRoll, put } = filled({ longestMs: 5000, bytes: 1e9 }, 5);
    put(5, { width: 32 });
    assert.equal(take(preRoll.since(0)), [5]);
    put(6, { width: 32, turn: { rotate: 180, flip: false } });
    assert.equal(take(preRoll.since(0)), [6]);
    preRoll.clear();
  });

  test("what was handed out outlives it", () => {
    const { slab, preRoll } = filled({ longestMs: 5000, bytes: 1e9 }, 5);
    const held = preRoll.since(300_000);
    const near = preRoll.nearest(140_000);
    assert.is(near?.capturedUs, 100_000);
    preRoll.clear();
    assert.is(slab.frames, 3);
    assert.equal(take([...held, ...(near ? [near] : [])]), [3, 4, 1]);
    assert.is(slab.frames, 0);
  });
});
