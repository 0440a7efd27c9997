import { type Dir, opendir } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Name, parseName, printName } from "../protocol/wire/name.ts";

// Where an object lies in its mailbox's folder, and the way through the folder in the order of
// names. A shard is the beginning of the field after it, so that no folder of an honest writer holds
// more than a few hundred names, and the order of folders is the order of names: a page needs no index.

const open = promisify(opendir);

type Level = { pattern: RegExp; shard?: true };
const number: Level = { pattern: /^[0-9]{10}$/ };
const key: Level = { pattern: /^[0-9a-f]{64}$/ };
/** Sequence numbers that differ in their last four digits, and of those that differ in the last two. */
const tenThousand: Level = { pattern: /^[0-9]{12}$/, shard: true };
const hundred: Level = { pattern: /^[0-9]{14}$/, shard: true };
const firstByte: Level = { pattern: /^[0-9a-f]{2}$/, shard: true };
const clip: Level = { pattern: /^[0-9a-f]{32}$/ };
const file: Level = { pattern: /^[0-9]{10,16}\.[0-9a-f]{64}$/ };

const kinds: Readonly<Record<string, readonly Level[]>> = {
  beacon: [],
  box: [key, tenThousand, hundred, file],
  door: [],
  entry: [number, tenThousand, hundred, file],
  part: [number, firstByte, clip, file],
};

/** The path of an object's file below its mailbox's folder. */
export function pathOf(name: Name): string {
  const [kind = "", ...fields] = printName(name).split("/");
  const hash = fields.pop();
  if (hash === undefined) return kind;
  const last = fields.pop() ?? "";
  const first = fields[0] ?? "";
  const leaf = `${last}.${hash}`;
  if (kind === "part")
    return join(kind, first, (fields[1] ?? "").slice(0, 2), fields[1] ?? "", leaf);
  return join(kind, first, last.slice(0, 12), last.slice(0, 14), leaf);
}

export type Found = { text: string; name: Name; path: string };

/**
 * Every object whose name begins with `under` and comes after `after`, in the order of names. Reads
 * only folders that can hold one, and at most `chunk` names at a time, whatever lies there.
 */
export async function* walk(
  root: string,
  { under, after }: { under: string; after: string },
): AsyncGenerator<Found, void> {
  // Whether a name that begins with `prefix` can be wanted.
  const leads = (prefix: string) =>
    (prefix.startsWith(under) || under.startsWith(prefix)) &&
    (prefix > after || after.startsWith(prefix));
  const wanted = (text: string) => text.startsWith(under) && text > after;

  async function* down(
    path: string,
    text: string,
    [level, ...below]: readonly Level[],
  ): AsyncGenerator<Found, void> {
    if (!level) return;
    const isFile = below.length === 0;
    const textOf = (entry: string) =>
      isFile ? text + entry.replace(".", "/") : `${text}${entry}${level.shard ? "" : "/"}`;
    const fits = (entry: string) =>
      level.pattern.test(entry) && (isFile ? wanted(textOf(entry)) : leads(textOf(entry)));
    for await (const entry of inOrder(path, fits)) {
      const at = join(path, entry);
      const found = isFile ? nameAt(textOf(entry), root, at) : undefined;
      if (found) yield { text: textOf(entry), name: found, path: at };
      if (!isFile) yield* down(at, level.shard ? text : textOf(entry), below);
    }
  }

  for await (const kind of inOrder(root, (entry) => Object.hasOwn(kinds, entry))) {
    const levels = kinds[kind] ?? [];
    if (levels.length > 0) {
      if (leads(`${kind}/`)) yield* down(join(root, kind), `${kind}/`, levels);
    } else if (wanted(kind)) yield { text: kind, name: parseName(kind), path: join(root, kind) };
  }
}

/** The name of a file, unless it is somebody else's or does not lie where it belongs. */
function nameAt(text: string, root: string, path: string): Name | undefined {
  try {
    const name = parseName(text);
    return join(root, pathOf(name)) === path ? name : undefined;
  } catch {
    return undefined;
  }
}

const chunk = 2048;

/** The entries of a folder that fit, in order; no more than two chunks of them in memory. */
async function* inOrder(
  path: string,
  fits: (entry: string) => boolean,
): AsyncGenerator<string, void> {
  let last = "";
  for (;;) {
    let names: string[] = [];
    let isMore = false;
    const folder = await openIfThere(path);
    if (!folder) return;
    for await (const { name } of folder) {
      if (name <= last || !fits(name)) continue;
      names.push(name);
      if (names.length < 2 * chunk) continue;
      names = names.sort().slice(0, chunk);
      isMore = true;
    }
    names.sort();
    if (names.length > chunk) isMore = true;
    names = names.slice(0, chunk);
    yield* names;
    last = names.at(-1) ?? "";
    if (!isMore) return;
  }
}

async function openIfThere(path: string): Promise<Dir | undefined> {
  try {
    return await open(path, { bufferSize: 512 });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw error;
  }
}
