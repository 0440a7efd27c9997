import { setTimeout as wait } from "node:timers/promises";
import type { ManualClock } from "../../src/base/pure/clock.ts";
import type { Mailbox } from "../../src/protocol/wire/client.ts";

/** A mailbox that tells when something is asked and when it is answered. */
export type Watched = {
  readonly mailbox: Mailbox;
  /** Lets so much time pass in such steps; after each all that was asked is answered. */
  pass(clock: ManualClock, ms: number, stepMs: number): Promise<void>;
};

export function watched(mailbox: Mailbox): Watched {
  let busy = 0;
  const during = async <T>(act: Promise<T>): Promise<T> => {
    busy += 1;
    return await act.finally(() => {
      busy -= 1;
    });
  };
  return {
    mailbox: {
      put: (object, options) => during(mailbox.put(object, options)),
      get: (name, options) => during(mailbox.get(name, options)),
      list: (options) => during(mailbox.list(options)),
      remove: (what, options) => during(mailbox.remove(what, options)),
      push: (message, options) => during(mailbox.push(message, options)),
      relayMs: () => mailbox.relayMs(),
    },
    async pass(clock, ms, stepMs) {
      for (let at = 0; at < ms; at += stepMs) {
        clock.advance(stepMs);
        for (let quiet = 0; quiet < 3; ) {
          await wait(busy > 0 ? 3 : 2);
          quiet = busy > 0 ? 0 : quiet + 1;
        }
      }
    },
  };
}
