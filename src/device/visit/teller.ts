import type { Log } from "../../base/node/log.ts";
import type { Clock } from "../../base/pure/clock.ts";
import { explain, Failure } from "../../base/pure/failure.ts";
import type { Backoff } from "../uplink/uplink.ts";

/** Tells of what waits, one after the other, until it is closed. */
export type Teller = {
  /** There is something new to decide. */
  wake(): void;
  /** What is being told has a moment to arrive; what waits goes with the next start. */
  close(): Promise<void>;
};

/** Nothing to tell now, and not before then by itself. */
type Wait = { kind: "wait"; untilUs: number | undefined };

const goodbyeMs = 2_000;
const longestPauseMs = 24 * 3_600_000;

/**
 * `decide` says what is told next, `act` tells it and never rejects for what the other side does; its
 * signal aborts when there is no more time. Between two stands the back-off, which `act` keeps.
 */
export function openTeller<P extends { kind: string }>(options: {
  clock: Clock;
  backoff: Backoff;
  log: Log;
  decide(): Wait | P;
  act(plan: Exclude<P, Wait>, cut: AbortSignal): Promise<void>;
}): Teller {
  const { clock, backoff, log, decide, act } = options;
  const end = new AbortController();
  const cut = new AbortController();
  let wake = () => {};
  const isWait = (plan: Wait | P): plan is Wait => plan.kind === "wait";
  const loop = async () => {
    while (!end.signal.aborted) {
      const plan = decide();
      if (isWait(plan)) {
        await pause(plan.untilUs);
        continue;
      }
      await backoff.ready(end.signal);
      // What came meanwhile goes with it.
      const now = decide();
      if (!isWait(now)) await act(now as Exclude<P, Wait>, cut.signal);
    }
  };
  const pause = async (untilUs: number | undefined) => {
    const enough = new AbortController();
    wake = () => enough.abort();
    const stop = AbortSignal.any([enough.signal, end.signal]);
    const ms = untilUs === undefined ? longestPauseMs : (untilUs - clock.monotonicUs()) / 1000;
    await clock.sleep(Math.max(0, ms), stop).catch(() => {});
    wake = () => {};
  };
  const running = loop().catch((error) => {
    if (!end.signal.aborted) log.error(explain(error));
  });
  return {
    wake: () => wake(),
    async close() {
      end.abort(new Failure("gone", "the camera ends"));
      const late = new AbortController();
      clock.sleep(goodbyeMs, late.signal).then(
        () => cut.abort(end.signal.reason),
        () => {},
      );
      await running;
      late.abort();
    },
  };
}
