import { equal, toHex } from "../base/pure/bytes.ts";
import { isFailure } from "../base/pure/failure.ts";
import { sealCommand } from "../protocol/sealed/command.ts";
import { verifyIdentity } from "../protocol/sealed/pairing.ts";
import { sign, signPublicKey, wipe } from "../protocol/sealed/sodium.ts";
import { keyIdOf } from "../protocol/sealed/stanza.ts";
import { encodeTombstone } from "../protocol/sealed/tombstone.ts";
import type { PartName } from "../protocol/wire/name.ts";
import type { Suite } from "../protocol/wire/signature.ts";
import { openStart } from "./clips.ts";
import { statements } from "./journal.ts";
import type { Link } from "./link.ts";
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
 * Deletes clips: a signed tombstone for the camera first, then the keys here, under a new wrapping
 * key. Deleting again sends the tombstone again. Final when every recipient has confirmed it.
 * Returns the clips that a key which is still here, of a day, a restart or one that was never used,
 * may open yet.
 */
export async function deleteClips(
  clips: readonly Clip[],
  options: DeleteOptions,
): Promise<readonly Clip[]> {
  const { link, vault, camera, survey, suite, nowMs } = options;
  const told = readTold(survey.journal);
  const { phone, phoneKey } = vault.content;
  const announced = statements(survey.journal, "receiving-key").at(-1)?.statement.publicKey;
  const receiving = announced ?? verifyIdentity(camera.identity, suite).receiving;
  const signer = { sign: (message: Uint8Array) => sign(phone, message), suite };
  for (const { id, confirmed, parts } of clips) {
    const keyIds = told.get(toHex(id))?.started?.keyIds ?? [];
    if (!confirmed) {
      const { bytes: tombstone } = encodeTombstone(
        { camera: camera.id, clip: id, phone: phoneKey, atMs: nowMs, keyIds },
        signer,
      );
      // Of the time, so that a vault put back from a backup goes on above what it had sent.
      camera.commandNumber = Math.max(camera.commandNumber + 1, nowMs);
      const command = sealCommand(
        {
          ...{ camera: camera.id, incarnation: camera.head?.incarnation ?? camera.incarnation },
          ...{ phone: phoneKey, number: camera.commandNumber, head: camera.head },
          action: { kind: "tombstone", replaces: 0, tombstone },
        },
        receiving,
        { ...signer, writer: signPublicKey(camera.request) },
      );
      await link.put(command);
    }
    const secrets = await oneTimeOf(id, parts, options);
    const isOpened = secrets.length > 0 || camera.clips.some(({ clip }) => equal(clip, id));
    forget(camera, id, secrets);
    if (!camera.deleted.some(({ clip }) => equal(clip, id))) {
      const unopened = isOpened ? {} : { unopened: true };
      camera.deleted.push({ clip: id, atMs: nowMs, number: camera.commandNumber, ...unopened });
    }
  }
  const there = survey.clips.filter(({ parts }) => parts.length > 0).map(({ id }) => toHex(id));
  settle(survey.journal, told, new Set(there), camera);
  await vault.save();
  return clips.filter(({ id }) => {
    const keyIds = told.get(toHex(id))?.started?.keyIds;
    const here = [
      ...camera.oneTime.map((one) => one.id),
      ...[...camera.days, ...camera.restarts].map((one) => keyIdOf(one.fingerprint, id)),
    ];
    // Of a clip that the log does not name nobody knows.
    return !keyIds || keyIds.some((keyId) => here.some((one) => equal(one, keyId)));
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

/** The clip's key, and the one-time secrets that open it. */
function forget(camera: CameraKeys, id: Uint8Array, keyIds: readonly Uint8Array[]): void {
  for (const { clip, key } of camera.clips) if (equal(clip, id)) wipe(key);
  camera.clips = camera.clips.filter(({ clip }) => !equal(clip, id));
  const isMeant = (one: { id: Uint8Array }) => keyIds.some((keyId) => equal(keyId, one.id));
  for (const one of camera.oneTime) if (isMeant(one)) wipe(one.secret);
  camera.oneTime = camera.oneTime.filter((one) => !isMeant(one));
}
