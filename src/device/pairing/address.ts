import { isIPv4, isIPv6 } from "node:net";
import { networkInterfaces } from "node:os";
import type { Clock } from "../../base/pure/clock.ts";
import { Failure } from "../../base/pure/failure.ts";
import { mostAddresses } from "../../protocol/sealed/invite.ts";

// Where the link says that the camera is.

const lookEveryMs = 500;

/** This board's addresses: those of a real network first, bridges of containers last. */
export function boardAddresses(): Uint8Array[] {
  const found = Object.entries(networkInterfaces()).flatMap(([name, list]) =>
    (list ?? [])
      // Who scans the link does not know which of their links a link-local address is meant for.
      .filter(({ internal, address }) => !internal && !address.startsWith("fe80:"))
      .map(({ address }) => ({
        ip: ipBytes(address),
        isBridge: /^(docker|br-|veth|virbr|lxc)/.test(name),
      })),
  );
  const rank = ({ ip, isBridge }: (typeof found)[number]) =>
    (isBridge ? 2 : 0) + (ip.length === 4 ? 0 : 1);
  const list = found.sort((a, b) => rank(a) - rank(b)).map(({ ip }) => ip);
  return list.length > 0 ? list.slice(0, mostAddresses) : [ipBytes("127.0.0.1")];
}

/** Whether anybody could reach this board by one of them. */
export function hasNetwork(): boolean {
  return Object.values(networkInterfaces()).some((list) =>
    list?.some(({ internal, address }) => !internal && !address.startsWith("fe80:")),
  );
}

/** Resolves when the board is in a network, when that takes too long, or with the signal. */
export async function awaitNetwork(options: {
  withinMs: number;
  clock: Clock;
  signal: AbortSignal;
}): Promise<void> {
  const { withinMs, clock, signal } = options;
  const endUs = clock.monotonicUs() + withinMs * 1000;
  while (!hasNetwork() && clock.monotonicUs() < endUs && !signal.aborted) {
    await clock.sleep(lookEveryMs, signal).catch(() => {});
  }
}

/** @throws Failure misuse when it is no IP address, or one with a zone */
export function ipBytes(text: string): Uint8Array {
  if (isIPv4(text)) return Uint8Array.from(text.split("."), Number);
  if (!isIPv6(text) || /[%.]/.test(text)) {
    throw new Failure("misuse", `${text} is not an IP address`);
  }
  const [head = "", tail] = text.split("::");
  const words = (list: string) => list.split(":").filter(Boolean);
  const [first, last] = [words(head), words(tail ?? "")];
  const zeros = new Array<string>(8 - first.length - last.length).fill("0");
  const all = [...first, ...zeros, ...last].map((word) => Number.parseInt(word, 16));
  return Uint8Array.from(all.flatMap((word) => [word >> 8, word & 255]));
}
