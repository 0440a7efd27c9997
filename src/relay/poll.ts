import { isOnPage, type Page } from "../protocol/wire/mailbox.ts";

// Who waits for new objects. Bounded for each key and in all; a waiter is one timer.

export type Poll = {
  /** Undefined when too many wait already: for this key ("key") or in all ("all"). */
  wait(waiter: { mailbox: string; key: string; page: Page }): Waiting | "key" | "all";
  /** To be called after an object is durable. */
  wake(mailbox: string, name: string): void;
  /** Everybody who waits gets an empty page, and so does whoever comes. */
  close(): void;
  readonly count: number;
};
export type Waiting = {
  /** The name that came, or undefined when the time is over, at a close, or when the signal aborts. */
  woken(timeoutMs: number, signal: AbortSignal): Promise<string | undefined>;
  end(): void;
};

type Waiter = { page: Page; name?: string; wake?: () => void };

/** Beacon and door list are overwritten: to be awaited they need not come after anything. */
export function awaits(page: Page, name: string): boolean {
  const isFixed = name === "beacon" || name === "door";
  return isOnPage(name, isFixed ? { ...page, after: "" } : page);
}

export function openPoll({ most, mostPerKey }: { most: number; mostPerKey: number }): Poll {
  const waiters = new Map<string, Set<Waiter>>();
  const perKey = new Map<string, number>();
  let count = 0;
  let isClosed = false;

  return {
    wait({ mailbox, key, page }) {
      const mine = perKey.get(key) ?? 0;
      if (count >= most) return "all";
      if (mine >= mostPerKey) return "key";
      count++;
      perKey.set(key, mine + 1);
      const there = waiters.get(mailbox) ?? new Set();
      waiters.set(mailbox, there);
      const waiter: Waiter = { page };
      there.add(waiter);
      let isOver = false;
      return {
        woken: (timeoutMs, signal) =>
          new Promise((resolve) => {
            if (waiter.name !== undefined || isClosed || signal.aborted) {
              return resolve(waiter.name);
            }
            const settle = () => {
              clearTimeout(timer);
              signal.removeEventListener("abort", settle);
              resolve(waiter.name);
            };
            const timer = setTimeout(settle, timeoutMs);
            signal.addEventListener("abort", settle, { once: true });
            waiter.wake = settle;
          }),
        end() {
          if (isOver) return;
          isOver = true;
          count--;
          there.delete(waiter);
          if (there.size === 0 && waiters.get(mailbox) === there) waiters.delete(mailbox);
          const left = (perKey.get(key) ?? 1) - 1;
          if (left > 0) perKey.set(key, left);
          else perKey.delete(key);
        },
      };
    },
    wake(mailbox, name) {
      for (const waiter of waiters.get(mailbox) ?? []) {
        if (waiter.name !== undefined || !awaits(waiter.page, name)) continue;
        waiter.name = name;
        waiter.wake?.();
      }
    },
    close() {
      isClosed = true;
      for (const there of waiters.values()) for (const waiter of there) waiter.wake?.();
    },
    get count() {
      return count;
    },
  };
}
