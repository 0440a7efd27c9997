import { chown, open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { failureOf, syncFolder } from "../../base/node/durable.ts";
import { lockFolder } from "../../base/node/lock.ts";
import { Failure } from "../../base/pure/failure.ts";

/** What a command may say: results on standard output, everything else on standard error. */
export type Voice = {
  print(text: string): void;
  warn(text: string): void;
  /** One line that is written over, on a terminal only. */
  progress(text: string): void;
};

export function openVoice(): Voice {
  let shown = 0;
  const clear = () => {
    if (shown > 0) process.stderr.write(`\r${" ".repeat(shown)}\r`);
    shown = 0;
  };
  return {
    print: (text) => {
      clear();
      process.stdout.write(text);
    },
    warn: (text) => {
      clear();
      process.stderr.write(`obscura-phone: ${text}\n`);
    },
    progress: (text) => {
      if (!process.stderr.isTTY) return;
      clear();
      process.stderr.write(text);
      shown = text.length;
    },
  };
}

/**
 * Writes a file whole or not at all, durable when it resolves; what is secret or private gets mode 0600.
 * What a program that was killed left half is called `.unfinished-NAME`, and goes with the next try.
 * What root writes is given to the `owner`. Throws Failure "full", "denied", or "busy" when another
 * program is writing it.
 */
export async function writeWhole(
  path: string,
  bytes: Uint8Array | string,
  owner?: { readonly uid: number; readonly gid: number },
): Promise<void> {
  const draft = join(dirname(path), `.unfinished-${basename(path)}`);
  const unlock = await lockFolder(draft);
  try {
    // Somebody else's link there must not be written through.
    await rm(draft, { force: true });
    await writeDraft(draft, bytes);
    if (owner && process.getuid?.() === 0) await chown(draft, owner.uid, owner.gid);
    await rename(draft, path);
    await syncFolder(dirname(path));
  } catch (error) {
    // Without this a full disk would stay full of what did not fit.
    await rm(draft, { force: true }).catch(() => {});
    const failure = failureOf(error, "write", path);
    if (failure.kind === "full") throw failure;
    const { errno = "unknown" } = failure;
    const options = { cause: error, errno, hint: "Is its folder there, and yours?" };
    throw new Failure("denied", `${path} cannot be written (${errno})`, options);
  } finally {
    await unlock();
  }
}

async function writeDraft(draft: string, bytes: Uint8Array | string): Promise<void> {
  const file = await open(draft, "wx", 0o600);
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}
