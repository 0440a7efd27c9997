import * as assert from "uvu/assert";
import { addon, outcome } from "../lib/fake.ts";
import { suite } from "../lib/suite.ts";

const grain = 64;
const rounded = (length: number) => Math.ceil(length / grain) * grain;
const bytes = 1 << 18;

/** Grey pixels in lines of 100, or in one line, so that a picture has any length that is wanted. */
const label = (length: number) => {
  const width = length % 100 === 0 ? 100 : length;
  return { format: "GREY", width, height: length / width, capturedUs: 1, sequence: 0 };
};
const pattern = (length: number, seed: number) =>
  Uint8Array.from({ length }, (_, i) => (i * 31 + seed * 17) & 255);

/** Small, fast and the same each time (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

suite("slab", (test) => {
  test("after any history each slot holds its own bytes, and the count is exact", async () => {
    for (let seed = 1; seed <= 12; seed++) {
      const random = randomOf(seed);
      const capture = new addon.Capture({ slabBytes: bytes });
      const held: { handle: number; seed: number; length: number; references: number }[] = [];
      const stale: number[] = [];
      let refused = 0;
      for (let step = 0; step < 1500; step++) {
        const one = held[Math.floor(random() * held.length)];
        const dice = random();
        if (dice < 0.5 || !one) {
          const length = 1 + Math.floor(random() ** 3 * 16_000);
          const { largestFreeBytes } = capture.usage();
          const fits = rounded(length) <= largestFreeBytes;
          const got = await outcome(() => {
            const { handle } = capture.put(pattern(length, step), label(length));
            held.push({ handle, seed: step, length, references: 1 });
          });
          assert.is(got, fits ? "ok" : "full");
          refused += fits ? 0 : 1;
        } else if (dice < 0.6) {
          capture.retain(one.handle);
          one.references++;
        } else {
          capture.release(one.handle);
          if (--one.references === 0) {
            held.splice(held.indexOf(one), 1);
            stale.push(one.handle);
          }
        }
        const usage = capture.usage();
        assert.is(usage.frames, held.length);
        assert.is(
          usage.usedBytes,
          held.reduce((sum, { length }) => sum + rounded(length), 0),
        );
        assert.ok(usage.largestFreeBytes <= usage.bytes - usage.usedBytes);
      }
      assert.ok(refused > 0, "the slab was never full");
      for (const { handle, seed, length } of held) {
        assert.ok(Buffer.from(pattern(length, seed)).equals(capture.copy(handle)));
      }
      for (const handle of stale.slice(-200)) {
        assert.is(await outcome(() => capture.copy(handle)), "misuse");
        assert.is(await outcome(() => capture.release(handle)), "misuse");
        assert.is(await outcome(() => capture.retain(handle)), "misuse");
      }
      for (const { handle, references } of held) {
        for (let i = 0; i < references; i++) capture.release(handle);
      }
      assert.equal(capture.usage(), { bytes, usedBytes: 0, frames: 0, largestFreeBytes: bytes });
      await capture.close();
    }
  });

  test("pictures that come and go in order leave most of it usable", async () => {
    const random = randomOf(7);
    const capture = new addon.Capture({ slabBytes: 12 << 20 });
    const line: number[] = [];
    const kept: number[] = [];
    let worst = 1;
    for (let step = 0; step < 3000; step++) {
      const length = 100 * Math.floor(600 + random() * 1_200);
      for (;;) {
        const done = await outcome(() =>
          line.push(capture.put(new Uint8Array(length), label(length)).handle),
        );
        if (done === "ok") break;
        const { bytes: all, usedBytes } = capture.usage();
        worst = Math.min(worst, usedBytes / all);
        const oldest = line.shift();
        if (oldest === undefined) throw new Error("nothing left to give back");
        // Now and then one stays, as the best picture of a long visit does.
        if (random() < 0.003 && kept.length < 12) kept.push(oldest);
        else capture.release(oldest);
      }
    }
    console.log(`\nmeasured: slab filled to ${(100 * worst).toFixed(1)} % at the worst refusal`);
    assert.ok(worst > 0.85, `only ${worst}`);
    await capture.close();
  });

  test("a handle of the past never shows another picture", async () => {
    const capture = new addon.Capture({ slabBytes: 1 << 16 });
    const first = capture.put(pattern(100, 1), label(100)).handle;
    capture.release(first);
    const second = capture.put(pattern(100, 2), label(100)).handle;
    assert.is.not(first, second);
    assert.is(await outcome(() => capture.copy(first)), "misuse");
    assert.is(await outcome(() => capture.luma(first, { width: 2, height: 2 })), "misuse");
    assert.ok(Buffer.from(pattern(100, 2)).equals(capture.copy(second)));
    for (const wrong of [0, -1, 0.5, 2 ** 53, Number.NaN, second + 1, second + 2 ** 16]) {
      assert.is(await outcome(() => capture.copy(wrong)), "misuse", `${wrong}`);
    }
    for (const wrong of [undefined, null, "1", {}, 1n] as unknown as number[]) {
      assert.is(await outcome(() => capture.copy(wrong)), "misuse", String(wrong));
    }
    await capture.close();
  });

  test("never grows: more than fits is refused, also in number", async () => {
    const capture = new addon.Capture({ slabBytes: 1 << 20 });
    assert.is(
      await outcome(() => capture.put(new Uint8Array(1_048_600), label(1_048_600))),
      "full",
    );
    let count = 0;
    while ((await outcome(() => capture.put(new Uint8Array(1), label(1)))) === "ok") count++;
    assert.is(count, 4096);
    assert.is(capture.usage().bytes, 1 << 20);
    await capture.close();
  });

  test("wrong options are refused", async () => {
    const wrong = [
      {},
      { slabBytes: 100 },
      { slabBytes: 2 ** 40 },
      { slabBytes: Number.NaN },
      { slabBytes: -1 },
      { slabBytes: bytes, rotate: 45 },
      { slabBytes: bytes, masks: [[0, 0, 1, 1]] },
      { slabBytes: bytes, masks: [[0, 0, 1, 1, 2, 0]] },
      { slabBytes: bytes, masks: [[0, 0, 1, 1, Number.NaN, 0]] },
      { slabBytes: bytes, masks: "none" },
    ];
    for (const options of wrong) {
      const kind = await outcome(() => new addon.Capture(options as { slabBytes: number }));
      assert.is(kind, "misuse", JSON.stringify(options));
    }
  });

  test("put refuses what is not a picture", async () => {
    const capture = new addon.Capture({ slabBytes: bytes });
    const whole = { format: "GREY", width: 8, height: 8, capturedUs: 1, sequence: 0 };
    const put = (data: unknown, change = {}) =>
      outcome(() => capture.put(data as Uint8Array, { ...whole, ...change }));
    assert.is(await put(new Uint8Array(64)), "ok");
    assert.is(await put(new Uint8Array(63)), "corrupt");
    assert.is(await put(new Uint8Array(0)), "corrupt");
    assert.is(await put("bytes"), "misuse");
    assert.is(await put(undefined), "misuse");
    assert.is.not(await put(new Uint8Array(64), { format: "BA81" }), "ok");
    assert.is.not(await put(new Uint8Array(64), { width: 0 }), "ok");
    assert.is.not(await put(new Uint8Array(64), { width: 2 ** 31, height: 2 ** 31 }), "ok");
    assert.is(await put(new Uint8Array(64), { format: "MJPG" }), "corrupt");
    assert.is(capture.usage().frames, 1);
    await capture.close();
  });
});
