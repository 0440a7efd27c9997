import { isIP } from "node:net";
import type { Log } from "../../base/node/log.ts";
import { systemClock } from "../../base/node/time.ts";
import { explain, Failure, isFailure } from "../../base/pure/failure.ts";
import { type AccessPoint, accessPointOf, type Invite } from "../../protocol/sealed/invite.ts";
import type { Wifi } from "../../protocol/sealed/lens.ts";
import {
  type NetworkAnswer,
  type NetworkRequest,
  networkVerdicts,
} from "../../protocol/sealed/network.ts";
import { type Network, openNetwork, type Spot } from "../network/network.ts";
import { hasNetwork } from "./address.ts";

// The board's networks while it is paired: its own, in which a phone reaches it, and the one that its
// owner names.

/** When the board makes a network of its own. */
export const ways = ["auto", "always", "never"] as const;
export type Way = (typeof ways)[number];

export type Reach = AsyncDisposable & {
  /** The board's own network, while it is open. */
  readonly point: AccessPoint | undefined;
  /** Opens it where that is wanted: what it returns is the one address of the link then. */
  open(invite: Pick<Invite, "identity" | "secret">): Promise<string | undefined>;
  /**
   * Joins what a phone asks for that came `from` an address, or by a way of that name. Where that takes
   * the phone's way away, `leave` does it, to be called when the answer is sent and the phone is gone; it
   * resolves to whether the network was joined.
   */
  join(
    request: NetworkRequest,
    from: string,
  ): Promise<{ answer: NetworkAnswer; leave?: () => Promise<boolean> }>;
  /** The same for a phone that waits elsewhere. Throws Failure when the network was not joined. */
  joinAtOnce(wifi: Wifi): Promise<void>;
  /** What can be joined. Opens the board's Wi-Fi: throws as `openNetwork`. */
  air(): Promise<Pick<Network, "scan">>;
};

export function openReach(options: {
  readonly state: string;
  readonly log: Log;
  readonly way: Way;
  /** It was said where to listen. */
  readonly isPlaced: boolean;
  /** For tests. */
  readonly openNetwork?: () => Promise<Network>;
}): Reach {
  const { state, log, way, isPlaced } = options;
  const { openNetwork: open = () => openNetwork({ state, clock: systemClock, log }) } = options;
  let opening: Promise<Network> | undefined;
  let spot: Spot | undefined;
  let point: AccessPoint | undefined;
  let attempt: Promise<NetworkAnswer> | undefined;
  const network = () => {
    opening ??= open().catch((error) => {
      // NetworkManager may come meanwhile.
      opening = undefined;
      throw error;
    });
    return opening;
  };
  const closeSpot = async () => {
    await spot?.close();
    spot = point = undefined;
  };
  const openSpot = async (planned: AccessPoint) => {
    const opened = await network();
    await closeSpot();
    spot = await opened.openSpot(planned);
    point = planned;
  };

  const run = async (wifi: Wifi, id: Uint8Array | undefined): Promise<NetworkAnswer> => {
    const { ssid, password, hidden: isHidden } = wifi;
    const wanted = { ssid, password, isHidden, ...(id ? { request: id } : {}) };
    try {
      const opened = await network();
      const known = id && (await opened.answered(id));
      const { verdict = "interrupted", address, isRestored } = known ?? (await opened.join(wanted));
      if (!known && verdict === "joined") await closeSpot();
      // A NetworkManager that was started anew has forgotten it.
      if (!known && point && isRestored === false) await openSpot(point);
      return { verdict, ...(address === undefined ? {} : { address }) };
    } catch (error) {
      if (!isFailure(error)) throw error;
      log.warn(`the network that a phone named cannot be joined: ${explain(error)}`);
      return { verdict: isFailure(error, "misuse") ? "unfit" : "unable" };
    }
  };
  const join = (wifi: Wifi, id?: Uint8Array) => {
    // One at a time: each sees how the one before ended.
    const before = attempt;
    attempt = (async () => {
      await before?.catch(() => {});
      return await run(wifi, id);
    })();
    return attempt;
  };

  return {
    get point() {
      return point;
    },
    async open(invite) {
      const isWanted = way === "auto" ? !isPlaced && !hasNetwork() : way === "always";
      if (!isWanted) return undefined;
      const planned = accessPointOf(invite);
      try {
        await openSpot(planned);
      } catch (error) {
        // Unless it has to be, a board that can make none is reached as it is.
        if (way === "always" || !isFailure(error)) throw error;
        log.info(`no network of its own: ${explain(error)}`);
      }
      return spot?.address;
    },
    async join({ id, wifi }, from) {
      // While it is open, whoever has an address is in it.
      const isInside = spot !== undefined && isIP(from) > 0;
      if (!isInside || (await (await network()).answered(id))) {
        return { answer: await join(wifi, id) };
      }
      const leave = async () => (await join(wifi, id)).verdict === "joined";
      return { answer: { verdict: "leaving" }, leave };
    },
    async joinAtOnce(wifi) {
      const { verdict } = await join(wifi);
      if (verdict !== "joined") throw new Failure("refused", networkVerdicts[verdict]);
    },
    air: network,
    async [Symbol.asyncDispose]() {
      await attempt?.catch(() => {});
      await closeSpot();
      await (await opening?.catch(() => undefined))?.close();
    },
  };
}
