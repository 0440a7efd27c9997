import { connect, type Socket } from "node:net";
import { ed25519Signer, nodeSuite } from "../../src/base/node/crypto.ts";
import { openLog } from "../../src/base/node/log.ts";
import { socketStream } from "../../src/base/node/socket.ts";
import { Writer } from "../../src/base/pure/bytes.ts";
import { isFailure } from "../../src/base/pure/failure.ts";
import { openPairing, type PairingOptions } from "../../src/device/pairing/host.ts";
import { type PairOptions, pairCamera } from "../../src/phone/pair.ts";
import { Vault } from "../../src/phone/vault.ts";
import { openFrames, type Pipe } from "../../src/protocol/sealed/frames.ts";
import { parseInvite } from "../../src/protocol/sealed/invite.ts";
import { Handshake } from "../../src/protocol/sealed/noise.ts";
import { label } from "../../src/protocol/wire/signature.ts";
import { MemoryStore } from "../phone/memory.ts";
import { pattern } from "./sealed.ts";
import { quickFolder } from "./world.ts";

export const wanted = { mostBytes: 65_535, withinMs: 20_000 };

/** A board with its clock and card, in this process. */
export async function board() {
  const folder = await quickFolder();
  const time = { boot: "one", ms: 1000, elapsedMs: () => time.ms };
  const lines: string[] = [];
  const log = openLog("pairing", "debug", (line) => void lines.push(line));
  const opened: { close(): Promise<void> }[] = [];
  return {
    time,
    lines,
    state: folder.path,
    async start(more: Partial<PairingOptions> = {}) {
      const pairing = await openPairing({
        ...{ state: folder.path, name: "porch", port: 0, address: "127.0.0.1", time, log },
        ...more,
      });
      opened.push(pairing);
      return pairing;
    },
    async [Symbol.asyncDispose]() {
      for (const one of opened) await one.close();
      await folder[Symbol.asyncDispose]();
    },
  };
}

export async function dial(port: number): Promise<{ socket: Socket; pipe: Pipe }> {
  const socket = connect({ host: "127.0.0.1", port, noDelay: true });
  await new Promise((resolve, reject) => socket.once("connect", resolve).once("error", reject));
  return { socket, pipe: openFrames(socketStream(socket)) };
}

/** A phone that pairs by the link; its vault may be one that was there before. */
export async function pairBy(
  link: string,
  more: Partial<PairOptions> & { store?: MemoryStore } = {},
) {
  const store = more.store ?? new MemoryStore();
  const vault = (await store.load()) ? await Vault.open(store) : Vault.create(store, "Ada");
  const invite = parseInvite(link);
  const { pipe } = await dial(invite.addresses[0]?.port ?? 0);
  try {
    const paired = await pairCamera(vault, {
      ...{ pipe, invite, name: undefined, nowMs: 1, suite: nodeSuite },
      ...{ supply: { oneTime: 3, days: 2 }, relays: ["https://relay.example"], ...more },
    });
    return { ...paired, store, vault };
  } finally {
    pipe.close();
  }
}

export const failureOf = async (promise: Promise<unknown>) => {
  const error = await promise.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  if (!isFailure(error)) throw error ?? new Error("it went well");
  return error;
};

export const withSecret = (link: string, secret: Uint8Array) => ({ ...parseInvite(link), secret });

/** Message 1 by somebody with this secret for this camera. */
export function firstMessage(link: string, secret = parseInvite(link).secret) {
  const prologue = new Writer().raw(label("pairing")).raw(parseInvite(link).identity).done();
  const handshake = new Handshake({ role: "initiator", secret, prologue });
  return { handshake, first: handshake.write() };
}

/** One wrong guess; what the camera answered. */
export async function guess(link: string, seed: number) {
  const { pipe } = await dial(parseInvite(link).addresses[0]?.port ?? 0);
  await pipe.send(firstMessage(link, pattern(32, seed)).first);
  const answer = await pipe.receive(wanted);
  pipe.close();
  return answer;
}

/** What a phone shows to a camera's eye; nobody waits for the camera that reads it. */
export const lensCode = {
  ...{ secret: pattern(32, 1), phone: pattern(16, 2) },
  root: ed25519Signer(pattern(32, 3)).publicKey,
  relay: "https://relay.example:8443",
};
