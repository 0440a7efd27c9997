import { equal, toHex } from "../base/pure/bytes.ts";
import { Failure, isFailure } from "../base/pure/failure.ts";
import { openBox } from "../protocol/sealed/box.ts";
import { verifyCheckpoint } from "../protocol/sealed/checkpoint.ts";
import {
  encodeAnswer,
  type Grant,
  joinKeys,
  longestOfferMs,
  type Offer,
  sealFor,
  starterSupply,
  verifyGrant,
  verifyOffer,
} from "../protocol/sealed/join.ts";
import type { SecretLink } from "../protocol/sealed/link.ts";
import { roleOf, verifyBase } from "../protocol/sealed/membership.ts";
import { checkWord, verifyIdentity } from "../protocol/sealed/pairing.ts";
import { kemPair, kemPublicKey, sign, signPublicKey } from "../protocol/sealed/sodium.ts";
import { digest, type Suite } from "../protocol/wire/signature.ts";
import { makeBatch, signBatch } from "./keys.ts";
import { type Link, pages } from "./link.ts";
import type { CameraKeys, Vault, VaultContent } from "./vault.ts";

// The new phone's side of joining (join.md): read a link, answer, take the grant.

export type JoinOptions = {
  readonly vault: Vault;
  /** To the mailbox of the link, by the link's own door. */
  readonly link: Link;
  readonly suite: Suite;
  readonly nowMs: number;
};

type Joining = NonNullable<VaultContent["joining"]>;

/**
 * Answers the offer behind a link: keys for each camera, durable in the vault before the answer is
 * put there. Again with the same link it puts the same answer. Returns the check word that the
 * owner's phone has to show too. Failure "absent" when there is no offer, "refused" when it is over.
 */
export async function answerLink(
  { secret, place, relays }: SecretLink,
  options: JoinOptions,
): Promise<{ word: string; cameras: number; role: Offer["role"] }> {
  const { vault, link, suite, nowMs } = options;
  const keys = joinKeys(secret, place);
  const known = vault.content.joining;
  const isAgain = known !== undefined && equal(known.secret, secret);
  const { offer, bytes } = isAgain
    ? { offer: verifyOffer(known.offer, suite), bytes: known.offer }
    : await findOffer(link, [keys.offer], suite);
  // The owner's clock may be ahead; a day more than the longest is a clock that is wrong.
  if (offer.untilMs <= nowMs || offer.untilMs > nowMs + 2 * longestOfferMs) {
    throw new Failure("refused", "this link is over, or a clock is wrong", {
      stage: "time",
      hint: "Have the owner's phone show another; both clocks must be right",
    });
  }
  const joining = isAgain ? known : startJoining({ secret, place, relays }, bytes, options);
  vault.content.joining = joining;
  await vault.save();
  const writer = signPublicKey(keys.request);
  // One name for one answer: given again it is the same object's place.
  const placeOf = { writer, sequence: nowMs };
  await link.put(sealFor(joining.answer, keys.answer.publicKey, placeOf, suite));
  const word = checkWord(offer.hash, digest(suite, joining.answer));
  return { word, cameras: offer.cameras.length, role: offer.role };
}

async function findOffer(link: Link, pairs: Parameters<typeof openBox>[1], suite: Suite) {
  for await (const page of pages(link, { under: "box/" })) {
    for (const name of page) {
      const sealed = name.kind === "box" ? await link.get(name) : undefined;
      try {
        const bytes = sealed && openBox(sealed, pairs, suite);
        if (bytes) return { offer: verifyOffer(bytes, suite), bytes };
      } catch (error) {
        if (!isFailure(error, "corrupt", "refused")) throw error;
      }
    }
  }
  throw new Failure("absent", "nothing waits behind this link", {
    hint: "It was taken back, is used up, or the owner's phone has not reached the relay yet",
  });
}

function startJoining(
  { secret, place: mailbox, relays }: SecretLink,
  offerBytes: Uint8Array,
  { vault, suite }: JoinOptions,
): Joining {
  const { phone, phoneKey, name } = vault.content;
  const offer = verifyOffer(offerBytes, suite);
  const grant = kemPair();
  const cameras: Joining["cameras"] = [];
  const supplies: Uint8Array[] = [];
  for (const { camera: id, incarnation, day } of offer.cameras) {
    if (vault.camera(id)) {
      throw new Failure("refused", "this phone has one of these cameras already", {
        stage: "camera",
      });
    }
    const empty = { batch: 0, nextIndex: 0, nextDay: day, oneTime: [], days: [], restarts: [] };
    const keys: Joining["cameras"][number] = { id, incarnation, ...empty };
    const batch = makeBatch(keys, starterSupply, day);
    supplies.push(signBatch(batch, { vault, camera: { id, incarnation }, suite }));
    cameras.push(keys);
  }
  const signer = { sign: (message: Uint8Array) => sign(phone, message), suite };
  const about = { phone: phoneKey, offer: offer.hash, grantKey: grant.publicKey, name, supplies };
  const answer = encodeAnswer(about, signer).bytes;
  return {
    ...{ secret, mailbox, relays: [...relays], offer: offerBytes, answer },
    ...{ grant: grant.secret, cameras },
  };
}

/** Looks for the grant and takes it: the cameras that are this phone's from now on, or nothing yet. */
export async function takeGrant(options: JoinOptions): Promise<readonly CameraKeys[] | undefined> {
  const { vault, link, suite } = options;
  const { joining } = vault.content;
  if (!joining) throw new Failure("misuse", "this phone is not joining");
  const pair = { secret: joining.grant, publicKey: kemPublicKey(joining.grant) };
  const offer = verifyOffer(joining.offer, suite);
  const answer = digest(suite, joining.answer);
  for await (const page of pages(link, { under: "box/" })) {
    for (const name of page) {
      const sealed = name.kind === "box" ? await link.get(name) : undefined;
      try {
        const bytes = sealed && openBox(sealed, [pair], suite);
        if (!bytes) continue;
        const grant = verifyGrant(bytes, suite);
        const isOurs =
          equal(grant.phone, offer.phone) &&
          equal(grant.answer, answer) &&
          grant.role === offer.role &&
          grant.cameras.length === offer.cameras.length;
        if (!isOurs) continue;
        return await keepGrant(grant, joining, offer, options);
      } catch (error) {
        if (!isFailure(error, "corrupt", "refused")) throw error;
      }
    }
  }
  return undefined;
}

async function keepGrant(
  grant: Grant,
  joining: Joining,
  offer: Offer,
  { vault, suite }: JoinOptions,
): Promise<readonly CameraKeys[]> {
  const made = grant.cameras.map((granted, i) => {
    const drafted = joining.cameras[i];
    if (!drafted) throw missing();
    // Without the size of the first batch, which is small: more keys go with the first look.
    const { id, lastBatch: _, ...keys } = drafted;
    const camera = cameraOf(granted, offer.phone, suite);
    if (!equal(camera.id, id)) throw missing();
    return { ...camera, ...keys };
  });
  vault.content.cameras.push(...made);
  delete vault.content.joining;
  await vault.save();
  return made;
}

function missing(): Failure {
  return new Failure("refused", "a grant for other cameras", { stage: "camera" });
}

/** A camera as an owner grants it; whoever granted must be able to. */
export function cameraOf(
  granted: Grant["cameras"][number],
  owner: Uint8Array,
  suite: Suite,
): CameraKeys {
  const identity = verifyIdentity(granted.identity, suite);
  const list = verifyBase(granted.list, identity.camera, suite);
  if (roleOf(list, owner) !== "owner") {
    throw new Failure("refused", "a grant by somebody who is no owner", { stage: "owner" });
  }
  const { rootSecret } = granted;
  if (rootSecret && !equal(signPublicKey(rootSecret), granted.root)) {
    throw new Failure("corrupt", "a grant with another root key", { stage: "root" });
  }
  const { checkpoint } = granted;
  if (checkpoint) verifyCheckpoint(checkpoint, identity.camera, suite);
  return {
    ...{ id: identity.camera, name: granted.name, identity: granted.identity },
    ...(checkpoint ? { base: { checkpoint } } : {}),
    ...{ adoptedMs: granted.adoptedMs, incarnation: granted.incarnation, rootKey: granted.root },
    ...(rootSecret ? { root: rootSecret } : {}),
    ...{ request: granted.request, circle: granted.circle, membership: granted.list },
    ...{ receiving: granted.receiving, relays: [...granted.relays] },
    ...{ batch: 0, nextIndex: 0, nextDay: 0, oneTime: [], days: [], restarts: [] },
    ...{ epochs: [], clips: [], deleted: [], commandNumber: 0, outgoing: [] },
    ...{ adding: [], removing: [], shutting: [] },
  };
}

/** Names the camera that a joining phone was told of, for people. */
export function joiningOf(vault: Vault): string | undefined {
  const { joining } = vault.content;
  return (
    joining && `${joining.cameras.length} cameras, mailbox ${toHex(joining.mailbox).slice(0, 12)}`
  );
}
