import { spawnSync } from "node:child_process";

/**
 * What the camera's program is to be started with: one malloc arena for each of eight threads, and
 * a young heap of twice 16 MiB, hold some 20 MB that nobody uses.
 */
export const serviceEnvironment = {
  MALLOC_ARENA_MAX: "1",
  NODE_OPTIONS: "--max-semi-space-size=1",
} as const;

/**
 * The command of a child that the kernel sends SIGTERM when its parent goes, however it goes: without
 * this a relay outlives a script that was killed. Where setpriv(1) is not there, the child alone.
 */
export function bound(args: readonly string[]): [command: string, args: string[]] {
  const isThere = spawnSync("setpriv", ["--pdeathsig", "TERM", "true"]).status === 0;
  if (!isThere) return [process.execPath, [...args]];
  return ["setpriv", ["--pdeathsig", "TERM", process.execPath, ...args]];
}
