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
import type { Keyring, Owned } from "../keyring.ts";
import type { Outbox } from "../outbox/outbox.ts";
import { type Recording, type SealedClip, sealClip } from "./clip.ts";
import { Journal } from "./journal.ts";
import { type Notebook, type NotebookFolder, readNotebook } from "./notebook.ts";
import { acknowledge } from "./recipients.ts";
import { findHead, findPassingHead, finishOpenClips } from "./recovery.ts";

export type { Recording, SealedClip };

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
  /** Each part as it becomes durable. */
  onPart?(part: { clip: string; number: number; bytes: number; atUs: number }): void;
  /** A clip that was cut off, and why; the log has a `problem` too. */
  onProblem?(failure: Failure): void;
  fault?: Fault | undefined;
};

const beaconIntervalMs = 15 * 60_000;
/** Throws Failure "absent" when nobody has adopted the camera: then there is nobody to seal to. */
export async function openSealer(options: SealerOptions): Promise<Sealer> {
  const { keyring, outbox, fault } = options;
  const { adopted } = keyring;
  if (!adopted) {
    throw new Failure("absent", "this camera has no owner yet", {
      hint: "Make one: obscura-camera identity -o camera.json, obscura-phone adopt camera.json -o owner.json, obscura-camera adopt owner.json",
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
  const { keyring, outbox, clock, onProblem } = options;
  const { identity, sign } = keyring;
  const isKept = outbox.kind === "folder";
  const where = { camera: identity.camera, suite: nodeSuite, outbox };
  const { notebook, reopened } = isKept
    ? await findHead(where, folder, identity.incarnation)
    : await findPassingHead({ ...where, outbox: outbox.card }, folder, identity.incarnation, draw);
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
  if (notebook.announced < adopted.membership.version) {
    await journal.append({ kind: "membership", list: adopted.membershipBytes });
    notebook.announced = adopted.membership.version;
    await journal.inTurn(() => journal.save());
  }
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
  const timer = setInterval(() => void tick(), beaconIntervalMs);
  timer.unref();
  const tick = () =>
    journal
      .beacon()
      .then(() => journal.inTurn(() => journal.save()))
      .then(announceReceiving)
      .catch((error) => onProblem?.(error));

  let running = 0;
  let closed: Promise<void> | undefined;
  return {
    async clip(recording) {
      running += 1;
      try {
        return await sealClip(recording, {
          ...options,
          camera: identity.camera,
          sign,
          journal,
        });
      } finally {
        running -= 1;
      }
    },
    note: (statement) => journal.append(statement),
    resupply: (owned) =>
      journal.inTurn(async (append) => {
        journal.resupply(owned);
        for (const held of acknowledge(owned, notebook.spent)) await append(held);
      }),
    close() {
      if (running > 0) {
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
