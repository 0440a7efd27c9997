import { existsSync } from "node:fs";
import * as assert from "uvu/assert";
import { runOnBoard } from "../lib/board.ts";
import { countedFootage } from "../lib/counted.ts";
import { findMachine } from "../lib/machine.ts";
import { suite } from "../lib/suite.ts";
import { temporaryFolder } from "../lib/world.ts";
import type { BluetoothOrder } from "./guest/bluetooth.ts";
import { loopback } from "./observe.ts";
import { bluetoothModules, bluetoothPrograms } from "./radios.ts";
import { readClip } from "./service.ts";

const machine = await findMachine();
const fps = 10;
const size = { width: 640, height: 360 };
const settings = `version: 1
camera: { width: ${size.width}, height: ${size.height}, fps: ${fps}, format: YUYV, slabMiB: 12 }
detect: { input: 256x160, precision: int8, crops: false, threads: 1 }
record: { fps: ${fps}, preRollMiB: 8, preRollS: 2, postRollS: 2 }
`;

suite("bluetooth", (test) => {
  const title =
    "garbage, a wrong secret, a phone that vanishes, bluetoothd killed; from no owner to the first clip";
  if (machine.kind !== "guest") {
    test.skip(title, machine.kind === "host" ? "would change the host's radios" : machine.why);
    return;
  }
  const missing = bluetoothPrograms.filter((path) => !existsSync(path));
  if (missing.length > 0) {
    test.skip(title, `the host, whose root is the guest's, has no ${missing.join(", ")}`);
    return;
  }
  test(
    title,
    async () => {
      await using folder = await temporaryFolder();
      const { pictures, playlist } = await countedFootage({
        ...{ folder: folder.path, format: "YUYV", ...size, rates: [[0, fps]] },
        scenes: { before: 30, people: 40, after: 50 },
        part: { x: 128, y: 150, width: 512, height: 288 },
      });
      const order: BluetoothOrder = { pictures, playlist };
      await using run = await runOnBoard(machine, {
        command: ["node", "dist/test/system/guest/bluetooth.js"],
        modules: [...bluetoothModules, "hci_vhci", loopback],
        files: { "order.json": JSON.stringify(order), "camera.yaml": settings },
        ...{ memoryMiB: 768, timeoutMs: 300_000 },
      });
      console.log(run.stdout);
      const film = await readClip(await run.read("first.mp4"));
      const counters = film.pictures.map(({ counter }) => counter);
      assert.ok(counters.length > 3 * fps && !counters.includes(undefined), String(counters));
    },
    { deadlineMs: 700_000 },
  );
});
