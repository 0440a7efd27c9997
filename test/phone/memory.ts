import { nodeSuite } from "../../src/base/node/crypto.ts";
import { adoptCamera } from "../../src/phone/adopt.ts";
import { inRange, type Link } from "../../src/phone/link.ts";
import { survey } from "../../src/phone/survey.ts";
import { Vault, type VaultStore, type Wrapped } from "../../src/phone/vault.ts";
import { printPairingFile } from "../../src/protocol/sealed/pairing.ts";
import { type Name, printName } from "../../src/protocol/wire/name.ts";
import { FakeRecorder } from "../fakes/recorder.ts";
import { pattern } from "../lib/sealed.ts";

/** What lies behind a link: whoever keeps it can put there what they like. */
export type Kept = { readonly name: Name; readonly bytes: Uint8Array };

export const film = { init: pattern(700), fragments: [pattern(5000), pattern(6000)] };

/** A store in memory that keeps every pair it was ever given. */
export class MemoryStore implements VaultStore {
  readonly all: Wrapped[] = [];
  fails = false;
  async load(): Promise<Wrapped | undefined> {
    return this.all.at(-1);
  }
  async replace(wrapped: Wrapped): Promise<void> {
    if (this.fails) throw new Error("no room");
    this.all.push(wrapped);
  }
}

/** A recorder whose objects stay in memory, its owner's vault, and the link between them. */
export async function memoryWorld() {
  const objects = new Map<string, Kept>();
  const link: Link = {
    ...{ where: "memory", kind: "folder" },
    list: async (range) =>
      inRange(
        [...objects.values()].map(({ name }) => name),
        range,
      ),
    get: async (name) => objects.get(printName(name))?.bytes,
    put: async (object) => void objects.set(printName(object.name), object),
  };
  const camera = new FakeRecorder("nowhere");
  camera.put = link.put;
  const store = new MemoryStore();
  const vault = Vault.create(store, "Ada");
  const adopted = await adoptCamera(vault, {
    ...{ identity: camera.identity, name: undefined, nowMs: 1, suite: nodeSuite },
    supply: { oneTime: 5, days: 3 },
  });
  const file = printPairingFile("camera adoption", adopted.adoption, adopted.word);
  await camera.adopt(Buffer.from(file));
  const keys = adopted.camera;
  const look = () => survey({ link, vault, camera: keys, suite: nodeSuite, depth: "all" as const });
  return { objects, link, camera, store, vault, keys, look };
}
