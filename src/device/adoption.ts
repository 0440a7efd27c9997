import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { readNamed } from "../base/node/program.ts";
import { Failure } from "../base/pure/failure.ts";
import {
  checkWord,
  pairingFileBytes,
  parsePairingFile,
  printPairingFile,
} from "../protocol/sealed/pairing.ts";
import { createKeyring, hasKeys, type Keyring, type Owned, openKeyring } from "./keyring.ts";
import { notebookOf } from "./seal/seal.ts";

// Pairing by two files: `obscura-camera identity` and `obscura-camera adopt`. What stands in them is
// specified in protocol/sealed/pairing.md.

/**
 * Writes the file that an owner's phone adopts, and makes the camera's keys when there are none.
 * Returns the word that the phone shows too.
 */
export async function writeIdentity(
  state: string,
  options: { name: string; file: string },
): Promise<{ word: string; isNew: boolean }> {
  const isNew = !(await hasKeys(state));
  const keyring = isNew ? await createKeyring(state, options.name) : await openKeyring(state);
  const { bytes, hash } = keyring.identity;
  const word = checkWord(hash);
  await writeFile(options.file, printPairingFile("camera identity", bytes, word)).catch((cause) => {
    throw new Failure("denied", `cannot write ${options.file} (${cause.code})`, { cause });
  });
  return { word, isNew };
}

/**
 * Takes the file that the phone made: the first, or a later one of the same owner with more keys,
 * which the service uses from its next start on. Throws Failure "absent" when there is no such file or camera,
 * "corrupt" or "refused" with the stage of pairing.ts when it is not for this camera.
 */
export async function adoptFrom(state: string, file: string): Promise<Kept> {
  const bytes = await readNamed(file, { what: "an adoption", mostBytes: pairingFileBytes });
  return await keepAdoption(state, parsePairingFile("camera adoption", bytes));
}

export type Kept = { word: string; members: readonly string[]; oneTimeKeys: number };

/** Checks and keeps an adoption, however it came; durable when it resolves. Throws as `adopt`. */
export async function keepAdoption(state: string, adoption: Uint8Array): Promise<Kept> {
  const keyring = await openKeyring(state);
  const notebook = await notebookOf(join(state, "journal"));
  const { incarnation } = notebook ?? keyring.identity;
  const { adopted, identity } = await keyring.adopt(adoption, { incarnation });
  if (!adopted) throw new Failure("gone", "the adoption was not kept");
  return describe(identity, adopted);
}

/** What people are told of an adoption. */
export function describe(identity: Keyring["identity"], adopted: Owned): Kept {
  return {
    word: checkWord(identity.hash, adopted.hash),
    members: adopted.membership.members.map(({ name }) => name),
    oneTimeKeys: adopted.supplies.reduce((sum, { oneTime }) => sum + oneTime.length, 0),
  };
}
