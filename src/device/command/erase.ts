import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { openDurable } from "../../base/node/durable.ts";

// An owner's erase: the board is then as new. Once it is marked, whoever starts next goes on with it.

const folder = "erase";
const mark = "asked";
/** Everything that says whose camera this is, and what it saw; the keys first. */
const erased = ["keys", "outbox", "journal", "commands", "pairing", "precision.json"] as const;

/** Durable when it resolves: from here on nothing of this state is used again. */
export async function markErased(state: string): Promise<void> {
  const marks = await openDurable(join(state, folder));
  await marks.write(mark, new Uint8Array([1])).finally(() => marks.close());
}

/** Finishes an erase that was asked for; true when there was one. Can be killed at any step. */
export async function finishErase(state: string): Promise<boolean> {
  const isMarked = await stat(join(state, folder, mark)).then(
    () => true,
    () => false,
  );
  if (!isMarked) return false;
  // Overwritten where they lie, as far as the medium does that; then everything goes.
  const keys = join(state, "keys");
  const files = await readdir(keys).catch(() => []);
  if (files.length > 0) {
    const secrets = await openDurable(keys);
    const secret = files.filter((file) => file.endsWith(".key"));
    for (const file of secret) await secrets.write(file, new Uint8Array(64), { shred: true });
    await secrets.close();
  }
  for (const name of erased) await rm(join(state, name), { recursive: true, force: true });
  const parent = await openDurable(state);
  // An fsync of the folder: what is gone stays gone when the power goes.
  await parent.write("erased", new Uint8Array([1]));
  await parent.remove(["erased"]);
  await parent.close();
  await rm(join(state, folder), { recursive: true, force: true });
  return true;
}
