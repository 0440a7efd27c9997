import { randomBytes } from "node:crypto";
import { networkInterfaces } from "node:os";
import openMdns, { type Options } from "multicast-dns";
import { nodeSuite } from "../base/node/crypto.ts";
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

const ttlS = 120;
/** One answer a second is enough for all who ask, and no more than that for who only wants noise. */
const leastMs = 1000;
const dayMs = 86_400_000;

export function openAnnouncer(options: AnnouncerOptions): { close(): Promise<void> } {
  const { port, isTls, mailboxes, onProblem, freshMs = dayMs } = options;
  const mdns = openMdns(options.mdns ?? {});
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

  const answersOf = async (ttl: number) => {
    const { instance, random } = secret;
    const known = (await mailboxes()).slice(0, marksMost);
    const txt = printAnnouncement(announce(known, { isTls, random, suite: nodeSuite }));
    const name = `${instance}.${service}`;
    const target = `${instance}.local`;
    return {
      answers: [{ name: service, type: "PTR" as const, ttl, data: name }],
      additionals: [
        { name, type: "SRV" as const, ttl, data: { port, target, priority: 0, weight: 0 } },
        { name, type: "TXT" as const, ttl, data: txt },
        ...addresses(options.mdns?.interface).map((data) => {
          return { name: target, type: "A" as const, ttl, data };
        }),
      ],
    };
  };
  const speak = async (ttl: number) => {
    const { answers, additionals } = await answersOf(ttl);
    if (isClosed && ttl > 0) return;
    // Everything is an answer: some readers pass over what is additional.
    await new Promise<void>((resolve) => {
      mdns.respond({ answers: [...answers, ...additionals] }, () => resolve());
    });
  };
  const answer = () => {
    if (performance.now() - lastMs < leastMs) return;
    lastMs = performance.now();
    speak(ttlS).catch(onProblem);
  };

  mdns.on("query", ({ questions = [] }) => {
    const { instance } = secret;
    const mine = [service, `${instance}.${service}`, `${instance}.local`];
    if (questions.some(({ name }) => mine.includes(name.toLowerCase()))) answer();
  });
  mdns.on("ready", answer);
  mdns.on("error", onProblem);
  // What others send that is no DNS is none of our problems.
  mdns.on("warning", () => {});
  const timer = setInterval(() => {
    speak(0)
      .then(renew)
      .then(() => speak(ttlS))
      .catch(onProblem);
  }, freshMs);
  timer.unref();

  return {
    async close() {
      if (isClosed) return;
      isClosed = true;
      clearInterval(timer);
      await speak(0).catch(() => {});
      await new Promise<void>((resolve) => mdns.destroy(() => resolve()));
    },
  };
}

/** IPv4 addresses by which the local network reaches this machine. */
function addresses(only: string | undefined): string[] {
  if (only !== undefined) return [only];
  return Object.values(networkInterfaces())
    .flatMap((all) => all ?? [])
    .filter(({ family, internal }) => family === "IPv4" && !internal)
    .map(({ address }) => address);
}
