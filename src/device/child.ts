import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { join } from "node:path";
import { Readable, type Writable } from "node:stream";
import { Failure } from "../base/pure/failure.ts";

export type Child = {
  readonly pid: number | undefined;
  /** Bytes in; errors on it are swallowed, `ended` tells how the child went. */
  readonly input: Writable;
  readonly output: Readable;
  /** What it writes to its descriptor 3, where that was asked for; empty else. */
  readonly aside: Readable;
  /**
   * How it ended; never rejects. `complaint` is the end of what it wrote to standard error, in one
   * line; `lastLine` the last line of that.
   */
  readonly ended: Promise<{
    code: number | null;
    signal: NodeJS.Signals | null;
    complaint: string;
    lastLine: string;
    error?: Error;
  }>;
  /** Ends it at once and resolves when it is gone; from every state, twice. */
  kill(): Promise<void>;
};

/** Enough for a last line or two; a child that talks more is cut, not collected. */
const complaintChars = 400;

/**
 * Starts a helper program that sees plain pictures: without a shell, with nothing of our
 * environment but PATH (libcamera's LD_PRELOAD would start a second camera manager in it), unable
 * to leave a core file, in a session of its own so that Ctrl-C reaches only us and what is open can
 * be finished, and killed by the kernel should we die first.
 *
 * `program` is a name, or a path with a slash in it. Throws Failure("absent") when it is in no folder
 * of PATH.
 */
export function startChild(
  program: string,
  args: readonly string[],
  { aside = false }: { aside?: boolean } = {},
): Child {
  const path = process.env.PATH ?? "/usr/local/bin:/usr/bin:/bin";
  const file = findProgram(program, path);
  // Both are of util-linux, which Debian calls essential; each becomes the next by exec.
  const line = ["--core=1:1", "setpriv", "--pdeathsig", "KILL", file, ...args];
  const process_ = spawn("prlimit", line, {
    stdio: ["pipe", "pipe", "pipe", ...(aside ? (["pipe"] as const) : [])],
    env: { PATH: path, LC_ALL: "C" },
    detached: true,
  });
  return supervise(process_ as Piped);
}

/**
 * All that a helper printed when it ended well; it is given nothing to read. Throws Failure "refused"
 * with its last words when it did not, or when it printed more than `mostBytes`, "stalled" after
 * `limitMs`, "absent".
 */
export async function outputOf(
  program: string,
  args: readonly string[],
  { limitMs, mostBytes }: { limitMs: number; mostBytes: number },
): Promise<string> {
  const child = startChild(program, args);
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    void child.kill();
  }, limitMs);
  try {
    child.input.end();
    let said = Buffer.alloc(0);
    child.output.on("data", (chunk: Buffer) => {
      if (said.length <= mostBytes) said = Buffer.concat([said, chunk]);
    });
    const closed = new Promise((resolve) => child.output.once("close", resolve));
    const { code, signal, lastLine, error } = await child.ended;
    await closed;
    if (isLate) throw new Failure("stalled", `${program} gave no answer in ${limitMs / 1000} s`);
    if (code !== 0) {
      const cause = error ? { cause: error } : {};
      const how = signal ? `was ended by ${signal}` : `ended with ${code}`;
      throw new Failure("refused", lastLine || `${program} ${how}`, cause);
    }
    if (said.length > mostBytes) throw new Failure("refused", `${program} says too much`);
    return said.toString("utf8");
  } finally {
    clearTimeout(timer);
    await child.kill();
  }
}

/** The full path of `program`. */
export function findProgram(program: string, path = process.env.PATH ?? ""): string {
  if (program.includes("/")) return program;
  for (const folder of path.split(":")) {
    const file = join(folder, program);
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {}
  }
  throw new Failure("absent", `${program} is not installed`, {
    hint: `Install it: sudo apt-get install ${program}`,
  });
}

type Piped = ChildProcess & { stdin: Writable; stdout: Readable; stderr: Readable };

function supervise(child: Piped): Child {
  let said = "";
  child.stderr.setEncoding("latin1").on("data", (text: string) => {
    // Other programs' words end in our log: keep what is plain text, and little of it.
    said = (said + text.replace(/[^\x20-\x7e\n]+/g, " ")).slice(-complaintChars);
  });
  const words = () => {
    const lines = said.trim().split(/\s*\n\s*/);
    return { complaint: lines.join(" "), lastLine: lines.at(-1) ?? "" };
  };
  const aside = (child.stdio[3] as Readable | undefined) ?? Readable.from([]);
  for (const stream of [child.stdin, child.stdout, child.stderr, aside]) {
    stream.on("error", () => {});
  }
  const ended: Child["ended"] = new Promise((resolve) => {
    child.once("error", (error) => resolve({ code: null, signal: null, ...words(), error }));
    // Not the child's "close": that waits until somebody has read all of its output.
    let left = 2;
    let how: { code: number | null; signal: NodeJS.Signals | null } = { code: null, signal: null };
    const one = () => {
      if (--left === 0) resolve({ ...how, ...words() });
    };
    child.stderr.once("close", one);
    child.once("exit", (code, signal) => {
      how = { code, signal };
      one();
    });
  });
  return {
    pid: child.pid,
    input: child.stdin,
    output: child.stdout,
    aside,
    ended,
    async kill() {
      // With whatever it started: it leads a group of its own, which is its to name while it lives.
      const isOver = child.exitCode !== null || child.signalCode !== null;
      try {
        if (!isOver && child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
      } catch {} // it went by itself
      child.stdin.destroy();
      child.stdout.destroy();
      aside.destroy();
      await ended;
    },
  };
}
