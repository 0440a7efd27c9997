import { readdir } from "node:fs/promises";
import { createInterface } from "node:readline";
import type { Log } from "../base/node/log.ts";
import type { Clock } from "../base/pure/clock.ts";
import { explain, Failure, isFailure } from "../base/pure/failure.ts";
import { findProgram, outputOf, startChild } from "./child.ts";

/** What a hand did: a press, held so long that it is warned, let go after that, held to the end. */
export type Press = "short" | "warned" | "let go" | "long";
export type Edge = "down" | "up";
export type Button = { close(): Promise<void> };

/** Shorter is a contact that bounces. */
const shortestUs = 50_000;
const warnedMs = 3_000;
export const longMs = 10_000;
const firstPauseMs = 1_000;
const longestPauseMs = 60_000;

/** As it stands in the settings: a GPIO chip, and the line's number on it. */
export const linePattern: RegExp = /^(gpiochip\d{1,3})\/(\d{1,4})$/;

/**
 * One button between a GPIO line and ground. "warned" and "long" come while it is held.
 * `line` is "" for none. A line that cannot be had is said in the log, once for each reason, and tried again.
 *
 * @param watch the edges of that line, for tests
 */
export function openButton(
  line: string,
  options: {
    clock: Clock;
    log: Log;
    onPress(press: Press): void;
    watch?: (line: string, onEdge: (edge: Edge) => void, signal: AbortSignal) => Promise<void>;
  },
): Button {
  const { clock, log, onPress, watch = watchLine } = options;
  const end = new AbortController();
  let hold: { stop: AbortController; sinceUs: number; isWarned: boolean } | undefined;
  const onEdge = (edge: Edge) => {
    const held = hold;
    hold?.stop.abort();
    hold = undefined;
    if (edge === "down") {
      hold = { stop: new AbortController(), sinceUs: clock.monotonicUs(), isWarned: false };
      void count(hold);
    } else if (held?.isWarned) {
      if (clock.monotonicUs() - held.sinceUs < longMs * 1000) onPress("let go");
    } else if (held && clock.monotonicUs() - held.sinceUs >= shortestUs) onPress("short");
  };
  const count = async (held: NonNullable<typeof hold>) => {
    const signal = AbortSignal.any([held.stop.signal, end.signal]);
    try {
      await clock.sleep(warnedMs, signal);
      held.isWarned = true;
      onPress("warned");
      await clock.sleep(longMs - warnedMs, signal);
      onPress("long");
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  };
  const run = async () => {
    let told = "";
    for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(2 * pauseMs, longestPauseMs)) {
      const heard = (edge: Edge) => {
        // It works again.
        [told, pauseMs] = ["", firstPauseMs];
        onEdge(edge);
      };
      const why = await watch(line, heard, end.signal).then(() => "it ended", explain);
      hold?.stop.abort();
      hold = undefined;
      if (end.signal.aborted) return;
      if (why !== told) log.warn(`the button at ${line} cannot be used: ${why}`);
      told = why;
      await clock.sleep(pauseMs, end.signal).catch(() => {});
    }
  };
  const running = line === "" ? Promise.resolve() : run();
  return {
    async close() {
      end.abort();
      await running;
    },
  };
}

/** Follows the line until the signal aborts, by libgpiod's own program: its 1 and 2 differ in their words. */
async function watchLine(
  line: string,
  onEdge: (edge: Edge) => void,
  signal: AbortSignal,
): Promise<void> {
  const [, chip = "", number = ""] = linePattern.exec(line) ?? [];
  const args = (await isSecond())
    ? ["-c", chip, "-l", "-b", "pull-up", "-F", "%E", number]
    : ["-b", "-l", "-B", "pull-up", "-F", "%e", chip, number];
  signal.throwIfAborted();
  const child = startChild("gpiomon", args);
  const stop = () => void child.kill();
  signal.addEventListener("abort", stop, { once: true });
  try {
    for await (const word of createInterface({ input: child.output, signal })) {
      // Active is pressed: its edges rise.
      onEdge(word === "rising" || word === "1" ? "down" : "up");
    }
    const { complaint } = await child.ended;
    if (!signal.aborted) throw new Failure("gone", complaint || "gpiomon ended");
  } finally {
    signal.removeEventListener("abort", stop);
    await child.kill();
  }
}

/** Throws Failure "absent" without the chip, or without the program that follows its lines. */
export async function checkLine(line: string, folder = "/dev"): Promise<void> {
  findMonitor();
  const [, chip = ""] = linePattern.exec(line) ?? [];
  const there = await readdir(folder).catch((): string[] => []);
  if (there.includes(chip)) return;
  const chips = there.filter((name) => name.startsWith("gpiochip"));
  const hint = chips.length > 0 ? `There are ${chips.join(", ")}` : "There is none";
  throw new Failure("absent", `there is no ${chip}`, { hint });
}

function findMonitor(): void {
  try {
    findProgram("gpiomon");
  } catch (error) {
    if (!isFailure(error, "absent")) throw error;
    const hint = "Install it: sudo apt-get install gpiod";
    throw new Failure("absent", "libgpiod's tools are not installed", { hint });
  }
}

async function isSecond(): Promise<boolean> {
  findMonitor();
  const limits = { limitMs: 5_000, mostBytes: 4_000 };
  return !/\(libgpiod\) v1\./.test(await outputOf("gpiomon", ["--version"], limits));
}
