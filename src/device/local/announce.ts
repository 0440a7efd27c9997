import { randomBytes } from "node:crypto";
import { nodeSuite } from "../../base/node/crypto.ts";
import { openService, type ServiceOptions } from "../../base/node/dnssd.ts";
import {
  announce,
  cameraService,
  printAnnouncement,
  randomMost,
} from "../../protocol/wire/announce.ts";

// Says on the local network where the interface is: local.md. As a relay does it
// (protocol/wire/announce.md), under a service of its own: its owners' phones recognise it, nobody else does.

export type AnnouncerOptions = Pick<ServiceOptions, "port" | "address" | "onProblem" | "mdns"> & {
  isTls: boolean;
  /** Of the camera's identity; undefined for a camera that is nobody's. */
  hash: Uint8Array | undefined;
};

export function openAnnouncer({ isTls, hash, ...options }: AnnouncerOptions) {
  const describe = () => {
    const random = new Uint8Array(randomBytes(randomMost));
    const text = printAnnouncement(
      announce(hash ? [hash] : [], { isTls, random, suite: nodeSuite }),
    );
    return async () => text;
  };
  return openService({ ...options, type: cameraService, describe });
}
