import { readdir, readFile, statfs } from "node:fs/promises";
import { join } from "node:path";
import { type DurableFolder, type Fault, openDurable } from "../../base/node/durable.ts";
import { lockFolder } from "../../base/node/lock.ts";
import { toHex } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import type { Sealed } from "../../protocol/sealed/sealed.ts";
import type { Page } from "../../protocol/wire/mailbox.ts";
import { type EntryName, type Name, type PartName, toFileName } from "../../protocol/wire/name.ts";
import {
  addKept,
  type Contents,
  countBytes,
  isRemnant,
  type Kept,
  readContents,
  roundToBlock,
} from "./contents.ts";
import { memoryFolder } from "./memory.ts";
import { chooseVictims } from "./retention.ts";
import { openShelf } from "./shelf.ts";

export { checkOutbox, type Verdict } from "./check.ts";
export {
  countStorageFailure,
  isStorageFailure,
  storageFailures,
  storageFailuresFile,
} from "./failures.ts";

export { chooseExpired, type DayMark } from "./retention.ts";

export type Loss = { clip: string; parts: number };
/** A clip as it lies there, `isOpen` while it is recorded; `orderMs` rises from clip to clip. */
export type Standing = {
  clip: string;
  incarnation: number;
  orderMs: number;
  parts: number;
  isOpen: boolean;
};
export type Change = { kind: "put"; name: Name } | { kind: "gone"; clip: string };

/**
 * Where sealed objects wait for whoever fetches them. In: objects that only protocol/sealed can
 * make. Out: the same, durable when `put` resolves, until their clip is lost for want of room.
 * Invariants and steps: outbox.md.
 */
export type Outbox = {
  /** "memory" after the storage failed twice: nothing there outlives the process. */
  readonly kind: "folder" | "memory";
  /** The log as it lies on the card: with an outbox in memory what can still be read of it. */
  readonly card: Pick<Outbox, "entries" | "read">;
  /**
   * Durable when it resolves; a second time changes nothing. Takes no room from others: see
   * `victims`. Throws Failure "full", or "gone" when the storage failed and the program must end.
   */
  put(object: Sealed): Promise<void>;
  /**
   * The clips that have to go before `bytes` may come: to be named in the log, then `lose`d. With
   * `force` at least one, for when a write found no room. Throws Failure "full" when there is no
   * older clip to give.
   */
  victims(bytes: number, options?: { force?: boolean }): Promise<Loss[]>;
  lose(clips: readonly Loss[]): Promise<void>;
  /** Takes away the log's entries below this sequence, the oldest first: a checkpoint stands for them. */
  letGo(sequence: number): Promise<void>;
  /** Takes away parts that turned out to be damaged. */
  discard(parts: readonly PartName[]): Promise<void>;
  /** Keeps a clip that is being recorded from being chosen; ended with `false`. */
  hold(clip: string, isOpen: boolean): void;
  /** All entries by sequence, and the parts of a clip by number. */
  entries(): readonly EntryName[];
  parts(clip: string): readonly PartName[];
  read(name: Name): Promise<Uint8Array>;
  /** At most so many of what belongs on such a page (wire/mailbox.md), by name in text order; no boxes. */
  objects(page: Pick<Page, "under" | "after">, most: number): { name: Name; bytes: number }[];
  /** All clips, the oldest first. */
  clips(): Standing[];
  /** Tells of each object that is durable from now on, and of each clip that went; until called back. */
  watch(listener: (change: Change) => void): () => void;
  /** Bytes kept, in whole blocks, log entries aside. */
  bytes(): number;
  close(): Promise<void>;
};

export type OutboxOptions = {
  folder: string;
  limitBytes: number;
  /** Left free on the file system for everything else. */
  headroomBytes: number;
  wallMs(): number;
  fault?: Fault | undefined;
};

/** Entries that are taken away in one step: others write in between. */
const mostAtOnce = 64;

/**
 * Opens the folder and does the first two steps of the start. Throws Failure "busy" when another
 * process has it open.
 */
export async function openOutbox(options: OutboxOptions): Promise<Outbox> {
  const { folder, headroomBytes } = options;
  const disk = await openDurable(folder, { fault: options.fault });
  try {
    const contents = await readContents(folder, await disk.list());
    await clearRemnants(disk, contents);
    return serve("folder", disk, contents, options, async () => {
      const { bavail, bsize } = await statfs(folder);
      return bavail * bsize - headroomBytes;
    });
  } catch (error) {
    await disk.close();
    throw error;
  }
}

/**
 * An outbox in memory for when the storage cannot be trusted: bounded by `limitBytes` alone. Nothing
 * is written to `folder`; it is kept from other processes as if it were. Throws Failure "busy".
 */
export async function openMemoryOutbox(options: {
  folder: string;
  limitBytes: number;
  wallMs(): number;
}): Promise<Outbox> {
  const { folder } = options;
  const unlock = await lockFolder(folder);
  const memory = memoryFolder();
  const close = () => memory.close().finally(unlock);
  const contents: Contents = { clips: new Map(), entries: [], others: [], strangers: [] };
  const left = await readContents(folder, await readdir(folder).catch(() => []));
  const card: Outbox["card"] = {
    entries: () => left.entries.map(({ name }) => name),
    read: async (name) => {
      const file = join(folder, toFileName(name));
      return await readFile(file).catch((cause) => {
        throw new Failure("absent", `${file} cannot be read`, { cause });
      });
    },
  };
  const spareBytes = async () => Number.POSITIVE_INFINITY;
  return { ...serve("memory", { ...memory, close }, contents, options, spareBytes), card };
}

function serve(
  kind: Outbox["kind"],
  disk: DurableFolder,
  contents: Contents,
  { limitBytes, wallMs }: { limitBytes: number; wallMs(): number },
  spareBytes: () => Promise<number>,
): Outbox {
  const open = new Set<string>();
  const listeners = new Set<(change: Change) => void>();
  const tell = (change: Change) => {
    for (const listener of listeners) listener(change);
  };
  const isShown = ({ name }: Kept) => name.kind !== "box" && name.kind !== "door";
  const shelf = openShelf([
    ...contents.entries,
    ...[...contents.clips.values()].flatMap(({ parts }) => parts),
    ...contents.others.filter(isShown),
  ]);
  const remove = async (files: readonly string[]) => {
    await disk.remove(files);
    shelf.drop(files);
  };
  let newestMs = Math.max(0, ...[...contents.clips.values()].map(({ orderMs }) => orderMs));

  const kept = (name: Name) => {
    const file = toFileName(name);
    if (name.kind === "part") {
      return contents.clips.get(hexOf(name))?.parts.some((part) => part.file === file) ?? false;
    }
    return contents.entries.some((entry) => entry.file === file);
  };

  const outbox: Outbox = {
    kind,
    get card() {
      return outbox;
    },
    async put({ name, bytes }) {
      if (kept(name)) return;
      const isFirst = name.kind === "part" && name.number === 0;
      if (isFirst) newestMs = Math.max(wallMs(), newestMs + 1);
      const file = toFileName(name);
      await disk.write(file, bytes, isFirst ? { modifiedMs: newestMs } : {});
      const one = { name, file, bytes: bytes.length };
      addKept(contents, one, newestMs);
      if (isShown(one)) shelf.add(one);
      tell({ kind: "put", name });
    },
    async victims(bytes, { force = false } = {}) {
      const candidates = [...contents.clips.values()].map((clip) => ({
        ...clip,
        isOpen: open.has(clip.clip),
      }));
      const room = {
        incomingBytes: roundToBlock(Math.max(bytes, 1)),
        usedBytes: countBytes(contents),
        limitBytes,
        // A write that found no room knows better than what the file system says.
        spareBytes: force ? 0 : await spareBytes(),
      };
      let { victims, enough } = chooseVictims(candidates, room);
      if (!enough && !force) {
        // Somebody else fills the card: giving up every clip would not bring the headroom back. So
        // it is written into, and when nothing at all is left a forced call gives clip by clip.
        ({ victims, enough } = chooseVictims(candidates, {
          ...room,
          spareBytes: Number.POSITIVE_INFINITY,
        }));
      }
      if (!enough && victims.length === 0) throw noRoom(disk.path);
      return victims.map((clip) => ({
        clip,
        parts: contents.clips.get(clip)?.parts.length ?? 0,
      }));
    },
    async lose(clips) {
      const known = clips.flatMap(({ clip }) => contents.clips.get(clip) ?? []);
      const files = known.map(({ parts }) => parts.map(({ file }) => file));
      await remove(files.flatMap((parts) => parts.slice(0, 1)));
      await remove(files.flatMap((parts) => parts.slice(1)));
      for (const { clip } of known) {
        contents.clips.delete(clip);
        tell({ kind: "gone", clip });
      }
    },
    async discard(parts) {
      for (const name of parts) {
        const clip = contents.clips.get(hexOf(name));
        const file = toFileName(name);
        await remove([file]);
        if (clip) clip.parts = clip.parts.filter((part) => part.file !== file);
        if (clip?.parts.length !== 0) continue;
        contents.clips.delete(clip.clip);
        tell({ kind: "gone", clip: clip.clip });
      }
    },
    async letGo(sequence) {
      for (;;) {
        const kept = contents.entries.findIndex(({ name }) => name.sequence >= sequence);
        const count = Math.min(kept < 0 ? contents.entries.length : kept, mostAtOnce);
        if (count === 0) return;
        const files = contents.entries.slice(0, count).map(({ file }) => file);
        await remove(files);
        contents.entries = contents.entries.filter(({ file }) => !files.includes(file));
      }
    },
    hold(clip, isOpen) {
      if (isOpen) open.add(clip);
      else open.delete(clip);
    },
    entries: () => contents.entries.map(({ name }) => name),
    parts: (clip) => (contents.clips.get(clip)?.parts ?? []).map(({ name }) => name),
    read: (name) => disk.read(toFileName(name)),
    objects: (page, most) => shelf.page(page, most),
    clips: () =>
      [...contents.clips.values()]
        .sort((a, b) => a.orderMs - b.orderMs || (a.clip < b.clip ? -1 : 1))
        .map(({ clip, incarnation, orderMs, parts }) => ({
          ...{ clip, incarnation, orderMs, parts: parts.length, isOpen: open.has(clip) },
        })),
    watch(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    bytes: () => countBytes(contents),
    close: () => disk.close(),
  };
  return outbox;
}

function hexOf(name: PartName): string {
  return toHex(name.clip);
}

function noRoom(where: string): Failure {
  return new Failure("full", `no room in ${where}, and no older clip to give`, {
    hint: "Free some space on the card, or lower outbox.headroomMiB",
  });
}

async function clearRemnants(disk: DurableFolder, contents: Contents): Promise<void> {
  const remnants = [...contents.clips.values()].filter(isRemnant);
  await disk.remove(remnants.flatMap(({ parts }) => parts.map(({ file }) => file)));
  for (const { clip } of remnants) contents.clips.delete(clip);
}
