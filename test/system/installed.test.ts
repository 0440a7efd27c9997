import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { promisify } from "node:util";
import * as assert from "uvu/assert";
import { type Board, type BoardOptions, bootBoard } from "../lib/board.ts";
import { findMachine } from "../lib/machine.ts";
import { suite } from "../lib/suite.ts";
import { quickFolder } from "../lib/world.ts";

const run = promisify(execFile);
const machine = await findMachine();

const read = (board: Board, name: string) =>
  readFile(join(board.results, name), "utf8").catch(() => "");

/** Everything that a life of the board said, for whoever has to find out what went wrong. */
async function story(board: Board): Promise<string> {
  const ending = await board.ended;
  const texts = [await read(board, "progress"), ending.fault, ending.stderr, ending.console];
  return texts.map((text) => (text ?? "").slice(-4000)).join("\n");
}

suite("installed", (test) => {
  const title = "installed, killed, hung, unplugged, upgraded, cut off, started again, removed";
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

  // It hung once in six runs, on a busy machine, after the replug; CHANGELOG.md, "Not yet".
  if (!process.env.OBSCURA_INSTALLED) {
    test.skip(title, "takes minutes and may hang on a busy machine: OBSCURA_INSTALLED=1 runs it");
    return;
  }

  const boot = (disk: string, life: string, files: BoardOptions["files"] = {}) =>
    bootBoard(machine, {
      command: ["node", "dist/test/system/guest/installed.js"],
      ...{ systemd: true, lasting: true, disks: [disk], urgent: true, files },
      ...{ memoryMiB: 768, timeoutMs: 500_000 },
      modules: ["vivid node_types=0x1 input_types=0x0 num_inputs=1", "uleds"],
      // Whether npm has to run is not the question here, and it could not.
      prepare: "cp package-lock.json node_modules/.obscura-lock",
      environment: { LIFE: life },
    });

  test(
    title,
    async () => {
      await using folder = await quickFolder();
      const disk = join(folder.path, "disk");
      await writeFile(disk, "");
      await truncate(disk, 2 ** 30);
      await run("mkfs.ext4", ["-q", "-F", disk], {
        env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
      });
      let identity = "";
      {
        await using board = await boot(disk, "1");
        let isOver = false;
        void board.ended.then(() => {
          isOver = true;
        });
        while (!isOver && !existsSync(join(board.results, "cut"))) await wait(200);
        if (isOver) assert.unreachable(await story(board));
        identity = await read(board, "identity");
        console.log((await read(board, "progress")).replaceAll(/^/gm, "  "));
      }
      await using board = await boot(disk, "2", { identity });
      const { exit } = await board.ended;
      if (exit !== 0) assert.unreachable(await story(board));
      console.log((await read(board, "progress")).replaceAll(/^/gm, "  "));
    },
    { deadlineMs: 1_000_000 },
  );
});
