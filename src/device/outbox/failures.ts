import { readFileSync, writeFileSync } from "node:fs";
import { isFailure } from "../../base/pure/failure.ts";

// How often the storage failed since the board was switched on. The count lies in memory (/run),
// because the storage is what failed; switching off clears it, and a new card is tried anew.

/** True for what ends the program: nobody knows what lies on the medium any more. */
export function isStorageFailure(error: unknown): boolean {
  return isFailure(error, "gone") && error.syscall !== undefined;
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
