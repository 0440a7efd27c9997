import { randomBytes } from "node:crypto";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { ed25519Signer, nodeSuite } from "../base/node/crypto.ts";
import { type DurableFolder, openDurable } from "../base/node/durable.ts";
import { equal, fromHex, Reader, toHex, Writer } from "../base/pure/bytes.ts";
import { Failure } from "../base/pure/failure.ts";
import { type Command, openCommand } from "../protocol/sealed/command.ts";
import { roleOf, type Version, verifyNext } from "../protocol/sealed/membership.ts";
import {
  type Adopted,
  decodeAdoption,
  encodeIdentity,
  type Identity,
  verifyAdoption,
  verifyIdentity,
} from "../protocol/sealed/pairing.ts";
import { kemPair, kemPublicKey, type Pair, ready } from "../protocol/sealed/sodium.ts";
import {
  checkSupplyRises,
  decodeSupply,
  type Supply,
  verifySupply,
} from "../protocol/sealed/supply.ts";
import type { Sign } from "../protocol/wire/signature.ts";
import { advance, decodeKeys, encodeKeys } from "./receiving.ts";

/** What the camera has of its owner: an adoption, and the keys that came since. */
export type Owned = Adopted & {
  /** Version 1, of the adoption; `membership` is the one in force. */
  readonly first: Version;
  /** Of each phone, by rising batch; keys of the first are used up first. */
  readonly supplies: readonly Supply[];
};
/** The incarnation that the log is in: what comes now has to be bound to it. */
export type Life = { readonly incarnation: number };

/**
 * The camera's own keys and what its owner gave it. The only reader of secret key files; out come
 * public keys and functions that sign, never a secret.
 */
export type Keyring = {
  /** Who this camera is; `bytes` are what the owner's phone sees, signed by the camera. */
  readonly identity: Identity & { readonly hash: Uint8Array; readonly bytes: Uint8Array };
  /** Signs clips, parts, entries and beacons with the key whose public half is the camera's id. */
  readonly sign: Sign;
  /** Signs requests to a relay. */
  readonly signRequest: Sign;
  /** Members, supplies and mailbox; undefined until an owner has adopted this camera. */
  readonly adopted: Owned | undefined;
  /**
   * Keeps an adoption, durable when it resolves. After the first only one by the same owner that
   * brings a further supply: throws Failure "refused" for any other, with the stage "owner", "members"
   * or "mailbox" when it would change those, "door" for an older door list, "index" (supply.ts).
   */
  adopt(adoption: Uint8Array, life?: Life): Promise<Keyring>;
  /**
   * Keeps further keys of a member, durable when it resolves: what an adoption or a command brings.
   * Throws a Failure with the stages of supply.ts, and "refused", "phone" when it is of no member.
   */
  resupply(supply: Uint8Array, life: Life): Promise<Keyring>;
  /**
   * Follows the next member list, durable when it resolves; the one in force again changes nothing.
   * Throws a Failure with the stages of membership.ts.
   */
  follow(list: Uint8Array): Promise<Keyring>;
  /**
   * Brings the keys that commands are sealed to up to date: one a day is made, those of thirty days
   * ago are destroyed, both durable when it resolves. Returns the public key in use.
   */
  rotate(elapsedMs: number): Promise<Uint8Array>;
  /** The public key in use. */
  readonly receiving: Uint8Array;
  /**
   * Opens what a phone sent: null when it is for none of the keys that are left (command.ts). For any
   * life of this camera unless said.
   */
  open(box: Uint8Array, life?: Life): Command | null;
};

const secrets = {
  camera: "camera.key",
  request: "request.key",
  receiving: "receiving.key",
} as const;
const identityFile = "identity";
const adoptionFile = "adoption";
const membersFile = "members";
const supplyFile = /^supply\.([0-9a-f]{64})\.\d{10}$/;
const keyFileBytes = 32;
const membersBytes = 8192;
/** Of one phone; with more, what is left of the oldest goes. */
const mostSupplies = 4;

/** Whether a camera was ever set up in this state folder. */
export async function hasKeys(state: string): Promise<boolean> {
  return await isThere(join(state, "keys", identityFile));
}

/** Whether the camera in this state folder has an owner. */
export async function isAdopted(state: string): Promise<boolean> {
  return (await hasKeys(state)) && (await isThere(join(state, "keys", adoptionFile)));
}

async function isThere(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (cause) {
    const { code = "" } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return false;
    const hint = "Say it as the user that the camera runs as, or by sudo";
    throw new Failure("denied", `${path} cannot be looked at (${code})`, { cause, hint });
  }
}

/**
 * Makes a new camera: keys that exist nowhere else, in `state`/keys. Throws Failure "refused" when
 * there is one already: its clips name it, so it is never overwritten.
 */
export async function createKeyring(state: string, name: string): Promise<Keyring> {
  await ready();
  if (await hasKeys(state)) {
    throw new Failure("refused", `there is a camera in ${state} already`, {
      hint: "Choose another state folder; erasing this one makes a camera that its owner does not know",
    });
  }
  await using folder = await openKeys(state);
  const seeds = { camera: randomBytes(keyFileBytes), request: randomBytes(keyFileBytes) };
  const camera = ed25519Signer(seeds.camera);
  const receiving = kemPair();
  const { bytes } = encodeIdentity(
    {
      camera: camera.publicKey,
      request: ed25519Signer(seeds.request).publicKey,
      receiving: receiving.publicKey,
      incarnation: 1,
      name,
    },
    { sign: camera.sign, suite: nodeSuite },
  );
  await folder.write(secrets.camera, seeds.camera);
  await folder.write(secrets.request, seeds.request);
  await folder.write(secrets.receiving, encodeKeys([{ madeMs: 0, secret: receiving.secret }]));
  for (const secret of [seeds.camera, seeds.request, receiving.secret]) secret.fill(0);
  // Last: while it is missing there is no camera yet, and the next try starts anew.
  await folder.write(identityFile, bytes);
  return await openKeyring(state);
}

/** Throws Failure "absent" when there is no camera in `state`, "denied" when its keys lie open. */
export async function openKeyring(state: string): Promise<Keyring> {
  await ready();
  const keys = join(state, "keys");
  if (!(await hasKeys(state))) {
    throw new Failure("absent", `there is no camera in ${state} yet`, {
      hint: "Make one with: obscura-camera pair, or obscura-camera identity -o camera.json",
    });
  }
  const camera = ed25519Signer(await readSeed(keys, secrets.camera));
  const request = ed25519Signer(await readSeed(keys, secrets.request));
  const bytes = new Uint8Array(await readFile(join(keys, identityFile)));
  const identity = { ...verifyIdentity(bytes, nodeSuite), bytes };
  const isOwn =
    equal(identity.camera, camera.publicKey) && equal(identity.request, request.publicKey);
  if (!isOwn) throw new Failure("corrupt", `the keys in ${keys} are not those of one camera`);
  let receiving = await readReceiving(keys);
  return {
    identity,
    sign: camera.sign,
    signRequest: request.sign,
    adopted: await readOwned(keys, identity),
    async adopt(adoption, { incarnation } = identity) {
      await using folder = await openKeys(state);
      const kept = await readKept(keys, adoptionFile);
      if (kept && equal(kept, adoption)) return await openKeyring(state);
      const next = verifyAdoption(adoption, identity, nodeSuite, incarnation);
      const now = await readOwned(keys, identity);
      if (now && kept) {
        checkAgain(next, now);
        // First: when the power goes now, the keys that are left of it are there twice, not lost.
        await folder.write(supplyName(now.supply), now.supplyBytes);
      }
      await folder.write(adoptionFile, adoption);
      await prune(folder, next.owner);
      return await openKeyring(state);
    },
    async resupply(bytes, { incarnation }) {
      await using folder = await openKeys(state);
      const now = await readOwned(keys, identity);
      const { phone } = decodeSupply(bytes);
      if (!now || !roleOf(now.membership, phone)) {
        throw new Failure("refused", "a supply of a phone that is no member", { stage: "phone" });
      }
      const expected = { phone, camera: identity.camera, incarnation };
      const supply = verifySupply(bytes, expected, nodeSuite);
      const kept = await readKept(keys, supplyName(supply));
      if (!kept || !equal(kept, bytes)) {
        checkRises(supply, now);
        await folder.write(supplyName(supply), bytes);
        await prune(folder, phone);
      }
      return await openKeyring(state);
    },
    async follow(bytes) {
      await using folder = await openKeys(state);
      const now = await readOwned(keys, identity);
      if (!now)
        throw new Failure("refused", "a member list before an adoption", { stage: "camera" });
      if (equal(now.membershipBytes, bytes)) return await openKeyring(state);
      verifyNext(bytes, now.membership, nodeSuite);
      const before = (await readKept(keys, membersFile)) ?? new Uint8Array();
      await folder.write(membersFile, new Writer().raw(before).bytes32(bytes).done());
      return await openKeyring(state);
    },
    async rotate(elapsedMs) {
      const rotated = advance(
        decodeKeys(await readSecret(keys, secrets.receiving)),
        elapsedMs,
        () => kemPair().secret,
      );
      if (rotated) {
        await using folder = await openKeys(state);
        await folder.write(secrets.receiving, encodeKeys(rotated), { shred: true });
        receiving = await readReceiving(keys);
      }
      return newestOf(receiving).publicKey;
    },
    get receiving() {
      return newestOf(receiving).publicKey;
    },
    open: (box, life) =>
      openCommand(box, receiving, { camera: identity.camera, ...(life ?? {}) }, nodeSuite),
  };
}

function newestOf(pairs: readonly Pair[]): Pair {
  const newest = pairs.at(-1);
  if (!newest) throw new Failure("misuse", "a camera without a receiving key");
  return newest;
}

async function readReceiving(keys: string): Promise<Pair[]> {
  return decodeKeys(await readSecret(keys, secrets.receiving)).map(({ secret }) => ({
    publicKey: kemPublicKey(secret),
    secret,
  }));
}

async function readKept(keys: string, file: string): Promise<Uint8Array | undefined> {
  const bytes = await readFile(join(keys, file)).catch((error) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  return bytes && new Uint8Array(bytes);
}

async function readOwned(keys: string, identity: Keyring["identity"]): Promise<Owned | undefined> {
  const adoption = await readKept(keys, adoptionFile);
  if (!adoption) return undefined;
  // Checked against the life of the camera when it came; what of it serves now, the sealer decides.
  const { incarnation } = decodeSupply(decodeAdoption(adoption).supply);
  const adopted = verifyAdoption(adoption, identity, nodeSuite, incarnation);
  const supplies: Supply[] = [adopted.supply];
  for (const file of await readdir(keys)) {
    const phone = supplyFile.exec(file)?.[1];
    if (phone === undefined || file === supplyName(adopted.supply)) continue;
    const bytes = new Uint8Array(await readFile(join(keys, file)));
    const expected = { phone: fromHex(phone), camera: identity.camera };
    const life = decodeSupply(bytes).incarnation;
    supplies.push(verifySupply(bytes, { ...expected, incarnation: life }, nodeSuite));
  }
  supplies.sort((a, b) => a.batch - b.batch);
  return { ...adopted, ...(await readMembers(keys, adopted)), first: adopted.membership, supplies };
}

/** The member list in force: every version since the adoption, each signed for by the one before. */
async function readMembers(
  keys: string,
  adopted: Adopted,
): Promise<Pick<Adopted, "membership" | "membershipBytes">> {
  let { membership, membershipBytes } = adopted;
  const kept = (await readKept(keys, membersFile)) ?? new Uint8Array();
  const reader = new Reader(kept, "the member lists");
  while (reader.remaining > 0) {
    membershipBytes = reader.bytes32(membersBytes);
    membership = verifyNext(membershipBytes, membership, nodeSuite);
  }
  return { membership, membershipBytes };
}

/** Refuses what is not the same owner with more keys. */
function checkAgain(next: Adopted, now: Owned): void {
  const refuse = (stage: string, message: string, hint?: string) =>
    new Failure("refused", message, { stage, ...(hint ? { hint } : {}) });
  if (!equal(next.owner, now.owner)) {
    const hint =
      "The owner can add you from their phone; a new owner makes it as new first: its button, held for ten seconds, or an empty state folder";
    throw refuse("owner", "this camera has an owner already", hint);
  }
  if (!equal(next.membership.hash, now.first.hash)) {
    throw refuse("members", "an adoption that would put this camera's members back");
  }
  if (roleOf(now.membership, next.owner) !== "owner") {
    throw refuse("owner", "an adoption by somebody who is no owner any more");
  }
  if (!equal(next.mailbox, now.mailbox)) {
    throw refuse("mailbox", "an adoption for another mailbox than this camera's");
  }
  if (next.doors.version < now.doors.version) throw refuse("door", "an older door list");
  checkRises(next.supply, now);
}

function checkRises(next: Supply, { supplies }: Owned): void {
  const newest = supplies.filter(({ phone }) => equal(phone, next.phone)).at(-1);
  if (!newest) return;
  const { batch, firstIndex, oneTime } = newest;
  checkSupplyRises(next, { batch, nextIndex: firstIndex + oneTime.length });
}

function supplyName({ phone, batch }: Supply): string {
  return `supply.${toHex(phone)}.${String(batch).padStart(10, "0")}`;
}

async function prune(folder: DurableFolder, phone: Uint8Array): Promise<void> {
  const kept = (await folder.list()).filter((file) => supplyFile.exec(file)?.[1] === toHex(phone));
  // By rising batch; one more is in the adoption.
  await folder.remove(kept.slice(0, Math.max(0, kept.length - (mostSupplies - 1))));
}

async function openKeys(state: string): Promise<DurableFolder & AsyncDisposable> {
  const folder = await openDurable(join(state, "keys"));
  return { ...folder, [Symbol.asyncDispose]: () => folder.close() };
}

async function readSecret(keys: string, file: string): Promise<Uint8Array> {
  const path = join(keys, file);
  const { mode } = await stat(path).catch((cause) => {
    throw new Failure("absent", `the key ${path} is missing`, {
      cause,
      hint: "Restore it from a backup; a new camera needs an empty state folder",
    });
  });
  if (mode & 0o077) {
    throw new Failure("denied", `the key ${path} may be read by others`, {
      hint: `chmod 600 ${path}`,
    });
  }
  return new Uint8Array(await readFile(path));
}

async function readSeed(keys: string, file: string): Promise<Uint8Array> {
  const seed = await readSecret(keys, file);
  if (seed.length !== keyFileBytes) throw new Failure("corrupt", `${file} is not a key`);
  return seed;
}
