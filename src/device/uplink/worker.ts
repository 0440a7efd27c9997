import { fromHex, toHex } from "../../base/pure/bytes.ts";
import type { Clock } from "../../base/pure/clock.ts";
import { explain, Failure } from "../../base/pure/failure.ts";
import type { Sealed } from "../../protocol/sealed/sealed.ts";
import type { Mailbox } from "../../protocol/wire/client.ts";
import type { Name } from "../../protocol/wire/name.ts";
import type { Suite } from "../../protocol/wire/signature.ts";
import { isStorageFailure, type Loss, type Outbox } from "../outbox/outbox.ts";
import { asFailure, Backoff, isOfTheKey } from "./backoff.ts";
import { compareClip, compareEntries, findAhead, type Head, isIn } from "./compare.ts";
import { findMissing } from "./mend.ts";
import { type Look, Queue } from "./queue.ts";
import { makeRoom } from "./room.ts";

/** One relay, over connections of two ranks. */
export type Relay = {
  readonly url: string;
  /** For what somebody may be waiting for. */
  readonly urgent: Mailbox;
  /** For what can wait; under a bandwidth cap it gets what is left. */
  readonly patient: Mailbox;
};

export type UplinkOutbox = Pick<Outbox, "entries" | "parts" | "read" | "clips" | "watch">;
export type WorkerOptions = {
  relay: Relay;
  index: number;
  outbox: UplinkOutbox;
  camera: Uint8Array;
  suite: Suite;
  /** That the log is in now. */
  incarnation(): number;
  clock: Clock;
  signal: AbortSignal;
  random(): number;
  onRelayed?(part: { clip: string; number: number; atUs: number; relay: number }): void;
  /** The relay has a head that this camera signed and no longer has: the log goes on behind it. */
  onAhead(head: Head): void | Promise<void>;
  /** An entry that is missing in the outbox and that the relay has. */
  onFound(entry: Sealed): Promise<void>;
  /** Clips that a full relay gives up for newer ones; to be named in the log. */
  onGiven(losses: readonly Loss[]): Promise<void>;
  /** For people: what this relay does, when it changes. */
  onState?(state: { relay: number; text: string; isWell: boolean }): void;
};

const compareMs = 6 * 3_600_000;
const longestCompareMs = 7 * 24 * 3_600_000;
const fullMs = 30_000;
const longestFullMs = { running: 600_000, log: 600_000, old: 2 * 3_600_000 } as const;
/** A relay that is full again and again, whatever it is rid of, is left alone for a while. */
const mostRooms = 8;
const mostRemoved = 1000;

type Job = { name: Name; clip: string | undefined; run(): Promise<void> };
type Removal = Look & { done: () => void };
type Lane = "running" | "log" | "old";

/**
 * Sends to one relay, in three lanes side by side so that none waits behind another: what is being
 * recorded, the log, and what is left of before. Keeps nothing but names. Invariants: uplink.md.
 */
export class Worker {
  readonly backoff: Backoff;
  readonly #options: WorkerOptions;
  readonly #queue = new Queue();
  readonly #inFlight = new Map<Lane, { clip: string | undefined; settled: Promise<void> }>();
  readonly #removals = new Map<string, Removal>();
  /** Taken away so often; at the next comparison once more, in case a put was still under way there. */
  readonly #removed = new Map<string, Removal & { times: number }>();
  #bell = bell();
  #isCompared = false;
  #compareMs = compareMs;
  #forgot = 0;
  #forgotBefore = 0;
  readonly #full = {
    running: { untilUs: 0, waitMs: fullMs },
    log: { untilUs: 0, waitMs: fullMs },
    old: { untilUs: 0, waitMs: fullMs },
  };
  #rooms = 0;
  /** There is not room for all: the newest first, since the oldest would only be pushed out again. */
  #isTight = false;
  #cut = new AbortController();
  /** Of every request: the end, or another network. One, since what listens to many is never freed. */
  #signal: AbortSignal;
  #told: string | undefined;

  constructor(options: WorkerOptions) {
    this.#options = options;
    this.backoff = new Backoff(options);
    this.#signal = AbortSignal.any([options.signal, this.#cut.signal]);
  }

  /** Works until the signal aborts. */
  async run(): Promise<void> {
    const { outbox, signal } = this.#options;
    const unwatch = outbox.watch((change) => {
      if (change.kind === "put") this.#queue.put(change.name);
      else this.#queue.drop(change.clip);
      this.#ring();
    });
    const stop = () => this.#ring();
    signal.addEventListener("abort", stop, { once: true });
    try {
      await Promise.all([
        this.#compareAgain(),
        this.#lane("running", () => this.#nextRunning()),
        this.#lane("log", () => this.#nextOfLog()),
        this.#lane("old", () => this.#nextOfOld()),
      ]);
    } finally {
      unwatch();
      signal.removeEventListener("abort", stop);
    }
  }

  /** Takes a clip away that is not in the outbox any more; resolves when the relay has done it. */
  remove(clip: string, incarnation: number): Promise<void> {
    return new Promise((done) => {
      this.#removals.set(keyOf({ clip, incarnation }), { clip, incarnation, done });
      this.#ring();
    });
  }

  get queue(): Pick<Queue, "waiting" | "isWhole"> {
    return this.#queue;
  }

  /** Whether something is under way, or waits and could go. */
  get isBusy(): boolean {
    const { entries, clips } = this.#queue.waiting;
    return !this.#isCompared || this.#inFlight.size + entries + clips > 0;
  }

  /** The network came. */
  kick(): void {
    const cut = this.#cut;
    this.#cut = new AbortController();
    this.#signal = AbortSignal.any([this.#options.signal, this.#cut.signal]);
    // A connection over the old one may be dead, and would be waited for.
    cut.abort(new Failure("gone", "the network changed"));
    this.backoff.kick();
    this.#ring();
  }

  #ring(): void {
    const { ring } = this.#bell;
    this.#bell = bell();
    ring();
  }

  async #lane(lane: Lane, next: () => Job | undefined): Promise<void> {
    const { signal } = this.#options;
    while (!signal.aborted) {
      await this.backoff.ready(signal).catch(() => {});
      if (signal.aborted) return;
      const { promise } = this.#bell;
      const job = next();
      if (!job) {
        await promise;
        continue;
      }
      const settled = job.run().then(
        () => this.#worked(),
        (error) => this.#failed(error, job, lane),
      );
      this.#inFlight.set(lane, { clip: job.clip, settled });
      await settled;
      this.#inFlight.delete(lane);
      // Old clips wait for the log.
      if (lane === "log") this.#ring();
    }
  }

  #nextRunning(): Job | undefined {
    if (this.#isFull("running")) return undefined;
    const open = this.#options.outbox.clips().filter(({ isOpen }) => isOpen);
    const part = this.#queue.nextRunning(open.map(({ clip }) => clip));
    return part && this.#put(part, this.#options.relay.urgent, "running");
  }

  #nextOfLog(): Job | undefined {
    for (const removal of this.#removals.values()) return this.#removal(removal);
    if (!this.#isCompared || this.#isFull("log")) return undefined;
    const name = this.#queue.nextOfLog();
    return name && this.#put(name, this.#options.relay.urgent, "log");
  }

  #nextOfOld(): Job | undefined {
    // Older clips come behind the log that names them.
    if (!this.#isCompared || this.#queue.nextOfLog()?.kind === "entry") return undefined;
    const clips = this.#options.outbox.clips();
    const open = new Set(clips.filter(({ isOpen }) => isOpen).map(({ clip }) => clip));
    // To a full relay goes only what is newer than something that it has.
    const oldest = clips.findIndex(({ clip }) => this.#queue.has(clip));
    const below = this.#isFull("old") ? clips.slice(0, oldest < 0 ? undefined : oldest + 1) : [];
    const worthless = new Set(below.map(({ clip }) => clip));
    const pass = (clip: string) => open.has(clip) || worthless.has(clip);
    const next = this.#queue.nextOfOld(pass, this.#isTight);
    const { patient } = this.#options.relay;
    if (!next) return undefined;
    if ("put" in next) return this.#put(next.put, patient, "old");
    const { clip, incarnation } = next.look;
    const id = fromHex(clip);
    const name: Name = { kind: "part", incarnation, clip: id, number: 0, hash: new Uint8Array(32) };
    const run = async () => {
      const ours = () => this.#options.outbox.parts(clip);
      const missing = await compareClip(patient, { incarnation, clip: id }, ours, this.#signal);
      this.#forgot += this.#queue.looked(clip, missing, ours().length);
    };
    return { name, clip, run };
  }

  #isFull(lane: Lane): boolean {
    return this.#options.clock.monotonicUs() < this.#full[lane].untilUs;
  }

  #put(name: Name, mailbox: Mailbox, lane: Lane): Job {
    const { outbox, clock, index, onRelayed } = this.#options;
    const clip = name.kind === "part" ? toHex(name.clip) : undefined;
    const run = async () => {
      const beaconOf = this.#queue.beaconOf;
      const bytes = await outbox.read(name);
      await mailbox.put({ name, bytes }, { signal: this.#signal });
      this.#queue.done(name, beaconOf);
      this.#rooms = 0;
      this.#full[lane].waitMs = fullMs;
      if (name.kind !== "part") return;
      onRelayed?.({
        ...{ clip: clip ?? "", number: name.number, atUs: clock.monotonicUs(), relay: index },
      });
    };
    return { name, clip, run };
  }

  #removal(removal: Removal): Job {
    const { clip, incarnation, done } = removal;
    const id = fromHex(clip);
    const name: Name = { kind: "part", incarnation, clip: id, number: 0, hash: new Uint8Array(32) };
    const run = async () => {
      // What is on its way there would come after.
      for (const one of this.#inFlight.values()) if (one.clip === clip) await one.settled;
      const what = { incarnation, clip: id };
      await this.#options.relay.urgent.remove(what, { signal: this.#signal });
      this.#removals.delete(keyOf(removal));
      const times = (this.#removed.get(keyOf(removal))?.times ?? 0) + 1;
      if (this.#removed.size < mostRemoved)
        this.#removed.set(keyOf(removal), { ...removal, times });
      done();
    };
    return { name, clip: undefined, run };
  }

  #worked(): void {
    this.backoff.worked();
    this.#tell("relays", true);
  }

  async #failed(error: unknown, { name }: Job, lane: Lane): Promise<void> {
    const { signal, outbox } = this.#options;
    if (signal.aborted) return;
    const failure = asFailure(error);
    if (lane === "log" && name.kind === "part" && failure.kind === "refused") {
      // Too young to be taken away by a camera: at the next comparison.
      this.#putOff({ clip: toHex(name.clip), incarnation: name.incarnation });
      return;
    }
    if (failure.kind === "absent") {
      // It went from the outbox between the decision and the reading.
      const isGone = name.kind === "part" && outbox.parts(toHex(name.clip)).length === 0;
      if (isGone) this.#queue.drop(toHex(name.clip));
      else this.#queue.setAside(name);
      return;
    }
    if (failure.kind === "full") {
      await this.#makeRoom(name, lane, failure);
      return;
    }
    const isOwn = failure.kind === "refused" && !isOfTheKey(failure);
    if (isOwn && name.kind === "beacon") {
      // The relay has a later one; whose that is the comparison has looked at.
      this.#queue.done(name);
      return;
    }
    if (isOwn || failure.kind === "misuse" || isStorageFailure(failure)) this.#queue.setAside(name);
    this.backoff.failed(failure);
    this.#tell(explain(failure), false);
  }

  #putOff(clip: Look): void {
    const removal = this.#removals.get(keyOf(clip));
    if (!removal) return;
    this.#removals.delete(keyOf(clip));
    this.#removed.set(keyOf(clip), { ...removal, times: 0 });
    removal.done();
  }

  async #makeRoom(name: Name, lane: Lane, failure: Failure): Promise<void> {
    const { relay, outbox, signal, clock, onGiven } = this.#options;
    const full = this.#full[lane];
    if (lane === "old") this.#isTight = true;
    try {
      this.#rooms += 1;
      const given =
        this.#rooms <= mostRooms &&
        (await makeRoom(relay.patient, {
          clips: outbox.clips(),
          newer: name.kind === "part" ? toHex(name.clip) : undefined,
          mayBeThere: (clip) => this.#queue.has(clip),
          name: onGiven,
          signal: this.#signal,
        }));
      if (given) {
        this.#queue.giveUp(given.clip);
        return;
      }
    } catch (error) {
      if (!signal.aborted) this.backoff.failed(asFailure(error));
      return;
    }
    // Nothing here may go: others have to make room.
    const { waitMs } = full;
    full.untilUs = clock.monotonicUs() + waitMs * 1000;
    full.waitMs = Math.min(waitMs * 2, longestFullMs[lane]);
    this.#rooms = 0;
    this.#tell(explain(failure), false);
    const ring = () => this.#ring();
    void clock.sleep(waitMs, signal).then(ring, ring);
  }

  /** Once at the start, and again and again: what the relay says it has is held against the outbox. */
  async #compareAgain(): Promise<void> {
    const { signal, clock } = this.#options;
    let garbageMs = 0;
    while (!signal.aborted) {
      await this.backoff.ready(signal).catch(() => {});
      if (signal.aborted) return;
      try {
        await this.#compare();
        this.#worked();
        garbageMs = 0;
      } catch (error) {
        if (signal.aborted) return;
        const failure = asFailure(error);
        this.backoff.failed(failure);
        this.#tell(explain(failure), false);
        if (failure.kind !== "corrupt") continue;
        // One that cannot list can still be given what is new; its megabytes are asked for seldom.
        this.#isCompared = true;
        this.#ring();
        garbageMs = Math.min(garbageMs * 2 || 60_000, compareMs);
      }
      const waitMs = (garbageMs || this.#compareMs) * (0.8 + 0.4 * this.#options.random());
      await clock.sleep(waitMs, signal).catch(() => {});
    }
  }

  async #compare(): Promise<void> {
    const { outbox, relay, incarnation, camera, suite, onAhead } = this.#options;
    const since = outbox.entries()[0]?.sequence ?? 0;
    const at = { incarnation: incarnation(), since, signal: this.#signal };
    const waiting = this.#queue.waitingEntries();
    const { missing, strangers } = await compareEntries(relay.urgent, outbox.entries(), at);
    // As the log stands then: it goes on while the relay is asked.
    const isKnown = (head: Head) => isIn(outbox.entries(), head);
    const ahead = await findAhead(relay.urgent, strangers, { camera, suite, isKnown, ...at });
    // Said to be durable there, and gone: sent again, but less and less often.
    if (this.#isCompared) this.#forgot += missing.filter((name) => !waiting.has(name)).length;
    const isForgetful = this.#forgot > this.#forgotBefore;
    this.#forgotBefore = this.#forgot;
    this.#compareMs = isForgetful ? Math.min(this.#compareMs * 2, longestCompareMs) : compareMs;
    if (isForgetful) this.#tell(`lost ${this.#forgot} objects that it had taken`, false);
    this.#queue.compared(missing, outbox.clips());
    for (const [key, removal] of this.#removed) {
      if (removal.times > 1) this.#removed.delete(key);
      else this.#removals.set(key, { ...removal, done: () => {} });
    }
    this.#isTight = false;
    this.#isCompared = true;
    this.#ring();
    if (ahead) await onAhead(ahead);
    await findMissing(relay.patient, { ...this.#options, signal: this.#signal });
  }

  #tell(text: string, isWell: boolean): void {
    if (text === this.#told) return;
    this.#told = text;
    this.#options.onState?.({ relay: this.#options.index, text, isWell });
  }
}

function bell(): { promise: Promise<void>; ring: () => void } {
  let ring = () => {};
  return { promise: new Promise<void>((resolve) => (ring = resolve)), ring: () => ring() };
}

function keyOf({ clip, incarnation }: Look): string {
  return `${incarnation}/${clip}`;
}
