import type { Log } from "../base/node/log.ts";
import type { Clock } from "../base/pure/clock.ts";
import { explain, isFailure } from "../base/pure/failure.ts";
import type { Health } from "./health.ts";
import { isAdopted } from "./keyring.ts";

// What a service waits for, where a program on a desk would say what is missing and end.

type Waiting = {
  health: Health;
  clock: Clock;
  log: Log;
  signal: AbortSignal;
  /** Called once it is known that there is something to wait for. */
  onWait(): void;
};

const lookEveryMs = 2_000;
const firstWaitMs = 1_000;
const longestWaitMs = 30_000;

/** Resolves when somebody has adopted this camera, or `reset` aborts; rejects with the signal's reason. */
export async function awaitOwner(
  state: string,
  { reset, ...waiting }: Waiting & { reset: AbortSignal },
): Promise<void> {
  const { health, clock, log, signal, onWait } = waiting;
  if (await isAdopted(state)) return;
  const text = "waiting for an owner: sudo obscura-camera pair";
  log.warn(text);
  health.wait("unpaired", text);
  onWait();
  const either = AbortSignal.any([signal, reset]);
  while (!(await isAdopted(state)) && !reset.aborted) {
    await clock.sleep(lookEveryMs, either).catch(() => signal.throwIfAborted());
  }
  health.wait("starting", "starting");
}

/** Tries to open a camera that is not there, or not free, until it is; rejects with the signal's reason. */
export async function awaitCamera<T>(open: () => Promise<T>, waiting: Waiting): Promise<T> {
  const { health, clock, log, signal, onWait } = waiting;
  let told = "";
  for (let waitMs = firstWaitMs; ; waitMs = Math.min(2 * waitMs, longestWaitMs)) {
    try {
      return await open();
    } catch (error) {
      const comes = isFailure(error, "absent", "busy", "denied", "gone", "stalled");
      if (!comes || signal.aborted) throw error;
      const text = explain(error);
      if (told === "") onWait();
      if (text !== told) log.error(text);
      told = text;
      health.wait("problem", text);
      await clock.sleep(waitMs, signal);
    }
  }
}
