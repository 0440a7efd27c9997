import type { Heard } from "./radio.ts";

// What is in the air, as people speak of it.

export type Security =
  | "open"
  | "open-encrypted" // OWE: anybody may join, listeners learn nothing
  | "wep"
  | "wpa" // the first WPA alone
  | "wpa2"
  | "wpa2-wpa3" // the client chooses
  | "wpa3"
  | "enterprise";

export type Seen = {
  readonly ssid: Uint8Array;
  /** For people: not UTF-8 in every network. */
  readonly name: string;
  /** 0 to 100, of the strongest of its access points. */
  readonly strength: number;
  /** As NetworkManager's percentage says it, which it takes from -100 to -50. */
  readonly dBm: number;
  readonly security: Security;
  /** The strongest access point, for NetworkManager. */
  readonly path: string;
};

// NM80211ApFlags and NM80211ApSecurityFlags.
const privacy = 0x1;
const [psk, enterprise, sae, owe, suiteB] = [0x100, 0x200, 0x400, 0x800, 0x2000];

/** One for each name and kind of protection, the strongest first; nameless ones are left out. */
export function survey(heard: readonly Heard[]): Seen[] {
  const found = new Map<string, Seen>();
  for (const point of heard.toSorted((a, b) => b.strength - a.strength)) {
    if (point.ssid.every((byte) => byte === 0)) continue;
    const [name, security] = [nameOf(point.ssid), securityOf(point)];
    const key = `${Buffer.from(point.ssid).toString("hex")} ${security}`;
    if (found.has(key)) continue;
    const { ssid, strength, path } = point;
    found.set(key, { ssid, name, strength, dBm: Math.round(strength / 2) - 100, security, path });
  }
  return [...found.values()];
}

export function securityOf({
  flags,
  wpaFlags,
  rsnFlags,
}: Pick<Heard, "flags" | "wpaFlags" | "rsnFlags">): Security {
  const has = (flag: number) => (rsnFlags & flag) !== 0;
  if (has(sae)) return has(psk) || (wpaFlags & psk) !== 0 ? "wpa2-wpa3" : "wpa3";
  if (has(psk)) return "wpa2";
  if ((wpaFlags & psk) !== 0) return "wpa";
  if (((wpaFlags | rsnFlags) & (enterprise | suiteB)) !== 0) return "enterprise";
  if (has(owe)) return "open-encrypted";
  return (flags & privacy) !== 0 ? "wep" : "open";
}

/** For a terminal: what is no text is shown as it would be written in C. */
export function nameOf(ssid: Uint8Array): string {
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(ssid);
    if (!/\p{Cc}|\p{Cf}/u.test(text)) return text;
  } catch {
    // Not UTF-8: as below.
  }
  return [...ssid]
    .map((byte) =>
      byte >= 0x20 && byte < 0x7f
        ? String.fromCharCode(byte)
        : `\\x${byte.toString(16).padStart(2, "0")}`,
    )
    .join("");
}
