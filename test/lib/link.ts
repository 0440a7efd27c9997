import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { checkout } from "./machine.ts";
import type { TrioOptions } from "./trio.ts";

/** What a line between two networks is like; what is not said stays as it is. */
export type Quality = {
  delayMs?: number;
  /** Each packet is later by up to so much, so that they overtake each other. */
  jitterMs?: number;
  /** Of all packets, from 0 to 1. */
  loss?: number;
  twice?: number;
  bytesPerS?: number;
  isCut?: boolean;
};
export type Counts = Record<"packets" | "lost" | "doubled" | "overtaken" | "cut", number>;

/** A network of the relay, at 10.77.0.1, and one of camera and phone (test/lib/link.py). */
export type Link = AsyncDisposable & {
  readonly host: string;
  readonly by: NonNullable<TrioOptions["by"]>;
  set(quality: Quality): void;
  /** What it has counted by now. */
  tell(): Promise<Counts>;
  /** Ends it. */
  counts(): Promise<Counts>;
};

/** Throws, with the reason, where there is no right to have namespaces or TUN devices. */
export async function openLink(): Promise<Link> {
  const child: ChildProcess = spawn("python3", [join(checkout, "test/lib/link.py")]);
  const text = { out: "", err: "" };
  const ended = new Promise<void>((resolve) => {
    child.on("close", () => resolve()).on("error", () => resolve());
  });
  child.stderr?.on("data", (more) => {
    text.err += more;
  });
  const ready = new Promise<RegExpExecArray>((resolve) => {
    child.stdout?.on("data", (more) => {
      text.out += more;
      const found = /^ready (\d+) (\d+)\n/.exec(text.out);
      if (found) resolve(found);
    });
  });
  const found = await Promise.race([ready, ended]);
  if (!found) throw new Error(text.err.trim().split("\n").at(-1) || "there is no python3");
  const [, relays, others] = found;
  let told = 0;
  /** The line that follows those that were read before. */
  const next = async (): Promise<Counts> => {
    told += 1;
    for (;;) {
      const [line, isWhole] = text.out.split("\n").slice(told);
      if (line && isWhole !== undefined) return JSON.parse(line);
      if (child.exitCode !== null || child.signalCode)
        throw new Error(`the line ended: ${text.err}`);
      await sleep(20);
    }
  };
  const net = (space = "") => ["nsenter", `--net=/proc/${child.pid}/fd/${space}`];
  return {
    host: "10.77.0.1",
    by: (who) => ({ before: net(who === "relay" ? relays : others) }),
    set: (quality) => void child.stdin?.write(`${JSON.stringify(quality)}\n`),
    tell() {
      child.stdin?.write('{"tell": true}\n');
      return next();
    },
    async counts() {
      child.stdin?.end();
      await ended;
      return await next();
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

/** Undefined where `openLink` works. */
export async function whyNoLink(): Promise<string | undefined> {
  try {
    await using link = await openLink();
    const { before = [] } = link.by("relay");
    const child = spawn(before[0] ?? "", [...before.slice(1), "true"]);
    const [code] = await once(child, "exit");
    return code === 0 ? undefined : "nsenter cannot enter a network namespace";
  } catch (error) {
    return `no network namespaces with a line between them: ${(error as Error).message}`;
  }
}
