import type { DurableFolder } from "../base/node/durable.ts";
import { fromText, toText } from "../base/pure/bytes.ts";
import type { Clock } from "../base/pure/clock.ts";

/**
 * Time as objects age by: it passes while the relay runs and never otherwise, so that no wall clock
 * that is set, and no board that wakes up in another year, makes anything old. It is kept in a file
 * every few minutes; what a crash forgets of it makes objects younger, never older.
 */
export type Age = {
  /** Milliseconds that the relay has run on this folder. Files carry it as their time. */
  nowMs(): number;
  save(): Promise<void>;
};

const file = "elapsed";

export async function openAge(
  folder: Pick<DurableFolder, "read" | "write">,
  clock: Pick<Clock, "monotonicUs">,
): Promise<Age> {
  const text = await folder.read(file).then(toText, () => "");
  const before = /^[0-9]{1,15}\n$/.test(text) ? Number(text) : 0;
  const startUs = clock.monotonicUs();
  const nowMs = () => before + Math.max(0, Math.floor((clock.monotonicUs() - startUs) / 1000));
  return { nowMs, save: () => folder.write(file, fromText(`${nowMs()}\n`)) };
}
