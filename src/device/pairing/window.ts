import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { uptime } from "node:os";
import type { DurableFolder } from "../../base/node/durable.ts";
import { isFailure } from "../../base/pure/failure.ts";
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
  secret: optional(bytes(32)),
  boot: text(64),
  openedMs: integer(),
  failures: integer(0, mostFailures),
  port: integer(1, 65_535),
  kept: flag,
  end: optional(oneOf("success", "time", "failures", "restart")),
});
type Kept = Checked<typeof check>;

/** This machine's. */
export async function boardTime(): Promise<BoardTime> {
  const boot = await readFile("/proc/sys/kernel/random/boot_id", "utf8");
  return { boot: boot.trim(), elapsedMs: () => Math.round(uptime() * 1000) };
}

/**
 * The window that is open still, or a new one; and how the one before ended, if there was one and it
 * is over. A window of an earlier start of the board is over: how long that was, nobody knows.
 */
export async function openWindow(
  folder: DurableFolder,
  time: BoardTime,
): Promise<{ window: Window; before: WindowEnd | undefined }> {
  const kept = await load(folder);
  const before = kept && endOf(kept, time);
  if (kept?.secret && !before) {
    return { window: run(folder, time, { ...kept, secret: kept.secret }, kept.port), before };
  }
  const secret = new Uint8Array(randomBytes(32));
  const opened = { version: 1, boot: time.boot, openedMs: time.elapsedMs() };
  const first = { ...opened, failures: 0, port: 1, kept: false, secret };
  return { window: run(folder, time, first, undefined), before };
}

function endOf(kept: Kept, time: BoardTime): WindowEnd | undefined {
  if (kept.end) return kept.end;
  if (kept.failures >= mostFailures) return "failures";
  if (kept.boot !== time.boot) return "restart";
  const elapsedMs = time.elapsedMs() - kept.openedMs;
  return elapsedMs < 0 || elapsedMs >= windowMs ? "time" : undefined;
}

function run(
  folder: DurableFolder,
  time: BoardTime,
  first: Kept & { secret: Uint8Array },
  port: number | undefined,
): Window {
  let state: Kept = first;
  const write = async (next: Kept) => {
    // In force at once: what cannot be written closes or counts all the same.
    state = next;
    await folder.write(file, print(next, longestBytes, "pairing window", check));
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

/** What cannot be read is no window: then a new one is opened, with a new secret. */
async function load(folder: DurableFolder): Promise<Kept | undefined> {
  try {
    return parse(await folder.read(file), longestBytes, "pairing window", check);
  } catch (error) {
    if (isFailure(error, "absent", "corrupt")) return undefined;
    throw error;
  }
}
