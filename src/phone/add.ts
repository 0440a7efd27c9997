import { equal, toHex } from "../base/pure/bytes.ts";
import { Failure, isFailure } from "../base/pure/failure.ts";
import { openBox } from "../protocol/sealed/box.ts";
import {
  type Answer,
  circleOf,
  decodeOffer,
  doorSeed,
  encodeGrant,
  encodeOffer,
  type GrantedCamera,
  joinKeys,
  longestOfferMs,
  type Offer,
  sealFor,
  verifyAnswer,
  verifyOffer,
} from "../protocol/sealed/join.ts";
import { printLink } from "../protocol/sealed/link.ts";
import { type Role, roleOf } from "../protocol/sealed/membership.ts";
import { checkWord, verifyIdentity } from "../protocol/sealed/pairing.ts";
import { random, sign, signPublicKey } from "../protocol/sealed/sodium.ts";
import { verifySupply } from "../protocol/sealed/supply.ts";
import { noHash, type Suite } from "../protocol/wire/signature.ts";
import { mailboxIdOf, rootOf } from "./doors.ts";
import { type Journal, statements } from "./journal.ts";
import type { Link } from "./link.ts";
import type { CameraKeys, Vault, VaultContent } from "./vault.ts";

// The owner's side of letting a phone join (join.md): show a link, take an answer, grant.

/** A camera with its log, as it was read just now. */
export type Looked = { readonly camera: CameraKeys; readonly journal: Journal };

export type AddOptions = {
  readonly vault: Vault;
  /** Where the phones meet: the link of the first camera. */
  readonly link: Link;
  readonly suite: Suite;
  readonly nowMs: number;
};

/** A link that was shown. */
export type Shown = VaultContent["links"][number];

/**
 * Makes a link to one of `looked`'s mailboxes that is good for one phone and a day; durable here, and
 * its offer lies there, when it resolves. Only an owner may.
 */
export async function showLink(
  looked: readonly Looked[],
  role: Exclude<Role, "kit">,
  options: AddOptions,
): Promise<{ text: string; shown: Shown }> {
  const { vault, suite, nowMs } = options;
  const { phone, phoneKey } = vault.content;
  const [first] = looked;
  if (!first) throw new Failure("misuse", "no camera to add a phone to");
  for (const { camera, journal } of looked) {
    if (!camera.root || roleOf(journal.members.head, phoneKey) !== "owner") {
      throw new Failure("denied", `this phone is no owner of ${camera.name}`, { stage: "role" });
    }
  }
  const mailbox = mailboxIdOf(first.camera, suite);
  const secret = random(32);
  const offer: Offer = {
    ...{ phone: phoneKey, role, untilMs: nowMs + longestOfferMs },
    cameras: looked.map(({ camera }) => ({
      camera: camera.id,
      incarnation: camera.incarnation,
      day: camera.nextDay,
    })),
  };
  const signer = { sign: (message: Uint8Array) => sign(phone, message), suite };
  const shown: Shown = {
    ...{ secret, role, untilMs: offer.untilMs, meeting: first.camera.id },
    door: signPublicKey(joinKeys(secret, mailbox).request),
    offer: encodeOffer(offer, signer).bytes,
  };
  vault.content.links.push(shown);
  await vault.save();
  return { text: await showAgain(shown, first.camera, options), shown };
}

/** The same link once more; its offer lies there when it resolves. */
export async function showAgain(
  shown: Shown,
  camera: CameraKeys,
  { link, suite, nowMs }: AddOptions,
): Promise<string> {
  const mailbox = mailboxIdOf(camera, suite);
  const keys = joinKeys(shown.secret, mailbox);
  const place = { writer: signPublicKey(camera.request), sequence: nowMs };
  await link.put(sealFor(shown.offer, keys.offer.publicKey, place, suite));
  const relays = camera.relays.slice(0, 4);
  return printLink("join", { secret: shown.secret, place: mailbox, relays });
}

export type Answered = {
  readonly answer: Answer & { hash: Uint8Array };
  readonly bytes: Uint8Array;
  /** What the new phone shows too. */
  readonly word: string;
};

/**
 * What came by a link: nothing yet, or the one answer that fits the offer. Throws Failure "refused",
 * "answers" when two different phones have answered: somebody else has the link.
 */
export async function readAnswer(
  shown: Shown,
  camera: CameraKeys,
  { link, suite, nowMs }: Omit<AddOptions, "vault">,
): Promise<Answered | undefined> {
  const { answer: pair } = joinKeys(shown.secret, mailboxIdOf(camera, suite));
  const offer = verifyOffer(shown.offer, suite);
  const found = new Map<string, Answered>();
  for (const name of await link.list({ under: `box/${toHex(shown.door)}/` })) {
    const sealed = await link.get(name);
    try {
      const bytes = sealed && openBox(sealed, [pair], suite);
      if (!bytes) continue;
      const answer = verifyAnswer(bytes, suite);
      checkAnswer(answer, offer, suite);
      found.set(toHex(answer.phone), { answer, bytes, word: checkWord(offer.hash, answer.hash) });
    } catch (error) {
      if (!isFailure(error, "corrupt", "refused")) throw error;
    }
  }
  if (found.size > 1) {
    throw new Failure("refused", `${found.size} phones have answered this link`, {
      stage: "answers",
      hint: "Somebody else has seen it: take it back with `add-phone --cancel`, and show another",
    });
  }
  if (shown.untilMs <= nowMs) return undefined;
  return [...found.values()][0];
}

/** Stages: "offer", "count", then those of supplies. */
function checkAnswer(answer: Answer, offer: Offer & { hash: Uint8Array }, suite: Suite): void {
  if (!equal(answer.offer, offer.hash)) {
    throw new Failure("refused", "an answer to another offer", { stage: "offer" });
  }
  if (answer.supplies.length !== offer.cameras.length) {
    throw new Failure("refused", "an answer for other cameras", { stage: "count" });
  }
  for (const [i, { camera, incarnation }] of offer.cameras.entries()) {
    const { phone, supplies } = answer;
    verifySupply(supplies[i] ?? new Uint8Array(), { phone, camera, incarnation }, suite);
  }
}

/**
 * A person said that the words are the same. From here on it is durable, and `tend` brings it about
 * camera by camera; `grant` hands the new phone what it needs.
 */
export async function acceptAnswer(shown: Shown, answered: Answered, vault: Vault): Promise<void> {
  const { phone, name, supplies } = answered.answer;
  const offer = decodeOffer(shown.offer);
  for (const [i, { camera: id }] of offer.cameras.entries()) {
    const camera = vault.camera(id);
    const supply = supplies[i];
    if (!camera || !supply || camera.adding.some((one) => equal(one.phone, phone))) continue;
    camera.adding.push({ phone, role: shown.role, name, supply });
  }
  shown.answer = answered.bytes;
  await vault.save();
}

/**
 * Puts the grant for an accepted answer into this phone's box, when every camera's log shows the new
 * member: that list is where its reading begins. Doing it again does no harm; false when it is too
 * early.
 */
export async function grant(
  shown: Shown,
  looked: readonly Looked[],
  options: AddOptions,
): Promise<boolean> {
  const { vault, link, suite, nowMs } = options;
  if (!shown.answer) throw new Failure("misuse", "nothing was accepted yet");
  const answer = verifyAnswer(shown.answer, suite);
  if (!looked.every(({ journal }) => roleOf(journal.members.head, answer.phone))) return false;
  const meeting = vault.camera(shown.meeting);
  if (!meeting) throw new Failure("gone", "the camera of this link is gone");
  const bytes = makeGrant(shown.role, answer.phone, answer.hash, looked, { vault, suite });
  const place = { writer: signPublicKey(meeting.request), sequence: nowMs };
  await link.put(sealFor(bytes, answer.grantKey, place, suite));
  return true;
}

type MakeGrant = {
  vault: Vault;
  suite: Suite;
  /** As they stood in a grant before. */
  others?: readonly GrantedCamera[];
};

/** What a new phone, or a kit, needs to know of these cameras. */
export function makeGrant(
  role: Role,
  phone: Uint8Array,
  answer: Uint8Array | undefined,
  looked: readonly Looked[],
  { vault, suite, others = [] }: MakeGrant,
): Uint8Array {
  const made = looked.map(({ camera, journal }): GrantedCamera => {
    const { root } = camera;
    if (!root) throw new Failure("denied", "only an owner grants", { stage: "role" });
    const announced = statements(journal, "receiving-key").at(-1)?.statement.publicKey;
    return {
      ...{ identity: camera.identity, name: camera.name, adoptedMs: camera.adoptedMs },
      ...{ list: listOf(journal, camera), root: rootOf(camera) },
      ...{ rootSecret: role === "viewer" ? undefined : root, request: doorSeed(root, phone) },
      ...{ circle: circleOf(root), relays: camera.relays },
      ...(journal.base ? { checkpoint: journal.base.bytes } : {}),
      incarnation: camera.incarnation,
      receiving: announced ?? verifyIdentity(camera.identity, suite).receiving,
    };
  });
  const signer = {
    sign: (message: Uint8Array) => sign(vault.content.phone, message),
    suite,
  };
  const cameras = [...made, ...others];
  const about = { phone: vault.content.phoneKey, answer: answer ?? noHash, role, cameras };
  return encodeGrant(about, signer).bytes;
}

/** The member list in force, as bytes: from the log, else as this phone has it from its own start. */
function listOf(journal: Journal, camera: CameraKeys): Uint8Array {
  return (
    statements(journal, "membership")
      .map(({ statement }) => statement.list)
      .findLast((list) => equal(journal.members.hashOf(list), journal.members.head.hash)) ??
    camera.membership
  );
}

/** Takes a link back: what it was good for is over, and its door is shut with the next look. */
export async function takeBack(shown: Shown, vault: Vault): Promise<void> {
  vault.camera(shown.meeting)?.shutting.push(shown.door);
  vault.content.links = vault.content.links.filter((one) => one !== shown);
  await vault.save();
}

/** Whether the new phone is at work with every camera, so that the link has done its own. */
export function isJoined(shown: Shown, looked: readonly Looked[], suite: Suite): boolean {
  if (!shown.answer) return false;
  const { phone } = verifyAnswer(shown.answer, suite);
  return looked.every(({ journal }) => {
    if (!roleOf(journal.members.head, phone)) return false;
    const done = statements(journal, "command-done");
    return done.some(({ statement }) => equal(statement.phone, phone));
  });
}
