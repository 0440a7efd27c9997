import { constants } from "node:fs";
import { chown, open, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { Failure } from "../../base/pure/failure.ts";
import { fromFileName, type Name, printName, toFileName } from "../../protocol/wire/name.ts";
import { inRange, type Link } from "../link.ts";

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
          return await write(path, toFileName(name), bytes, found);
        } catch (error) {
          const isCleared = (error as NodeJS.ErrnoException).code === "ENOENT";
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

/**
 * As the camera writes: under the name of an unfinished file, synchronised, renamed. The camera may
 * be at work in the same folder, so nothing else there is touched; and what root puts there is given
 * to the camera's own user.
 */
async function write(
  path: string,
  name: string,
  bytes: Uint8Array,
  { uid, gid }: { uid: number; gid: number },
): Promise<void> {
  const draft = join(path, `.unfinished-${name}`);
  // Of a phone that was killed; somebody else's link there must not be written through.
  await rm(draft, { force: true });
  const handle = await open(draft, "wx", 0o600).catch((cause) => {
    const hint = "Run it as the user that the folder belongs to";
    throw new Failure("denied", `nothing can be written to ${path}`, { cause, hint });
  });
  try {
    await handle.writeFile(bytes);
    await handle.sync();
    if (process.getuid?.() === 0) await chown(draft, uid, gid);
    await rename(draft, join(path, name));
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  } finally {
    await handle.close();
  }
  const folder = await open(path, "r");
  await folder.sync().finally(() => folder.close());
}
