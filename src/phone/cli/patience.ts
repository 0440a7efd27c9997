import { systemClock } from "../../base/node/time.ts";

/** A wait that is over sooner than this was none. */
const quickMs = 1000;

/** Keeps a relay that says at once, again and again, that there is news from making a phone run. */
export class Patience {
  #vain = 0;

  /**
   * Behind a look that followed a wait of `waitedMs`: rests when that was none and nothing was new,
   * each time twice as long, up to `longestMs`. Rejects when the signal aborts.
   */
  async rest(
    { waitedMs, isNew, longestMs }: { waitedMs: number; isNew: boolean; longestMs: number },
    signal: AbortSignal,
  ): Promise<void> {
    this.#vain = isNew || waitedMs >= quickMs ? 0 : this.#vain + 1;
    if (this.#vain === 0) return;
    const restMs = quickMs * 2 ** Math.min(this.#vain - 1, 10);
    await systemClock.sleep(Math.min(restMs, longestMs), signal);
  }
}
