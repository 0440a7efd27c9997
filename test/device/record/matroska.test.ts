import * as assert from "uvu/assert";
import { concat } from "../../../src/base/pure/bytes.ts";
import { matroskaHeader, pictureHeader } from "../../../src/device/record/matroska.ts";
import { makeJpegs, run } from "../../lib/footage.ts";
import { suite } from "../../lib/suite.ts";

suite("device/record/matroska", (test) => {
  test("ffprobe reads back every picture and its microsecond", async () => {
    const size = { width: 320, height: 240 };
    const jpegs = await makeJpegs(5, size);
    // Across the 16-bit and 32-bit borders of a time in microseconds.
    const times = [0, 65_537, 133_331, 179_999_999, 4_294_967_296 + 7];
    const pieces = [matroskaHeader({ ...size, fps: 15 })];
    for (const [i, jpeg] of jpegs.entries()) {
      pieces.push(pictureHeader(times[i] ?? 0, jpeg.length), jpeg);
    }
    const entries = "stream=codec_name,width,height,avg_frame_rate,time_base:packet=pts,size";
    const args = ["-v", "error", "-show_entries", entries, "-of", "json", "-f", "matroska", "-"];
    const probe = JSON.parse((await run("ffprobe", args, concat(pieces))).toString());
    assert.equal(probe.streams[0], {
      codec_name: "mjpeg",
      ...size,
      avg_frame_rate: "15/1",
      time_base: "1/1000000",
    });
    assert.equal(
      probe.packets.map((p: { pts: number; size: string }) => [p.pts, Number(p.size)]),
      jpegs.map((jpeg, i) => [times[i], jpeg.length]),
    );
  });
});
