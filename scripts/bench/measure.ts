/** One line of output. `value` or `ratio` is held against `aim`; `against` says what it is compared with. */
export type Line = { bench: string; [field: string]: unknown };
/** `quick` shows that a measurement works, not what it would say. */
export type BenchOptions = { quick: boolean };

export function median(values: readonly number[]): number {
  return percentile(values, 0.5);
}

/** The value that a share of all values does not exceed; NaN of none. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

export function rounded(value: number, digits = 3): number {
  return Number(value.toFixed(digits));
}

/** Processor time of the whole process since it began, all its threads, in milliseconds. */
export function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
