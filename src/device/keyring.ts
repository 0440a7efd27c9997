import { randomBytes } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { ed25519Signer, nodeSuite } from "../base/node/crypto.ts";
import { type DurableFolder, openDurable } from "../base/node/durable.ts";
import { Failure } from "../base/pure/failure.ts";
import {
  type Adopted,
  encodeIdentity,
  type Identity,
  verifyAdoption,
  verifyIdentity,
} from "../protocol/sealed/pairing.ts";
import { kemPair, ready } from "../protocol/sealed/sodium.ts";
import type { Sign } from "../protocol/wire/signature.ts";

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
  /** Members, supply and mailbox; undefined until an owner has adopted this camera. */
  readonly adopted: Adopted | undefined;
  /** Keeps an adoption, durable when it resolves; throws Failure "refused" when there is another. */
  adopt(adoption: Uint8Array): Promise<Keyring>;
};

const secrets = {
  camera: "camera.key",
  request: "request.key",
  receiving: "receiving.key",
} as const;
const identityFile = "identity";
const adoptionFile = "adoption";
const keyFileBytes = 32;

/** Whether a camera was ever set up in this state folder. */
export async function hasKeys(state: string): Promise<boolean> {
  return await stat(join(state, "keys", identityFile)).then(
    () => true,
    () => false,
  );
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
  await folder.write(secrets.receiving, receiving.secret);
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
      hint: "Make one with: obscura-camera identity -o camera.json",
    });
  }
  const camera = ed25519Signer(await readSecret(join(keys, secrets.camera)));
  const request = ed25519Signer(await readSecret(join(keys, secrets.request)));
  await readSecret(join(keys, secrets.receiving));
  const bytes = new Uint8Array(await readFile(join(keys, identityFile)));
  const identity = { ...verifyIdentity(bytes, nodeSuite), bytes };
  const isOwn =
    Buffer.compare(identity.camera, camera.publicKey) === 0 &&
    Buffer.compare(identity.request, request.publicKey) === 0;
  if (!isOwn) throw new Failure("corrupt", `the keys in ${keys} are not those of one camera`);
  const kept = await readFile(join(keys, adoptionFile)).catch((error) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  return {
    identity,
    sign: camera.sign,
    signRequest: request.sign,
    adopted: kept && verifyAdoption(new Uint8Array(kept), identity, nodeSuite),
    async adopt(adoption) {
      const { hash } = verifyAdoption(adoption, identity, nodeSuite);
      const now = (await openKeyring(state)).adopted;
      if (now && Buffer.compare(now.hash, hash) !== 0) {
        throw new Failure("refused", "this camera has an owner already", {
          hint: "The owner can add you from their phone; a new owner starts with an empty state folder",
        });
      }
      await using folder = await openKeys(state);
      await folder.write(adoptionFile, adoption);
      return await openKeyring(state);
    },
  };
}

async function openKeys(state: string): Promise<DurableFolder & AsyncDisposable> {
  const folder = await openDurable(join(state, "keys"));
  return { ...folder, [Symbol.asyncDispose]: () => folder.close() };
}

async function readSecret(path: string): Promise<Uint8Array> {
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
  const bytes = await readFile(path);
  if (bytes.length !== keyFileBytes) throw new Failure("corrupt", `${path} is not a key`);
  return bytes;
}
