import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { Clock } from "../base/pure/clock.ts";

const run = promisify(execFile);
const askEveryMs = 30_000;

/** Whether the kernel counts the wall clock as synchronised; false where nobody can tell. */
export async function isClockSynchronised(): Promise<boolean> {
  const answer = await run("timedatectl", ["show", "-p", "NTPSynchronized", "--value"], {
    timeout: 5_000,
  }).catch(() => undefined);
  return answer?.stdout.trim() === "yes";
}

export type ClockTrust = {
  trusted(): boolean;
  /** Resolves when the signal aborts. */
  readonly ended: Promise<void>;
};

/**
 * Watches for the clock to be set. `onSynchronised` gets the wall time as it would have read had
 * nobody set it: what earlier entries of this run were stamped by.
 */
export async function watchClock(options: {
  clock: Clock;
  signal: AbortSignal;
  onSynchronised(beforeMs: number): void;
  ask?: () => Promise<boolean>;
}): Promise<ClockTrust> {
  const { clock, signal, onSynchronised, ask = isClockSynchronised } = options;
  const startWallMs = clock.wallMs();
  const startUs = clock.monotonicUs();
  let isTrusted = await ask();
  const watch = async () => {
    while (!signal.aborted) {
      await clock.sleep(askEveryMs, signal).catch(() => {});
      const now = !signal.aborted && (await ask());
      if (now && !isTrusted) {
        const elapsedMs = Math.round((clock.monotonicUs() - startUs) / 1000);
        onSynchronised(startWallMs + elapsedMs);
      }
      isTrusted = now || isTrusted;
    }
  };
  return { trusted: () => isTrusted, ended: watch() };
}
