import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { boardUntilEnd } from "../lib/board.ts";
import { findMachine, findPackages } from "../lib/machine.ts";
import { suite } from "../lib/suite.ts";
import { temporaryFolder } from "../lib/world.ts";
import { loopback } from "./observe.ts";
import { assertVisit, visitFootage, visitSettings } from "./visit.ts";

const machine = await findMachine();
const packages = findPackages();
const stories = {
  join: "WPA2, WPA3 and hidden joined; what fails is told apart and leaves the board where it was",
  own: "a board without a network makes one, in which a phone pairs and hands it another: to its first clip",
};

async function boardFiles(folder: string): Promise<Record<string, string>> {
  const order = JSON.stringify(await visitFootage(folder));
  return { "order.json": order, "camera.yaml": visitSettings };
}

suite("wifi", (test) => {
  for (const [name, title] of Object.entries(stories)) {
    if (machine.kind !== "guest") {
      test.skip(title, machine.kind === "host" ? "would change the host's network" : machine.why);
      continue;
    }
    if (packages === undefined) {
      test.skip(title, "no NetworkManager for guests: scripts/board/packages downloads it");
      continue;
    }
    test(
      title,
      async () => {
        await using folder = await temporaryFolder();
        const isOwn = name === "own";
        const { board, ending } = await boardUntilEnd(machine, {
          command: ["node", "dist/test/system/guest/wifi.js"],
          ...{ packages, memoryMiB: isOwn ? 768 : 640, timeoutMs: 1_200_000 },
          modules: [`mac80211_hwsim radios=${isOwn ? 3 : 2}`, ...(isOwn ? [loopback] : [])],
          environment: { STORY: name },
          files: isOwn ? await boardFiles(folder.path) : {},
        });
        await using _ = board;
        const read = (file: string) => readFile(join(board.results, file), "utf8").catch(() => "");
        const progress = await read("progress");
        console.log(`\n${progress.replaceAll(/^/gm, "  ")}`);
        if (ending.exit === 0 && progress.endsWith("the end\n")) {
          if (isOwn) await assertVisit(await readFile(join(board.results, "first.mp4")));
          return;
        }
        const told = [await read("manager.log"), await read("commands"), ending.stderr];
        const last = [...told, ending.console].map((text) => text.slice(-6000));
        assert.unreachable([ending.fault, ...last].join("\n"));
      },
      { deadlineMs: 1_700_000 },
    );
  }
});
