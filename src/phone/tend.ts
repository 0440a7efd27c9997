import { equal } from "../base/pure/bytes.ts";
import { encodeMembership, follow, type Member, roleOf } from "../protocol/sealed/membership.ts";
import { sign } from "../protocol/sealed/sodium.ts";
import { decodeSupply } from "../protocol/sealed/supply.ts";
import { confirm, confirmable } from "./deletions.ts";
import { doorKeyOf, guestDoor, keepDoors, memberDoor } from "./doors.ts";
import type { Fault } from "./fault.ts";
import { compareHeads } from "./heads.ts";
import { type Journal, statements } from "./journal.ts";
import { type BatchSize, replenish } from "./keys.ts";
import { addOutgoing, type OutgoingOptions, type Settled, sendOutgoing } from "./outgoing.ts";
import type { Survey } from "./survey.ts";
import { readTold } from "./told.ts";
import type { CameraKeys, VaultContent } from "./vault.ts";
import { clearBefore, vouch, type Worth } from "./vouch.ts";

// What a phone does for a camera's circle of phones whenever it has looked at its log: everything is
// decided anew from the vault and the log, so it can be cut off at any point and done again.

export type TendOptions = Omit<OutgoingOptions, "journal"> & {
  readonly survey: Survey;
  /** Keys of a further batch, where the usual count does not fit. */
  readonly size?: BatchSize;
  /** When a checkpoint is worth while, where the usual does not fit. */
  readonly worth?: Worth;
  /** Name the newest entry to the other phones even if one was named today. */
  readonly name?: boolean;
};

export type Tended = {
  readonly settled: readonly Settled[];
  readonly faults: readonly Fault[];
};

/**
 * Confirms deletions, signs the member list and the door list that are wanted, sends more keys when
 * few are left, vouches for what is over, compares heads with the other phones, and sends what the log
 * does not show yet.
 */
export async function tend(options: TendOptions): Promise<Tended> {
  const { vault, camera, survey, suite, nowMs } = options;
  const { journal } = survey;
  const told = readTold(journal);
  const all = { ...options, journal };
  confirm(confirmable(survey.deletions, { vault, camera, told, suite, nowMs }), {
    ...{ vault, camera, told, suite, nowMs },
  });
  const doorFaults = await tendDoors(all);
  tendMembers(all);
  replenish(all);
  await vouch({ ...all, told, deletions: survey.deletions });
  const settled = await sendOutgoing(all);
  await clearBefore(all);
  const headFaults = await compareHeads(all, options.name ?? false);
  return { settled, faults: [...doorFaults, ...headFaults] };
}

type All = OutgoingOptions;

/** Signs the next member list where the one in force is not the one that is wanted; one at a time. */
function tendMembers({ vault, camera, journal, suite, nowMs }: All): void {
  const { head } = journal.members;
  const { phone, phoneKey } = vault.content;
  const isIn = (one: Uint8Array) => roleOf(head, one) !== undefined;
  const before = camera.adding.length + camera.removing.length;
  camera.adding = camera.adding.filter((one) => !isIn(one.phone) || !hasKeys(journal, one));
  camera.removing = camera.removing.filter(isIn);
  if (camera.adding.length + camera.removing.length !== before) vault.touch();
  if (roleOf(head, phoneKey) !== "owner") return;
  const isSent = (what: string) => camera.outgoing.some((item) => item.what === what);
  const removed = (one: Uint8Array) => camera.removing.some((other) => equal(other, one));
  const joined: Member[] = camera.adding
    .filter((one) => !isIn(one.phone) && !removed(one.phone))
    .map(({ phone: key, role, name }) => ({ phone: key, role, name }));
  const members = [...head.members.filter((one) => !removed(one.phone)), ...joined];
  // Another owner went meanwhile: whoever is left stays, or nobody could decide anything.
  if (!members.some(({ role }) => role === "owner")) {
    camera.removing = [];
    vault.touch();
    return;
  }
  const isSame = joined.length === 0 && members.length === head.members.length;
  if (!isSame && !isSent("membership")) {
    const signer = { sign: (message: Uint8Array) => sign(phone, message), suite };
    const list = encodeMembership(follow(head, phoneKey, members), signer).bytes;
    addOutgoing(camera, { kind: "membership", replaces: head.version, list }, nowMs);
    vault.touch();
  }
  // Behind the list, in the order of numbers: the camera takes keys of members alone.
  for (const one of camera.adding) {
    const isHere = camera.outgoing.some(
      (item) => item.what === "supply" && item.action.length === one.supply.length + 4,
    );
    if (removed(one.phone) || isHere || hasKeys(journal, one)) continue;
    addOutgoing(camera, { kind: "supply", replaces: 0, supply: one.supply }, nowMs);
    vault.touch();
  }
}

/** Whether the log says that the camera has keys of that phone. */
function hasKeys(journal: Journal, { supply }: CameraKeys["adding"][number]): boolean {
  const { phone, batch } = decodeSupply(supply);
  return statements(journal, "supply-acknowledged").some(
    ({ statement }) => equal(statement.phone, phone) && statement.batch >= batch,
  );
}

/** Lets members and live links in, and shuts the doors of those who are or shall be out. */
async function tendDoors(options: All): Promise<readonly Fault[]> {
  const { vault, camera, journal, nowMs } = options;
  const { root } = camera;
  if (!root) return [];
  const { head } = journal.members;
  const removed = (one: Uint8Array) => camera.removing.some((other) => equal(other, one));
  const members = [...head.members, ...camera.adding].filter(({ phone }) => !removed(phone));
  const guests = guestsOf(vault.content, camera, nowMs);
  const faults = await keepDoors(options, {
    let: [
      ...members.flatMap(({ phone, role }) => memberDoor(root, phone, role) ?? []),
      ...guests.map(guestDoor),
    ],
    shut: [
      ...camera.removing.map((phone) => doorKeyOf(root, phone)),
      ...camera.shutting.filter((key) => !guests.some((guest) => equal(guest, key))),
    ],
  });
  if (camera.shutting.length > 0) {
    camera.shutting = [];
    vault.touch();
  }
  return faults;
}

/** The doors of links that are good yet and lead into this camera's mailbox. */
function guestsOf(content: VaultContent, camera: CameraKeys, nowMs: number): Uint8Array[] {
  return content.links
    .filter(({ meeting, untilMs }) => equal(meeting, camera.id) && untilMs > nowMs)
    .map(({ door }) => door);
}
