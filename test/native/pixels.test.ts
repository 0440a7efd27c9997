import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import * as assert from "uvu/assert";
import { isFailure } from "../../src/base/pure/failure.ts";
import { openSlab } from "../../src/device/camera/camera.ts";
import type { Frame, PixelFormat, Point, Turn } from "../../src/device/camera/frame.ts";
import { run } from "../lib/footage.ts";
import { suite } from "../lib/suite.ts";

// Pictures and the way back are ffmpeg's: an opinion of its own on every format.
const width = 320;
const height = 192;
const names = { YUYV: "yuyv422", NV12: "nv12", RGB3: "rgb24", GREY: "gray" } as const;
const formats: PixelFormat[] = ["MJPG", "YUYV", "NV12", "RGB3", "GREY"];
const turns: Turn[] = ([0, 90, 180, 270] as const).flatMap((rotate) =>
  [false, true].map((flip) => ({ rotate, flip })),
);
const quiet = ["-v", "error"];
const stdin = ["-i", "-"];
const single = ["-frames:v", "1"];

async function draw(format: PixelFormat): Promise<Uint8Array> {
  const source = ["-f", "lavfi", "-i", `testsrc2=size=${width}x${height}`];
  const target =
    format === "MJPG"
      ? ["-pix_fmt", "yuvj420p", "-c:v", "mjpeg", "-q:v", "2", "-f", "image2pipe"]
      : ["-pix_fmt", names[format], "-f", "rawvideo"];
  return run("ffmpeg", [...quiet, ...source, ...single, ...target, "-"]);
}

/** As RGB triples, by ffmpeg. */
async function toRgb(bytes: Uint8Array, format: PixelFormat): Promise<Uint8Array> {
  const input =
    format === "MJPG"
      ? ["-f", "mjpeg"]
      : ["-f", "rawvideo", "-pix_fmt", names[format], "-s", `${width}x${height}`];
  const flags = ["-sws_flags", "accurate_rnd+full_chroma_int+bilinear"];
  const target = ["-pix_fmt", "rgb24", "-f", "rawvideo", "-"];
  return run("ffmpeg", [...quiet, ...input, ...stdin, ...flags, ...single, ...target], bytes);
}

/** Which stored pixel an upright one comes from. */
function stored(turn: Turn, x: number, y: number): number {
  const side = turn.rotate % 180 !== 0;
  const across = turn.flip ? (side ? height : width) - 1 - x : x;
  const at = {
    0: [across, y],
    90: [y, height - 1 - across],
    180: [width - 1 - across, height - 1 - y],
    270: [width - 1 - y, across],
  }[turn.rotate] as [number, number];
  return at[1] * width + at[0];
}

type Options = { turn?: Turn; masks?: Point[][]; slabBytes?: number };

async function withFrame(
  format: PixelFormat,
  bytes: Uint8Array,
  { turn = { rotate: 0, flip: false }, masks = [], slabBytes = 1 << 22 }: Options,
  use: (frame: Frame) => Promise<void>,
): Promise<void> {
  const slab = openSlab({ slabBytes, ...turn, masks });
  try {
    await use(slab.put(bytes, { format, width, height, capturedUs: 1, sequence: 1 }));
  } finally {
    await slab.close();
  }
}

function difference(one: ArrayLike<number>, other: ArrayLike<number>): number {
  assert.is(one.length, other.length);
  let sum = 0;
  for (let i = 0; i < one.length; i++) sum += Math.abs((one[i] as number) - (other[i] as number));
  return sum / one.length;
}

/** Averages of 8 × 8 upright pixels, one channel of an RGB picture or the mean that is its grey. */
function averages(rgb: Uint8Array, turn: Turn, weights: number[], block = 8): Float64Array {
  const [w, h] = turn.rotate % 180 ? [height, width] : [width, height];
  const out = new Float64Array((w / block) * (h / block));
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      const at = 3 * stored(turn, x, y);
      let value = 0;
      for (let c = 0; c < 3; c++) value += (weights[c] as number) * (rgb[at + c] as number);
      const place = Math.floor(y / block) * (w / block) + Math.floor(x / block);
      out[place] = (out[place] as number) + value / block / block;
    }
  }
  return out;
}

async function refusal(kind: string, work: () => unknown): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!isFailure(error, kind as "corrupt")) throw error;
    return;
  }
  assert.unreachable(`not refused as ${kind}`);
}

suite("native/pixels", (test) => {
  test(
    "grey planes, model input and JPEGs agree with ffmpeg, however turned",
    async () => {
      for (const format of formats) {
        const bytes = await draw(format);
        const rgb = await toRgb(bytes, format);
        for (const turn of turns) {
          await withFrame(format, bytes, { turn }, async (frame) => {
            const what = `${format} ${turn.rotate}${turn.flip ? " mirrored" : ""}`;
            const size = { width: frame.width / 8, height: frame.height / 8 };
            assert.is(frame.width, turn.rotate % 180 ? height : width);
            // YUYV and NV12 run from 16 to 235 and stay so; the others use all values.
            const wanted = averages(rgb, turn, [0.299, 0.587, 0.114]);
            const narrow = format === "YUYV" || format === "NV12";
            const grey = narrow ? wanted.map((value) => 16 + (value * 219) / 255) : wanted;
            assert.ok(difference(await frame.luma(size), grey) < 2, `luma ${what}`);

            const spec = { ...size, order: "BGR" as const, pad: 0 };
            const { data, scale } = await frame.tensor({
              ...spec,
              mean: [0, 0, 0],
              deviation: [1, 1, 1],
            });
            assert.is(scale, 0.125);
            const plane = size.width * size.height;
            for (let channel = 0; channel < 3; channel++) {
              const weights = [0, 1, 2].map((c) => (c === 2 - channel ? 1 : 0));
              const got = data.subarray(channel * plane, (channel + 1) * plane);
              // A JPEG decoded at an eighth has its colours at half of that.
              const off = difference(got, averages(rgb, turn, weights));
              assert.ok(off < (format === "MJPG" ? 12 : 4), `tensor ${what} is off by ${off}`);
            }

            const picture = await frame.jpeg({ quality: 95 });
            assert.equal([picture.width, picture.height], [frame.width, frame.height]);
            assert.is(picture.turn.rotate, 0);
            const back = await toRgb(picture.copy(), "MJPG");
            let sum = 0;
            for (let y = 0; y < frame.height; y++) {
              for (let x = 0; x < frame.width; x++) {
                const at = 3 * stored(turn, x, y);
                for (let c = 0; c < 3; c++) {
                  const got = back[3 * (y * frame.width + x) + c] as number;
                  sum += ((rgb[at + c] as number) - got) ** 2;
                }
              }
            }
            const psnr = 10 * Math.log10(255 ** 2 / (sum / rgb.length));
            // Saturated test colours lose at half colour resolution; a wrong turn gives 8 dB.
            assert.ok(psnr > 22, `jpeg ${what}: ${psnr.toFixed(1)} dB`);
          });
        }
      }
    },
    { deadlineMs: 600_000 },
  );

  test("a crop is letterboxed where the mapping says", async () => {
    const bytes = await draw("RGB3");
    await withFrame("RGB3", bytes, {}, async (frame) => {
      const crop = { x: 100, y: 60, width: 64, height: 32 };
      const { data, scale, offsetX, offsetY } = await frame.tensor({
        crop,
        width: 64,
        height: 64,
        order: "RGB",
        mean: [10, 20, 30],
        deviation: [2, 4, 8],
        pad: 114,
      });
      assert.equal([scale, offsetX, offsetY], [1, 0, 16]);
      for (let y = 0; y < 64; y++) {
        for (let x = 0; x < 64; x++) {
          const inside = y >= 16 && y < 48;
          const at = 3 * ((y - offsetY + crop.y) * width + x + crop.x);
          for (let c = 0; c < 3; c++) {
            const raw = inside ? (bytes[at + c] as number) : 114;
            const wanted = (raw - 10 * (c + 1)) / 2 ** (c + 1);
            assert.ok(Math.abs((data[c * 4096 + y * 64 + x] as number) - wanted) < 0.01);
          }
        }
      }
      const thumbnail = await frame.jpeg({ quality: 80, crop, maxWidth: 32 });
      assert.equal([thumbnail.width, thumbnail.height], [32, 16]);
    });
  });

  test(
    "nothing of a masked area is left in the stored bytes",
    async () => {
      const left = { x: 0.25, y: 0.25 };
      const masks = [[left, { x: 0.75, y: 0.25 }, { x: 0.75, y: 0.75 }, { x: 0.25, y: 0.75 }]];
      for (const format of formats) {
        const bytes = await draw(format);
        const before = await toRgb(bytes, format);
        for (const turn of turns.filter(({ rotate, flip }) => flip === rotate < 180)) {
          await withFrame(format, bytes, { turn, masks }, async (frame) => {
            const after = await toRgb(frame.copy(), format);
            // Units of a JPEG reach up to 16 pixels further, and colour is smoothed at their border.
            let [seen, changed] = [0, 0];
            for (let y = 0; y < height; y++) {
              for (let x = 0; x < width; x++) {
                const at = 3 * (y * width + x);
                const away = Math.max(Math.abs(x + 0.5 - 160) - 80, Math.abs(y + 0.5 - 96) - 48);
                for (let c = at; c < at + 3; c++) {
                  if (away < -2 && Math.abs((after[c] as number) - 129) > 2) seen++;
                  if (away > 20 && after[c] !== before[c]) changed++;
                }
              }
            }
            assert.equal([format, turn, seen, changed], [format, turn, 0, 0]);
          });
        }
      }
    },
    { deadlineMs: 600_000 },
  );

  test("damaged pictures are marked, refused and survived", async () => {
    const bytes = await draw("MJPG");
    const cut = bytes.subarray(0, bytes.length / 2);
    await withFrame("MJPG", bytes, { slabBytes: 1 << 20 }, async (frame) => {
      assert.is(frame.corrupt, false);
      const crop = { x: 300, y: 0, width: 21, height: 10 };
      await refusal("misuse", () => frame.jpeg({ quality: 80, crop }));
    });
    await refusal("corrupt", () => withFrame("MJPG", cut, {}, async () => {}));
    const ended = Uint8Array.of(...cut, 0xff, 0xd9);
    await withFrame("MJPG", ended, {}, async (frame) => {
      await refusal("corrupt", () => frame.luma({ width: 40, height: 24 }));
      await refusal("corrupt", () => frame.jpeg({ quality: 80 }));
    });
    // What cannot be masked must not be seen.
    const corner = [0, 1, 1].map((x, i) => ({ x, y: i === 2 ? 1 : 0 }));
    const options = { masks: [corner] };
    await refusal("corrupt", () => withFrame("MJPG", ended, options, async () => {}));
  });

  const native = fileURLToPath(new URL("../../../native/test", import.meta.url));
  const stand = "the stand-alone tests hold under AddressSanitizer and UBSan";
  if (canSanitize()) {
    const body = async () => {
      await run("make", ["-s", "-C", native, "-j2", "all"]);
      const program = join(native, "../build-pixels/pixels-test");
      const lines = (await run(program, [])).toString().trim().split("\n");
      assert.is(lines.at(-1), "passed: 0 failed");
      assert.ok(lines.some((line) => line.includes('"jpeg-scan mask"')));
      for (const line of lines.filter((each) => each.includes('mask"'))) {
        console.log(`measured: ${line}`);
      }
    };
    test(stand, body, { deadlineMs: 900_000 });
  } else {
    test.skip(stand, "g++ cannot link AddressSanitizer here");
  }
});

function canSanitize(): boolean {
  try {
    const options = ["-x", "c++", "-fsanitize=address,undefined", "-", "-o", "/dev/null"];
    execFileSync("g++", options, { input: "int main() {}", stdio: ["pipe", "ignore", "ignore"] });
    return true;
  } catch {
    return false;
  }
}
