import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { equal, is, match, ok } from "uvu/assert";
import { type BoardOptions, boardUntilEnd, bootBoard, runOnBoard } from "../lib/board.ts";
import { checkout, findMachine } from "../lib/machine.ts";
import { suite } from "../lib/suite.ts";

const machine = await findMachine();
const orderOf = (script: string, more: Partial<BoardOptions>): BoardOptions => ({
  ...{ command: ["sh", "-c", script], timeoutMs: 300_000, memoryMiB: 256 },
  ...more,
});
const shell = (script: string, more: Partial<BoardOptions> = {}) =>
  bootBoard(machine, orderOf(script, more));
/** Until it has ended by itself: once more where the guest's kernel hung, which shows nothing of us. */
async function shellToEnd(script: string, more: Partial<BoardOptions> = {}) {
  const { board, ending } = await boardUntilEnd(machine, orderOf(script, more));
  return { ...board, ending };
}

/** Short limits, then longer ones: on some machine a guest has hardly begun within the first. */
const patience = [1, 4, 12] as const;

/** Processes and folders of boards that this test process started. */
async function leftovers(): Promise<string[]> {
  const folders = (await readdir(tmpdir())).filter((name) =>
    name.startsWith(`obscura-board-${process.pid}-`),
  );
  return [...folders, ...(await readdir("/dev/shm")).filter((name) => name.startsWith("vm_file"))];
}

suite("board", (define) => {
  const test = (title: string, body: () => Promise<void>) =>
    define(title, body, { deadlineMs: 1_200_000 });
  if (machine.kind !== "guest") {
    define.skip("everything", machine.kind === "host" ? "runs on the host" : machine.why);
    return;
  }

  test("hands back exit code, output and result files", async () => {
    await using board = await shellToEnd('echo out; echo err >&2; cp /results/a "$TO"; exit 7', {
      files: { a: new Uint8Array([1, 2, 3]) },
      environment: { TO: "/results/it's b" },
    });
    const { ending } = board;
    equal([ending.exit, ending.fault], [7, undefined]);
    equal([ending.stdout, ending.stderr], ["out\n", "err\n"]);
    ok((await readdir(board.results)).includes("it's b"));
  });

  test("runs the checkout with the host's Node, and has the memory it was given", async () => {
    await using run = await runOnBoard(machine, {
      command: ["node", "-p", "JSON.stringify([process.version, process.cwd(), os.totalmem()])"],
      memoryMiB: 416,
      timeoutMs: 300_000,
    });
    const [version, folder, bytes] = JSON.parse(run.stdout);
    equal([version, folder], [process.version, checkout]);
    ok(bytes > 380 * 2 ** 20 && bytes <= 416 * 2 ** 20, `${bytes} B`);
  });

  test("writes of the guest stay in the guest, results excepted", async () => {
    const marks = [`${checkout}/board-was-here`, `${tmpdir()}/board-was-here`, "/board-was-here"];
    await using board = await shellToEnd(marks.map((path) => `echo x > ${path}`).join(" && "));
    is(board.ending.exit, 0);
    for (const folder of [checkout, tmpdir(), "/"])
      ok(!(await readdir(folder)).includes("board-was-here"), folder);
  });

  test("a guest that hangs is killed, and what it had said is kept", async () => {
    for (const times of patience) {
      const limits = { timeoutMs: 20_000 * times, silentMs: 12_000 * times };
      await using board = await shellToEnd("echo begun; while :; do :; done", limits);
      const { ending } = board;
      const isLate = ending.isStuck || ending.stdout === "";
      if (isLate && times !== patience.at(-1)) continue;
      is(ending.exit, undefined);
      match(ending.fault ?? "", `did not end within ${limits.timeoutMs} ms`);
      is(ending.stdout, "begun\n");
      break;
    }
  });

  test("a guest that dies is told from one that ended", async () => {
    await using board = await shellToEnd("sync; echo c >/proc/sysrq-trigger; sleep 60");
    const { ending } = board;
    is(ending.exit, undefined);
    match(ending.fault ?? "", "ended without a result");
    match(ending.console, "Kernel panic");
  });

  test("a guest whose kernel hangs is told from one whose work does", async () => {
    const limits = { timeoutMs: 200_000, silentMs: 12_000 };
    await using board = await shell("sleep 200", limits);
    let isOver = false;
    void board.ended.then(() => {
      isOver = true;
    });
    while (!isOver && !existsSync(join(board.results, ".alive"))) await sleep(100);
    if (!isOver) process.kill(board.pid, "SIGSTOP");
    const { isStuck, fault } = await board.ended;
    equal([isStuck, fault], [true, "its kernel hung"]);
    for (const times of patience) {
      const wait = { timeoutMs: 26_000 * times, silentMs: 12_000 * times };
      await using busy = await shellToEnd(`sleep ${60 * times}`, wait);
      if (busy.ending.isStuck && times !== patience.at(-1)) continue;
      is(busy.ending.isStuck, false);
      break;
    }
  });

  test("a module that is not there is a fault, not a run without it", async () => {
    await using board = await shellToEnd("echo ran", { modules: ["no_such_driver"] });
    const { ending } = board;
    equal(
      [ending.exit, ending.fault, ending.stdout],
      [undefined, "cannot load no_such_driver", ""],
    );
  });

  test("several at once do not see one another, and nothing is left", async () => {
    for (let tries = 1, isStuck = true; isStuck; tries++) {
      await using first = await shell("echo 1 >/results/x; sleep 1; cat /results/x");
      await using second = await shell("echo 2 >/results/x; sleep 1; cat /results/x");
      const endings = await Promise.all([first.ended, second.ended]);
      isStuck = tries < 3 && endings.some((ending) => ending.isStuck);
      if (isStuck) continue;
      equal(
        endings.map((ending) => ending.stdout),
        ["1\n", "2\n"],
      );
      await using abandoned = await shell("sleep 300");
      ok(abandoned.pid > 0);
    }
    equal(await leftovers(), []);
  });

  test("real V4L2: vivid streams 640×360 pictures whose bytes are whole", async () => {
    await using run = await runOnBoard(machine, {
      command: [
        "v4l2-ctl",
        ...["-d", "/dev/video0", "--set-fmt-video=width=640,height=360,pixelformat=YUYV"],
        ...["--stream-mmap=4", "--stream-count=10", "--stream-to=/results/frames"],
      ],
      modules: ["vivid node_types=0x1 input_types=0x0 num_inputs=1"],
      timeoutMs: 300_000,
    });
    const frames = await run.read("frames");
    is(frames.length, 10 * 640 * 360 * 2);
    ok(new Set(frames.subarray(0, 640 * 2)).size > 8, "a line of the test card has many values");
  });
});
