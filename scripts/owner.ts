import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { nodeSuite } from "../src/base/node/crypto.ts";
import { systemClock } from "../src/base/node/time.ts";
import { fromHex, toHex } from "../src/base/pure/bytes.ts";
import { explain, Failure } from "../src/base/pure/failure.ts";
import { openFolder } from "../src/phone/cli/folder.ts";
import { openHome } from "../src/phone/cli/store.ts";
import { readClip } from "../src/phone/clips.ts";
import { findCamera } from "../src/phone/find.ts";
import { Vault } from "../src/phone/vault.ts";
import { ready } from "../src/protocol/sealed/sodium.ts";

const execute = promisify(execFile);
const phone = new URL("../src/phone/cli.js", import.meta.url).pathname;

export type Exported = { file: string; seconds: number; persons: number };

/** The owner's phone while it is open: looks at pictures as they come, exports what is whole. */
export type Owner = {
  /** True when a picture of the clip could be decrypted. Changes nothing of what is kept. */
  picture(clip: string): Promise<boolean>;
  exportClip(clip: string, folder: string): Promise<Exported>;
  /** CLOCK_MONOTONIC, as the service stamps its events. */
  nowUs(): number;
};

/** @param folder the camera's outbox */
export async function openOwner(options: { home: string; folder: string }): Promise<Owner> {
  const { home, folder } = options;
  await ready();
  const vault = await readVault(home);
  return {
    nowUs: () => systemClock.monotonicUs(),
    async picture(clip) {
      const link = await openFolder(folder);
      const id = toHex(fromHex(clip));
      const names = await link.list();
      const parts = names.flatMap((name) =>
        name.kind === "part" && toHex(name.clip) === id ? [name] : [],
      );
      parts.sort((a, b) => a.number - b.number);
      const camera = await findCamera(vault, link, undefined);
      for await (const event of readClip(link, parts, camera, nodeSuite).events) {
        if (event.kind === "thumbnail") return true;
      }
      return false;
    },
    async exportClip(clip, out) {
      const args = [
        "--home",
        home,
        "export",
        clip,
        "--from",
        folder,
        "-o",
        join(out, "/"),
        "--json",
      ];
      const { stdout } = await execute(process.execPath, [phone, ...args]).catch((cause) => {
        throw new Failure("refused", String(cause.stderr ?? explain(cause)).trim(), { cause });
      });
      const [file] = JSON.parse(stdout).files;
      return { file: file.file, seconds: file.seconds ?? 0, persons: file.persons ?? 0 };
    },
  };
}

async function readVault(home: string): Promise<Vault> {
  await using store = await openHome(home, (text) => process.stderr.write(`${text}\n`));
  return await Vault.open(store);
}
