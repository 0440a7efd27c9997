import { stat } from "node:fs/promises";
import { join } from "node:path";
import { toHex } from "../../base/pure/bytes.ts";
import type { EntryName, Name, PartName } from "../../protocol/wire/name.ts";
import { fromFileName } from "../../protocol/wire/name.ts";

/** One file of the outbox. */
export type Kept<N extends Name = Name> = { name: N; file: string; bytes: number };
export type KeptClip = {
  clip: string; // id in hexadecimal
  incarnation: number;
  orderMs: number; // time of part 0's file: rises from clip to clip
  parts: Kept<PartName>[]; // by number
  bytes: number;
};
export type Contents = {
  clips: Map<string, KeptClip>; // by id
  entries: Kept<EntryName>[]; // by sequence
  others: Kept[]; // beacon and box objects
  strangers: string[]; // files that are nobody's
};

/** What a file takes up, as far as it can be told from here: whole blocks. */
export function roundToBlock(bytes: number): number {
  return Math.ceil(bytes / 4096) * 4096;
}

/** Sorts the files of an outbox by what they are; opens none of them. */
export async function readContents(path: string, files: readonly string[]): Promise<Contents> {
  const contents: Contents = { clips: new Map(), entries: [], others: [], strangers: [] };
  for (const file of files) {
    const name = nameOf(file);
    const found = await stat(join(path, file)).catch(() => undefined);
    if (!name || !found?.isFile()) contents.strangers.push(file);
    else addKept(contents, { name, file, bytes: found.size }, found.mtimeMs);
  }
  contents.entries.sort((a, b) => a.name.sequence - b.name.sequence);
  return contents;
}

/** Adds one file, in its place; `modifiedMs` counts for part 0 only. */
export function addKept(contents: Contents, kept: Kept, modifiedMs: number): void {
  const { name, file, bytes } = kept;
  if (name.kind === "entry") {
    addEntry(contents.entries, { name, file, bytes });
  } else if (name.kind === "part") {
    const clip = toHex(name.clip);
    const { incarnation } = name;
    const known = contents.clips.get(clip) ?? {
      clip,
      incarnation,
      orderMs: 0,
      parts: [],
      bytes: 0,
    };
    known.parts.push({ name, file, bytes });
    known.parts.sort((a, b) => a.name.number - b.name.number);
    known.bytes += roundToBlock(bytes);
    if (name.number === 0) known.orderMs = modifiedMs;
    contents.clips.set(clip, known);
  } else {
    contents.others = contents.others.filter((one) => one.file !== file);
    contents.others.push(kept);
  }
}

/** Mostly the newest; one that was missing comes between those that are there. */
function addEntry(entries: Kept<EntryName>[], kept: Kept<EntryName>): void {
  const { sequence } = kept.name;
  const at = entries.findLastIndex(({ name }) => name.sequence <= sequence) + 1;
  for (let i = at - 1; entries[i]?.name.sequence === sequence; i--) {
    if (entries[i]?.file === kept.file) return;
  }
  entries.splice(at, 0, kept);
}

/** Bytes on disk of everything that the limit counts: all but log entries. */
export function countBytes(contents: Contents): number {
  let bytes = 0;
  for (const clip of contents.clips.values()) bytes += clip.bytes;
  for (const other of contents.others) bytes += roundToBlock(other.bytes);
  return bytes;
}

export function isRemnant(clip: KeptClip): boolean {
  return clip.parts[0]?.name.number !== 0;
}

function nameOf(file: string): Name | undefined {
  try {
    return fromFileName(file);
  } catch {
    return undefined;
  }
}
