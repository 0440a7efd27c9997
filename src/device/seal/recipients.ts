import { equal, toHex } from "../../base/pure/bytes.ts";
import type { Statement } from "../../protocol/sealed/body.ts";
import { type Member, roleOf } from "../../protocol/sealed/membership.ts";
import type { Supply } from "../../protocol/sealed/supply.ts";
import type { Owned } from "../keyring.ts";

export const dayMs = 86_400_000;

/** A public key that something is sealed to, and what has to be said of it. */
export type Chosen = {
  phone: Uint8Array;
  publicKey: Uint8Array;
} & (
  | { from: "one-time"; index: number }
  | { from: "day"; day: number }
  | { from: "restart" | "kit" }
);

/**
 * Chooses one key of each member for one clip: the lowest one-time key that was not spent, else
 * today's key, else the restart key. After a new incarnation only the restart key, until there is a
 * supply for it: what was spent before is not known any more. Members without a key are left out.
 *
 * @param spent phone in hexadecimal → lowest one-time index that is not spent
 */
export function chooseForClip(
  owned: Owned,
  at: { incarnation: number; day: number; spent: Readonly<Record<string, number>> },
): Chosen[] {
  return phonesOf(owned).flatMap((supplies): Chosen[] => {
    for (const { phone, firstIndex, oneTime, incarnation } of supplies) {
      const index = Math.max(at.spent[toHex(phone)] ?? firstIndex, firstIndex);
      const publicKey = oneTime[index - firstIndex];
      if (publicKey && incarnation === at.incarnation) {
        return [{ phone, publicKey, from: "one-time", index }];
      }
    }
    return chooseLasting(supplies, at, owned);
  });
}

/** Chooses today's key of each member, for an epoch of the log. */
export function chooseForEpoch(owned: Owned, at: { incarnation: number; day: number }): Chosen[] {
  return phonesOf(owned).flatMap((supplies) => chooseLasting(supplies, at, owned));
}

/** What the camera holds of each phone's keys, for the log to acknowledge. */
export function acknowledge(
  owned: Owned,
  spent: Readonly<Record<string, number>>,
): Extract<Statement, { kind: "supply-acknowledged" }>[] {
  return phonesOf(owned).flatMap((supplies) => {
    const [first, newest] = [supplies[0], supplies.at(-1)];
    if (!first || !newest) return [];
    const { phone, batch, firstIndex, oneTime } = newest;
    return [
      {
        ...({ kind: "supply-acknowledged", phone, batch } as const),
        nextIndex: Math.max(spent[toHex(phone)] ?? 0, first.firstIndex),
        endIndex: firstIndex + oneTime.length,
      },
    ];
  });
}

/** Of the newest supply that has one. */
function chooseLasting(
  supplies: readonly Supply[],
  at: { incarnation: number; day: number },
  { membership }: Owned,
): Chosen[] {
  const newestFirst = supplies.toReversed();
  for (const { phone, days, firstDay, incarnation } of newestFirst) {
    const today = incarnation === at.incarnation ? days[at.day - firstDay] : undefined;
    if (today) return [{ phone, publicKey: today, from: "day", day: at.day }];
  }
  for (const { phone, restart } of newestFirst) {
    // It is the one key that a kit has, and no fallback.
    const from = roleOf(membership, phone) === "kit" ? "kit" : "restart";
    if (restart) return [{ phone, publicKey: restart, from }];
  }
  return [];
}

/** Members that nothing can be sealed to, for want of any key. */
export function withoutKeys(owned: Owned): readonly Member[] {
  return owned.membership.members.filter(
    ({ phone }) => !owned.supplies.some((supply) => equal(supply.phone, phone)),
  );
}

/** The supplies of each member, by rising batch: of one who was removed none is used. */
function phonesOf({ supplies, membership }: Owned): Supply[][] {
  const phones = new Map<string, Supply[]>();
  for (const supply of supplies) {
    if (!roleOf(membership, supply.phone)) continue;
    const phone = toHex(supply.phone);
    phones.set(phone, [...(phones.get(phone) ?? []), supply]);
  }
  return [...phones.values()];
}
