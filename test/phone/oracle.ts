import { toHex } from "../../src/base/pure/bytes.ts";
import { canStillOpen, finalityOf } from "../../src/phone/deletions.ts";
import type { Fault } from "../../src/phone/fault.ts";
import type { Survey } from "../../src/phone/survey.ts";
import { readTold } from "../../src/phone/told.ts";
import type { Role } from "../../src/protocol/sealed/membership.ts";
import { decodeTombstone } from "../../src/protocol/sealed/tombstone.ts";
import type { HouseCamera, Kept, Objects } from "../fakes/camera.ts";
import type { All, Deed, View } from "./deeds.ts";
import type { Resident, Stage } from "./house.ts";

// What is true of a house, whatever anybody is shown; and what has to hold of what phones find.

export type Truth = {
  readonly camera: HouseCamera;
  readonly objects: Objects;
  /** Each entry and part that the camera ever made. */
  readonly made: Map<string, Kept>;
  readonly moments: All[];
  /** Clips, and the phones that each was sealed to. */
  readonly clips: Map<string, readonly string[]>;
  /** The member lists that the camera ordered, by hash. */
  readonly lists: Set<string>;
  /** Every box that ever lay there. */
  readonly boxes: Map<string, Kept>;
  /** Clips that were asked to be deleted, and phones that were asked to be removed, with who asked. */
  readonly deletions: Map<string, string>;
  readonly removals: { whom: string; by: string }[];
  isTouched: boolean;
};

/** What is known of a phone besides its home. */
export type Player = {
  readonly resident: Resident;
  /** Its home was put back and, for this camera, it has not looked since. */
  readonly isStale: boolean[];
  wasPutBack: boolean;
};

export type Play = {
  readonly truths: readonly Truth[];
  readonly players: readonly Player[];
  readonly stage: Stage;
  tick(): number;
  role(player: Player, truth: Truth): Role | undefined;
};

export type Look = {
  readonly play: Play;
  readonly player: Player;
  /** Which camera. */
  readonly i: number;
  readonly deed: Deed;
  readonly depth: "all" | "new";
  readonly view: View;
  /** The newest entry that the phone had seen, that it kept, and the clips whose keys it had. */
  readonly seen: number;
  readonly kept: number;
  readonly before: ReadonlySet<string>;
};

const sequenceOf = (name: string) => (name.startsWith("entry/") ? Number(name.split("/")[2]) : -1);
const newest = (objects: All) => Math.max(-1, ...[...objects.keys()].map(sequenceOf));
const serious = (faults: readonly Fault[]) => faults.find(({ severity }) => severity !== "note");
const isServed = ({ served }: View, [name, { bytes }]: [string, Kept]) => {
  const given = served.get(name)?.bytes;
  return given !== undefined && (given === bytes || Buffer.compare(given, bytes) === 0);
};

/**
 * A home that was put back to before it handed out the keys that the log is sealed to: it can read no
 * more of it, says so, and does not learn what became of anything.
 */
export function isShutOut({ wasPutBack }: Player, { journal }: Survey): boolean {
  return wasPutBack && journal.records.at(-1)?.body === undefined;
}

/** Of each look, whatever the keeper of the mailbox did. */
export function checkLook(
  { play, player, i, deed, depth, view, seen, kept, before }: Look,
  found: Survey,
  more: readonly Fault[],
): void {
  const truth = play.truths[i] as Truth;
  const { resident } = player;
  const camera = resident.camera(i);
  const head = camera.head?.sequence ?? -1;
  if (head < seen) throw new Error(`the head went back from ${seen} to ${head}`);
  const { hash, version } = found.journal.members.head;
  if (!truth.lists.has(toHex(hash))) throw new Error(`member list ${version} was never in force`);
  for (const { id, state } of found.clips) {
    if (state !== "whole") continue;
    const clip = toHex(id);
    const parts = [...truth.made].filter(
      ([name]) => name.startsWith("part/") && name.includes(clip),
    );
    if (parts.length === 0) throw new Error(`${clip}: a clip that never was`);
    const isThere = parts.every((part) => isServed(view, part));
    const isKnown = depth === "new" && before.has(clip);
    if (!isThere && !isKnown) throw new Error(`${clip} is called whole, and is not there`);
  }
  for (const { clip } of camera.clips) {
    const recipients = truth.clips.get(toHex(clip));
    if (!recipients?.includes(toHex(resident.key)))
      throw new Error(`${toHex(clip)}: opened by ${resident.name}, and was not sealed to it`);
  }
  // What is missing of the log up to the newest entry that was served, or seen, is named; what was
  // read before and kept is not asked for again.
  const last = Math.max(newest(view.served), seen);
  const from = depth === "new" ? Math.max(seen, kept) : -1;
  const needed = [...truth.made].filter(([name]) => {
    const sequence = sequenceOf(name);
    return sequence > from && sequence <= last;
  });
  const isHoled = !needed.every((entry) => isServed(view, entry));
  if (isHoled && found.well) throw new Error("the log has a hole, and all is well");
  const isRolledBack = depth === "all" && newest(view.served) < seen;
  if (isRolledBack && found.well)
    throw new Error("the log ends before what was seen, and all is well");
  // Of an end of the log that neither listing nor beacon shows nobody knows what it names.
  const shown = Math.max(newest(view.listed), found.journal.beacon?.head.sequence ?? -1);
  if (!isHoled && deed.deed === "unlisted" && shown >= newest(view.served)) {
    const lie = found.faults.find(({ severity }) => severity === "lie");
    if (lie) throw new Error(`a lie where none is: ${lie.text}`);
  }
  const isTrue = ["honest", "deaf", "forgetful", "broken off"].includes(deed.deed);
  // Who is no member cannot read why something is gone.
  const isMember = play.role(player, truth) !== undefined && !isShutOut(player, found);
  const all = [...found.faults, ...more].filter(({ severity }) => isMember || severity === "lie");
  const bad = isTrue ? serious(all) : undefined;
  if (bad) throw new Error(`${bad.severity} ${bad.kind} where there is none: ${bad.text}`);
  checkFinal(play, i, found);
}

/** Final is said only when no phone that it was sealed to can open it, and none of paper. */
function checkFinal({ players, truths, stage }: Play, i: number, found: Survey): void {
  const told = readTold(found.journal);
  const truth = truths[i] as Truth;
  for (const [id, deletion] of found.deletions) {
    if (!finalityOf(deletion, told.get(id), found.journal).final) continue;
    const recipients = truth.clips.get(id) ?? [];
    const phones = players.filter(({ resident }) => recipients.includes(toHex(resident.key)));
    if (phones.length < recipients.length && stage.paper)
      throw new Error(`${id}: final, and sealed to a kit`);
    for (const { resident, isStale } of phones) {
      // A copy of before remembers when it looks next.
      if (isStale[i]) continue;
      const keyIds = told.get(id)?.started?.keyIds ?? [];
      if (canStillOpen(resident.camera(i), deletion.clip, keyIds))
        throw new Error(`${id}: final, and ${resident.name} can open it yet`);
    }
  }
}

/** When everybody was honest for long enough. */
export function checkEnd(play: Play, player: Player, i: number, found: Survey): void {
  const truth = play.truths[i] as Truth;
  const { camera, clips, deletions, removals } = truth;
  const { resident, wasPutBack } = player;
  const own = toHex(resident.key);
  const role = isShutOut(player, found) ? undefined : play.role(player, truth);
  const whoever = (name: string) => play.players.find((one) => one.resident.name === name);
  const gone = new Set(
    camera.said.flatMap((one) =>
      one.kind === "tombstone-done" ? [toHex(decodeTombstone(one.tombstone).clip)] : [],
    ),
  );
  for (const [id, recipients] of clips) {
    const shown = found.clips.find((one) => toHex(one.id) === id)?.state;
    const isMine = recipients.includes(own);
    const isDeleted = found.deletions.has(id);
    if (gone.has(id) && role && !isDeleted) throw new Error(`${id}: its deletion is not seen`);
    if (isDeleted && shown !== "deleted") throw new Error(`${id}: deleted, and shown as ${shown}`);
    if (shown === "deleted" || gone.has(id)) continue;
    if (!isMine && shown === "whole") throw new Error(`${id}: opened by who was no recipient`);
    // Who was removed cannot read on; a home that was put back lacks keys, and says so.
    const isExcused = role === undefined || (wasPutBack && shown === "not for this phone");
    if (isMine && shown !== "whole" && !isExcused) throw new Error(`${id}: ${shown}, not whole`);
  }
  if (!role) return;
  if (
    toHex(found.journal.members.head.hash) !== toHex(camera.members?.head.hash ?? new Uint8Array())
  )
    throw new Error("another member list than the camera's");
  for (const [clip, by] of deletions) {
    const asker = whoever(by);
    const isOwner = asker && play.role(asker, truth) === "owner";
    if (isOwner && !asker.wasPutBack && !found.deletions.has(clip))
      throw new Error(`${clip}: ${by} asked to delete it, and it is there`);
  }
  for (const { whom, by } of removals) {
    const asker = whoever(by);
    const isOwner = asker && play.role(asker, truth) === "owner";
    const members = camera.members?.head.members ?? [];
    const isIn = members.some(({ phone }) => toHex(phone) === whom);
    // Of owners who took themselves out at once the last one stays.
    const staying = members.some(({ phone, role }) => role === "owner" && toHex(phone) !== whom);
    if (isOwner && !asker.wasPutBack && isIn && staying)
      throw new Error(`${by} removed a phone, and it is a member yet`);
  }
  // And final comes, where everybody who has to confirm is here and has nothing left that opens it.
  const told = readTold(found.journal);
  for (const [id, deletion] of found.deletions) {
    const recipients = clips.get(id) ?? [];
    const all = recipients.map((phone) =>
      play.players.find((one) => toHex(one.resident.key) === phone),
    );
    const keyIds = told.get(id)?.started?.keyIds ?? [];
    if (!recipients.includes(own)) continue;
    const isDue = all.every(
      (one) =>
        one &&
        play.role(one, truth) &&
        !one.wasPutBack &&
        !canStillOpen(one.resident.camera(i), deletion.clip, keyIds),
    );
    const { final, missing } = finalityOf(deletion, told.get(id), found.journal);
    const names = missing.map(({ name, why }) => `${name} ${why}`).join();
    if (isDue && !final) throw new Error(`${id}: all have destroyed it, and not final: ${names}`);
  }
}

/** What the camera did: each command once, each list behind the one before, each batch above. */
export function checkSaid({ camera }: Truth): void {
  const done = new Set<string>();
  const batches = new Map<string, number>();
  for (const one of camera.said) {
    if (one.kind === "command-done" && one.refused === undefined) {
      const id = `${toHex(one.phone)} ${one.number}`;
      if (done.has(id)) throw new Error(`command ${id} was carried out twice`);
      done.add(id);
    } else if (one.kind === "supply-acknowledged") {
      const phone = toHex(one.phone);
      if (one.batch <= (batches.get(phone) ?? 0)) throw new Error("an old supply was taken");
      batches.set(phone, one.batch);
    }
  }
}
