import { fromText } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import type { Profile } from "./radio.ts";
import { nameOf, type Security } from "./seen.ts";

// Profiles for NetworkManager: what is asked of it, in its words.

export type Wanted = {
  /** 1 to 32 bytes. */
  readonly ssid: Uint8Array;
  /** Empty for an open network. */
  readonly password: string;
  /** It does not say its name. */
  readonly isHidden: boolean;
  /** Kept with the result, to be asked for by it. */
  readonly request?: Uint8Array;
};

/** How long DHCP and routers may take while it is tried; afterwards NetworkManager's own patience holds. */
const addressS = 15;

/**
 * Throws Failure "misuse" for what can be no network or no password of its kind, "refused" for a
 * protection that this board does not join.
 */
export function checkWanted({ ssid, password }: Wanted, security: Security | undefined): void {
  if (ssid.length < 1 || ssid.length > 32) {
    throw new Failure("misuse", "a network's name has 1 to 32 bytes", { stage: "ssid" });
  }
  const refuse = (message: string) => new Failure("misuse", message, { stage: "password" });
  if (security === "wep" || security === "enterprise") {
    throw new Failure("refused", `${nameOf(ssid)} is protected by ${security.toUpperCase()}`, {
      stage: "security",
      hint: "WPA2 and WPA3 with a password, and open networks, can be joined",
    });
  }
  if (security === "open" || security === "open-encrypted") {
    if (password !== "") throw refuse(`${nameOf(ssid)} is open: it takes no password`);
    return;
  }
  if (password.includes("\0")) throw refuse("a password holds no zero byte");
  if (password === "" && security === undefined) return;
  const bytes = fromText(password).length;
  // A name that is not heard could be of either.
  const isSae = security === "wpa3" || security === undefined;
  if (isSae ? bytes >= 1 && bytes <= 63 : bytes >= 8 && bytes <= 63) return;
  if (/^[0-9a-fA-F]{64}$/.test(password) && security !== "wpa3") return;
  throw refuse(isSae ? "a password has 1 to 63 bytes" : "a WPA2 password has 8 to 63 bytes");
}

export type Draft = {
  /** While it is tried: gives up on an address soon, is never chosen by itself. */
  readonly tried: Profile;
  /** As it is kept. */
  readonly kept: Profile;
};

/** `security` is undefined for a network that was not heard. */
export function draftProfile(wanted: Wanted, security: Security | undefined, uuid: string): Draft {
  const connection = {
    id: ["s", nameOf(wanted.ssid)],
    uuid: ["s", uuid],
    type: ["s", "802-11-wireless"],
  } as const;
  const common = {
    "802-11-wireless": {
      ssid: ["ay", [...wanted.ssid]],
      mode: ["s", "infrastructure"],
      ...(wanted.isHidden ? { hidden: ["b", true] } : {}),
    },
    ...protection(wanted, security),
  } satisfies Profile;
  return {
    tried: {
      ...common,
      connection: { ...connection, autoconnect: ["b", false], "auth-retries": ["i", 1] },
      ipv4: { method: ["s", "auto"], "dhcp-timeout": ["i", addressS] },
      ipv6: { method: ["s", "auto"], "ra-timeout": ["i", addressS] },
    },
    kept: {
      ...common,
      connection,
      ipv4: { method: ["s", "auto"] },
      ipv6: { method: ["s", "auto"] },
    },
  };
}

function protection({ password }: Wanted, security: Security | undefined): Profile {
  if (security === "open-encrypted") {
    return { "802-11-wireless-security": { "key-mgmt": ["s", "owe"] } };
  }
  if (password === "") return {};
  // NetworkManager's wpa-psk offers WPA3 too where the firmware has it; sae is WPA3 alone.
  const isShort = fromText(password).length < 8;
  const method = security === "wpa3" || isShort ? "sae" : "wpa-psk";
  return { "802-11-wireless-security": { "key-mgmt": ["s", method], psk: ["s", password] } };
}
