import { Reader, Writer } from "../base/pure/bytes.ts";
import { sizes } from "../protocol/sealed/sodium.ts";

// The ages of the keys that commands are sealed to: a new one each day, none older than thirty. What
// was recorded on its way to the camera does not open later, whoever takes the card.

/** `madeMs` is run time since the adoption (journal.ts, elapsedMs): no clock that can be set. */
export type ReceivingKey = { readonly madeMs: number; readonly secret: Uint8Array };

const dayMs = 86_400_000;
export const lifeMs: number = 30 * dayMs;
/** A day's worth each, one more for a run that begins as one ends, and some to spare. */
const mostKeys = 64;
const format = 1;

/**
 * The keys as they have to be at `elapsedMs`, oldest first; undefined when they are so already. The
 * last is the one in use. Keys from a future that is not known any more (the notebook was lost, and
 * time began anew) count from now on: none lives longer than it was going to twice over.
 */
export function advance(
  keys: readonly ReceivingKey[],
  elapsedMs: number,
  make: () => Uint8Array,
): ReceivingKey[] | undefined {
  const aged = keys.map((key) =>
    key.madeMs > elapsedMs ? { madeMs: elapsedMs, secret: key.secret } : key,
  );
  const kept = aged.filter(({ madeMs }) => elapsedMs - madeMs < lifeMs);
  const newest = kept.at(-1);
  const isDue = !newest || elapsedMs - newest.madeMs >= dayMs;
  if (isDue) kept.push({ madeMs: elapsedMs, secret: make() });
  const isSame = kept.length === keys.length && kept.every((key, i) => key === keys[i]);
  return isSame ? undefined : kept;
}

/** u8 format, u8 count, then for each key u64 time and 32 bytes of secret. */
export function encodeKeys(keys: readonly ReceivingKey[]): Uint8Array {
  const writer = new Writer().u8(format).u8(keys.length);
  for (const { madeMs, secret } of keys) writer.u64(madeMs).raw(secret);
  return writer.done();
}

/** Stages: "length", "range", "version", "count". */
export function decodeKeys(bytes: Uint8Array): ReceivingKey[] {
  const reader = new Reader(bytes, "the camera's receiving keys");
  if (reader.u8() !== format) throw reader.refuse("version", "receiving keys of another format");
  const count = reader.u8();
  if (count < 1 || count > mostKeys) throw reader.refuse("count", `${count} receiving keys`);
  const keys = Array.from({ length: count }, () => ({
    madeMs: reader.u64(),
    // A copy: the file's other bytes need not stay with it.
    secret: reader.take(sizes.kemSecret).slice(),
  }));
  reader.end();
  return keys;
}
