import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import * as assert from "uvu/assert";
import { type Board, type BoardOptions, bootBoard, type Ending } from "../lib/board.ts";
import { makeImage } from "../lib/disk.ts";
import { findMachine } from "../lib/machine.ts";
import { suite } from "../lib/suite.ts";
import { quickFolder } from "../lib/world.ts";

const machine = await findMachine();

const read = (board: Board, name: string) =>
  readFile(join(board.results, name), "utf8").catch(() => "");

/** Everything that a life of the board said, for whoever has to find out what went wrong. */
async function story(board: Board): Promise<string> {
  const ending = await board.ended;
  const texts = [await read(board, "progress"), ending.fault, ending.stderr, ending.console];
  return texts.map((text) => (text ?? "").slice(-4000)).join("\n");
}

type Disks = {
  disk: string;
  /** What a card reader shows: the boot partition. */
  card: string;
};

suite("installed", (test) => {
  const title =
    "installed, paired by its label, killed, hung, unplugged, upgraded, cut off, started again, removed";
  if (machine.kind !== "guest") {
    test.skip(title, machine.kind === "host" ? "would install on the host" : machine.why);
    return;
  }
  if (!existsSync("/lib/systemd/systemd")) {
    test.skip(title, "the host, whose root is the guest's, has no systemd");
    return;
  }
  if (process.getuid?.() !== 0) {
    test.skip(title, "only root's guest can give files to other users");
    return;
  }

  const boot = ({ disk, card }: Disks, life: string, files: BoardOptions["files"] = {}) =>
    bootBoard(machine, {
      command: ["node", "dist/test/system/guest/installed.js"],
      ...{ systemd: true, lasting: true, disks: [disk, card], urgent: true, files },
      ...{ memoryMiB: 768, timeoutMs: 1_000_000 },
      modules: ["vivid node_types=0x1 input_types=0x0 num_inputs=1", "uleds"],
      // Whether npm has to run is not the question here, and it could not.
      prepare: "cp package-lock.json node_modules/.obscura-lock",
      environment: { LIFE: life },
    });

  const lives = async (folder: string): Promise<"well" | "stuck"> => {
    const disks = { disk: join(folder, "disk"), card: join(folder, "card") };
    await makeImage(disks.disk, 2 ** 30);
    // Without a journal, as FAT is, which this kernel has not: what is overwritten is nowhere else.
    await makeImage(disks.card, 2 ** 24, "-O", "^has_journal");
    let identity = "";
    {
      await using board = await boot(disks, "1");
      let ending: Ending | undefined;
      void board.ended.then((how) => {
        ending = how;
      });
      while (!ending && !existsSync(join(board.results, "cut"))) await wait(200);
      if (ending?.isStuck) return "stuck";
      if (ending) assert.unreachable(await story(board));
      identity = await read(board, "identity");
      console.log((await read(board, "progress")).replaceAll(/^/gm, "  "));
    }
    await using board = await boot(disks, "2", { identity });
    const { exit, isStuck } = await board.ended;
    if (isStuck) return "stuck";
    if (exit !== 0) assert.unreachable(await story(board));
    console.log((await read(board, "progress")).replaceAll(/^/gm, "  "));
    return "well";
  };

  test(
    title,
    async () => {
      // A guest kernel that hangs (test/lib/board.ts) is no fault of what is installed in it.
      for (let stuck = 0; ; stuck++) {
        await using folder = await quickFolder();
        if ((await lives(folder.path)) === "well") {
          console.log(`measured: the guest's kernel hung ${stuck} times`);
          return;
        }
        assert.ok(stuck < 3, "the guest's kernel hung again and again");
      }
    },
    { deadlineMs: 1_700_000 },
  );
});
