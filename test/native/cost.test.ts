import * as assert from "uvu/assert";
import { addon, fake, jpegOf, plugCamera, yuyv } from "../lib/fake.ts";
import { suite } from "../lib/suite.ts";

const [width, height] = [1280, 720];
const pictures = 600;
/**
 * How much more than the bare reader a picture may cost: the call into JavaScript, and the check. A part of
 * the reader's own cost too, so that a machine that is ten times as slow has room; a second copy is a whole one.
 */
const more = { ms: 0.15, share: 0.3 };

/** As busy as a real picture: about 150 KB of JPEG. */
const grainy = () =>
  Uint8Array.from({ length: width * height }, (_, i) => 100 + ((i * 2654435761) >>> 29) * 2);

/** Processor time of the whole process for each picture, taken and released, in milliseconds. */
async function capturing(path: string, format: string): Promise<number> {
  const capture = new addon.Capture({ slabBytes: 16 << 20 });
  let count = 0;
  let begin = process.cpuUsage();
  let done = (_: NodeJS.CpuUsage) => {};
  const used = new Promise<NodeJS.CpuUsage>((resolve) => {
    done = resolve;
  });
  const wish = { source: path, width, height, fps: 30, format };
  await capture.open(
    wish,
    ({ handle }) => {
      capture.release(handle);
      // The first ones warm the caches and the compiler up.
      if (++count === 100) begin = process.cpuUsage();
      if (count === 100 + pictures) done(process.cpuUsage(begin));
    },
    () => {},
  );
  const { user, system } = await used;
  await capture.close();
  return (user + system) / 1000 / pictures;
}

suite("cost", (test) => {
  for (const format of ["MJPG", "YUYV"]) {
    test(`${format}: at most ${more.ms} ms and a third more than a bare reader in C`, async () => {
      const camera = plugCamera({ formats: [{ format, sizes: [{ width, height, rates: [30] }] }] });
      camera.feed(
        format === "MJPG" ? await jpegOf(grainy(), width, height) : yuyv(width, height, 90),
      );
      camera.behave({ fps: 1e9 });
      // Other programs share the processor: the best of several says what the work is.
      let [bare, whole] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
      for (let round = 0; round < 4; round++) {
        const wish = { format, width, height, pictures };
        bare = Math.min(bare, fake.read(camera.path, wish).cpuUs / 1000 / pictures);
        whole = Math.min(whole, await capturing(camera.path, format));
      }
      console.log(
        `\nmeasured: capture ${format} 720p ${whole.toFixed(3)} ms a picture, bare reader ${bare.toFixed(3)} ms`,
      );
      assert.ok(whole <= bare * (1 + more.share) + more.ms, `${whole} against ${bare}`);
    });
  }
});
