import files, { type FileHandle } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { sep } from "node:path";

// A program that runs in this process, broken off at any step by which it changes what lies below a
// folder: whoever ends it there sees what a kill, or a full disk, leaves.

/**
 * "killed": dead before the step, a write in the middle of it; nothing comes after. "killed in effect":
 * the same at those steps alone behind which another program finds something else. "full": from that
 * step on there is no room, in the middle of a write; what needs none goes on. "full in a write": from
 * a write alone.
 */
export type How = "killed" | "killed in effect" | "full" | "full in a write";
export type Broken<T> = {
  value: T;
  /** The step at which it was broken off, for people; undefined when it never came to it. */
  at: string | undefined;
};

type Act = (...given: unknown[]) => Promise<unknown>;
const changing = ["open", "rename", "unlink", "rm", "mkdir", "chmod", "chown"] as const;
const meant: Readonly<Record<How, readonly string[]>> = {
  killed: [...changing, "create", "write", "overwrite", "fsync"],
  "killed in effect": ["rename", "unlink", "overwrite"],
  full: ["create", "write", "mkdir"],
  "full in a write": ["write"],
};

/** Runs `act` up to the nth step below `folder`. */
export async function breakOff<T>(
  folder: string,
  { nth, how }: { nth: number; how: How },
  act: () => Promise<T>,
): Promise<Broken<T>> {
  const isFull = how.startsWith("full");
  let count = 0;
  let at: string | undefined;
  /** Throws where it is over. */
  const step = async (what: string, path: string, half?: () => Promise<unknown>) => {
    const isOver = at !== undefined && !isFull;
    const isMeant = meant[how].includes(what) || (at !== undefined && meant.full.includes(what));
    if (!isMeant && !isOver) return;
    count += 1;
    if (count < nth) return;
    if (at === undefined) await half?.();
    at ??= `${what} ${path.slice(folder.length + 1)}`;
    const code = isFull ? "ENOSPC" : "EKILLED";
    throw Object.assign(new Error(`${code}: ${what} ${path}`), { code });
  };
  const isBelow = (path: unknown): path is string =>
    typeof path === "string" && path.startsWith(folder + sep);

  const watch = (path: string, handle: FileHandle, isOld: boolean) => {
    const methods = { writeFile: "write", write: isOld ? "overwrite" : "write", sync: "fsync" };
    for (const [name, what] of Object.entries(methods) as ["writeFile" | "sync", string][]) {
      const act: Act = handle[name].bind(handle) as never;
      const changed: Act = async (bytes, ...rest) => {
        const half = bytes instanceof Uint8Array ? bytes.subarray(0, bytes.length >> 1) : undefined;
        const place = rest.length > 0 ? [0, half?.length, 0] : [];
        await step(what, path, half && (() => act(half, ...place)));
        return await act(bytes, ...rest);
      };
      Object.assign(handle, { [name]: changed });
    }
  };
  const real = { ...files };
  for (const name of changing) {
    const act = real[name] as unknown as Act;
    const changed: Act = async (path, ...rest) => {
      if (!isBelow(path)) return await act(path, ...rest);
      const [flags] = rest;
      const isCreating = name === "open" && /[wa]/.test(String(flags));
      if (isCreating || name !== "open") await step(isCreating ? "create" : name, path);
      const made = await act(path, ...rest);
      // What is written over needs no room.
      if (name === "open") watch(path, made as FileHandle, flags === "r+");
      return made;
    };
    Object.assign(files, { [name]: changed });
  }
  syncBuiltinESMExports();
  try {
    return { value: await act(), at };
  } finally {
    Object.assign(files, real);
    syncBuiltinESMExports();
  }
}
