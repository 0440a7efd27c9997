import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { nodeSuite } from "../../base/node/crypto.ts";
import { type DurableFolder, type Fault, openDurable } from "../../base/node/durable.ts";
import { toHex } from "../../base/pure/bytes.ts";
import type { Clock } from "../../base/pure/clock.ts";
import { Failure, isFailure } from "../../base/pure/failure.ts";
import type { Statement } from "../../protocol/sealed/body.ts";
import { ready } from "../../protocol/sealed/sodium.ts";
import { keyFingerprint } from "../../protocol/sealed/stanza.ts";
import { decodeBeacon } from "../../protocol/wire/beacon.ts";
import type { Keyring, Life, Owned } from "../keyring.ts";
import type { Outbox } from "../outbox/outbox.ts";
import { type Recording, type SealedClip, type SealedPart, sealClip } from "./clip.ts";
import { Journal } from "./journal.ts";
import {
  type Head,
  type Notebook,
  type NotebookFolder,
  type Place,
  readNotebook,
} from "./notebook.ts";
import { acknowledge, withoutKeys } from "./recipients.ts";
import { findHead, findPassingHead, finishOpenClips, type Start } from "./recovery.ts";

export { lost } from "./journal.ts";
export type { Recording, SealedClip, SealedPart };

/**
 * Seals recordings. In: pieces of a clip as they come. Out: parts in the outbox, each durable before
 * the next is sealed, and the log that names them. What was durable stays a clip that opens, however
 * the recording or the process ends.
 */
export type Sealer = {
  /**
   * Takes one recording to its end. Resolves also when it was cut off; throws only when nothing of
   * it could be sealed, or the storage failed ("gone") and the program must end.
   */
  clip(recording: Recording): Promise<SealedClip>;
  /** Adds a statement of the other stages to the log; durable when it resolves. */
  note(statement: Statement): Promise<void>;
  /** Seals with further keys from here on, and acknowledges them (keyring.ts, resupply). */
  resupply(owned: Owned): Promise<void>;
  /**
   * Follows a member list (keyring.ts, follow): between two clips; the log says it, and all that comes
   * after is sealed to its members alone.
   */
  follow(owned: Owned): Promise<void>;
  /**
   * An owner vouches for the log up to `floor` (checkpoint.md): the log quotes it and says anew what
   * a reader that begins there has to know, with `more`; then the entries before it are let go. May be
   * done again.
   */
  checkpoint(bytes: Uint8Array, floor: Place, more: readonly Statement[]): Promise<void>;
  /** The newest entry of the log. */
  readonly head: Head | undefined;
  /** The incarnation that the log is in. */
  readonly life: Life;
  /**
   * Runs `act` between two clips: those that run are ended (`onCut`), cut off when that takes longer
   * than ten seconds, and the next begin after it.
   */
  between<T>(act: () => Promise<T>): Promise<T>;
  /**
   * There is a head of this log that is not in it (uplink.md): between two clips it goes on in a new
   * incarnation. One of an incarnation that is over changes nothing.
   */
  reopen(head: Head, reason: string): Promise<void>;
  /** Ends the log for now: last beacon, notebook. Clips have to be over. Twice is well. */
  close(): Promise<void>;
};

export type SealerOptions = {
  keyring: Keyring;
  outbox: Outbox;
  /** Holds the notebook. */
  folder: string;
  version: string;
  clock: Clock;
  clockTrusted(): boolean;
  /** Days of run time after which a clip goes; 0, and when absent, for none. */
  retentionDays?: number;
  /** Each part as it becomes durable. */
  onPart?(part: SealedPart): void;
  /** The newest head of this log elsewhere that is not in it, of this incarnation or a later one. */
  newestElsewhere?(incarnation: number): Promise<Head | undefined>;
  /** Asks for the end of what is being recorded; what follows is another clip. */
  onCut?(): void;
  /** A clip that was cut off, and why; the log has a `problem` too. */
  onProblem?(failure: Failure): void;
  fault?: Fault | undefined;
};

const beaconIntervalMs = 15 * 60_000;
const cutMs = 10_000;
/** Throws Failure "absent" when nobody has adopted the camera: then there is nobody to seal to. */
export async function openSealer(options: SealerOptions): Promise<Sealer> {
  const { keyring, outbox, fault } = options;
  const { adopted } = keyring;
  if (!adopted) {
    throw new Failure("absent", "this camera has no owner yet", {
      hint: "Pair it: obscura-camera pair here, obscura-phone pair LINK on the phone; or by files, see the README",
    });
  }
  await ready();
  const isKept = outbox.kind === "folder";
  const folder = isKept ? await openDurable(options.folder, { fault }) : readOnly(options.folder);
  try {
    return await openIn(folder, adopted, options);
  } catch (error) {
    await folder.close().catch(() => {});
    throw error;
  }
}

async function openIn(
  folder: NotebookFolder & Pick<DurableFolder, "close">,
  adopted: Owned,
  options: SealerOptions,
): Promise<Sealer> {
  const { keyring, outbox, clock, onProblem, retentionDays = 0 } = options;
  const { identity, sign } = keyring;
  const isKept = outbox.kind === "folder";
  const where = { camera: identity.camera, suite: nodeSuite, outbox };
  const start = isKept
    ? await findHead(where, folder, identity.incarnation)
    : await findPassingHead({ ...where, outbox: outbox.card }, folder, identity.incarnation, draw);
  const { notebook, reopened } = isKept ? await compared(start, options) : start;
  const isFirst = notebook.head === undefined;
  const found = notebook.head;
  const journal = new Journal({
    ...{ ...where, sign, adopted, folder, notebook, clock },
    clockTrusted: options.clockTrusted,
  });
  /** A key that is not durable is never announced; on a card that failed none can be made. */
  const announceReceiving = async () => {
    const publicKey = isKept ? await keyring.rotate(journal.elapsedMs) : keyring.receiving;
    const known = toHex(keyFingerprint(publicKey));
    if (notebook.receiving === known) return;
    await journal.append({ kind: "receiving-key", publicKey });
    notebook.receiving = known;
    await journal.inTurn(() => journal.save());
  };
  const present = new Set(outbox.entries().map(({ sequence }) => sequence));
  journal.continueBeacons(await beaconVersion(outbox));
  if (reopened) {
    // Durable before the first entry of it: an incarnation is never opened twice.
    await journal.inTurn(() => journal.save());
    const head = found ? { head: found } : {};
    await journal.append({ kind: "incarnation-opened", reason: reopened, ...head });
  }
  await finishOpenClips(journal, { ...where, hasEntry: (sequence) => present.has(sequence) });
  // Where a stop came between.
  if (notebook.floor) await outbox.letGo(notebook.floor.sequence);
  const announceMembers = (owned: Owned) =>
    journal.inTurn(async (append) => {
      const { membership, membershipBytes } = owned;
      if (notebook.announced >= membership.version) return;
      await append({ kind: "membership", list: membershipBytes });
      notebook.announced = membership.version;
      for (const { name } of withoutKeys(owned)) {
        const text = `nothing is sealed to ${name || "a member"}: it has given no keys yet`;
        await append({ kind: "problem", code: "no-keys", text });
      }
      await journal.save();
    });
  await announceMembers(adopted);
  await announceReceiving();
  await journal.append({
    kind: "started",
    version: options.version,
    reason: isFirst ? "first start" : "start",
  });
  if (!isKept) {
    const text = "the card failed: clips are kept in memory until they are fetched";
    await journal.append({ kind: "problem", code: "storage-failed", text });
  }
  for (const held of acknowledge(adopted, notebook.spent)) await journal.append(held);
  await journal.beacon();
  await journal.expire(retentionDays);
  const timer = setInterval(() => void tick(), beaconIntervalMs);
  timer.unref();
  const tick = () =>
    journal
      .beacon()
      .then(() => journal.expire(retentionDays))
      .then(() => journal.inTurn(() => journal.save()))
      .then(announceReceiving)
      .catch((error) => onProblem?.(error));

  const running = new Set<Promise<unknown>>();
  let gate: Promise<unknown> | undefined;
  let cut = new AbortController();
  const between = async <T>(act: () => Promise<T>): Promise<T> => {
    while (gate) await gate;
    let open = () => {};
    gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    try {
      if (running.size > 0) options.onCut?.();
      const late = setTimeout(() => cut.abort(tookTooLong()), cutMs);
      await Promise.all(running);
      clearTimeout(late);
      if (cut.signal.aborted) cut = new AbortController();
      return await act();
    } finally {
      gate = undefined;
      open();
    }
  };
  let closed: Promise<void> | undefined;
  return {
    async clip(recording) {
      while (gate) await gate;
      const { camera } = identity;
      const { signal } = cut;
      const clip = sealClip(recording, { ...options, camera, sign, journal, signal });
      const settled = clip.catch(() => {}).finally(() => running.delete(settled));
      running.add(settled);
      return await clip;
    },
    note: (statement) => journal.append(statement),
    async checkpoint(bytes, floor, more) {
      await journal.inTurn(async (append) => {
        await append({ kind: "checkpointed", checkpoint: bytes });
        await append({ kind: "membership", list: journal.adopted.membershipBytes });
        await append({ kind: "receiving-key", publicKey: keyring.receiving });
        for (const held of acknowledge(journal.adopted, notebook.spent)) await append(held);
        for (const statement of more) await append(statement);
        // Durable before the first entry goes: a start finds where the log begins.
        notebook.floor = { sequence: floor.sequence, hash: floor.hash };
        await journal.save();
      });
      await outbox.letGo(floor.sequence);
    },
    get life() {
      return { incarnation: notebook.incarnation };
    },
    get head() {
      return notebook.head;
    },
    follow: (owned) =>
      between(async () => {
        await journal.inTurn(async () => {
          journal.resupply(owned);
          journal.endEpoch();
        });
        await announceMembers(owned);
      }),
    between,
    reopen: (head, reason) =>
      between(async () => {
        if (head.incarnation < notebook.incarnation) return;
        await journal.inTurn(async (append) => {
          const parent = await journal.reopen(head);
          await append({ kind: "incarnation-opened", reason, head: parent });
        });
        await journal.beacon();
      }),
    resupply: (owned) =>
      journal.inTurn(async (append) => {
        // One who had no keys reads the log from here on.
        const isNew = withoutKeys(owned).length < withoutKeys(journal.adopted).length;
        journal.resupply(owned);
        if (isNew) journal.endEpoch();
        for (const held of acknowledge(owned, notebook.spent)) await append(held);
      }),
    close() {
      if (running.size > 0) {
        return Promise.reject(new Failure("misuse", "the sealer is closed in the midst of a clip"));
      }
      closed ??= (async () => {
        clearInterval(timer);
        await journal.close().finally(() => folder.close());
      })();
      return closed;
    },
  };
}

/** What was found here, held against what is known elsewhere. */
async function compared(
  { notebook, reopened }: Start,
  { newestElsewhere }: SealerOptions,
): Promise<Start> {
  // Before this start opened one: what is of the incarnation that was found counts too.
  const incarnation = Math.max(0, notebook.incarnation - (reopened ? 1 : 0));
  const head = await newestElsewhere?.(incarnation);
  if (!head) return { notebook, reopened };
  notebook.incarnation = Math.max(notebook.incarnation, head.incarnation + 1);
  if (!notebook.head || head.sequence > notebook.head.sequence) notebook.head = head;
  return { notebook, reopened: reopened ?? "the log was behind" };
}

function tookTooLong(): Failure {
  return new Failure("gone", "the clip did not end when it had to");
}

/** Evenly from 0 up to 1, from the system's randomness. */
function draw(): number {
  return randomBytes(6).readUIntBE(0, 6) / 2 ** 48;
}

/** What the log's notebook says, for `obscura-camera check`; undefined when there is none. */
export function notebookOf(folder: string): Promise<Notebook | undefined> {
  return readNotebook(readOnly(folder));
}

/** A folder that is read and never written: a failing card, or somebody else's to write. */
function readOnly(folder: string): NotebookFolder & Pick<DurableFolder, "close"> {
  return {
    read: (name) =>
      readFile(join(folder, name)).catch((cause) => {
        throw new Failure("absent", `cannot read ${name} (${cause.code})`, { cause });
      }),
    write: async () => {},
    close: async () => {},
  };
}

async function beaconVersion(outbox: Outbox): Promise<number> {
  try {
    return decodeBeacon(await outbox.read({ kind: "beacon" })).version;
  } catch (error) {
    if (isFailure(error, "absent", "corrupt", "refused")) return 0;
    throw error;
  }
}
