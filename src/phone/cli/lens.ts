import { rm } from "node:fs/promises";
import encodeQr from "qr";
import { printPng } from "../../base/node/png.ts";
import { readNamed } from "../../base/node/program.ts";
import { fromText, toText } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import type { Wifi } from "../../protocol/sealed/lens.ts";
import { type LensOptions, pairByLens } from "../lens.ts";
import type { Paired } from "../pair.ts";
import type { Line } from "../relay.ts";
import type { Vault } from "../vault.ts";
import type { Arguments } from "./arguments.ts";
import { type Voice, writeWhole } from "./out.ts";

/** What a window of the camera lasts. */
const windowMs = 10 * 60_000;
const dotPixels = 12;
/** The light around it that the standard asks for. */
const borderDots = 4;
const longestPassword = 256;

/** `obscura-phone pair --lens FILE.png`: the code goes into a file, which is removed when it was used. */
export async function byLens(given: Arguments, line: Line, voice: Voice) {
  const { lens: file, relays, waitMs = windowMs } = given;
  const [relay] = relays ?? [];
  if (file === undefined || given.operands.length > 0) {
    throw new Failure("misuse", "pair --lens takes the PNG to write, and no link");
  }
  if (relay === undefined) {
    throw new Failure("misuse", "pair --lens needs --relay URL: there the two meet", {
      hint: "The relay on a board in this network will do: http://192.168.1.2:8470",
    });
  }
  const wifi = await readWifi(given, voice);
  return {
    pair: (
      vault: Vault,
      options: Omit<LensOptions, "relay" | "wifi" | "line" | "waitMs" | "show">,
    ): Promise<Paired> =>
      pairByLens(vault, {
        ...{ ...options, relay, line, waitMs },
        ...(wifi ? { wifi } : {}),
        async show(text) {
          await writeWhole(file, drawCode(text));
          voice.warn(`${file}: show it to the camera, while its window is open. It is a secret`);
        },
        onKnock: () => voice.progress("a camera has read the code"),
      }),
    close: () => rm(file, { force: true }).catch(() => {}),
  };
}

/** A code's text in capitals, as PNG. */
export function drawCode(text: string): Uint8Array {
  return printPng(encodeQr(text, "raw", { ecc: "low", border: borderDots }), dotPixels);
}

/** The password is read from standard input: other users of this machine can read a command line. */
export async function readWifi(
  { wifi, hidden }: Arguments,
  voice: Voice,
): Promise<Wifi | undefined> {
  if (wifi === undefined) return undefined;
  if (process.stdin.isTTY) voice.warn(`password of ${wifi} (none: open), then Ctrl-D:`);
  const what = "a password";
  const text = toText(await readNamed("-", { what, mostBytes: longestPassword }));
  return { ssid: fromText(wifi), password: text.replace(/\r?\n$/, ""), hidden };
}
