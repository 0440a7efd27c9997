/**
 * One line of output. `met` says whether `value` reaches `aim`; both are null where there is none.
 * What else is in it says how the value came about.
 */
export type Line = {
  bench: string;
  name: string;
  value: number;
  unit: string;
  aim: number | null;
  met: boolean | null;
  [field: string]: unknown;
};
/** Instead of a line, where something that it needs is not here. */
export type Skipped = { bench: string; name: string; skipped: string };
/** `quick` shows that a measurement works, not what it would say. */
export type BenchOptions = { quick: boolean };

/** An aim is the most that a value may be, or the least. */
export type Aim = { most: number } | { least: number };

export function line(
  bench: string,
  name: string,
  {
    value,
    unit,
    aim,
    ...details
  }: { value: number; unit: string; aim?: Aim; [field: string]: unknown },
): Line {
  const met = aim === undefined ? null : "most" in aim ? value <= aim.most : value >= aim.least;
  const limit = aim === undefined ? null : "most" in aim ? aim.most : aim.least;
  return { bench, name, value, unit, aim: limit, met, ...details };
}

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
