/**
 * Ends connections that crawl: whoever, after a moment's grace, has moved fewer bytes than the least
 * rate times the time. One timer for all; the monotonic clock, so that no step of the wall clock
 * ends anything.
 */
export type Flow = {
  /** @param movedBytes how many have been moved since the watch began. Gives the way to end it. */
  watch(movedBytes: () => number, onSlow: () => void): () => void;
  close(): void;
};

const everyMs = 1000;

export function openFlow({
  leastBytesPerSecond,
  graceMs,
  monotonicMs,
}: {
  leastBytesPerSecond: number;
  graceMs: number;
  monotonicMs(): number;
}): Flow {
  const watched = new Set<{ startMs: number; movedBytes: () => number; onSlow: () => void }>();
  const timer = setInterval(() => {
    const nowMs = monotonicMs();
    for (const one of watched) {
      const tookMs = nowMs - one.startMs;
      if (tookMs <= graceMs) continue;
      if (one.movedBytes() >= ((tookMs - graceMs) / 1000) * leastBytesPerSecond) continue;
      watched.delete(one);
      one.onSlow();
    }
  }, everyMs);
  timer.unref();
  return {
    watch(movedBytes, onSlow) {
      const one = { startMs: monotonicMs(), movedBytes, onSlow };
      watched.add(one);
      return () => void watched.delete(one);
    },
    close: () => clearInterval(timer),
  };
}
