import * as assert from "uvu/assert";
import { readJpegHeader } from "../../../src/device/detect/jpeg.ts";
import { suite } from "../../lib/suite.ts";

const soi = [0xff, 0xd8];
const frame = (marker = 0xc0) => [0xff, marker, 0, 11, 8, 0, 48, 0, 64, 1, 1, 0x11, 0];
const app0 = [0xff, 0xe0, 0, 4, 1, 2];

/** An EXIF segment whose first directory holds the orientation. */
function exif(orientation: number, little: boolean): number[] {
  const pair = (n: number) => (little ? [n, 0] : [0, n]);
  const four = (n: number) => (little ? [n, 0, 0, 0] : [0, 0, 0, n]);
  const tag = little ? [0x12, 0x01] : [0x01, 0x12];
  const order = little ? [0x49, 0x49] : [0x4d, 0x4d];
  const entry = [...tag, ...pair(3), ...four(1), ...pair(orientation), 0, 0];
  const tiff = [...order, ...pair(42), ...four(8), ...pair(1), ...entry, ...four(0)];
  const body = [0x45, 0x78, 0x69, 0x66, 0, 0, ...tiff];
  return [0xff, 0xe1, 0, body.length + 2, ...body];
}

suite("jpeg", (test) => {
  test("size and orientation are read, in both byte orders", () => {
    const read = (...parts: number[][]) => readJpegHeader(Uint8Array.from([soi, ...parts].flat()));
    assert.equal(read(app0, frame()), { width: 64, height: 48, orientation: 1 });
    assert.equal(read(exif(6, true), frame()), { width: 64, height: 48, orientation: 6 });
    assert.equal(read(exif(8, false), frame(0xc2)), { width: 64, height: 48, orientation: 8 });
    assert.equal(read([0xff], app0, [0xff, 0xff], frame()), {
      width: 64,
      height: 48,
      orientation: 1,
    });
    assert.is(read(exif(9, true), frame())?.orientation, 1, "there is no ninth");
  });

  test("a table is no frame, and a scan before the frame is no picture", () => {
    const huffman = [0xff, 0xc4, 0, 4, 1, 2];
    const scan = [0xff, 0xda, 0, 4, 1, 2];
    assert.ok(readJpegHeader(Uint8Array.from([...soi, ...huffman, ...frame()])));
    assert.is(readJpegHeader(Uint8Array.from([...soi, ...scan, ...frame()])), undefined);
  });

  test("cut at any byte, or with any byte changed, it ends and does not throw", () => {
    const whole = Uint8Array.from([...soi, ...exif(3, false), ...frame()]);
    for (let end = 0; end < whole.length; end++) {
      const header = readJpegHeader(whole.subarray(0, end));
      assert.ok(header === undefined || end >= whole.length - 4, `${end}`);
    }
    for (let at = 0; at < whole.length; at++)
      for (const value of [0, 1, 0x7f, 0xff]) readJpegHeader(whole.with(at, value));
  });
});
