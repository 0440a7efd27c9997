import { join } from "node:path";
import type { Log } from "../base/node/log.ts";
import type { Clock } from "../base/pure/clock.ts";
import { explain, isFailure } from "../base/pure/failure.ts";
import {
  type CommandOptions,
  type Commands,
  openCommands,
  readRemoteSettings,
} from "./command/command.ts";
import { type Config, checkRemote, withRemote } from "./config.ts";
import type { Keyring } from "./keyring.ts";
import type { Outbox } from "./outbox/outbox.ts";
import { lost, type Sealer } from "./seal/seal.ts";
import { askForHead, openRelays, openUplink, type Relay, type Uplink } from "./uplink/uplink.ts";

// How the camera and its owner's mailboxes are joined: relays, what goes there, what comes from there.

/** What the service is to do when it ends. */
export type Ending = "restart" | "erase";

/** The relays that the settings or the adoption name. */
export function relaysOf(
  { relay }: Config,
  keyring: Keyring,
  clock: Clock,
): ReturnType<typeof openRelays> {
  const { adopted, identity, signRequest } = keyring;
  const adoptedUrls = adopted?.relays ?? [];
  const urls = relay.urls === "none" ? [] : relay.urls === "adopted" ? adoptedUrls : relay.urls;
  return openRelays({
    ...{ urls, clock, kbitPerS: relay.kbitPerS },
    mailbox: adopted?.mailbox ?? new Uint8Array(32),
    ...{ key: identity.request, sign: signRequest },
  });
}

/** Asks the relays for a head that this log does not have, when the log is opened. */
export function askRelays(
  relays: readonly Relay[],
  options: { keyring: Keyring; outbox: Outbox; clock: Clock; signal: AbortSignal },
): (incarnation: number) => ReturnType<typeof askForHead> {
  const { keyring, outbox, clock, signal } = options;
  const { camera } = keyring.identity;
  return (incarnation) =>
    askForHead({ ...{ relays, camera, incarnation, clock, signal }, entries: outbox.entries });
}

export type DeliveryOptions = {
  relays: readonly Relay[];
  keyring: Keyring;
  outbox: Outbox;
  sealer: Sealer;
  state: string;
  clock: Clock;
  logs(stage: string): Log;
  onRelayed(part: { clip: string; number: number; atUs: number; relay: number }): void;
  picture: CommandOptions["picture"];
  openWindow: CommandOptions["openWindow"];
  alarm: CommandOptions["alarm"];
  markErased(): Promise<void>;
  onEnd(ending: Ending): void;
  /** Storage that failed ends the program. */
  fail(error: unknown): void;
};

/** How long the end of the service waits for what was sealed last to reach the relays. */
const lastWordMs = 3_000;

/** The uplink, which has to be closed after the last clip was sealed. */
export function startUplink(options: DeliveryOptions): Uplink & { close(): Promise<void> } {
  const { relays, keyring, outbox, sealer, clock, logs, fail, onRelayed } = options;
  const uplink = openUplink({
    ...{ outbox, relays, camera: keyring.identity.camera, clock, onRelayed },
    // Until it is closed: what is sealed last goes too.
    signal: new AbortController().signal,
    incarnation: () => sealer.life.incarnation,
    onAhead: (head) => sealer.reopen(head, "the log was behind").catch(fail),
    onFound: (entry) =>
      outbox.put(entry).catch((error) => {
        // Without room for it now it is looked for again at the next comparison.
        if (!isFailure(error, "full")) fail(error);
      }),
    onGiven: (losses) => sealer.note(lost(losses, "full")),
    onState: ({ relay, text, isWell }) =>
      logs("uplink")[isWell ? "info" : "warn"](text, { relay: relays[relay]?.url }),
  });
  return {
    ...uplink,
    async close() {
      await uplink.idle(lastWordMs);
      await uplink.close();
    },
  };
}

export async function startCommands(
  options: DeliveryOptions & Pick<CommandOptions, "takeSetting" | "push"> & { uplink: Uplink },
): Promise<Commands> {
  const { state, logs, fail } = options;
  const log = logs("command");
  return await openCommands({
    ...options,
    folder: join(state, "commands"),
    ...(options.outbox.kind === "folder" ? { boxes: join(state, "outbox") } : {}),
    checkSetting: async (name, value) => checkRemote(name, value),
    onDone: ({ action, refused }) => {
      if (refused) log.warn("refused", { action, why: refused });
      else log.info("done", { action });
    },
    onProblem: fail,
  });
}

/** Erases the camera by hand: its owners read of it, if a relay can be reached before the end. */
export async function resetBy(
  why: string,
  { sealer, markErased, onEnd, fail }: DeliveryOptions,
): Promise<void> {
  // What cannot be written any more keeps nobody from it.
  await sealer.note({ kind: "problem", code: "reset", text: `${why}: it is erased` }).catch(fail);
  try {
    await markErased();
    onEnd("erase");
  } catch (error) {
    fail(error);
  }
}

/** The settings of the file, with those that an owner sent in their places. */
export async function configOf(config: Config, state: string, log?: Log): Promise<Config> {
  let all = structuredClone(config);
  for (const [name, { value }] of Object.entries(
    await readRemoteSettings(join(state, "commands")),
  )) {
    try {
      all = withRemote(all, { [name]: value });
      log?.info("set by the owner", { setting: name });
    } catch (error) {
      if (!isFailure(error)) throw error;
      log?.warn("what the owner set is not right any more", { setting: name, why: explain(error) });
    }
  }
  return all;
}
