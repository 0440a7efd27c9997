import { createHash } from "node:crypto";
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readSync,
  writeSync,
} from "node:fs";
import { join, resolve } from "node:path";
import { storageStage } from "../../base/node/durable.ts";
import { isFailure } from "../../base/pure/failure.ts";

// How often the storage failed since the board was switched on. The count lies in memory (/run),
// because the storage is what failed; switching off clears it, and a new card is tried anew.

/** True for what ends the program: nobody knows what lies on the medium any more. */
export function isStorageFailure(error: unknown): boolean {
  return isFailure(error, "gone") && error.stage === storageStage;
}

/** Folders in memory for this program alone, the best first; the last is made when it is missing. */
function candidates(): string[] {
  const { RUNTIME_DIRECTORY, XDG_RUNTIME_DIR } = process.env;
  // systemd names all of a unit's folders, with colons between them.
  const own = RUNTIME_DIRECTORY?.split(":")[0];
  return [own, XDG_RUNTIME_DIR, `/dev/shm/obscura-${process.getuid?.() ?? 0}`].filter(
    (path) => path !== undefined && path !== "",
  ) as string[];
}

/**
 * Where they are counted, for this state: in a folder in memory that is ours and that nobody else
 * may write to. Undefined when there is none, also because another user put something in its place:
 * then nothing is counted, and the card is tried again at each start.
 */
export function storageFailuresFile(state: string): string | undefined {
  const folder = candidates().find(isOurs);
  if (folder === undefined) return undefined;
  const digest = createHash("sha512").update(resolve(state)).digest("hex").slice(0, 16);
  return join(folder, `obscura-storage-failures-${digest}`);
}

function isOurs(folder: string): boolean {
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch {} // it is there, or cannot be made: what is there counts
  try {
    const { uid, mode } = lstatSync(folder);
    const isFolder = (mode & constants.S_IFMT) === constants.S_IFDIR;
    return isFolder && uid === process.getuid?.() && (mode & 0o022) === 0;
  } catch {
    return false;
  }
}

const mostDigits = 16;

/** Failures counted in `file`; none when it is not there, or not a plain file of ours. */
export function storageFailures(file: string | undefined): number {
  return withFile(file, constants.O_RDONLY, countIn) ?? 0;
}

/** Counts one more, at once: the program is about to end. What cannot be counted is not. */
export function countStorageFailure(file: string | undefined): void {
  withFile(file, constants.O_RDWR | constants.O_CREAT, (handle) => {
    // As long as before or longer: nothing of what stood there is left.
    writeSync(handle, `${countIn(handle) + 1}\n`.padStart(mostDigits), 0);
  });
}

function countIn(handle: number): number {
  const text = Buffer.alloc(mostDigits);
  const count = Number(text.toString("latin1", 0, readSync(handle, text, 0, mostDigits, 0)).trim());
  return Number.isSafeInteger(count) && count > 0 ? count : 0;
}

function withFile<T>(
  file: string | undefined,
  flags: number,
  act: (handle: number) => T,
): T | undefined {
  if (file === undefined) return undefined;
  let handle: number | undefined;
  try {
    // A pipe there must not be waited for, and a link not followed.
    handle = openSync(file, flags | constants.O_NOFOLLOW | constants.O_NONBLOCK, 0o600);
    const found = fstatSync(handle);
    return found.isFile() && found.uid === process.getuid?.() ? act(handle) : undefined;
  } catch {
    return undefined;
  } finally {
    if (handle !== undefined) closeSync(handle);
  }
}
