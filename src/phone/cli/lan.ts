import openMdns, { type Options, type ResponsePacket } from "multicast-dns";
import { localAddresses } from "../../base/node/socket.ts";
import { toText } from "../../base/pure/bytes.ts";
import {
  isAnnounced,
  parseAnnouncement,
  service as relayService,
} from "../../protocol/wire/announce.ts";
import type { Suite } from "../../protocol/wire/signature.ts";

/** A relay, or a camera's own interface. */
export type FoundRelay = {
  /** "http://192.168.1.2:8470", as `openMailbox` takes it. */
  url: string;
  /** Which of those that were looked for it seems to hold: a hint, like everything it says. */
  mailboxes: Uint8Array[];
};

const packetsMost = 1000;
const relaysMost = 64;
const askAgainMs = 1000;

/**
 * Looks on the local network for relays that hold any of the given mailboxes
 * (protocol/wire/announce.md). Asks once a second until `timeoutMs` is over or `onFound` says that it
 * is enough. What is not an announcement is passed over.
 */
export async function findRelays({
  mailboxes,
  suite,
  timeoutMs,
  service = relayService,
  onFound = () => false,
  signal,
  mdns: options = {},
}: {
  mailboxes: readonly Uint8Array[];
  suite: Suite;
  timeoutMs: number;
  /** `cameraService`: cameras by the hashes of their identities, in the place of mailboxes. */
  service?: string;
  onFound?(relay: FoundRelay): boolean;
  signal?: AbortSignal;
  mdns?: Options;
}): Promise<FoundRelay[]> {
  // One for each address: the kernel would ask in one network only, and in none without a route out.
  const addresses = options.interface === undefined ? localAddresses() : [options.interface];
  const all = addresses.map((address) =>
    openMdns({ bind: "0.0.0.0", ...options, interface: address }),
  );
  const found = new Map<string, FoundRelay>();
  let packets = 0;
  try {
    await new Promise<void>((resolve, reject) => {
      const questions = [{ name: service, type: "PTR" as const }];
      const again = setInterval(() => {
        for (const mdns of all) mdns.query({ questions });
      }, askAgainMs);
      const end = () => {
        clearInterval(again);
        clearTimeout(timer);
        signal?.removeEventListener("abort", end);
        resolve();
      };
      const timer = setTimeout(end, timeoutMs);
      if (signal?.aborted) return end();
      signal?.addEventListener("abort", end, { once: true });
      const hear = (packet: ResponsePacket) => {
        if (++packets > packetsMost) return end();
        for (const relay of relaysIn(packet, mailboxes, suite, service)) {
          if (found.has(relay.url) || found.size >= relaysMost) continue;
          found.set(relay.url, relay);
          if (onFound(relay)) return end();
        }
      };
      for (const mdns of all) {
        mdns.on("error", reject);
        mdns.on("warning", () => {});
        mdns.on("ready", () => mdns.query({ questions }));
        mdns.on("response", hear);
      }
    });
  } finally {
    for (const mdns of all) await new Promise<void>((resolve) => mdns.destroy(() => resolve()));
  }
  return [...found.values()];
}

/** The relays that a packet tells of, with which of the mailboxes each has; one without any is left out. */
export function relaysIn(
  { answers = [], additionals = [] }: Pick<ResponsePacket, "answers" | "additionals">,
  mailboxes: readonly Uint8Array[],
  suite: Suite,
  service: string = relayService,
): FoundRelay[] {
  const all = [...answers, ...additionals].slice(0, 256);
  return all.flatMap((record): FoundRelay[] => {
    if (record.type !== "TXT" || !record.name.toLowerCase().endsWith(`.${service}`)) return [];
    const place = all.find((one) => one.type === "SRV" && one.name === record.name);
    if (place?.type !== "SRV") return [];
    try {
      const strings = [record.data]
        .flat()
        .map((one) => (typeof one === "string" ? one : toText(one)));
      const announcement = parseAnnouncement(strings);
      const known = mailboxes.filter((mailbox) => isAnnounced(announcement, mailbox, suite));
      const { port, target } = place.data;
      if (known.length === 0 || !(port > 0 && port < 65_536)) return [];
      const scheme = announcement.isTls ? "https" : "http";
      return all.flatMap((one) =>
        one.type === "A" && one.name === target && /^[0-9.]{7,15}$/.test(one.data)
          ? [{ url: `${scheme}://${one.data}:${port}`, mailboxes: known }]
          : [],
      );
    } catch {
      return [];
    }
  });
}
