import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { nodeSuite } from "../../src/base/node/crypto.ts";
import { openHttp } from "../../src/base/node/http.ts";
import { toHex } from "../../src/base/pure/bytes.ts";
import { isFailure } from "../../src/base/pure/failure.ts";
import { createKeyring } from "../../src/device/keyring.ts";
import { adoptCamera } from "../../src/phone/adopt.ts";
import type { Link } from "../../src/phone/link.ts";
import { type Line, openRelay } from "../../src/phone/relay.ts";
import { survey } from "../../src/phone/survey.ts";
import { Vault } from "../../src/phone/vault.ts";
import { ready, sign, signPublicKey } from "../../src/protocol/sealed/sodium.ts";
import { type Mailbox, openMailbox, type Send } from "../../src/protocol/wire/client.ts";
import {
  fromFileName,
  mailboxOf,
  type Name,
  printName,
  toFileName,
} from "../../src/protocol/wire/name.ts";
import { MemoryStore } from "../phone/memory.ts";
import { type HostileRelay, openHostile, patienceMs } from "./hostile.ts";
import { type RelayWorld, relayWorld } from "./relay.ts";
import { recording, startSealer } from "./sealing.ts";
import { quickFolder } from "./world.ts";

/** A camera in a folder of its own, its mailbox, and what was sent of it. */
export type House = {
  readonly state: string;
  readonly name: string;
  readonly mailbox: string;
  readonly as: { camera: Mailbox; phone: Mailbox; root: Mailbox };
  /** Starts the camera, records so many clips, stops it, sends all that the relay lacks. */
  record(clips: number): Promise<void>;
  /** The same without sending: a camera that nobody hears. */
  recordOnly(clips: number, state?: string): Promise<void>;
  send(state?: string): Promise<void>;
};

export type Deceived = AsyncDisposable & {
  hostile: HostileRelay;
  relay: RelayWorld;
  folder: string;
  store: MemoryStore;
  vault: Vault;
  houses: readonly House[];
  line: Line;
  /** What a phone finds over the relay; what it learns is kept in `home` alone. */
  look(house: House, home: MemoryStore): Promise<Look>;
  /** A copy of the phone's home as it is. */
  copy(): MemoryStore;
};
export type Look = { code: 0 | 1 | 3; faults: string[]; texts: string[]; states: string[] };

/** Cameras of one owner over a real relay that only a liar can be reached through. */
export async function deceivedWorld(names: readonly string[] = ["door"]): Promise<Deceived> {
  await ready();
  const home = await quickFolder();
  const hostile = await openHostile();
  const relay = await relayWorld({
    isEmpty: true,
    folder: join(home.path, "relay"),
    settings: `authority: ["${hostile.authority}"]
limits: { requestsPerSecondPerAddress: 0, requestsPerSecondPerKey: 1000000, connectionsPerAddress: 512 }
`,
  });
  hostile.forwardTo(relay.relay.port);
  const store = new MemoryStore();
  const vault = Vault.create(store, "Ada");
  const http = openHttp();
  const send: Send = (sending) =>
    http.send({ ...sending, timeoutMs: Math.min(patienceMs(hostile.lie), sending.timeoutMs) });
  const nowMs = () => Date.now();
  const houses: House[] = [];
  for (const name of names) {
    const state = join(home.path, name);
    const fresh = await createKeyring(state, name);
    const { adoption, camera } = await adoptCamera(vault, {
      ...{ identity: fresh.identity.bytes, name: undefined, nowMs: nowMs(), suite: nodeSuite },
      ...{ relays: [hostile.url], supply: { oneTime: 12, days: 3 } },
    });
    const keyring = await fresh.adopt(adoption);
    const { root } = camera;
    if (!root) throw new Error("no owner");
    const mailbox = mailboxOf(signPublicKey(root), nodeSuite);
    const common = { url: hostile.url, mailbox, suite: nodeSuite, send, nowMs };
    const keyOf = (secret: Uint8Array) => ({
      ...{ key: signPublicKey(secret), sign: (message: Uint8Array) => sign(secret, message) },
    });
    const as = {
      camera: openMailbox({
        ...{ ...common, key: keyring.identity.request },
        sign: keyring.signRequest,
      }),
      phone: openMailbox({ ...common, ...keyOf(camera.request) }),
      root: openMailbox({ ...common, ...keyOf(root) }),
    };
    if (!keyring.adopted) throw new Error("not adopted");
    await as.root.put({ name: { kind: "door" }, bytes: keyring.adopted.doorsBytes });
    const sent = new Set<string>();
    const house: House = {
      ...{ state, name, mailbox: toHex(mailbox), as },
      async record(clips) {
        await house.recordOnly(clips);
        await house.send();
      },
      async recordOnly(clips, where = state) {
        const running = await startSealer(where);
        for (let i = 0; i < clips; i++) await running.sealer.clip(recording(8, { bytes: 60_000 }));
        await running.stop();
      },
      send: (where = state) => sendAll(join(where, "outbox"), as.camera, sent),
    };
    houses.push(house);
  }
  const line: Line = {
    ...{ suite: nodeSuite, nowMs, sleep: async () => {} },
    send,
  };
  return {
    ...{ hostile, relay, folder: home.path, store, vault, houses, line },
    look: (house, of) => look(of, house, hostile.url, line),
    copy: () => copyOf(store),
    async [Symbol.asyncDispose]() {
      http.close();
      await hostile.close();
      await relay[Symbol.asyncDispose]();
      await home[Symbol.asyncDispose]();
    },
  };
}

export function copyOf(store: MemoryStore): MemoryStore {
  const copy = new MemoryStore();
  const wrapped = store.all.at(-1);
  if (!wrapped) throw new Error("nothing was saved");
  copy.all.push({ key: wrapped.key.slice(), sealed: wrapped.sealed.slice() });
  return copy;
}

/** As `obscura-phone verify`: exit code, faults as "severity kind", states of clips. */
async function look(store: MemoryStore, house: House, url: string, line: Line): Promise<Look> {
  const vault = await Vault.open(store);
  const camera = vault.content.cameras.find(({ name }) => name === house.name);
  if (!camera) throw new Error("no such camera");
  try {
    const link: Link = await openRelay(url, camera, line);
    const { faults, clips, well } = await survey({
      ...{ link, vault, camera, suite: nodeSuite, depth: "all" },
    });
    return {
      code: well ? 0 : 3,
      faults: faults.map(({ severity, kind }) => `${severity} ${kind}`),
      texts: faults.map(({ severity, kind, text }) => `${severity} ${kind}: ${text}`),
      states: clips.map(({ state }) => state),
    };
  } catch (error) {
    if (!isFailure(error)) throw error;
    const { kind, stage, message } = error;
    const fault = `${kind}${stage && stage !== "stale" ? ` ${stage}` : ""}`;
    return { code: 1, faults: [fault], texts: [`${fault}: ${message}`], states: [] };
  }
}

/** What an uplink does in the end: the log in its order, the beacon, then parts. */
async function sendAll(folder: string, mailbox: Mailbox, sent: Set<string>): Promise<void> {
  const order = ["entry", "beacon", "part"];
  const names = (await readdir(folder))
    .filter((file) => !file.startsWith("."))
    .map(fromFileName)
    .filter(({ kind }) => order.includes(kind));
  const rank = (name: Name) => `${order.indexOf(name.kind)}${printName(name)}`;
  names.sort((a, b) => (rank(a) < rank(b) ? -1 : 1));
  for (const name of names) {
    const text = printName(name);
    if (sent.has(text)) continue;
    await mailbox.put({
      name,
      bytes: new Uint8Array(await readFile(join(folder, toFileName(name)))),
    });
    if (name.kind !== "beacon") sent.add(text);
  }
}
