import * as assert from "uvu/assert";
import { openLog } from "../../../src/base/node/log.ts";
import { fromText } from "../../../src/base/pure/bytes.ts";
import type { Frame, PixelFormat } from "../../../src/device/camera/camera.ts";
import { openSlab } from "../../../src/device/camera/camera.ts";
import { readCode, watchForCode } from "../../../src/device/pairing/eye.ts";
import { drawCode } from "../../../src/phone/cli/lens.ts";
import { printLens } from "../../../src/protocol/sealed/lens.ts";
import { ready } from "../../../src/protocol/sealed/sodium.ts";
import { asJpegs, run } from "../../lib/footage.ts";
import { lensCode } from "../../lib/pairing.ts";
import { asYuyv, conditions, showCode } from "../../lib/shown.ts";
import { suite } from "../../lib/suite.ts";

await ready();

const wifi = { ssid: fromText("Zuhause"), password: "correct horse battery", hidden: false };
const code = { ...lensCode, wifi };
const text = printLens(code);
const any = () => true;

/** A code is held for a second: one look may come at the moment at which the machine stood still. */
const held = (...pictures: readonly Uint8Array[]) =>
  pictures.flatMap((picture) => new Array<Uint8Array>(5).fill(picture));

/** A camera that delivers these pictures, five a second, and what of them was never released. */
function watch(pictures: readonly Uint8Array[], format: PixelFormat, size: typeof hd) {
  const slab = openSlab({ slabBytes: 16 << 20 });
  const lines: string[] = [];
  async function* frames(): AsyncGenerator<Frame> {
    for (const [i, bytes] of pictures.entries()) {
      yield slab.put(bytes, { format, ...size, capturedUs: 1 + i * 200_000, sequence: i });
    }
  }
  return {
    lines,
    left: () => slab.usage().frames,
    look: (isWanted: Parameters<typeof watchForCode>[1]["isWanted"] = any) =>
      watchForCode(frames(), {
        ...{ log: openLog("lens", "debug", (line) => lines.push(line)), isWanted },
        signal: new AbortController().signal,
      }),
  };
}

const hd = { width: 1280, height: 720 };
const vga = { width: 640, height: 480 };

suite("eye", (test) => {
  test("the phone's PNG is the code, to another decoder of pictures", async () => {
    const grey = ["-f", "rawvideo", "-pix_fmt", "gray", "-"];
    const png = drawCode(text);
    const strict = ["-v", "error", "-err_detect", "crccheck+explode", "-f", "png_pipe"];
    const luma = await run("ffmpeg", [...strict, "-i", "-", ...grey], png);
    const width = Math.sqrt(luma.length);
    assert.is(width, (49 + 8) * 12);
    assert.is(readCode(new Uint8Array(luma), { width, height: width }), text);
  });

  for (const size of [hd, vga]) {
    test(
      `what reads in ${size.width}×${size.height}, as YUYV and as MJPEG`,
      async () => {
        for (const [name, shown] of Object.entries(conditions)) {
          const luma = showCode(text, size, shown);
          for (const format of ["YUYV", "MJPG"] as const) {
            const pictures = format === "YUYV" ? [asYuyv(luma)] : await asJpegs([luma], size);
            const eye = watch(held(...pictures), format, size);
            const startMs = performance.now();
            const found = await eye.look();
            const ms = Math.round(performance.now() - startMs);
            console.log(
              `measured: lens ${size.width}×${size.height} ${format}, ${name}: ` +
                `${found ? "reads" : "does not read"}, ${ms} ms`,
            );
            assert.equal(found, code, `${name}, ${format}`);
            assert.is(eye.left(), 0);
          }
        }
      },
      { deadlineMs: 300_000 },
    );
  }

  const passing = async () => {
    const used = { ...code, phone: new Uint8Array(16) };
    const shown = [
      "HTTPS://EXAMPLE.ORG/",
      text.slice(0, 40) + (text[40] === "Q" ? "R" : "Q") + text.slice(41),
      printLens(used),
      text,
    ].map((one) => asYuyv(showCode(one, vga)));
    const grey = asYuyv(new Uint8Array(vga.width * vga.height).fill(90));
    const eye = watch([grey, ...held(...shown)], "YUYV", vga);
    const found = await eye.look(({ phone }) => phone[0] !== 0);
    assert.equal(found, code);
    assert.is(eye.lines.length, 2, eye.lines.join("\n"));
    assert.is(eye.left(), 0);
    const none = watch([grey, grey], "YUYV", vga);
    assert.is(await none.look(), undefined);
    const jpeg = (await asJpegs([showCode(text, vga)], vga))[0] ?? new Uint8Array();
    const spoilt = jpeg.map((byte, i) => (i > 700 && i < jpeg.length - 2 ? 0x55 : byte));
    const damaged = watch([spoilt, ...held(jpeg)], "MJPG", vga);
    assert.equal(await damaged.look(), code);
    assert.is(damaged.left(), 0);
  };
  test("other codes, pictures without one and damaged ones are passed over", passing, {
    deadlineMs: 120_000,
  });

  test("what was looked at is overwritten", () => {
    const luma = showCode(text, vga);
    assert.is(readCode(luma, vga), text);
    assert.ok(luma.every((value) => value === 0));
  });

  const hostile = () => {
    const sizes = [
      vga,
      { width: 1, height: 1 },
      { width: 7, height: 3 },
      { width: 1280, height: 4 },
    ];
    for (const size of sizes) {
      const { width, height } = size;
      for (let round = 0; round < 8; round++) {
        const luma = Uint8Array.from({ length: width * height }, (_, i) => {
          if (round < 4) return ((i * 2_654_435_761) >>> (8 + round)) & 255;
          const period = 7 + round;
          const ring = [(i % width) % period, Math.floor(i / width) % period].map((at) =>
            Math.abs(at - 3),
          );
          const far = Math.max(...ring);
          return far <= 1 || far === 3 ? 0 : 255;
        });
        assert.is(readCode(luma, size), undefined);
      }
    }
  };
  test("hostile pictures: noise, finder patterns everywhere, and all sizes end", hostile, {
    deadlineMs: 120_000,
  });
});
