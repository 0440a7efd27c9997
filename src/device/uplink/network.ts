import { readFile } from "node:fs/promises";
import type { Clock } from "../../base/pure/clock.ts";

const everyMs = 2_000;

/**
 * Which networks this board is connected to, as text that changes when they do: interface,
 * destination and gateway of each route, of both protocols, without counters. Empty where nothing
 * can be read: then only the back-off decides.
 */
export async function readRoutes(folder = "/proc/net"): Promise<string> {
  const read = (file: string) => readFile(`${folder}/${file}`, "utf8").catch(() => "");
  const v4 = (await read("route")).split("\n").slice(1);
  const v6 = (await read("ipv6_route")).split("\n");
  const lines = [
    // Iface Destination Gateway …
    ...v4.map((line) => line.split(/\s+/).slice(0, 3)),
    // destination, its length, …, next hop, …, interface
    ...v6.map((line) => {
      const fields = line.trim().split(/\s+/);
      return [fields[9], fields[0], fields[1], fields[4]];
    }),
  ];
  const isOutside = ([device = ""]: (string | undefined)[]) => device !== "" && device !== "lo";
  return lines
    .filter(isOutside)
    .map((fields) => fields.join(" "))
    .sort()
    .join("\n");
}

/** Calls `onChange` when a network came that was not there before. Resolves when the signal aborts. */
export async function watchNetwork(options: {
  clock: Clock;
  signal: AbortSignal;
  onChange(): void;
  routes?: () => Promise<string>;
}): Promise<void> {
  const { clock, signal, onChange, routes = readRoutes } = options;
  let before = await routes();
  while (!signal.aborted) {
    await clock.sleep(everyMs, signal).catch(() => {});
    if (signal.aborted) return;
    const now = await routes();
    const known = new Set(before.split("\n"));
    if (now.split("\n").some((line) => line !== "" && !known.has(line))) onChange();
    before = now;
  }
}
