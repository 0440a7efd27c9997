import { createHmac, randomBytes } from "node:crypto";

// How much anybody may ask, in memory of a fixed size. Neither address nor key is kept: each falls
// into one of a few thousand slots by a keyed hash whose key dies with the process. Two that share a
// slot share its allowance.

const slots = 4096;

export type Limits = {
  /** The slot of an address, of a /64 for IPv6. */
  slotOfAddress(address: string): number;
  /** False when the slot has used up its allowance; `cost` counts as so many requests. */
  takeOfAddress(slot: number, cost?: number): boolean;
  takeOfKey(key: string): boolean;
  /** False when a mailbox has had as many messages handed on as may be in an hour. */
  takePush(mailbox: string): boolean;
  /** False when as many connections of this slot are open as may be; then it is not counted. */
  connect(slot: number): boolean;
  disconnect(slot: number): void;
};

/** How many seconds' allowance may be used at once. */
const burstS = 20;

export function openLimits({
  perSecondOfKey,
  perSecondOfAddress,
  connectionsOfAddress,
  pushesPerHour,
  monotonicMs,
}: {
  perSecondOfKey: number;
  /** 0: no limit, as behind a proxy, where all come from one address. */
  perSecondOfAddress: number;
  connectionsOfAddress: number;
  /** Of one mailbox. */
  pushesPerHour: number;
  monotonicMs(): number;
}): Limits {
  const secret = randomBytes(32);
  const slotOf = (text: string) =>
    createHmac("sha512", secret).update(text).digest().readUInt16BE(0) % slots;
  const addresses = openBuckets(perSecondOfAddress, monotonicMs);
  const keys = openBuckets(perSecondOfKey, monotonicMs);
  const pushes = openBuckets(pushesPerHour / 3600, monotonicMs, pushesPerHour);
  const connections = new Uint16Array(slots);
  return {
    slotOfAddress: (address) => slotOf(`address ${networkOf(address)}`),
    takeOfAddress: (slot, cost = 1) => perSecondOfAddress === 0 || addresses(slot, cost),
    takeOfKey: (key) => keys(slotOf(`key ${key}`), 1),
    takePush: (mailbox) => pushes(slotOf(`push ${mailbox}`), 1),
    connect(slot) {
      const open = connections[slot] ?? 0;
      if (perSecondOfAddress > 0 && open >= connectionsOfAddress) return false;
      connections[slot] = open + 1;
      return true;
    },
    disconnect(slot) {
      connections[slot] = Math.max(0, (connections[slot] ?? 0) - 1);
    },
  };
}

/** Token buckets in two arrays, full at first. */
function openBuckets(
  perSecond: number,
  monotonicMs: () => number,
  most: number = perSecond * burstS,
) {
  const used = new Float64Array(slots);
  const lastMs = new Float64Array(slots);
  return (slot: number, cost: number): boolean => {
    const nowMs = monotonicMs();
    const passedMs = Math.max(0, nowMs - (lastMs[slot] ?? 0));
    const left = Math.max(0, (used[slot] ?? 0) - (passedMs / 1000) * perSecond);
    lastMs[slot] = nowMs;
    const fits = left + cost <= most;
    // What does not fit counts no further: a slot recovers however hard it is knocked at.
    used[slot] = fits ? left + cost : left;
    return fits;
  };
}

/** An IPv4 address as it is; of IPv6 the network that one customer gets. */
export function networkOf(address: string): string {
  const mapped = /^::ffff:([0-9.]+)$/i.exec(address);
  if (mapped) return mapped[1] ?? "";
  if (!address.includes(":")) return address;
  const [head = "", tail = ""] = (address.split("%")[0] ?? "").split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === "" ? [] : tail.split(":");
  const zeros = Array(Math.max(0, 8 - left.length - right.length)).fill("0");
  const whole = address.includes("::") ? [...left, ...zeros, ...right] : left;
  return whole
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(":");
}
