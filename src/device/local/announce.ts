import { randomBytes } from "node:crypto";
import openMdns, { type MulticastDNS, type Options } from "multicast-dns";
import { nodeSuite } from "../../base/node/crypto.ts";
import { localAddresses } from "../../base/node/socket.ts";
import {
  announce,
  marksMost,
  printAnnouncement,
  saltBytes,
  cameraService as service,
} from "../../protocol/wire/announce.ts";

// Says on the local network where the interface is: local.md. As a relay does it
// (protocol/wire/announce.md), under a service of its own: its owners' phones recognise it, nobody else does.

export type AnnouncerOptions = {
  port: number;
  isTls: boolean;
  /** Of the camera's identity; undefined for a camera that is nobody's. */
  hash: Uint8Array | undefined;
  /** The one address that is listened at; undefined for all. */
  address: string | undefined;
  onProblem(error: Error): void;
  mdns?: Options;
};

const ttlS = 120;
/** One answer a second is enough for all who ask, and no more than that for who only wants noise. */
const leastMs = 1_000;
/** A network may come and go after the start. */
const lookMs = 5_000;

export function openAnnouncer(options: AnnouncerOptions): { close(): Promise<void> } {
  const { port, isTls, hash, onProblem } = options;
  // Of this start alone: whoever was in this network before is not told that it is the same camera.
  const instance = randomBytes(8).toString("hex");
  const [name, target] = [`${instance}.${service}`, `${instance}.local`];
  const random = new Uint8Array(randomBytes(saltBytes + marksMost * 6));
  const text = printAnnouncement(announce(hash ? [hash] : [], { isTls, random, suite: nodeSuite }));
  const speakers = new Map<string, MulticastDNS>();
  let lastMs = Number.NEGATIVE_INFINITY;
  let isClosed = false;

  const speak = (ttl: number, to: Iterable<readonly [string, MulticastDNS]>) =>
    Promise.all(
      [...to].map(async ([address, mdns]) => {
        // Everything is an answer: some readers pass over what is additional.
        const answers = [
          { name: service, type: "PTR" as const, ttl, data: name },
          { name, type: "SRV" as const, ttl, data: { port, target, priority: 0, weight: 0 } },
          { name, type: "TXT" as const, ttl, data: text },
          { name: target, type: "A" as const, ttl, data: address },
        ];
        await new Promise<void>((resolve) => mdns.respond({ answers }, () => resolve()));
      }),
    );
  const answer = () => {
    if (performance.now() - lastMs < leastMs) return;
    lastMs = performance.now();
    speak(ttlS, speakers).catch(onProblem);
  };
  const listen = (address: string) => {
    const mdns = openMdns({ bind: "0.0.0.0", ...options.mdns, interface: address });
    mdns.on("query", ({ questions = [] }) => {
      const mine = [service, name, target];
      if (questions.some((question) => mine.includes(question.name.toLowerCase()))) answer();
    });
    mdns.on("ready", () => speak(ttlS, [[address, mdns]]).catch(onProblem));
    mdns.on("error", onProblem);
    // What others send that is no DNS is none of our problems.
    mdns.on("warning", () => {});
    speakers.set(address, mdns);
  };
  const look = () => {
    const only = options.mdns?.interface ?? options.address;
    const all = localAddresses();
    const addresses = only === undefined ? all : [only];
    for (const [address, mdns] of speakers) {
      if (addresses.includes(address)) continue;
      speakers.delete(address);
      mdns.destroy();
    }
    for (const address of addresses) if (!speakers.has(address)) listen(address);
  };
  look();
  const looking = setInterval(look, lookMs);
  looking.unref();

  return {
    async close() {
      if (isClosed) return;
      isClosed = true;
      clearInterval(looking);
      await speak(0, speakers).catch(() => {});
      for (const mdns of speakers.values()) {
        await new Promise<void>((resolve) => mdns.destroy(() => resolve()));
      }
    },
  };
}
