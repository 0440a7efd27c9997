import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { equal, is, match, ok } from "uvu/assert";
import { type BoardOptions, bootBoard, runOnBoard } from "../lib/board.ts";
import { checkout, findMachine } from "../lib/machine.ts";
import { suite } from "../lib/suite.ts";

const machine = await findMachine();
const shell = (script: string, more: Partial<BoardOptions> = {}) =>
  bootBoard(machine, { command: ["sh", "-c", script], timeoutMs: 20_000, memoryMiB: 256, ...more });

/** Processes and folders of boards that this test process started. */
async function leftovers(): Promise<string[]> {
  const folders = (await readdir(tmpdir())).filter((name) =>
    name.startsWith(`obscura-board-${process.pid}-`),
  );
  return [...folders, ...(await readdir("/dev/shm")).filter((name) => name.startsWith("vm_file"))];
}

suite("board", (test) => {
  if (machine.kind !== "guest") {
    test.skip("everything", machine.kind === "host" ? "runs on the host" : machine.why);
    return;
  }

  test("hands back exit code, output and result files", async () => {
    await using board = await shell('echo out; echo err >&2; cp /results/a "$TO"; exit 7', {
      files: { a: new Uint8Array([1, 2, 3]) },
      environment: { TO: "/results/it's b" },
    });
    const ending = await board.ended;
    equal([ending.exit, ending.fault], [7, undefined]);
    equal([ending.stdout, ending.stderr], ["out\n", "err\n"]);
    ok((await readdir(board.results)).includes("it's b"));
  });

  test("runs the checkout with the host's Node, and has the memory it was given", async () => {
    await using run = await runOnBoard(machine, {
      command: ["node", "-p", "JSON.stringify([process.version, process.cwd(), os.totalmem()])"],
      memoryMiB: 416,
      timeoutMs: 20_000,
    });
    const [version, folder, bytes] = JSON.parse(run.stdout);
    equal([version, folder], [process.version, checkout]);
    ok(bytes > 380 * 2 ** 20 && bytes <= 416 * 2 ** 20, `${bytes} B`);
  });

  test("writes of the guest stay in the guest, results excepted", async () => {
    const marks = [`${checkout}/board-was-here`, `${tmpdir()}/board-was-here`, "/board-was-here"];
    await using board = await shell(marks.map((path) => `echo x > ${path}`).join(" && "));
    is((await board.ended).exit, 0);
    for (const folder of [checkout, tmpdir(), "/"])
      ok(!(await readdir(folder)).includes("board-was-here"), folder);
  });

  test("a guest that hangs is killed, and what it had said is kept", async () => {
    await using board = await shell("echo begun; while :; do :; done", { timeoutMs: 3000 });
    const ending = await board.ended;
    is(ending.exit, undefined);
    match(ending.fault ?? "", "did not end within 3000 ms");
    is(ending.stdout, "begun\n");
  });

  test("a guest that dies is told from one that ended", async () => {
    await using board = await shell("sync; echo c >/proc/sysrq-trigger; sleep 60");
    const ending = await board.ended;
    is(ending.exit, undefined);
    match(ending.fault ?? "", "ended without a result");
    match(ending.console, "Kernel panic");
  });

  test("a guest whose kernel hangs is told from one whose work does", async () => {
    await using board = await shell("sleep 60", { timeoutMs: 60_000, silentMs: 8000 });
    while (!existsSync(join(board.results, ".alive"))) await sleep(100);
    process.kill(board.pid, "SIGSTOP");
    const { isStuck, fault } = await board.ended;
    equal([isStuck, fault], [true, "its kernel hung"]);
    await using busy = await shell("sleep 60", { timeoutMs: 15_000, silentMs: 8000 });
    is((await busy.ended).isStuck, false);
  });

  test("a module that is not there is a fault, not a run without it", async () => {
    await using board = await shell("echo ran", { modules: ["no_such_driver"] });
    const ending = await board.ended;
    equal(
      [ending.exit, ending.fault, ending.stdout],
      [undefined, "cannot load no_such_driver", ""],
    );
  });

  test("several at once do not see one another, and nothing is left", async () => {
    {
      await using first = await shell("echo 1 >/results/x; sleep 1; cat /results/x");
      await using second = await shell("echo 2 >/results/x; sleep 1; cat /results/x");
      const endings = await Promise.all([first.ended, second.ended]);
      equal(
        endings.map((ending) => ending.stdout),
        ["1\n", "2\n"],
      );
      await using abandoned = await shell("sleep 60", { timeoutMs: 60_000 });
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
      timeoutMs: 20_000,
    });
    const frames = await run.read("frames");
    is(frames.length, 10 * 640 * 360 * 2);
    ok(new Set(frames.subarray(0, 640 * 2)).size > 8, "a line of the test card has many values");
  });
});
