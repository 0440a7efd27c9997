import { equal, toHex } from "../base/pure/bytes.ts";
import { Failure } from "../base/pure/failure.ts";
import { encodeMembership, found } from "../protocol/sealed/membership.ts";
import {
  checkWord,
  encodeAdoption,
  type Identity,
  verifyIdentity,
} from "../protocol/sealed/pairing.ts";
import { kemPair, random, sign, signPublicKey } from "../protocol/sealed/sodium.ts";
import { keyFingerprint, keyIdOf } from "../protocol/sealed/stanza.ts";
import { encodeSupply, firstSupply } from "../protocol/sealed/supply.ts";
import { encodeDoorList } from "../protocol/wire/door.ts";
import { mailboxOf } from "../protocol/wire/name.ts";
import type { Sign, Suite } from "../protocol/wire/signature.ts";
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
  const supply = makeKeys(camera, options);
  const encoded = encodeSupply(
    {
      ...{ phone, camera: camera.id, incarnation: camera.incarnation, batch: camera.batch },
      ...supply,
    },
    { sign: owner, suite },
  );
  const root = signPublicKey(camera.root);
  const doors = [
    { key: identity.request, rights: new Set(["append"] as const) },
    { key: signPublicKey(camera.request), rights: new Set(["read", "box", "delete"] as const) },
  ].sort((a, b) => (toHex(a.key) < toHex(b.key) ? -1 : 1));
  const list = { root, version: 1, minimumAgeMs, doors };
  const byRoot = { sign: (message: Uint8Array) => sign(camera.root, message), suite };
  const { bytes: adoption, hash } = encodeAdoption(
    {
      ...{ camera: camera.id, identity: identity.hash, owner: phone },
      ...{ membership: camera.membership, supply: encoded.bytes },
      ...{ mailbox: mailboxOf(root, suite), doors: encodeDoorList(list, byRoot).bytes },
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

function newCamera(vault: Vault, identity: Identity, options: AdoptOptions): CameraKeys {
  const { phoneKey, phone, name } = vault.content;
  const signer = { sign: (message: Uint8Array) => sign(phone, message), suite: options.suite };
  const camera: CameraKeys = {
    ...{ id: identity.camera, name: options.name ?? identity.name, identity: options.identity },
    ...{ adoptedMs: options.nowMs, incarnation: identity.incarnation },
    ...{ root: random(32), request: random(32) },
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
  };
  vault.content.cameras.push(camera);
  return camera;
}

/** Draws a batch of keys and keeps their secrets in the (not yet saved) vault. */
function makeKeys(camera: CameraKeys, { supply = firstSupply, onProgress }: AdoptOptions) {
  const of = supply.oneTime + supply.days + 1;
  let made = 0;
  const make = () => {
    const pair = kemPair();
    made += 1;
    onProgress?.(made, of);
    return { ...pair, fingerprint: keyFingerprint(pair.publicKey) };
  };
  const { nextIndex: firstIndex, nextDay: firstDay, incarnation } = camera;
  const oneTime = Array.from({ length: supply.oneTime }, (_, i) => {
    const { publicKey, secret, fingerprint } = make();
    camera.oneTime.push({ index: firstIndex + i, id: keyIdOf(fingerprint), secret });
    return publicKey;
  });
  const days = Array.from({ length: supply.days }, (_, i) => {
    const { publicKey, secret, fingerprint } = make();
    camera.days.push({ incarnation, day: firstDay + i, fingerprint, secret });
    return publicKey;
  });
  const { publicKey: restart, secret, fingerprint } = make();
  camera.restarts.push({ fingerprint, secret });
  camera.batch += 1;
  camera.nextIndex += supply.oneTime;
  return { firstIndex, firstDay, oneTime, days, restart };
}
