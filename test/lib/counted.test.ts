import { readFile } from "node:fs/promises";
import { equal, is, ok } from "uvu/assert";
import { countedFootage } from "./counted.ts";
import { readCounter } from "./counter.ts";
import { run } from "./footage.ts";
import { suite } from "./suite.ts";
import { temporaryFolder } from "./world.ts";

suite("counted footage", (test) => {
  for (const format of ["MJPG", "YUYV"] as const)
    test(
      `${format}: every picture is where the list says and carries its number`,
      async () => {
        await using folder = await temporaryFolder();
        const footage = await countedFootage({
          folder: folder.path,
          format,
          ...{ width: 640, height: 360 },
          rates: [
            [0, 15],
            [6, 7.5],
          ],
          scenes: { before: 4, people: 5, after: 3 },
          part: { x: 0, y: 100, width: 768, height: 432 },
        });
        equal(footage.visit, { start: 4, end: 8 });
        equal(
          footage.shots.slice(4, 8).map((shot) => Math.round(shot.atMs)),
          [267, 333, 400, 533],
        );
        is(Math.round(footage.lengthMs), 400 + 800);
        const bytes = await readFile(footage.pictures);
        const lumas: Uint8Array[] = [];
        for (const [index, { offset, length }] of footage.shots.entries()) {
          const picture = bytes.subarray(offset, offset + length);
          const luma = format === "MJPG" ? await decode(picture) : everySecond(picture);
          is(readCounter(luma, footage), index);
          lumas.push(luma);
        }
        is(
          footage.shots.reduce((sum, shot) => sum + shot.length, 0),
          bytes.length,
        );
        // The empty scene changes by noise alone; the one with people is another picture.
        const still = difference(lumas[2], lumas[3]);
        const entered = difference(lumas[3], lumas[4]);
        ok(entered > 1.5 * still, `${still} without, ${entered} with people entering`);
      },
      { deadlineMs: 600_000 },
    );
});

function decode(jpeg: Uint8Array): Promise<Uint8Array> {
  const grey = ["-f", "rawvideo", "-pix_fmt", "gray", "pipe:1"];
  return run("ffmpeg", ["-v", "error", "-f", "mjpeg", "-i", "pipe:0", ...grey], jpeg);
}

const everySecond = (yuyv: Uint8Array) => yuyv.filter((_, i) => i % 2 === 0);

/** Mean difference below the counter. */
function difference(
  one: Uint8Array = new Uint8Array(),
  two: Uint8Array = new Uint8Array(),
): number {
  const from = 640 * 60;
  let sum = 0;
  for (let i = from; i < one.length; i++) sum += Math.abs((one[i] ?? 0) - (two[i] ?? 0));
  return sum / (one.length - from);
}
