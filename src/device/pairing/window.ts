import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { uptime } from "node:os";
import { join } from "node:path";
import { type DurableFolder, openDurable } from "../../base/node/durable.ts";
import { equal } from "../../base/pure/bytes.ts";
import { Failure, isFailure } from "../../base/pure/failure.ts";
import { inviteSecretBytes } from "../../protocol/sealed/invite.ts";
import {
  bytes,
  type Checked,
  flag,
  integer,
  object,
  oneOf,
  optional,
  parse,
  print,
  text,
} from "../../protocol/sealed/json.ts";

// The window in which a phone may pair, as it lies on the card: protocol/sealed/session.md.

export const windowMs: number = 10 * 60 * 1000;
export const mostFailures = 5;

/** Time that nobody sets: since the board was started, sleep included, and which start that was. */
export type BoardTime = { readonly boot: string; elapsedMs(): number };
export type WindowEnd = "success" | "time" | "failures" | "restart";

export type Window = {
  /** What the link holds. */
  readonly secret: Uint8Array;
  /** Where it was listened before, if this window was open already when the program started. */
  readonly port: number | undefined;
  readonly failures: number;
  /** An adoption was kept in it, and the phone did not say that it knows. */
  readonly kept: boolean;
  /** Why it is closed; undefined while it is open. Time is looked at with each call. */
  end(): WindowEnd | undefined;
  remainingMs(): number;
  /** Makes it durable under a port: before this nobody may be let in. */
  listenAt(port: number): Promise<void>;
  /** Durable when it resolves: an adoption was kept. */
  keep(): Promise<void>;
  /** Durable when it resolves; the fifth closes the window. */
  fail(): Promise<void>;
  /** Durable when it resolves; nothing opens it again. */
  close(end: WindowEnd): Promise<void>;
};

const file = "window";
const longestBytes = 4096;
const check = object({
  version: integer(1, 1),
  /** Not there any more in a closed one. */
  secret: optional(bytes(inviteSecretBytes)),
  boot: text(64),
  openedMs: integer(),
  failures: integer(0, mostFailures),
  port: integer(1, 65_535),
  kept: flag,
  end: optional(oneOf("success", "time", "failures", "restart")),
});
/** As it lies on the card. */
export type WindowState = Checked<typeof check>;

/** This machine's. */
export async function boardTime(): Promise<BoardTime> {
  const boot = await readFile("/proc/sys/kernel/random/boot_id", "utf8");
  return { boot: boot.trim(), elapsedMs: () => Math.round(uptime() * 1000) };
}

/**
 * The window that is open still, or a new one; and how the one before ended, if there was one and it
 * is over. A window of an earlier start of the board is over: how long that was, nobody knows. With a
 * given secret one with another secret gives way to a new one, as soon as that is durable.
 */
export async function openWindow(
  folder: DurableFolder,
  time: BoardTime,
  given?: Uint8Array,
): Promise<{ window: Window; before: WindowEnd | undefined }> {
  if (given && given.length !== inviteSecretBytes) {
    throw new Failure("misuse", `a window's secret of ${given.length} bytes`);
  }
  const kept = await load(folder);
  const before = kept && endOf(kept, time);
  if (kept?.secret && !before && (!given || equal(given, kept.secret))) {
    return { window: run(folder, time, { ...kept, secret: kept.secret }, kept.port), before };
  }
  const secret = new Uint8Array(given ?? randomBytes(inviteSecretBytes));
  const opened = { version: 1, boot: time.boot, openedMs: time.elapsedMs() };
  const first = { ...opened, failures: 0, port: 1, kept: false, secret };
  return { window: run(folder, time, first, undefined), before };
}

/** How a window that was kept has ended by now; undefined while it is open. */
export function endOf(kept: WindowState, time: BoardTime): WindowEnd | undefined {
  if (kept.end) return kept.end;
  if (kept.failures >= mostFailures) return "failures";
  if (kept.boot !== time.boot) return "restart";
  const elapsedMs = time.elapsedMs() - kept.openedMs;
  return elapsedMs < 0 || elapsedMs >= windowMs ? "time" : undefined;
}

function run(
  folder: DurableFolder,
  time: BoardTime,
  first: WindowState & { secret: Uint8Array },
  port: number | undefined,
): Window {
  let state: WindowState = first;
  const write = async (next: WindowState) => {
    // In force at once: what cannot be written closes or counts all the same.
    state = next;
    await folder.write(file, printWindow(next), { shred: true });
  };
  const close = async (end: WindowEnd) => {
    if (state.end) return;
    const { secret: _, ...rest } = state;
    await write({ ...rest, end });
  };
  return {
    secret: first.secret,
    port,
    get failures() {
      return state.failures;
    },
    get kept() {
      return state.kept;
    },
    end: () => endOf(state, time),
    remainingMs: () => Math.max(0, windowMs - (time.elapsedMs() - state.openedMs)),
    listenAt: (at) => write({ ...state, port: at }),
    keep: () => write({ ...state, kept: true }),
    async fail() {
      const failures = Math.min(mostFailures, state.failures + 1);
      if (failures < mostFailures) return await write({ ...state, failures });
      state = { ...state, failures };
      await close("failures");
    },
    close,
  };
}

export function printWindow(state: WindowState): Uint8Array {
  return print(state, longestBytes, "pairing window", check);
}

/** @throws Failure corrupt, refused */
export function parseWindow(bytes: Uint8Array): WindowState {
  return parse(bytes, longestBytes, "pairing window", check);
}

/** What cannot be read is no window: then a new one is opened, with a new secret. */
export const orNone = (error: unknown): undefined => {
  if (!isFailure(error, "absent", "corrupt")) throw error;
};

async function load(folder: DurableFolder): Promise<WindowState | undefined> {
  return await folder.read(file).then(parseWindow).catch(orNone);
}

/** The newest window of a state folder as it is at this moment, whichever program has it open. */
export async function readWindow(state: string): Promise<WindowState | undefined> {
  const bytes = await readFile(join(state, "pairing", file)).catch(() => undefined);
  return bytes && (await Promise.resolve(bytes).then(parseWindow).catch(orNone));
}

/**
 * Closes the newest window of a state folder, which nobody holds any more, if this is its secret. Throws
 * Failure "busy" when a program has it open after all.
 */
export async function closeWindow(
  state: string,
  secret: Uint8Array,
  end: WindowEnd,
): Promise<void> {
  const found = await readWindow(state);
  if (!found?.secret || !equal(found.secret, secret)) return;
  const folder = await openDurable(join(state, "pairing"));
  const { secret: _, ...rest } = found;
  const closed = printWindow({ ...rest, end });
  await folder.write(file, closed, { shred: true }).finally(() => folder.close());
}
