import { randomBytes } from "node:crypto";
import type { RemoteInfo } from "node:dgram";
import { BlockList } from "node:net";
import { networkInterfaces } from "node:os";
import openMdns, { type MulticastDNS, type Options, type QueryPacket } from "multicast-dns";
import { localAddresses } from "./socket.ts";

// Says on the local network where a service is: DNS-SD (RFC 6763) over multicast DNS (RFC 6762).

export type ServiceOptions = {
  /** "_http._tcp.local" */
  type: string;
  port: number;
  /**
   * Called for each new instance name; what it returns gives the strings of the TXT record, each
   * time that they are said.
   */
  describe(): () => Promise<string[]>;
  /** The one address to speak at; undefined for all, also for those that come later. */
  address?: string | undefined;
  onProblem(error: Error): void;
  mdns?: Options;
  /** How long one instance name, which is random, is used. */
  freshMs?: number;
};

/** What asks for all types of service in a network (RFC 6763, section 9). */
const enumeration = "_services._dns-sd._udp.local";
const ttlS = 120;
/** For who asks without being a responder itself, and so hears no goodbye (RFC 6762, section 6.7). */
const legacyTtlS = 10;
/** One answer a second is enough for all who ask, and no more than that for who only wants noise. */
const leastMs = 1000;
/** A network may come and go after the start. */
const lookMs = 5000;
const dayMs = 86_400_000;

/** Answers until it is closed, and then says goodbye. It names no host but by its address. */
export function openService(options: ServiceOptions): { close(): Promise<void> } {
  const { type, port, onProblem, freshMs = dayMs } = options;
  /** One for each address: the kernel would choose one network for all, and none without a route out. */
  const speakers = new Map<string, MulticastDNS>();
  const fresh = () => ({ name: randomBytes(8).toString("hex"), text: options.describe() });
  let instance = fresh();
  let isClosed = false;

  const namesOf = () => [enumeration, type, `${instance.name}.${type}`, `${instance.name}.local`];
  const recordsAt = (address: string, txt: string[], ttl: number) => {
    const [, , name = "", target = ""] = namesOf();
    const types = { name: enumeration, type: "PTR" as const, ttl, data: type };
    // Everything is an answer: some readers pass over what is additional.
    return [
      { name: type, type: "PTR" as const, ttl, data: name },
      { name, type: "SRV" as const, ttl, data: { port, target, priority: 0, weight: 0 } },
      { name, type: "TXT" as const, ttl, data: txt },
      { name: target, type: "A" as const, ttl, data: address },
      // Others may offer the same type: a goodbye would be one for them too.
      ...(ttl > 0 ? [types] : []),
    ];
  };
  const speak = async (ttl: number, to: Iterable<readonly [string, MulticastDNS]>) => {
    const txt = await instance.text();
    if (isClosed && ttl > 0) return;
    await Promise.all(
      [...to].map(async ([address, mdns]) => {
        const answers = recordsAt(address, txt, ttl);
        await new Promise<void>((resolve) => mdns.respond({ answers }, () => resolve()));
      }),
    );
  };
  const whisper = async ({ id = 0, questions = [] }: QueryPacket, to: RemoteInfo) => {
    const near = [...speakers].find(([address]) => isNeighbour(address, to.address));
    if (!near) return;
    const [address, mdns] = near;
    const answers = recordsAt(address, await instance.text(), legacyTtlS);
    if (!isClosed) mdns.respond({ id, questions: questions.slice(0, 1), answers }, to);
  };
  const aloud = seldom(() => speak(ttlS, speakers).catch(onProblem));
  const alone = seldom((packet: QueryPacket, to: RemoteInfo) => {
    whisper(packet, to).catch(onProblem);
  });

  const listen = (address: string) => {
    const mdns = openMdns({ bind: "0.0.0.0", ...options.mdns, interface: address });
    const own = options.mdns?.port ?? 5353;
    mdns.on("query", (packet, from) => {
      const names = namesOf();
      const { questions = [] } = packet;
      if (!questions.some(({ name }) => names.includes(name.toLowerCase()))) return;
      if (from.port === own) aloud();
      else alone(packet, from);
    });
    mdns.on("ready", () => speak(ttlS, [[address, mdns]]).catch(onProblem));
    mdns.on("error", onProblem);
    // What others send that is no DNS is none of our problems.
    mdns.on("warning", () => {});
    speakers.set(address, mdns);
  };
  const look = () => {
    const only = options.mdns?.interface ?? options.address;
    const addresses = only === undefined ? localAddresses() : [only].flat();
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
    speak(0, speakers)
      .then(() => {
        instance = fresh();
      })
      .then(() => speak(ttlS, speakers))
      .catch(onProblem);
  }, freshMs);
  for (const timer of [looking, renewing]) timer.unref();

  return {
    async close() {
      if (isClosed) return;
      isClosed = true;
      clearInterval(looking);
      clearInterval(renewing);
      await speak(0, speakers).catch(() => {});
      for (const mdns of speakers.values()) {
        await new Promise<void>((resolve) => mdns.destroy(() => resolve()));
      }
    },
  };
}

function seldom<A extends unknown[]>(act: (...args: A) => void): (...args: A) => void {
  let lastMs = Number.NEGATIVE_INFINITY;
  return (...args) => {
    if (performance.now() - lastMs < leastMs) return;
    lastMs = performance.now();
    act(...args);
  };
}

/** Whether `other` is in a network in which this machine has `address`. */
function isNeighbour(address: string, other: string): boolean {
  const network = new BlockList();
  for (const { cidr, address: mine, family } of Object.values(networkInterfaces())
    .flat()
    .flatMap((one) => one ?? [])) {
    const prefix = Number(cidr?.split("/")[1]);
    if (family === "IPv4" && mine === address && prefix > 0)
      network.addSubnet(mine, prefix, "ipv4");
  }
  return network.check(other, "ipv4");
}
