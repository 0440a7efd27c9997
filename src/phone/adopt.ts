import { equal, toHex } from "../base/pure/bytes.ts";
import { Failure } from "../base/pure/failure.ts";
import { doorSeed } from "../protocol/sealed/join.ts";
import { encodeMembership, found, verifyBase } from "../protocol/sealed/membership.ts";
import {
  checkWord,
  encodeAdoption,
  type Identity,
  verifyIdentity,
} from "../protocol/sealed/pairing.ts";
import { random, sign, signPublicKey } from "../protocol/sealed/sodium.ts";
import { firstSupply } from "../protocol/sealed/supply.ts";
import { encodeDoorList } from "../protocol/wire/door.ts";
import { mailboxOf } from "../protocol/wire/name.ts";
import type { Sign, Suite } from "../protocol/wire/signature.ts";
import { makeBatch, signBatch } from "./keys.ts";
import type { CameraKeys, Vault } from "./vault.ts";

/** The camera may not evict what is younger than this without its owner having seen it. */
const minimumAgeMs = 0;

export type AdoptOptions = {
  readonly identity: Uint8Array;
  /** What the owner calls the camera; its own name unless given. */
  readonly name: string | undefined;
  readonly nowMs: number;
  /** Addresses of the relays that hold the mailbox (pairing.md), the preferred one first. */
  readonly relays?: readonly string[];
  readonly suite: Suite;
  /** The root key of a mailbox that is open already, with a door list of version 1 (pairing by lens). */
  readonly root?: Uint8Array;
  /** Keeps what was made until a camera says that it has it, to be sent again as it is (pair.ts). */
  readonly unconfirmed?: boolean;
  readonly supply?: { readonly oneTime: number; readonly days: number };
  /** Called as keys are made: two thousand of them take a second or more. */
  onProgress?(made: number, of: number): void;
};

export type Adoptee = {
  readonly adoption: Uint8Array;
  /** What the camera shows when it takes the adoption. */
  readonly word: string;
  /** What the camera showed when it wrote its identity. */
  readonly identityWord: string;
  readonly camera: CameraKeys;
  readonly again: boolean;
};

/**
 * Makes this phone the owner of a camera: keys for it, all of them durable in the vault before the
 * adoption is handed out. Adopting the same identity again makes a further batch of keys.
 */
export async function adoptCamera(vault: Vault, options: AdoptOptions): Promise<Adoptee> {
  const { suite } = options;
  const identity = verifyIdentity(options.identity, suite);
  const known = vault.camera(identity.camera);
  if (known && !equal(known.identity, options.identity)) {
    throw new Failure("refused", "this camera was adopted under another identity file", {
      stage: "identity",
      hint: "Use the first camera.json, or erase the camera and adopt it as new",
    });
  }
  const camera = known ?? newCamera(vault, identity, options);
  if (options.relays) camera.relays = [...options.relays];
  const owner: Sign = (message) => sign(vault.content.phone, message);
  const phone = vault.content.phoneKey;
  const { root: rootSecret } = camera;
  if (!rootSecret || !isAdopter(camera, phone, suite)) {
    throw new Failure("refused", "this phone joined the camera, and did not adopt it", {
      stage: "owner",
      hint: "More keys are sent by themselves, with any command that reads the camera's log",
    });
  }
  const batch = makeBatch(
    camera,
    options.supply ?? firstSupply,
    camera.nextDay,
    options.onProgress,
  );
  const supply = signBatch(batch, { vault, camera, suite });
  const root = signPublicKey(rootSecret);
  const doors = [
    { key: identity.request, rights: new Set(["append"] as const) },
    { key: signPublicKey(camera.request), rights: new Set(["read", "box", "delete"] as const) },
  ].sort((a, b) => (toHex(a.key) < toHex(b.key) ? -1 : 1));
  const isOpen = options.root !== undefined && equal(options.root, rootSecret);
  const list = { root, version: isOpen ? 2 : 1, minimumAgeMs, doors };
  const byRoot = { sign: (message: Uint8Array) => sign(rootSecret, message), suite };
  camera.door ??= encodeDoorList(list, byRoot).bytes;
  const { bytes: adoption, hash } = encodeAdoption(
    {
      ...{ camera: camera.id, identity: identity.hash, owner: phone },
      ...{ membership: camera.membership, supply, mailbox: mailboxOf(root, suite) },
      doors: camera.door,
      relays: camera.relays,
    },
    { sign: owner, suite },
  );
  if (options.unconfirmed) camera.unconfirmed = adoption;
  else delete camera.unconfirmed;
  await vault.save();
  return {
    ...{ adoption, camera, again: known !== undefined },
    word: checkWord(identity.hash, hash),
    identityWord: checkWord(identity.hash),
  };
}

/** Whether the camera's first member list is this phone's own. */
function isAdopter({ id, membership }: CameraKeys, phone: Uint8Array, suite: Suite): boolean {
  const { version, signer } = verifyBase(membership, id, suite);
  return version === 1 && equal(signer, phone);
}

function newCamera(vault: Vault, identity: Identity, options: AdoptOptions): CameraKeys {
  const { phoneKey, phone, name } = vault.content;
  const signer = { sign: (message: Uint8Array) => sign(phone, message), suite: options.suite };
  const root = options.root ?? random(32);
  const camera: CameraKeys = {
    ...{ id: identity.camera, name: options.name ?? identity.name, identity: options.identity },
    ...{ adoptedMs: options.nowMs, incarnation: identity.incarnation },
    ...{ root, request: doorSeed(root, phoneKey) },
    membership: encodeMembership(found(identity.camera, phoneKey, name), signer).bytes,
    ...{
      batch: 0,
      nextIndex: 0,
      nextDay: 0,
      oneTime: [],
      days: [],
      restarts: [],
      epochs: [],
      clips: [],
    },
    ...{ deleted: [], commandNumber: 0, relays: [], outgoing: [] },
    ...{ adding: [], removing: [], shutting: [] },
  };
  vault.content.cameras.push(camera);
  return camera;
}
