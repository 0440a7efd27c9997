import { connect, type Socket } from "node:net";
import { hostname } from "node:os";
import { nodeSuite } from "../../base/node/crypto.ts";
import { readNamed } from "../../base/node/program.ts";
import { socketStream } from "../../base/node/socket.ts";
import { toHex, toText } from "../../base/pure/bytes.ts";
import { explain, Failure, isFailure } from "../../base/pure/failure.ts";
import { openFrames } from "../../protocol/sealed/frames.ts";
import { type Address, type Invite, parseInvite } from "../../protocol/sealed/invite.ts";
import { firstSupply } from "../../protocol/sealed/supply.ts";
import { pairCamera } from "../pair.ts";
import { Vault } from "../vault.ts";
import type { Arguments } from "./arguments.ts";
import type { Voice } from "./out.ts";
import type { Home } from "./store.ts";

const connectMs = 4000;
const longestInput = 4096;

/** `obscura-phone pair LINK`: becomes the owner of the camera that shows the link. */
export async function pair(
  given: Arguments,
  store: Home,
  voice: Voice,
  say: (text: string, json: unknown) => void,
): Promise<void> {
  const link = await takeLink(given);
  const invite = readLink(link);
  const socket = await connectTo(targetsOf(invite, given.address));
  const pipe = openFrames(socketStream(socket));
  try {
    const isNew = (await store.load()) === undefined;
    const name = (given.phone ?? hostname()).slice(0, 32);
    const vault = isNew ? Vault.create(store, name) : await Vault.open(store);
    let shownAt = 0;
    const paired = await pairCamera(vault, {
      ...{ pipe, invite, name: given.name, nowMs: Date.now(), suite: nodeSuite },
      ...(given.relays ? { relays: given.relays } : {}),
      supply: { ...firstSupply, ...(given.keys === undefined ? {} : { oneTime: given.keys }) },
      onProgress: (made, of) => {
        if (made - shownAt < 50) return;
        shownAt = made;
        voice.progress(`making keys: ${made} of ${of}`);
      },
      onSent: (bytes, of) => voice.progress(`sending keys: ${Math.floor((bytes / of) * 100)} %`),
    });
    const { camera, word, identityWord, isRepeat, relays } = paired;
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
      },
    );
    if (isNew) {
      voice.warn(
        `the keys lie in ${given.home} and nowhere else: losing the only copy loses every`,
      );
      voice.warn("clip for good. Nobody can help then. Make a copy: obscura-phone backup FILE");
    }
  } catch (error) {
    throw explained(error);
  } finally {
    pipe.close();
  }
}

/** The link, from the command line or, as "-", from standard input. */
async function takeLink({ operands }: Arguments): Promise<string> {
  const [link, ...more] = operands;
  if (link === undefined || more.length > 0) {
    throw new Failure("misuse", "pair takes the link that the camera shows, and one only", {
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
  try {
    return parseInvite(text.replace(/\s+/g, ""));
  } catch (cause) {
    if (!isFailure(cause, "corrupt")) throw cause;
    const { message, hint, stage } = cause;
    throw new Failure("misuse", message, {
      ...{ cause, ...(hint ? { hint } : {}), ...(stage ? { stage } : {}) },
    });
  }
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
