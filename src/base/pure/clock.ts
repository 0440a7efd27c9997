/** Time as a parameter. `monotonicUs` never steps; wall time may, and says whether it is trusted. */
export type Clock = {
  /** Microseconds of CLOCK_MONOTONIC, the same line that V4L2 stamps frames on. */
  monotonicUs(): number;
  /** Milliseconds since 1970, UTC; only as right as the board's clock. */
  wallMs(): number;
  /** Resolves after `ms` of monotonic time; rejects with the signal's reason when it aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
};

type Sleeper = { dueUs: number; wake(): void };

/** A clock that stands still until it is told to move: for tests and replayed footage. */
export class ManualClock implements Clock {
  #monotonicUs: number;
  #wallMs: number;
  #sleepers: Sleeper[] = [];

  constructor(wallMs = 1_700_000_000_000, monotonicUs = 1_000_000) {
    this.#wallMs = wallMs;
    this.#monotonicUs = monotonicUs;
  }

  monotonicUs(): number {
    return this.#monotonicUs;
  }

  wallMs(): number {
    return this.#wallMs;
  }

  /** Moves both times forward and wakes whoever is due. */
  advance(ms: number): void {
    this.#monotonicUs += ms * 1000;
    this.#wallMs += ms;
    const due = this.#sleepers.filter((s) => s.dueUs <= this.#monotonicUs);
    this.#sleepers = this.#sleepers.filter((s) => s.dueUs > this.#monotonicUs);
    for (const sleeper of due) sleeper.wake();
  }

  /** Steps wall time only, as NTP or a dead battery does. */
  stepWall(ms: number): void {
    this.#wallMs += ms;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const sleeper = {
        dueUs: this.#monotonicUs + ms * 1000,
        wake: () => {
          signal?.removeEventListener("abort", abort);
          resolve();
        },
      };
      const abort = () => {
        this.#sleepers = this.#sleepers.filter((s) => s !== sleeper);
        reject(signal?.reason);
      };
      signal?.addEventListener("abort", abort, { once: true });
      this.#sleepers.push(sleeper);
    });
  }
}
