import type { Log } from "../../base/node/log.ts";
import type { Clock } from "../../base/pure/clock.ts";
import type { Failure } from "../../base/pure/failure.ts";
import { alarmEvent } from "./alarms.ts";
import type { Desk, Session } from "./desk.ts";
import {
  announce,
  announcedAt,
  componentsOf,
  type Device,
  type Form,
  goingOn,
  handOver,
  partsOf,
} from "./discovery.ts";
import { event, stateOf } from "./topics.ts";

export type HeraldOptions = {
  desk: Desk;
  form: Form;
  prefix: string;
  /** As it is now. */
  device(): Device;
  clock: Clock;
  log: Log;
  random(): number;
  signal: AbortSignal;
};

/** How long what lies at the broker is waited for, once it was asked. */
const listenMs = 1_000;
/** Home Assistant forgets a part, or gives it out of its hands, when it has read so and had its time. */
const farewellMs = 2_000;
/** A house in which much starts at once, and one in which somebody says so over and over. */
const birth = { spreadMs: 2_000, leastMs: 10_000 };
/** What a broker can make us keep of what it says lies there. */
const mostFound = { topics: 512, characters: 256 };

/**
 * Keeps Home Assistant told of the device. With each connection it looks at what lies at the broker of
 * this camera's: what no topic has any more is taken away, be it of another setting or of an older
 * version; then it announces, and again when Home Assistant says that it was started.
 */
export class Herald {
  readonly #options: HeraldOptions;
  readonly #found = new Set<string>();
  /** What the device was announced with, as it lies there. */
  #before: Record<string, string> = {};
  #isListening = false;
  /** What lies at the broker was more than could be taken: with the next connection it is not looked at. */
  #isOverfull = false;
  #announced: Map<string, string> | undefined;
  #isBorn = false;
  #saidUs = Number.NEGATIVE_INFINITY;
  #session: Session | undefined;
  #last: Promise<void> = Promise.resolve();
  /** Where Home Assistant says that it was started: of its own, whatever its discovery's prefix is. */
  readonly #births: readonly string[];

  constructor(options: HeraldOptions) {
    this.#options = options;
    this.#births = [...new Set(["homeassistant/status", `${options.prefix}/status`])];
  }

  /** The connection has ended. Who fills our topics with what is not ours does not keep us away for good. */
  down({ kind }: Failure): void {
    this.#isOverfull = this.#isListening && kind === "refused";
    this.#isListening = false;
    this.#session = undefined;
  }

  /** A connection stands. Never throws. */
  async up(session: Session): Promise<void> {
    const { clock, prefix, device, signal, log } = this.#options;
    this.#session = session;
    const { id, base } = device();
    // Where states lie or lay, and not where commands come: those would come twice.
    const own = [`${base}/+`, `${base}/zone/+/+`, ...announcedAt(prefix, id)];
    this.#found.clear();
    this.#before = {};
    this.#isListening = !this.#isOverfull;
    try {
      const isHeard = await session.subscribe(this.#births);
      if (!isHeard) log.warn(`the broker does not let this camera read ${this.#births.join(", ")}`);
      if (this.#isListening) {
        // Who may not read what lies there cannot tidy it up, and that is all.
        if (await session.subscribe(own)) await clock.sleep(listenMs, signal);
        // The next connection, where it stands already, listens for itself.
        if (this.#session !== session) return;
        this.#isListening = false;
        await session.unsubscribe(own);
      }
      if (this.#session === session) await this.#tidy(session);
    } catch {
      // The connection ended: the next one begins anew.
    } finally {
      if (this.#session === session) this.#isListening = false;
    }
  }

  /** What came by a topic that was subscribed to, or by one that a broker made up. */
  message(topic: string, payload: Uint8Array, isRetained: boolean): void {
    const { prefix, device } = this.#options;
    if (this.#births.includes(topic)) {
      const isBirth = !isRetained && Buffer.from(payload).equals(Buffer.from("online"));
      if (isBirth) void this.#again();
      return;
    }
    if (!this.#isListening || !isRetained || payload.length === 0) return;
    if (this.#found.size >= mostFound.topics || topic.length > mostFound.characters) return;
    const { id, base } = device();
    const [whole = ""] = announcedAt(prefix, id);
    if (topic === whole) this.#before = partsOf(payload);
    if (topic === whole || isPart(topic, prefix, id) || isOwn(topic, base)) {
      this.#found.add(topic);
    }
  }

  /** What there is to show has changed. */
  async changed(): Promise<void> {
    await this.#inTurn(async () => {
      if (!this.#announced) return;
      const [text = ""] = this.#announced.values();
      await this.#say(partsOf(new TextEncoder().encode(text)));
    });
  }

  /** A part that comes back before its farewell is over would be another one to Home Assistant. */
  #inTurn(say: () => Promise<void>): Promise<void> {
    const turn = this.#last.then(say);
    this.#last = turn.catch(() => {});
    return turn;
  }

  async #tidy(session: Session): Promise<void> {
    const { desk, device } = this.#options;
    const { base } = device();
    const next = announce(device(), this.#options);
    const wanted = new Set([...desk.topics(), ...next.keys()]);
    const left = [...this.#found].filter((topic) => !wanted.has(topic));
    // What lies there in both forms was handed over before, by a connection that ended then.
    const isMoved = [...next.keys()].some((topic) => this.#found.has(topic));
    this.#found.clear();
    const before = this.#before;
    const moved = isMoved ? [] : goingOn(left, before, device(), this.#options);
    for (const topic of left) if (!moved.includes(topic)) desk.set(topic, "");
    const isFarewell = left.some((topic) => !isOwn(topic, base));
    await this.#inTurn(async () => {
      // One after the other: letters that wait are few.
      for (const topic of moved) {
        if (this.#session !== session) return;
        desk.send(topic, handOver, { isMinor: true });
        await desk.settled();
      }
      await this.#say(before, isFarewell);
      if (moved.length > 0) await this.#pause();
      // The next connection finds and takes them away otherwise.
      if (this.#session === session) for (const topic of moved) desk.set(topic, "");
    });
  }

  /** Announces; parts that were there and are not any more are taken leave of first. */
  async #say(before: Record<string, string>, isFarewell = false): Promise<void> {
    const { desk, device, clock, form } = this.#options;
    const next = announce(device(), this.#options);
    const parts = componentsOf(device());
    const gone = Object.fromEntries(Object.entries(before).filter(([name]) => !(name in parts)));
    const left = [...(this.#announced?.keys() ?? [])].filter((topic) => !next.has(topic));
    for (const topic of left) desk.set(topic, "");
    this.#announced = next;
    this.#saidUs = clock.monotonicUs();
    const isShorter = form === "device" && Object.keys(gone).length > 0;
    if (isShorter) {
      const farewell = announce(device(), { ...this.#options, gone });
      for (const [topic, payload] of farewell) desk.set(topic, payload);
    }
    const isWaited = isShorter || isFarewell || left.length > 0;
    if (isWaited) await this.#pause();
    for (const [topic, payload] of next) desk.set(topic, payload);
  }

  async #pause(): Promise<void> {
    const { clock, signal } = this.#options;
    await clock.sleep(farewellMs, signal).catch(() => {});
  }

  /** Home Assistant was started: it knows nothing. At most every ten seconds, however often it says so. */
  async #again(): Promise<void> {
    const { clock, random, signal, desk } = this.#options;
    if (this.#isBorn) return;
    this.#isBorn = true;
    const sinceMs = (clock.monotonicUs() - this.#saidUs) / 1000;
    const waitMs = Math.max(random() * birth.spreadMs, birth.leastMs - sinceMs);
    await clock.sleep(waitMs, signal).catch(() => {});
    this.#isBorn = false;
    if (signal.aborted) return;
    this.#saidUs = clock.monotonicUs();
    desk.repeat();
  }
}

function isPart(topic: string, prefix: string, id: string): boolean {
  const rest = topic.startsWith(`${prefix}/`) ? topic.slice(prefix.length + 1).split("/") : [];
  return rest.length === 4 && rest[1] === `obscura_${id}` && rest[3] === "config";
}

/** States, and the streams, of which nothing is ever to lie there: who comes later would take it for news. */
function isOwn(topic: string, base: string): boolean {
  const name = topic.startsWith(`${base}/`) ? topic.slice(base.length + 1) : "";
  return stateOf(name) !== undefined || name === event.topic || name === alarmEvent;
}
