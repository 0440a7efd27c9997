import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import type { Log } from "../base/node/log.ts";
import { explain, Failure } from "../base/pure/failure.ts";
import { diskSwaps } from "./doctor.ts";

/** No core dump holds a picture, and none is swapped to a disk: refused as a service, told on a desk. */
export async function keepPicturesInMemory(log: Log): Promise<void> {
  // 1, not 0: a core handler behind a pipe is stopped by 1 alone (core(5)).
  const limit = ["--pid", String(process.pid), "--core=1:1"];
  await promisify(execFile)("prlimit", limit).catch((error) => {
    log.warn("core dumps could not be switched off", { why: explain(error) });
  });
  const disks = diskSwaps(await readFile("/proc/swaps", "utf8").catch(() => ""));
  if (disks.length === 0) return;
  const failure = new Failure("denied", `pictures could be swapped out to ${disks.join(", ")}`, {
    hint: `sudo swapoff ${disks.join(" ")}`,
  });
  if (process.env.SYSTEMD_EXEC_PID === String(process.pid)) throw failure;
  log.warn(explain(failure));
}
