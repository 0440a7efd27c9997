import type { Log } from "../../base/node/log.ts";
import { type Outcome, openPairing, type Pairing } from "./host.ts";
import type { Eye } from "./lens.ts";
import { openReach, type Reach, type Way } from "./reach.ts";
import { serveWays, type Ways } from "./ways.ts";
import { boardTime } from "./window.ts";

/**
 * A window that the service holds, until it closes or the signal aborts. Without more than has to be
 * given nobody is shown its link, as after a press of the board's button: then the only way in is a code
 * that a phone shows to the lens, which may name a network too. Throws Failure "busy" when another
 * program pairs here, or has the port.
 */
export async function holdWindow(options: {
  state: string;
  name: string;
  eye(signal: AbortSignal): Promise<Eye>;
  logs(stage: string): Log;
  signal: AbortSignal;
  /** As in `openPairing`. */
  secret?: Uint8Array | undefined;
  port?: number;
  /** When the board makes a network of its own: never, unless said. */
  way?: Way;
  /** As in `Ways`; without it there is none. */
  bluetooth?: Ways["bluetooth"];
  /** Called once phones can come; what is thrown here closes it. */
  onOpen?(opened: Opened): Promise<void> | void;
}): Promise<Outcome> {
  const { state, name, eye, logs, signal, secret, port = 0, way = "never", bluetooth } = options;
  const log = logs("pairing");
  await using reach = openReach({ state, log, way, isPlaced: false });
  const time = await boardTime();
  const pairing = await openPairing({ state, name, port, secret, reach, time, log });
  const stop = () => void pairing.close();
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();
  try {
    const { link, word, isResumed, remainingMs } = pairing;
    await options.onOpen?.({ link, word, isResumed, remainingMs, point: reach.point });
    return await serveWays({
      ...{ pairing, reach, eye, bluetooth, log: logs },
      say: (text) => log.info(text),
      warn: (text) => log.warn(text),
    });
  } finally {
    signal.removeEventListener("abort", stop);
    await pairing.close();
  }
}

/** What whoever asked for a window may show: the link is a secret until it is closed. */
export type Opened = Pick<Pairing, "link" | "word" | "isResumed" | "remainingMs"> &
  Pick<Reach, "point">;
