import type { IncomingMessage } from "node:http";
import { hostname } from "node:os";
import { networkOf } from "./limit.ts";

// Under which names the relay answers. What is signed for another relay is not carried out here,
// or a hostile one could pass on what it was asked.

export type Authorities = {
  /** Those of the settings; when there are any, no other counts. */
  named: ReadonlySet<string>;
  /** The port that is left out of an authority. */
  schemePort: 80 | 443;
};

/** What the request calls this relay, if it may be called so. */
export function authorityOf(
  request: IncomingMessage,
  { named, schemePort }: Authorities,
): string | undefined {
  const authority = request.headers.host ?? "";
  if (named.size > 0) return named.has(authority) ? authority : undefined;
  const { localAddress = "", localPort = 0 } = request.socket;
  const end = localPort === schemePort ? "" : `:${localPort}`;
  return ownNames(localAddress).some((name) => authority === name + end) ? authority : undefined;
}

/** Without settings: the address that was connected to, and what this machine calls itself. */
function ownNames(localAddress: string): string[] {
  const mapped = /^::ffff:[0-9.]+$/i.test(localAddress) ? networkOf(localAddress) : localAddress;
  const address = mapped.includes(":") ? `[${mapped.split("%")[0]}]` : mapped;
  const name = hostname().toLowerCase();
  return [address, "localhost", name, `${name.split(".")[0]}.local`];
}
