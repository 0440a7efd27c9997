import { lstat, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { nodeSuite } from "../../base/node/crypto.ts";
import { toHex } from "../../base/pure/bytes.ts";
import type { Clock } from "../../base/pure/clock.ts";
import { Failure } from "../../base/pure/failure.ts";
import { longest } from "../../protocol/wire/mailbox.ts";
import { type BoxName, checkName, fromFileName, printName } from "../../protocol/wire/name.ts";

const everyMs = 5_000;

/**
 * Boxes that a person (or a phone with `--from`) put into the outbox's own folder: a life without any
 * relay. Looks every few seconds, in the order of names; the files stay. Resolves when the signal
 * aborts.
 */
export async function watchFolder(options: {
  folder: string;
  clock: Clock;
  signal: AbortSignal;
  cursor(writer: string): string | undefined;
  onBox(bytes: Uint8Array, name: BoxName): Promise<boolean>;
}): Promise<void> {
  const { folder, clock, signal, cursor, onBox } = options;
  while (!signal.aborted) {
    for (const file of (await readdir(folder).catch(() => [])).sort()) {
      const name = boxOf(file);
      if (!name || signal.aborted) continue;
      const after = cursor(toHex(name.writer));
      if (after !== undefined && printName(name) <= after) continue;
      await onBox(await readBox(join(folder, file), name), name);
    }
    await clock.sleep(everyMs, signal).catch(() => {});
  }
}

function boxOf(file: string): BoxName | undefined {
  if (!file.startsWith("box.")) return undefined;
  try {
    const name = fromFileName(file);
    return name.kind === "box" ? name : undefined;
  } catch {
    return undefined;
  }
}

/** Nothing for what is no plain file, is too long, or is not what its name says. */
async function readBox(path: string, name: BoxName): Promise<Uint8Array> {
  try {
    const found = await lstat(path);
    if (!found.isFile() || found.size > longest.box) return new Uint8Array();
    const bytes = new Uint8Array(await readFile(path));
    checkName(name, bytes, nodeSuite);
    return bytes;
  } catch (error) {
    if (error instanceof Failure || (error as NodeJS.ErrnoException).code) return new Uint8Array();
    throw error;
  }
}
