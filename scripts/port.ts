import { randomInt } from "node:crypto";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:net";

const range = "/proc/sys/net/ipv4/ip_local_port_range";
/** Above the last one that browsers and fetch refuse, 10080. */
const lowest = 11_000;
const given = new Set<number>();

/**
 * A port of this machine at which nobody listens. It lies below those that the kernel gives to whoever
 * connects to somebody: one of them may be taken again before its owner listens, or while it is restarted.
 */
export async function freePort(): Promise<number> {
  const [above = 0] = existsSync(range) ? readFileSync(range, "utf8").split(/\s/).map(Number) : [];
  for (let tries = 0; above - lowest > 1000 && tries < 100; tries++) {
    const port = randomInt(lowest, above);
    if (!given.has(port) && (await listenOnce(port).catch(() => 0)) === port) {
      given.add(port);
      return port;
    }
  }
  return await listenOnce(0);
}

async function listenOnce(wanted: number): Promise<number> {
  const server = createServer().listen(wanted, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}
