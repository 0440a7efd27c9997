import { readNamed } from "../../base/node/program.ts";
import { Reader, Writer } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import { sizes } from "../../protocol/sealed/sodium.ts";
import { longestVaultBytes, Vault, type VaultStore, type Wrapped } from "../vault.ts";
import { type Voice, writeWhole } from "./out.ts";

const magic = new Uint8Array([0x6f, 0x62, 0x62, 1]); // "obb", format 1
const longestBackup = magic.length + sizes.key + 4 + longestVaultBytes;

/** All keys in one file, 0600. There is no password on it: where it lies is what protects it. */
export async function backup(store: VaultStore, path: string): Promise<number> {
  await Vault.open(store); // what cannot be opened is no backup
  const wrapped = (await store.load()) as Wrapped;
  const bytes = new Writer().raw(magic).raw(wrapped.key).bytes32(wrapped.sealed).done();
  await writeWhole(path, bytes);
  return bytes.length;
}

/** Puts a backup in place of what is there; asks for `force` when that is something. */
export async function restore(
  store: VaultStore,
  path: string,
  force: boolean,
  voice: Voice,
): Promise<Vault> {
  const file = await readNamed(path, { what: "a backup", mostBytes: longestBackup });
  const reader = new Reader(file, "backup");
  if (!magic.every((byte, i) => file[i] === byte)) throw reader.refuse("version", "no backup");
  reader.take(magic.length);
  const wrapped = { key: reader.take(sizes.key), sealed: reader.bytes32(longestVaultBytes) };
  reader.end();
  const kept = { load: async () => wrapped, replace: store.replace };
  const restored = await Vault.open(kept).catch((cause) => {
    throw new Failure("corrupt", `${path} is damaged: the keys in it do not open`, { cause });
  });
  // What is there and does not open is something too.
  const isForced = force || !(await store.load().catch(() => true));
  if (!isForced) {
    throw new Failure("refused", "there are keys here already, and they would be lost", {
      hint: "Back them up first, then say --force",
    });
  }
  await restored.save();
  voice.warn("one-time keys that were destroyed after this backup was made are back with it:");
  voice.warn("a clip that was opened and deleted since then can be opened again until");
  voice.warn("`obscura-phone verify --from FOLDER` has destroyed them anew. Keys made since, by");
  voice.warn("another `adopt`, are not in it. Use a backup on one phone only.");
  return restored;
}
