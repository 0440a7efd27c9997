import { equal } from "../base/pure/bytes.ts";
import { isFailure } from "../base/pure/failure.ts";
import type { Pipe } from "../protocol/sealed/frames.ts";
import type { Invite } from "../protocol/sealed/invite.ts";
import { checkWord, decodeAdoption, verifyIdentity } from "../protocol/sealed/pairing.ts";
import { pairSession } from "../protocol/sealed/session.ts";
import { digest } from "../protocol/wire/signature.ts";
import { type AdoptOptions, adoptCamera } from "./adopt.ts";
import type { CameraKeys, Vault } from "./vault.ts";

export type PairOptions = Omit<AdoptOptions, "identity" | "unconfirmed"> & {
  /** The connection to the camera; whoever opened it closes it. */
  readonly pipe: Pipe;
  readonly invite: Invite;
  /** Called as the adoption is sent. */
  onSent?(bytes: number, of: number): void;
};

export type Paired = {
  readonly camera: CameraKeys;
  /** What the camera shows now. */
  readonly word: string;
  /** What the camera showed beside the link. */
  readonly identityWord: string;
  /** True when an adoption was sent again that a camera had not acknowledged. */
  readonly isRepeat: boolean;
  /** Where the adoption says that the mailbox is. */
  readonly relays: readonly string[];
};

/**
 * Makes this phone the owner of the camera that shows the invitation. What was made for it is
 * durable in the vault before a byte of it leaves, and stays there until the camera acknowledged it:
 * after any interruption the same call sends the very same bytes again.
 *
 * Throws as `pairSession`; of a camera that belongs to somebody else nothing is kept.
 */
export async function pairCamera(vault: Vault, options: PairOptions): Promise<Paired> {
  const { pipe, invite, suite, onSent } = options;
  let made: { camera: CameraKeys; adoption: Uint8Array; isRepeat: boolean } | undefined;
  try {
    const { hash } = await pairSession(pipe, {
      ...{ invite, suite },
      ...(onSent ? { onProgress: onSent } : {}),
      adopt: async (identity) => {
        made = await adoptOnce(vault, identity, options);
        return { adoption: made.adoption, hash: digest(suite, made.adoption) };
      },
      onKept: async () => {
        if (made) delete made.camera.unconfirmed;
        await vault.save();
      },
    });
    const { camera, adoption, isRepeat } = made as NonNullable<typeof made>;
    return {
      ...{ camera, isRepeat, relays: decodeAdoption(adoption).relays },
      word: checkWord(hash, digest(suite, adoption)),
      identityWord: checkWord(hash),
    };
  } catch (error) {
    if (made && isFailure(error, "refused") && error.stage === "owned") {
      await forget(vault, made.camera);
    }
    throw error;
  }
}

async function adoptOnce(vault: Vault, identity: Uint8Array, options: PairOptions) {
  const known = vault.camera(verifyIdentity(identity, options.suite).camera);
  if (known?.unconfirmed && equal(known.identity, identity)) {
    return { camera: known, adoption: known.unconfirmed, isRepeat: true };
  }
  const { camera, adoption } = await adoptCamera(vault, {
    ...options,
    ...{ identity, unconfirmed: true },
  });
  return { camera, adoption, isRepeat: false };
}

/** A camera that no owner of this vault ever had. */
async function forget(vault: Vault, camera: CameraKeys): Promise<void> {
  const { cameras } = vault.content;
  const at = cameras.indexOf(camera);
  if (at < 0 || camera.batch !== 1 || !camera.unconfirmed) return;
  cameras.splice(at, 1);
  await vault.save();
}
