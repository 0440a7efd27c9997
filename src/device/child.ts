import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { Failure } from "../base/pure/failure.ts";

export type Child = {
  readonly pid: number | undefined;
  /** Bytes in; errors on it are swallowed, `ended` tells how the child went. */
  readonly input: Writable;
  readonly output: Readable;
  /** How it ended; never rejects. `complaint` is the end of what it wrote to standard error. */
  readonly ended: Promise<{
    code: number | null;
    signal: NodeJS.Signals | null;
    complaint: string;
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
 * Throws Failure("absent") when `program` is in no folder of PATH.
 */
export function startChild(program: string, args: readonly string[]): Child {
  const path = process.env.PATH ?? "/usr/local/bin:/usr/bin:/bin";
  const file = findProgram(program, path);
  // Both are of util-linux, which Debian calls essential; each becomes the next by exec.
  const line = ["--core=1:1", "setpriv", "--pdeathsig", "KILL", file, ...args];
  const process_ = spawn("prlimit", line, {
    stdio: ["pipe", "pipe", "pipe"],
    env: { PATH: path, LC_ALL: "C" },
    detached: true,
  });
  return supervise(process_);
}

/** The full path of `program`. */
export function findProgram(program: string, path = process.env.PATH ?? ""): string {
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

function supervise(
  child: ChildProcess & { stdin: Writable; stdout: Readable; stderr: Readable },
): Child {
  let complaint = "";
  child.stderr.setEncoding("latin1").on("data", (text: string) => {
    // Other programs' words end in our log: keep what is plain text, and little of it.
    complaint = (complaint + text.replace(/[^\x20-\x7e]+/g, " ")).slice(-complaintChars);
  });
  for (const stream of [child.stdin, child.stdout, child.stderr]) stream.on("error", () => {});
  const ended: Child["ended"] = new Promise((resolve) => {
    child.once("error", (error) =>
      resolve({ code: null, signal: null, complaint: complaint.trim(), error }),
    );
    // Not the child's "close": that waits until somebody has read all of its output.
    let left = 2;
    let how: { code: number | null; signal: NodeJS.Signals | null } = { code: null, signal: null };
    const one = () => {
      if (--left === 0) resolve({ ...how, complaint: complaint.trim() });
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
    ended,
    async kill() {
      child.kill("SIGKILL");
      child.stdin.destroy();
      child.stdout.destroy();
      await ended;
    },
  };
}
