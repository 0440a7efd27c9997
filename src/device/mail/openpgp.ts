import type { PublicKey } from "openpgp";
import { readNamed } from "../../base/node/program.ts";
import { toText } from "../../base/pure/bytes.ts";
import { Failure, isFailure } from "../../base/pure/failure.ts";

// The other way to close a picture: to the owner's OpenPGP key. Not hybrid, as the seal is.

const mostBytes = 512 * 1024;
const mostKeys = 16;

export type Keys = readonly PublicKey[];

/**
 * The public keys in a file that a person exported. Throws Failure "absent" when it cannot be read,
 * "misuse" for what is none, and for one to which nothing can be encrypted now (expired, revoked).
 */
export async function readKeys(file: string, wallMs: number = Date.now()): Promise<Keys> {
  const bytes = await readNamed(file, { what: "a public key", mostBytes });
  const openpgp = await loadOpenpgp();
  const blocks = blocksOf(textOf(bytes));
  const read = blocks.map(async (armoredKeys) => await openpgp.readKeys({ armoredKeys }));
  const all = await Promise.all(read).catch((cause: unknown) => ({ cause }));
  if ("cause" in all || all.length === 0) {
    const hint = "gpg --armor --export ADDRESS writes one";
    const what = blocks.length > 1 ? "something that is no OpenPGP key" : "no OpenPGP key";
    throw new Failure("misuse", `${file} holds ${what}`, {
      hint,
      ...("cause" in all ? all : {}),
    });
  }
  const keys = all.flat();
  if (keys.length === 0 || keys.length > mostKeys) {
    throw new Failure("misuse", `${file} should hold 1 to ${mostKeys} OpenPGP keys`);
  }
  for (const key of keys) {
    const name = key.getFingerprint().slice(-16).toUpperCase();
    if (key.isPrivate()) {
      throw new Failure("misuse", `${file} holds the private key of ${name}`, {
        hint: "That stays with its owner: the camera needs the public one (gpg --armor --export)",
      });
    }
    await key.getEncryptionKey(undefined, momentOf(keys, wallMs)).catch((cause: unknown) => {
      const why = "it may have expired, been revoked, be for signatures alone, or too weak";
      throw new Failure("misuse", `nothing can be encrypted to key ${name} of ${file}: ${why}`, {
        cause,
      });
    });
  }
  return keys as PublicKey[];
}

/** An armoured OpenPGP message that each of the keys opens. */
export async function encryptTo(
  keys: Keys,
  bytes: Uint8Array,
  wallMs: number = Date.now(),
): Promise<string> {
  const openpgp = await loadOpenpgp();
  const message = await openpgp.createMessage({ binary: new Uint8Array(bytes) });
  const date = momentOf(keys, wallMs);
  const encryptionKeys = [...keys];
  const armoured = await openpgp
    .encrypt({ message, encryptionKeys, date, format: "armored" })
    .catch((cause: unknown) => {
      throw isFailure(cause) ? cause : new Failure("misuse", "OpenPGP failed", { cause });
    });
  return armoured as string;
}

/** A board whose clock was not set yet would take every key for one of the future. */
function momentOf(
  keys: Keys | readonly { getKeys(): { getCreationTime(): Date }[] }[],
  ms: number,
) {
  const made = keys.flatMap((key) => key.getKeys().map((one) => one.getCreationTime().getTime()));
  return new Date(Math.max(ms, ...made));
}

/** Keys may be exported one behind the other: the library reads the first block, and says nothing of more. */
function blocksOf(text: string): string[] {
  const pieces = text.split(/^(?=-----BEGIN PGP )/m);
  return pieces.filter((piece) => piece.startsWith("-----BEGIN PGP "));
}

function textOf(bytes: Uint8Array): string {
  try {
    return toText(bytes);
  } catch {
    return "";
  }
}

/** Only a camera that has such a key pays for it. */
async function loadOpenpgp(): Promise<typeof import("openpgp")> {
  return await import("openpgp");
}
