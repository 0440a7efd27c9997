import { spawn } from "node:child_process";
import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import type { Socket } from "node:net";
import { join } from "node:path";
import { concat } from "../pure/bytes.ts";
import { Failure } from "../pure/failure.ts";

/**
 * The stop signal of a program: aborts at the first SIGTERM or SIGINT; a second one kills as if
 * nobody had listened, for whoever does not want to wait until what is open has been sealed.
 */
export function stopSignal(): AbortSignal {
  const controller = new AbortController();
  for (const name of ["SIGTERM", "SIGINT"] as const) {
    process.on(name, () => {
      if (controller.signal.aborted) {
        // Not process.exit: the detector's runtime aborts when its thread is torn down in a run.
        process.removeAllListeners(name);
        process.kill(process.pid, name);
      }
      controller.abort(new Failure("gone", `stopped by ${name}`));
    });
  }
  return controller.signal;
}

/** The version of this checkout, of its package.json. */
export async function programVersion(): Promise<string> {
  const file = new URL("../../../../package.json", import.meta.url);
  return JSON.parse(await readFile(file, "utf8")).version;
}

/** Where a program keeps its state unless said: what systemd names, else the user's own folder. */
export function stateFolder(program: "camera" | "relay"): string {
  const { STATE_DIRECTORY, XDG_STATE_HOME, HOME } = process.env;
  if (STATE_DIRECTORY) return STATE_DIRECTORY;
  return join(XDG_STATE_HOME || join(HOME || "/var/lib", ".local/state"), "obscura", program);
}

/** The settings that a program reads unless others are named: those that systemd names, if it runs it. */
export function settingsFile(program: "camera" | "relay"): string | undefined {
  const folder = process.env.CONFIGURATION_DIRECTORY;
  return folder ? join(folder, `${program}.yaml`) : undefined;
}

/**
 * A file that somebody named, whole, or standard input for `-`; `what` it should be is for people.
 * Throws Failure "absent" when it cannot be read, "misuse" when it is longer than that can be.
 */
export async function readNamed(
  file: string,
  { what, mostBytes }: { what: string; mostBytes: number },
): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  try {
    // One byte too many at most: a device has no end.
    const input = createReadStream(file, { end: mostBytes, ...(file === "-" ? { fd: 0 } : {}) });
    for await (const piece of input) pieces.push(piece);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? "unreadable";
    throw new Failure("absent", `cannot read ${file} (${code})`, { cause });
  }
  const bytes = concat(pieces);
  if (bytes.length <= mostBytes) return bytes;
  throw new Failure("misuse", `${file} is too long: ${what} has at most ${mostBytes} bytes`);
}

/** Who started a program and watches over it: systemd, or nobody who listens. */
export type Supervisor = {
  readonly listens: boolean;
  /** It starts the program anew when it has not heard "alive" for so long. */
  readonly patienceMs: number | undefined;
  tell(what: "ready" | "alive" | "stopping"): void;
  /** For `systemctl status`, in a few words. */
  status(text: string): void;
};

const words = { ready: "READY=1", alive: "WATCHDOG=1", stopping: "STOPPING=1" };
/** Read by a shell, so that a program with much memory is not forked for each word. */
const messenger = 'while IFS= read -r word; do systemd-notify "$word"; done';

/**
 * The supervisor of this process, by sd_notify(3); asked once, for what this program starts is not to
 * speak in its name. Node opens no datagram socket of this kind: a shell of our own passes the words
 * on, and ends with us.
 */
export function findSupervisor(environment: NodeJS.ProcessEnv = process.env): Supervisor {
  const { NOTIFY_SOCKET, WATCHDOG_USEC, PATH } = environment;
  for (const name of ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"]) delete environment[name];
  if (!NOTIFY_SOCKET) {
    return { listens: false, patienceMs: undefined, tell: () => {}, status: () => {} };
  }
  const child = spawn("sh", ["-c", messenger], {
    env: { NOTIFY_SOCKET, PATH },
    stdio: ["pipe", "ignore", "inherit"],
    // Ctrl-C is for the program, which has a last word to say.
    detached: true,
  });
  // A messenger that is gone is a program that is not heard: the supervisor starts it anew.
  child.on("error", () => {});
  child.stdin.on("error", () => {});
  child.unref();
  (child.stdin as Socket).unref();
  const say = (line: string) => void child.stdin.write(`${line}\n`);
  return {
    listens: true,
    patienceMs: WATCHDOG_USEC ? Number(WATCHDOG_USEC) / 1000 : undefined,
    tell: (what) => say(words[what]),
    // biome-ignore lint/suspicious/noControlCharactersInRegex: one word is one line
    status: (text) => say(`STATUS=${text.replace(/[\u0000-\u001f]+/g, " ").slice(0, 200)}`),
  };
}
