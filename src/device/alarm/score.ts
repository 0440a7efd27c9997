// How much speaks for somebody being where nobody should be: a sum over a sliding window of time, in
// which a source counts once in its slice. Times are µs of one clock that never goes back.

export type Contribution = {
  atUs: number;
  /** What it came from, for people: "person in door", "front door", "motion". */
  source: string;
  /** A whole number above 0. */
  points: number;
  /** Who set this off is not given time to disarm. */
  isInstant: boolean;
};

export type Score = {
  /**
   * What speaks for it now. False when it does not count: it has no points, or its source counted less
   * than a slice ago. One that comes with an earlier time than the last counts as of the last.
   */
  add(evidence: Contribution): boolean;
  /** The sum of what counted in the window that ends now. */
  at(nowUs: number): number;
  /** What it is made of, the oldest first. */
  parts(nowUs: number): readonly Contribution[];
  /** What of it counted at this moment, the newest first. */
  fresh(nowUs: number): readonly Contribution[];
  /** Forgets all, slices too. */
  clear(): void;
};

/** What counted at t is in the score from t on, and is not any more at t + `windowUs`. */
export function createScore(options: { windowUs: number; sliceUs: number }): Score {
  const { windowUs, sliceUs } = options;
  let parts: Contribution[] = [];
  let sum = 0;
  let lastUs = Number.NEGATIVE_INFINITY;
  /** When each source counted last. */
  const counted = new Map<string, number>();

  const forget = (nowUs: number) => {
    lastUs = Math.max(lastUs, nowUs);
    const from = parts.findIndex(({ atUs }) => atUs > lastUs - windowUs);
    const gone = parts.splice(0, from < 0 ? parts.length : from);
    for (const { points } of gone) sum -= points;
    if (gone.length === 0) return;
    for (const [source, atUs] of counted) {
      if (lastUs - atUs >= Math.max(windowUs, sliceUs)) counted.delete(source);
    }
  };
  return {
    add(evidence) {
      forget(evidence.atUs);
      const { source, points } = evidence;
      const beforeUs = counted.get(source) ?? Number.NEGATIVE_INFINITY;
      if (points <= 0 || lastUs - beforeUs < sliceUs) return false;
      counted.set(source, lastUs);
      parts.push({ ...evidence, atUs: lastUs });
      sum += points;
      return true;
    },
    at(nowUs) {
      forget(nowUs);
      return sum;
    },
    parts(nowUs) {
      forget(nowUs);
      return [...parts];
    },
    fresh(nowUs) {
      const found: Contribution[] = [];
      for (let i = parts.length - 1; i >= 0; i--) {
        const part = parts[i];
        if (!part || part.atUs < nowUs) break;
        found.push(part);
      }
      return found;
    },
    clear() {
      parts = [];
      sum = 0;
      counted.clear();
    },
  };
}
