import { createHash } from "node:crypto";
import { type FileHandle, open, readdir, rm, unlink } from "node:fs/promises";
import { join } from "node:path";
import { Failure } from "../base/pure/failure.ts";
import { checkContent } from "../protocol/wire/request.ts";
import type { Medium } from "./medium.ts";

/** Content that has come whole and as signed, durable, under a name that nobody can ask for. */
export type Draft = { readonly path: string; discard(): Promise<void> };
export type Expected = {
  /** The object's name: for the fault points of tests. */
  name: string;
  bytes: number;
  sha512: Uint8Array;
  /** The file's time. */
  modifiedMs: number;
};

/** Bytes of one write: fewer calls than the pieces that a socket gives. */
const gatherBytes = 256 * 1024;
/** What may wait for its hash: it is taken while the medium syncs, which costs a processor nothing. */
const unhashedBytes = 1024 * 1024;

/** Drafts of a former process are nobody's: they go when the folder is opened. */
export async function openDrafts(folder: string, medium: Medium) {
  await medium.ensure(folder);
  const old = await readdir(folder);
  if (old.length > 0) {
    for (const file of old) await rm(join(folder, file), { recursive: true });
    await medium.settle(join(folder, "x"), "draft");
  }
  let count = 0;

  return {
    /**
     * Takes content as it comes, in one pass of SHA-512, of which the last MiB is hashed while the medium
     * syncs: it has no name yet that anybody could ask for. Throws Failure "refused", stage "content",
     * when it is not what was signed, "full" when there is no room; then nothing is left of it.
     */
    async receive(content: AsyncIterable<Uint8Array>, expected: Expected): Promise<Draft> {
      const { name, bytes, sha512, modifiedMs } = expected;
      const path = join(folder, String(count++));
      const discard = () => unlink(path).catch(() => {});
      const file = await medium.step("create", name, () => open(path, "wx", 0o600));
      try {
        const hash = createHash("sha512");
        let length = 0;
        let gathered: Uint8Array[] = [];
        let gatheredBytes = 0;
        let writing: Promise<void> = Promise.resolve();
        let unhashed: Uint8Array[] = [];
        const hashAll = () => {
          for (const piece of unhashed) hash.update(piece);
          unhashed = [];
        };
        // One write is under way while the next bytes come.
        const flush = async () => {
          await writing;
          const pieces = gathered;
          gathered = [];
          gatheredBytes = 0;
          writing = medium.step("write", name, () => writeAll(file, pieces));
          writing.catch(() => {});
        };
        try {
          for await (const piece of content) {
            length += piece.length;
            if (length > bytes) break;
            gathered.push(piece);
            gatheredBytes += piece.length;
            if (gatheredBytes >= gatherBytes) await flush();
            unhashed.push(piece);
            if (length % unhashedBytes < piece.length && length < bytes) hashAll();
          }
          if (gatheredBytes > 0 && length === bytes) await flush();
        } finally {
          await writing;
        }
        if (length !== bytes) throw cut();
        await file.utimes(modifiedMs / 1000, modifiedMs / 1000);
        const synced = medium.step("fsync", name, () => file.sync());
        synced.catch(() => {});
        hashAll();
        try {
          checkContent(sha512, hash.digest());
        } finally {
          await synced;
        }
        // What is synchronised needs nothing of its closing.
        file.close().catch(() => {});
      } catch (error) {
        await file.close().catch(() => {});
        await discard();
        throw error;
      }
      return { path, discard };
    },
  };
}

/** One call for all of them, and what a nearly full disk left of it singly: that says what is wrong. */
async function writeAll(file: FileHandle, pieces: Uint8Array[]): Promise<void> {
  let { bytesWritten: skip } = await file.writev(pieces);
  for (const piece of pieces) {
    if (skip < piece.length) await file.writeFile(piece.subarray(skip));
    skip = Math.max(0, skip - piece.length);
  }
}

export type Drafts = Awaited<ReturnType<typeof openDrafts>>;

/** Reads content that is not needed to its end, and holds it against what was signed all the same. */
export async function passOver(
  content: AsyncIterable<Uint8Array>,
  { bytes, sha512 }: Pick<Expected, "bytes" | "sha512">,
): Promise<void> {
  const hash = createHash("sha512");
  let length = 0;
  for await (const piece of content) {
    length += piece.length;
    if (length > bytes) break;
    hash.update(piece);
  }
  if (length !== bytes) throw cut();
  checkContent(sha512, hash.digest());
}

function cut(): Failure {
  return new Failure("refused", "the content is not as long as it said", { stage: "content" });
}
