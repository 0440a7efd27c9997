import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Log } from "../base/node/log.ts";
import type { Clock } from "../base/pure/clock.ts";
import { explain } from "../base/pure/failure.ts";

/** How a camera is, as far as one light can tell. */
export type State =
  | "starting"
  | "unpaired"
  | "watching"
  | "recording"
  | "watched"
  | "private"
  | "problem"
  | "window"
  | "held"
  | "asked";

/** Milliseconds on, off, on, off, …, over and over; one alone is steady. */
const patterns: Record<State, readonly [number, ...number[]]> = {
  starting: [500, 500],
  unpaired: [1000, 1000],
  watching: [50, 4950],
  recording: [60_000],
  watched: [150, 150],
  private: [50, 250, 50, 4650],
  problem: [200, 200, 200, 200, 200, 1000],
  window: [100, 200, 100, 600],
  held: [50, 50],
  asked: [400, 100],
};

/** One LED that says how the camera is. */
export type Light = { show(state: State): void; close(): Promise<void> };

/**
 * The LED `name` of /sys/class/leds; "" is none. It is taken from whatever the kernel showed with it.
 * One that is not there, or may not be switched, is said once in the log and left alone.
 */
export async function openLight(
  name: string,
  { clock, log, folder = "/sys/class/leds" }: { clock: Clock; log: Log; folder?: string },
): Promise<Light> {
  if (name === "") return { show: () => {}, close: async () => {} };
  const led = join(folder, name);
  const write = (file: string, text: string) => writeFile(join(led, file), text, { flag: "r+" });
  let brightest = "1";
  try {
    brightest = (await readFile(join(led, "max_brightness"), "utf8")).trim();
    await write("trigger", "none");
    await write("brightness", "0");
  } catch (error) {
    const there = await readdir(folder).catch(() => []);
    const known = there.length > 0 ? `there are ${there.join(", ")}` : "there is none";
    log.warn(`the light ${name} cannot be used: ${known}`, { why: explain(error) });
    return { show: () => {}, close: async () => {} };
  }
  const end = new AbortController();
  let change = new AbortController();
  let shown: State | undefined;
  const blink = async () => {
    while (!end.signal.aborted) {
      const signal = AbortSignal.any([change.signal, end.signal]);
      const pattern: readonly number[] = shown ? patterns[shown] : [60_000];
      for (let i = 0; !signal.aborted && i < pattern.length; i++) {
        await write("brightness", shown && i % 2 === 0 ? brightest : "0");
        await clock.sleep(pattern[i] ?? 0, signal).catch(() => {});
      }
    }
  };
  const blinking = blink().catch((error) => {
    log.warn(`the light ${name} is gone`, { why: explain(error) });
  });
  return {
    show(state) {
      if (state === shown) return;
      shown = state;
      const before = change;
      change = new AbortController();
      before.abort();
    },
    async close() {
      end.abort();
      await blinking;
      await write("brightness", "0").catch(() => {});
    },
  };
}
