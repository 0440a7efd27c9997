import * as assert from "uvu/assert";
import { ManualClock } from "../../src/base/pure/clock.ts";
import { isFailure } from "../../src/base/pure/failure.ts";
import { openSnapshots } from "../../src/device/snapshot.ts";
import { FakeSlab } from "../fakes/frame.ts";
import { pattern } from "../lib/sealed.ts";
import { suite } from "../lib/suite.ts";

const picture = (bytes: number) => ({
  jpeg: pattern(bytes),
  ...{ width: 2560, height: 1440, capturedUs: 7 },
});

suite("snapshot", (test) => {
  test("the next picture, no wider than 1920, and every reference goes back", async () => {
    const slab = new FakeSlab();
    const snapshots = openSnapshots({ clock: new ManualClock() });
    const before = slab.put(picture(4000));
    snapshots.offer(before);
    before.release();
    const [one, two] = [snapshots.take(), snapshots.take()];
    const frame = slab.put(picture(5000));
    snapshots.offer(frame);
    frame.release();
    for (const taken of [await one, await two]) {
      assert.equal(taken.bytes, pattern(5000));
      assert.equal([taken.width, taken.height, taken.capturedUs], [1920, 1080, 7]);
    }
    assert.is(slab.frames, 0);
  });

  test("none within five seconds: said, and a later one is not kept", async () => {
    const slab = new FakeSlab();
    const clock = new ManualClock();
    const snapshots = openSnapshots({ clock });
    const taking = snapshots.take().catch((error) => error);
    clock.advance(5000);
    const failure = await taking;
    assert.ok(isFailure(failure, "gone"));
    const frame = slab.put(picture(100));
    snapshots.offer(frame);
    frame.release();
    assert.is(slab.frames, 0);
  });

  test("a picture that cannot be made small enough is refused, and given back", async () => {
    const slab = new FakeSlab();
    const snapshots = openSnapshots({ clock: new ManualClock() });
    const taking = snapshots.take().catch((error) => error);
    const frame = slab.put(picture(2 ** 20 + 1));
    snapshots.offer(frame);
    frame.release();
    assert.ok(isFailure(await taking, "full"));
    assert.is(slab.frames, 0);
  });
});
