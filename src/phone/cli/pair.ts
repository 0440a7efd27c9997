import { connect, type Socket } from "node:net";
import { hostname } from "node:os";
import { setTimeout as wait } from "node:timers/promises";
import { nodeSuite } from "../../base/node/crypto.ts";
import { readNamed } from "../../base/node/program.ts";
import { socketStream } from "../../base/node/socket.ts";
import { toHex, toText } from "../../base/pure/bytes.ts";
import { explain, Failure, isFailure } from "../../base/pure/failure.ts";
import { openFrames } from "../../protocol/sealed/frames.ts";
import { type Address, type Invite, parseInvite } from "../../protocol/sealed/invite.ts";
import {
  type NetworkAnswer,
  networkVerdicts,
  newNetworkRequest,
} from "../../protocol/sealed/network.ts";
import { firstSupply } from "../../protocol/sealed/supply.ts";
import { furtherSupply } from "../keys.ts";
import { noteKept, type Paired, type PairOptions, pairCamera } from "../pair.ts";
import type { Line } from "../relay.ts";
import { Vault } from "../vault.ts";
import { type Arguments, readTyped } from "./arguments.ts";
import { reachByBluetooth } from "./bluetooth.ts";
import { byLens, readWifi } from "./lens.ts";
import type { Voice } from "./out.ts";
import type { Home } from "./store.ts";

const connectMs = 4000;
/** A radio is switched on, and is heard when it is its turn. */
const listenMs = 60_000;
/** How long a camera that tries another network may stay away from its own, and how often it is asked. */
const returnMs = 100_000;
const againMs = 3000;
const longestInput = 4096;

/** `obscura-phone pair LINK`, `--bluetooth LINK` or `--lens FILE`: becomes the owner of the camera. */
export async function pair(
  given: Arguments,
  store: Home,
  line: Line,
  voice: Voice,
  say: (text: string, json: unknown) => void,
): Promise<void> {
  const way =
    given.lens === undefined ? await byLink(given, voice) : await byLens(given, line, voice);
  try {
    const isNew = (await store.load()) === undefined;
    const name = (given.phone ?? hostname()).slice(0, 32);
    const vault = isNew ? Vault.create(store, name) : await Vault.open(store);
    let shownAt = 0;
    const paired = await way.pair(vault, {
      ...{ name: given.name, nowMs: Date.now(), suite: nodeSuite },
      ...(given.relays ? { relays: given.relays } : {}),
      supply: {
        ...(given.bluetooth ? furtherSupply : firstSupply),
        ...(given.keys === undefined ? {} : { oneTime: given.keys }),
      },
      onProgress: (made, of) => {
        if (made - shownAt < 50) return;
        shownAt = made;
        voice.progress(`making keys: ${made} of ${of}`);
      },
      onSent: (bytes, of) => voice.progress(`sending keys: ${Math.floor((bytes / of) * 100)} %`),
    });
    const { camera, word, identityWord, isRepeat, relays, network } = paired;
    const asked = given.relays?.join(" ");
    if (isRepeat && asked !== undefined && asked !== relays.join(" ")) {
      voice.warn("what was made before was sent again, and --relay is not part of it");
    }
    say(
      `paired with ${camera.name || "a camera"}, check word ${word}: the camera shows the same\n` +
        (relays.length > 0
          ? `its clips go to ${relays.join(", ")}\n`
          : "its clips stay on the camera: no relay was named\n"),
      {
        ...{ camera: toHex(camera.id), name: camera.name, relays, repeated: isRepeat },
        ...{ identityCheck: identityWord, check: word },
        ...(network ? { network } : {}),
      },
    );
    if (isNew) {
      voice.warn(
        `the keys lie in ${given.home} and nowhere else: losing the only copy loses every`,
      );
      voice.warn("clip for good. Nobody can help then. Make a copy: obscura-phone backup FILE");
    }
    if (network) sayNetwork(given.wifi ?? "", network, voice);
  } catch (error) {
    throw given.lens === undefined ? explained(error) : error;
  } finally {
    await way.close();
  }
}

type Sitting = Omit<PairOptions, "pipe" | "invite" | "network">;

/** To the camera whose link it is. */
async function byLink(given: Arguments, voice: Voice) {
  if (given.wifi !== undefined && given.operands[0] === "-") {
    throw new Failure("misuse", "the link and --wifi's password cannot both be standard input");
  }
  const invite = readLink(await takeLink(given));
  const wifi = await readWifi(given, voice);
  const network = wifi && newNetworkRequest(wifi);
  const { identity } = invite;
  const { adapter, waitMs = listenMs } = given;
  const tell = (text: string) => voice.progress(text);
  const reach = () =>
    given.bluetooth
      ? reachByBluetooth({ identity, adapter, waitMs, tell })
      : reachByNetwork(invite, given.address);
  let reached = await reach();
  const sit = (vault: Vault, options: Sitting) =>
    pairCamera(vault, { ...options, pipe: reached.pipe, invite, ...(network ? { network } : {}) });
  return {
    async pair(vault: Vault, options: Sitting): Promise<Paired> {
      let paired = await sit(vault, options);
      const endMs = performance.now() + (given.waitMs ?? returnMs);
      while (paired.network?.verdict === "leaving" && performance.now() < endMs) {
        voice.progress(`the camera leaves its own network to join ${given.wifi}; stay in it`);
        await reached.close();
        await wait(againMs);
        try {
          reached = await reach();
          paired = await sit(vault, options);
        } catch (error) {
          if (!isFailure(error, "offline", "gone", "stalled")) throw error;
        }
      }
      if (paired.network?.verdict === "leaving") await noteKept(vault, paired.camera);
      return paired;
    },
    close: () => reached.close(),
  };
}

async function reachByNetwork(invite: Invite, address: string | undefined) {
  const pipe = openFrames(socketStream(await connectTo(targetsOf(invite, address))));
  return { pipe, close: async () => pipe.close() };
}

/** Throws Failure "refused" when the camera did not join. */
function sayNetwork(name: string, { verdict, address }: NetworkAnswer, voice: Voice): void {
  if (verdict === "joined") voice.warn(`the camera is in ${name} as ${address ?? "?"}`);
  else if (verdict === "leaving") {
    voice.warn(`the camera left its own network and did not come back: it should be in ${name}.`);
    voice.warn("If its own shows up again all the same, join that and call this once more");
  } else {
    const hint = "While its window is open, call this once more with the same link";
    const how = networkVerdicts[verdict];
    throw new Failure("refused", `paired, but not in ${name}: ${how}`, { stage: verdict, hint });
  }
}

/** The link, from the command line or, as "-", from standard input. */
async function takeLink({ operands }: Arguments): Promise<string> {
  const [link] = operands;
  if (link === undefined) {
    throw new Failure("misuse", "pair takes the link that the camera shows", {
      hint: "or - to read it from standard input",
    });
  }
  if (link !== "-") {
    // Other users of this machine can read our command line: from here on there is no link in it.
    process.title = "obscura-phone pair";
    return link;
  }
  if (process.stdin.isTTY) process.stderr.write("the link, then Ctrl-D: ");
  return toText(await readNamed("-", { what: "a link", mostBytes: longestInput }));
}

/** A terminal may have broken the line: what is white in it is left out. */
function readLink(text: string): Invite {
  return readTyped(() => parseInvite(text.replace(/\s+/g, "")));
}

type Target = { host: string; port: number };

function targetsOf({ addresses }: Invite, given: string | undefined): Target[] {
  if (given === undefined) return addresses.map(printTarget);
  const found = /^(?:\[([\da-f:.]+)\]|([^:[\]/@]+)):(\d{1,5})$/i.exec(given);
  const port = Number(found?.[3] ?? 0);
  if (!found || port < 1 || port > 65_535) {
    throw new Failure("misuse", `--address ${given}: HOST:PORT was expected`);
  }
  return [{ host: found[1] ?? found[2] ?? "", port }];
}

function printTarget({ ip, port }: Address): Target {
  if (ip.length === 4) return { host: ip.join("."), port };
  return { host: (toHex(ip).match(/.{4}/g) ?? []).join(":"), port };
}

/** The first that answers. */
async function connectTo(targets: readonly Target[]): Promise<Socket> {
  const failed: string[] = [];
  for (const { host, port } of targets) {
    const socket = connect({ host, port, noDelay: true });
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once("connect", resolve).once("error", reject);
        socket.setTimeout(connectMs, () => reject(new Error("no answer")));
      });
      socket.setTimeout(0);
      return socket;
    } catch (error) {
      socket.destroy();
      const { code, message } = error as NodeJS.ErrnoException;
      failed.push(`${host}:${port} (${code ?? message})`);
    }
  }
  throw new Failure("offline", `no camera answers at ${failed.join(", ")}`, {
    hint: "Is its window still open, and are both in the same network? obscura-camera pair opens one",
  });
}

/** What came to nothing may be tried again as it was; the words say so. */
function explained(error: unknown): unknown {
  if (!isFailure(error, "gone", "stalled") || error.stage !== undefined) return error;
  return new Failure(error.kind, `the camera went away: ${explain(error)}`, {
    cause: error,
    hint: "Nothing is lost: call it again with the same link while the camera shows it",
  });
}
