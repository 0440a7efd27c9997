import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { sharedFolder } from "./world.ts";

/** The checkout that the running test was compiled from. */
export const checkout = new URL("../../..", import.meta.url).pathname.replace(/\/$/, "");

/** What runs a guest: a User-Mode Linux kernel with its modules, or (arm64) the host itself. */
export type Machine =
  | { kind: "guest"; kernel: string; modules: string }
  | { kind: "host" }
  | { kind: "none"; why: string };

/**
 * The machine that system tests run on: the folder that environment OBSCURA_VIRTUAL_BOARD names,
 * else what scripts/board/build-kernel left in the cache, else the prebuilt one beside the
 * checkout; with OBSCURA_BUILD_KERNEL=1 it is built when none of these is there.
 */
export async function findMachine(): Promise<Machine> {
  if (process.arch !== "x64") return findHost();
  const named = process.env.OBSCURA_VIRTUAL_BOARD;
  if (named) {
    const found = await readFolder(named);
    if (!found)
      throw new Error(`OBSCURA_VIRTUAL_BOARD=${named} holds no linux-uml-* and modules-*.tar.gz`);
    return found;
  }
  const cached = join(cacheFolder(), "virtual-board");
  const places = [cached, join(sharedFolder(), "virtual-board")];
  for (const place of places) {
    const found = await readFolder(place);
    if (found) return found;
  }
  const build = join(checkout, "scripts/board/build-kernel");
  if (process.env.OBSCURA_BUILD_KERNEL === "1") {
    const built = spawnSync(build, { stdio: ["ignore", 2, 2] });
    const found = await readFolder(cached);
    if (built.status === 0 && found) return found;
    throw new Error(`${build} ended with ${built.status ?? built.signal}`);
  }
  return {
    kind: "none",
    why: "no virtual board; OBSCURA_BUILD_KERNEL=1 builds one first, as scripts/board/build-kernel does (12 minutes of processor time)",
  };
}

/** What scripts/board/packages left in the cache: programs for guests that the host does not have. */
export function findPackages(): string | undefined {
  const folder = join(cacheFolder(), "guest-packages");
  return existsSync(join(folder, ".stamp")) ? folder : undefined;
}

const cacheFolder = () => join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "obscura");

async function readFolder(folder: string): Promise<Machine | undefined> {
  const names = await readdir(folder).catch(() => []);
  const kernel = names.find((name) => name.startsWith("linux-uml-"));
  const modules = names.find((name) => /^modules-.*\.tar\.gz$/.test(name));
  if (!kernel || !modules) return undefined;
  return { kind: "guest", kernel: join(folder, kernel), modules: join(folder, modules) };
}

/** User-Mode Linux is x86 only; elsewhere the host's own kernel will do if it has the drivers. */
function findHost(): Machine {
  if (process.getuid?.() !== 0)
    return { kind: "none", why: "only root can load vivid on this machine" };
  const probe = spawnSync("modprobe", ["--dry-run", "--quiet", "-a", "vivid", "v4l2loopback"]);
  return probe.status === 0
    ? { kind: "host" }
    : { kind: "none", why: "this kernel has no vivid or no v4l2loopback (v4l2loopback-dkms)" };
}
