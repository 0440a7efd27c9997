import { randomBytes, randomInt } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import encodeQR from "qr";
import { type DurableFolder, openDurable } from "../../base/node/durable.ts";
import { printPng } from "../../base/node/png.ts";
import { equal, fromText, toHex } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import {
  type AccessPoint,
  accessPointOf,
  inviteSecretBytes,
  mostAddresses,
  printInvite,
} from "../../protocol/sealed/invite.ts";
import { bytes, type Checked, integer, object, parse, print } from "../../protocol/sealed/json.ts";
import { checkWord } from "../../protocol/sealed/pairing.ts";
import { isErasing } from "../command/command.ts";
import { createKeyring, hasKeys, isAdopted, openKeyring } from "../keyring.ts";
import { spotAddress } from "../network/network.ts";
import { boardAddresses, hasNetwork, ipBytes } from "./address.ts";
import {
  type BoardTime,
  closeWindow,
  endOf,
  orNone,
  readWindow,
  type WindowState,
} from "./window.ts";

// The label of a board that nobody has paired yet: what it holds and how it ends is in label.md.

const folderName = "label";
const file = "label";
/** The last to be written and the first to go: whoever copies them waits for the words. */
const [words, picture] = ["pairing.txt", "pairing.png"];
const longestBytes = 4096;
const dotPixels = 10;
/** The light around it that the standard asks for. */
const borderDots = 4;
/** Above those that Linux gives to whoever asks for any. */
const ports = { least: 61_000, most: 65_535 };

const check = object({
  version: integer(1, 1),
  secret: bytes(inviteSecretBytes),
  port: integer(ports.least, ports.most),
});
/** As it lies on the card. */
export type Label = Checked<typeof check>;

/** What is on it, for people. */
export type Shown = { readonly link: string; readonly text: string };

/**
 * The board's label, made where there is none: keys of the camera, a secret, a port, and the two files
 * with what it says at the board's addresses of this moment. Durable when it resolves. Throws Failure
 * "refused" when the camera has an owner or is being erased.
 */
export async function makeLabel(state: string, name: string): Promise<Shown> {
  if (await isAdopted(state)) {
    throw new Failure("refused", "this camera has its owner, so it has no label any more", {
      hint: "Its owner's phone adds others: obscura-phone add-phone",
    });
  }
  if (await isErasing(state)) throw new Failure("refused", "this camera is being erased");
  if (!(await hasKeys(state))) await createKeyring(state, name);
  await using folder = await openLabel(state);
  const kept = await folder.read(file).then(parseLabel).catch(orNone);
  const label = kept ?? {
    version: 1,
    secret: new Uint8Array(randomBytes(inviteSecretBytes)),
    port: randomInt(ports.least, ports.most + 1),
  };
  if (!kept) await folder.write(file, print(label, longestBytes, "label", check));
  const shown = await describeLabel(state, label);
  const dots = encodeQR(shown.link.toUpperCase(), "raw", { ecc: "low", border: borderDots });
  await refresh(folder, picture, printPng(dots, dotPixels));
  await refresh(folder, words, fromText(shown.text));
  return shown;
}

async function readLabel(state: string): Promise<Label | undefined> {
  const bytes = await readFile(join(state, folderName, file)).catch(() => undefined);
  return bytes && (await Promise.resolve(bytes).then(parseLabel).catch(orNone));
}

/**
 * Overwrites it and takes it away, with the secret in the notes of a window; durable when it resolves. Can
 * be killed at any step, and called again.
 */
export async function destroyLabel(state: string): Promise<void> {
  const names = await readdir(join(state, folderName)).catch(() => []);
  if (names.length === 0) return;
  const label = await readLabel(state);
  if (label) await closeWindow(state, label.secret, (await isAdopted(state)) ? "success" : "time");
  await using folder = await openLabel(state);
  // The secret itself last: until it is gone somebody knows that there is something to destroy.
  await folder.remove([words, picture, file], { shred: true });
}

/**
 * "open": a window is due; "resume": one is open; "wait": for a press, or the next start of the board;
 * "destroy": it has served.
 */
export type Due = "open" | "resume" | "wait" | "destroy";

/** What is due for a label. By that of a camera with an owner no window opens. */
export function judgeLabel(
  { secret }: Pick<Label, "secret">,
  now: { window: WindowState | undefined; isOwned: boolean; time: BoardTime },
): Due {
  const { window, isOwned, time } = now;
  const isOpen = window?.secret && !endOf(window, time) && equal(window.secret, secret);
  // An owner whose phone was not told yet comes again by the same link.
  if (isOpen) return "resume";
  if (isOwned) return "destroy";
  return window?.boot === time.boot ? "wait" : "open";
}

/** Destroys a label that has served; else what is due for the one that there is. */
export async function tendLabel(
  state: string,
  time: BoardTime,
): Promise<{ label: Label; due: Due } | undefined> {
  const [label, window, isOwned] = [
    await readLabel(state),
    await readWindow(state),
    await isAdopted(state),
  ];
  const due = label && judgeLabel(label, { window, isOwned, time });
  if (due === "destroy" || (!due && isOwned)) await destroyLabel(state);
  return label && due && due !== "destroy" ? { label, due } : undefined;
}

function parseLabel(bytes: Uint8Array): Label {
  return parse(bytes, longestBytes, "label", check);
}

async function openLabel(state: string): Promise<DurableFolder & AsyncDisposable> {
  const folder = await openDurable(join(state, folderName));
  return { ...folder, [Symbol.asyncDispose]: () => folder.close() };
}

/** Writes what is not there yet: who copies it is not to be woken for nothing. */
async function refresh(folder: DurableFolder, name: string, bytes: Uint8Array): Promise<void> {
  const before = await folder.read(name).catch(orNone);
  if (!before || !equal(before, bytes)) await folder.write(name, bytes, { shred: true });
}

async function describeLabel(state: string, { secret, port }: Label): Promise<Shown> {
  const identity = (await openKeyring(state)).identity.hash;
  const own = ipBytes(spotAddress);
  const others = (hasNetwork() ? boardAddresses() : []).filter((ip) => toHex(ip) !== toHex(own));
  const ips = [...others.slice(0, mostAddresses - 1), own];
  const link = printInvite({ identity, secret, addresses: ips.map((ip) => ({ ip, port })) });
  const word = checkWord(identity);
  return { link, text: printLabel(link, { word, point: accessPointOf({ identity, secret }) }) };
}

function printLabel(link: string, { word, point }: { word: string; point: AccessPoint }): string {
  return `Obscura camera ${word}

It has no owner yet. For ten minutes after each start of the board, and after a press of its button, the
phone that brings this link becomes its owner; pairing.png is the same link as a code.

${link}

  in the network that the board is in    obscura-phone pair LINK
  near the board, by Bluetooth           obscura-phone pair --bluetooth LINK
  if the board is in no network, it makes its own: join ${point.ssid}
  (password ${point.password}), then     obscura-phone pair LINK --wifi NAME-OF-YOUR-NETWORK

Both ends show a check word: compare them. Whoever reads this file can do the same, so keep it to yourself
until then. Afterwards the link is good for nothing, and this file is gone.
`;
}
