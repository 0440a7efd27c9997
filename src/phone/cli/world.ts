import { ed25519Signer, nodeSuite } from "../../base/node/crypto.ts";
import { openHttp } from "../../base/node/http.ts";
import { systemClock } from "../../base/node/time.ts";
import { explain, Failure, isFailure } from "../../base/pure/failure.ts";
import { cameraService } from "../../protocol/wire/announce.ts";
import { mailboxIdOf } from "../doors.ts";
import { findCamera, nameCamera } from "../find.ts";
import type { Link } from "../link.ts";
import { markedBy, openNear } from "../near.ts";
import { type Line, openFirstRelay, openRelay } from "../relay.ts";
import { type Survey, survey } from "../survey.ts";
import { type Tended, tend } from "../tend.ts";
import { type CameraKeys, Vault } from "../vault.ts";
import type { Arguments } from "./arguments.ts";
import { openFolder } from "./folder.ts";
import { findRelays } from "./lan.ts";
import type { Voice } from "./out.ts";
import type { Home } from "./store.ts";

/** What most commands work on: the keys, one camera of them, and where its objects lie. */
export type World = {
  readonly store: Home;
  readonly vault: Vault;
  readonly camera: CameraKeys;
  readonly link: Link;
};

const findMs = 2500;

/** Result on standard output: text for people, or with --json the one document for programs. */
export type Say = (text: string, json: unknown) => void;

/** A line to relays over the network of this machine. */
export function openLine(): Line & { close(): void } {
  const http = openHttp();
  return {
    ...{ suite: nodeSuite, send: http.send, close: http.close },
    nowMs: () => Date.now(),
    sleep: (ms) => systemClock.sleep(ms),
    signer: (seed) => ed25519Signer(seed).sign,
  };
}

/**
 * The folder, relay or camera that was named; else the relays that the camera was given; else whatever of both
 * answers in the local network. Says which way it went where nobody asked for that.
 */
export async function openWorld(
  given: Pick<Arguments, "from" | "camera" | "relays" | "lan" | "address">,
  store: Home,
  line: Line,
  voice: Pick<Voice, "warn">,
): Promise<World> {
  const { from, camera: named, relays } = given;
  const vault = await Vault.open(store);
  if (from !== undefined) {
    const link = await openFolder(from);
    return { store, vault, link, camera: await findCamera(vault, link, named) };
  }
  const camera = nameCamera(vault, named);
  const { door } = camera;
  const { phone } = vault.content;
  const near = { phone, line };
  const open = async (): Promise<Link> => {
    if (given.address !== undefined) return await openNear(urlOf(given.address), camera, near);
    if (given.lan) {
      const link = await findNear(camera, near);
      if (!link) throw notHere();
      voice.warn(`over the camera itself, in the local network: ${link.where}`);
      return link;
    }
    return await openFirstRelay(relays ?? camera.relays, camera, line).catch(async (error) => {
      if (relays) throw error;
      const [relay, itself] = await Promise.all([findLink(camera, line), findNear(camera, near)]);
      const link = relay ?? itself;
      if (!link) throw error;
      const way = relay ? "a relay" : "the camera itself";
      voice.warn(`no relay answers: over ${way}, in the local network: ${link.where}`);
      return link;
    });
  };
  const link = await open();
  if (camera.door !== door) vault.touch();
  return { store, vault, camera, link };
}

const notHere = () =>
  new Failure("offline", "this camera does not answer in the local network", {
    hint: "Its settings have to name local.port; --address HOST:PORT says where it is",
  });

/** Throws Failure "misuse". */
function urlOf(address: string): string {
  if (/^(?:[a-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\]):[1-9][0-9]{0,4}$/.test(address)) {
    return `http://${address}`;
  }
  if (/^https?:\/\/[^/]+$/.test(address)) return address;
  throw new Failure("misuse", `--address ${address}: HOST:PORT was expected`);
}

/** On the local network, where none of the known addresses answers: a board may have got another. */
async function findLink(camera: CameraKeys, line: Line): Promise<Link | undefined> {
  const mailboxes = [mailboxIdOf(camera, nodeSuite)];
  const found = await findRelays({
    ...{ mailboxes, suite: nodeSuite, timeoutMs: findMs, onFound: () => true },
  }).catch(() => []);
  const urls = found.map(({ url }) => url);
  return urls.length === 0
    ? undefined
    : await openFirstRelay(urls, camera, line).catch(() => undefined);
}

/** The camera's own interface. Whoever stands there under its mark is asked; what does not answer is passed over. */
async function findNear(
  camera: CameraKeys,
  near: Parameters<typeof openNear>[2],
): Promise<Link | undefined> {
  const mailboxes = [markedBy(camera, nodeSuite)];
  const found = await findRelays({
    ...{ mailboxes, suite: nodeSuite, timeoutMs: findMs, service: cameraService },
    onFound: () => true,
  }).catch(() => []);
  for (const { url } of found) {
    const link = await openNear(url, camera, near).catch(() => undefined);
    if (link) return link;
  }
  return undefined;
}

/**
 * Reads what is there, and does what is due after a look: commands that wait for the camera are sent
 * again, deletions confirmed, doors kept (tend.ts).
 */
export async function surveyWorld(
  { store, vault, camera, link }: World,
  depth: "all" | "new",
  voice: Voice,
): Promise<Survey> {
  const onProgress = (done: number, of: number) =>
    voice.progress(done < of ? `looking at clip ${done + 1} of ${of}` : "");
  const nowMs = Date.now();
  const onEntries = (read: number) => {
    if (read % 50 === 0) voice.progress(`reading the log: ${read} entries`);
  };
  const found = await survey({
    ...{ link, vault, camera, suite: nodeSuite, depth, nowMs, onProgress, onEntries },
    shelf: store.shelf,
  });
  const about = { link, vault, camera, survey: found, suite: nodeSuite, nowMs };
  const { settled, faults } = await tend({ ...about, name: depth === "all" }).catch(
    (error): Tended => {
      // What was read stands all the same, and what waits is decided anew at the next look.
      if (!isFailure(error, "full")) throw error;
      voice.warn(`${explain(error)}: what waits for the camera is sent later`);
      return { settled: [], faults: [] };
    },
  );
  for (const { item, refused } of settled) {
    if (refused !== undefined) voice.warn(`the camera refused the ${item.what}: ${refused}`);
  }
  const well = found.well && faults.every(({ severity }) => severity === "note");
  return { ...found, faults: [...found.faults, ...faults], well };
}

/** Puts the door list where the clips shall go, so that the camera is let in; failing is no failure. */
export async function greetRelays(store: Home, line: Line, voice: Voice): Promise<void> {
  const vault = await Vault.open(store);
  for (const camera of vault.content.cameras) {
    for (const url of camera.relays) {
      await openRelay(url, camera, line).catch((error) => {
        voice.warn(`${explain(error)}. Its mailbox is opened by the next command that reaches it`);
      });
    }
  }
}
