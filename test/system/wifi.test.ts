import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { boardUntilEnd } from "../lib/board.ts";
import { findMachine, findPackages } from "../lib/machine.ts";
import { suite } from "../lib/suite.ts";

const machine = await findMachine();
const packages = findPackages();
const stories = {
  join: "WPA2, WPA3 and hidden joined; what fails is told apart and leaves the board where it was",
  own: "a board without a network makes one, in which a phone pairs and hands it another",
};

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
        const { board, ending } = await boardUntilEnd(machine, {
          command: ["node", "dist/test/system/guest/wifi.js"],
          ...{ packages, memoryMiB: 640, timeoutMs: 360_000 },
          modules: [`mac80211_hwsim radios=${name === "own" ? 3 : 2}`],
          environment: { STORY: name },
        });
        await using _ = board;
        const read = (file: string) => readFile(join(board.results, file), "utf8").catch(() => "");
        const progress = await read("progress");
        console.log(`\n${progress.replaceAll(/^/gm, "  ")}`);
        if (ending.exit === 0 && progress.endsWith("the end\n")) return;
        const told = [await read("manager.log"), await read("commands"), ending.stderr];
        const last = [...told, ending.console].map((text) => text.slice(-6000));
        assert.unreachable([ending.fault, ...last].join("\n"));
      },
      { deadlineMs: 780_000 },
    );
  }
});
