import { join as joinPath } from "node:path";
import { openBus } from "../../base/node/bus.ts";
import { openDurable } from "../../base/node/durable.ts";
import type { Log } from "../../base/node/log.ts";
import { equal } from "../../base/pure/bytes.ts";
import type { Clock } from "../../base/pure/clock.ts";
import { explain, isFailure } from "../../base/pure/failure.ts";
import type { AccessPoint } from "../../protocol/sealed/invite.ts";
import { type JoinOptions, join, listen, settle } from "./join.ts";
import { openPage } from "./page.ts";
import type { Wanted } from "./profile.ts";
import { openRadio } from "./radio.ts";
import { type Result, readResult } from "./result.ts";
import type { Seen } from "./seen.ts";
import { openSpot, type Spot } from "./spot.ts";

// The board's Wi-Fi, opened and put together.

export type Network = {
  /** The name of the network in use and the board's addresses there. */
  status(): Promise<{ ssid: Uint8Array | undefined; addresses: readonly string[] }>;
  scan(): Promise<Seen[]>;
  /** See join.ts. */
  join(wanted: Wanted): Promise<Result>;
  /** Of the last attempt, also of one before the program was started. */
  result(): Promise<Result | undefined>;
  /** The same if it ended and answers this request. */
  answered(request: Uint8Array): Promise<Result | undefined>;
  /** Takes every Wi-Fi network from NetworkManager, whoever told it; gives how many there were. */
  forget(): Promise<number>;
  /** The board's own access point (spot.ts), and in it a page that says what to do. */
  openSpot(point: AccessPoint): Promise<Spot>;
  close(): Promise<void>;
};

/**
 * Throws Failure "absent" when there is no NetworkManager or no Wi-Fi, "denied" when the radio is off or
 * a right is missing, "busy" when another program of this camera joins a network.
 */
export async function openNetwork(options: {
  readonly state: string;
  readonly clock: Clock;
  readonly log: Log;
}): Promise<Network> {
  const { clock, log } = options;
  const bus = await openBus();
  try {
    const radio = await openRadio(bus);
    const folder = await openDurable(joinPath(options.state, "network"));
    const joining: JoinOptions = { radio, folder, clock, log };
    await settle(joining);
    return {
      async status() {
        const active = await radio.active();
        return { ssid: active?.ssid, addresses: await radio.addresses() };
      },
      scan: () => listen(radio, []),
      join: (wanted) => join(wanted, joining),
      result: () => readResult(folder),
      async answered(request) {
        const last = await readResult(folder);
        return last?.verdict && last.request && equal(last.request, request) ? last : undefined;
      },
      async forget() {
        const profiles = await radio.profilesOf(undefined);
        for (const profile of profiles) await radio.removeProfile(profile);
        return profiles.length;
      },
      async openSpot(point) {
        const spot = await openSpot(point, { radio, clock });
        const page = await openPage().catch((error) => {
          // Where it is taken it is the service's, which shows the same.
          const text = `no page of its own: ${explain(error)}`;
          log[isFailure(error, "busy") ? "info" : "warn"](text);
          return undefined;
        });
        return {
          address: spot.address,
          async close() {
            await page?.close();
            await spot.close();
          },
        };
      },
      async close() {
        await folder.close();
        bus.close();
      },
    };
  } catch (error) {
    bus.close();
    throw error;
  }
}
