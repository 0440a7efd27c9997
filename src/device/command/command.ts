import { randomBytes } from "node:crypto";
import type { Fault } from "../../base/node/durable.ts";
import { equal, toHex } from "../../base/pure/bytes.ts";
import { explain, type Failure, isFailure } from "../../base/pure/failure.ts";
import type { Action } from "../../protocol/sealed/action.ts";
import { admit, type Command, type Gate, nonceLifeMs } from "../../protocol/sealed/command.ts";
import { type Role, roleOf } from "../../protocol/sealed/membership.ts";
import { decodeSupply } from "../../protocol/sealed/supply.ts";
import { type BoxName, printName } from "../../protocol/wire/name.ts";
import type { Keyring } from "../keyring.ts";
import { isStorageFailure } from "../outbox/outbox.ts";
import { isIn, type Relay, type Uplink } from "../uplink/uplink.ts";
import { type After, act, type Hands } from "./act.ts";
import { watchFolder } from "./folder.ts";
import { type Asked, type Memory, openMemory, readRemoteSettings } from "./memory.ts";
import { poll } from "./poll.ts";

export { pictureOf } from "./act.ts";
export { finishErase, isErasing, markErased } from "./erase.ts";
export { readRemoteSettings };

/**
 * Carries out what phones ask for. In: sealed boxes from the mailbox on each relay. Out: acts of the
 * other stages, and an entry of the log for each command of a member. Steps and invariants:
 * commands.md.
 */
export type Commands = {
  /** One box, as a relay or a folder gave it; false when it is for nobody here. One after the other. */
  take(bytes: Uint8Array): Promise<boolean>;
  /** Of a phone in the member list that is in force now. */
  role(phone: Uint8Array): Role | undefined;
  /** Carries out what is under way to its end. Twice is well. */
  close(): Promise<void>;
};

export type CommandOptions = Omit<
  Hands,
  "keyring" | "taken" | "memory" | "removeAtRelays" | "giveNonce"
> & {
  /** Holds numbers, settings and what is under way. */
  folder: string;
  keyring: Keyring;
  /** The outbox's own folder, where boxes may lie too. */
  boxes?: string;
  relays: readonly Relay[];
  uplink: Pick<Uplink, "remove" | "backoffs">;
  onDone?(done: { action: string; refused?: string }): void;
  /** "restart": a setting asks for it (`takeSetting`). "erase": see `eraseState`. */
  onEnd(after: Exclude<After, "nothing">): void;
  /** The storage failed: the program must end. */
  onProblem(failure: unknown): void;
  fault?: Fault | undefined;
};

/** Relays that answer take a deleted clip away before the log says that it is gone. */
const removalPatienceMs = 20_000;
const asksAMinute = 20;
/** Of one phone in an hour; more are refused without a word in the log, which must not be flooded. */
const refusalsAnHour = 30;

export async function openCommands(options: CommandOptions): Promise<Commands> {
  const { sealer, clock, uplink, relays, onProblem, onEnd, onDone } = options;
  const memory = await openMemory(options.folder, { fault: options.fault });
  const end = new AbortController();
  const { signal } = end;
  let { keyring } = options;
  const nonces = new Map<string, { phone: Uint8Array; atUs: number }>();
  const asks = window(asksAMinute, 60_000);
  const refusals = new Map<string, ReturnType<typeof window>>();
  let isEnding = false;

  function window(most: number, lengthMs: number): { take(): boolean } {
    let times: number[] = [];
    return {
      take() {
        const nowUs = clock.monotonicUs();
        times = times.filter((atUs) => nowUs - atUs < lengthMs * 1000);
        if (times.length >= most) return false;
        times.push(nowUs);
        return true;
      },
    };
  }

  const removeAtRelays = async (clip: string, incarnation: number) => {
    const done = uplink.remove(clip, incarnation).then(async () => {
      // Else the next start does it again, which costs nothing.
      if (!signal.aborted) await memory.removed(clip, incarnation);
    });
    const enough = new AbortController();
    const late = clock.sleep(removalPatienceMs, AbortSignal.any([signal, enough.signal]));
    await Promise.race([done, late.catch(() => {})]);
    enough.abort();
    done.catch((error) => onProblem(error));
  };
  const hands: Hands = {
    ...options,
    keyring: () => keyring,
    taken: (next) => {
      keyring = next;
    },
    memory,
    removeAtRelays,
    giveNonce(phone) {
      for (const [nonce, { atUs }] of nonces) {
        if (clock.monotonicUs() - atUs > nonceLifeMs * 1000) nonces.delete(nonce);
      }
      const nonce = new Uint8Array(randomBytes(16));
      nonces.set(toHex(nonce), { phone, atUs: clock.monotonicUs() });
      return nonce;
    },
  };

  const gateOf = (phone: Uint8Array): Gate => ({
    role: (of) => keyring.adopted && roleOf(keyring.adopted.membership, of),
    highest: (of) => memory.highest(of),
    nonceAgeMs(nonce) {
      const given = nonces.get(toHex(nonce));
      if (!given || !equal(given.phone, phone)) return undefined;
      return (clock.monotonicUs() - given.atUs) / 1000;
    },
    version: (action) => versionOf(action, keyring, memory),
  });

  const say = async ({ phone, number, action }: Asked, refused?: string) => {
    const about = { phone, number, action: action.kind, ...(refused ? { refused } : {}) };
    await sealer.note({ kind: "command-done", ...about });
    onDone?.({ action: action.kind, ...(refused ? { refused } : {}) });
  };

  /** From `begin` on; also at the start, for one that a kill broke off. */
  const carryOut = async (asked: Asked): Promise<void> => {
    const { action, phone, number } = asked;
    let after: After = "nothing";
    try {
      after = await act(asked, hands);
      if (action.kind !== "ask") await say(asked);
    } catch (error) {
      if (isStorageFailure(error)) throw error;
      await say(asked, explain(error).slice(0, 200));
    }
    await memory.finish({ phone, number });
    if (after === "nothing") return;
    isEnding = true;
    onEnd(after);
  };

  const refuse = async (asked: Asked, failure: Failure): Promise<void> => {
    const { phone, number } = asked;
    const role = gateOf(phone).role(phone);
    // Of somebody who is no member nothing is kept and nothing said: the log is not theirs to fill.
    if (!role || (memory.highest(phone) ?? -1) >= number) return;
    const counted = refusals.get(toHex(phone)) ?? window(refusalsAnHour, 3_600_000);
    refusals.set(toHex(phone), counted);
    if (counted.take()) await say(asked, failure.message.slice(0, 200));
    await memory.finish({ phone, number });
  };

  /** A head that a phone saw and this log does not have: the card was put back (uplink.md). */
  const compareHead = async ({ head, phone, incarnation }: Command): Promise<void> => {
    const seen = head ?? undefined;
    const { life } = sealer;
    if (!seen || gateOf(phone).role(phone) !== "owner") return;
    const isAhead = seen.incarnation >= life.incarnation && incarnation >= life.incarnation;
    const isHere = isIn(options.outbox.entries(), seen);
    if (!isAhead || isHere) return;
    await sealer.reopen(seen, "the log was behind what a phone had seen");
  };

  const handle = async (bytes: Uint8Array): Promise<boolean> => {
    if (isEnding) return true;
    let command: Command | null;
    try {
      // That of the service: whoever takes a new key into use does it there.
      command = options.keyring.open(bytes);
    } catch (error) {
      // Nobody knows whose it was: damaged, or of a later format.
      if (isFailure(error)) return false;
      throw error;
    }
    if (!command) return false;
    await compareHead(command);
    await memory.enter(sealer.life.incarnation);
    // Sealed before the log went on in this incarnation, or for one that is not known: sent again anew.
    if (command.incarnation !== sealer.life.incarnation) return true;
    const asked = { phone: command.phone, number: command.number, action: command.action };
    try {
      if (admit(command, gateOf(command.phone)) === "done") return true;
    } catch (error) {
      if (!isFailure(error) || isStorageFailure(error)) throw error;
      await refuse(asked, error);
      return true;
    }
    if (asked.action.kind === "ask" && !asks.take()) return true;
    await memory.begin(asked);
    if ("nonce" in asked.action) nonces.delete(toHex(asked.action.nonce));
    await carryOut(asked);
    return true;
  };

  let last: Promise<unknown> = Promise.resolve();
  const take = (bytes: Uint8Array): Promise<boolean> => {
    const turn = last.then(() => handle(bytes));
    last = turn.catch(() => {});
    return turn;
  };

  await memory.enter(sealer.life.incarnation);
  const { pending } = memory;
  if (pending) {
    // What was asked for at a moment is over with it.
    if ("nonce" in pending.action || pending.action.kind === "ask") {
      await say(pending, "the camera was started again");
      await memory.finish(pending);
    } else await carryOut(pending);
  }
  for (const { clip, incarnation } of memory.removals) {
    void removeAtRelays(clip, incarnation).catch(onProblem);
  }

  const { adopted } = keyring;
  /** Where a source of boxes was left. */
  const from = (source: string) => ({
    cursor: (writer: string) => memory.cursor(source, writer),
    onBox: async (bytes: Uint8Array, name: BoxName) => {
      const isOurs = await take(bytes);
      if (!isEnding) memory.passed(source, toHex(name.writer), printName(name));
      return isOurs;
    },
  });
  const tasks = relays.map(async (relay, i) => {
    const backoff = uplink.backoffs[i];
    if (!adopted || !backoff) return;
    const { mailbox, doors } = adopted;
    await poll({ ...{ relay, backoff, mailbox, doors, clock, signal }, ...from(relay.url) });
  });
  const { boxes } = options;
  if (boxes) tasks.push(watchFolder({ folder: boxes, clock, signal, ...from("outbox") }));
  for (const task of tasks) task.catch(onProblem);
  let closed: Promise<void> | undefined;
  return {
    // Who was lent it may still have it when this is over; what was fetched before is looked at.
    take: async (bytes) => !signal.aborted && (await take(bytes)),
    role: (phone) => gateOf(phone).role(phone),
    close() {
      closed ??= (async () => {
        end.abort();
        await Promise.allSettled(tasks);
        await last;
        await memory.save().finally(() => memory.close());
      })();
      return closed;
    },
  };
}

/** What stands now for what a lasting command replaces (command.md). */
function versionOf(action: Action, { adopted }: Keyring, memory: Memory): number {
  switch (action.kind) {
    case "setting":
      return memory.settings[action.name]?.version ?? 0;
    case "membership":
    case "erase":
      return adopted?.membership.version ?? 0;
    case "supply": {
      const { phone } = decodeSupply(action.supply);
      const own = adopted?.supplies.filter((supply) => equal(supply.phone, phone)) ?? [];
      return own.at(-1)?.batch ?? 0;
    }
    default:
      return 0;
  }
}
