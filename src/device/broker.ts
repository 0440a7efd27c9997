import { stat } from "node:fs/promises";
import { readNamed } from "../base/node/program.ts";
import type { Setting } from "../base/node/settings.ts";
import { toText } from "../base/pure/bytes.ts";
import { explain, Failure, isFailure } from "../base/pure/failure.ts";

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
  login: { user: string; password: Uint8Array } | undefined;
  /** PEM files; undefined for a connection that anybody on the way can read. */
  tls: { ca?: Uint8Array; certificate?: Uint8Array; key?: Uint8Array } | undefined;
};

const ports: Record<string, number> = { "mqtt:": 1883, "mqtts:": 8883 };
const mostBytes = 64 * 1024;
const credentialsBytes = 4096;

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

const hasLogin = (value: unknown) => typeof value === "string" && /^[^/]*\/\/[^/]*@/.test(value);

export const brokerUrl: Setting<string> = {
  default: "",
  about: "the MQTT broker that is told states and counts, never a picture; empty for none",
  expected:
    "nothing, or mqtt://host or mqtts://host, with :port unless it is 1883 or 8883; user and password stand in the file that mqtt.credentials names",
  read: (value) => {
    if (typeof value !== "string") return undefined;
    return value === "" || parseBroker(value) ? value : undefined;
  },
  shown: (value) => (hasLogin(value) ? "an address that holds a user or a password" : undefined),
};

/** What of the settings cannot go together, or nothing. */
export function brokerFaults({ url, ca, certificate, key }: BrokerSettings): string[] {
  const isTls = url.startsWith("mqtts:");
  return [
    ...((certificate === "") === (key === "")
      ? []
      : ["mqtt.certificate and mqtt.key are set together"]),
    ...(url !== "" && !isTls && ca + certificate + key !== ""
      ? ["mqtt.ca, mqtt.certificate and mqtt.key are for mqtts:// addresses"]
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
    credentials === "" ? undefined : parseLogin(credentials, await readSecret(credentials));
  const pem = async (name: "ca" | "certificate" | "key", read: Promise<Uint8Array>) => {
    const bytes = await read;
    if (!Buffer.from(bytes).includes("-----BEGIN ")) {
      throw new Failure("misuse", `mqtt.${name} (${settings[name]}) is not a PEM file`);
    }
    return { [name]: bytes };
  };
  const plain = (file: string) => readNamed(file, { what: "a PEM file", mostBytes });
  const tls = where.tls && {
    ...(ca === "" ? {} : await pem("ca", plain(ca))),
    ...(certificate === "" ? {} : await pem("certificate", plain(certificate))),
    ...(key === "" ? {} : await pem("key", readSecret(key))),
  };
  return { ...where, login, tls };
}

/** Throws Failure "denied" for a file that others may read. */
export async function readSecret(file: string): Promise<Uint8Array> {
  const bytes = await readNamed(file, { what: "a secret", mostBytes });
  const { mode } = await stat(file);
  if ((mode & 0o077) === 0) return bytes;
  const hint = `chmod 600 ${file}`;
  throw new Failure("denied", `${file} may be read by others`, { hint });
}

/** Two lines: user, password. */
function parseLogin(file: string, bytes: Uint8Array): Broker["login"] {
  const refuse = () =>
    new Failure("misuse", `${file} should hold two lines: the user's name, and the password`);
  if (bytes.length > credentialsBytes) throw refuse();
  let text: string;
  try {
    text = toText(bytes);
  } catch {
    throw refuse();
  }
  const [user = "", password = "", ...rest] = text.split(/\r?\n/);
  const isRight = user !== "" && rest.every((line) => line === "") && !text.includes("\0");
  if (!isRight) throw refuse();
  return { user, password: Buffer.from(password) };
}

/** For --check-config: as `readBroker`, but "misuse" whatever is wrong. */
export async function checkBroker(settings: BrokerSettings): Promise<void> {
  if (settings.url === "") return;
  try {
    await readBroker(settings);
  } catch (cause) {
    if (!isFailure(cause)) throw cause;
    throw new Failure("misuse", `mqtt: ${explain(cause)}`, { cause });
  }
}
