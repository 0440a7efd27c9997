import { realpath } from "node:fs/promises";
import { join } from "node:path";
import { nodeSuite } from "../base/node/crypto.ts";
import { lockFolder } from "../base/node/lock.ts";
import { Failure, isFailure } from "../base/pure/failure.ts";
import { openKeyring } from "./keyring.ts";
import { checkOutbox, type Verdict } from "./outbox/outbox.ts";
import { notebookOf } from "./seal/seal.ts";

const mostFaultsPrinted = 5;

/**
 * `obscura-camera check`: proves the invariants of outbox/outbox.md on a state folder and changes
 * nothing in it. May run beside the service; then what is under way is no fault.
 */
export async function checkState(
  state: string,
  { limitBytes }: { limitBytes: number },
): Promise<readonly Verdict[]> {
  const { identity } = await openKeyring(state);
  const folder = await realpath(join(state, "outbox")).catch((cause) => {
    const hint = "It makes its outbox when it runs for the first time";
    throw new Failure("absent", `the camera in ${state} has never run`, { cause, hint });
  });
  const isRunning = await isLocked(folder);
  // Read before the entries: what the service appends meanwhile makes the log longer, not shorter.
  const notebook = await notebookOf(join(state, "journal"));
  return await checkOutbox({
    ...{ folder, camera: identity.camera, suite: nodeSuite, limitBytes, isRunning },
    ...(notebook ? { notebook: { ...notebook, open: notebook.open.map(({ clip }) => clip) } } : {}),
  });
}

/** One line for each invariant, and what speaks against it. */
export function printVerdicts(verdicts: readonly Verdict[]): string {
  return verdicts
    .flatMap(({ number, holds, text, faults }) => {
      const more = faults.length - mostFaultsPrinted;
      return [
        `${holds ? "ok    " : "BROKEN"} ${String(number).padStart(2)}. ${text}`,
        ...faults.slice(0, mostFaultsPrinted).map((fault) => `           ${fault}`),
        ...(more > 0 ? [`           and ${more} more`] : []),
      ];
    })
    .join("\n");
}

async function isLocked(folder: string): Promise<boolean> {
  try {
    const unlock = await lockFolder(folder);
    await unlock();
    return false;
  } catch (error) {
    if (isFailure(error, "busy")) return true;
    throw error;
  }
}
