import { parseArgs } from "node:util";
import encodeQR from "qr";
import { openLog } from "../../base/node/log.ts";
import { stateFolder, stopSignal } from "../../base/node/program.ts";
import { Failure } from "../../base/pure/failure.ts";
import { type Outcome, openPairing } from "./host.ts";
import { boardTime, mostFailures, type WindowEnd } from "./window.ts";

/**
 * The pairing stage: opens a window in which the phone that scans what is shown may adopt this
 * camera over the network. In: a state folder. Out: the adoption in the keyring, and how it ended.
 * Fails closed: what cannot be written or verified lets nobody in (protocol/sealed/session.md).
 */
export { openPairing } from "./host.ts";

const help = `usage: obscura-camera pair [--state DIR] [--name NAME] [--port PORT] [--listen ADDRESS]

Opens a window of ten minutes in which one phone may become this camera's owner, over the network
that both are in. Shows a QR code and a link: on the phone, obscura-phone pair LINK. The window
closes with success, with time, or with the fifth wrong secret. Started again within its time, it is
the same window with the same link.

  --state DIR       where this camera keeps its keys and clips
  --name NAME       what the phone calls this camera (the first time)
  --port PORT       where to listen (default: any that is free)
  --listen ADDRESS  listen on this address only, and name it in the link
  --no-qr           the link alone

Whoever sees the link within the window can become the owner. Exit code: 0 paired, 1 not.
`;

/** `obscura-camera pair` */
export async function runPair(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      state: { type: "string", default: stateFolder("camera") },
      name: { type: "string", default: "camera" },
      port: { type: "string", default: "0" },
      listen: { type: "string" },
      "no-qr": { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(help);
    return 0;
  }
  const port = /^\d{1,5}$/.test(values.port) ? Number(values.port) : -1;
  if (port < 0 || port > 65_535) throw new Failure("misuse", `--port ${values.port} is no port`);
  const say = (text: string) => process.stdout.write(`${text}\n`);
  const progress = showProgress();
  const signal = stopSignal();
  const pairing = await openPairing({
    ...{ state: values.state, name: values.name, port, address: values.listen },
    ...{ time: await boardTime(), log: openLog("pairing", "info") },
    onProgress: progress.show,
  });
  const { link, word, owners, isResumed, before } = pairing;
  if (isResumed) say("this window was open already: the link is the same");
  else if (before && before !== "success") say(`the last window closed: ${endings[before]}`);
  if (owners.length > 0) {
    say(`this camera belongs to ${owners.join(", ")}; nobody else can take it`);
  }
  if (process.stdout.isTTY && !values["no-qr"]) say(`\n${qrCode(link)}`);
  say(`${link}\n`);
  const minutes = Math.max(1, Math.ceil(pairing.remainingMs() / 60_000));
  say(`on the phone, within ${minutes} min: obscura-phone pair LINK`);
  say(`the camera's check word is ${word}; keep the link to yourself until the window is closed`);

  signal.addEventListener("abort", () => void pairing.close(), { once: true });
  if (signal.aborted) await pairing.close();
  const outcome = await pairing.outcome;
  progress.clear();
  return report(outcome, say);
}

function report(outcome: Outcome, say: (text: string) => void): number {
  if (outcome.kind === "closed") {
    process.stderr.write(`obscura-camera: not paired: ${endings[outcome.why]}\n`);
    return 1;
  }
  const { members, oneTimeKeys, word, confirmed } = outcome;
  say(`adopted by ${members.join(", ")}, with ${oneTimeKeys} one-time keys`);
  say(`check word ${word}: the phone shows the same`);
  if (!confirmed) {
    say("the phone did not say that it knows. If it does not show this word, pair it once more");
  }
  return 0;
}

const endings: Record<WindowEnd | "stopped", string> = {
  success: "a phone was paired",
  time: "its ten minutes are over",
  failures: `a wrong secret was tried ${mostFailures} times. Is somebody else in this network?`,
  restart: "the board was started anew",
  stopped: "stopped. Within its ten minutes the same command opens the same window",
};

/**
 * Dark on light whatever the terminal's colours are: half blocks, the picture's dark dots in black.
 * The text in upper case needs fewer dots (protocol/sealed/invite.md).
 */
export function qrCode(link: string): string {
  const dots = encodeQR(link.toUpperCase(), "raw", { ecc: "low", border: 2 });
  const isDark = (x: number, y: number) => dots[y]?.[x] ?? false;
  const lines: string[] = [];
  for (let y = 0; y < dots.length; y += 2) {
    let line = "";
    for (let x = 0; x < dots.length; x++) {
      const [upper, lower] = [isDark(x, y), isDark(x, y + 1)];
      // Drawn is what is light, in white; black is the ground.
      line += upper ? (lower ? " " : "▄") : lower ? "▀" : "█";
    }
    lines.push(`\u001b[97;40m${line}\u001b[0m`);
  }
  return `${lines.join("\n")}\n`;
}

/** One line that is written over, on a terminal only. */
function showProgress() {
  let shown = -1;
  const isTerminal = process.stderr.isTTY === true;
  return {
    show(received: number, of: number) {
      const percent = Math.floor((received / of) * 100);
      if (!isTerminal || percent === shown) return;
      shown = percent;
      process.stderr.write(`\rreceiving keys: ${percent} %`);
    },
    clear() {
      if (shown >= 0) process.stderr.write("\r\u001b[K");
    },
  };
}
