import { access, constants, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A folder of its own for one test, gone with `await using`. */
export async function temporaryFolder(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), "obscura-test-"));
  return {
    path,
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  };
}

/** As temporaryFolder, in memory where the system has such a place: an fsync there costs nothing. */
export async function quickFolder(): Promise<{ path: string } & AsyncDisposable> {
  const inMemory = await access("/dev/shm", constants.W_OK).then(
    () => "/dev/shm",
    () => tmpdir(),
  );
  const path = await mkdtemp(join(inMemory, "obscura-test-"));
  return {
    path,
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  };
}

/** Where shared test material lies, if it does (environment OBSCURA_SHARED). */
export function sharedFolder(): string {
  return process.env.OBSCURA_SHARED ?? new URL("../../../../shared", import.meta.url).pathname;
}
