import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { fromText, toHex } from "../../src/base/pure/bytes.ts";
import { printLens } from "../../src/protocol/sealed/lens.ts";
import { ready } from "../../src/protocol/sealed/sodium.ts";
import { runOnBoard } from "../lib/board.ts";
import type { Playlist } from "../lib/counted.ts";
import { asJpegs } from "../lib/footage.ts";
import { findMachine } from "../lib/machine.ts";
import { lensCode } from "../lib/pairing.ts";
import { asYuyv, conditions, showCode } from "../lib/shown.ts";
import { suite } from "../lib/suite.ts";
import { temporaryFolder } from "../lib/world.ts";
import type { Order, Read } from "./guest/lens.ts";
import { loopback } from "./observe.ts";

await ready();
const machine = await findMachine();
const device = "/dev/video10";
const wifi = { ssid: fromText("Zuhause"), password: "correct horse battery", hidden: false };
/** Each condition's code is of a phone of its own, so that it is known which was read. */
const phones = Object.keys(conditions).map((_, i) => new Uint8Array(16).fill(i + 1));
const repeats = 8;
const everyMs = 100;

suite("lens through v4l2loopback", (test) => {
  if (machine.kind === "none") {
    test.skip("everything", machine.why);
    return;
  }
  for (const { format, width, height } of [
    { format: "YUYV", width: 640, height: 480 },
    { format: "MJPG", width: 1280, height: 720 },
  ] as const)
    test(
      `${format} ${width}×${height}: what reads`,
      async () => {
        await using folder = await temporaryFolder();
        const lumas = Object.values(conditions).map((shown, i) =>
          showCode(
            printLens({ ...lensCode, wifi, phone: phones[i] as Uint8Array }),
            { width, height },
            shown,
          ),
        );
        const pictures =
          format === "YUYV" ? lumas.map(asYuyv) : await asJpegs(lumas, { width, height });
        const shots = pictures.flatMap((bytes, i) => {
          const offset = pictures.slice(0, i).reduce((sum, { length }) => sum + length, 0);
          return Array.from({ length: repeats }, (_, again) => ({
            ...{ offset, length: bytes.length, atMs: (i * repeats + again) * everyMs },
          }));
        });
        const playlist = { format, width, height, shots, lengthMs: shots.length * everyMs };
        const [file, list] = [join(folder.path, "pictures"), join(folder.path, "playlist.json")];
        await writeFile(file, Buffer.concat(pictures));
        await writeFile(list, JSON.stringify(playlist satisfies Partial<Playlist>));
        const play = ["dist/test/system/guest/play.js", "--pictures", file, "--playlist", list];
        const order: Order = {
          camera: { source: device, format, width, height },
          player: [...play, "--device", device, "--rounds", "100"],
          phones: phones.map(toHex),
          forMs: 300_000,
        };
        await using run = await runOnBoard(machine, {
          command: ["node", "dist/test/system/guest/lens.js"],
          modules: [loopback],
          memoryMiB: 512,
          files: { "order.json": JSON.stringify(order) },
          timeoutMs: order.forMs + 200_000,
        });
        const read = JSON.parse((await run.read("read.json")).toString()) as Read;
        const names = Object.keys(conditions);
        const reads = names.filter((_, i) => read.phones.includes(toHex(phones[i] as Uint8Array)));
        console.log(
          `measured: lens through v4l2loopback, ${format} ${width}×${height}: ` +
            `${reads.join(", ")} read; all within ${read.seconds.toFixed(0)} s`,
        );
        assert.equal(reads, names);
      },
      { deadlineMs: 1_700_000 },
    );
});
