import { randomBytes } from "node:crypto";
import { nodeSuite } from "../base/node/crypto.ts";
import { openService, type ServiceOptions } from "../base/node/dnssd.ts";
import {
  announce,
  marksMost,
  printAnnouncement,
  randomMost,
  service,
} from "../protocol/wire/announce.ts";

// Tells phones on the local network where this relay is: protocol/wire/announce.md.

export type AnnouncerOptions = Pick<ServiceOptions, "port" | "onProblem" | "mdns" | "freshMs"> & {
  isTls: boolean;
  /** The mailboxes here, as they are when somebody asks. */
  mailboxes(): Promise<Uint8Array[]>;
};

/** Of a relay that has more, the others are not told of: it is not one at home. */
export const announcedMost = 256;

export function openAnnouncer({ isTls, mailboxes, ...options }: AnnouncerOptions) {
  let from = 0;
  /** All mailboxes, as many at a time as an announcement has room for. */
  const nextOf = (all: Uint8Array[]): Uint8Array[] => {
    if (from >= all.length) from = 0;
    const some = all.slice(from, from + marksMost);
    from += marksMost;
    return some;
  };
  const describe = () => {
    const random = new Uint8Array(randomBytes(randomMost));
    return async () =>
      printAnnouncement(announce(nextOf(await mailboxes()), { isTls, random, suite: nodeSuite }));
  };
  return openService({ ...options, type: service, describe });
}
