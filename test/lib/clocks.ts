import { execFileSync } from "node:child_process";
import { closeSync, constants, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { checkout } from "./machine.ts";
import { type TrioOptions, type Who, whos } from "./trio.ts";

/** Wall clocks of programs that run, each set apart from the others'. */
export type Clocks = {
  readonly by: NonNullable<TrioOptions["by"]>;
  /** Sets the clock of one to so much off the machine's, at once. */
  set(who: Who, aheadMs: number): void;
};

/** Builds what is preloaded into `folder`. Throws when there is no compiler. */
export function openClocks(folder: string): Clocks {
  const library = join(folder, "clock.so");
  const source = join(checkout, "test/lib/clock.cc");
  execFileSync("g++", ["-O1", "-shared", "-fPIC", "-o", library, source], { stdio: "pipe" });
  const fileOf = (who: Who) => join(folder, `${who}.clock`);
  const set: Clocks["set"] = (who, aheadMs) => {
    const seconds = Buffer.alloc(8);
    seconds.writeBigInt64LE(BigInt(Math.round(aheadMs / 1000)));
    // Neither emptied nor replaced: programs have it mapped.
    const file = openSync(fileOf(who), constants.O_CREAT | constants.O_WRONLY);
    writeSync(file, seconds);
    closeSync(file);
  };
  for (const who of whos) set(who, 0);
  return {
    set,
    by: (who) => ({ env: { LD_PRELOAD: library, OBSCURA_TEST_CLOCK: fileOf(who) } }),
  };
}
