import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { equal, toHex } from "../../base/pure/bytes.ts";
import { explain } from "../../base/pure/failure.ts";
import { verifyBeacon } from "../../protocol/wire/beacon.ts";
import { checkLink, verifyEntry } from "../../protocol/wire/entry.ts";
import { checkName, type Name, toFileName } from "../../protocol/wire/name.ts";
import { checkFollows, verifyPart } from "../../protocol/wire/part.ts";
import type { Suite } from "../../protocol/wire/signature.ts";
import { type Contents, countBytes, isRemnant, readContents } from "./contents.ts";

/** One invariant of outbox.md and what speaks against it. */
export type Verdict = { number: number; holds: boolean; text: string; faults: readonly string[] };

type Place = { sequence: number; hash: Uint8Array };
export type CheckOptions = {
  folder: string;
  camera: Uint8Array;
  suite: Suite;
  limitBytes: number;
  /** What the notebook says (journal.ts): the head it knew, and the clips that are open. */
  notebook?: {
    head: Place | undefined;
    open: readonly string[];
    /** The entry that a checkpoint names: those before it were let go. */
    floor?: Place | undefined;
  };
  /** Whether the camera runs: then a clip may be open and a file unfinished. */
  isRunning: boolean;
};

const texts = [
  "every file has the name of a sealed object",
  "every file's bytes have the hash in its name",
  "everything is signed by this camera under its own name",
  "the parts of a clip have no hole and are chained",
  "the log is one chain without a hole",
  "the log is not behind its notebook",
  "all clips together keep to the limit",
  "nobody else may read the folder",
  "no clip is half taken away",
  "no clip is left open",
] as const;

/** Reads everything in the folder and proves the invariants of outbox.md; changes nothing. */
export async function checkOutbox(options: CheckOptions): Promise<Verdict[]> {
  const { folder, limitBytes, notebook, isRunning } = options;
  const faults = texts.map((): string[] => []);
  const fault = (number: number, what: string) => void faults[number - 1]?.push(what);

  const files = await readdir(folder);
  const isDraft = (file: string) => isRunning && file.startsWith(".unfinished-");
  const contents = await readContents(
    folder,
    files.filter((file) => !isDraft(file)),
  );
  for (const file of contents.strangers) fault(1, file);
  await checkModes(folder, files, fault);
  await checkClips(contents, options, fault);
  const sequences = await checkLog(contents, options, fault);
  await checkOthers(contents, options, fault);

  if (!notebook && contents.entries.length > 0) fault(6, "the notebook is missing or damaged");
  if (notebook?.head) {
    const { sequence, hash } = notebook.head;
    const found = sequences.get(sequence);
    if (!found) fault(6, `entry ${sequence} is missing`);
    else if (!equal(found, hash)) fault(6, `entry ${sequence} is another`);
  }
  const bytes = countBytes(contents);
  if (bytes > limitBytes) fault(7, `${bytes} bytes of at most ${limitBytes}`);
  for (const clip of notebook?.open ?? []) {
    if (!isRunning) fault(10, `${clip}: the next start ends it`);
  }
  return texts.map((text, i) => {
    const found = faults[i] ?? [];
    return { number: i + 1, holds: found.length === 0, text, faults: found };
  });
}

type Fault = (number: number, what: string) => void;

async function checkModes(folder: string, files: readonly string[], fault: Fault): Promise<void> {
  for (const path of [folder, ...files.map((file) => join(folder, file))]) {
    const mode = ((await stat(path).catch(() => undefined))?.mode ?? 0) & 0o777;
    if (mode & 0o077) fault(8, `${path} has mode ${mode.toString(8)}`);
  }
}

/** The bytes of a file if they are its own, checked against its name. */
async function readWhole(
  { name, file }: { name: Name; file: string },
  { folder, suite, isRunning }: CheckOptions,
  fault: Fault,
): Promise<Uint8Array | undefined> {
  try {
    const bytes = new Uint8Array(await readFile(join(folder, file)));
    checkName(name, bytes, suite);
    return bytes;
  } catch (error) {
    // A running camera may have made room since the folder was listed.
    if (isRunning && (error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    fault(2, `${file}: ${explain(error)}`);
    return undefined;
  }
}

async function checkClips(contents: Contents, options: CheckOptions, fault: Fault): Promise<void> {
  const { camera, suite } = options;
  for (const clip of contents.clips.values()) {
    if (isRemnant(clip)) {
      fault(9, clip.clip);
      continue;
    }
    const numbers = clip.parts.map(({ name }) => name.number);
    const hole = numbers.findIndex((number, i) => number !== i);
    if (hole >= 0) fault(4, `clip ${clip.clip} has no part ${hole}, or one twice`);
    // Of two parts with one number nobody can say which is the clip's.
    const end = numbers.findIndex((number, i) => number !== i || numbers[i + 1] === number);
    let before: ReturnType<typeof verifyPart> | undefined;
    for (const kept of clip.parts.slice(0, end < 0 ? undefined : end)) {
      const bytes = await readWhole(kept, options, fault);
      if (!bytes) break;
      const part = attempt(3, kept.file, fault, () => verifyPart(bytes, camera, suite));
      if (!part) break;
      if (toFileName(part.name) !== kept.file) fault(3, `${kept.file} holds another part`);
      const last = before;
      if (last) attempt(4, `clip ${clip.clip}`, fault, () => checkFollows(part, last));
      before = part;
    }
  }
}

/** Checks the chain and returns the hash of each sequence. */
async function checkLog(
  contents: Contents,
  options: CheckOptions,
  fault: Fault,
): Promise<Map<number, Uint8Array>> {
  const { camera, suite, notebook } = options;
  const hashes = new Map<number, Uint8Array>();
  const floor = notebook?.floor;
  const from = floor?.sequence ?? 0;
  const first = contents.entries.find(({ name }) => name.sequence >= from)?.name;
  if (first && !(first.sequence === from && (!floor || equal(first.hash, floor.hash)))) {
    fault(5, `it begins at ${first.sequence}, and no checkpoint stands for what was before`);
  }
  let before: ReturnType<typeof verifyEntry> | undefined;
  for (const kept of contents.entries) {
    const { sequence, hash } = kept.name;
    if (hashes.has(sequence)) fault(5, `sequence ${sequence} is there twice: a fork`);
    hashes.set(sequence, hash);
    const bytes = await readWhole(kept, options, fault);
    if (!bytes) continue;
    const entry = attempt(3, kept.file, fault, () => verifyEntry(bytes, camera, suite));
    if (!entry) continue;
    if (toFileName(entry.name) !== kept.file) fault(3, `${kept.file} holds another entry`);
    const last = before;
    if (last) attempt(5, `entry ${toHex(hash).slice(0, 8)}`, fault, () => checkLink(entry, last));
    // What lies below is on its way out.
    before = sequence < from ? undefined : entry;
  }
  return hashes;
}

async function checkOthers(contents: Contents, options: CheckOptions, fault: Fault): Promise<void> {
  for (const kept of contents.others) {
    const bytes = await readWhole(kept, options, fault);
    if (!bytes || kept.name.kind !== "beacon") continue;
    attempt(3, kept.file, fault, () => verifyBeacon(bytes, options.camera, options.suite));
  }
}

function attempt<T>(number: number, what: string, fault: Fault, act: () => T): T | undefined {
  try {
    return act();
  } catch (error) {
    fault(number, `${what}: ${explain(error)}`);
    return undefined;
  }
}
