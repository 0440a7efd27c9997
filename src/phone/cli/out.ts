import { open, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
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

/** Writes a file whole or not at all; what is secret or private gets mode 0600. */
export async function writeWhole(
  path: string,
  bytes: Uint8Array | string,
  mode = 0o600,
): Promise<void> {
  const draft = join(dirname(path), `.unfinished-${process.pid}-${Date.now()}`);
  const file = await open(draft, "wx", mode).catch((cause) => {
    throw new Failure("denied", `${path} cannot be written`, {
      cause,
      hint: "Is its folder there, and yours?",
    });
  });
  try {
    await file.writeFile(bytes);
    await file.sync();
    await file.close();
    await rename(draft, path);
  } catch (error) {
    await file.close().catch(() => {});
    await rm(draft, { force: true });
    throw error;
  }
}
