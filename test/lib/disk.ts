import { execFileSync } from "node:child_process";
import { temporaryFolder } from "./world.ts";

/** A small file system of its own, in memory, gone with `await using`. */
export type Disk = AsyncDisposable & { readonly path: string };

/** Throws when this process may not mount one: see `whyNoDisk`. */
export async function openDisk(mebibytes: number): Promise<Disk> {
  const home = await temporaryFolder();
  const close = () => home[Symbol.asyncDispose]();
  const options = ["-t", "tmpfs", "-o", `size=${mebibytes}m`, "tmpfs", home.path];
  try {
    execFileSync("mount", options, { stdio: "pipe" });
  } catch (error) {
    await close();
    throw error;
  }
  return {
    path: home.path,
    async [Symbol.asyncDispose]() {
      execFileSync("umount", ["-l", home.path]);
      await close();
    },
  };
}

/** Undefined where `openDisk` works. */
export async function whyNoDisk(): Promise<string | undefined> {
  try {
    await using _ = await openDisk(1);
    return undefined;
  } catch {
    return "no right to mount a file system";
  }
}
