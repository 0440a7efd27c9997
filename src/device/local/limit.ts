// How much whoever is in the network may ask of the camera, in memory of a bounded size.

export type Rate = { perSecond: number; burst: number };
/** Of one address, and of all together. */
export type Rates = { ofAddress: Rate; ofAll: Rate };

export type Limits = {
  /** False when this address has too many connections open, or makes them too fast; then it is not counted. */
  connect(address: string): boolean;
  disconnect(address: string): void;
  /** False when this address, or all together, have asked too much. */
  take(address: string): boolean;
  /** Counts as so many more requests, as far as there is something left to this address. */
  charge(address: string, requests: number): void;
};

const mostAddresses = 1024;

export function openLimits(options: {
  connectionsOfAddress: number;
  connections: Rates;
  requests: Rates;
  monotonicMs(): number;
}): Limits {
  const { connectionsOfAddress, monotonicMs } = options;
  const open = new Map<string, number>();
  const arrivals = openBuckets(options.connections, monotonicMs);
  const requests = openBuckets(options.requests, monotonicMs);
  return {
    connect(address) {
      const count = open.get(address) ?? 0;
      if (count >= connectionsOfAddress || !arrivals.take(address)) return false;
      open.set(address, count + 1);
      return true;
    },
    disconnect(address) {
      const count = (open.get(address) ?? 1) - 1;
      if (count > 0) open.set(address, count);
      else open.delete(address);
    },
    ...requests,
  };
}

type Bucket = { left: number; atMs: number };

function openBuckets(
  { ofAddress, ofAll }: Rates,
  monotonicMs: () => number,
): Pick<Limits, "take" | "charge"> {
  /** What is left to each, and when that was so; the one that was heard last is at the end. */
  const buckets = new Map<string, Bucket>();
  const all: Bucket = { left: ofAll.burst, atMs: monotonicMs() };
  const fill = (bucket: Bucket, { perSecond, burst }: Rate) => {
    const nowMs = monotonicMs();
    bucket.left = Math.min(burst, bucket.left + ((nowMs - bucket.atMs) / 1000) * perSecond);
    bucket.atMs = nowMs;
  };
  const bucketOf = (address: string) => {
    const bucket = buckets.get(address) ?? { left: ofAddress.burst, atMs: monotonicMs() };
    buckets.delete(address);
    buckets.set(address, bucket);
    for (const [oldest] of buckets) {
      if (buckets.size <= mostAddresses) break;
      buckets.delete(oldest);
    }
    fill(bucket, ofAddress);
    fill(all, ofAll);
    return bucket;
  };
  return {
    take(address) {
      const bucket = bucketOf(address);
      // What does not fit counts no further: who waits is heard again.
      if (bucket.left < 1 || all.left < 1) return false;
      bucket.left -= 1;
      all.left -= 1;
      return true;
    },
    charge(address, requests) {
      const bucket = bucketOf(address);
      // Of all no more than this address has: else one that guesses would take the others' place.
      const taken = Math.min(requests, bucket.left);
      bucket.left -= taken;
      all.left = Math.max(0, all.left - taken);
    },
  };
}

/** An IPv4 address as it is, also where IPv6 carries it. */
export const plainAddress = (address: string | undefined) =>
  (address ?? "").replace(/^::ffff:(?=\d+\.)/i, "");
