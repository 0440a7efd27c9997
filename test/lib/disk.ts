import { execFileSync } from "node:child_process";
import { closeSync, openSync, rmSync, writeSync } from "node:fs";
import { truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
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

/** Makes a file that is an empty ext4 file system. */
export async function makeImage(file: string, bytes: number, ...how: string[]): Promise<void> {
  await writeFile(file, "");
  await truncate(file, bytes);
  execFileSync("mkfs.ext4", ["-q", "-F", ...how, file], {
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
  });
}

/** Takes all the room that there is, and what becomes free, until it is called off; then all is free. */
export function fillUp({ path }: Disk): () => void {
  const file = join(path, "ballast");
  const handle = openSync(file, "w");
  const grow = () => {
    for (let bytes = 65_536; bytes >= 4096; ) {
      try {
        writeSync(handle, Buffer.alloc(bytes));
      } catch {
        bytes /= 2;
      }
    }
  };
  grow();
  const timer = setInterval(grow, 20).unref();
  return () => {
    clearInterval(timer);
    closeSync(handle);
    rmSync(file);
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
