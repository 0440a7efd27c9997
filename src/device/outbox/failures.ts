import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { storageStage } from "../../base/node/durable.ts";
import { isFailure } from "../../base/pure/failure.ts";

// How often the storage failed since the board was switched on. The count lies in memory (/run),
// because the storage is what failed; switching off clears it, and a new card is tried anew.

/** True for what ends the program: nobody knows what lies on the medium any more. */
export function isStorageFailure(error: unknown): boolean {
  return isFailure(error, "gone") && error.stage === storageStage;
}

/** Where they are counted: systemd's folder in memory, else one of the system's, for this state. */
export function storageFailuresFile(state: string): string {
  const { RUNTIME_DIRECTORY, XDG_RUNTIME_DIR } = process.env;
  if (RUNTIME_DIRECTORY) return join(RUNTIME_DIRECTORY, "storage-failures");
  const digest = createHash("sha512").update(resolve(state)).digest("hex").slice(0, 16);
  return join(XDG_RUNTIME_DIR ?? "/dev/shm", `obscura-storage-failures-${digest}`);
}

/** Failures counted in `file`; none when it is not there. */
export function storageFailures(file: string): number {
  try {
    const count = Number(readFileSync(file, "utf8").trim());
    return Number.isSafeInteger(count) && count > 0 ? count : 0;
  } catch {
    return 0;
  }
}

/** Counts one more, at once: the program is about to end. */
export function countStorageFailure(file: string): void {
  writeFileSync(file, `${storageFailures(file) + 1}\n`, { mode: 0o600 });
}
