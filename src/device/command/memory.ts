import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type DurableFolder, type Fault, openDurable } from "../../base/node/durable.ts";
import { fromText, Reader, toHex, toText, Writer } from "../../base/pure/bytes.ts";
import { Failure, isFailure } from "../../base/pure/failure.ts";
import { type Action, decodeAction, encodeAction } from "../../protocol/sealed/action.ts";
import { keyBytes } from "../../protocol/wire/signature.ts";

// What the camera remembers of commands, in a folder of its own. Steps: command.md.

export type Asked = { phone: Uint8Array; number: number; action: Action };
export type Kept = { value: string; version: number };
export type Memory = {
  /** The highest number that was taken from a phone in this incarnation. */
  highest(phone: Uint8Array): number | undefined;
  /** Settings that an owner sent, by name; the value as JSON. */
  readonly settings: Readonly<Record<string, Kept>>;
  /** The last box of a writer that was looked at, on this relay. */
  cursor(relay: string, writer: string): string | undefined;
  passed(relay: string, writer: string, name: string): void;
  /** Clips that are gone here and may still be at a relay. */
  readonly removals: readonly { clip: string; incarnation: number }[];
  /** A command that was begun and not finished: its number is durable with it. */
  readonly pending: Asked | undefined;
  /** Durable when it resolves: from here on the command will be carried out, or was. */
  begin(asked: Asked): Promise<void>;
  /** Its number is taken. */
  finish(asked: Pick<Asked, "phone" | "number">): Promise<void>;
  set(name: string, kept: Kept): Promise<void>;
  remove(clip: string, incarnation: number): Promise<void>;
  removed(clip: string, incarnation: number): Promise<void>;
  /** Numbers count anew in another incarnation. */
  enter(incarnation: number): Promise<void>;
  save(): Promise<void>;
  close(): Promise<void>;
};

type State = {
  incarnation: number;
  highest: Record<string, number>;
  settings: Record<string, Kept>;
  cursors: Record<string, Record<string, string>>;
  removals: { clip: string; incarnation: number }[];
};

const stateFile = "commands.json";
const pendingFile = "pending";
const format = 1;
const mostRemovals = 1000;

export async function openMemory(
  path: string,
  { fault }: { fault?: Fault | undefined } = {},
): Promise<Memory> {
  const folder = await openDurable(path, { fault });
  const state = await readState(folder);
  let pending = await readPending(folder);
  const save = () =>
    folder.write(stateFile, fromText(`${JSON.stringify({ format, ...state }, null, 1)}\n`));
  return {
    highest: (phone) => {
      const id = toHex(phone);
      const begun = pending && toHex(pending.phone) === id ? pending.number : undefined;
      return begun === undefined ? state.highest[id] : Math.max(begun, state.highest[id] ?? 0);
    },
    settings: state.settings,
    cursor: (relay, writer) => state.cursors[relay]?.[writer],
    passed(relay, writer, name) {
      state.cursors[relay] = { ...state.cursors[relay], [writer]: name };
    },
    get removals() {
      return state.removals;
    },
    get pending() {
      return pending;
    },
    async begin(asked) {
      const { kind, bytes } = encodeAction(asked.action);
      const writer = new Writer().u8(format).u32(state.incarnation).raw(asked.phone);
      await folder.write(pendingFile, writer.u64(asked.number).u8(kind).raw(bytes).done());
      pending = asked;
    },
    async finish({ phone, number }) {
      const id = toHex(phone);
      state.highest[id] = Math.max(number, state.highest[id] ?? 0);
      await save();
      pending = undefined;
      await folder.remove([pendingFile]);
    },
    async set(name, kept) {
      state.settings[name] = kept;
      await save();
    },
    async remove(clip, incarnation) {
      const others = without(state.removals, clip, incarnation);
      state.removals = [...others, { clip, incarnation }].slice(-mostRemovals);
      await save();
    },
    async removed(clip, incarnation) {
      state.removals = without(state.removals, clip, incarnation);
      await save();
    },
    async enter(incarnation) {
      if (state.incarnation === incarnation) return;
      state.incarnation = incarnation;
      state.highest = {};
      await save();
    },
    save,
    close: () => folder.close(),
  };
}

function without(removals: State["removals"], clip: string, incarnation: number) {
  return removals.filter((one) => one.clip !== clip || one.incarnation !== incarnation);
}

/** The settings alone, for whoever reads the configuration before anything is open. */
export async function readRemoteSettings(path: string): Promise<Readonly<Record<string, Kept>>> {
  const read = (file: string) =>
    readFile(join(path, file)).catch((cause) => {
      throw new Failure("absent", `cannot read ${file} (${cause.code})`, { cause });
    });
  return (await readState({ read })).settings;
}

async function readState(folder: Pick<DurableFolder, "read">): Promise<State> {
  const empty: State = { incarnation: 0, highest: {}, settings: {}, cursors: {}, removals: [] };
  try {
    const read = JSON.parse(toText(await folder.read(stateFile)));
    if (read?.format !== format) return empty;
    const { incarnation, highest, settings, cursors, removals } = read;
    return { ...empty, incarnation, highest, settings, cursors, removals };
  } catch (error) {
    if (isFailure(error, "absent", "corrupt") || error instanceof SyntaxError) return empty;
    throw error;
  }
}

/** A damaged one counts as none: what is written is whole or not there. */
async function readPending(folder: Pick<DurableFolder, "read">): Promise<Asked | undefined> {
  try {
    const reader = new Reader(await folder.read(pendingFile), "pending command");
    if (reader.u8() !== format) return undefined;
    reader.u32();
    const phone = reader.take(keyBytes);
    const number = reader.u64();
    const kind = reader.u8();
    return { phone, number, action: decodeAction(kind, reader.take(reader.remaining)) };
  } catch (error) {
    if (isFailure(error, "absent", "corrupt", "refused")) return undefined;
    throw error;
  }
}
