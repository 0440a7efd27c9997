import { equal, toHex } from "../base/pure/bytes.ts";
import { Failure, isFailure } from "../base/pure/failure.ts";
import { roleOf } from "../protocol/sealed/membership.ts";

import { sign } from "../protocol/sealed/sodium.ts";
import { decodeTombstone, encodeTombstone } from "../protocol/sealed/tombstone.ts";
import type { PartName } from "../protocol/wire/name.ts";
import { digest, type Suite } from "../protocol/wire/signature.ts";
import { openStart } from "./clips.ts";
import { type Confirmable, canStillOpen, confirm, forgetClip } from "./deletions.ts";
import type { Link } from "./link.ts";
import { actionOf, addOutgoing, sendOutgoing } from "./outgoing.ts";
import { settle } from "./settle.ts";
import type { Clip, Survey } from "./survey.ts";
import { readTold } from "./told.ts";
import type { CameraKeys, Vault } from "./vault.ts";

export type DeleteOptions = {
  readonly link: Link;
  readonly vault: Vault;
  readonly camera: CameraKeys;
  readonly survey: Survey;
  readonly suite: Suite;
  readonly nowMs: number;
};

/**
 * Deletes clips: a signed tombstone for the camera, then the keys here, under a new wrapping key, then
 * this phone's confirmation. The tombstone is durable before any key goes, and is sent until the log
 * shows it. Final when every recipient has confirmed (tombstone.md).
 * Returns the clips that a key which is still here, of a day, a restart or one that was never used,
 * may open yet: they are confirmed later, when that key goes. A viewer may not: Failure "denied".
 */
export async function deleteClips(
  clips: readonly Clip[],
  options: DeleteOptions,
): Promise<readonly Clip[]> {
  const { vault, camera, survey, suite, nowMs } = options;
  const { journal } = survey;
  const told = readTold(journal);
  const { phone, phoneKey } = vault.content;
  if (roleOf(journal.members.head, phoneKey) !== "owner") {
    throw new Failure("denied", "only an owner may delete", { stage: "role" });
  }
  const signer = { sign: (message: Uint8Array) => sign(phone, message), suite };
  const asked = askedFor(camera, suite);
  for (const { id, confirmed } of clips) {
    const keyIds = told.get(toHex(id))?.started?.keyIds ?? [];
    if (confirmed || asked.some(({ clip }) => equal(clip, id))) continue;
    const { bytes: tombstone, hash } = encodeTombstone(
      { camera: camera.id, clip: id, phone: phoneKey, atMs: nowMs, keyIds },
      signer,
    );
    addOutgoing(camera, { kind: "tombstone", replaces: 0, tombstone }, nowMs);
    asked.push({ clip: id, tombstone: hash });
  }
  // What is destroyed below must be asked of the others too, whatever happens in between.
  await vault.save();
  const oneTime = await Promise.all(clips.map(({ id, parts }) => oneTimeOf(id, parts, options)));
  for (const [i, { id }] of clips.entries()) {
    const keyIds = new Set(oneTime[i]?.map(toHex));
    const isOpened = keyIds.size > 0 || camera.clips.some(({ clip }) => equal(clip, id));
    forgetClip(camera, id, (keyId) => keyIds.has(keyId));
    if (!camera.deleted.some(({ clip }) => equal(clip, id))) {
      const unopened = isOpened ? {} : { unopened: true };
      camera.deleted.push({ clip: id, atMs: nowMs, number: camera.commandNumber, ...unopened });
    }
  }
  const there = survey.clips.filter(({ parts }) => parts.length > 0).map(({ id }) => toHex(id));
  settle(journal, told, new Set(there), camera, phoneKey);
  await vault.save();
  // Of a clip that the log does not name nobody knows what opens it.
  const openable = clips.filter(({ id }) => {
    const keyIds = told.get(toHex(id))?.started?.keyIds;
    return !keyIds || canStillOpen(camera, id, keyIds);
  });
  const shut = asked.filter(
    ({ clip }) =>
      clips.some(({ id }) => equal(id, clip)) && !openable.some(({ id }) => equal(id, clip)),
  );
  confirm(shut, { ...options, told });
  await sendOutgoing({ ...options, journal });
  return openable;
}

/** The tombstones that are on the list already: each is sent until the log shows it. */
function askedFor(camera: CameraKeys, suite: Suite): Confirmable[] {
  return camera.outgoing.flatMap((item) => {
    const action = item.what === "tombstone" ? actionOf(item) : undefined;
    if (action?.kind !== "tombstone") return [];
    const { clip } = decodeTombstone(action.tombstone);
    return [{ clip, tombstone: digest(suite, action.tombstone) }];
  });
}

/** The one-time secrets that open this clip, by the clip itself: the log may name others'. */
async function oneTimeOf(
  id: Uint8Array,
  parts: readonly PartName[],
  { link, camera, suite }: DeleteOptions,
): Promise<Uint8Array[]> {
  const found: Uint8Array[] = [];
  const kept = camera.clips.find(({ clip }) => equal(clip, id));
  if (kept?.oneTime) found.push(kept.oneTime);
  if (kept) return found;
  for (const first of parts.filter(({ number }) => number === 0)) {
    const opened = await openStart(link, first, camera, suite).catch((error) => {
      if (isFailure(error, "corrupt", "refused", "absent")) return null;
      throw error;
    });
    if (opened && equal(opened.clip, id) && typeof opened.from === "object") {
      found.push(opened.from.oneTime);
    }
  }
  return found;
}
