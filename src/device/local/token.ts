import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { openDurable } from "../../base/node/durable.ts";
import { fromText } from "../../base/pure/bytes.ts";
import type { Clock } from "../../base/pure/clock.ts";
import { Failure } from "../../base/pure/failure.ts";

// Tokens that let somebody read. Each is shown once, when it is made; what is kept is a file of its name
// with its hash. A token is 256 random bits, so that a hash needs neither salt nor slowness.

export const mostTokens = 16;
const namePattern = /^[a-z0-9_-]{1,32}$/i;
const folderOf = (state: string) => join(state, "local");
const tokenPattern = /^[A-Za-z0-9_-]{43}$/;
const hashBytes = 32;
/** A token that was revoked is good for so long at most, besides what is under way. */
const freshMs = 1_000;

function hashOf(token: string): Buffer {
  const hash = createHash("sha512").update("obscura/1/local-token").update(token);
  return hash.digest().subarray(0, hashBytes);
}

function checkName(name: string): void {
  if (namePattern.test(name)) return;
  throw new Failure("misuse", "a token's name is letters, digits, _ and -, 32 at most");
}

/** Makes a token under a name, durable when it resolves; the only time that anybody sees it. */
export async function makeToken(state: string, name: string): Promise<string> {
  checkName(name);
  const found = await stat(state).catch(() => undefined);
  if (!found?.isDirectory()) {
    const hint = "--state names where the camera keeps its keys";
    throw new Failure("absent", `there is no folder ${state}`, { hint });
  }
  const folder = await openDurable(folderOf(state));
  try {
    const names = await folder.list();
    if (names.includes(name)) {
      const hint = `obscura-camera local revoke ${name}`;
      throw new Failure("misuse", `there is a token ${name} already`, { hint });
    }
    if (names.length >= mostTokens) {
      throw new Failure("full", `there are ${names.length} tokens already`, {
        hint: "Revoke one that nobody uses: obscura-camera local tokens",
      });
    }
    const token = randomBytes(32).toString("base64url");
    await folder.write(name, fromText(`${hashOf(token).toString("hex")}\n`));
    return token;
  } finally {
    await folder.close();
  }
}

/** Throws Failure "absent" when there is none of this name. */
export async function revokeToken(state: string, name: string): Promise<void> {
  checkName(name);
  const names = (await listTokens(state)).map((one) => one.name);
  if (!names.includes(name)) throw new Failure("absent", `there is no token ${name}`);
  const folder = await openDurable(folderOf(state));
  await folder.remove([name]).finally(() => folder.close());
}

export async function listTokens(state: string): Promise<{ name: string; madeMs: number }[]> {
  const folder = folderOf(state);
  const names = (await readNames(folder)).filter((name) => namePattern.test(name)).sort();
  return await Promise.all(
    names.map(async (name) => ({ name, madeMs: (await stat(join(folder, name))).mtimeMs })),
  );
}

async function readNames(folder: string): Promise<string[]> {
  return await readdir(folder).catch((error) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
}

/** Looks again at what lies there, so that what is made or revoked is in force without a new start. */
export function openTokens(
  state: string,
  options: {
    clock: Pick<Clock, "monotonicUs">;
    /** Then no token is good. */
    onUnreadable(error: unknown): void;
  },
): { isKnown(token: string): Promise<boolean> } {
  const folder = folderOf(state);
  let kept: { hashes: Promise<Buffer[]>; atUs: number } | undefined;
  const read = async () => {
    const names = (await readNames(folder)).filter((name) => namePattern.test(name));
    const texts = await Promise.all(
      names.slice(0, mostTokens).map((name) =>
        readFile(join(folder, name), "latin1").catch((error) => {
          // One that was just revoked; any other was made by somebody whose files we may not read.
          if (error.code !== "ENOENT") options.onUnreadable(error);
          return "";
        }),
      ),
    );
    return texts.flatMap((text) =>
      /^[0-9a-f]{64}\n$/.test(text) ? [Buffer.from(text.trim(), "hex")] : [],
    );
  };
  const look = () =>
    read().catch((error) => {
      options.onUnreadable(error);
      return [];
    });
  return {
    async isKnown(token) {
      if (!tokenPattern.test(token)) return false;
      const nowUs = options.clock.monotonicUs();
      if (!kept || nowUs - kept.atUs >= freshMs * 1000) kept = { hashes: look(), atUs: nowUs };
      const hash = hashOf(token);
      // All of them, whichever it is.
      let isOne = false;
      for (const known of await kept.hashes) isOne = timingSafeEqual(known, hash) || isOne;
      return isOne;
    },
  };
}
