import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import * as assert from "uvu/assert";
import { concat } from "../../../src/base/pure/bytes.ts";
import { isFailure } from "../../../src/base/pure/failure.ts";
import {
  type Encoder,
  type EncoderInput,
  type EncoderRun,
  probeEncoder,
} from "../../../src/device/record/encoder.ts";
import type { Fragment, InitSegment } from "../../../src/device/record/mp4.ts";
import {
  type Decoded,
  decodeVideo,
  drawPicture,
  makeJpegs,
  psnr,
  run as runProgram,
  type Size,
  splitJpegs,
} from "../../lib/footage.ts";
import { suite } from "../../lib/suite.ts";
import { temporaryFolder } from "../../lib/world.ts";

const size = { width: 640, height: 360 };
const upright = { rotate: 0, flip: false } as const;
const plain: EncoderInput = { ...size, fps: 15, turn: upright, halfSize: false };

type Segments = { init: InitSegment; fragments: Fragment[] };

async function collect(run: EncoderRun): Promise<Segments> {
  const fragments: Fragment[] = [];
  let init: InitSegment | undefined;
  for await (const segment of run.segments) {
    if (segment.kind === "init") init = segment;
    else fragments.push(segment);
  }
  if (!init) throw new Error("no init segment");
  return { init, fragments };
}

async function encode(encoder: Encoder, jpegs: Uint8Array[], timesUs: number[], input = plain) {
  const run = encoder.start(input);
  const reading = collect(run);
  for (const [i, jpeg] of jpegs.entries()) await run.write(jpeg, timesUs[i] ?? 0);
  run.end();
  const segments = await reading;
  const clip = concat([segments.init.bytes, ...segments.fragments.map((f) => f.bytes)]);
  return { ...segments, video: await decodeVideo(clip) };
}

function worst(pictures: Decoded[], of: Size): number {
  return Math.min(...pictures.map((p) => psnr(p.luma, drawPicture(p.number, of))));
}

/** Capture times in which the rate may change on the way, with a webcam's jitter. */
function times(...runs: [count: number, fps: number][]): number[] {
  const all: number[] = [];
  let at = 0;
  for (const [count, fps] of runs) {
    for (let i = 0; i < count; i++) {
      all.push(all.length === 0 ? 0 : Math.round(at) + ((all.length * 7919) % 3001));
      at += 1e6 / fps;
    }
  }
  return all;
}

suite("device/record/encoder", (test) => {
  test("the probe passes over an encoder that the machine does not have", async () => {
    const encoder = await probeEncoder({ ...size, fps: 15 });
    assert.ok(["libx264", "h264_v4l2m2m"].includes(encoder.name));
    assert.match(encoder.codec, /^avc1\.[0-9a-f]{6}$/);
  });

  test("without ffmpeg the probe says what to install", async () => {
    const error = await probeEncoder({ ...size, fps: 15, program: "no-such-ffmpeg" }).catch(
      (e) => e,
    );
    assert.ok(isFailure(error, "absent"));
    assert.match(error.hint ?? "", "apt-get install ffmpeg");
  });

  test("a program that is no ffmpeg is refused, not believed", async () => {
    const options = { ...size, fps: 15, names: ["libx264"] as const, program: "true" };
    const error = await probeEncoder(options).catch((e) => e);
    assert.ok(isFailure(error, "absent"));
    assert.match(error.message, "0 of 10 pictures");
  });

  test("an encoder that is slow to start is waited for, longer than a live one may be silent", async () => {
    await using folder = await temporaryFolder();
    const program = await writeProgram(folder.path, 'sleep 3\nexec ffmpeg "$@"');
    const options = { ...size, fps: 15, names: ["libx264"] as const, program, stalledMs: 1000 };
    assert.is((await probeEncoder(options)).name, "libx264");
  });

  test("one that hangs costs its trial, is told, and the next is taken", async () => {
    await using folder = await temporaryFolder();
    const program = await writeProgram(
      folder.path,
      'case " $* " in *h264_v4l2m2m*) exec sleep 1000 ;; esac\nexec ffmpeg "$@"',
    );
    const told: string[] = [];
    const onStalled = (name: string) => void told.push(name);
    const { name } = await probeEncoder({ ...size, fps: 15, program, trialMs: 20_000, onStalled });
    assert.equal([name, ...told], ["libx264", "h264_v4l2m2m"]);
  });

  test("when none answers it is not ffmpeg that is missing", async () => {
    await using folder = await temporaryFolder();
    const program = await writeProgram(folder.path, "exec sleep 1000");
    const error = await probeEncoder({ ...size, fps: 15, program, trialMs: 1000 }).catch((e) => e);
    assert.ok(isFailure(error, "stalled"), String(error));
    assert.match(error.message, /h264_v4l2m2m: .*; libx264: ffmpeg has stopped answering/);
    assert.not.match(error.hint ?? "", "Install");
  });

  test("a trial ends with its signal, and its ffmpeg too", async () => {
    await using folder = await temporaryFolder();
    const pid = join(folder.path, "pid");
    const program = await writeProgram(
      folder.path,
      `echo $$ > ${pid}.new; mv ${pid}.new ${pid}
exec sleep 1000`,
    );
    const stop = new AbortController();
    const options = { ...size, fps: 15, program, trialMs: 1_000_000, signal: stop.signal };
    const trial = probeEncoder(options).catch((e) => e);
    while (!(await readFile(pid, "utf8").catch(() => ""))) await wait(50);
    const reason = new Error("enough");
    stop.abort(reason);
    assert.is(await trial, reason);
    assert.not.ok(await alive(Number(await readFile(pid, "utf8"))));
    assert.is(await probeEncoder(options).catch((e) => e), reason);
  });

  const cases: [string, [number, number][]][] = [
    ["at 15 pictures a second", [[60, 15]]],
    ["at 7.5", [[30, 7.5]]],
    [
      "when the rate halves on the way and comes back",
      [
        [30, 15],
        [15, 7.5],
        [30, 15],
      ],
    ],
    [
      "after a gap of two seconds",
      [
        [20, 15],
        [1, 0.5],
        [20, 15],
      ],
    ],
  ];
  for (const [name, runs] of cases) {
    test(`every picture keeps its time ${name}`, async () => {
      const encoder = await probeEncoder({ ...size, fps: 15 });
      const at = times(...runs);
      const jpegs = await makeJpegs(at.length, size);
      const { init, fragments, video } = await encode(encoder, jpegs, at);
      assert.is(video.codec, "h264");
      assert.is(video.range, "tv");
      assert.equal(video.size, size);
      assert.equal({ width: init.width, height: init.height }, size);
      assert.equal(
        video.pictures.map((p) => p.number),
        at.map((_, i) => i),
      );
      const off = video.pictures.map((p, i) => Math.abs(p.seconds * 1e6 - (at[i] ?? 0)));
      assert.ok(Math.max(...off) < 2, `a picture is ${Math.max(...off)} µs off`);
      const quality = worst(video.pictures, size);
      assert.ok(quality >= 30, `worst picture ${quality.toFixed(1)} dB`);
      console.log(
        `measured: ${name}: worst picture ${quality.toFixed(1)} dB, ${Math.max(...off)} µs off`,
      );

      // What the fragments say of themselves is what a player sees.
      assert.is(
        fragments.reduce((sum, f) => sum + f.samples, 0),
        at.length,
      );
      let index = 0;
      for (const fragment of fragments) {
        assert.is(fragment.start, at[index]);
        assert.is(fragment.key, video.pictures[index]?.key);
        index += fragment.samples;
        if (index < at.length) assert.is(fragment.start + fragment.duration, at[index]);
      }
      const keys = video.pictures.filter((p) => p.key).map((p) => p.seconds);
      const last = (at.at(-1) ?? 0) / 1e6;
      for (let s = 0; s <= last; s++) {
        const due = at.find((t) => t >= s * 1e6) ?? 0;
        assert.ok(
          keys.some((k) => Math.abs(k * 1e6 - due) < 2),
          `no key frame at second ${s}`,
        );
      }
    });
  }

  test("turned, mirrored, odd and halved pictures come out upright and even", async () => {
    const encoder = await probeEncoder({ ...size, fps: 15 });
    const jpegs = await makeJpegs(4, size);
    const turned = await encode(encoder, jpegs, times([4, 15]), {
      ...plain,
      turn: { rotate: 90, flip: false },
    });
    assert.equal(turned.video.size, { width: 360, height: 640 });
    const [first] = turned.video.pictures;
    const source = drawPicture(0, size);
    const back = new Uint8Array(source.length);
    for (let y = 0; y < 360; y++) {
      for (let x = 0; x < 640; x++) back[y * 640 + x] = first?.luma[x * 360 + (359 - y)] ?? 0;
    }
    assert.ok(psnr(back, source) > 30, "a clockwise turn puts the left column on top");

    const over = await encode(encoder, jpegs, times([4, 15]), {
      ...plain,
      turn: { rotate: 180, flip: true },
    });
    const upsideDown = new Uint8Array(source.length);
    for (let y = 0; y < 360; y++)
      upsideDown.set(source.subarray(y * 640, y * 640 + 640), (359 - y) * 640);
    assert.ok(psnr(over.video.pictures[0]?.luma ?? source, upsideDown) > 30);

    const odd = { width: 322, height: 242 };
    const half = await encode(encoder, await makeJpegs(4, odd), times([4, 15]), {
      ...plain,
      ...odd,
      halfSize: true,
    });
    assert.equal(half.video.size, { width: 160, height: 120 });
    assert.equal(
      half.video.pictures.map((p) => p.number),
      [0, 1, 2, 3],
    );
  });

  test("noise is capped at the bit rate", async () => {
    const encoder = await probeEncoder({ ...size, fps: 15 });
    const jpegs: Uint8Array[] = await makeNoise(75);
    const run = encoder.start({ ...plain, width: 1280, height: 720 });
    const reading = collect(run);
    for (const [i, jpeg] of jpegs.entries()) await run.write(jpeg, Math.round((i * 1e6) / 15));
    run.end();
    const { fragments } = await reading;
    const bitsPerSecond = (fragments.reduce((sum, f) => sum + f.bytes.length, 0) * 8) / 5;
    console.log(`measured: 720p noise ${(bitsPerSecond / 1e6).toFixed(2)} Mbit/s`);
    // One second of buffer on top of the rate; with a dozen processors its slices are a little off.
    assert.ok(bitsPerSecond < 2_000_000 * 1.4, `${bitsPerSecond} bit/s`);
  });

  test("a fragment is out within half a second and a picture of its first", async () => {
    const encoder = await probeEncoder({ ...size, fps: 15 });
    const jpegs = await makeJpegs(9, size);
    const begun = performance.now();
    const run = encoder.start(plain);
    for (const [i, jpeg] of jpegs.entries()) await run.write(jpeg, Math.round((i * 1e6) / 15));
    // The input stays open: a live stream's end never comes to push things out.
    const kinds: string[] = [];
    for await (const segment of run.segments) {
      kinds.push(segment.kind);
      if (segment.kind === "fragment") break;
    }
    console.log(`measured: spawn to first fragment ${Math.round(performance.now() - begun)} ms`);
    assert.equal(kinds, ["init", "fragment"]);
  });

  test("killed on the way: what was out stands, then it says so, and the next one works", async () => {
    const encoder = await probeEncoder({ ...size, fps: 15 });
    const jpegs = await makeJpegs(30, size);
    const run = encoder.start(plain);
    for (const [i, jpeg] of jpegs.entries()) await run.write(jpeg, Math.round((i * 1e6) / 15));
    const got: Uint8Array[] = [];
    const error = await (async () => {
      for await (const segment of run.segments) {
        got.push(segment.bytes);
        if (got.length === 3) process.kill(run.pid ?? 0, "SIGKILL");
      }
    })().catch((e) => e);
    assert.ok(isFailure(error, "gone"), String(error));
    assert.match(error.message, "SIGKILL");
    assert.ok((await decodeVideo(concat(got))).pictures.length >= 15);
    // Neither call hangs or throws on a dead encoder.
    await run.write(jpegs[0] ?? new Uint8Array(), 5_000_000);
    run.end();
    const next = await encode(encoder, jpegs, times([30, 15]));
    assert.is(next.video.pictures.length, 30);
  });

  test("an ffmpeg that hangs is given up", async () => {
    const encoder = await probeEncoder({ ...size, fps: 15, stalledMs: 2000 });
    const jpegs = await makeJpegs(2, size);
    const run = encoder.start(plain);
    await run.write(jpegs[0] ?? new Uint8Array(), 0);
    process.kill(run.pid ?? 0, "SIGSTOP");
    run.end();
    const error = await collect(run).catch((e) => e);
    assert.ok(isFailure(error, "stalled"), String(error));
    assert.not.ok(await alive(run.pid));
  });

  test("ffmpeg has no core file, no foreign environment, and goes when it is left", async () => {
    const encoder = await probeEncoder({ ...size, fps: 15 });
    const run = encoder.start(plain);
    // What limits it becomes it, step by step.
    const commandOf = () => readFile(`/proc/${run.pid}/cmdline`, "latin1").catch(() => "");
    while (!/ffmpeg$/.test((await commandOf()).split("\0")[0] ?? "")) await wait(20);
    const limits = await readFile(`/proc/${run.pid}/limits`, "utf8");
    assert.match(limits, /Max core file size\s+1\s+1/);
    const environment = (await readFile(`/proc/${run.pid}/environ`, "latin1")).split("\0");
    assert.equal(
      environment
        .filter(Boolean)
        .map((e) => e.split("=")[0])
        .sort(),
      ["LC_ALL", "PATH"],
    );
    await run.kill();
    await run.kill();
    assert.not.ok(await alive(run.pid));
  });
});

async function writeProgram(folder: string, script: string): Promise<string> {
  const file = join(folder, "ffmpeg");
  await writeFile(file, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return file;
}

async function alive(pid: number | undefined): Promise<boolean> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  return status !== "" && !/State:\s+Z/.test(status);
}

async function makeNoise(count: number): Promise<Uint8Array[]> {
  const picture = "nullsrc=s=1280x720:r=15,format=gray,noise=alls=60:allf=t";
  const args = ["-v", "error", "-f", "lavfi", "-i", picture, "-frames:v", String(count)];
  const bytes = await runProgram("ffmpeg", [
    ...args,
    "-pix_fmt",
    "yuvj420p",
    "-c:v",
    "mjpeg",
    "-q:v",
    "5",
    "-f",
    "image2pipe",
    "-",
  ]);
  return splitJpegs(bytes);
}
