import { parseArgs } from "node:util";
import encodeQR from "qr";
import { openLog } from "../../base/node/log.ts";
import { stateFolder, stopSignal } from "../../base/node/program.ts";
import { systemClock } from "../../base/node/time.ts";
import { Failure, isFailure } from "../../base/pure/failure.ts";
import { type AccessPoint, printNetworkCode } from "../../protocol/sealed/invite.ts";
import { openCamera } from "../camera/camera.ts";
import { cameraOptions, readConfig } from "../config.ts";
import { improvModes } from "../improv/improv.ts";
import { endings, type Outcome, openPairing } from "./host.ts";
import { destroyLabel, makeLabel, tendLabel } from "./label.ts";
import { openReach, ways } from "./reach.ts";
import { improvOf, serveWays } from "./ways.ts";
import { boardTime } from "./window.ts";

/**
 * The pairing stage: opens a window in which the phone that scans what is shown may adopt this
 * camera over the network. In: a state folder. Out: the adoption in the keyring, and how it ended.
 * Fails closed: what cannot be written or verified lets nobody in (protocol/sealed/session.md).
 */
export { awaitNetwork } from "./address.ts";
export { watchAttempts } from "./attempts.ts";
export { endings, openPairing } from "./host.ts";
export { makeLabel, tendLabel } from "./label.ts";
export { holdWindow, type Opened } from "./press.ts";
export { improvOf } from "./ways.ts";
export { boardTime } from "./window.ts";

const help = `usage: obscura-camera pair [--state DIR] [--name NAME] [--port PORT] [--listen ADDRESS] [--lens]

Opens a window of ten minutes in which one phone may become this camera's owner, over the network
that both are in. Shows a QR code and a link: on the phone, obscura-phone pair LINK. The window
closes with success, with time, or with the fifth wrong secret. Started again within its time, it is
the same window with the same link.

  --state DIR       where this camera keeps its keys and clips
  --name NAME       what the phone calls this camera (the first time)
  --port PORT       where to listen (default: any that is free)
  --listen ADDRESS  listen on this address only, and name it in the link
  --no-qr           the link alone
  --access-point W  auto: when the board is in no network it makes one of its own, of which a second
                    code is shown; always: also when it is in one, which it leaves; never
  --lens            look for a code that a phone shows to the camera as well:
                    obscura-phone pair --lens FILE.png. The service must not have the camera then
  --bluetooth       let phones come by Bluetooth LE as well: obscura-phone pair --bluetooth LINK.
                    It is off again when the window closes
  --adapter NAME    by which radio, as hci0 (default: the first)
  --improv MODE     with --bluetooth, and while nobody owns this camera: apps that speak Improv may
                    bring it into a Wi-Fi network. encrypted: radios that listen learn nothing;
                    plain: for apps that cannot, and the password can be heard; off (default: as
                    the settings say, encrypted unless they do)
  --config FILE     settings, for --lens and --bluetooth (default: those of the service)

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
      "access-point": { type: "string", default: "auto" },
      lens: { type: "boolean", default: false },
      bluetooth: { type: "boolean", default: false },
      adapter: { type: "string" },
      improv: { type: "string" },
      config: { type: "string" },
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
  const config = values.lens || values.bluetooth ? await readConfig(values.config) : undefined;
  const camera = values.lens && config ? cameraOptions(config) : undefined;
  const way = ways.find((one) => one === values["access-point"]);
  if (!way) {
    const found = values["access-point"];
    throw new Failure("misuse", `--access-point ${found} is not ${ways.join(", ")}`);
  }
  const wish = values.improv ?? config?.improv ?? "off";
  const mode = improvModes.find((one) => one === wish);
  if (!mode) throw new Failure("misuse", `--improv ${wish} is not ${improvModes.join(", ")}`);
  const improv = improvOf(mode, {
    name: values.name,
    identify: () => say("somebody who is near asks which camera this is (Improv)"),
    joined: (there) => say(`there it is paired by ${there}`),
  });
  const log = openLog("pairing", "info");
  const isPlaced = values.listen !== undefined;
  await using reach = openReach({ state: values.state, log, way, isPlaced });
  const pairing = await openPairing({
    ...{ state: values.state, name: values.name, port, address: values.listen, reach },
    ...{ time: await boardTime(), log, onProgress: progress.show },
  }).catch(async (error) => {
    const time = await boardTime();
    const found = isFailure(error, "busy") ? await tendLabel(values.state, time) : undefined;
    if (found?.due !== "resume") throw error;
    const hint = "Its link: obscura-camera label. Or wait until its ten minutes are over";
    throw new Failure("busy", "the service has a window open, by the board's label", { hint });
  });
  const { link, word, owners, isResumed, before } = pairing;
  if (isResumed) say("this window was open already: the link is the same");
  else if (before && before !== "success") say(`the last window closed: ${endings[before]}`);
  if (owners.length > 0) {
    say(`this camera belongs to ${owners.join(", ")}; nobody else can take it`);
  }
  if (process.stdout.isTTY && !values["no-qr"]) say(`\n${qrCode(link)}`);
  say(`${link}\n`);
  if (reach.point) sayPoint(reach.point, !values["no-qr"], say);
  const minutes = Math.max(1, Math.ceil(pairing.remainingMs() / 60_000));
  say(`on the phone, within ${minutes} min: obscura-phone pair LINK`);
  say(`the camera's check word is ${word}; keep the link to yourself until the window is closed`);

  signal.addEventListener("abort", () => void pairing.close(), { once: true });
  if (signal.aborted) await pairing.close();
  const outcome = await serveWays({
    ...{ pairing, reach, say },
    eye: camera && ((end) => openCamera({ ...camera, clock: systemClock, signal: end })),
    bluetooth: values.bluetooth ? { adapter: values.adapter, improv } : undefined,
    log: (stage) => openLog(stage, "info"),
    warn: (text) => process.stderr.write(`obscura-camera: ${text}\n`),
  });
  progress.clear();
  return report(outcome, say);
}

const labelHelp = `usage: obscura-camera label [--state DIR] [--config FILE] [--no-qr | --quiet | --destroy]

The label of a board that has no owner yet: a link, and the same as a code, by which its first owner's
phone pairs. Made once, with the camera's keys. The service opens a window for it by itself, for ten
minutes after each start of the board, and after a press of its button. With an owner it is destroyed.

  --no-qr       no code on the terminal
  --quiet       make it, show nothing: where what is printed is kept in a log
  --destroy     overwrite it and take it away: pair and the button are the ways in then
  --state DIR   where this camera keeps its keys and clips
  --config FILE settings, for the camera's name

pairing.txt and pairing.png lie in DIR/label; scripts/install-board has them copied to the boot partition.
Whoever reads them can become the owner.
`;

/** `obscura-camera label` */
export async function runLabel(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      state: { type: "string", default: stateFolder("camera") },
      config: { type: "string" },
      "no-qr": { type: "boolean", default: false },
      quiet: { type: "boolean", default: false },
      destroy: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(labelHelp);
    return 0;
  }
  if (values.destroy) {
    await destroyLabel(values.state);
    return 0;
  }
  const { name } = await readConfig(values.config);
  const { link, text } = await makeLabel(values.state, name);
  if (values.quiet) return 0;
  if (process.stdout.isTTY && !values["no-qr"]) process.stdout.write(`${qrCode(link)}\n`);
  process.stdout.write(text);
  return 0;
}

/** The network that the board made, for a phone to join first. */
function sayPoint(point: AccessPoint, isDrawn: boolean, say: (text: string) => void): void {
  const code = printNetworkCode(point);
  say(`first join the camera's own network, ${point.ssid}, password ${point.password}`);
  say(process.stdout.isTTY && isDrawn ? `\n${qrCode(code, "as it is")}` : code);
}

function report(outcome: Outcome, say: (text: string) => void): number {
  if (outcome.kind === "closed") {
    const why = outcome.why === "success" ? "it got its owner by file" : endings[outcome.why];
    process.stderr.write(`obscura-camera: not paired: ${why}\n`);
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

/**
 * Dark on light whatever the terminal's colours are: half blocks, the picture's dark dots in black.
 * The text in upper case needs fewer dots (protocol/sealed/invite.md).
 */
export function qrCode(text: string, how: "upper case" | "as it is" = "upper case"): string {
  const shown = how === "upper case" ? text.toUpperCase() : text;
  const dots = encodeQR(shown, "raw", { ecc: "low", border: 2 });
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
