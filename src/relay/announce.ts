import { randomBytes } from "node:crypto";
import openMdns, { type MulticastDNS, type Options } from "multicast-dns";
import { nodeSuite } from "../base/node/crypto.ts";
import { localAddresses } from "../base/node/socket.ts";
import { toHex } from "../base/pure/bytes.ts";
import {
  announce,
  marksMost,
  printAnnouncement,
  saltBytes,
  service,
} from "../protocol/wire/announce.ts";

// Tells phones on the local network where this relay is: protocol/wire/announce.md.

export type AnnouncerOptions = {
  port: number;
  isTls: boolean;
  /** The mailboxes here, as they are when somebody asks. */
  mailboxes(): Promise<Uint8Array[]>;
  onProblem(error: Error): void;
  mdns?: Options;
  /** How long one instance name and one salt are used. */
  freshMs?: number;
};

/** Of a relay that has more, the others are not told of: it is not one at home. */
export const announcedMost = 256;
const ttlS = 120;
/** One answer a second is enough for all who ask, and no more than that for who only wants noise. */
const leastMs = 1000;
/** A network may come and go after the start. */
const lookMs = 5000;
const dayMs = 86_400_000;

export function openAnnouncer(options: AnnouncerOptions): { close(): Promise<void> } {
  const { port, isTls, mailboxes, onProblem, freshMs = dayMs } = options;
  let lastMs = Number.NEGATIVE_INFINITY;
  let isClosed = false;
  let secret = { instance: "", random: new Uint8Array() };
  const renew = () => {
    secret = {
      instance: toHex(randomBytes(8)),
      random: new Uint8Array(randomBytes(saltBytes + marksMost * 6)),
    };
  };
  renew();

  /** One for each address: the kernel would choose one network for all, and none without a route out. */
  const speakers = new Map<string, MulticastDNS>();
  let from = 0;

  /** All mailboxes, as many at a time as an announcement has room for. */
  const nextOf = (all: Uint8Array[]): Uint8Array[] => {
    if (from >= all.length) from = 0;
    const some = all.slice(from, from + marksMost);
    from += marksMost;
    return some;
  };
  const recordsAt = (address: string, txt: string[], ttl: number) => {
    const name = `${secret.instance}.${service}`;
    const target = `${secret.instance}.local`;
    // Everything is an answer: some readers pass over what is additional.
    return [
      { name: service, type: "PTR" as const, ttl, data: name },
      { name, type: "SRV" as const, ttl, data: { port, target, priority: 0, weight: 0 } },
      { name, type: "TXT" as const, ttl, data: txt },
      { name: target, type: "A" as const, ttl, data: address },
    ];
  };
  const speak = async (ttl: number, to: readonly (readonly [string, MulticastDNS])[]) => {
    const known = nextOf(await mailboxes());
    if (isClosed && ttl > 0) return;
    const { random } = secret;
    const txt = printAnnouncement(announce(known, { isTls, random, suite: nodeSuite }));
    await Promise.all(
      to.map(async ([address, mdns]) => {
        const answers = recordsAt(address, txt, ttl);
        await new Promise<void>((resolve) => mdns.respond({ answers }, () => resolve()));
      }),
    );
  };
  const answer = () => {
    if (performance.now() - lastMs < leastMs) return;
    lastMs = performance.now();
    speak(ttlS, [...speakers]).catch(onProblem);
  };
  const listen = (address: string) => {
    const mdns = openMdns({ bind: "0.0.0.0", ...options.mdns, interface: address });
    mdns.on("query", ({ questions = [] }) => {
      const { instance } = secret;
      const mine = [service, `${instance}.${service}`, `${instance}.local`];
      if (questions.some(({ name }) => mine.includes(name.toLowerCase()))) answer();
    });
    mdns.on("ready", () => speak(ttlS, [[address, mdns]]).catch(onProblem));
    mdns.on("error", onProblem);
    // What others send that is no DNS is none of our problems.
    mdns.on("warning", () => {});
    speakers.set(address, mdns);
  };
  const look = () => {
    const only = options.mdns?.interface;
    const addresses = only === undefined ? localAddresses() : [only];
    for (const [address, mdns] of speakers) {
      if (addresses.includes(address)) continue;
      speakers.delete(address);
      mdns.destroy();
    }
    for (const address of addresses) if (!speakers.has(address)) listen(address);
  };
  look();
  const looking = setInterval(look, lookMs);
  const renewing = setInterval(() => {
    speak(0, [...speakers])
      .then(renew)
      .then(() => speak(ttlS, [...speakers]))
      .catch(onProblem);
  }, freshMs);
  for (const timer of [looking, renewing]) timer.unref();

  return {
    async close() {
      if (isClosed) return;
      isClosed = true;
      clearInterval(looking);
      clearInterval(renewing);
      await speak(0, [...speakers]).catch(() => {});
      for (const mdns of speakers.values()) {
        await new Promise<void>((resolve) => mdns.destroy(() => resolve()));
      }
    },
  };
}
