import { join } from "node:path";
import * as assert from "uvu/assert";
import { systemClock } from "../../../src/base/node/time.ts";
import { openCamera } from "../../../src/device/camera/camera.ts";
import { squared } from "../../../src/device/camera/footage.ts";
import { run } from "../../lib/footage.ts";
import { suite } from "../../lib/suite.ts";
import { temporaryFolder } from "../../lib/world.ts";

/** PAL DV at 4:3, black, with a box that is 96 pixels high and, shown as it is meant, as wide. */
const scene = "color=black:s=720x576:r=10,drawbox=x=300:y=240:w=90:h=96:c=white:t=fill";

/** Size of the first picture, and of what is white in it. */
async function shape(source: string, format?: "YUYV") {
  const camera = await openCamera({
    ...{ source, slabBytes: 8 * 2 ** 20, clock: systemClock },
    ...{ signal: new AbortController().signal, replay: { speed: Number.POSITIVE_INFINITY } },
    ...(format ? { format } : {}),
  });
  const { width, height } = camera;
  for await (const frame of camera.frames) {
    assert.equal([frame.width, frame.height], [width, height]);
    const luma = await frame.luma({ width, height });
    frame.release();
    await camera.close();
    const isWhite = (x: number, y: number) => (luma[y * width + x] ?? 0) > 128;
    const columns = Array.from({ length: width }, (_, x) => x).filter((x) =>
      Array.from({ length: height }, (_, y) => y).some((y) => isWhite(x, y)),
    );
    const rows = Array.from({ length: height }, (_, y) => y).filter((y) =>
      columns.some((x) => isWhite(x, y)),
    );
    return { size: `${width}x${height}`, wide: columns.length, high: rows.length };
  }
  throw new Error("no picture");
}

const isNear = (side: number) => Math.abs(side - 96) <= 2;

suite("device/camera/footage", (test) => {
  test("oblong pixels become square: what is square in the film is square to who looks", async () => {
    await using folder = await temporaryFolder();
    const at = (name: string) => join(folder.path, name);
    const film = ["-v", "error", "-f", "lavfi", "-i", `${scene},setsar=16/15`, "-frames:v", "3"];
    await run("ffmpeg", [...film, "-c:v", "libx264", at("film.mp4")]);
    // A webcam's kind of film, which is else taken as it is.
    await run("ffmpeg", [...film, "-c:v", "mjpeg", "-pix_fmt", "yuvj420p", at("film.avi")]);
    const turn = ["-c", "copy", "-metadata:s:v:0", "rotate=90"];
    await run("ffmpeg", ["-v", "error", "-i", at("film.mp4"), ...turn, at("turned.mp4")]);
    const cases = [
      [at("film.mp4"), "768x576", undefined],
      [at("film.mp4"), "768x576", "YUYV"],
      [at("film.avi"), "768x576", undefined],
      [at("turned.mp4"), "576x768", undefined],
    ] as const;
    for (const [file, size, format] of cases) {
      const seen = await shape(file, format);
      assert.is(seen.size, size, file);
      assert.ok(isNear(seen.wide) && isNear(seen.high), `${file}: ${seen.wide} x ${seen.high}`);
    }
  });

  test("square pixels, unknown ones and what no film has stay as they are", () => {
    const cases: [number, number, string | undefined, number, number][] = [
      [720, 576, "16:15", 768, 576],
      [720, 576, "64:45", 1024, 576],
      [720, 480, "8:9", 640, 480],
      [1440, 1080, "4:3", 1920, 1080],
      [352, 576, "24:11", 768, 576],
      [4096, 2160, "2:1", 4096, 1080],
      [1281, 721, "1:1", 1281, 721],
      [1280, 720, undefined, 1280, 720],
      [1280, 720, "0:1", 1280, 720],
      [1280, 720, "1:0", 1280, 720],
      [1280, 720, "N/A", 1280, 720],
      [1280, 720, "5:1", 1280, 720],
      [1280, 720, "1:1000000", 1280, 720],
      [2, 720, "1:4", 2, 720],
    ];
    for (const [width, height, ratio, wide, high] of cases) {
      assert.equal(squared(width, height, ratio), { width: wide, height: high }, ratio);
    }
  });
});
