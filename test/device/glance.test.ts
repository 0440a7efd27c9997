import * as assert from "uvu/assert";
import { openSlab } from "../../src/device/camera/camera.ts";
import { openGlance } from "../../src/device/glance.ts";
import { suite } from "../lib/suite.ts";

const size = { width: 64, height: 48 };

/** Frames out of a slab, whose fill shows whether all references were given back. */
function world() {
  const slab = openSlab({ slabBytes: 1 << 20 });
  const glance = openGlance();
  let count = 0;
  return {
    glance,
    offer(times: number) {
      for (let i = 0; i < times; i++) {
        const about = { format: "GREY", ...size, capturedUs: ++count, sequence: count } as const;
        const frame = slab.put(new Uint8Array(size.width * size.height), about);
        glance.offer(frame);
        frame.release();
      }
    },
    left: () => slab.usage().frames,
  };
}

suite("device/glance", (test) => {
  test("nobody looks: nothing is held", () => {
    const { offer, left } = world();
    offer(3);
    assert.is(left(), 0);
  });

  test("the newest picture, and no queue; closed, it holds nothing and its frames end", async () => {
    const { glance, offer, left } = world();
    const { frames, close } = glance.look(new AbortController().signal);
    const seen: number[] = [];
    const looking = (async () => {
      for await (const frame of frames) {
        seen.push(frame.capturedUs);
        frame.release();
      }
    })();
    offer(3);
    assert.is(left(), 1);
    await new Promise((resolve) => setImmediate(resolve));
    offer(2);
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(seen, [3, 5]);
    offer(1);
    await close();
    await looking;
    offer(1);
    assert.is(left(), 0);
  });

  test("a signal that aborts ends it, and another may look then", async () => {
    const { glance, offer, left } = world();
    const over = new AbortController();
    const first = glance.look(over.signal);
    over.abort();
    for await (const frame of first.frames) assert.unreachable(String(frame.capturedUs));
    const second = glance.look(new AbortController().signal);
    offer(1);
    for await (const frame of second.frames) {
      assert.is(frame.capturedUs, 1);
      frame.release();
      break;
    }
    await second.close();
    assert.is(left(), 0);
  });
});
