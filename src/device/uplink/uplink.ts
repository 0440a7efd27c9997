import { nodeSuite } from "../../base/node/crypto.ts";
import { openHttp } from "../../base/node/http.ts";
import type { Clock } from "../../base/pure/clock.ts";
import { explain, type Failure } from "../../base/pure/failure.ts";
import { openMailbox } from "../../protocol/wire/client.ts";
import type { Sign, Suite } from "../../protocol/wire/signature.ts";
import { Backoff } from "./backoff.ts";
import { byAge, compareEntries, findAhead, type Head, isIn } from "./compare.ts";
import { watchNetwork } from "./network.ts";
import { openPace } from "./pace.ts";
import { type Relay, type UplinkOutbox, Worker, type WorkerOptions } from "./worker.ts";

export type { Head, Relay };
export { Backoff, isIn };

/**
 * Sends what lies in the outbox to the owner's mailbox on each relay. In: the outbox, which it never
 * changes. Out: the same objects there, each as often as it takes. Keeps no state: a start compares
 * and sends what is missing. Nobody waits for it. Invariants: uplink.md.
 */
export type Uplink = {
  /** Each relay: whether it works, and what waits for it. */
  status(): { url: string; failure: Failure | undefined; entries: number; clips: number }[];
  /** Whether some relay has the whole of a clip that was sealed, by its own word. */
  holds(clip: string): boolean;
  /** The back-off of each relay, for whoever else talks to it. */
  readonly backoffs: readonly Backoff[];
  /** Takes a clip away at every relay, which must be gone from the outbox; resolves when all have done it, or will not yet. */
  remove(clip: string, incarnation: number): Promise<void>;
  /** Resolves when every relay that answers has all that is here, at the latest after so long. */
  idle(patienceMs: number): Promise<void>;
  /** Breaks off what is under way; the next start goes on. Twice is well. */
  close(): Promise<void>;
};

export type UplinkOptions = Omit<
  WorkerOptions,
  "relay" | "index" | "random" | "camera" | "suite"
> & {
  camera: Uint8Array;
  relays: readonly Relay[];
  suite?: Suite;
  random?: () => number;
  /** Text that changes with the networks this board is connected to (network.ts). */
  routes?: () => Promise<string>;
};

export function openUplink(options: UplinkOptions): Uplink {
  const { clock, random = Math.random, routes, relays, suite = nodeSuite } = options;
  const end = new AbortController();
  const signal = AbortSignal.any([options.signal, end.signal]);
  const workers = relays.map(
    (relay, index) => new Worker({ ...options, relay, index, random, suite, signal }),
  );
  const tasks = workers.map((worker, relay) =>
    worker.run().catch((error) => {
      // A mistake of ours costs the uplink to one relay, and never the camera.
      options.onState?.({ relay, text: `stopped: ${explain(error)}`, isWell: false });
    }),
  );
  if (workers.length > 0) {
    const onChange = () => {
      for (const worker of workers) worker.kick();
    };
    tasks.push(watchNetwork({ clock, signal, onChange, ...(routes ? { routes } : {}) }));
  }
  return {
    status: () =>
      workers.map((worker, i) => ({
        ...{ url: relays[i]?.url ?? "", failure: worker.backoff.failure },
        ...worker.queue.waiting,
      })),
    holds: (clip) => workers.some((worker) => worker.queue.isWhole(clip)),
    backoffs: workers.map(({ backoff }) => backoff),
    async remove(clip, incarnation) {
      await Promise.all(workers.map((worker) => worker.remove(clip, incarnation)));
    },
    async idle(patienceMs) {
      const isBusy = (worker: Worker) => !worker.backoff.failure && worker.isBusy;
      for (let ms = 0; ms < patienceMs && workers.some(isBusy); ms += 50) await clock.sleep(50);
    },
    async close() {
      end.abort();
      await Promise.all(tasks);
    },
  };
}

/**
 * The newest head that any relay has and this camera does not know (compare.ts), asked before the
 * log goes on after a start: an entry written before the answer could be a second one of a number that
 * phones have read, which is a fork and looks like a lie. Waits for nobody longer than `patienceMs`,
 * and not at all for a relay that refuses the connection; undefined when none knows better or answers.
 */
export async function askForHead(options: {
  relays: readonly Relay[];
  entries: UplinkOutbox["entries"];
  camera: Uint8Array;
  incarnation: number;
  clock: Clock;
  signal: AbortSignal;
  patienceMs?: number;
  suite?: Suite;
}): Promise<Head | undefined> {
  const { relays, entries, camera, incarnation, clock, patienceMs = 5_000 } = options;
  const { suite = nodeSuite } = options;
  const ours = entries();
  const isKnown = (head: Head) => isIn(ours, head);
  const newest = ours.at(-1);
  const since = newest?.incarnation === incarnation ? newest.sequence : 0;
  const enough = new AbortController();
  const signal = AbortSignal.any([options.signal, enough.signal]);
  const found: Head[] = [];
  const asked = relays.map(async ({ urgent }) => {
    // What lies further back the comparison finds, and nothing waits for that.
    const { strangers } = await compareEntries(urgent, [], { incarnation, since, signal });
    const at = { camera, suite, isKnown, incarnation, signal };
    const head = await findAhead(urgent, strangers, at);
    if (head) found.push(head);
  });
  const late = clock.sleep(patienceMs, signal).catch(() => {});
  await Promise.race([Promise.allSettled(asked), late]);
  enough.abort();
  return found.sort(byAge).at(-1);
}

/**
 * The same mailbox on each relay.
 *
 * @param kbitPerS a cap for all that is sent to all of them, 0 for none
 */
export function openRelays(options: {
  urls: readonly string[];
  mailbox: Uint8Array;
  key: Uint8Array;
  sign: Sign;
  kbitPerS: number;
  clock: Clock;
}): { relays: Relay[]; cap(kbitPerS: number): void; close(): void } {
  const { urls, kbitPerS, clock } = options;
  const pace = openPace({ kbitPerS, clock });
  const urgent = openHttp({ pace: pace.urgent });
  const patient = openHttp({ pace: pace.patient });
  const relays = urls.map((url): Relay => {
    const common = { ...options, url, suite: nodeSuite, nowMs: () => clock.wallMs() };
    return {
      url,
      urgent: openMailbox({ ...common, send: urgent.send }),
      patient: openMailbox({ ...common, send: patient.send }),
    };
  });
  return {
    relays,
    cap: pace.cap,
    close() {
      urgent.close();
      patient.close();
    },
  };
}
