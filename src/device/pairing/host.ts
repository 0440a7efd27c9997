import { join } from "node:path";
import { nodeSuite } from "../../base/node/crypto.ts";
import { openDurable } from "../../base/node/durable.ts";
import type { Log } from "../../base/node/log.ts";
import { equal, toHex } from "../../base/pure/bytes.ts";
import { explain, type Failure, isFailure } from "../../base/pure/failure.ts";
import type { Pipe } from "../../protocol/sealed/frames.ts";
import { printInvite } from "../../protocol/sealed/invite.ts";
import { phoneName } from "../../protocol/sealed/lens.ts";
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
import { createKeyring, hasKeys, isAdopted, type Keyring, openKeyring } from "../keyring.ts";
import { boardAddresses, ipBytes } from "./address.ts";
import { type Guest, type Listener, openListener } from "./listener.ts";
import type { Reach } from "./reach.ts";
import { type BoardTime, mostFailures, openWindow, type Window, type WindowEnd } from "./window.ts";

export type PairingOptions = {
  readonly state: string;
  /** What the phone calls the camera, where it has no keys yet. */
  readonly name: string;
  /** 0: the one of the open window, or any that is free. */
  readonly port: number;
  /** The one address to listen on, and to put into the link; all of the board's unless given. */
  readonly address?: string | undefined;
  /** What the link holds, 32 bytes; that of the open window, or a new one, unless given (window.ts). */
  readonly secret?: Uint8Array | undefined;
  readonly time: BoardTime;
  readonly log: Log;
  /** The board's networks; without it a phone's network is not joined. */
  readonly reach?: Pick<Reach, "open" | "join">;
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

/** Why a window closed, in words. */
export const endings: Record<WindowEnd | "stopped", string> = {
  success: "a phone was paired",
  time: "its ten minutes are over",
  failures: `a wrong secret was tried ${mostFailures} times. Is somebody else in this network?`,
  restart: "the board was started anew",
  stopped: "stopped. Within its ten minutes the same command opens the same window",
};

export type Pairing = {
  /** A secret until the window is closed. */
  readonly link: string;
  readonly port: number;
  /** Hash of the camera's identity. */
  readonly identity: Uint8Array;
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
  /** Resolves when the camera has an owner: at once where it has one, before the window closes else. */
  readonly owned: Promise<void>;
  /** Whether a phone that has proven the secret is being served. */
  isServing(): boolean;
  /** Once the board has left its own network: listens where it is now; resolves to the link for there. */
  relocate(): Promise<string>;
  /** Serves a phone that did not come by the network; resolves when it went. Never rejects. */
  serve(guest: Guest): Promise<void>;
  /** Stops listening; the window stays as it is, for the rest of its time. */
  close(): Promise<void>;
};

const lookEveryMs = 500;
const goneMs = 5000;
/** Handshakes answered in one window: more than people need. */
const mostHandshakes = 1000;

/**
 * Opens a pairing window, or takes up the one that is open. Makes the camera's keys when there are
 * none. Throws Failure "busy" when another program pairs here or has the port.
 */
export async function openPairing(options: PairingOptions): Promise<Pairing> {
  const { state, name, log, time } = options;
  const keyring = (await hasKeys(state))
    ? await openKeyring(state)
    : await createKeyring(state, name);
  const folder = await openDurable(join(state, "pairing"));
  let listener: Listener | undefined;
  try {
    const { window, before } = await openWindow(folder, time, options.secret);
    const isResumed = window.port !== undefined;
    const host = new Host(window, options, keyring);
    const port = options.port || (window.port ?? 0);
    const invite = { identity: keyring.identity.hash, secret: window.secret };
    const address = (await options.reach?.open(invite)) ?? options.address;
    const ipsOf = (at: string | undefined) => (at === undefined ? boardAddresses() : [ipBytes(at)]);
    const ips = ipsOf(address);
    const serve = (guest: Guest) => host.serve(guest);
    listener = await openListener({ port, address, serve });
    const opened = listener;
    await window.listenAt(opened.port);
    await options.onStep?.("opened");
    const linkTo = (all: readonly Uint8Array[]) =>
      printInvite({ ...invite, addresses: all.map((ip) => ({ ip, port: opened.port })) });
    let [place, isOver] = [address, false];
    const look = setInterval(() => void host.look(), lookEveryMs);
    const close = async () => {
      isOver = true;
      clearInterval(look);
      await listener?.close();
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
      ...{
        link: linkTo(ips),
        port: opened.port,
        word: checkWord(keyring.identity.hash),
        owners,
      },
      ...{ isResumed, before, outcome, owned: host.owned, remainingMs: () => window.remainingMs() },
      ...{ identity: keyring.identity.hash, serve, isServing: () => host.isServing() },
      async relocate() {
        if (place !== options.address && !isOver) {
          place = options.address;
          await listener?.close();
          listener = await openListener({ port: opened.port, address: place, serve });
          if (isOver) await listener.close();
        }
        return linkTo(ipsOf(options.address));
      },
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
  readonly owned: Promise<void>;
  readonly #window: Window;
  readonly #options: PairingOptions;
  readonly #keyring: Keyring;
  readonly #answered = new Set<string>();
  #finish: (outcome: Outcome) => void = () => {};
  #fail: (error: unknown) => void = () => {};
  #own: () => void = () => {};
  #session: Session | undefined;
  #isKeeping = false;
  #kept: Omit<Extract<Outcome, { kind: "paired" }>, "confirmed"> | undefined;

  constructor(window: Window, options: PairingOptions, keyring: Keyring) {
    this.#window = window;
    this.#options = options;
    this.#keyring = keyring;
    const { adopted, identity } = keyring;
    if (window.kept && adopted) this.#kept = { kind: "paired", ...describe(identity, adopted) };
    this.owned = new Promise((resolve) => {
      this.#own = resolve;
    });
    if (adopted) this.#own();
    this.outcome = new Promise((resolve, reject) => {
      this.#finish = resolve;
      this.#fail = reject;
    });
  }

  /** Looks whether it is over. What is being kept is kept. */
  async look(): Promise<void> {
    const end = this.#window.end() ?? ((await this.#hasOwner()) ? "success" : undefined);
    if (!end || this.#isKeeping) return;
    this.#session?.interrupt(refusalFor("closed", "the window closed"));
    await this.#window.close(end).then(() => this.#end(end), this.#fail);
  }

  /** Whether the camera has got its owner meanwhile, and not in this window: by file. */
  async #hasOwner(): Promise<boolean> {
    if (this.#keyring.adopted || !(await isAdopted(this.#options.state))) return false;
    return !this.#isKeeping && this.#kept === undefined;
  }

  isServing(): boolean {
    return this.#session !== undefined;
  }

  stop(): void {
    this.#end("stopped");
  }

  #end(why: WindowEnd | "stopped"): void {
    if (this.#kept) this.#finish({ ...this.#kept, confirmed: why === "success" });
    else this.#finish({ kind: "closed", why });
  }

  async serve({ pipe, from, code, admit }: Guest): Promise<void> {
    const { log } = this.#options;
    const turnAway = (notice: Notice) => sendNotice(pipe, notice).catch(() => {});
    try {
      const { secret } = code ?? this.#window;
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
      if (code && !equal(phoneName(channel.peer), code.phone)) {
        log.warn("a code was answered by another phone than the one that made it", { from });
        return await refuseSession(pipe, channel, refusalFor("phone", "another phone's code"));
      }
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
    const { log, onProgress, reach } = this.#options;
    const after: { leave?: (() => Promise<boolean>) | undefined } = {};
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
        join: async (request) => {
          if (!reach) return { verdict: "unable" };
          const joining = await reach.join(request, from);
          after.leave = joining.leave;
          return joining.answer;
        },
        onDone: () => this.#done(),
      });
    } catch (error) {
      log.warn(`a session ended early: ${explain(error)}`, { from });
    } finally {
      if (this.#session === session) this.#session = undefined;
    }
    // The phone knows that it was kept, and that nobody is there any more when the network was joined.
    if (after.leave && (await this.#leave(pipe, after.leave))) await this.#done();
  }

  async #leave(pipe: Pipe, leave: () => Promise<boolean>): Promise<boolean> {
    // Until the phone has read its answer and went.
    await pipe.receive({ mostBytes: 1, withinMs: goneMs }).catch(() => {});
    pipe.close();
    return await leave();
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
      this.#own();
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
