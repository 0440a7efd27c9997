import * as assert from "uvu/assert";
import { concat, fromText, Writer } from "../../../src/base/pure/bytes.ts";
import { isFailure } from "../../../src/base/pure/failure.ts";
import { type Fragment, type InitSegment, Mp4Splitter } from "../../../src/device/record/mp4.ts";
import { run } from "../../lib/footage.ts";
import { suite } from "../../lib/suite.ts";

/** ffmpeg's own fragmented MP4: 20 pictures at 10 a second, a key frame and a fragment each second. */
async function realClip(): Promise<Uint8Array> {
  const source = ["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=10", "-frames:v", "20"];
  const target = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "10"];
  const flags = "empty_moov+default_base_moof+frag_keyframe+skip_trailer";
  const container = ["-f", "mp4", "-bf", "0", "-movflags", flags, "-"];
  // A copy: the slice() of a Buffer is a view, and tests change what they slice.
  return new Uint8Array(await run("ffmpeg", ["-v", "error", ...source, ...target, ...container]));
}

function split(bytes: Uint8Array, step: number): (InitSegment | Fragment)[] {
  const splitter = new Mp4Splitter();
  const found: (InitSegment | Fragment)[] = [];
  for (let at = 0; at < bytes.length; at += step) {
    found.push(...splitter.push(bytes.slice(at, at + step)));
  }
  splitter.end();
  return found;
}

function box(type: string, ...body: Uint8Array[]): Uint8Array {
  const whole = concat(body);
  return new Writer()
    .u32(8 + whole.length)
    .raw(fromText(type))
    .raw(whole)
    .done();
}

function stageOf(work: () => unknown): string | undefined {
  try {
    work();
  } catch (error) {
    if (!isFailure(error, "corrupt")) throw error;
    return error.stage;
  }
  return undefined;
}

/** Repeatable numbers below a bound (mulberry32). */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

suite("device/record/mp4", (test) => {
  test("splits alike whole, in pieces and byte by byte, and loses nothing", async () => {
    const clip = await realClip();
    for (const step of [clip.length, 1000, 7, 1]) {
      const [init, ...fragments] = split(clip, step);
      assert.is(init?.kind, "init");
      if (init?.kind !== "init") return;
      assert.equal([init.width, init.height], [320, 240]);
      assert.match(init.codec, /^avc1\.42c0/);
      assert.is(fragments.length, 2);
      for (const [i, fragment] of fragments.entries()) {
        if (fragment.kind !== "fragment") throw new Error("a second init segment");
        assert.is(fragment.samples, 10);
        assert.is(fragment.start / init.timescale, i);
        assert.is(fragment.duration / init.timescale, 1);
        assert.ok(fragment.key);
      }
      const whole = concat([init, ...fragments].map((s) => s.bytes));
      assert.equal(Buffer.compare(whole, clip), 0);
    }
  });

  test("each refusal names its check", async () => {
    const clip = await realClip();
    const [init, first] = split(clip, clip.length);
    if (!init || !first) throw new Error("no clip");
    const empty = new Uint8Array();
    const cases: [string, string, Uint8Array][] = [
      ["a box of 7 bytes", "box", new Writer().u32(7).raw(fromText("ftyp")).done()],
      ["a 64-bit box", "box", new Writer().u32(1).raw(fromText("ftyp")).u64(100).done()],
      ["a box to the end", "box", new Writer().u32(0).raw(fromText("ftyp")).done()],
      ["an unknown box", "box", box("evil", empty)],
      ["a huge mdat", "box", new Writer().u32(0x7fffffff).raw(fromText("mdat")).done()],
      ["a fragment first", "order", first.bytes],
      ["mdat first", "order", box("mdat", empty)],
      ["a second init segment", "order", concat([init.bytes, init.bytes])],
      ["an empty moov", "box", concat([box("ftyp", empty), box("moov", new Uint8Array(100))])],
      ["an empty moof", "box", concat([init.bytes, box("moof"), box("mdat")])],
      ["an end within", "cut", concat([init.bytes, first.bytes.subarray(0, -1)])],
      ["an end between moof and mdat", "cut", concat([init.bytes, box("moof", empty)])],
    ];
    for (const [name, stage, bytes] of cases) {
      assert.is(
        stageOf(() => split(bytes, 64)),
        stage,
        name,
      );
    }
  });

  test("an encoder that gave no parameter sets is refused", async () => {
    const [init] = split(await realClip(), 4096);
    if (!init) throw new Error("no clip");
    const at = Buffer.from(init.bytes).indexOf("avcC");
    const broken = init.bytes.slice();
    broken[at + 9] = 0xe0;
    assert.is(
      stageOf(() => split(broken, 4096)),
      "init",
    );
  });

  const mutated = async () => {
    const clip = await realClip();
    const stages: Record<string, number> = {};
    const random = numbers(1);
    // The boxes before the first picture's bytes are what is parsed: aim there.
    const head = Buffer.from(clip).indexOf("mdat") + 8;
    for (let round = 0; round < 100_000; round++) {
      const bytes = clip.slice(0, random(10) === 0 ? random(clip.length) : clip.length);
      for (let flips = random(4); flips >= 0; flips--) bytes[random(head)] = random(256);
      const stage = stageOf(() => split(bytes, bytes.length || 1)) ?? "accepted";
      stages[stage] = (stages[stage] ?? 0) + 1;
    }
    console.log(`measured: mutated clips by outcome: ${JSON.stringify(stages)}`);
    for (const stage of ["accepted", "box", "fragment", "cut"])
      assert.ok((stages[stage] ?? 0) > 0, stage);
  };
  test("100,000 mutated clips: split or refused, in bounded time", mutated, {
    deadlineMs: 580_000,
  });
});
