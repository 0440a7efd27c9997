import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "../../scripts/port.ts";
import type { CourierTask } from "./courier.ts";
import { quickFolder } from "./world.ts";

// Relay, camera and phone as the programs that they are, in one folder, for tests that do to them
// what happens to programs: kills, clocks, disks, networks.

export const whos = ["camera", "relay", "phone"] as const;
export type Who = (typeof whos)[number];
const dist = new URL("../../", import.meta.url).pathname;
const files = {
  camera: join(dist, "src/device/main.js"),
  courier: join(dist, "test/lib/courier.js"),
  phone: join(dist, "src/phone/cli.js"),
  relay: join(dist, "src/relay/main.js"),
};

export type Ended = { code: number; signal: string; out: string; err: string };
export type Running = {
  readonly child: ChildProcess;
  /** What it said on standard output, and what it has complained of. */
  readonly lines: readonly string[];
  readonly isOver: boolean;
  /** The first line of either that matches. Throws when it ends, or five minutes go by, before. */
  until(pattern: RegExp): Promise<RegExpExecArray>;
  /** Ends it, and waits for that. */
  end(signal: "SIGKILL" | "SIGTERM"): Promise<Ended>;
  readonly ended: Promise<Ended>;
};

const patienceMs = 300_000;
/** What relay and courier say when they have begun to work. */
export const isUp: RegExp = /^ready|listening/m;

/** Starts a program; what it says is kept. */
export function startProgram(
  command: readonly string[],
  env: Record<string, string> = {},
): Running {
  const [program = "", ...args] = command;
  const child = spawn(program, args, {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, TZ: "UTC", ...env },
  });
  const lines: string[] = [];
  const text = { out: "", err: "" };
  const waiting = new Set<() => void>();
  for (const [name, stream] of [
    ["out", child.stdout],
    ["err", child.stderr],
  ] as const) {
    stream.setEncoding("utf8").on("data", (more: string) => {
      const from = text[name].lastIndexOf("\n") + 1;
      text[name] += more;
      if (name === "out") {
        const all = text.out.slice(from).split("\n");
        lines.push(...all.slice(0, -1));
      }
      for (const wake of waiting) wake();
    });
  }
  let isOver = false;
  const ended = once(child, "close").then(([code, signal]): Ended => {
    isOver = true;
    for (const wake of waiting) wake();
    return { code: Number(code ?? -1), signal: String(signal ?? ""), ...text };
  });
  return {
    ...{ child, lines, ended },
    get isOver() {
      return isOver;
    },
    until: (pattern) =>
      new Promise((resolve, reject) => {
        const settle = (act: () => void) => {
          clearTimeout(timer);
          waiting.delete(look);
          act();
        };
        const complain = (why: string) => () =>
          reject(
            new Error(`${pattern}: ${why}: ${text.out.slice(-500)}\n${text.err.slice(-2000)}`),
          );
        const look = () => {
          const found = pattern.exec(text.out) ?? pattern.exec(text.err);
          if (found) settle(() => resolve(found));
          else if (isOver) settle(complain("it ended before"));
        };
        const timer = setTimeout(() => settle(complain("it never came")), patienceMs);
        waiting.add(look);
        look();
      }),
    async end(signal) {
      if (!isOver) child.kill(signal);
      return await ended;
    },
  };
}

/** Asks again and again until there is an answer; for `moreMs` longer than usual before it throws. */
export async function eventually<T>(
  what: string,
  find: () => T | undefined | Promise<T | undefined>,
  moreMs = 0,
): Promise<T> {
  for (const endMs = performance.now() + patienceMs + moreMs; performance.now() < endMs; ) {
    const found = await find();
    if (found !== undefined) return found;
    await sleep(100);
  }
  throw new Error(`it never came: ${what}`);
}

export type TrioOptions = {
  /** Folders that are elsewhere, as on a disk of their own. */
  folders?: Partial<Record<Who, string>>;
  /** What each is started by: a command that runs a command. */
  by?: (who: Who) => { before?: readonly string[]; env?: Record<string, string> };
  /** Where the relay listens, when not at a free port of this machine. */
  relay?: {
    host?: string;
    port?: number;
    settings?: string;
    /** The port at which the others find it, when it is another's that leads there. */
    by?: number;
  };
  camera?: { settings: string };
  /** Keys that the phone gives at first. */
  keys?: number;
};

export type Trio = AsyncDisposable & {
  readonly path: string;
  readonly folders: Readonly<Record<Who, string>>;
  readonly url: string;
  start(who: Who | "courier", ...args: string[]): Running;
  /** It runs when it has said `isUp`. */
  relay(): Running;
  /** The camera, as test/lib/courier.ts is one; it runs when it has said `isUp`. */
  courier(task: Partial<CourierTask>): Running;
  phone(...args: string[]): Promise<Ended>;
  /** `verify --json`: its exit code and what it found. */
  verify(): Promise<Verified>;
  /** `obscura-camera check`; the camera may not run. Its exit code and what does not hold. */
  check(): Promise<{ code: number; out: string }>;
};

export type Fault = { kind: string; severity: string; text: string };
export type Verified = {
  code: number;
  head?: { incarnation: number; sequence: number };
  /** Where the log went on in another incarnation, and why. */
  incarnations: { incarnation: number; sequence: number; reason: string }[];
  /** `final` of those that are deleted. */
  clips: { id: string; state: string; parts: number; final?: boolean }[];
  faults: Fault[];
  /** Those that are no mere notes. */
  bad: string[];
};

/** The three, paired by files; the relay runs when it is handed over, and the mailbox is open. */
export async function openTrio(options: TrioOptions = {}): Promise<{ trio: Trio; relay: Running }> {
  const home = await quickFolder();
  const at = (name: string) => join(home.path, name);
  const folders = { camera: at("camera"), phone: at("phone"), relay: at("relay") };
  Object.assign(folders, options.folders);
  const { host = "127.0.0.1", port = await freePort(), settings } = options.relay ?? {};
  const url = `http://${host}:${options.relay?.by ?? port}`;
  await writeFile(
    at("relay.yaml"),
    `version: 1
listen: { host: ${host}, port: ${port} }
authority: ["${new URL(url).host}"]
metrics: { port: 0 }
limits: { requestsPerSecondPerAddress: 0, requestsPerSecondPerKey: 1000000 }
${settings ?? "quota: { headroomMiB: 0 }"}
`,
  );
  await writeFile(at("camera.yaml"), `version: 1\n${options.camera?.settings ?? ""}`);
  await mkdir(at("desk"));
  const all = new Set<Running>();
  const start: Trio["start"] = (program, ...args) => {
    const who = program === "courier" ? "camera" : program;
    const { before = [], env = {} } = options.by?.(who) ?? {};
    const running = startProgram([...before, process.execPath, files[program], ...args], env);
    all.add(running);
    void running.ended.then(() => all.delete(running));
    return running;
  };
  const well = async (running: Running) => {
    const { code, signal, err } = await running.ended;
    if (code !== 0) throw new Error(`${code} ${signal}: ${err}`);
  };
  const trio: Trio = {
    ...{ path: home.path, folders, url, start },
    relay: () => start("relay", "--config", at("relay.yaml"), "--folder", folders.relay),
    courier(task) {
      const whole: CourierTask = {
        ...{ state: folders.camera, config: at("camera.yaml") },
        ...{ clips: 1, fragments: 6, fragmentBytes: 30_000, paceMs: 15, ...task },
      };
      return start("courier", JSON.stringify(whole));
    },
    phone: (...args) => start("phone", "--home", folders.phone, ...args).ended,
    async verify() {
      const { code, out, err } = await trio.phone("verify", "--json");
      const { clips, faults, head, incarnations } = JSON.parse(out || "{}") as Partial<Verified>;
      if (!clips || !faults || !head || !incarnations)
        throw new Error(`verify: ${code}: ${out}${err}`);
      const bad = faults.filter(({ severity }) => severity !== "note").map(({ text }) => text);
      return { code, ...(head ? { head } : {}), incarnations, clips, faults, bad };
    },
    check: () => start("camera", "check", "--state", folders.camera).ended,
    async [Symbol.asyncDispose]() {
      await Promise.all([...all].map((running) => running.end("SIGKILL")));
      await home[Symbol.asyncDispose]();
    },
  };
  try {
    const relay = trio.relay();
    await relay.until(isUp);
    const cameraFile = at("desk/camera.json");
    const ownerFile = at("desk/owner.json");
    const named = ["--state", folders.camera, "--name", "door"];
    await well(start("camera", "identity", ...named, "-o", cameraFile));
    const adopt = ["--home", folders.phone, "adopt", cameraFile, "-o", ownerFile, "--relay", url];
    await well(start("phone", ...adopt, "--keys", String(options.keys ?? 20)));
    await well(start("camera", "adopt", "--state", folders.camera, ownerFile));
    return { trio, relay };
  } catch (error) {
    await trio[Symbol.asyncDispose]();
    throw error;
  }
}
