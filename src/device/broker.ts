import { createSecureContext } from "node:tls";
import type { Setting } from "../base/node/settings.ts";
import { Failure } from "../base/pure/failure.ts";
import { asMisuse, type Login, ofSetting, readLogin, readPem, shownLogin } from "./login.ts";
import type { Fault } from "./places.ts";

// The MQTT broker of the house, as the settings name it: where it is, and the files to log in with.

export type BrokerSettings = {
  url: string;
  credentials: string;
  ca: string;
  certificate: string;
  key: string;
};

export type Broker = {
  host: string;
  port: number;
  login: Login | undefined;
  /** PEM files; undefined for a connection that anybody on the way can read. */
  tls: { ca?: Uint8Array; certificate?: Uint8Array; key?: Uint8Array } | undefined;
};

const ports: Record<string, number> = { "mqtt:": 1883, "mqtts:": 8883 };

/** Where a broker is, by its address; undefined for what is none. */
export function parseBroker(url: string): Omit<Broker, "login"> | undefined {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    return undefined;
  }
  const { protocol, hostname, port, pathname, search, hash, username, password } = parsed;
  const preset = ports[protocol];
  const more = username + password + search + hash + pathname.replace(/^\/$/, "");
  if (preset === undefined || hostname === "" || more !== "" || url.length > 300) return undefined;
  // A host may not begin as an option would, nor hold what is not of a name or an address.
  const host = hostname.replace(/^\[(.*)\]$/, "$1");
  if (!/^[a-z0-9_:][a-z0-9._:-]*$/i.test(host)) return undefined;
  const at = port === "" ? preset : Number(port);
  return at === 0 ? undefined : { host, port: at, tls: protocol === "mqtts:" ? {} : undefined };
}

export const brokerUrl: Setting<string> = {
  default: "",
  about: "the MQTT broker that is told states and counts, never a picture; empty for none",
  expected:
    "nothing, or mqtt://host or mqtts://host, with :port unless it is 1883 or 8883; user and password stand in the file that mqtt.credentials names",
  read: (value) => {
    if (typeof value !== "string") return undefined;
    return value === "" || parseBroker(value) ? value : undefined;
  },
  shown: shownLogin,
};

/** What of the settings cannot go together, or nothing. */
export function brokerFaults({ url, ca, certificate, key }: BrokerSettings): Fault[] {
  const isTls = parseBroker(url)?.tls !== undefined;
  const pair = Object.entries({ "mqtt.certificate": certificate, "mqtt.key": key });
  const ofTls = [["mqtt.ca", ca] as const, ...pair];
  const set = (names: readonly (readonly [string, string])[]) =>
    names.filter(([, file]) => file !== "").map(([name]) => name);
  return [
    ...(set(pair).length === 1
      ? [{ of: set(pair), text: "mqtt.certificate and mqtt.key are set together" }]
      : []),
    ...(url !== "" && !isTls && set(ofTls).length > 0
      ? [
          {
            of: set(ofTls),
            text: "mqtt.ca, mqtt.certificate and mqtt.key are for mqtts:// addresses",
          },
        ]
      : []),
  ];
}

/**
 * Reads what the settings name; done again for each connection, so that what is mended or renewed is
 * used without a new start. Throws Failure "absent", "denied" for a secret that others may read, or
 * "misuse" for a file that is not what it should be.
 */
export async function readBroker(settings: BrokerSettings): Promise<Broker> {
  const where = parseBroker(settings.url);
  if (!where) throw new Failure("misuse", "mqtt.url is not the address of a broker");
  const { credentials, ca, certificate, key } = settings;
  const login =
    credentials === "" ? undefined : await ofSetting("mqtt.credentials", readLogin(credentials));
  const pem = async (name: "ca" | "certificate" | "key", file: string) =>
    file === "" ? {} : { [name]: await readPem(`mqtt.${name}`, file, name === "key") };
  const tls = where.tls && {
    ...(await pem("ca", ca)),
    ...(await pem("certificate", certificate)),
    ...(await pem("key", key)),
  };
  if (tls?.certificate && tls.key) {
    try {
      createSecureContext({ cert: Buffer.from(tls.certificate), key: Buffer.from(tls.key) });
    } catch (cause) {
      const what =
        "mqtt.certificate and mqtt.key are no certificate and its key without a passphrase";
      throw new Failure("misuse", what, { cause, stage: "mqtt.certificate" });
    }
  }
  return { ...where, login, tls };
}

/** For --check-config: as `readBroker`, but "misuse" whatever is wrong. */
export async function checkBroker(settings: BrokerSettings): Promise<void> {
  if (settings.url === "") return;
  await asMisuse("mqtt", readBroker(settings));
}
