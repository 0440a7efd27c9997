import { equal } from "../base/pure/bytes.ts";
import { isFailure } from "../base/pure/failure.ts";
import type { Pipe } from "../protocol/sealed/frames.ts";
import type { Invite } from "../protocol/sealed/invite.ts";
import type { NetworkAnswer, NetworkRequest } from "../protocol/sealed/network.ts";
import { checkWord, decodeAdoption, verifyIdentity } from "../protocol/sealed/pairing.ts";
import { pairSession } from "../protocol/sealed/session.ts";
import type { Pair } from "../protocol/sealed/sodium.ts";
import { digest } from "../protocol/wire/signature.ts";
import { type AdoptOptions, adoptCamera } from "./adopt.ts";
import type { CameraKeys, Vault } from "./vault.ts";

export type PairOptions = Omit<AdoptOptions, "identity" | "unconfirmed"> & {
  /** The connection to the camera; whoever opened it closes it. */
  readonly pipe: Pipe;
  readonly invite: Invite;
  /** As `PhoneEnd.own`. */
  readonly own?: Pair;
  /** The network that the camera is to join, where it is to. */
  readonly network?: NetworkRequest;
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
  /** How joining the network ended. If the camera is "leaving", it is to be asked again (network.md). */
  readonly network?: NetworkAnswer;
};

/**
 * Makes this phone the owner of the camera that shows the invitation. What was made for it is
 * durable in the vault before a byte of it leaves, and stays there until the camera acknowledged it:
 * after any interruption the same call sends the very same bytes again.
 *
 * Throws as `pairSession`; of a camera that belongs to somebody else nothing is kept.
 */
export async function pairCamera(vault: Vault, options: PairOptions): Promise<Paired> {
  const { pipe, invite, own, suite, network, onSent } = options;
  let made: { camera: CameraKeys; adoption: Uint8Array; isRepeat: boolean } | undefined;
  try {
    const { hash, network: answer } = await pairSession(pipe, {
      ...{ invite, suite },
      ...(own ? { own } : {}),
      ...(network ? { network } : {}),
      ...(onSent ? { onProgress: onSent } : {}),
      adopt: async (identity) => {
        made = await adoptOnce(vault, identity, options);
        return { adoption: made.adoption, hash: digest(suite, made.adoption) };
      },
      onKept: async () => {
        if (made) await noteKept(vault, made.camera);
      },
    });
    const { camera, adoption, isRepeat } = made as NonNullable<typeof made>;
    return {
      ...{ camera, isRepeat, relays: decodeAdoption(adoption).relays },
      ...(answer ? { network: answer } : {}),
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

/** The camera has what was made for it: it is not sent again. Durable when it resolves. */
export async function noteKept(vault: Vault, camera: CameraKeys): Promise<void> {
  delete camera.unconfirmed;
  await vault.save();
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
