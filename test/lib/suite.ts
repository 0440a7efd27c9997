import { setTimeout as wait } from "node:timers/promises";
import { suite as uvuSuite } from "uvu";

type Body = () => void | Promise<void>;
export type Define = {
  /**
   * One test, failed when it has not settled after `deadlineMs` (five minutes unless said): what
   * hangs is to be found, not what runs on a slow machine or under a sanitizer. With `skip`, why it cannot
   * run here, it is as `test.skip`.
   */
  (name: string, body: Body, options?: { deadlineMs?: number; skip?: string | undefined }): void;
  /** A test that cannot run here: counted and printed with its reason, never green. */
  skip(name: string, why: string): void;
};

/**
 * A uvu suite that runs itself and gives each test a deadline. No hooks: uvu 0.5.6 exits 0 when
 * one throws, so a test builds its world with a function and disposes of it with `await using`.
 */
export function suite(name: string, define: (test: Define) => void): void {
  const tests = uvuSuite(name);
  const skip = (title: string, why: string) => {
    tests.skip(title, () => {});
    console.log(`skipped: ${name}: ${title}: ${why}`);
  };
  const test: Define = Object.assign(
    (title: string, body: Body, options: Parameters<Define>[2] = {}) => {
      const { deadlineMs = 300_000 } = options;
      if (options.skip === undefined) tests(title, () => withDeadline(title, body, deadlineMs));
      else skip(title, options.skip);
    },
    { skip },
  );
  define(test);
  tests.run();
}

async function withDeadline(title: string, body: Body, deadlineMs: number): Promise<void> {
  const over = new AbortController();
  const late = wait(deadlineMs, undefined, { signal: over.signal }).then(
    () => {
      throw new Error(`"${title}" did not settle within ${deadlineMs} ms`);
    },
    () => {},
  );
  try {
    await Promise.race([(async () => body())(), late]);
  } finally {
    over.abort();
  }
}
