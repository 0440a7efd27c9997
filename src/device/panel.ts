import type { Log } from "../base/node/log.ts";
import type { Clock } from "../base/pure/clock.ts";
import { explain, Failure, isFailure } from "../base/pure/failure.ts";
import { type Address, parseInvite } from "../protocol/sealed/invite.ts";
import { openButton, type Press } from "./button.ts";
import { openCamera } from "./camera/camera.ts";
import { type Config, cameraOptions } from "./config.ts";
import type { Glance } from "./glance.ts";
import type { Health } from "./health.ts";
import { identifyMs } from "./improv/improv.ts";
import {
  awaitNetwork,
  boardTime,
  endings,
  holdWindow,
  improvOf,
  makeLabel,
  type Opened,
  tendLabel,
} from "./pairing/pairing.ts";

/**
 * What hands do at the board: a press opens a window for pairing, ten seconds make the board as new. The
 * label of a board without an owner opens it by itself, an owner's command from afar.
 */
export type Panel = {
  /** Aborts when the button was held for ten seconds. */
  readonly reset: AbortSignal;
  /**
   * The service has the camera from now on, and lends it: what opened it for itself closes it. A phone that
   * is being served is served on.
   */
  lend(glance: Glance): void;
  /**
   * Opens the window of the board's label where it is due, and destroys a label that has served. Never
   * rejects.
   */
  tendLabel(): Promise<void>;
  /**
   * Opens a window for pairing under this secret, in place of one that is open; resolves to where it
   * listens. Throws Failure "busy" when another program pairs here.
   */
  openWindow(secret: Uint8Array): Promise<readonly Address[]>;
  /** The service has it no more; a window that is open ends. */
  takeBack(): Promise<void>;
  close(): Promise<void>;
};

const againMs = 1_000;
/** A board that has just started gets its networks and addresses. Before, it would make one of its own. */
const networkMs = 30_000;

type How = Pick<
  Parameters<typeof holdWindow>[0],
  "secret" | "port" | "way" | "bluetooth" | "onOpen"
>;

export function openPanel(options: {
  config: Config;
  state: string;
  /** There is privacy: what is shown to the camera is not looked at. */
  isShut?(): boolean;
  clock: Clock;
  health: Pick<Health, "hand">;
  logs(stage: string): Log;
  /** For tests. */
  button?: typeof openButton;
  holds?: typeof holdWindow;
}): Panel {
  const { config, state, clock, health, logs, button: open = openButton } = options;
  const { holds = holdWindow } = options;
  const log = logs("button");
  const reset = new AbortController();
  let lent: Glance | undefined;
  /** Ends what the window opened of the camera by itself. */
  let own = new AbortController();
  let window: { stop: AbortController; closed: Promise<void> } | undefined;
  let isHeld = false;

  /** Until the window closes: a camera may be plugged in meanwhile. */
  const eye = async (signal: AbortSignal) => {
    const either = AbortSignal.any([signal, own.signal]);
    for (let told = ""; ; ) {
      if (lent) return lent.look(signal);
      try {
        if (options.isShut?.()) throw new Failure("busy", "privacy: the camera is shut");
        return await openCamera({ ...cameraOptions(config), clock, signal: either });
      } catch (error) {
        const comes = isFailure(error, "absent", "busy", "gone", "stalled");
        if (!comes || signal.aborted) throw error;
        const text = explain(error);
        if (text !== told) log.warn(`no eye yet: ${text}`);
        told = text;
        await clock.sleep(againMs, signal);
      }
    }
  };
  /** With what is prepared; without, none is due any more. */
  const hold = async (prepare: (signal: AbortSignal) => Promise<How | undefined>) => {
    const stop = new AbortController();
    const { signal } = stop;
    const run = async () => {
      const how = await prepare(signal);
      if (signal.aborted || !how) return;
      health.hand("window");
      const outcome = await holds({ state, name: config.name, eye, logs, signal, ...how });
      const why = outcome.kind === "paired" ? "success" : outcome.why;
      log.warn(`the window is closed: ${endings[why]}`);
    };
    const closed = run().finally(async () => {
      health.hand(undefined);
      window = undefined;
      await dueLabel();
    });
    window = { stop, closed: closed.catch(() => {}) };
    await closed;
  };
  const identify = async () => {
    log.warn("somebody who is near asks which camera this is (Improv)");
    if (!isHeld) health.hand("asked");
    await clock.sleep(identifyMs, window?.stop.signal).catch(() => {});
    if (!isHeld) health.hand(window ? "window" : undefined);
  };
  /** By a label a phone may come on every way; the files say where to at this moment. */
  const byLabel = ({ label, due }: NonNullable<Awaited<ReturnType<typeof tendLabel>>>): How => ({
    ...{ secret: label.secret, port: label.port, way: "auto" },
    bluetooth: {
      adapter: undefined,
      improv: improvOf(config.improv, {
        name: config.name,
        identify: () => void identify(),
        // The files say where to.
        joined: () => makeLabel(state, config.name),
      }),
    },
    onOpen: async () => {
      if (due !== "resume") await makeLabel(state, config.name).catch(complain);
    },
  });
  const complain = (error: unknown) => log.error(`the board's label: ${explain(error)}`);
  let tended: ReturnType<typeof tendLabel> = Promise.resolve(undefined);
  /** One after the other: what is being destroyed is nobody else's. */
  const dueLabel = () => {
    const tend = async () => tendLabel(state, await boardTime());
    tended = tended.then(tend).catch((error) => void complain(error));
    return tended;
  };
  const stopWindow = async () => {
    window?.stop.abort();
    await window?.closed;
  };
  const onPress = (press: Press) => {
    if (press === "short") {
      if (window) return;
      log.warn(
        "pressed: for ten minutes a phone may show the camera a code: obscura-phone pair --lens",
      );
      hold(async () => {
        const found = await dueLabel();
        return found ? byLabel(found) : {};
      }).catch((error) => log.error(`no window: ${explain(error)}`));
    } else if (press === "warned") {
      log.warn("held: in seven seconds this camera is made as new. Let go to keep it");
      isHeld = true;
      health.hand("held");
    } else if (press === "let go") {
      isHeld = false;
      health.hand(window ? "window" : undefined);
    } else reset.abort();
  };
  const button = open(config.button, { clock, log, onPress });
  return {
    reset: reset.signal,
    lend(glance) {
      lent = glance;
      own.abort(new Failure("gone", "the service takes the camera"));
    },
    async tendLabel() {
      if (window) return;
      const found = await dueLabel();
      if (window || !found || found.due === "wait") return;
      hold(async (signal) => {
        // Ways that were chosen once stay chosen.
        if (found.due === "open") await awaitNetwork({ withinMs: networkMs, clock, signal });
        const still = await dueLabel();
        if (!still || still.due === "wait") return undefined;
        log.warn("for ten minutes a phone may pair by this board's label: obscura-camera label");
        return byLabel(still);
      }).catch((error) => log.error(`no window: ${explain(error)}`));
    },
    async openWindow(secret) {
      // Somebody may press while it closes.
      while (window) await stopWindow();
      return await new Promise((resolve, reject) => {
        const onOpen = ({ link }: Opened) => resolve(parseInvite(link).addresses);
        const early = new Failure("gone", "the service ends: no window is open");
        // What is settled stays as it is: a window that was open ends like any.
        hold(async () => ({ secret, onOpen })).then(
          () => reject(early),
          (error) => {
            log.error(`no window: ${explain(error)}`);
            reject(error);
          },
        );
      });
    },
    async takeBack() {
      await stopWindow();
      lent = undefined;
      own = new AbortController();
    },
    async close() {
      await button.close();
      await stopWindow();
    },
  };
}
