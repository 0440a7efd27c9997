import { toHex } from "../base/pure/bytes.ts";
import { decodeTombstone } from "../protocol/sealed/tombstone.ts";
import { type Journal, type Record, statements } from "./journal.ts";

/** All that the log says of one clip. */
export type Told = {
  started?: {
    record: Record;
    clip: Uint8Array;
    headerHash: Uint8Array;
    keyIds: readonly Uint8Array[];
  };
  ended?: { number: number; hash: Uint8Array; reason: string };
  /** Parts that the camera had to let go, and why. */
  lost?: number;
  lostWhy?: string;
  /** The camera carried out its deletion. */
  gone?: boolean;
};

/** What the log says of each clip, by id in hexadecimal. */
export function readTold(journal: Journal): Map<string, Told> {
  const clips = new Map<string, Told>();
  const about = (clip: Uint8Array): Told => {
    const id = toHex(clip);
    const known = clips.get(id) ?? {};
    clips.set(id, known);
    return known;
  };
  for (const { record, statement } of statements(journal, "clip-started")) {
    const { clip, headerHash, keyIds } = statement;
    about(clip).started ??= { record, clip, headerHash, keyIds };
  }
  for (const { statement } of statements(journal, "clip-ended")) {
    about(statement.clip).ended = { ...statement.last, reason: statement.reason };
  }
  for (const { statement } of statements(journal, "lost")) {
    for (const { clip, parts } of statement.clips) {
      Object.assign(about(clip), { lost: parts, lostWhy: statement.reason });
    }
  }
  for (const { statement } of statements(journal, "tombstone-done")) {
    try {
      about(decodeTombstone(statement.tombstone).clip).gone = true;
    } catch {
      // Said of no clip; deletions.ts names it.
    }
  }
  if (!isFromBase(journal)) return clips;
  // What begins before the log does an owner has vouched for: it is over, whatever is said of it since.
  return new Map([...clips].filter(([, { started }]) => started));
}

/** Whether all that there is of a log that begins late can be read. */
function isFromBase({ base, records }: Journal): boolean {
  return (
    base !== undefined &&
    records[0]?.entry.sequence === base.sequence &&
    records.every(({ body }) => body !== undefined)
  );
}

/** The clips that may still be open: begun since the camera's last start, and not ended. */
export function openClips({ records }: Journal): Set<string> {
  const open = new Set<string>();
  for (const { body } of records) {
    const statement = body?.statement;
    if (statement?.kind === "started") open.clear();
    else if (statement?.kind === "clip-started") open.add(toHex(statement.clip));
    else if (statement?.kind === "clip-ended") open.delete(toHex(statement.clip));
  }
  return open;
}
