import { lookup, Resolver } from "node:dns/promises";
import { request as requestPlain } from "node:http";
import { request as requestTls } from "node:https";
import { BlockList, isIP } from "node:net";
import { Failure } from "../base/pure/failure.ts";
import {
  type Endpoint,
  type PushMessage,
  parseEndpoint,
  type Verdict,
  verdictOf,
} from "../protocol/wire/push.ts";
import type { Config } from "./config.ts";

// Hands messages of cameras on to push services (protocol/wire/push.md). Whoever has a mailbox here says
// where to, so nothing is reached that the operator did not name: no other host, no address that only
// this machine can see. Nothing of a message is kept, logged, or in an error.

export type Forwarder = {
  /** Throws Failure "refused", stages "push" and "host", for what is not handed on from here. */
  check(message: PushMessage): void;
  /** Whether the very same content is on its way, or was accepted a moment ago. */
  knows(digest: string): boolean;
  /** Never rejects for what the service does; with "refused", "host", for its address. */
  forward(message: PushMessage, digest: string): Promise<Verdict>;
};

export type ForwarderOptions = {
  push: Pick<Config["push"], "forward" | "services" | "own">;
  monotonicMs(): number;
  /** The addresses of a name. */
  resolve?: ((host: string) => Promise<readonly string[]>) | undefined;
  /** Who vouches for services, in place of the usual ones. */
  ca?: string | undefined;
};

const timeoutMs = 10_000;
/** For a connection to one of several addresses, before the next is tried. */
const attemptMs = 1_000;
/** Addresses of a name that are tried, of IPv4 and of IPv6. */
const mostOfKind = 4;
const mostHeadBytes = 16 * 1024;
const mostAtOnce = 32;
/** Longer than a signed request can be replayed (request.md). */
const rememberMs = 660_000;
const mostRemembered = 4096;

export function openForwarder(options: ForwarderOptions): Forwarder {
  const { push, monotonicMs, ca } = options;
  const { resolve = lookUp, resolve: resolveService = askServers } = options;
  /** Digests of what was accepted, the oldest first. */
  const accepted = new Map<string, number>();
  const underWay = new Map<string, Promise<Verdict>>();
  const isOwn = ({ origin }: Endpoint) => push.own.some((one) => normal(one) === origin);

  const tidy = () => {
    for (const [digest, atMs] of accepted) {
      const isOver = monotonicMs() - atMs > rememberMs || accepted.size > mostRemembered;
      if (!isOver) break;
      accepted.delete(digest);
    }
  };
  const addressesOf = async (endpoint: Endpoint): Promise<readonly string[]> => {
    const host = endpoint.host.replace(/^\[|\]$/g, "");
    const [find, isOwns] = isOwn(endpoint) ? [resolve, true] : [resolveService, false];
    const found = isIP(host) ? [host] : await find(host).catch(() => []);
    const usable = isOwns ? found : found.filter(isPublic);
    if (found.length > 0 && usable.length === 0) {
      throw new Failure("refused", "not an address to hand a message to", { stage: "host" });
    }
    // Some of each kind: this machine, or theirs, may have a way out by one of them alone.
    return [4, 6].flatMap((kind) =>
      usable.filter((one) => isIP(one) === kind).slice(0, mostOfKind),
    );
  };
  const hand = async (message: PushMessage): Promise<Verdict> => {
    const endpoint = parseEndpoint(message.endpoint);
    const addresses = await addressesOf(endpoint);
    if (addresses.length === 0) return away;
    return await post({ endpoint, addresses, message, ca });
  };

  return {
    check({ endpoint }) {
      if (!push.forward) {
        throw new Failure("refused", "this relay hands no messages on", { stage: "push" });
      }
      const to = parseEndpoint(endpoint);
      const { isTls, host, origin } = to;
      const isKnown =
        isTls && origin === `https://${host}` && push.services.some((one) => isOf(host, one));
      if (isKnown || isOwn(to)) return;
      throw new Failure("refused", "no push service that this relay knows (push.services)", {
        stage: "host",
      });
    },
    knows(digest) {
      tidy();
      return accepted.has(digest) || underWay.has(digest);
    },
    async forward(message, digest) {
      tidy();
      if (accepted.has(digest)) return { kind: "accepted" };
      const same = underWay.get(digest);
      if (same) return await same;
      if (underWay.size >= mostAtOnce) return { kind: "later", seconds: 1 };
      const handing = hand(message);
      underWay.set(digest, handing);
      try {
        const verdict = await handing;
        if (verdict.kind === "accepted") accepted.set(digest, monotonicMs());
        return verdict;
      } finally {
        underWay.delete(digest);
      }
    },
  };
}

const away: Verdict = { kind: "later", seconds: 0 };

/** `service` is a host, or "*." and what it ends in. */
function isOf(host: string, service: string): boolean {
  return service.startsWith("*.") ? host.endsWith(service.slice(1)) : host === service;
}

/** As endpoints are written: without the scheme's own port. */
function normal(origin: string): string {
  return origin.replace(origin.startsWith("https:") ? /:443$/ : /:80$/, "");
}

/** For the operator's own: as this machine finds names, in files and at home too. */
async function lookUp(host: string): Promise<string[]> {
  const found = await lookup(host, { all: true });
  return found.map(({ address }) => address);
}

/**
 * For all others, whose names whoever has a mailbox here may choose: by the name servers alone, and not on
 * the few threads that the folder needs too.
 */
async function askServers(host: string): Promise<string[]> {
  const resolver = new Resolver({ timeout: 2_000, tries: 2 });
  const found = await Promise.all([
    resolver.resolve4(host).catch(() => []),
    resolver.resolve6(host).catch(() => []),
  ]);
  return found.flat();
}

const reserved = new BlockList();
for (const [network, bits] of [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.88.99.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 3],
] as const) {
  reserved.addSubnet(network, bits, "ipv4");
}
const global6 = new BlockList();
global6.addSubnet("2000::", 3, "ipv6");
/** Of these, what is for documents, or has another address in it (Teredo, 6to4). */
const special6 = new BlockList();
for (const [network, bits] of [
  ["2001::", 23],
  ["2001:db8::", 32],
  ["2002::", 16],
  ["3fff::", 20],
] as const) {
  special6.addSubnet(network, bits, "ipv6");
}

/** Whether an address is anybody's to reach: nothing of this machine, this network, or no network. */
export function isPublic(address: string): boolean {
  const version = isIP(address);
  if (version === 4) return !reserved.check(address, "ipv4");
  // Also an IPv4 address in the clothes of an IPv6 one is outside of 2000::/3.
  if (version !== 6 || address.includes("%")) return false;
  return global6.check(address, "ipv6") && !special6.check(address, "ipv6");
}

/** One request to the first of the addresses that answers, whatever their name means meanwhile. */
function post(options: {
  endpoint: Endpoint;
  addresses: readonly string[];
  message: PushMessage;
  ca: string | undefined;
}): Promise<Verdict> {
  const { endpoint, addresses, message, ca } = options;
  const { isTls, host, port, origin, path } = endpoint;
  const { authorization, ttlS, urgency, topic, body } = message;
  const bare = host.replace(/^\[|\]$/g, "");
  const found = addresses.map((address) => ({ address, family: isIP(address) }));
  return new Promise((resolve) => {
    const request = (isTls ? requestTls : requestPlain)({
      ...{ method: "POST", host: bare, port, path, agent: false },
      // Nobody is asked for the name again. One after the other, and nothing is sent before one answers.
      lookup: (_name, _options, done) => done(null, found),
      ...{ autoSelectFamily: true, autoSelectFamilyAttemptTimeout: attemptMs },
      ...{ maxHeaderSize: mostHeadBytes, insecureHTTPParser: false },
      ...(isTls && !isIP(bare) ? { servername: host } : {}),
      ...(isTls ? { minVersion: "TLSv1.2" as const, ...(ca ? { ca } : {}) } : {}),
      headers: {
        ...{ host: origin.slice(origin.indexOf("//") + 2), authorization },
        ...{ ttl: String(ttlS), urgency, ...(topic === "" ? {} : { topic }) },
        ...{ "content-type": "application/octet-stream", "content-encoding": "aes128gcm" },
        "content-length": body.length,
      },
    });
    const end = (verdict: Verdict) => {
      clearTimeout(timer);
      request.destroy();
      resolve(verdict);
    };
    const timer = setTimeout(() => end(away), timeoutMs);
    request.on("error", () => end(away));
    request.on("response", ({ statusCode = 0, headers }) => {
      end(verdictOf(statusCode, headers["retry-after"], headers.date));
    });
    request.end(body);
  });
}
