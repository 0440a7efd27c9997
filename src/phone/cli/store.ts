import type { Stats } from "node:fs";
import { chmod, lstat, stat } from "node:fs/promises";
import { join } from "node:path";
import { type DurableFolder, openDurable } from "../../base/node/durable.ts";
import { systemClock } from "../../base/node/time.ts";
import { Reader, Writer } from "../../base/pure/bytes.ts";
import { Failure, isFailure } from "../../base/pure/failure.ts";
import { sizes } from "../../protocol/sealed/sodium.ts";
import type { Shelf } from "../ledger.ts";
import type { VaultStore, Wrapped } from "../vault.ts";

/** One that reads what came in days, at the pace that a relay allows, takes this long. */
const patienceMs = 30_000;
const quietMs = 3_000;
const keyFile = "key";
const fromBackup = "Put a backup in its place: `obscura-phone restore FILE --force`";
const vaultFile = (generation: number) => `vault.${generation}`;

/** The pages of what was read of a log (ledger.ts) lie beside the vault, as `log.*`. */
export type Home = VaultStore & { readonly shelf: Shelf } & AsyncDisposable;

/**
 * The vault as two files of one folder (0700, files 0600): `vault.N`, sealed, and `key`, which holds
 * N and the wrapping key. A save writes vault.N+1, then replaces `key`: that rename is the one step
 * that counts. Then the old key's bytes are overwritten where they lay (as far as the medium does
 * that: flash may keep a copy that only its controller can reach) and vault.N goes. One program at a
 * time: two that save at once would lose the keys of one. Throws Failure "busy".
 */
export async function openHome(path: string, warn: (text: string) => void): Promise<Home> {
  const folder = await openPatiently(path, warn);
  try {
    await tighten(path, await folder.list(), warn);
    // A save that was broken off leaves the vault before it, or one that never counted.
    const found = await readKey(folder).catch(damaged);
    if (found) await removeOthers(folder, found.generation);
  } catch (error) {
    await folder.close();
    throw error;
  }
  return {
    load: () => load(folder),
    replace: (wrapped) => replace(folder, wrapped),
    shelf: {
      read: (name) => readIfThere(folder, name),
      write: (name, bytes) => folder.write(name, bytes),
    },
    [Symbol.asyncDispose]: () => folder.close(),
  };
}

/** Another command has the keys while it looks; what holds them for longer is named. */
async function openPatiently(path: string, warn: (text: string) => void): Promise<DurableFolder> {
  const start = performance.now();
  for (let isTold = false; ; ) {
    try {
      return await openDurable(path);
    } catch (error) {
      const waitedMs = performance.now() - start;
      if (!isFailure(error, "busy") || waitedMs > patienceMs) throw error;
      if (waitedMs > quietMs && !isTold) {
        warn("another command has the keys: waiting until it has looked");
        isTold = true;
      }
      await systemClock.sleep(100);
    }
  }
}

function readIfThere(folder: DurableFolder, name: string): Promise<Uint8Array | undefined> {
  return folder.read(name).catch((error) => {
    if (isFailure(error, "absent")) return undefined;
    throw error;
  });
}

async function readKey(folder: DurableFolder) {
  const bytes = await readIfThere(folder, keyFile);
  if (!bytes) return undefined;
  if (bytes.length !== 4 + sizes.key) {
    throw new Failure("corrupt", "the key of the vault is damaged", { hint: fromBackup });
  }
  const reader = new Reader(bytes, "the vault's key");
  return { generation: reader.u32(), key: reader.take(sizes.key) };
}

/** A key that is none is said when it is needed; `restore --force` does without. */
function damaged(error: unknown): undefined {
  if (!isFailure(error, "corrupt")) throw error;
}

/** Of the vaults that lie there, among whatever else does. */
const generations = (names: readonly string[]) =>
  names.flatMap((name) => /^vault\.(\d{1,10})$/.exec(name)?.[1] ?? []).map(Number);

async function load(folder: DurableFolder): Promise<Wrapped | undefined> {
  const found = await readKey(folder);
  if (!found) {
    // Of a first save that was broken off: no key was ever made for it, and nothing handed out.
    if (generations(await folder.list()).every((generation) => generation === 1)) return undefined;
    throw new Failure("gone", `the key of the vault in ${folder.path} is gone`, {
      hint: fromBackup,
    });
  }
  const sealed = await readIfThere(folder, vaultFile(found.generation));
  if (sealed) return { key: found.key, sealed };
  throw new Failure("gone", `the vault in ${folder.path} is gone, or its key is of another`, {
    hint: fromBackup,
  });
}

async function replace(folder: DurableFolder, { key, sealed }: Wrapped): Promise<void> {
  const before = await readKey(folder).catch(damaged);
  const last = before?.generation ?? Math.max(0, ...generations(await folder.list()));
  const generation = (last + 1) % 0xffff_ffff;
  await folder.write(vaultFile(generation), sealed);
  const bytes = new Writer().u32(generation).raw(key).done();
  await folder.write(keyFile, bytes, { shred: true });
  await removeOthers(folder, generation);
}

/** Nothing goes where the one that counts is not there: then the key may not be what it should be. */
async function removeOthers(folder: DurableFolder, generation: number): Promise<void> {
  const current = vaultFile(generation);
  const vaults = (await folder.list()).filter((name) => /^vault\.\d+$/.test(name));
  if (!vaults.includes(current)) return;
  await folder.remove(vaults.filter((name) => name !== current));
}

/** Only what is ours: the folder may be one that holds other things, and a link leads elsewhere. */
async function tighten(path: string, names: string[], warn: (text: string) => void): Promise<void> {
  const shut = async (file: string, found: Stats, mode: number) => {
    if ((found.mode & 0o077) === 0) return;
    warn(`${file} was open to other users of this machine; it no longer is`);
    await chmod(file, mode);
  };
  for (const name of names) {
    if (name !== keyFile && !/^vault\.\d+$/.test(name)) continue;
    const file = join(path, name);
    const found = await lstat(file);
    if (!found.isFile()) continue;
    const isKey = name === keyFile && found.size === 4 + sizes.key;
    if (name === keyFile && !isKey) continue;
    // A folder that was made here is 0700 from its first moment.
    if (isKey) await shut(path, await stat(path), 0o700);
    await shut(file, found, 0o600);
  }
}
