import { spawnSync } from "node:child_process";
import { equal, is } from "uvu/assert";
import { drawCounter, readCounter } from "./counter.ts";
import { suite } from "./suite.ts";

/** A picture with a gradient and noise, the same for the same seed. */
function scene(width: number, height: number, seed: number): Uint8Array {
  let state = seed * 2654435761 + 1;
  return Uint8Array.from({ length: width * height }, (_, i) => {
    state = (state * 1103515245 + 12345) & 0x7fffffff;
    return 40 + ((i % width) / width) * 150 + ((state >> 16) % 40);
  });
}

const grey = ["-f", "rawvideo", "-pix_fmt", "gray"];

function ffmpeg(input: Uint8Array, args: string[]): Uint8Array {
  const run = spawnSync("ffmpeg", ["-v", "error", ...args, "pipe:1"], {
    input,
    maxBuffer: 1 << 26,
  });
  equal([run.status, run.stderr.toString()], [0, ""]);
  return run.stdout;
}

suite("frame counter", (test) => {
  test("reads back every count it draws", () => {
    const size = { width: 320, height: 180 };
    const luma = scene(size.width, size.height, 1);
    for (let count = 0; count < 65536; count += 7) {
      drawCounter(luma, size, count);
      is(readCounter(luma, size), count);
    }
  });

  test(
    "survives poor JPEG, starved H.264 and scaling",
    () => {
      const jpeg = ["-c:v", "mjpeg", "-q:v", "20", "-pix_fmt", "yuvj420p"];
      const h264 = ["-c:v", "libx264", "-crf", "40", "-pix_fmt", "yuv420p"];
      const counts = [0, 1, 0xaaaa, 0xffff, 12345];
      for (const [width, height] of [
        [1280, 720],
        [768, 576],
        [640, 360],
      ] as const) {
        const pictures = counts.map((count) => {
          const luma = scene(width, height, count);
          drawCounter(luma, { width, height }, count);
          return luma;
        });
        const raw = Buffer.concat(pictures);
        const from = [...grey, "-video_size", `${width}x${height}`, "-i", "pipe:0"];
        for (const codec of [jpeg, h264]) {
          const encoded = ffmpeg(raw, [...from, ...codec, "-f", "nut"]);
          for (const [w, h] of [
            [width, height],
            [width / 2, height / 2],
            [720, 405],
          ] as const) {
            const decoded = ffmpeg(encoded, ["-i", "pipe:0", "-vf", `scale=${w}:${h}`, ...grey]);
            const read = counts.map((_, i) =>
              readCounter(decoded.subarray(i * w * h, (i + 1) * w * h), { width: w, height: h }),
            );
            equal(read, counts, `${width}x${height} ${codec[1]} at ${w}x${h}`);
          }
        }
      }
    },
    { deadlineMs: 600_000 },
  );

  test("says nothing where there is no counter, or a mix of two", () => {
    const size = { width: 640, height: 360 };
    for (let seed = 0; seed < 20; seed++)
      is(readCounter(scene(size.width, size.height, seed), size), undefined);
    is(readCounter(new Uint8Array(640 * 360), size), undefined);
    is(readCounter(new Uint8Array(640 * 360).fill(255), size), undefined);
    is(readCounter(new Uint8Array(10), size), undefined);
    const wrong: number[] = [];
    const one = scene(640, 360, 1);
    const two = scene(640, 360, 1);
    for (let count = 0; count < 300; count++) {
      drawCounter(one, size, count);
      drawCounter(two, size, count + 1);
      const half = one.map((value, i) => (value + (two[i] ?? 0)) / 2);
      const read = readCounter(half, size);
      if (read !== undefined) wrong.push(read);
    }
    equal(wrong, []);
  });

  test("one flipped square never reads as another count", () => {
    const size = { width: 320, height: 180 };
    for (const count of [0, 1, 77, 4095, 65535])
      for (let square = 0; square < 26; square++) {
        const luma = scene(size.width, size.height, 3);
        drawCounter(luma, size, count);
        for (let row = 8; row < 16; row++)
          for (let x = 8 * (1 + square); x < 8 * (2 + square); x++) {
            const at = row * size.width + x;
            luma[at] = 251 - (luma[at] ?? 0);
          }
        is(readCounter(luma, size), undefined, `${count}, square ${square}`);
      }
  });
});
