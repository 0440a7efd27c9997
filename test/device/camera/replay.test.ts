import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { systemClock } from "../../../src/base/node/time.ts";
import { ManualClock } from "../../../src/base/pure/clock.ts";
import { isFailure } from "../../../src/base/pure/failure.ts";
import {
  type Camera,
  type CameraEvent,
  type CameraOptions,
  type Frame,
  openCamera,
} from "../../../src/device/camera/camera.ts";
import { drawPicture, makeJpegs, psnr, readNumber, run } from "../../lib/footage.ts";
import { suite } from "../../lib/suite.ts";
import { temporaryFolder } from "../../lib/world.ts";

const size = { width: 320, height: 240 };

/** H.264 footage of numbered pictures; `vary` makes the second half half as fast. */
async function makeFootage(folder: string, count: number, vary = false): Promise<string> {
  const raw = new Uint8Array(count * size.width * size.height);
  for (let i = 0; i < count; i++) raw.set(drawPicture(i, size), i * size.width * size.height);
  const file = join(folder, "footage: a-test.mp4");
  const half = count / 2;
  const slow = `setpts='if(lt(N,${half}),N,${half}+2*(N-${half}))/10/TB'`;
  await run(
    "ffmpeg",
    [
      ...[
        "-v",
        "error",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "gray",
        "-s",
        "320x240",
        "-r",
        "10",
        "-i",
        "-",
      ],
      ...["-vf", vary ? `settb=1/1000,${slow}` : "null", "-fps_mode", "passthrough"],
      ...["-pix_fmt", "yuvj420p", "-c:v", "libx264", "-crf", "10", "-enc_time_base", "1:1000"],
      `file:${file}`,
    ],
    raw,
  );
  return file;
}

function open(source: string, choice: Partial<CameraOptions> = {}): Promise<Camera> {
  return openCamera({
    source,
    slabBytes: 4 * 1024 * 1024,
    clock: systemClock,
    signal: new AbortController().signal,
    ...choice,
  });
}

const asFast = { replay: { speed: Number.POSITIVE_INFINITY } };

async function readAll(camera: Camera, look: (frame: Frame) => Promise<void> | void) {
  for await (const frame of camera.frames) {
    await look(frame);
    frame.release();
  }
}

async function numberOf(frame: Frame): Promise<number> {
  return readNumber(await frame.luma(size), size);
}

suite("device/camera/replay", (test) => {
  for (const format of ["MJPG", "YUYV"] as const) {
    test(`as fast as it is read, as ${format}: every picture, its index and its time`, async () => {
      await using folder = await temporaryFolder();
      const camera = await open(await makeFootage(folder.path, 40, true), { ...asFast, format });
      assert.equal([camera.width, camera.height, camera.format], [320, 240, format]);
      const numbers: number[] = [];
      const times: number[] = [];
      let worst = Number.POSITIVE_INFINITY;
      await readAll(camera, async (frame) => {
        numbers.push(await numberOf(frame));
        times.push(frame.capturedUs);
        assert.is(frame.index, numbers.length - 1);
        assert.is(frame.sequence, numbers.length - 1);
        assert.is(frame.dropped, 0);
        worst = Math.min(
          worst,
          psnr(await frame.luma(size), drawPicture(numbers.length - 1, size)),
        );
      });
      assert.equal(
        numbers,
        Array.from({ length: 40 }, (_, i) => i),
      );
      // The footage's own times: ten a second, then five.
      const steps = times.slice(1).map((t, i) => t - (times[i] ?? 0));
      const off = steps.map((s, i) => Math.abs(s - (i < 20 ? 100_000 : 200_000)));
      // The file itself counts milliseconds.
      assert.ok(Math.max(...off) <= 1000, String(steps));
      // YUYV is video range, as cameras give it: its luma is not stretched.
      assert.ok(worst > (format === "MJPG" ? 35 : 28), `worst picture ${worst.toFixed(1)} dB`);
      await camera.close();
    });
  }

  test("at its own speed pictures come when they are due: none before, each then", async () => {
    await using folder = await temporaryFolder();
    const clock = new ManualClock();
    const camera = await open(await makeFootage(folder.path, 20), { clock });
    const late: number[] = [];
    const reading = readAll(camera, ({ capturedUs, dropped }) => {
      late.push(clock.monotonicUs() - capturedUs, dropped);
    });
    const until = async (count: number) => {
      while (late.length < 2 * count) await systemClock.sleep(1);
    };
    await until(1);
    for (let count = 1; count < 20; count++) {
      clock.advance(99);
      // However long it is: time stands still, and it is not due.
      await systemClock.sleep(10);
      clock.advance(1);
      await until(count + 1);
    }
    await reading;
    await camera.close();
    assert.equal(
      late,
      late.map(() => 0),
    );
    assert.is(late.length, 40);
  });

  test("at its own speed by the machine's own clock none comes too early, and what is late is counted", async () => {
    await using folder = await temporaryFolder();
    const camera = await open(await makeFootage(folder.path, 20));
    const late: number[] = [];
    const steps: number[] = [];
    let lastUs: number | undefined;
    let lost = 0;
    await readAll(camera, (frame) => {
      lost += frame.dropped;
      late.push((systemClock.monotonicUs() - frame.capturedUs) / 1000);
      if (lastUs !== undefined) steps.push(frame.capturedUs - lastUs);
      lastUs = frame.capturedUs;
    });
    assert.is(late.length + lost, 20);
    assert.ok(
      steps.every((s) => s % 100_000 === 0),
      String(steps),
    );
    assert.ok(
      late.every((ms) => ms >= 0),
      "never before it is due",
    );
    const middle = late.sort((a, b) => a - b)[late.length >> 1] ?? 0;
    console.log(`measured: at its own speed, late by ${middle.toFixed(1)} ms in the middle`);
    await camera.close();
    await camera.close();
  });

  test("a slow reader loses older pictures, and each loss is counted", async () => {
    await using folder = await temporaryFolder();
    const clock = new ManualClock();
    const camera = await open(await makeFootage(folder.path, 30), { clock });
    const seen: [number, number][] = [];
    for await (const frame of camera.frames) {
      seen.push([frame.index ?? -1, frame.dropped]);
      frame.release();
      for (let i = 0; i < 40; i++) {
        clock.advance(100);
        await systemClock.sleep(20);
      }
    }
    assert.is(seen.at(-1)?.[0], 29);
    // Two on any machine that runs; more where ffmpeg stands still in between.
    assert.ok(seen.length <= 15, JSON.stringify(seen));
    assert.is(
      seen.reduce((sum, [, dropped]) => sum + dropped, seen.length),
      30,
    );
    assert.is(camera.slab().frames, 0);
    await camera.close();
  });

  test("in a loop it begins again: indexes from 0, times go on", async () => {
    await using folder = await temporaryFolder();
    const camera = await open(await makeFootage(folder.path, 10), {
      replay: { speed: Number.POSITIVE_INFINITY, loop: true },
    });
    const indexes: (number | undefined)[] = [];
    const times: number[] = [];
    for await (const frame of camera.frames) {
      indexes.push(frame.index);
      times.push(frame.capturedUs);
      frame.release();
      if (indexes.length === 25) break;
    }
    assert.equal(
      indexes,
      Array.from({ length: 25 }, (_, i) => i % 10),
    );
    assert.ok(times.slice(1).every((t, i) => t - (times[i] ?? 0) === 100_000));
    await camera.close();
  });

  test("a full slab holds up reading, it loses nothing", async () => {
    await using folder = await temporaryFolder();
    const camera = await open(await makeFootage(folder.path, 30), {
      ...asFast,
      slabBytes: 200_000,
    });
    const held: Frame[] = [];
    const indexes: number[] = [];
    for await (const frame of camera.frames) {
      indexes.push(frame.index ?? -1);
      held.push(frame);
      if (held.length > 3) setTimeout(() => held.shift()?.release(), 2);
    }
    for (const frame of held) frame.release();
    assert.equal(
      indexes,
      Array.from({ length: 30 }, (_, i) => i),
    );
    await camera.close();
  });

  test("a JPEG picture and MJPEG footage are taken as they are", async () => {
    await using folder = await temporaryFolder();
    const [jpeg] = await makeJpegs(1, size, 77);
    const file = join(folder.path, "one.jpg");
    await writeFile(file, jpeg ?? "");
    const camera = await open(file, asFast);
    let count = 0;
    await readAll(camera, async (frame) => {
      count++;
      assert.is(Buffer.compare(frame.copy(), jpeg ?? new Uint8Array()), 0);
      assert.is(await numberOf(frame), 77);
    });
    assert.is(count, 1);
    await camera.close();
  });

  test("a turned camera and a picture of another kind", async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, "one.png");
    const source = "testsrc2=size=320x240:rate=1";
    await run("ffmpeg", ["-v", "error", "-f", "lavfi", "-i", source, "-frames:v", "1", file]);
    const camera = await open(file, { ...asFast, rotate: 90 });
    assert.equal([camera.width, camera.height], [240, 320]);
    let count = 0;
    await readAll(camera, (frame) => {
      count++;
      assert.equal([frame.width, frame.height], [240, 320]);
    });
    assert.is(count, 1);
    await camera.close();
  });

  test("what is no footage is refused with a hint; a broken end is told", async () => {
    await using folder = await temporaryFolder();
    const text = join(folder.path, "notes.txt");
    await writeFile(text, "not a picture\n".repeat(100));
    for (const file of [text, join(folder.path, "absent.mp4")]) {
      const error = await open(file).catch((e) => e);
      assert.ok(isFailure(error, "corrupt", "absent"), String(error));
    }
    const error = await open(text).catch((e) => e);
    assert.match(error.hint, "ffmpeg can play");
    const film = join(folder.path, "film.mp4");
    await writeFile(film, "not a film\n");
    const told = (await open(film).catch((e) => e)).message;
    assert.match(told, `${film} cannot be read as a picture or a video: `);
    assert.ok(!/ @ 0x|file:/.test(told), told);
    const pipe = join(folder.path, "pipe.mp4");
    await run("mkfifo", [pipe]);
    for (const source of [pipe, folder.path]) {
      const { signal } = new AbortController();
      const options = { source, slabBytes: 1 << 20, clock: systemClock, signal };
      const neither = await openCamera(options).catch((e) => e);
      assert.ok(isFailure(neither, "refused"), String(neither));
      assert.is(neither.message, `${source} is neither a camera nor a file`);
    }
    const nv12 = await open(text, { format: "NV12" }).catch((e) => e);
    assert.ok(isFailure(nv12, "refused"));

    // A playlist must not make us fetch what it names.
    const list = join(folder.path, "list.m3u8");
    await writeFile(list, "#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n");
    assert.ok(isFailure(await open(list).catch((e) => e), "corrupt"));
  });

  test("a file that turns bad on the way ends, and at its own speed says why", async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, "cut.mkv");
    const whole = await makeFootage(folder.path, 30);
    await run("ffmpeg", ["-v", "error", "-i", `file:${whole}`, "-c", "copy", file]);
    const bytes = await run("cat", [file]);
    await writeFile(file, bytes.subarray(0, bytes.length * 0.6));
    const events: CameraEvent[] = [];
    const camera = await open(file, { replay: { speed: 100 }, onEvent: (e) => events.push(e) });
    let count = 0;
    await readAll(camera, () => {
      count++;
    });
    assert.ok(count > 0 && count < 30, `${count} pictures`);
    assert.is(events[0]?.kind, "opened");
    await camera.close();
  });

  test("stopped by its signal the frames end and ffmpeg goes", async () => {
    await using folder = await temporaryFolder();
    const stop = new AbortController();
    const source = await makeFootage(folder.path, 30);
    const camera = await open(source, { signal: stop.signal, replay: { loop: true } });
    let count = 0;
    await readAll(camera, () => {
      if (++count === 3) stop.abort(new Error("enough"));
    });
    assert.ok(count < 10);
    await camera.close();
    const left = await run("sh", ["-c", `ps -eo args | grep -c '[f]ile:${source}' || true`]);
    assert.is(left.toString().trim(), "0");
  });
});
