import type { DurableFolder } from "../../base/node/durable.ts";
import { fromHex, fromText, toHex, toText } from "../../base/pure/bytes.ts";
import { Failure, isFailure } from "../../base/pure/failure.ts";
import type { DayMark } from "../outbox/outbox.ts";

// What the camera must remember and cannot read from its own sealed log. Nothing in it is secret.

export type Head = { incarnation: number; sequence: number; hash: Uint8Array };
export type Place = { sequence: number; hash: Uint8Array };
export type EndReason = "ended" | "longest" | "stopped" | "resized" | "cut-off";
/**
 * A clip that is being sealed. `at` is the sequence of the log entry that this phase announces: it
 * is there or not, which is how a crash is told from a step that was done.
 */
export type OpenClip = { clip: string; at: number } & (
  | { phase: "starting" }
  | { phase: "ending"; last: { number: number; hash: Uint8Array }; reason: EndReason }
);
export type Notebook = {
  incarnation: number;
  epoch: number; // the highest used; rises with each
  head: Head | undefined;
  elapsedMs: number; // run time since the adoption, by no clock that can be set
  spent: Record<string, number>; // phone in hexadecimal → lowest one-time index not spent
  open: OpenClip[];
  announced: number; // the version of the member list that the log has
  floor?: Place; // the entry that the newest checkpoint names: those before it are let go
  /** For clips that go with age: outbox.md, "Age". */
  days?: DayMark[];
  receiving: string; // fingerprint of the receiving key that the log has, in hexadecimal; or none
};

/** What it takes of a folder to keep the notebook there. */
export type NotebookFolder = Pick<DurableFolder, "read" | "write">;

const file = "notebook.json";
const format = 1;

/** The notebook, or undefined when there is none; a damaged one counts as none. */
export async function readNotebook(folder: NotebookFolder): Promise<Notebook | undefined> {
  try {
    return parse(toText(await folder.read(file)));
  } catch (error) {
    if (isFailure(error, "absent", "corrupt") || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Durable when it resolves. */
export async function writeNotebook(folder: NotebookFolder, notebook: Notebook): Promise<void> {
  const json = JSON.stringify(
    { format, ...notebook },
    (_, value) => (value instanceof Uint8Array ? toHex(value) : value),
    1,
  );
  await folder.write(file, fromText(`${json}\n`));
}

function parse(text: string): Notebook {
  const read = JSON.parse(text);
  if (read?.format > format) {
    throw new Failure("refused", `the notebook of the log is of format ${read.format}`, {
      hint: "Update this program",
    });
  }
  const whole = (value: unknown): number => {
    if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
    throw damaged();
  };
  const hash = (value: unknown) => {
    if (typeof value === "string" && value.length === 64) return fromHex(value);
    throw damaged();
  };
  const list = (value: unknown): unknown[] => {
    if (Array.isArray(value)) return value;
    throw damaged();
  };
  const openClip = (value: unknown): OpenClip => {
    const one = value as Record<string, unknown>;
    const clip = toHex(fromHex(String(one?.clip)));
    if (one.phase === "starting") return { clip, at: whole(one.at), phase: "starting" };
    const last = one.last as Record<string, unknown>;
    if (one.phase !== "ending" || !isEndReason(one.reason)) throw damaged();
    const { reason } = one;
    const named = { number: whole(last?.number), hash: hash(last?.hash) };
    return { clip, at: whole(one.at), phase: "ending", last: named, reason };
  };
  const dayMark = (value: unknown): DayMark => {
    const one = value as Record<string, unknown>;
    return { day: whole(one?.day), orderMs: whole(one?.orderMs) };
  };
  return {
    incarnation: whole(read?.incarnation),
    epoch: whole(read.epoch),
    head: read.head && {
      incarnation: whole(read.head.incarnation),
      sequence: whole(read.head.sequence),
      hash: hash(read.head.hash),
    },
    elapsedMs: whole(read.elapsedMs),
    spent: Object.fromEntries(
      Object.entries(read.spent ?? {}).map(([phone, next]) => [toHex(hash(phone)), whole(next)]),
    ),
    open: list(read.open).map(openClip),
    announced: whole(read.announced),
    ...(read.floor
      ? { floor: { sequence: whole(read.floor.sequence), hash: hash(read.floor.hash) } }
      : {}),
    ...(read.days ? { days: list(read.days).map(dayMark) } : {}),
    receiving: read.receiving ? toHex(hash(read.receiving)) : "",
  };
}

const endReasons: readonly unknown[] = ["ended", "longest", "stopped", "resized", "cut-off"];

function isEndReason(value: unknown): value is EndReason {
  return endReasons.includes(value);
}

function damaged(): Failure {
  return new Failure("corrupt", "the notebook of the log is damaged");
}
