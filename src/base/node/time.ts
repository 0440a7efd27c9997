import { setTimeout as wait } from "node:timers/promises";
import type { Clock } from "../pure/clock.ts";

const monotonicUs = () => Number(process.hrtime.bigint() / 1000n);

/** The machine's own clock. */
export const systemClock: Clock = {
  monotonicUs,
  wallMs: () => Date.now(),
  sleep: async (ms, signal) => {
    const untilUs = monotonicUs() + ms * 1000;
    // A timer may come a little early: whoever looks at the clock then would think it was not time.
    do {
      const leftMs = Math.max(0, untilUs - monotonicUs()) / 1000;
      await wait(leftMs, undefined, signal ? { signal } : {}).catch((error) => {
        throw signal?.aborted ? signal.reason : error;
      });
    } while (monotonicUs() < untilUs);
  },
};
