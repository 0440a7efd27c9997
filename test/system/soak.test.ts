import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { type BoardOptions, boardUntilEnd } from "../lib/board.ts";
import { countedFootage } from "../lib/counted.ts";
import { makeImage } from "../lib/disk.ts";
import { findMachine } from "../lib/machine.ts";
import { suite } from "../lib/suite.ts";
import { quickFolder } from "../lib/world.ts";
import type { Sample, SoakOrder, SoakReport } from "./guest/soak.ts";
import { loopback } from "./observe.ts";

const machine = await findMachine();
/** How long the camera lives on through faults, before the round in which it is killed too. */
const minutes = Number(process.env.OBSCURA_SOAK_MINUTES ?? 0);
/** In its first minutes Node's heap has not found its size yet. */
const mostGrowth = minutes >= 10 ? 1.1 : 1.25;
const fps = 10;
const size = { width: 320, height: 180 };
/** A visit every twelve seconds: the shortest run has those of six hours of a house with sixty a day. */
const scenes = { before: 30, people: 40, after: 50 };
const settings = `version: 1
camera: { source: /dev/video10, width: 320, height: 180, fps: ${fps}, format: YUYV, slabMiB: 16 }
detect: { input: 256x160, precision: int8, crops: false, threads: 1 }
record: { fps: ${fps}, preRollMiB: 4, preRollS: 2, postRollS: 2 }
outbox: { limitMiB: 64, headroomMiB: 1 }
`;

/** What a life held last, against what it held first once it was warm. */
function growth(samples: readonly Sample[], of: "residentMiB" | "files"): number {
  const lives = new Set(samples.map(({ life }) => life));
  const [longest = []] = [...lives]
    .map((one) => samples.filter(({ life }) => life === one))
    .sort((a, b) => b.length - a.length);
  const warm = longest[1]?.[of] ?? 0;
  return (longest.at(-1)?.[of] ?? 0) / warm;
}

suite("soak", (test) => {
  const title =
    "an installed board that has visitors all the time: relay, network, camera and service fail in turns, nothing sealed is lost and nothing grows";
  if (machine.kind !== "guest") {
    test.skip(title, machine.kind === "host" ? "would install on the host" : machine.why);
    return;
  }
  if (!existsSync("/lib/systemd/systemd") || process.getuid?.() !== 0) {
    test.skip(title, "needs systemd in the guest's root, and root, who may give files to users");
    return;
  }
  test(
    title,
    async () => {
      await using folder = await quickFolder();
      const footage = await countedFootage({
        ...{ folder: folder.path, format: "YUYV", ...size, rates: [[0, fps]], scenes },
        part: { x: 128, y: 150, width: 512, height: 288 },
      });
      const disk = join(folder.path, "disk");
      const order: SoakOrder = { minutes, settings, device: loopback };
      const options: BoardOptions = {
        command: ["node", "dist/test/system/guest/soak.js"],
        ...{ systemd: true, lasting: true, disks: [disk], urgent: true, memoryMiB: 768 },
        modules: [loopback],
        prepare: "cp package-lock.json node_modules/.obscura-lock",
        files: {
          "order.json": JSON.stringify(order),
          pictures: await readFile(footage.pictures),
          playlist: await readFile(footage.playlist),
        },
        timeoutMs: 1_200_000 + minutes * 60_000 * 1.5,
      };
      const makeDisk = () => makeImage(disk, 2 ** 30);
      const { board, ending } = await boardUntilEnd(machine, options, makeDisk);
      await using _ = board;
      const read = (name: string) => readFile(join(board.results, name), "utf8").catch(() => "");
      const progress = await read("progress");
      console.log(`\n${progress.replaceAll(/^/gm, "  ")}`);
      if (ending.exit !== 0 || !progress.endsWith("the end\n")) {
        const all = [await read("commands"), ending.fault, ending.stderr, ending.console];
        assert.unreachable(all.map((text) => (text ?? "").slice(-6000)).join("\n"));
      }
      const report = JSON.parse(await read("report.json")) as SoakReport;
      const { samples, faults, outboxMiB, verify, clips } = report;
      assert.is(verify.code, 0, verify.said);
      assert.equal(
        Object.keys(clips).filter((state) => !["whole", "cut off"].includes(state)),
        [],
      );
      const [memory, files] = [growth(samples, "residentMiB"), growth(samples, "files")];
      const told = { clips, faults, memory, files, outboxMiB: Math.max(...outboxMiB) };
      console.log(`measured: ${JSON.stringify(told)}`);
      assert.ok(memory <= mostGrowth, JSON.stringify(samples));
      assert.ok(files <= 1.1, JSON.stringify(samples));
      assert.ok(Math.max(...outboxMiB) <= 64, JSON.stringify(outboxMiB));
    },
    { deadlineMs: 1_500_000 + minutes * 60_000 * 4 },
  );
});
