import type { Clock } from "../../base/pure/clock.ts";
import { Failure, isFailure } from "../../base/pure/failure.ts";

const firstMs = 1_000;
const longestMs = 5 * 60_000;
/** A relay that says no to our key will not say yes a second later. */
const refusedMs = 30_000;

/** Full jitter: somewhere between nothing and a bound that doubles, so that a street of cameras does not return at once. */
export function delayMs(
  failures: number,
  failure: Failure | undefined,
  random: number,
  mostMs = longestMs,
): number {
  const bound = Math.min(mostMs, firstMs * 2 ** Math.min(failures, 20));
  const least = failure?.kind === "refused" ? refusedMs : 0;
  // A relay may ask for patience, and not for silence.
  const asked = Math.min(failure?.retryAfterMs ?? 0, mostMs);
  return Math.max(random * bound, least * (0.5 + random / 2), asked);
}

/** Whether one relay, or a broker, is worth a try now; shared by all who talk to it. */
export class Backoff {
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #mostMs: number | undefined;
  #failures = 0;
  #dueUs = 0;
  #last: Failure | undefined;
  #wait: { promise: Promise<void>; wake: () => void } | undefined;

  constructor(options: { clock: Clock; random: () => number; mostMs?: number }) {
    this.#clock = options.clock;
    this.#random = options.random;
    this.#mostMs = options.mostMs;
  }

  /** What it failed with; undefined while it works. */
  get failure(): Failure | undefined {
    return this.#last;
  }

  worked(): void {
    this.#failures = 0;
    this.#last = undefined;
    this.kick();
  }

  /** Those that fail side by side are one failure. */
  failed(failure: Failure): void {
    const now = this.#clock.monotonicUs();
    this.#last = failure;
    if (now < this.#dueUs) return;
    const ms = delayMs(this.#failures, failure, this.#random(), this.#mostMs);
    this.#dueUs = now + ms * 1000;
    this.#failures += 1;
  }

  /** The network came, or something else is new: tried at once, and counted from the beginning. */
  kick(): void {
    this.#failures = 0;
    this.#dueUs = 0;
    this.#wait?.wake();
  }

  /** Resolves when it is time; rejects when the signal aborts. */
  async ready(signal: AbortSignal): Promise<void> {
    for (;;) {
      signal.throwIfAborted();
      const ms = (this.#dueUs - this.#clock.monotonicUs()) / 1000;
      if (ms <= 0) return;
      this.#wait ??= this.#waiting(ms, signal);
      await this.#wait.promise;
    }
  }

  #waiting(ms: number, signal: AbortSignal) {
    const over = new AbortController();
    const wake = () => over.abort();
    signal.addEventListener("abort", wake);
    const promise = this.#clock
      .sleep(ms, over.signal)
      .catch(() => {})
      .finally(() => {
        signal.removeEventListener("abort", wake);
        this.#wait = undefined;
      });
    return { promise, wake };
  }
}

/** What cannot be told from no answer is one. */
export function asFailure(error: unknown): Failure {
  if (isFailure(error)) return error;
  return new Failure("gone", "the relay could not be used", { cause: error });
}

// These speak of the key, not of the object: putting that aside would not help.
const ofTheKey: readonly (string | undefined)[] = [
  ...["right", "created", "signature", "signature-input", "signature-field", "content-digest"],
  ...["key", "target", "authority", "mailbox"],
];

/** Whether the relay refuses the key of a request, whatever the request is. */
export function isOfTheKey({ stage }: Failure): boolean {
  return ofTheKey.includes(stage);
}
