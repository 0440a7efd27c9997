import { execFile } from "node:child_process";
import { copyFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import * as assert from "uvu/assert";
import { type Failure, isFailure } from "../../../src/base/pure/failure.ts";
import { type Picture, readPictures } from "../../../src/device/detect/pictures.ts";
import { modelsFolder } from "../../fakes/detector.ts";
import { suite } from "../../lib/suite.ts";
import { temporaryFolder } from "../../lib/world.ts";

const run = promisify(execFile);
const photograph = join(modelsFolder, "pictures/coffee.jpg"); // 600 x 400

async function ffmpeg(...args: string[]): Promise<void> {
  await run("ffmpeg", ["-v", "error", "-y", ...args]);
}

async function readAll(file: string, fps = 5): Promise<Picture[]> {
  const pictures: Picture[] = [];
  for await (const picture of readPictures(file, { fps })) pictures.push(picture);
  return pictures;
}

async function failureOf(promise: Promise<unknown>): Promise<Failure> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(isFailure(error), `a Failure, not ${error}`);
  return error as Failure;
}

const size = ({ width, height }: Picture) => `${width}x${height}`;
const numbers = (pictures: Picture[]) => pictures.map(({ index }) => index);

/** A film whose picture number n is grey of brightness 10 n, so that each tells its number. */
async function counted(path: string, fps: number, frames: number, ...rest: string[]) {
  const source = `color=black:size=64x48:rate=${fps},geq=lum=16+N*10:cb=128:cr=128`;
  const seconds = String(frames / fps);
  await ffmpeg("-f", "lavfi", "-i", source, "-t", seconds, "-pix_fmt", "yuv420p", ...rest, path);
}

/** The number a picture of `counted` shows. */
function shown({ bytes, width }: Picture): number {
  const level = bytes[(24 * width + 32) * 3] ?? 0;
  return Math.round((level * 219) / 255 / 10);
}

suite("pictures", (test) => {
  test("a film of oblong pixels comes in square ones", async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, "dv.mp4");
    for (const [ratio, expected] of [
      ["16/15", "68x48"],
      ["8/9", "56x48"],
      ["100/1", "64x48"],
      ["1", "64x48"],
    ]) {
      await counted(file, 5, 3, "-vf", `setsar=${ratio}`);
      const pictures = await readAll(file);
      assert.equal(pictures.map(size), [expected, expected, expected], ratio);
      assert.equal(numbers(pictures), [0, 1, 2]);
      assert.equal(pictures.map(shown), [0, 1, 2]);
    }
  });

  test("an upright JPEG is passed on as it is", async () => {
    const [picture, ...rest] = await readAll(photograph);
    assert.is(rest.length, 0);
    assert.ok(picture && picture.format === "MJPG" && picture.index === undefined);
    assert.is(size(picture), "600x400");
    assert.equal(Buffer.from(picture.bytes), await readFile(photograph));
  });

  test("images of many kinds, whatever their names, are one picture without a number", async () => {
    await using folder = await temporaryFolder();
    for (const ending of ["png", "bmp", "webp", "tiff", "gif"]) {
      const path = join(folder.path, `a.${ending}`);
      await ffmpeg("-i", photograph, path);
      const strange = join(folder.path, ending === "gif" ? "-: gif.jpg" : `-%03d: ${ending}.jpg`);
      await copyFile(path, strange);
      for (const file of [path, strange]) {
        const [picture, ...rest] = await readAll(file);
        assert.is(rest.length, 0, file);
        assert.ok(picture && picture.format === "RGB3" && picture.index === undefined, file);
        assert.is(size(picture), "600x400", file);
      }
    }
  });

  test("a PNG's pixels come out as they went in", async () => {
    await using folder = await temporaryFolder();
    const pixels = Uint8Array.from({ length: 7 * 5 * 3 }, (_, i) => (i * 37) % 256);
    const raw = join(folder.path, "raw");
    await writeFile(raw, pixels);
    const png = join(folder.path, "a.png");
    await ffmpeg("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "7x5", "-i", raw, png);
    const [picture] = await readAll(png);
    assert.equal(picture?.bytes, pixels);
  });

  test("EXIF orientation is undone", async () => {
    await using folder = await temporaryFolder();
    const bytes = await readFile(photograph);
    for (const orientation of [1, 2, 3, 4, 5, 6, 7, 8]) {
      const tiff = [0x4d, 0x4d, 0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1];
      const body = [0x45, 0x78, 0x69, 0x66, 0, 0, ...tiff, 0, orientation, 0, 0, 0, 0, 0, 0];
      const segment = [0xff, 0xe1, 0, body.length + 2, ...body];
      const file = join(folder.path, `${orientation}.jpg`);
      const head = bytes.subarray(0, 2);
      await writeFile(file, Buffer.concat([head, Buffer.from(segment), bytes.subarray(2)]));
      const [picture] = await readAll(file);
      assert.ok(picture);
      assert.is(size(picture), orientation > 4 ? "400x600" : "600x400", `${orientation}`);
    }
  });

  test("a video's frames carry its own numbers, chosen by its own time", async () => {
    await using folder = await temporaryFolder();
    const film = join(folder.path, "film.mp4");
    await counted(film, 10, 20, "-c:v", "libx264", "-crf", "5");
    const some = await readAll(film, 5);
    assert.equal(numbers(some), [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]);
    assert.equal(some.map(shown), numbers(some));
    const all = await readAll(film, 1000);
    assert.is(all.length, 20);
    assert.equal(all.map(shown), numbers(all));
    assert.equal(numbers(await readAll(film, 0.5)), [0]);
    assert.equal(numbers(await readAll(film, 3)), [0, 4, 7, 10, 14, 17]);
  });

  test("JPEGs one after the other are a film by its name", async () => {
    await using folder = await temporaryFolder();
    for (const name of ["film.mjpeg", "FILM.MJPG"]) {
      const film = join(folder.path, name);
      await counted(film, 10, 20, "-c:v", "mjpeg", "-f", "mjpeg");
      // It has no times: 25 pictures a second.
      assert.equal(numbers(await readAll(film, 5)), [0, 5, 10, 15]);
    }
    const one = join(folder.path, "one.mjpeg");
    await copyFile(photograph, one);
    assert.equal((await readAll(one)).map(size), ["600x400"]);
  });

  test("a rate that changes half-way, and pictures out of order, are numbered right", async () => {
    await using folder = await temporaryFolder();
    const film = join(folder.path, "film.mkv");
    // From 10 to 2.5 pictures a second after the tenth; B-frames are stored out of order.
    const slower = "setpts='round(if(lt(N,10),N,10+(N-10)*4)/10/TB)'";
    await counted(
      film,
      10,
      20,
      ...["-vf", slower, "-fps_mode", "passthrough", "-c:v", "libx264", "-bf", "2", "-crf", "5"],
    );
    const some = await readAll(film, 5);
    assert.equal(numbers(some).slice(0, 8), [0, 2, 4, 6, 8, 10, 11, 12]);
    assert.equal(some.map(shown), numbers(some));
  });

  test("what cannot be read says why, and whose fault it is", async () => {
    await using folder = await temporaryFolder();
    const file = async (name: string, bytes: string | Uint8Array) => {
      await writeFile(join(folder.path, name), bytes);
      return join(folder.path, name);
    };
    assert.is((await failureOf(readAll(join(folder.path, "none")))).kind, "absent");
    assert.is((await failureOf(readAll(folder.path))).kind, "refused");
    assert.match((await failureOf(readAll(await file("empty", "")))).message, /empty/);
    const text = await failureOf(readAll(await file("text.jpg", "not a picture at all\n")));
    assert.is(text.kind, "refused");
    assert.not.match(text.message, /text\.jpg|0x/);
    await ffmpeg("-i", photograph, join(folder.path, "whole.png"));
    const whole = await readFile(join(folder.path, "whole.png"));
    const cut = await failureOf(readAll(await file("cut.png", whole.subarray(0, 100_000))));
    assert.is(cut.kind, "refused");
  });

  test("leaving a film half-way, or stopping, leaves no ffmpeg behind", async () => {
    await using folder = await temporaryFolder();
    const film = join(folder.path, "film.mp4");
    await counted(film, 25, 200, "-c:v", "mpeg4");
    for await (const picture of readPictures(film, { fps: 1000 })) {
      if (picture.index === 3) break;
    }
    const { stdout } = await run("ps", ["-eo", "args"]);
    assert.not.ok(stdout.includes(film), "it still runs");
  });
});
