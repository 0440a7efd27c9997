import { equal } from "../base/pure/bytes.ts";
import { isFailure } from "../base/pure/failure.ts";
import { type Checkpoint, verifyCheckpoint } from "../protocol/sealed/checkpoint.ts";
import { MembershipHistory, roleOf, verifyBase } from "../protocol/sealed/membership.ts";
import { digest, type Suite } from "../protocol/wire/signature.ts";
import type { ReadEntry } from "./entries.ts";
import type { Fault } from "./fault.ts";
import type { CameraKeys } from "./vault.ts";

// Where a log begins that is not read from its first entry: an owner vouches for what was before
// (checkpoint.md).

export type Base = Checkpoint & {
  readonly bytes: Uint8Array;
  /** The member list in force there, where it is not the one that this phone began with. */
  readonly members: Uint8Array | undefined;
};

/** The newest one that this phone has accepted. */
export function baseOf({ id, base }: CameraKeys, suite: Suite): Base | undefined {
  if (!base) return undefined;
  const { checkpoint: bytes, members } = base;
  return { ...verifyCheckpoint(bytes, id, suite), bytes, members };
}

/** What is kept of a log, from the base on; nothing when it does not have it. */
export function fromBase(kept: readonly ReadEntry[], base: Base | undefined): readonly ReadEntry[] {
  if (!base) return kept[0]?.sequence === 0 ? kept : [];
  const at = kept.findIndex(({ hash }) => equal(hash, base.hash));
  return at < 0 ? [] : kept.slice(at);
}

/** The member lists as they follow from the newest one that was taken on somebody's word. */
export function historyOf(
  { id, membership }: CameraKeys,
  base: Base | undefined,
  suite: Suite,
): MembershipHistory {
  const own = verifyBase(membership, id, suite);
  const later = base?.members && verifyBase(base.members, id, suite);
  return new MembershipHistory(later && later.version > own.version ? later : own, suite);
}

/**
 * The newest checkpoint that the chain quotes, where an owner signed it and it is none of another
 * chain; undefined when none is newer than `base`. What nobody may have signed is a lie.
 */
export function newerBase(
  chain: readonly ReadEntry[],
  {
    base,
    camera,
    members,
    suite,
    faults,
  }: {
    base: Base | undefined;
    camera: CameraKeys;
    members: MembershipHistory;
    suite: Suite;
    faults: Fault[];
  },
): Base | undefined {
  const lists = [camera.membership, ...(base?.members ? [base.members] : [])];
  let newest: Base | undefined;
  for (const { body, sequence, membership } of chain) {
    const statement = body?.statement;
    if (statement?.kind === "membership") lists.push(statement.list);
    if (statement?.kind !== "checkpointed") continue;
    const lie = (text: string, kind: Fault["kind"]) =>
      void faults.push({ severity: "lie", kind, text, sequence });
    try {
      const bytes = statement.checkpoint;
      const found = verifyCheckpoint(bytes, camera.id, suite);
      const known = members.at(membership);
      if (roleOf(known ?? members.head, found.phone) !== "owner") {
        if (known) lie("the camera follows a checkpoint that no owner made", "forged");
        continue;
      }
      const at = chain.find((one) => one.sequence === found.sequence);
      if (found.sequence >= sequence || (at && !equal(at.hash, found.hash))) {
        lie(`an owner vouched for another log entry ${found.sequence}: the log was forked`, "fork");
        continue;
      }
      const from = newest ?? base;
      if (from && found.sequence <= from.sequence) continue;
      newest = { ...found, bytes, members: undefined };
    } catch (error) {
      if (!isFailure(error)) throw error;
      lie(`the camera follows a checkpoint that is none: ${error.message}`, "forged");
    }
  }
  // The camera says the list anew behind the checkpoint.
  const list = newest && lists.find((one) => equal(digest(suite, one), newest.list));
  return list && newest && { ...newest, members: list };
}
