import { type FileHandle, open, readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { nodeSuite } from "../base/node/crypto.ts";
import type { Fault } from "../base/node/durable.ts";
import { equal, fromHex, toHex } from "../base/pure/bytes.ts";
import { Failure } from "../base/pure/failure.ts";
import {
  type Beacon,
  decodeBeacon,
  replacesBeacon,
  verifyBeacon,
} from "../protocol/wire/beacon.ts";
import { type DoorList, replacesDoorList, verifyDoorList } from "../protocol/wire/door.ts";
import {
  type Clip,
  type Listed,
  listMost,
  type Page,
  printClip,
} from "../protocol/wire/mailbox.ts";
import { type Name, printName } from "../protocol/wire/name.ts";
import type { Age } from "./age.ts";
import { openDrafts, passOver } from "./draft.ts";
import { type Medium, openMedium } from "./medium.ts";
import { checkQuota, type Usage } from "./quota.ts";
import { openTurns } from "./turn.ts";
import { pathOf, walk } from "./walk.ts";

/**
 * All mailboxes as files of one folder (RELAY.md). What it has said is stored is durable; what it
 * shows has passed every check; nothing but a few bounded tables is in memory.
 */
export type Store = {
  /** The door list of a mailbox that exists. */
  doors(mailbox: Uint8Array): Promise<DoorList | undefined>;
  /**
   * Takes an object whose request was checked. Throws Failure "refused" ("content", "rises",
   * "camera" and those of beacon and door list), "full" ("quota", "disk", "mailboxes"), "gone".
   */
  put(mailbox: Uint8Array, name: Name, content: Content): Promise<"stored" | "there">;
  /** The caller closes the file. */
  get(
    mailbox: Uint8Array,
    name: Name,
  ): Promise<({ bytes: number; file: FileHandle } & AsyncDisposable) | undefined>;
  list(mailbox: Uint8Array, page: Page): Promise<Listed[]>;
  /** With `minimumAgeMs`, throws Failure "refused", stage "age", when anything is younger. */
  remove(mailbox: Uint8Array, what: Name | Clip, minimumAgeMs?: number): Promise<void>;
  /** Takes away parts that have lain here longer; `early` were younger than their owner's minimum age. */
  retire(keep: Retention, signal: AbortSignal): Promise<{ parts: number; early: number }>;
  /** The mailboxes here, the first of them if there are more. */
  mailboxes(most: number): Promise<Uint8Array[]>;
  state(): Promise<{ mailboxes: number; bytes: number; freeBytes: number }>;
  readonly broken: Failure | undefined;
};
/** How long parts stay; without end where a limit is not set. */
export type Retention = {
  /** Not younger than the owner's minimum age, whatever this says. */
  usualMs: number;
  /** The operator's last word, also against the owner. */
  longestMs: number;
};
export type Content = {
  bytes: number;
  sha512: Uint8Array;
  pieces: AsyncIterable<Uint8Array>;
};
export type StoreOptions = {
  folder: string;
  age: Age;
  quota: Usage;
  mailboxesMost: number;
  /** In hexadecimal; any may open one when empty. */
  mailboxesOnly: ReadonlySet<string>;
  headroomBytes: number;
  /** After an object is durable, before its put is answered. */
  onStored?(mailbox: string, name: string): void;
  onBroken?(failure: Failure): void;
  /** Why retention passed mailboxes over, one for each: what is damaged keeps what it has. */
  onFaults?(faults: readonly unknown[]): void;
  fault?: Fault | undefined;
};

const doorsKept = 64;

export async function openStore(options: StoreOptions): Promise<Store> {
  const { folder, age, quota, mailboxesMost, mailboxesOnly, onStored, onFaults } = options;
  const medium: Medium = openMedium(folder, options);
  const boxes = join(folder, "mailboxes");
  await medium.ensure(boxes);
  const drafts = await openDrafts(join(folder, "drafts"), medium);
  const inTurn = openTurns();
  const usages = new Map<string, Usage>();
  const doorLists = new Map<string, DoorList>();
  let mailboxes = 0;
  for await (const _ of idsIn(boxes)) mailboxes += 1;

  const rootOf = (id: string) => join(boxes, id.slice(0, 2), id);

  const doors: Store["doors"] = async (mailbox) => {
    const id = toHex(mailbox);
    const kept = doorLists.get(id);
    if (kept) return kept;
    const bytes = await readIfThere(join(rootOf(id), "door"));
    if (!bytes) return undefined;
    const list = readDoors(bytes, mailbox);
    const [oldest] = doorLists.keys();
    if (doorLists.size >= doorsKept && oldest !== undefined) doorLists.delete(oldest);
    doorLists.set(id, list);
    return list;
  };

  /** Counted by looking, once after each start. */
  const usageOf = async (id: string): Promise<Usage> => {
    const known = usages.get(id);
    if (known) return known;
    const usage: Usage = { bytes: 0, objects: 0 };
    for await (const { size } of sized(rootOf(id), { under: "", after: "" })) {
      usage.bytes += size;
      usage.objects += 1;
    }
    usages.set(id, usage);
    return usage;
  };

  /** Throws unless a mailbox that is not there yet may be opened. */
  const checkOpening = async (id: string): Promise<void> => {
    if (usages.has(id) || (await sizeOf(rootOf(id))) !== undefined) return;
    if (mailboxesOnly.size > 0 && !mailboxesOnly.has(id)) {
      throw new Failure("refused", "this relay takes no such mailbox", { stage: "right" });
    }
    if (mailboxes >= mailboxesMost) {
      throw new Failure("full", "this relay takes no more mailboxes", { stage: "mailboxes" });
    }
  };

  /** What lies under a name that is overwritten and is to be: else "there", or a refusal. */
  const replace = async (mailbox: Uint8Array, kind: "beacon" | "door", draft: string) => {
    const next = await readFile(draft);
    const path = join(rootOf(toHex(mailbox)), kind);
    const current = await readIfThere(path);
    if (current && equal(current, next)) return { isThere: true };
    if (kind === "door") {
      const list = verifyDoorList(next, mailbox, nodeSuite);
      const before = await doors(mailbox).catch(() => undefined);
      if (before && !replacesDoorList(list, before)) throw notRising();
      return { isThere: false, list };
    }
    const beacon = decodeBeacon(next);
    verifyBeacon(next, beacon.camera, nodeSuite);
    const before = current && readBeacon(current);
    if (before && !equal(before.camera, beacon.camera)) {
      throw new Failure("refused", "a beacon of another camera lies here", { stage: "camera" });
    }
    if (before && !replacesBeacon(beacon, before)) throw notRising();
    return { isThere: false };
  };

  /** Mailboxes are opened one after the other, so that never one too many is. */
  const inOrder = <T>(id: string, kind: Name["kind"], act: () => Promise<T>): Promise<T> =>
    kind === "door" ? inTurn("opening", () => inTurn(id, act)) : inTurn(id, act);

  const put: Store["put"] = async (mailbox, name, { bytes, sha512, pieces }) => {
    const id = toHex(mailbox);
    const text = printName(name);
    const path = join(rootOf(id), pathOf(name));
    const isFixed = name.kind === "beacon" || name.kind === "door";
    const usage = usages.get(id);
    if (!isFixed && (await sizeOf(path)) !== undefined) {
      await passOver(pieces, { bytes, sha512 });
      // A kill may have come between the name and its folder's fsync.
      await medium.settle(path, text);
      return "there";
    }
    // Before the content comes, and again when it is there.
    if (usage) checkQuota(name.kind, bytes, usage, quota);
    await checkOpening(id);
    await medium.checkRoom();
    const draft = await drafts.receive(pieces, {
      ...{ name: text, bytes, sha512, modifiedMs: age.nowMs() },
    });
    try {
      const outcome = await inOrder(id, name.kind, async () => {
        await checkOpening(id);
        const isNew = !usages.has(id) && (await sizeOf(rootOf(id))) === undefined;
        const now = await usageOf(id);
        const oldBytes = await sizeOf(path);
        const fixed = isFixed ? await replace(mailbox, name.kind, draft.path) : undefined;
        if (fixed?.isThere || (!isFixed && oldBytes !== undefined)) return "there";
        if (oldBytes === undefined) checkQuota(name.kind, bytes, now, quota);
        await medium.place(draft.path, path, text);
        if (isNew) mailboxes++;
        now.bytes += bytes - (oldBytes ?? 0);
        now.objects += oldBytes === undefined ? 1 : 0;
        if (fixed?.list) doorLists.set(id, fixed.list);
        return "stored";
      });
      if (outcome === "there") await draft.discard();
      await medium.settle(path, text);
      if (outcome === "stored") onStored?.(id, text);
      return outcome;
    } catch (error) {
      await draft.discard();
      throw error;
    }
  };

  const take = async (id: string, paths: { path: string; size: number }[]): Promise<number> => {
    const gone = new Set(
      await medium.clear(
        paths.map(({ path }) => path),
        "delete",
      ),
    );
    const usage = usages.get(id);
    for (const { path, size } of paths) {
      if (!usage || !gone.has(path)) continue;
      usage.bytes -= size;
      usage.objects -= 1;
    }
    return gone.size;
  };

  const remove: Store["remove"] = (mailbox, what, minimumAgeMs) => {
    const id = toHex(mailbox);
    return inTurn(id, async () => {
      const youngest = age.nowMs() - (minimumAgeMs ?? 0);
      const everything = () =>
        "kind" in what
          ? statEach(only({ name: what, path: join(rootOf(id), pathOf(what)) }))
          : sized(rootOf(id), { under: printClip(what), after: "" });
      if (minimumAgeMs !== undefined) {
        // All of a clip or nothing: half of one would look like a loss.
        for await (const { modifiedMs } of everything()) {
          if (modifiedMs <= youngest) continue;
          throw new Failure("refused", "younger than the owner's minimum age", { stage: "age" });
        }
      }
      for await (const some of inBatches(everything())) await take(id, some);
    });
  };

  const retire: Store["retire"] = async ({ usualMs, longestMs }, signal) => {
    const count = { parts: 0, early: 0 };
    const faults: unknown[] = [];
    for await (const id of idsIn(boxes)) {
      try {
        const minimumMs = (await doors(fromHex(id)))?.minimumAgeMs ?? 0;
        const nowMs = age.nowMs();
        const oldest = nowMs - Math.min(Math.max(usualMs, minimumMs), longestMs);
        const parts = sized(rootOf(id), { under: "part/", after: "" });
        for await (const some of inBatches(parts)) {
          if (signal.aborted) return count;
          const old = some.filter(({ modifiedMs }) => modifiedMs < oldest);
          if (old.length === 0) continue;
          count.parts += await inTurn(id, () => take(id, old));
          count.early += old.filter((one) => nowMs - one.modifiedMs < minimumMs).length;
        }
      } catch (error) {
        // One that is damaged is not in the way of the others.
        if (medium.broken) throw error;
        faults.push(error);
      }
    }
    if (faults.length > 0) onFaults?.(faults);
    return count;
  };

  return {
    doors,
    put,
    remove,
    retire,
    async get(mailbox, name) {
      const path = join(rootOf(toHex(mailbox)), pathOf(name));
      const file = await open(path, "r").catch((error) => {
        if (error.code === "ENOENT") return undefined;
        throw error;
      });
      if (!file) return undefined;
      const { size } = await file.stat();
      return { bytes: size, file, [Symbol.asyncDispose]: () => file.close() };
    },
    async list(mailbox, page) {
      const listed: Listed[] = [];
      const most = page.limit ?? listMost;
      for await (const { name, size } of sized(rootOf(toHex(mailbox)), page, most)) {
        listed.push({ name, bytes: size });
        if (listed.length >= most) break;
      }
      return listed;
    },
    async mailboxes(most) {
      const ids: Uint8Array[] = [];
      for await (const id of idsIn(boxes)) if (ids.push(fromHex(id)) >= most) break;
      return ids;
    },
    async state() {
      const freeBytes = await medium.freeBytes();
      let bytes = 0;
      for (const usage of usages.values()) bytes += usage.bytes;
      return { mailboxes, bytes, freeBytes };
    },
    get broken() {
      return medium.broken;
    },
  };
}

type Sized = { name: Name; path: string; size: number; modifiedMs: number };
const batch = 64;

/** As `walk`, with what the file system says of each file; those that went meanwhile are left out. */
function sized(
  root: string,
  bounds: { under: string; after: string },
  most = batch,
): AsyncGenerator<Sized, void> {
  return statEach(walk(root, bounds), Math.min(most, batch));
}

async function* only<T>(one: T): AsyncGenerator<T, void> {
  yield one;
}

async function* statEach(
  all: AsyncIterable<{ name: Name; path: string }>,
  atOnce = batch,
): AsyncGenerator<Sized, void> {
  const ask = async ({ name, path }: { name: Name; path: string }) => {
    const found = await stat(path).catch(() => undefined);
    return found?.isFile()
      ? { name, path, size: found.size, modifiedMs: found.mtimeMs }
      : undefined;
  };
  for await (const some of inBatches(all, atOnce)) {
    for (const one of await Promise.all(some.map(ask))) if (one) yield one;
  }
}

async function* inBatches<T>(all: AsyncIterable<T>, atOnce = batch): AsyncGenerator<T[], void> {
  let some: T[] = [];
  for await (const one of all) {
    some.push(one);
    if (some.length < atOnce) continue;
    yield some;
    some = [];
  }
  if (some.length > 0) yield some;
}

/** Of all mailboxes, in order. What else somebody laid there is passed over. */
async function* idsIn(boxes: string): AsyncGenerator<string, void> {
  const named = async (folder: string, pattern: RegExp) =>
    (await readdir(folder)).filter((name) => pattern.test(name)).sort();
  for (const shard of await named(boxes, /^[0-9a-f]{2}$/)) {
    for (const id of await named(join(boxes, shard), /^[0-9a-f]{64}$/)) yield id;
  }
}

async function sizeOf(path: string): Promise<number | undefined> {
  return await stat(path).then(
    ({ size }) => size,
    (error) => {
      if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
      throw error;
    },
  );
}

async function readIfThere(path: string): Promise<Uint8Array | undefined> {
  return await readFile(path).catch((error) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
}

/** The medium's own damage is no fault of who asks; only the root key can mend it. */
function readDoors(bytes: Uint8Array, mailbox: Uint8Array): DoorList {
  try {
    return verifyDoorList(bytes, mailbox, nodeSuite);
  } catch (cause) {
    throw new Failure("gone", "the door list of a mailbox is damaged on the disk", { cause });
  }
}

/** One that is damaged on the disk is in nobody's way. */
function readBeacon(bytes: Uint8Array): Beacon | undefined {
  try {
    return decodeBeacon(bytes);
  } catch {
    return undefined;
  }
}

function notRising(): Failure {
  return new Failure("refused", "it does not rise", { stage: "rises" });
}
