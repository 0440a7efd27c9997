import { open, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { openDurable } from "../../base/node/durable.ts";

// An owner's erase: the board is then as new. Once it is marked, whoever starts next goes on with it.

const folder = "erase";
const mark = "asked";
/** Everything that says whose camera this is, where it was, and what it saw; the keys first. */
const erased = [
  ...["keys", "label", "outbox", "journal", "commands", "pairing", "network", "attempts", "home"],
  ...["alarm", "local", "mail", "mode", "push", "precision.json"],
] as const;

/** Of these, what is overwritten before it goes. What was sealed opens with no key of this board. */
const shredded = [
  ...["keys", "label", "commands", "pairing", "network", "home", "local", "mail"],
  "push",
] as const;

/** Durable when it resolves: from here on nothing of this state is used again. */
export async function markErased(state: string): Promise<void> {
  const marks = await openDurable(join(state, folder));
  await marks.write(mark, new Uint8Array([1])).finally(() => marks.close());
}

/** Whether an erase was asked for and is not finished. */
export async function isErasing(state: string): Promise<boolean> {
  return await stat(join(state, folder, mark)).then(
    () => true,
    () => false,
  );
}

/**
 * Finishes an erase that was asked for; true when there was one. Can be killed at any step. `forget`
 * takes away what lies elsewhere, behind the keys; it may be called again, and never rejects.
 */
export async function finishErase(
  state: string,
  forget: () => Promise<void> = async () => {},
): Promise<boolean> {
  if (!(await isErasing(state))) return false;
  // Overwritten where they lie, as far as the medium does that: keys, and what names people and places.
  for (const name of shredded) await shred(join(state, name));
  await forget();
  for (const name of erased) await rm(join(state, name), { recursive: true, force: true });
  const parent = await openDurable(state);
  // An fsync of the folder: what is gone stays gone when the power goes.
  await parent.write("erased", new Uint8Array([1]));
  await parent.remove(["erased"]);
  await parent.close();
  await rm(join(state, folder), { recursive: true, force: true });
  return true;
}

/** Zeros where the bytes of its files lie, on the medium when it resolves. */
async function shred(path: string): Promise<void> {
  for (const name of await readdir(path).catch(() => [])) {
    const file = await open(join(path, name), "r+").catch(() => undefined);
    if (!file) continue;
    try {
      const { size } = await file.stat();
      await file.write(new Uint8Array(size), 0, size, 0);
      await file.sync();
    } finally {
      await file.close();
    }
  }
}
