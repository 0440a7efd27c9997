import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join, relative } from "node:path";
import { parseArgs } from "node:util";

const help = `usage: scripts/test [--root DIR] [--jobs N] [PATTERN...]

Sets up this machine, checks the house, then runs every compiled test file (dist/test/**/*.test.js) in
a process of its own and counts what the files themselves report. PATTERN keeps the files whose path
contains it. Exit code 0 only when at least one file ran, each ran at least one test, none failed and
none ended otherwise.

  --root DIR   where the compiled tests lie (default dist/test)
  --jobs N     files at a time (default: as many as processors)
  --once       no second try

Up to three files that failed are run once more, alone, at the very end. What passes only then is named
and counted as unsteady: something in it or in what it tests depends on the machine, and is to be found.

Files in test/system boot a guest, which is busy on one processor: one at a time, beside the others.
Those in test/whole have all processors to themselves, at the end.
`;

const compiled = "dist/test";
/** tsc leaves the output of a deleted test behind; without its source it is not a test. */
const sourceOf = (name: string) => name.replace(/\.js$/, ".ts");

type Count = { passed: number; failed: number; skipped: number };
type Outcome = { file: string; count: Count; output: string; seconds: number; fault?: string };

/** A system test may start machines; anything else that takes this long hangs. */
const fileDeadlineMs = { whole: 30 * 60_000, other: 20 * 60_000, ending: 15_000 };

/** More than these are no bad luck, and what took longer than this is not waited for twice. */
const again = { mostFiles: 3, mostSeconds: 900 };

/**
 * Reads uvu's own summary. uvu 0.5.6 exits 0 in four cases in which nothing was proven (a hook
 * that throws, twice over; a suite never run; no file at all), so its exit code is not enough.
 */
export function readCount(output: string): Count | undefined {
  const number = (label: string) => {
    const all = [...output.matchAll(new RegExp(`^ {2}${label}:\\s+(\\d+)`, "gm"))];
    return all.length === 1 ? Number(all[0]?.[1]) : undefined;
  };
  const total = number("Total");
  const passed = number("Passed");
  const skipped = number("Skipped");
  if (total === undefined || passed === undefined || skipped === undefined) return undefined;
  return { passed, failed: total - passed, skipped };
}

/** The lines for people: uvu prints its dots without a line's end, so they may begin in its midst. */
export function readNotes(output: string): string[] {
  return output.match(/(?:^skipped|measured): .*$/gm) ?? [];
}

/** Title and first line of each failed test, which stand again at the end, where one looks. */
export function readFailures(output: string): string[] {
  return output.match(/^ {3}FAIL {2}.*\n.*$/gm) ?? [];
}

/** What is wrong with a file that ended so, or undefined when it is well. */
export function findFault(exit: string, count: Count | undefined): string | undefined {
  if (exit !== "exit 0") return exit;
  if (!count) return "printed no summary: was suite() called, once?";
  if (count.failed > 0) return `${count.failed} tests did not pass although it ended with 0`;
  if (count.passed + count.skipped === 0) return "ran no test";
  return undefined;
}

/** The processors that this process may run on, the lowest first. */
export function processors(): string[] {
  const status = readFileSync("/proc/self/status", "utf8");
  const [, allowed = "0"] = /^Cpus_allowed_list:\s*(\S+)/m.exec(status) ?? [];
  return allowed.split(",").flatMap((range) => {
    const [first = 0, last = first] = range.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => String(first + i));
  });
}

/** `places`: the processors that it may use, if not all. */
async function runFile(file: string, places?: readonly string[]): Promise<Outcome> {
  const startedMs = performance.now();
  const pinned = places ? ["taskset", "--cpu-list", places.join(",")] : [];
  const node = [process.execPath, "--enable-source-maps", "--expose-gc", file];
  const [program = "", ...args] = [...pinned, ...node];
  const child = spawn(program, args, {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, FORCE_COLOR: "0" },
  });
  let output = "";
  let timer: NodeJS.Timeout | undefined;
  const killIn = (ms: number) => {
    clearTimeout(timer);
    timer = setTimeout(() => child.kill("SIGKILL"), ms);
  };
  const isLong = file.includes("/system/") || file.includes("/whole/");
  killIn(isLong ? fileDeadlineMs.whole : fileDeadlineMs.other);
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      // What a failed test left open would hold the file for ever.
      if (readCount(output)) killIn(fileDeadlineMs.ending);
    });
  }
  const exit = await new Promise<string>((resolve) => {
    const said = (code: number | null, signal: NodeJS.Signals | null) =>
      signal ? `killed by ${signal}` : `exit ${code}`;
    child.on("error", (error) => resolve(error.message));
    child.on("close", (code, signal) => resolve(said(code, signal)));
    // A program that outlives its test would hold the run for ever by what it was to print to.
    child.on("exit", (code, signal) => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        for (const stream of [child.stdout, child.stderr]) stream.destroy();
        resolve(`${said(code, signal)}, and a program that it started was left behind`);
      }, fileDeadlineMs.ending);
    });
  });
  clearTimeout(timer);
  const count = readCount(output);
  const fault = findFault(exit, count);
  const counted = count ?? { passed: 0, failed: 0, skipped: 0 };
  if (fault && counted.failed === 0) counted.failed = 1;
  const seconds = Math.round((performance.now() - startedMs) / 1000);
  return { file, count: counted, output, seconds, ...(fault ? { fault } : {}) };
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      root: { type: "string", default: compiled },
      jobs: { type: "string", default: String(availableParallelism()) },
      once: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(help);
    return 0;
  }
  const all = (await readdir(values.root, { recursive: true }))
    .filter((name) => name.endsWith(".test.js"))
    .filter((name) => values.root !== compiled || existsSync(join("test", sourceOf(name))))
    .map((name) => join(values.root, name))
    .filter((file) => positionals.length === 0 || positionals.some((p) => file.includes(p)))
    .sort();
  const guests = all.filter((file) => file.includes("/system/"));
  const alone = all.filter((file) => file.includes("/whole/"));
  const queue = all.filter((file) => !guests.includes(file) && !alone.includes(file));

  const outcomes = new Map<string, Outcome>();
  const report = (outcome: Outcome) => {
    outcomes.set(outcome.file, outcome);
    const { passed, skipped } = outcome.count;
    const name = nameOf(outcome);
    const rest = skipped > 0 ? `, ${skipped} skipped` : "";
    console.log(
      `${outcome.fault ? "FAILED" : "ok"} ${name}: ${passed} passed${rest}, ${outcome.seconds} s`,
    );
    for (const line of readNotes(outcome.output)) console.log(`  ${line}`);
    if (outcome.fault) console.log(`${outcome.output}\n${name}: ${outcome.fault}`);
  };
  const nameOf = ({ file }: Outcome) => relative(values.root, file);
  const jobs = Number(values.jobs) || 1;
  // A guest takes the last processor (test/lib/board.ts).
  const others = processors().slice(0, -1);
  let isGuest = guests.length > 0 && jobs > 1 && others.length > 0;
  const worker = async (files: string[]) => {
    for (let file = files.shift(); file; file = files.shift()) {
      report(await runFile(file, isGuest && files === queue ? others : undefined));
    }
  };
  const guided = async () => {
    await worker(guests);
    isGuest = false;
    await worker(queue);
  };
  await Promise.all([guided(), ...Array.from({ length: jobs - 1 }, () => worker(queue))]);
  await worker(alone);

  const failed = [...outcomes.values()].filter(({ fault }) => fault);
  const isBadLuck = failed.every(({ seconds }) => seconds <= again.mostSeconds);
  if (!values.once && isBadLuck && failed.length <= again.mostFiles) {
    for (const { file } of failed) report(await runFile(file));
  }

  const sum: Count = { passed: 0, failed: 0, skipped: 0 };
  for (const { count } of outcomes.values()) {
    sum.passed += count.passed;
    sum.failed += count.failed;
    sum.skipped += count.skipped;
  }
  const unsteady = failed.filter(({ file }) => !outcomes.get(file)?.fault);
  for (const first of failed) {
    const last = outcomes.get(first.file) ?? first;
    console.log(
      last.fault
        ? `FAILED ${nameOf(last)}: ${last.fault}`
        : `UNSTEADY ${nameOf(last)}: ${first.fault}, and passed at its second try, alone`,
    );
    for (const line of readFailures((last.fault ? last : first).output)) console.log(line);
  }
  if (all.length === 0) console.log(`no test file matches in ${values.root}`);
  const { passed, skipped } = sum;
  const luck = unsteady.length > 0 ? `, ${unsteady.length} unsteady` : "";
  console.log(`${passed} passed, ${sum.failed} failed, ${skipped} skipped${luck}`);
  return all.length > 0 && passed > 0 && sum.failed === 0 ? 0 : 1;
}

if (process.argv[1]?.endsWith("scripts/test.js")) process.exitCode = await main();
