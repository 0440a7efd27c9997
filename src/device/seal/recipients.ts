import { toHex } from "../../base/pure/bytes.ts";
import type { Adopted } from "../../protocol/sealed/pairing.ts";
import type { Supply } from "../../protocol/sealed/supply.ts";

export const dayMs = 86_400_000;

/** A public key that something is sealed to, and what has to be said of it. */
export type Chosen = {
  phone: Uint8Array;
  publicKey: Uint8Array;
} & ({ from: "one-time"; index: number } | { from: "day"; day: number } | { from: "restart" });

/**
 * Chooses one key of each member for one clip: the lowest one-time key that was not spent, else
 * today's key, else the restart key. After a new incarnation only the restart key: what was spent
 * before is not known any more. Members without a key are left out.
 *
 * @param spent phone in hexadecimal → lowest one-time index that is not spent
 */
export function chooseForClip(
  adopted: Adopted,
  at: { incarnation: number; day: number; spent: Readonly<Record<string, number>> },
): Chosen[] {
  return suppliesOf(adopted).flatMap((supply): Chosen[] => {
    const { phone, firstIndex, oneTime } = supply;
    const index = Math.max(at.spent[toHex(phone)] ?? firstIndex, firstIndex);
    const publicKey = oneTime[index - firstIndex];
    if (publicKey && supply.incarnation === at.incarnation) {
      return [{ phone, publicKey, from: "one-time", index }];
    }
    return chooseLasting(supply, at);
  });
}

/** Chooses today's key of each member, for an epoch of the log. */
export function chooseForEpoch(
  adopted: Adopted,
  at: { incarnation: number; day: number },
): Chosen[] {
  return suppliesOf(adopted).flatMap((supply) => chooseLasting(supply, at));
}

function chooseLasting(
  { phone, days, firstDay, restart, incarnation }: Supply,
  at: { incarnation: number; day: number },
): Chosen[] {
  const today = incarnation === at.incarnation ? days[at.day - firstDay] : undefined;
  if (today) return [{ phone, publicKey: today, from: "day", day: at.day }];
  return restart ? [{ phone, publicKey: restart, from: "restart" }] : [];
}

// One so far: the owner's, from the adoption. Those of other phones come as commands.
function suppliesOf({ supply }: Adopted): Supply[] {
  return [supply];
}
