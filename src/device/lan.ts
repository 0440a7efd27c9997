import { createSecureContext } from "node:tls";
import { readNamed } from "../base/node/program.ts";
import { choice, number, type Setting, text, type Values } from "../base/node/settings.ts";
import { Failure } from "../base/pure/failure.ts";
import { asMisuse, ofSetting, readSecret } from "./login.ts";
import type { Fault } from "./places.ts";

// The local interface, as the settings name it: where it listens, and what it shows of itself.

const mostNames = 16;
const names: Setting<readonly string[]> = {
  default: [],
  about: "names that this camera is reached by, besides its addresses, localhost and its host name",
  expected: `a list of at most ${mostNames} names in lower case, without a port: camera.home`,
  read: (value) => {
    if (!Array.isArray(value) || value.length > mostNames) return undefined;
    const isName = (name: unknown) => typeof name === "string" && /^[a-z0-9.-]{1,253}$/.test(name);
    return value.every(isName) ? value : undefined;
  },
};

export const lanSettings = {
  port: number({
    ...{ default: 0, min: 0, max: 65_535, whole: true },
    about:
      "where states, events and metrics are told to who has a token, such as 8480; 0 for nowhere",
  }),
  host: text({ default: "", limit: 253, about: "the address to listen at; empty for all" }),
  names,
  certificate: text({
    default: "",
    limit: 4096,
    about:
      "PEM file of the chain; empty for plain HTTP, which who is in the network can read along",
  }),
  key: text({
    default: "",
    limit: 4096,
    about: "PEM file of its key, that only its owner may read",
  }),
  announce: choice({
    default: true,
    of: [true, false],
    about: "say by mDNS that it is here, if it is",
  }),
};
export type LanSettings = Values<typeof lanSettings>;

export type LanTls = { cert: Uint8Array; key: Uint8Array; minVersion: "TLSv1.2" };

/** What of the settings cannot go together, or nothing. */
export function lanFaults({ certificate, key }: LanSettings): Fault[] {
  if ((certificate === "") === (key === "")) return [];
  const of = [certificate === "" ? "local.key" : "local.certificate"];
  return [{ of, text: "local.certificate and local.key are set together" }];
}

/**
 * What connections are encrypted with; undefined for plain HTTP. Throws Failure "absent" for a file that
 * cannot be read, "denied" for a key that others may read, "misuse" when they are no certificate and its key.
 */
export async function readLanTls({ certificate, key }: LanSettings): Promise<LanTls | undefined> {
  if (certificate === "") return undefined;
  const reading = readNamed(certificate, { what: "a certificate", mostBytes: 64 * 1024 });
  const chain = await ofSetting("local.certificate", reading);
  const secret = await ofSetting("local.key", readSecret(key));
  const tls = {
    ...{ cert: Buffer.from(chain), key: Buffer.from(secret) },
    minVersion: "TLSv1.2" as const,
  };
  try {
    createSecureContext(tls);
  } catch (cause) {
    const what = `${certificate} and ${key} are no certificate and its key, as PEM`;
    throw new Failure("misuse", what, { cause, stage: "local.certificate" });
  }
  return tls;
}

/** For --check-config: "misuse" whatever is wrong. */
export async function checkLan(settings: LanSettings): Promise<void> {
  await asMisuse("local", readLanTls(settings));
}
