import { type FileHandle, mkdir, open, rename, rmdir, statfs, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { type Fault, failureOf, type Step } from "../base/node/durable.ts";
import { Failure } from "../base/pure/failure.ts";

/**
 * System calls on the relay's folder, with the one rule they share: after a failed fsync nobody
 * knows what lies on the medium, so that everything after it fails the same way ("gone", stage
 * "storage") until the program starts anew.
 */
export type Medium = {
  step<T>(what: Step, name: string, act: () => Promise<T>): Promise<T>;
  /** Makes the folder, if need be those above it, and their names durable. */
  ensure(path: string): Promise<void>;
  /** Puts a file that is durable itself in its place, and the name. */
  place(draft: string, path: string, name: string): Promise<void>;
  /** Makes the names in the folder of `path` durable. */
  settle(path: string, name: string): Promise<void>;
  /** Takes files away, and the folders that are empty then, durably. Gives the files that were there. */
  clear(paths: readonly string[], name: string): Promise<string[]>;
  /** Throws Failure "full", stage "disk", when the medium has less free than the headroom. */
  checkRoom(): Promise<void>;
  freeBytes(): Promise<number>;
  readonly broken: Failure | undefined;
};

const knownMost = 4096;

export function openMedium(
  root: string,
  {
    headroomBytes,
    fault,
    onBroken,
  }: { headroomBytes: number; fault?: Fault | undefined; onBroken?: (failure: Failure) => void },
): Medium {
  let broken: Failure | undefined;
  /** Folders whose names this process has made durable: a kill may have come before, last time. */
  const known = new Set<string>();
  const room = { askedMs: Number.NEGATIVE_INFINITY, freeBytes: 0 };

  const step: Medium["step"] = async (what, name, act) => {
    if (broken) throw broken;
    try {
      const failed = fault?.(what, name);
      if (!failed) return await act();
      if (failed.applied) await act();
      throw failed.error;
    } catch (error) {
      const failure = failureOf(error, what, name);
      // Too many open files is a busy moment, not a medium that failed.
      if (failure.errno === "EMFILE" || failure.errno === "ENFILE") {
        throw new Failure("busy", "too many open files", { cause: failure });
      }
      if (what === "fsync" || what === "fsync-folder" || failure.kind === "gone") {
        if (!broken) onBroken?.(failure);
        broken ??= failure;
      }
      if (failure.kind !== "full") throw broken ?? failure;
      throw new Failure("full", "the relay's disk is full", { cause: failure, stage: "disk" });
    }
  };

  const sync = async (folder: string, name: string): Promise<void> => {
    if (broken) throw broken;
    let handle: FileHandle;
    try {
      handle = await open(folder, "r");
    } catch (error) {
      // A folder that was emptied meanwhile took its names with it, and that was synchronised.
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
      throw failureOf(error, "open", name);
    }
    try {
      await step("fsync-folder", name, () => handle.sync());
    } finally {
      handle.close().catch(() => {});
    }
  };

  const ensure = async (path: string): Promise<void> => {
    if (known.has(path) || path.length <= root.length) return;
    await ensure(dirname(path));
    await step("create", "folder", () =>
      mkdir(path, { mode: 0o700 }).catch((error) => {
        if (error.code !== "EEXIST") throw error;
      }),
    );
    await sync(dirname(path), "folder");
    if (known.size >= knownMost) known.clear();
    known.add(path);
  };

  const settle: Medium["settle"] = (path, name) => sync(dirname(path), name);

  return {
    step,
    ensure,
    settle,
    async place(draft, path, name) {
      await ensure(dirname(path));
      await step("rename", name, () => rename(draft, path));
    },
    async clear(paths, name) {
      const gone: string[] = [];
      const lowest = new Set<string>();
      for (const path of paths) {
        const was = await step("unlink", name, () =>
          unlink(path).then(
            () => true,
            (error) => {
              if (error.code !== "ENOENT") throw error;
              return false;
            },
          ),
        );
        if (was) gone.push(path);
        lowest.add(dirname(path));
      }
      for (const folder of lowest) {
        const left = await climb(folder, root, known);
        await sync(left, name);
      }
      return gone;
    },
    async checkRoom() {
      if ((await this.freeBytes()) >= headroomBytes) return;
      throw new Failure("full", "the relay's disk is full", { stage: "disk" });
    },
    async freeBytes() {
      // Once a second is often enough: the headroom is far more than a second's uploads.
      if (performance.now() - room.askedMs > 1000) {
        room.askedMs = performance.now();
        const { bavail, bsize } = await statfs(root);
        room.freeBytes = bavail * bsize;
      }
      return room.freeBytes;
    },
    get broken() {
      return broken;
    },
  };
}

/** Removes folders that are empty, from below; gives the lowest that is left. */
async function climb(folder: string, root: string, known: Set<string>): Promise<string> {
  for (let at = folder; at.length > root.length; at = dirname(at)) {
    try {
      await rmdir(at);
      known.delete(at);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== "ENOENT") return at;
      known.delete(at);
    }
  }
  return root;
}
