import { X509Certificate } from "node:crypto";
import { stat } from "node:fs/promises";
import { readNamed } from "../base/node/program.ts";
import type { Setting } from "../base/node/settings.ts";
import { toText } from "../base/pure/bytes.ts";
import { explain, Failure, isFailure } from "../base/pure/failure.ts";

// The files that settings name for somebody else's server: logins, keys, certificates.

export type Login = { user: string; password: Uint8Array };

/**
 * For the address of a server, in place of a wrong one that may hold a password: also of what is no address,
 * since somebody forgot the scheme.
 */
export const shownLogin = (written: unknown): string | undefined =>
  (JSON.stringify(written) ?? "").includes("@")
    ? "an address that holds a user or a password"
    : undefined;

const longestPath = 4096;

/**
 * The path of a file that holds what is secret. Who writes the secret itself in its place is told so, and it is
 * in no log and no message: a path has a / in it, a code or a password mostly none.
 */
export const secretFile = (about: string): Setting<string> => ({
  ...{ default: "", about },
  expected:
    "nothing, or the path of a file, with / in it: what is secret stands in that file alone",
  read: (value) => {
    if (typeof value !== "string" || value.length > longestPath) return undefined;
    return value === "" || (value.includes("/") && !/\p{Cc}/u.test(value)) ? value : undefined;
  },
  shown: () => "no path of a file",
});

/** Reads what the setting `name` names; what goes wrong says so, as its stage. */
export async function ofSetting<T>(name: string, reading: Promise<T>): Promise<T> {
  return await reading.catch((cause: unknown) => {
    if (!isFailure(cause)) throw cause;
    const { kind, message, hint } = cause;
    throw new Failure(kind, message, { ...(hint ? { hint } : {}), stage: name, cause });
  });
}

/** For --check-config: "misuse" whatever is wrong, of the same stage, with the `section` that it is of. */
export async function asMisuse(section: string, reading: Promise<unknown>): Promise<void> {
  await reading.catch((cause: unknown) => {
    if (!isFailure(cause)) throw cause;
    const { stage } = cause;
    const about = stage === undefined ? {} : { stage };
    throw new Failure("misuse", `${section}: ${explain(cause)}`, { ...about, cause });
  });
}

const mostBytes = 64 * 1024;
const loginBytes = 4096;

/** Throws Failure "absent" when it cannot be read, "denied" when others may read it too. */
export async function readSecret(file: string): Promise<Uint8Array> {
  const bytes = await readNamed(file, { what: "a secret", mostBytes });
  const { mode } = await stat(file);
  if ((mode & 0o077) === 0) return bytes;
  const hint = `chmod 600 ${file}`;
  throw new Failure("denied", `${file} may be read by others`, { hint });
}

/** Two lines: user, password. Throws as `readSecret`, and "misuse" for what is not that. */
export async function readLogin(file: string): Promise<Login> {
  const bytes = await readSecret(file);
  const refuse = () =>
    new Failure("misuse", `${file} should hold two lines: the user's name, and the password`);
  if (bytes.length > loginBytes) throw refuse();
  let text: string;
  try {
    text = toText(bytes);
  } catch {
    throw refuse();
  }
  // Some editors put a mark before the first line.
  const [user = "", password, ...rest] = text.replace(/^\uFEFF/, "").split(/\r?\n/);
  // One line is a password that was forgotten, or both with a colon between; an empty one is a line too.
  const isWhole = password !== undefined && (password !== "" || rest.length > 0);
  const isRight =
    isWhole && user !== "" && rest.every((line) => line === "") && !text.includes("\0");
  if (!isRight) throw refuse();
  return { user, password: Buffer.from(password) };
}

/** A PEM file of certificates that the setting `name` names; `isSecret` of a key. Throws as `readLogin`. */
export async function readPem(name: string, file: string, isSecret = false): Promise<Uint8Array> {
  const reading = isSecret ? readSecret(file) : readNamed(file, { what: "a PEM file", mostBytes });
  const bytes = await ofSetting(name, reading);
  const has = (what: string) => Buffer.from(bytes).includes(what);
  const refuse = (why: string) =>
    new Failure("misuse", `${name} (${file}) ${why}`, { stage: name });
  if (!has("-----BEGIN ")) throw refuse("is not a PEM file");
  if (isSecret) {
    if (!has("PRIVATE KEY-----")) throw refuse("holds no private key");
    return bytes;
  }
  try {
    // Of a chain the first: what TLS cannot read it passes over in silence.
    new X509Certificate(bytes);
  } catch {
    throw refuse("holds no certificate that can be read");
  }
  return bytes;
}
