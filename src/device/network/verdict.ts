import { type Move, states } from "./radio.ts";
import type { Security } from "./seen.ts";

/** How an attempt to join a network ended. */
export type Verdict =
  | "joined"
  | "wrong-password"
  | "no-such-network"
  | "no-address" // let in, and nobody gave it an address
  | "turned-away" // by the network, for another reason than the password
  | "unfit" // it takes no password, needs one, or is protected in a way that is not joined
  | "interrupted"; // NetworkManager, the device or this program ended meanwhile

// NMDeviceStateReason.
const reasons = {
  addressing: [5, 6, 15, 16, 17], // IP configuration, DHCP
  noSecrets: [7],
  supplicant: [8, 9, 10, 11], // it left, its configuration, it failed, it took too long
  notFound: [53],
  leaving: [2, 3, 36, 37, 42], // unmanaged, asleep or removed
};

/**
 * What the moves of a device from its activation on say. A wrong password shows itself in WPA2 by a
 * question for another one (`needsSecret`); in WPA3 the access point breaks off, which a full one
 * does too: where it was heard, it is most likely the password. Of a network that was never heard
 * (`security` is undefined) the question for another password proves nothing: NetworkManager asks it
 * too when nobody answered.
 */
export function judge(moves: readonly Move[], security: Security | undefined): Verdict {
  const last = moves.at(-1);
  if (last?.state === states.up) return "joined";
  const why = last?.reason ?? 0;
  const got = (state: number) => moves.some((move) => move.state === state);
  if (reasons.leaving.includes(why)) return "interrupted";
  if (got(states.addressing) && !reasons.supplicant.includes(why)) return "no-address";
  if (reasons.addressing.includes(why)) return "no-address";
  if (security === undefined) return "no-such-network";
  if (reasons.noSecrets.includes(why) || got(states.needsSecret)) return "wrong-password";
  if (reasons.notFound.includes(why)) {
    return security === "wpa3" ? "wrong-password" : "no-such-network";
  }
  if (reasons.supplicant.includes(why)) {
    return security === "wpa3" ? "wrong-password" : "turned-away";
  }
  return "turned-away";
}
