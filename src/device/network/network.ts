import { parseArgs } from "node:util";
import { type Log, openLog } from "../../base/node/log.ts";
import { readNamed, stateFolder } from "../../base/node/program.ts";
import { systemClock } from "../../base/node/time.ts";
import { fromText, toText } from "../../base/pure/bytes.ts";
import { explain, Failure, isFailure } from "../../base/pure/failure.ts";
import { networkVerdicts } from "../../protocol/sealed/network.ts";
import type { Result } from "./result.ts";
import { nameOf } from "./seen.ts";
import { openNetwork } from "./wireless.ts";

export { keepPage } from "./page.ts";
export type { Security, Seen } from "./seen.ts";
export { type Spot, spotAddress } from "./spot.ts";
/**
 * The network stage: the board's Wi-Fi, by way of NetworkManager. In: a network and its password. Out:
 * whether it was joined, which is kept. A password goes to NetworkManager and nowhere else: not to the
 * card, not to the log. Fails back: what was in force before is so again, also when this program is
 * killed (NetworkManager's checkpoint).
 */
export { type Network, openNetwork } from "./wireless.ts";

/** Takes every Wi-Fi network from this board. What cannot be done is said, and never rejects. */
export async function forgetNetworks(state: string, log: Log): Promise<void> {
  try {
    const network = await openNetwork({ state, clock: systemClock, log });
    const count = await network.forget().finally(() => network.close());
    if (count > 0) log.warn(`${count} Wi-Fi networks are forgotten`);
  } catch (error) {
    const isNone = isFailure(error, "absent");
    log[isNone ? "debug" : "error"](`no Wi-Fi network was forgotten: ${explain(error)}`);
  }
}

const help = `usage: obscura-camera wifi [scan | join NAME | status] [--state DIR] [--json]

The board's Wi-Fi, by way of NetworkManager.

  scan        list the networks that are heard
  join NAME   join one; its password is read from standard input, or from --password-file
  status      the network in use, and how the last attempt to join one ended

  --hidden              the network does not say its name
  --password-file FILE  a file whose first line is the password; - for standard input
  --state DIR           where this camera keeps its keys and clips

A network that cannot be joined within 45 seconds leaves the board where it was.
Exit code: 0 joined, 1 not.
`;

/** `obscura-camera wifi` */
export async function runWifi(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      state: { type: "string", default: stateFolder("camera") },
      hidden: { type: "boolean", default: false },
      "password-file": { type: "string", default: "-" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const say = (text: string) => process.stdout.write(`${text}\n`);
  if (values.help) {
    process.stdout.write(help);
    return 0;
  }
  const [what = "status", name, ...more] = positionals;
  if (!["scan", "join", "status"].includes(what) || more.length > 0) {
    throw new Failure("misuse", `wifi ${positionals.join(" ")} is not scan, join NAME or status`);
  }
  if ((what === "join") !== (name !== undefined)) {
    throw new Failure("misuse", "join takes the name of one network, and nothing else does");
  }
  const log = openLog("network", "info");
  const network = await openNetwork({ state: values.state, clock: systemClock, log });
  try {
    if (what === "scan") {
      const seen = await network.scan();
      if (values.json) say(JSON.stringify(seen.map(({ ssid: _, path: __, ...rest }) => rest)));
      for (const { name: shown, dBm, security } of values.json ? [] : seen) {
        say(`${String(dBm).padStart(4)} dBm  ${security.padEnd(14)}  ${shown}`);
      }
      return 0;
    }
    if (name !== undefined) {
      const password = await readPassword(values["password-file"]);
      const ssid = fromText(name);
      const result = await network.join({ ssid, password, isHidden: values.hidden });
      say(values.json ? JSON.stringify(plain(result)) : describe(result));
      return result.verdict === "joined" ? 0 : 1;
    }
    const { ssid, addresses } = await network.status();
    const last = await network.result();
    if (values.json) {
      const used = ssid ? nameOf(ssid) : null;
      say(JSON.stringify({ network: used, addresses, last: last ? plain(last) : null }));
    } else {
      say(ssid ? `in ${nameOf(ssid)} as ${addresses.join(", ")}` : "in no Wi-Fi network");
      if (last) say(`the last attempt: ${describe(last)}`);
    }
    return 0;
  } finally {
    await network.close();
  }
}

function describe({ ssid, verdict, address, isRestored }: Result): string {
  const how = verdict === undefined ? "under way" : networkVerdicts[verdict];
  const where = address === undefined ? "" : ` as ${address}`;
  const back = isRestored === false ? ". What was in use before is not back yet" : "";
  return `${nameOf(ssid)}: ${how}${where}${back}`;
}

const plain = ({ ssid, uuid: _, ...rest }: Result) => ({ name: nameOf(ssid), ...rest });

/** Not an argument: those are seen by everybody on the machine. */
async function readPassword(file: string): Promise<string> {
  const isTyped = file === "-" && process.stdin.isTTY;
  if (isTyped) process.stderr.write("password (it is shown; empty for none), then Ctrl-D: ");
  const bytes = await readNamed(file, { what: "a password", mostBytes: 256 });
  const [line = ""] = toText(bytes).split("\n");
  return line.replace(/\r$/, "");
}
