import { createHash } from "node:crypto";
import { isFailure } from "../../src/base/pure/failure.ts";

export type FuzzOptions = {
  name: string;
  /** Cases; 100,000 unless said, and OBSCURA_FUZZ_COUNT overrules both. */
  count?: number;
  /** Well-formed objects that the mutations start from. */
  seeds: readonly Uint8Array[];
  decode(bytes: Uint8Array): unknown;
  /** Signs or seals a mutated object again, so that it gets past the first check; every second case. */
  reseal?(bytes: Uint8Array): Uint8Array;
  /** Stages that must have refused at least one case, else the run proved too little. */
  reaches: readonly string[];
};

const defaultCount = 100_000;
/** What may stay behind after a run, and what may pile up while the collector waits. */
const keptBytes = 16 * 1024 * 1024;
const peakBytes = 384 * 1024 * 1024;

/**
 * Throws truncated, oversized, flipped, spliced and random inputs at a decoder. It may take them
 * or refuse them with a Failure "corrupt" or "refused" that names a stage; anything else, and
 * memory that grows, throws with the input. Prints how many each stage refused.
 */
export function fuzz(options: FuzzOptions): ReadonlyMap<string, number> {
  const { name, seeds, decode, reseal, reaches } = options;
  const count = Number(process.env.OBSCURA_FUZZ_COUNT ?? options.count ?? defaultCount);
  const startSeed = Number(process.env.OBSCURA_FUZZ_SEED ?? 0x0b5c07a);
  const random = generator(startSeed);
  const counts = new Map<string, number>();
  const before = usedBytes();
  const startMs = performance.now();
  // Refusals are what is made here by the hundred thousand, and their stacks are half the time.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  const residentBefore = process.memoryUsage().rss;
  let peak = residentBefore;
  let resealed = 0;
  for (let i = 0; i < count; i++) {
    let input = mutate(seeds, random);
    if (reseal && i % 2 === 1) {
      input = reseal(input);
      resealed++;
    }
    const stage = stageOf(input, decode, name);
    counts.set(stage, (counts.get(stage) ?? 0) + 1);
    if (i % 4096 === 0) peak = Math.max(peak, process.memoryUsage().rss);
  }
  Error.stackTraceLimit = stackTraceLimit;
  const kept = usedBytes() - before;
  const grown = Math.max(process.memoryUsage().rss, peak) - residentBefore;
  const seconds = (performance.now() - startMs) / 1000;
  const list = [...counts].sort((a, b) => b[1] - a[1]).map(([stage, n]) => `${stage} ${n}`);
  console.log(
    `\nmeasured: fuzz ${name}: ${count} cases, ${resealed} sealed again, ${seconds.toFixed(1)} s, ` +
      `kept ${(kept / 1e6).toFixed(1)} MB: ${list.join(", ")}`,
  );
  if (kept > keptBytes || grown > peakBytes) {
    throw new Error(`${name}: memory grew by ${kept} bytes, resident set by ${grown}`);
  }
  // A small run need not have met every stage.
  const missed = count < 10_000 ? [] : reaches.filter((stage) => !counts.has(stage));
  if (missed.length > 0) throw new Error(`${name}: nothing was refused by ${missed.join(", ")}`);
  return counts;
}

function stageOf(input: Uint8Array, decode: (bytes: Uint8Array) => unknown, name: string): string {
  try {
    decode(input);
    return "taken";
  } catch (error) {
    if (isFailure(error, "corrupt", "refused") && error.stage) return error.stage;
    const hex = Buffer.from(input.subarray(0, 4096)).toString("hex");
    throw new Error(`${name}: not a typed refusal of ${input.length} bytes ${hex}`, {
      cause: error,
    });
  }
}

/** Bytes held by JavaScript and outside it, after a collection where one can be asked for. */
function usedBytes(): number {
  // Twice: memory outside of the heap is let go of while the next collection begins.
  for (let i = 0; i < 2; i++) (globalThis as { gc?: () => void }).gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

export type Random = (below: number) => number;

/** xorshift32: the same inputs in every run, unless OBSCURA_FUZZ_SEED says otherwise. */
export function generator(seed: number): Random {
  let state = seed | 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

function mutate(seeds: readonly Uint8Array[], random: Random): Uint8Array {
  const pick = () => new Uint8Array(seeds[random(seeds.length)] ?? []);
  let bytes: Uint8Array = pick();
  for (let rounds = 1 + random(3); rounds > 0; rounds--) {
    bytes = mutateOnce(bytes, pick, random);
  }
  return bytes;
}

function mutateOnce(bytes: Uint8Array, pick: () => Uint8Array, random: Random): Uint8Array {
  const at = random(bytes.length + 1);
  switch (random(8)) {
    case 0: // truncated
      return bytes.slice(0, at);
    case 1: // too long
      return Buffer.concat([bytes, noise(1 + random(300), random)]);
    case 2: // spliced
      return Buffer.concat([bytes.subarray(0, at), pick().subarray(random(bytes.length + 1))]);
    case 3: // nothing of it left
      return noise(random(400), random);
    case 4: {
      // a length, count or number with a value that decoders get wrong
      const width = [1, 2, 4, 8][random(4)] ?? 1;
      const values = [0n, 1n, 0x7fn, 0x80n, 0xffn, 0x7fff_ffffn, 0xffff_ffffn, (1n << 64n) - 1n];
      const value = Buffer.alloc(8);
      value.writeBigUInt64BE(values[random(values.length)] ?? 0n);
      if (at + width <= bytes.length) bytes.set(value.subarray(8 - width), at);
      return bytes;
    }
    case 5: // a piece taken out
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random(64))]);
    default: // flipped
      for (let flips = 1 + random(4); flips > 0 && bytes.length > 0; flips--) {
        const i = random(bytes.length);
        bytes[i] = (bytes[i] ?? 0) ^ (1 << random(8));
      }
      return bytes;
  }
}

function noise(length: number, random: Random): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = random(256);
  return bytes;
}

/**
 * A stand-in for Ed25519 where 100,000 signatures would take minutes: SHA-512 over key and
 * message. It signs and verifies by the same rule of "any changed bit is refused".
 */
export const quickSuite = {
  sha512: () => createHash("sha512"),
  verify: (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) =>
    Buffer.compare(quickSign(publicKey)(message), signature) === 0,
};

export function quickSign(publicKey: Uint8Array): (message: Uint8Array) => Uint8Array {
  return (message) => createHash("sha512").update(publicKey).update(message).digest();
}
