import { settingsFile } from "../base/node/program.ts";
import {
  choice,
  number,
  printSettings,
  readSettings,
  type Setting,
  sourceOf,
  text,
  type Values,
} from "../base/node/settings.ts";
import { Failure } from "../base/pure/failure.ts";

/** The format of the settings file. It rises when an old file could be misread. */
const version = 1;

function list(options: {
  about: string;
  expected: string;
  most: number;
  pattern: RegExp;
  default?: string[];
}): Setting<string[]> {
  const { about, expected, most, pattern, default: preset = [] } = options;
  return {
    ...{ about, expected: `a list of at most ${most} of ${expected}`, default: preset },
    read: (value) => {
      if (!Array.isArray(value) || value.length > most) return undefined;
      const good = value.every((one) => typeof one === "string" && pattern.test(one));
      return good ? (value as string[]) : undefined;
    },
  };
}

const prefix: Setting<string> = {
  default: "",
  about: "the path below which mailboxes are, where a proxy passes it on",
  expected: "nothing, or steps of lower-case letters and digits such as /obscura",
  read: (value) =>
    typeof value === "string" && /^(?:\/[a-z0-9][a-z0-9._~-]{0,63}){0,4}$/.test(value)
      ? value
      : undefined,
};

const port = (about: string, preset: number) =>
  number({ default: preset, min: 0, max: 65_535, whole: true, about });
const whole = (about: string, preset: number, min: number, max: number) =>
  number({ default: preset, min, max, whole: true, about });
const yesNo = (about: string, preset: boolean) =>
  choice({ default: preset, of: [true, false], about });

/** Of Chrome, Chromium as Linux distributions build it, Firefox, Safari, Edge. */
const knownServices = [
  "jmt17.google.com",
  ...["fcm.googleapis.com", "updates.push.services.mozilla.com"],
  ...["*.push.apple.com", "*.notify.windows.com"],
];

export const schema = {
  folder: text({
    default: "",
    limit: 4096,
    about: "where mailboxes lie; empty for the usual place",
  }),
  listen: {
    host: text({ default: "", limit: 253, about: "the address to listen at; empty for all" }),
    port: port("0 for any that is free", 8470),
  },
  tls: {
    certificate: text({
      default: "",
      limit: 4096,
      about: "PEM file of the chain; empty for plain HTTP. Read again at SIGHUP",
    }),
    key: text({ default: "", limit: 4096, about: "PEM file of its key" }),
  },
  authority: list({
    about:
      "names this relay is reached by; none means its address, localhost and this machine's name",
    expected:
      "hosts in lower case, with the port unless it is the scheme's own: relay.example:8443",
    most: 16,
    pattern: /^(?:[a-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::[1-9][0-9]{0,4})?$/,
  }),
  prefix,
  mailboxes: {
    most: whole("mailboxes that may be opened here, one for each camera", 16, 1, 1_000_000),
    only: list({
      about: "take these and no others; none means whoever comes first",
      expected: "64 digits of hexadecimal",
      most: 1024,
      pattern: /^[0-9a-f]{64}$/,
    }),
  },
  quota: {
    mailboxMiB: whole("room of a mailbox", 16_384, 16, 100_000_000),
    mailboxObjects: whole("objects of a mailbox", 1_000_000, 1000, 1_000_000_000),
    headroomMiB: whole("room left free on the disk", 256, 0, 1_000_000),
    retentionDays: whole(
      "days after which parts of clips go, unless the owner's minimum age is longer; 0 keeps them. Log entries stay until an owner deletes them",
      30,
      0,
      36_500,
    ),
    longestDays: whole(
      "days after which parts go also against the owner's minimum age; 0 for no such limit",
      0,
      0,
      36_500,
    ),
  },
  limits: {
    connections: whole("open at once", 512, 4, 100_000),
    connectionsPerAddress: whole("open at once from one address", 64, 1, 65_535),
    requestsPerSecondPerAddress: whole(
      "kept up for long; one that is refused counts as 20. 0 for no limit, as behind a proxy",
      50,
      0,
      1_000_000,
    ),
    requestsPerSecondPerKey: whole("kept up for long", 100, 1, 1_000_000),
    puts: whole("objects taken at once, each with half a MiB of memory", 64, 1, 10_000),
    waiting: whole("requests that wait for something new", 256, 1, 100_000),
    waitingPerKey: whole("of one key", 8, 1, 10_000),
    leastBytesPerSecond: whole("slower senders and readers are cut off", 1024, 0, 1_000_000),
  },
  push: {
    forward: yesNo("hand messages of cameras on to push services, so that phones are told", true),
    services: list({
      about: "push services that are handed messages, by https alone and at public addresses",
      expected: "hosts in lower case, or *. and what they end in: *.push.apple.com",
      most: 64,
      pattern: /^(?:\*\.)?(?:[a-z0-9-]{1,63}\.){1,8}[a-z][a-z0-9-]{0,62}$/,
      default: [...knownServices],
    }),
    own: list({
      about:
        "push services of your own, as ntfy: also by plain HTTP, and at addresses that are not public",
      expected: "addresses without a path: https://push.example or http://192.168.1.5:2586",
      most: 16,
      pattern:
        /^https?:\/\/(?:[a-z0-9][a-z0-9.-]{0,252}|\[[0-9a-f:.]{2,45}\])(?::[1-9][0-9]{0,4})?$/,
    }),
    perHour: whole("messages of one mailbox that are handed on", 120, 1, 100_000),
  },
  metrics: {
    host: text({ default: "127.0.0.1", limit: 253, about: "where /metrics and /health answer" }),
    port: port("0 for nowhere", 8471),
  },
  announce: yesNo("tell phones on the local network by mDNS that this relay is here", false),
  log: choice({
    default: "info",
    of: ["debug", "info", "warn", "error"],
    about: "least level that is written",
  }),
};

export type Config = Values<typeof schema>;

/**
 * The settings of `file`; when none is named, of the one that systemd names, or the defaults.
 * @throws Failure absent when it cannot be read, misuse with one line for each mistake
 */
export async function readConfig(
  named: string | undefined,
  onNotice?: (line: string) => void,
): Promise<Config> {
  const file = named ?? settingsFile("relay");
  const config = readSettings(await sourceOf(file), schema, { version, onNotice });
  if ((config.tls.certificate === "") !== (config.tls.key === "")) {
    throw new Failure("misuse", `${file}: tls.certificate and tls.key are set together`);
  }
  const { listen, metrics } = config;
  if (listen.port !== 0 && listen.port === metrics.port) {
    throw new Failure("misuse", `${file}: listen.port and metrics.port are the same`);
  }
  const most = config.mailboxes.only.length;
  if (most > config.mailboxes.most) {
    throw new Failure("misuse", `${file}: mailboxes.only names more than mailboxes.most takes`);
  }
  return config;
}

/** The whole file with every default and what it means. */
export function printConfig(): string {
  return `version: ${version}\n${printSettings(schema)}`;
}
