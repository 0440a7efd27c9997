import { spawnSync } from "node:child_process";
import { appendFileSync, existsSync, openSync, readFileSync, readSync, writeSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { parseArgs } from "node:util";
import type { Playlist, Shot } from "../../lib/counted.ts";

/**
 * The camera of the tests: writes counted footage into a v4l2loopback device at the playlist's own
 * times, round after round, and notes when it wrote each picture, a line of JSON for each.
 */
export type Played = {
  /** -1 while the first picture is repeated. */
  round: number;
  index: number;
  /** CLOCK_MONOTONIC before and after the write; the driver's stamp lies between them. */
  atUs: number;
  doneUs: number;
};
const { values } = parseArgs({
  options: {
    pictures: { type: "string" },
    playlist: { type: "string" },
    device: { type: "string", default: "/dev/video10" },
    log: { type: "string" },
    rounds: { type: "string", default: "1" },
    /** While this file is not there the first picture of a round is repeated, as before a still scene. */
    until: { type: "string" },
  },
});
if (!values.pictures || !values.playlist) throw new Error("--pictures and --playlist are needed");
const list = JSON.parse(readFileSync(values.playlist, "utf8")) as Playlist;
const pictures = openSync(values.pictures, "r");
const device = openSync(values.device, "r+");
// The format is set by another descriptor while this one keeps the device open, and so the format.
const format = `width=${list.width},height=${list.height},pixelformat=${list.format}`;
const set = spawnSync("v4l2-ctl", ["-d", values.device, `--set-fmt-video-out=${format}`]);
if (set.status !== 0 || set.stderr.length > 0) throw new Error(`v4l2-ctl: ${set.stderr}`);

const nowUs = () => Number(process.hrtime.bigint() / 1000n);
const picture = new Uint8Array(Math.max(...list.shots.map((shot) => shot.length)));
let startUs = nowUs();

async function show(round: number, index: number, shot: Shot, dueMs: number): Promise<void> {
  readSync(pictures, picture, 0, shot.length, shot.offset);
  const aheadMs = (startUs - nowUs()) / 1000 + dueMs;
  if (aheadMs > 0) await wait(aheadMs);
  const atUs = nowUs();
  // A camera that was held up does not hurry afterwards: what follows is as much later.
  const lateUs = atUs - startUs - dueMs * 1000;
  if (lateUs > 5000) startUs += lateUs;
  const written = writeSync(device, picture, 0, shot.length);
  if (written !== shot.length) throw new Error(`${written} of ${shot.length} B taken`);
  // This process is the world in front of the lens: what it shows must not leak from here.
  picture.fill(0);
  const line: Played = { round, index, atUs, doneUs: nowUs() };
  if (values.log) appendFileSync(values.log, `${JSON.stringify(line)}\n`);
}

const [first, second] = list.shots;
if (!first || !second) throw new Error("a playlist has at least two pictures");
const stepMs = second.atMs - first.atMs;
for (let round = 0; round < Number(values.rounds); round++) {
  const dueMs = round * list.lengthMs;
  let repeats = 0;
  for (; values.until && !existsSync(values.until); repeats++)
    await show(-1, 0, first, dueMs + repeats * stepMs);
  startUs += repeats * stepMs * 1000;
  for (const [index, shot] of list.shots.entries())
    await show(round, index, shot, dueMs + shot.atMs);
}
