import { equal, is, ok } from "uvu/assert";
import { type CountedFootage, countedFootage } from "../lib/counted.ts";
import { findMachine } from "../lib/machine.ts";
import { suite } from "../lib/suite.ts";
import { temporaryFolder } from "../lib/world.ts";
import type { Observation, Order, Seen } from "./guest/observe.ts";
import type { Played } from "./guest/play.ts";
import { loopback, observe } from "./observe.ts";

const machine = await findMachine();
const device = "/dev/video10";

/** Footage played into the loopback device from a program of its own, as a camera would. */
async function playInto(
  footage: CountedFootage,
  order: Partial<Order>,
): Promise<{ found: Observation; played: Map<number, Played> }> {
  const play = `node dist/test/system/guest/play.js --pictures ${footage.pictures} --playlist ${footage.playlist}`;
  // It is no capture device until somebody writes to it.
  const ready = `until v4l2-ctl -d ${device} --info | grep -q 'Video Capture'; do sleep 0.1; done`;
  const log = "/tmp/played";
  const found = await observe(machine, [loopback], {
    before: `{ ${play} --log ${log}; : >/tmp/over; } >/results/player 2>&1 & ${ready}; sleep 1`,
    ...{ frames: footage.shots.length, forMs: footage.lengthMs + 3000, counters: true },
    ...order,
    camera: {
      ...{ source: device, format: footage.format, slabBytes: 12 << 20 },
      ...{ width: footage.width, height: footage.height },
    },
    steps: [
      ...(order.steps ?? []),
      // One that is held up plays on as much longer.
      { after: 1, run: `until [ -e /tmp/over ]; do sleep 0.2; done; cat ${log}` },
    ],
  });
  const lines = (found.steps.at(-1) ?? "").trim().split("\n");
  const shots = lines.map((line) => JSON.parse(line) as Played);
  return { found, played: new Map(shots.map((shot) => [shot.index, shot])) };
}

const counted = (seen: Seen[]) => seen.filter((frame) => typeof frame.counter === "number");

suite("v4l2loopback with real footage", (test) => {
  if (machine.kind === "none") {
    test.skip("everything", machine.why);
    return;
  }
  for (const { format, width, height, rates } of [
    { format: "MJPG", width: 1280, height: 720, rates: [[0, 15]] },
    {
      format: "YUYV",
      width: 640,
      height: 360,
      rates: [
        [0, 15],
        [60, 7.5],
      ],
    },
  ] as const)
    test(
      `${format} ${width}×${height} at ${rates.map(([, fps]) => fps).join(", then ")}: each picture once, in order, at its time`,
      async () => {
        await using folder = await temporaryFolder();
        const footage = await countedFootage({
          ...{ folder: folder.path, format, width, height },
          rates: rates.map(([from, fps]) => [from, fps]),
          scenes: { before: 30, people: 60, after: 30 },
          part: { x: 128, y: 150, width: 512, height: 288 },
        });
        const { found, played } = await playInto(footage, {});
        is(found.failed, undefined);
        // What the driver hands out first lay in a buffer from before: a wrong number at the least.
        const seen = counted(found.seen.slice(1));
        ok(seen.length > 20, `${seen.length} pictures with a counter of ${found.seen.length}`);
        for (const frame of found.seen.slice(1))
          ok(frame.corrupt || typeof frame.counter === "number", JSON.stringify(frame));
        let furthestMs = 0;
        let due: number | undefined;
        for (const frame of found.seen.slice(1)) {
          // One that is damaged has no number, and takes a place all the same.
          if (due !== undefined) due += 1 + frame.dropped;
          if (typeof frame.counter !== "number") continue;
          const index = frame.counter;
          const shot = played.get(index);
          ok(shot !== undefined, `picture ${index} was not played`);
          const early = (shot?.atUs ?? 0) - frame.capturedUs;
          const late = frame.capturedUs - (shot?.doneUs ?? 0);
          furthestMs = Math.max(furthestMs, early / 1000, late / 1000);
          is(index, due ?? index);
          due = index;
        }
        ok(furthestMs < 2, `capture times are off by ${furthestMs} ms`);
        const lost = seen.slice(1).reduce((sum, frame) => sum + frame.dropped, 0);
        console.log(
          `measured: v4l2loopback ${format} ${width}×${height}: ${seen.length} pictures, ${lost} lost, ${found.seen.length - seen.length} stale or damaged, times within ${furthestMs.toFixed(1)} ms`,
        );
        equal(found.slab?.frames, 0);
      },
      { deadlineMs: 1_200_000 },
    );
});
