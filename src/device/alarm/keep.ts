import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { type DurableFolder, openDurable } from "../../base/node/durable.ts";
import { isFailure } from "../../base/pure/failure.ts";
import {
  flag,
  integer,
  object,
  oneOf,
  optional,
  parse,
  print,
} from "../../protocol/sealed/json.ts";
import type { Kept } from "./machine.ts";

// How the alarm stood, as it lies on the card: alarm.md, "What is kept".

const file = "state";
const longestBytes = 1024;
const mostFailures = 1_000_000;
const check = object({
  version: integer(1, 1),
  kind: oneOf("disarmed", "arming", "armed", "pending", "triggered"),
  mode: optional(oneOf("home", "away")),
  isAgain: flag,
  /** Wrong codes in a row. */
  failures: integer(0, mostFailures),
});

export type Notes = { kept: Kept; failures: number };

export type Keep = {
  /** As it was kept; undefined when nothing was, or nothing that can be read. */
  readonly before: Notes | undefined;
  /** What lies there is not what this program wrote. */
  readonly isSpoilt: boolean;
  /** Durable when it resolves, as far as anything is. */
  write(notes: Notes): Promise<void>;
  close(): Promise<void>;
};

/**
 * Without an alarm nothing is armed: one that is switched on again, a year later, does not go on from where
 * it was.
 */
export async function forgetAlarm(path: string): Promise<void> {
  await rm(join(path, file), { force: true });
}

/** With `isReadOnly`, of a card that failed, what lies there is read and nothing is written. */
export async function openKeep(
  path: string,
  { isReadOnly }: { isReadOnly: boolean },
): Promise<Keep> {
  const folder = isReadOnly ? undefined : await openDurable(path);
  try {
    const bytes = await readNotes(path, folder);
    const before = bytes && parseNotes(bytes);
    let written = bytes && before ? Buffer.from(bytes).toString() : undefined;
    return {
      before,
      isSpoilt: bytes !== undefined && before === undefined,
      async write(notes) {
        const next = printNotes(notes);
        if (!folder || next === written) return;
        written = next;
        await folder.write(file, Buffer.from(next)).catch((error) => {
          written = undefined;
          throw error;
        });
      },
      close: async () => await folder?.close(),
    };
  } catch (error) {
    await folder?.close();
    throw error;
  }
}

async function readNotes(path: string, folder: DurableFolder | undefined) {
  if (!folder) return await readFile(join(path, file)).catch(() => undefined);
  return await folder.read(file).catch((error) => {
    if (isFailure(error, "absent")) return undefined;
    throw error;
  });
}

export function printNotes({ kept, failures }: Notes): string {
  const mode = kept.kind === "disarmed" || kept.mode === undefined ? {} : { mode: kept.mode };
  const isAgain = "isAgain" in kept && kept.isAgain;
  const fields = { version: 1, kind: kept.kind, ...mode, isAgain };
  const bytes = print(
    { ...fields, failures: Math.min(failures, mostFailures) },
    longestBytes,
    "alarm",
    check,
  );
  return Buffer.from(bytes).toString();
}

/** Undefined for what this program would not have written. */
export function parseNotes(bytes: Uint8Array): Notes | undefined {
  try {
    const { kind, mode, isAgain, failures } = parse(bytes, longestBytes, "alarm", check);
    if (kind === "disarmed") return { kept: { kind }, failures };
    if (kind === "triggered") return { kept: { kind, mode, isAgain }, failures };
    if (!mode) return undefined;
    return { kept: kind === "armed" ? { kind, mode } : { kind, mode, isAgain }, failures };
  } catch (error) {
    if (isFailure(error)) return undefined;
    throw error;
  }
}
