import { randomBytes } from "node:crypto";
import {
  type FileHandle,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  stat,
  unlink,
} from "node:fs/promises";
import { dirname, join } from "node:path";
import { Failure } from "../pure/failure.ts";
import { lockFolder } from "./lock.ts";

export type Step = "create" | "write" | "fsync" | "rename" | "unlink" | "fsync-folder";
/**
 * For tests: asked before each step; what it returns makes the step fail, after it took effect or
 * without. A test that kills the process does so in here.
 */
export type Fault = (step: Step, name: string) => { applied: boolean; error: Error } | undefined;

/** One folder whose files survive a power cut, whole or not at all. */
export type DurableFolder = {
  readonly path: string;
  /**
   * Writes a file, or replaces it, durable when it resolves. Throws Failure "full" when there is no
   * room (nothing was written), "gone" when the storage failed: then nobody knows what lies there,
   * every later call throws the same, and the program must start anew from what it finds.
   * `modifiedMs` sets the file's time; the others keep the system's. With `shred` the bytes of the
   * file that is replaced are written over where they lay, as far as the medium does that: flash may
   * keep a copy that only its controller can reach.
   */
  write(
    name: string,
    bytes: Uint8Array,
    options?: { modifiedMs?: number; shred?: boolean },
  ): Promise<void>;
  /** Removes files, durable when it resolves; one that is not there is no error. `shred` as for `write`. */
  remove(names: readonly string[], options?: { shred?: boolean }): Promise<void>;
  /** Throws Failure "absent" when it is not there. */
  read(name: string): Promise<Uint8Array>;
  /** All names but those of files that were never finished. */
  list(): Promise<string[]>;
  close(): Promise<void>;
};

/** The `stage` of every failure after which nobody knows what lies on the medium. */
export const storageStage = "storage";

/** Files under this name were being written when the power went; nobody reads them. */
const unfinished = ".unfinished-";

/**
 * Opens a folder, made with mode 0700 if it is not there, locks it until it is closed, and clears
 * away unfinished files: whose they were is certain only behind the lock. Throws Failure "busy" when
 * somebody else has it open.
 *
 * The system calls of one write, in this order and no other:
 *
 *     openat(folder/.unfinished-NAME, O_WRONLY|O_CREAT|O_EXCL, 0600)
 *     write(file)
 *     fsync(file)         the bytes are on the medium ...
 *     close(file)
 *     rename(folder/.unfinished-NAME, folder/NAME)
 *     fsync(folder)       ... and so is the name
 *
 * A failed fsync is never tried again: Linux reports a lost page once and then forgets it, so that
 * a second fsync that succeeds proves nothing.
 */
export async function openDurable(
  path: string,
  { fault }: { fault?: Fault | undefined } = {},
): Promise<DurableFolder> {
  const made = await makeFolder(path).catch((error) => {
    throw failureOf(error, "mkdir", path);
  });
  // A new folder's name lies in its parent.
  for (let at = path; made && at.startsWith(made); at = dirname(at)) await syncFolder(dirname(at));
  const unlock = await lockFolder(path);
  const folder = await open(path, "r").catch(async (error) => {
    await unlock();
    throw failureOf(error, "open", path);
  });
  const close = () => folder.close().finally(unlock);
  let broken: Failure | undefined;
  let last: Promise<unknown> = Promise.resolve();

  /** One thing after the other: a rename must not overtake the fsync of another file's name. */
  const inTurn = <T>(act: () => Promise<T>): Promise<T> => {
    const turn = last.then(act);
    last = turn.catch(() => {});
    return turn;
  };

  const step = async <T>(name: string, what: Step, act: () => Promise<T>): Promise<T> => {
    if (broken) throw broken;
    try {
      const failed = fault?.(what, name);
      if (!failed) return await act();
      if (failed.applied) await act();
      throw failed.error;
    } catch (error) {
      const failure = failureOf(error, what, join(path, name));
      if (what === "fsync" || what === "fsync-folder" || failure.kind === "gone")
        broken ??= failure;
      throw broken ?? failure;
    }
  };

  /** Writes over a file of which nothing is needed any more. */
  const shredOld = async (name: string, old: FileHandle) => {
    const { size } = await old.stat();
    await step(name, "write", () => old.write(randomBytes(size), 0, size, 0));
    await step(name, "fsync", () => old.sync());
  };

  const openOld = (name: string) => open(join(path, name), "r+").catch(() => undefined);

  const write: DurableFolder["write"] = async (name, bytes, { modifiedMs, shred } = {}) => {
    const old = shred ? await openOld(name) : undefined;
    try {
      await replace(name, bytes, modifiedMs);
      if (old) await shredOld(name, old);
    } finally {
      await old?.close();
    }
  };

  const replace = async (name: string, bytes: Uint8Array, modifiedMs: number | undefined) => {
    const draft = join(path, unfinished + name);
    let file: FileHandle | undefined;
    try {
      file = await step(name, "create", () => open(draft, "wx", 0o600));
      const handle = file;
      await step(name, "write", () => handle.writeFile(bytes));
      if (modifiedMs !== undefined) await handle.utimes(modifiedMs / 1000, modifiedMs / 1000);
      await step(name, "fsync", () => handle.sync());
      await handle.close();
      await step(name, "rename", () => rename(draft, join(path, name)));
    } catch (error) {
      await file?.close().catch(() => {});
      // Without this a full card would stay full of what did not fit.
      if (!broken) await unlink(draft).catch(() => {});
      throw error;
    }
    await step(name, "fsync-folder", () => folder.sync());
  };

  const remove: DurableFolder["remove"] = async (names, { shred } = {}) => {
    for (const name of names) {
      const old = shred ? await openOld(name) : undefined;
      if (old) await shredOld(name, old).finally(() => old.close());
      await step(name, "unlink", () =>
        unlink(join(path, name)).catch((error) => {
          if (error.code !== "ENOENT") throw error;
        }),
      );
    }
    if (names.length > 0) await step(names[0] ?? "", "fsync-folder", () => folder.sync());
  };

  try {
    const everything = await readdir(path);
    await remove(everything.filter((name) => name.startsWith(unfinished)));
  } catch (error) {
    await close();
    throw failureOf(error, "read", path);
  }
  return {
    path,
    write: (name, bytes, options) => inTurn(() => write(name, bytes, options)),
    remove: (names, options) => inTurn(() => remove(names, options)),
    async read(name) {
      try {
        // Not a Buffer: that is another type to whoever prints or compares it.
        const { buffer, byteOffset, length } = await readFile(join(path, name));
        return new Uint8Array(buffer, byteOffset, length);
      } catch (error) {
        throw failureOf(error, "read", join(path, name));
      }
    },
    list: async () => (await readdir(path)).filter((name) => !name.startsWith(unfinished)).sort(),
    close: () => inTurn(close),
  };
}

/**
 * Makes a folder and those above it; gives the uppermost that was not there. Not by mkdir's own recursion,
 * which never ends where a parent is there and takes no folder, as /proc.
 */
export async function makeFolder(path: string, mode = 0o700): Promise<string | undefined> {
  const make = () => mkdir(path, { mode }).then(() => path);
  return await make().catch(async (error) => {
    if (error.code === "EEXIST" && (await stat(path)).isDirectory()) return undefined;
    if (error.code !== "ENOENT" || dirname(path) === path) throw error;
    const above = await makeFolder(dirname(path), mode);
    await make();
    return above ?? path;
  });
}

/** Makes the names in a folder durable. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  await folder.sync().finally(() => folder.close());
}

/** What a failed system call on a medium means; a failed fsync is "gone" whatever it says. */
export function failureOf(error: unknown, syscall: string, path: string): Failure {
  if (error instanceof Failure) return error;
  const errno = (error as NodeJS.ErrnoException).code ?? "unknown";
  const options = { cause: error, syscall, errno };
  if (errno === "ENOENT") return new Failure("absent", `${path} is not there`, options);
  if (errno === "EEXIST" || errno === "ENOTDIR") {
    return new Failure("absent", `${path} is no folder`, options);
  }
  if (errno === "EACCES" || errno === "EPERM") {
    const hint = "Run it as the user that owns this folder";
    return new Failure("denied", `no right to ${syscall} ${path}`, { ...options, hint });
  }
  if (syscall !== "fsync" && syscall !== "fsync-folder" && ["ENOSPC", "EDQUOT"].includes(errno)) {
    return new Failure("full", `no room for ${path}`, { ...options, hint: "Free some space" });
  }
  return new Failure("gone", `the storage failed at ${syscall} of ${path} (${errno})`, {
    ...options,
    stage: storageStage,
    hint: "The medium may be worn out; start again and look what is left",
  });
}
