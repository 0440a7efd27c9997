import { randomUUID } from "node:crypto";
import { fromText } from "../../base/pure/bytes.ts";
import type { Clock } from "../../base/pure/clock.ts";
import { Failure } from "../../base/pure/failure.ts";
import type { AccessPoint } from "../../protocol/sealed/invite.ts";
import { activate } from "./activate.ts";
import { type Profile, type Radio, states } from "./radio.ts";

// The board's own access point: for phones that are to reach a board without a network.

/** Its address in that network, whatever else it is called (protocol/sealed/invite.md). */
export const spotAddress = "10.71.83.1";
const startMs = 40_000;

export type Spot = {
  readonly address: string;
  /** Takes it down; NetworkManager goes back to the networks that it knows. */
  close(): Promise<void>;
};

/**
 * Takes the radio from the network that it is in. Throws Failure "refused" when NetworkManager makes no
 * access point in time.
 */
export async function openSpot(
  point: AccessPoint,
  { radio, clock }: { radio: Radio; clock: Clock },
): Promise<Spot> {
  const uuid = randomUUID();
  // By its name: paths are others after NetworkManager was started anew.
  const close = async () => {
    const profile = await radio.profileOf(uuid);
    if (profile) await radio.removeProfile(profile);
  };
  const { moves } = await activate(spotProfile(point, uuid), undefined, startMs, { radio, clock });
  if (moves?.at(-1)?.state === states.up) return { address: spotAddress, close };
  await close();
  throw new Failure("refused", `NetworkManager made no access point on ${radio.interface}`, {
    hint: "Is dnsmasq-base installed? journalctl -u NetworkManager says more",
  });
}

function spotProfile({ ssid, password }: AccessPoint, uuid: string): Profile {
  return {
    connection: {
      ...{ id: ["s", ssid], uuid: ["s", uuid], type: ["s", "802-11-wireless"] },
      autoconnect: ["b", false],
    },
    // A channel that every country allows.
    "802-11-wireless": {
      ...{ ssid: ["ay", [...fromText(ssid)]], mode: ["s", "ap"] },
      ...{ band: ["s", "bg"], channel: ["u", 6] },
    },
    "802-11-wireless-security": {
      ...{ "key-mgmt": ["s", "wpa-psk"], psk: ["s", password] },
      ...{ proto: ["as", ["rsn"]], pairwise: ["as", ["ccmp"]], group: ["as", ["ccmp"]] },
    },
    ipv4: {
      method: ["s", "shared"],
      "address-data": [
        "aa{sv}",
        [
          [
            ["address", ["s", spotAddress]],
            ["prefix", ["u", 24]],
          ],
        ],
      ],
    },
    ipv6: { method: ["s", "disabled"] },
  };
}
