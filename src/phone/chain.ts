import { toHex } from "../base/pure/bytes.ts";
import { checkLink, type EntryFields, entryName } from "../protocol/wire/entry.ts";
import { printName } from "../protocol/wire/name.ts";
import { type Fault, faultOf } from "./fault.ts";

/** The clear head of an entry whose signature and name were found good. */
export type Verified = Omit<EntryFields, "body" | "stanzas" | "critical"> & { hash: Uint8Array };

/**
 * The branch with the newest entry, by rising sequence; names what is missing in it and what is beside it. Takes time that
 * grows as the entries do, whatever of them was withheld. What lies before `floor` is not looked for.
 */
export function findChain<T extends Verified>(
  entries: readonly T[],
  faults: Fault[],
  floor = 0,
): T[] {
  const byHash = new Map(entries.map((entry) => [toHex(entry.hash), entry]));
  const falling = [...byHash.values()].sort((a, b) => b.sequence - a.sequence);
  const chain: T[] = [];
  // Sequences fall with each step, whatever the entries say: so it ends, and each is met once.
  let next = 0;
  let at = falling[0];
  while (at) {
    const { sequence, previous, hash } = at;
    chain.push(at);
    if (sequence === floor) break;
    const parent = byHash.get(toHex(previous));
    try {
      if (parent) checkLink(at, parent);
    } catch (error) {
      faults.push({ ...faultOf(error, printName(entryName(at, hash))), sequence });
    }
    if (parent && parent.sequence < sequence) {
      at = parent;
      continue;
    }
    while ((falling[next]?.sequence ?? -1) >= sequence) next += 1;
    at = falling[next];
    const from = at ? at.sequence + 1 : floor;
    if (from < sequence) {
      const text = `log entries ${from} to ${sequence - 1} are missing`;
      faults.push({ severity: "loss", kind: "gap", text, sequence: from });
    }
  }
  chain.reverse();
  const taken = new Set(chain.map(({ hash }) => toHex(hash)));
  for (const [hash, entry] of byHash) {
    if (taken.has(hash)) continue;
    const { sequence } = entry;
    const name = printName(entryName(entry, entry.hash));
    const text = `log entry ${sequence} has a second version: the log was forked`;
    faults.push({ severity: "lie", kind: "fork", text, sequence, name });
  }
  return chain;
}
