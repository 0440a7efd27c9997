import { join } from "node:path";
import { nodeSuite } from "../../base/node/crypto.ts";
import { openDurable } from "../../base/node/durable.ts";
import type { Log } from "../../base/node/log.ts";
import { toHex } from "../../base/pure/bytes.ts";
import { explain, type Failure, isFailure } from "../../base/pure/failure.ts";
import type { Pipe } from "../../protocol/sealed/frames.ts";
import { printInvite } from "../../protocol/sealed/invite.ts";
import type { Channel } from "../../protocol/sealed/noise.ts";
import { checkWord } from "../../protocol/sealed/pairing.ts";
import {
  awaitProof,
  finishProof,
  type Notice,
  refusalFor,
  refuseSession,
  sendNotice,
  serveSession,
} from "../../protocol/sealed/session.ts";
import { digest } from "../../protocol/wire/signature.ts";
import { describe, keepAdoption } from "../adoption.ts";
import { createKeyring, hasKeys, type Keyring, openKeyring } from "../keyring.ts";
import { boardAddresses, ipBytes } from "./address.ts";
import { type Guest, type Listener, openListener } from "./listener.ts";
import { type BoardTime, mostFailures, openWindow, type Window, type WindowEnd } from "./window.ts";

export type PairingOptions = {
  readonly state: string;
  /** What the phone calls the camera, where it has no keys yet. */
  readonly name: string;
  /** 0: the one of the open window, or any that is free. */
  readonly port: number;
  /** The one address to listen on, and to put into the link; all of the board's unless given. */
  readonly address?: string | undefined;
  readonly time: BoardTime;
  readonly log: Log;
  onProgress?(received: number, of: number): void;
  /** For tests: a child process ends itself at one of these. */
  onStep?(step: PairingStep): Promise<void> | void;
};
export type PairingStep =
  | "opened" // nobody was let in yet
  | "received" // all of the adoption is here
  | "kept" // it is durable in the keyring
  | "noted" // and in the window
  | "acknowledged" // the phone may know
  | "done" // it does
  | "closed";

export type Outcome =
  | {
      kind: "paired";
      confirmed: boolean;
      word: string;
      members: readonly string[];
      oneTimeKeys: number;
    }
  | { kind: "closed"; why: WindowEnd | "stopped" };

export type Pairing = {
  /** A secret until the window is closed. */
  readonly link: string;
  readonly port: number;
  /** Of the identity alone, as camera.json shows it. */
  readonly word: string;
  /** Names of who owns this camera already: nobody else can pair. */
  readonly owners: readonly string[];
  /** True when this window was open before the program was started. */
  readonly isResumed: boolean;
  /** How the one before ended, when it did. */
  readonly before: WindowEnd | undefined;
  remainingMs(): number;
  readonly outcome: Promise<Outcome>;
  /** Stops listening; the window stays as it is, for the rest of its time. */
  close(): Promise<void>;
};

const lookEveryMs = 500;
/** Handshakes answered in one window: more than people need. */
const mostHandshakes = 1000;

/**
 * Opens a pairing window, or takes up the one that is open. Makes the camera's keys when there are
 * none. Throws Failure "busy" when another program pairs here or has the port.
 */
export async function openPairing(options: PairingOptions): Promise<Pairing> {
  const { state, name, address, log, time } = options;
  const ips = address === undefined ? boardAddresses() : [ipBytes(address)];
  const keyring = (await hasKeys(state))
    ? await openKeyring(state)
    : await createKeyring(state, name);
  const folder = await openDurable(join(state, "pairing"));
  let listener: Listener | undefined;
  try {
    const { window, before } = await openWindow(folder, time);
    const isResumed = window.port !== undefined;
    const host = new Host(window, options, keyring);
    const port = options.port || (window.port ?? 0);
    listener = await openListener({ port, address, serve: (guest) => host.serve(guest) });
    const opened = listener;
    await window.listenAt(opened.port);
    await options.onStep?.("opened");
    const link = printInvite({
      ...{ identity: keyring.identity.hash, secret: window.secret },
      addresses: ips.map((ip) => ({ ip, port: opened.port })),
    });
    const look = setInterval(() => host.look(), lookEveryMs);
    const close = async () => {
      clearInterval(look);
      await opened.close();
      await folder.close();
    };
    const outcome = host.outcome.finally(async () => {
      await close();
      await options.onStep?.("closed");
    });
    // Nobody may be waiting yet.
    outcome.catch(() => {});
    const owners = keyring.adopted?.membership.members.map((member) => member.name) ?? [];
    return {
      ...{ link, port: opened.port, word: checkWord(keyring.identity.hash), owners },
      ...{ isResumed, before, outcome, remainingMs: () => window.remainingMs() },
      async close() {
        host.stop();
        // How it ended is for whoever waits for the outcome.
        await outcome.catch(() => {});
      },
    };
  } catch (error) {
    log.debug(explain(error));
    await listener?.close();
    await folder.close();
    throw error;
  }
}

type Session = { interrupt(failure: Failure): void };

/** Who is served, and when it is over. */
class Host {
  readonly outcome: Promise<Outcome>;
  readonly #window: Window;
  readonly #options: PairingOptions;
  readonly #keyring: Keyring;
  readonly #answered = new Set<string>();
  #finish: (outcome: Outcome) => void = () => {};
  #fail: (error: unknown) => void = () => {};
  #session: Session | undefined;
  #isKeeping = false;
  #kept: Omit<Extract<Outcome, { kind: "paired" }>, "confirmed"> | undefined;

  constructor(window: Window, options: PairingOptions, keyring: Keyring) {
    this.#window = window;
    this.#options = options;
    this.#keyring = keyring;
    const { adopted, identity } = keyring;
    if (window.kept && adopted) this.#kept = { kind: "paired", ...describe(identity, adopted) };
    this.outcome = new Promise((resolve, reject) => {
      this.#finish = resolve;
      this.#fail = reject;
    });
  }

  /** Looks whether the time is over. What is being kept is kept. */
  look(): void {
    const end = this.#window.end();
    if (!end || this.#isKeeping) return;
    this.#session?.interrupt(refusalFor("closed", "the window closed"));
    this.#window.close(end).then(() => this.#end(end), this.#fail);
  }

  stop(): void {
    this.#end("stopped");
  }

  #end(why: WindowEnd | "stopped"): void {
    if (this.#kept) this.#finish({ ...this.#kept, confirmed: why === "success" });
    else this.#finish({ kind: "closed", why });
  }

  async serve({ pipe, from, admit }: Guest): Promise<void> {
    const { log } = this.#options;
    const turnAway = (notice: Notice) => sendNotice(pipe, notice).catch(() => {});
    try {
      const { secret } = this.#window;
      const identityHash = this.#keyring.identity.hash;
      const { handshake, ephemeral } = await awaitProof(pipe, { secret, identityHash });
      if (this.#window.end()) return await turnAway("closed");
      const name = toHex(ephemeral);
      if (this.#answered.has(name) || this.#answered.size >= mostHandshakes) {
        log.warn("a recorded handshake was sent again", { from });
        return;
      }
      this.#answered.add(name);
      const channel = await finishProof(pipe, handshake);
      if (this.#isKeeping) {
        return await refuseSession(pipe, channel, refusalFor("busy", "keeping an adoption"));
      }
      admit();
      await this.#converse(pipe, channel, from);
    } catch (error) {
      if (!isFailure(error, "corrupt") || error.stage !== "secret") {
        log.debug(`a connection came to nothing: ${explain(error)}`, { from });
      } else if (this.#window.end()) await turnAway("closed");
      else {
        await this.#countGuess(from);
        await turnAway("secret");
        if (this.#window.end()) this.#end("failures");
      }
    }
  }

  async #converse(pipe: Pipe, channel: Channel, from: string): Promise<void> {
    const { log, onProgress } = this.#options;
    this.#session?.interrupt(refusalFor("replaced", "a newer session took its place"));
    const { session, pipe: served } = interruptible(pipe);
    this.#session = session;
    log.info("a phone has proven the secret", { from });
    try {
      const { identity, sign } = this.#keyring;
      await serveSession(served, {
        ...{ channel, identity, sign, suite: nodeSuite },
        ...(onProgress ? { onProgress } : {}),
        keep: (adoption) => this.#keep(adoption, session),
        onAcknowledged: async () => await this.#options.onStep?.("acknowledged"),
        onDone: () => this.#done(),
      });
    } catch (error) {
      log.warn(`a session ended early: ${explain(error)}`, { from });
    } finally {
      if (this.#session === session) this.#session = undefined;
    }
  }

  /** Durable before the phone, or whoever it is, is told. */
  async #countGuess(from: string): Promise<void> {
    // What could not be written counts all the same, and ends this program.
    await this.#window.fail().catch(this.#fail);
    const left = mostFailures - this.#window.failures;
    this.#options.log.warn("a wrong secret was tried", { from, left });
  }

  async #keep(adoption: Uint8Array, session: Session): Promise<Uint8Array> {
    if (this.#window.end()) throw refusalFor("closed", "the window closed");
    if (this.#session !== session) throw refusalFor("replaced", "a newer session took its place");
    this.#isKeeping = true;
    try {
      await this.#options.onStep?.("received");
      const isOwned = this.#kept !== undefined || this.#keyring.adopted !== undefined;
      const kept = await keepAdoption(this.#options.state, adoption).catch((error) => {
        if (isOwned && isFailure(error, "refused") && error.stage === "owner") {
          throw refusalFor("owned", error.message, error.hint);
        }
        throw error;
      });
      this.#kept = { kind: "paired", ...kept };
      await this.#options.onStep?.("kept");
      await this.#window.keep();
      await this.#options.onStep?.("noted");
      return digest(nodeSuite, adoption);
    } finally {
      this.#isKeeping = false;
    }
  }

  async #done(): Promise<void> {
    await this.#options.onStep?.("done");
    await this.#window.close("success").catch((error) => {
      this.#fail(error);
      throw error;
    });
    this.#end("success");
  }
}

/** A pipe whose receiving ends with a failure of ours, so that the other end is told why. */
function interruptible(pipe: Pipe): { session: Session; pipe: Pipe } {
  let interrupt: (failure: Failure) => void = () => {};
  const interrupted = new Promise<never>((_, reject) => {
    interrupt = reject;
  });
  interrupted.catch(() => {});
  return {
    session: { interrupt: (failure) => interrupt(failure) },
    pipe: { ...pipe, receive: (wanted) => Promise.race([pipe.receive(wanted), interrupted]) },
  };
}
