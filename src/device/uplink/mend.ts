import { toHex } from "../../base/pure/bytes.ts";
import { isFailure } from "../../base/pure/failure.ts";
import { keepEntry } from "../../protocol/sealed/epoch.ts";
import type { Sealed } from "../../protocol/sealed/sealed.ts";
import type { Mailbox } from "../../protocol/wire/client.ts";
import { checkLink, type Entry } from "../../protocol/wire/entry.ts";
import { listMost } from "../../protocol/wire/mailbox.ts";
import { type EntryName, printName } from "../../protocol/wire/name.ts";
import type { Suite } from "../../protocol/wire/signature.ts";
import type { Outbox } from "../outbox/outbox.ts";
import { boundOf } from "./compare.ts";

// The entries between a log that was put back and the head that it goes on behind (uplink.md).

type Hole = { below: EntryName; above: EntryName };
type Reader = Pick<Mailbox, "list" | "get">;

/**
 * Hands over the entries that are missing between those of the outbox, as far as the relay has them,
 * the newest of each hole first: each signed by this camera, and the one that the entry after it names.
 */
export async function findMissing(
  mailbox: Reader,
  {
    outbox,
    camera,
    suite,
    signal,
    onFound,
  }: {
    outbox: Pick<Outbox, "entries" | "read">;
    camera: Uint8Array;
    suite: Suite;
    signal: AbortSignal;
    onFound(entry: Sealed): Promise<void>;
  },
): Promise<void> {
  const known = new Set(outbox.entries().map(({ hash }) => toHex(hash)));
  for (const { below, above } of holesIn(outbox.entries())) {
    const listed = await listBetween(mailbox, below, above, signal);
    let child: Entry | undefined = readOwn(await outbox.read(above))?.entry;
    while (child && !known.has(toHex(child.previous))) {
      const found = await parentOf(child);
      child = found?.entry;
      if (!found) break;
      known.add(toHex(found.entry.hash));
      await onFound(found.sealed);
    }

    async function parentOf(of: Entry) {
      const { previous: hash, sequence } = of;
      const guesses = [of.incarnation, below.incarnation];
      const hint = listed.get(toHex(hash));
      for (const incarnation of new Set(hint === undefined ? guesses : [hint, ...guesses])) {
        const name: EntryName = { kind: "entry", incarnation, sequence: sequence - 1, hash };
        const bytes = await mailbox.get(name, { signal });
        const found = bytes && readOwn(bytes, of);
        if (found) return found;
      }
      return undefined;
    }
  }

  /** Undefined for what is none of this camera's, or not the parent of `child`. */
  function readOwn(bytes: Uint8Array, child?: Entry) {
    try {
      const found = keepEntry(bytes, camera, suite);
      if (child) checkLink(child, found.entry);
      return found;
    } catch (error) {
      if (isFailure(error, "corrupt", "refused")) return undefined;
      throw error;
    }
  }
}

/** Where sequences leap; `entries` rise. */
function holesIn(entries: readonly EntryName[]): Hole[] {
  const holes: Hole[] = [];
  for (const [i, above] of entries.entries()) {
    const below = entries[i - 1];
    if (below && above.sequence > below.sequence + 1) holes.push({ below, above });
  }
  return holes;
}

/** The incarnations of the entries that are listed there, by hash: only a hint. */
async function listBetween(
  mailbox: Reader,
  below: EntryName,
  above: EntryName,
  signal: AbortSignal,
): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  const end = printName(above);
  let after = boundOf(below.incarnation, below.sequence);
  const most = Math.ceil((above.sequence - below.sequence) / listMost) + 1;
  for (let pages = most; pages > 0; pages--) {
    const page = await mailbox.list({ under: "entry/", after, limit: listMost, signal });
    for (const { name } of page) {
      if (name.kind === "entry") found.set(toHex(name.hash), name.incarnation);
    }
    const last = page.at(-1);
    if (!last || page.length < listMost || printName(last.name) >= end) break;
    after = printName(last.name);
  }
  return found;
}
