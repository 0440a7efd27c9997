import { open } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { fromHex } from "../../src/base/pure/bytes.ts";
import { runOnBoard } from "../lib/board.ts";
import { type Canary, searchFiles } from "../lib/canary.ts";
import { countedFootage } from "../lib/counted.ts";
import { findMachine, findPackages } from "../lib/machine.ts";
import { suite } from "../lib/suite.ts";
import { temporaryFolder } from "../lib/world.ts";
import type { PanelOrder, Secrets } from "./guest/panel.ts";
import { loopback } from "./observe.ts";

const machine = await findMachine();
const packages = findPackages();
const fps = 10;
const size = { width: 640, height: 360 };
const settings = `version: 1
name: porch
camera: { width: ${size.width}, height: ${size.height}, fps: ${fps}, format: YUYV, slabMiB: 12 }
detect: { input: 256x160, precision: int8, crops: false, threads: 1 }
record: { fps: ${fps}, preRollMiB: 8, preRollS: 2, postRollS: 2 }
outbox: { limitMiB: 64, headroomMiB: 1 }
`;

suite("panel", (test) => {
  const title =
    "a press lets a phone pair through the lens, up to the first clip; ten seconds make the board as new, to a search of its card";
  if (machine.kind !== "guest") {
    test.skip(title, machine.kind === "host" ? "would add a GPIO chip to the host" : machine.why);
    return;
  }
  if (packages === undefined) {
    test.skip(title, "no libgpiod for guests: scripts/board/packages downloads it");
    return;
  }
  test(
    title,
    async () => {
      await using folder = await temporaryFolder();
      const { pictures } = await countedFootage({
        ...{ folder: folder.path, format: "YUYV", ...size, rates: [[0, fps]] },
        scenes: { before: 30, people: 40, after: 50 },
        part: { x: 128, y: 150, width: 512, height: 288 },
      });
      const card = join(folder.path, "card");
      const disk = await open(card, "w");
      await disk.truncate(64 << 20);
      await disk.close();
      const order: PanelOrder = { pictures, size };
      await using run = await runOnBoard(machine, {
        command: ["node", "dist/test/system/guest/panel.js"],
        modules: ["gpio-sim", loopback],
        prepare: "mkfs.ext4 -q -F /dev/ubda; mkdir -p /card; mount /dev/ubda /card",
        files: { "order.json": JSON.stringify(order), "camera.yaml": settings },
        ...{ packages, disks: [card], memoryMiB: 768, timeoutMs: 1_200_000 },
      });
      console.log(run.stdout);
      const secrets = JSON.parse((await run.read("secrets.json")).toString()) as Secrets;
      const canaries: Canary[] = Object.entries(secrets).map(([kind, hex]) => ({
        kind,
        bytes: fromHex(hex),
      }));
      const before = await searchFiles(canaries, [join(run.results, "before.img")]);
      const after = await searchFiles(canaries, [join(run.results, "after.img")]);
      console.log(`measured: on the card before: ${JSON.stringify(before.hits)}`);
      assert.equal(Object.keys(before.hits).sort(), Object.keys(secrets).sort());
      assert.equal(after.hits, {}, JSON.stringify(after.first));
    },
    { deadlineMs: 1_700_000 },
  );
});
