import { constants } from "node:fs";
import { open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { Failure, isFailure } from "../../base/pure/failure.ts";
import { fromFileName, type Name, printName, toFileName } from "../../protocol/wire/name.ts";
import { inRange, type Link } from "../link.ts";
import { writeWhole } from "./out.ts";

/** No object is longer than a part of 1 MiB; more is cut off, and is refused for its hash. */
const mostBytes = 1024 * 1024 + 1;

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
/** A camera that starts in the meantime clears unfinished files away; once may be. */
const mostTries = 3;

/**
 * An outbox, or a copy of one, as a phone sees it. Plain files only: what else lies there (a link, a
 * pipe that nobody writes to) is as good as not there.
 */
export async function openFolder(path: string): Promise<Link> {
  const found = await stat(path).catch(() => undefined);
  if (!found?.isDirectory()) {
    throw new Failure("absent", `there is no folder ${path}`, {
      hint: "--from wants a camera's outbox or a copy of it",
    });
  }
  // A page that goes on where the last one ended is cut from the same look into the folder.
  let seen: readonly Name[] = [];
  let bound: string | undefined;
  return {
    where: path,
    kind: "folder",
    list: async (range = {}) => {
      if (range.after === undefined || range.after !== bound) seen = await look(path);
      const names = inRange(seen, range);
      const last = range.limit === undefined ? undefined : names.at(-1);
      bound = last && printName(last);
      return names;
    },
    get: (name) => read(join(path, toFileName(name))),
    put: async ({ name, bytes }) => {
      for (let tries = 1; ; tries++) {
        try {
          // As the camera writes, who may be at work here: nothing else is touched, and it can read it.
          return await writeWhole(join(path, toFileName(name)), bytes, found);
        } catch (error) {
          const isCleared = isFailure(error, "denied") && error.errno === "ENOENT";
          if (!isCleared || tries === mostTries) throw error;
        }
      }
    },
  };
}

async function look(path: string): Promise<Name[]> {
  const names: Name[] = [];
  for (const file of await readdir(path, { withFileTypes: true })) {
    try {
      if (file.isFile()) names.push(fromFileName(file.name));
    } catch {
      // Files that are nobody's: `obscura-camera check` names them.
    }
  }
  return names;
}

async function read(file: string): Promise<Uint8Array | undefined> {
  // Without O_NONBLOCK a pipe would be waited for before anybody could see that it is one.
  const handle = await open(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK).catch((error) => {
    if (["ENOENT", "ELOOP", "ENXIO"].includes(error.code)) return undefined;
    const hint = "Run it as the user that the folder belongs to";
    throw new Failure("denied", `${file} cannot be read`, { cause: error, hint });
  });
  if (!handle) return undefined;
  try {
    const found = await handle.stat();
    if (!found.isFile()) return undefined;
    const { size } = found;
    const bytes = new Uint8Array(Math.min(size, mostBytes));
    let at = 0;
    while (at < bytes.length) {
      const { bytesRead } = await handle.read(bytes, at, bytes.length - at, at);
      if (bytesRead === 0) break;
      at += bytesRead;
    }
    return bytes.subarray(0, at);
  } finally {
    await handle.close();
  }
}
