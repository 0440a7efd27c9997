import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import type { ServiceEvent } from "../../src/device/service.ts";
import { serviceEnvironment } from "../environment.ts";

const execute = promisify(execFile);
const root = new URL("../../src/", import.meta.url).pathname;
const cameraProgram = join(root, "device/main.js");
const phoneProgram = join(root, "phone/cli.js");

/**
 * Gives a camera in `folder` an owner, by files, as a person would; the camera's state folder.
 * @param relay where its clips go, if anywhere
 */
export async function adopt(folder: string, relay?: string): Promise<string> {
  const [state, home] = [join(folder, "camera"), join(folder, "phone")];
  for (const path of [state, home]) await mkdir(path, { recursive: true, mode: 0o700 });
  const [identity, owner] = [join(folder, "camera.json"), join(folder, "owner.json")];
  const relays = relay === undefined ? [] : ["--relay", relay];
  const call = (...args: string[]) => execute(process.execPath, args);
  await call(cameraProgram, "identity", "--state", state, "-o", identity);
  await call(phoneProgram, "--home", home, "adopt", identity, "-o", owner, ...relays);
  await call(cameraProgram, "adopt", "--state", state, owner);
  return state;
}

const limitMs = 300_000;

export type Service = {
  readonly pid: number;
  /** Resolves when it ended by itself; rejects when it failed. */
  readonly ended: Promise<void>;
  /** As a signal from outside: what is being recorded is sealed first. */
  stop(): Promise<void>;
};

/** The camera's own program, as it runs on a board. */
export function startService(options: {
  state: string;
  source: string;
  config?: string;
  mqtt?: string;
  onEvent(event: ServiceEvent): void;
}): Service {
  const { state, source, config, mqtt, onEvent } = options;
  const args = [cameraProgram, "run", "--json", "--state", state, "--source", source];
  if (config) args.push("--config", config);
  if (mqtt) args.push("--mqtt", mqtt);
  const child = spawn(process.execPath, args, {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...serviceEnvironment },
  });
  // A camera that hangs must not hang the measurement.
  setTimeout(() => child.kill("SIGKILL"), limitMs).unref();
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said = (said + text).slice(-2000);
  });
  createInterface({ input: child.stdout }).on("line", (line) => onEvent(JSON.parse(line)));
  const ended = once(child, "close").then(([code, signal]) => {
    if (code !== 0) throw new Error(`the camera ended with ${signal ?? code}: ${said}`);
  });
  ended.catch(() => {});
  return {
    pid: child.pid ?? 0,
    ended,
    stop() {
      child.kill("SIGTERM");
      return ended;
    },
  };
}

export type ProcessMemory = { pid: number; name: string; bytes: number };

/** Resident memory of a process and of all below it. */
export async function memoryOfTree(pid: number): Promise<ProcessMemory[]> {
  const parents = new Map<number, { parent: number; name: string; bytes: number }>();
  for (const entry of await readdir("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    const status = await readFile(`/proc/${entry}/status`, "latin1").catch(() => "");
    const field = (name: string) => new RegExp(`^${name}:\\s+(\\S+)`, "m").exec(status)?.[1] ?? "";
    const bytes = Number(field("VmRSS")) * 1024;
    if (bytes > 0) {
      parents.set(Number(entry), { parent: Number(field("PPid")), name: field("Name"), bytes });
    }
  }
  const found: ProcessMemory[] = [];
  const visit = (at: number) => {
    const one = parents.get(at);
    if (!one) return;
    found.push({ pid: at, name: one.name, bytes: one.bytes });
    for (const [child, { parent }] of parents) if (parent === at) visit(child);
  };
  visit(pid);
  return found;
}

/** Resident bytes of the one private mapping of `bytes` in a process: its slab. */
export async function residentOfSlab(pid: number, bytes: number): Promise<number> {
  const maps = await readFile(`/proc/${pid}/smaps`, "latin1");
  const sizes = [...maps.matchAll(/^Size:\s+(\d+) kB\n(?:[A-Z].*\n)*?Rss:\s+(\d+) kB/gm)];
  const found = sizes.map(([, size, rss]) => ({
    size: Number(size) * 1024,
    rss: Number(rss) * 1024,
  }));
  const exact = found.find(({ size }) => size === bytes);
  if (!exact) throw new Error("the slab's mapping was not found");
  return exact.rss;
}
