import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import type { Fault } from "../../src/base/node/durable.ts";
import { systemClock } from "../../src/base/node/time.ts";
import type { Clock } from "../../src/base/pure/clock.ts";
import { checkState } from "../../src/device/check.ts";
import { createKeyring, type Keyring, openKeyring } from "../../src/device/keyring.ts";
import { type Outbox, openOutbox, type Verdict } from "../../src/device/outbox/outbox.ts";
import {
  openSealer,
  type Recording,
  type Sealer,
  type SealerOptions,
} from "../../src/device/seal/seal.ts";
import { makeOwner, type Owner, type OwnerOptions } from "./owner.ts";
import { opening, pattern } from "./sealed.ts";

export type Camera = { state: string; outbox: string; keyring: Keyring; owner: Owner };

/** A camera with an owner in a state folder, and that owner's phone. */
export async function makeCamera(state: string, options: OwnerOptions = {}): Promise<Camera> {
  const fresh = await createKeyring(state, "test camera");
  const owner = await makeOwner(fresh.identity, options);
  const keyring = await fresh.adopt(owner.adoption);
  return { state, outbox: join(state, "outbox"), keyring, owner };
}

export type Running = {
  sealer: Sealer;
  outbox: Outbox;
  parts: { clip: string; number: number }[];
  /** Closes both, as the service does when it ends. */
  stop(): Promise<void>;
};

/** So much that on the fastest machine no clip has to go for want of room. */
const testLimitBytes = 4 * 1024 ** 3;

/** What `obscura-camera` does with a state folder, up to the sealer. */
export async function startSealer(
  state: string,
  options: {
    clock?: Clock;
    limitBytes?: number;
    headroomBytes?: number;
    outboxFault?: Fault | undefined;
    notebookFault?: Fault | undefined;
    onProblem?(failure: unknown): void;
    onPart?(part: { clip: string; number: number }): void;
    onCut?(): void;
    newestElsewhere?: SealerOptions["newestElsewhere"];
    retentionDays?: number;
  } = {},
): Promise<Running> {
  const keyring = await openKeyring(state);
  const clock = options.clock ?? systemClock;
  const outbox = await openOutbox({
    folder: join(state, "outbox"),
    limitBytes: options.limitBytes ?? testLimitBytes,
    headroomBytes: options.headroomBytes ?? 0,
    wallMs: () => clock.wallMs(),
    fault: options.outboxFault,
  });
  const parts: Running["parts"] = [];
  const sealer = await openSealer({
    ...{ keyring, outbox, clock, version: "test", folder: join(state, "journal") },
    clockTrusted: () => true,
    onPart: (part) => {
      parts.push(part);
      options.onPart?.(part);
    },
    onProblem: (failure) => options.onProblem?.(failure),
    fault: options.notebookFault,
    ...(options.onCut ? { onCut: options.onCut } : {}),
    retentionDays: options.retentionDays ?? 0,
    ...(options.newestElsewhere ? { newestElsewhere: options.newestElsewhere } : {}),
  });
  const stop = async () => {
    await sealer.close();
    await outbox.close();
  };
  return { sealer, outbox, parts, stop };
}

/** What speaks against the state folder, by `obscura-camera check`. */
export async function faultsOf(
  state: string,
  { limitBytes = testLimitBytes } = {},
): Promise<Verdict[]> {
  return (await checkState(state, { limitBytes })).filter(({ holds }) => !holds);
}

export const closing = {
  ...{ endUs: 2, durationMs: 1, frames: 1, thinned: [], mostPersons: 1, bestScore: 0.5 },
  ...{ tracks: [], reason: "ended" as const },
};

/** A recording of made-up fragments, each different and known by its number. */
export function recording(
  fragments: number,
  options: {
    bytes?: number;
    breakAfter?: number;
    breakWith?: Error;
    paceMs?: number;
    onFragment?(): void;
  } = {},
): Recording {
  const { bytes = 10_000, breakAfter = Number.POSITIVE_INFINITY, paceMs } = options;
  async function* pieces() {
    yield { kind: "init" as const, bytes: pattern(700) };
    const details = { what: "frame" as const, width: 640, height: 360, capturedUs: 5 };
    yield { kind: "thumbnail" as const, bytes: pattern(3000, 3), ...details };
    for (let i = 0; i < fragments; i++) {
      if (i >= breakAfter) throw options.breakWith ?? new Error("the encoder died");
      if (paceMs) await wait(paceMs);
      options.onFragment?.();
      yield { kind: "fragment" as const, bytes: pattern(bytes, 100 + i) };
    }
    yield { kind: "closing" as const, closing };
  }
  return { incident: "00112233445566778899aabbccddeeff", opening, pieces: pieces() };
}
