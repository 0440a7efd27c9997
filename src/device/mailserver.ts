import { isIPv6 } from "node:net";
import { choice, number, type Setting, text, type Values } from "../base/node/settings.ts";
import {
  asMisuse,
  type Login,
  ofSetting,
  readLogin,
  readPem,
  secretFile,
  shownLogin,
} from "./login.ts";
import type { Fault } from "./places.ts";

// The owner's mail server, as the settings name it: where it is, who writes to whom, and the files.

const addressPattern =
  /^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9]([A-Za-z0-9.-]{0,187}[A-Za-z0-9])?$/;
const mostRecipients = 8;

const isAddress = (value: unknown): value is string =>
  typeof value === "string" && addressPattern.test(value) && !value.includes("..");

const host: Setting<string> = {
  default: "",
  about: "the owner's mail server, which is told of each visit; empty for none",
  expected: "nothing, or a name or an address, without a scheme, a port or a user",
  read: (value) => {
    if (typeof value !== "string") return undefined;
    // Only an address of IPv6 has colons.
    const isHost = /^[a-z0-9_][a-z0-9._-]{0,252}$/i.test(value) || isIPv6(value);
    return value === "" || (isHost && !value.includes("%")) ? value : undefined;
  },
  shown: shownLogin,
};

const from: Setting<string> = {
  default: "",
  about: "the address that the camera writes from",
  expected: "nothing, or one such as camera@example.org",
  read: (value) => (value === "" || isAddress(value) ? value : undefined),
};

const to: Setting<readonly string[]> = {
  default: [],
  about: "who is written to",
  expected: `an address such as owner@example.org, or a list of at most ${mostRecipients}`,
  read: (value) => {
    const list: unknown[] = Array.isArray(value) ? value : [value];
    if (list.length > mostRecipients || new Set(list).size < list.length) return undefined;
    return list.every(isAddress) ? list : undefined;
  },
};

const file = (about: string) => text({ default: "", limit: 4096, about });

export const mailSchema = {
  host,
  port: number({
    ...{ default: 0, min: 0, max: 65_535, whole: true },
    about: "0 for 587, or 465 with security: tls",
  }),
  security: choice({
    default: "starttls",
    of: ["starttls", "tls", "none"],
    about:
      "how the connection is encrypted: after STARTTLS, which is then demanded; from its beginning; or not at all, without a login",
  }),
  credentials: secretFile("a file of two lines, user and password, that only its owner may read"),
  ca: file("PEM file of who vouches for the mail server; empty for whom this system trusts"),
  from,
  to,
  picture: choice({
    default: "sealed",
    of: ["sealed", "openpgp", "none"],
    about:
      "sealed attaches the visit's first picture as obscura-phone opens it, beside words that the mail server can read; openpgp encrypts words and picture to the key below; none sends words alone",
  }),
  key: file("the owner's public OpenPGP key, or several, as `gpg --armor --export` writes them"),
  perHour: number({
    ...{ default: 6, min: 1, max: 60, whole: true },
    about: "messages in an hour at most; what comes above is summed up",
  }),
};

export type MailSettings = Values<typeof mailSchema>;

export type MailServer = {
  host: string;
  port: number;
  security: MailSettings["security"];
  login: Login | undefined;
  /** PEM; undefined for whom this system trusts. */
  ca: Uint8Array | undefined;
};

/** What of the settings cannot go together, or nothing. */
export function mailFaults(mail: MailSettings): Fault[] {
  if (mail.host === "") return [];
  const { from, to, security, credentials, ca, picture, key } = mail;
  const faults: [isWrong: boolean, of: string, text: string][] = [
    [
      from === "" || to.length === 0,
      "mail.host",
      "mail.host needs mail.from and mail.to beside it",
    ],
    [
      security === "none" && credentials + ca !== "",
      credentials === "" ? "mail.ca" : "mail.credentials",
      "mail.credentials and mail.ca are for encrypted connections: mail.security is none",
    ],
    [
      (picture === "openpgp") !== (key !== ""),
      key === "" ? "mail.picture" : "mail.key",
      "mail.key and mail.picture: openpgp go together",
    ],
  ];
  return faults.filter(([isWrong]) => isWrong).map(([, of, text]) => ({ of: [of], text }));
}

/**
 * Reads what the settings name; done again for each connection, so that what is mended or renewed is
 * used without a new start. Throws as login.ts does.
 */
export async function readMailServer(mail: MailSettings): Promise<MailServer> {
  const { host, security, credentials, ca } = mail;
  return {
    ...{ host, security },
    port: mail.port || (security === "tls" ? 465 : 587),
    login:
      credentials === "" ? undefined : await ofSetting("mail.credentials", readLogin(credentials)),
    ca: ca === "" ? undefined : await readPem("mail.ca", ca),
  };
}

/** For --check-config: "misuse" whatever is wrong. `readKeys` reads the file of `mail.key`. */
export async function checkMailServer(
  mail: MailSettings,
  readKeys: (file: string) => Promise<unknown>,
): Promise<void> {
  if (mail.host === "") return;
  await asMisuse("mail", readMailServer(mail));
  if (mail.key !== "") await asMisuse("mail", ofSetting("mail.key", readKeys(mail.key)));
}

/** As people name it, in the log and in errors. */
export function nameOfServer({ host, port }: Pick<MailServer, "host" | "port">): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
