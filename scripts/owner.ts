import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { nodeSuite } from "../src/base/node/crypto.ts";
import { systemClock } from "../src/base/node/time.ts";
import { fromHex, toHex } from "../src/base/pure/bytes.ts";
import { explain, Failure } from "../src/base/pure/failure.ts";
import { openFolder } from "../src/phone/cli/folder.ts";
import { openHome } from "../src/phone/cli/store.ts";
import { openLine } from "../src/phone/cli/world.ts";
import { readClip } from "../src/phone/clips.ts";
import { nameCamera } from "../src/phone/find.ts";
import type { Link } from "../src/phone/link.ts";
import { openFirstRelay } from "../src/phone/relay.ts";
import { Vault } from "../src/phone/vault.ts";
import { ready } from "../src/protocol/sealed/sodium.ts";
import { printClip } from "../src/protocol/wire/mailbox.ts";

const execute = promisify(execFile);
const phone = new URL("../src/phone/cli.js", import.meta.url).pathname;

export type Exported = { file: string; seconds: number; persons: number };

/** The owner's phone while it is open: looks at pictures as they come, exports what is whole. */
export type Owner = {
  /**
   * True when a picture of the clip could be decrypted from the camera's own folder, or from the
   * relay. Changes nothing of what is kept.
   */
  picture(clip: string, from: "folder" | "relay"): Promise<boolean>;
  /** Through the relay; waits until all of it is there. */
  exportClip(clip: string, folder: string): Promise<Exported>;
  /** CLOCK_MONOTONIC, as the service stamps its events. */
  nowUs(): number;
  close(): void;
};

const wholeTries = 30;
/** More parts than a clip has when its first picture is there. */
const firstParts = 64;

/** @param folder the camera's outbox */
export async function openOwner(options: { home: string; folder: string }): Promise<Owner> {
  const { home, folder } = options;
  await ready();
  const vault = await readVault(home);
  const camera = nameCamera(vault, undefined);
  const line = openLine();
  let relay: Promise<Link> | undefined;
  const linkTo = (from: "folder" | "relay") => {
    if (from === "folder") return openFolder(folder);
    relay ??= openFirstRelay(camera.relays, camera, line).catch((error) => {
      relay = undefined;
      throw error;
    });
    return relay;
  };
  return {
    nowUs: () => systemClock.monotonicUs(),
    close: () => line.close(),
    async picture(clip, from) {
      const link = await linkTo(from);
      const id = fromHex(clip);
      // The incarnation may be a later one than this phone knows.
      const after = printClip({ incarnation: camera.incarnation, clip: id });
      const near = await link.list({ under: "part/", after, limit: firstParts });
      const isIts = (name: (typeof near)[number]) =>
        name.kind === "part" && toHex(name.clip) === clip;
      const names = near.some(isIts) ? near : await link.list({ under: "part/" });
      const parts = names.flatMap((name) => (name.kind === "part" && isIts(name) ? [name] : []));
      for await (const event of readClip(link, parts, camera, nodeSuite).events) {
        if (event.kind === "thumbnail") return true;
      }
      return false;
    },
    async exportClip(clip, out) {
      const args = ["--home", home, "export", clip, "-o", join(out, "/"), "--json"];
      for (let tries = 1; ; tries++) {
        const { stdout, failure } = await execute(process.execPath, [phone, ...args]).then(
          ({ stdout }) => ({ stdout, failure: undefined }),
          (cause) => ({
            stdout: "",
            failure: new Failure("refused", String(cause.stderr ?? explain(cause)).trim(), {
              cause,
            }),
          }),
        );
        const file = failure ? undefined : JSON.parse(stdout).files[0];
        // The camera has sealed its end; the relay has it a moment later.
        if (file?.whole || (file && tries >= wholeTries)) {
          return { file: file.file, seconds: file.seconds ?? 0, persons: file.persons ?? 0 };
        }
        if (failure && tries >= wholeTries) throw failure;
        await systemClock.sleep(500);
      }
    },
  };
}

async function readVault(home: string): Promise<Vault> {
  await using store = await openHome(home, (text) => process.stderr.write(`${text}\n`));
  return await Vault.open(store);
}
