import { Failure } from "../../src/base/pure/failure.ts";
import type { Pipe } from "../../src/protocol/sealed/frames.ts";

/** What lies between two ends: sees each message, and says what arrives (nothing: cut). */
export type Between = (
  from: "a" | "b",
  message: Uint8Array,
  count: number,
) => Uint8Array | undefined;

/** Two ends of a connection in memory. */
export function pipePair(between: Between = (_, message) => message): { a: Pipe; b: Pipe } {
  const queues = { a: new Queue(), b: new Queue() };
  const counts = { a: 0, b: 0 };
  const close = () => {
    queues.a.end();
    queues.b.end();
  };
  const end = (own: "a" | "b", other: "a" | "b"): Pipe => ({
    async send(message) {
      const passed = between(own, message.slice(), counts[own]++);
      if (passed) queues[other].push(passed);
      else close();
    },
    receive: (wanted) => queues[own].next(wanted),
    close,
  });
  return { a: end("a", "b"), b: end("b", "a") };
}

class Queue {
  readonly #messages: Uint8Array[] = [];
  #wake: (() => void) | undefined;
  #isOver = false;

  push(message: Uint8Array): void {
    if (!this.#isOver) this.#messages.push(message);
    this.#wake?.();
  }

  end(): void {
    this.#isOver = true;
    this.#wake?.();
  }

  async next({ mostBytes, withinMs }: { mostBytes: number; withinMs: number }) {
    let isLate = false;
    // By its own word: a timer may come a little early, and does not come again.
    const late = setTimeout(() => {
      isLate = true;
      this.#wake?.();
    }, withinMs);
    while (this.#messages.length === 0 && !this.#isOver && !isLate) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    clearTimeout(late);
    const message = this.#messages.shift();
    if (!message && !this.#isOver) throw new Failure("stalled", "too late");
    if (message && message.length > mostBytes) {
      throw new Failure("corrupt", "too long", { stage: "length" });
    }
    return message;
  }
}
