import type { Clock } from "../../base/pure/clock.ts";

/** What a connection that stands can do; both reject when it ends first. */
export type Session = {
  /** Messages that the broker takes at once. */
  readonly most: number;
  /** Bytes that the broker takes in one message, by its own word; undefined for as many as there are. */
  readonly mostBytes?: number | undefined;
  /** False when the broker does not take it. QoS 1, as far as the broker has it. */
  publish(topic: string, payload: string, options: { retain: boolean }): Promise<boolean>;
  /**
   * QoS 0. False when the broker refuses one of them. `isKeptShown`: also of a message that comes now it
   * is told whether who sent it had it kept; only MQTT 5 can.
   */
  subscribe(filters: readonly string[], options?: { isKeptShown: boolean }): Promise<boolean>;
  unsubscribe(filters: readonly string[]): Promise<void>;
};

type State = {
  payload: string;
  /** What the broker has of it, by this connection. */
  known: string | undefined;
  isFlying: boolean;
};
type Letter = { topic: string; payload: string; fromUs: number; isMinor: boolean };

const mostFlying = 8;
/** Of MQTT, around topic and payload. */
const frameBytes = 16;

/**
 * What is to be at the broker: retained states, of which only the newest counts, and letters, which go
 * in their order. While nobody is connected states cost what they are, and letters what `mostLetters`
 * allows: the oldest that is minor goes first. A letter that is older than `letterMs` is not owed any more.
 */
export class Desk {
  readonly #clock: Clock;
  readonly #mostLetters: number;
  readonly #letterUs: number;
  readonly #onRefused: (topics: readonly string[]) => void;
  /** Topics of which the broker did not take what was last said there, by this connection. */
  readonly #refused = new Set<string>();
  readonly #states = new Map<string, State>();
  #letters: Letter[] = [];
  #session: Session | undefined;
  #flying = 0;
  #flyingLetters = 0;
  #wakes: (() => void)[] = [];

  constructor(options: {
    clock: Clock;
    mostLetters: number;
    letterMs: number;
    /** The topics for which the broker does not take what is said, whenever they are others. */
    onRefused(topics: readonly string[]): void;
  }) {
    this.#clock = options.clock;
    this.#mostLetters = options.mostLetters;
    this.#letterUs = options.letterMs * 1000;
    this.#onRefused = options.onRefused;
  }

  /** A retained state; an empty one takes the topic away. One that is new here goes last. */
  set(topic: string, payload: string): void {
    const state = this.#states.get(topic);
    if (state) state.payload = payload;
    else this.#states.set(topic, { payload, known: undefined, isFlying: false });
    this.#pump();
  }

  send(topic: string, payload: string, { isMinor }: { isMinor: boolean }): void {
    const fromUs = this.#clock.monotonicUs();
    this.#letters.push({ topic, payload, fromUs, isMinor });
    // Those that are under way are at the front.
    if (this.#letters.length > this.#mostLetters) {
      const from = this.#flyingLetters;
      const minor = this.#letters.findIndex((letter, i) => i >= from && letter.isMinor);
      this.#letters.splice(minor < 0 ? from : minor, 1);
    }
    this.#pump();
  }

  /** A connection stands, and the broker may have forgotten everything. */
  attach(session: Session): void {
    this.detach();
    this.#refused.clear();
    this.#session = session;
    this.repeat();
  }

  detach(): void {
    this.#session = undefined;
    this.#flying = 0;
    this.#flyingLetters = 0;
    for (const state of this.#states.values()) state.isFlying = false;
    this.#wake();
  }

  /** Says every state again. */
  repeat(): void {
    for (const state of this.#states.values()) state.known = undefined;
    this.#pump();
  }

  /** Says again what was not taken: who mends a broker's rights need not end its connections. */
  retry(): void {
    for (const topic of this.#refused) {
      const state = this.#states.get(topic);
      if (state) state.known = undefined;
    }
    this.#pump();
  }

  /** All topics whose states are not to go. */
  topics(): string[] {
    return [...this.#states].flatMap(([topic, { payload }]) => (payload === "" ? [] : [topic]));
  }

  /** Resolves when the broker has everything, or nobody is connected. */
  async settled(): Promise<void> {
    while (this.#session && !this.#isSettled()) {
      await new Promise<void>((resolve) => this.#wakes.push(resolve));
    }
  }

  #isSettled(): boolean {
    const isKnown = ({ payload, known }: State) => payload === known;
    return this.#letters.length === 0 && [...this.#states.values()].every(isKnown);
  }

  #wake(): void {
    for (const wake of this.#wakes.splice(0)) wake();
  }

  #pump(): void {
    const session = this.#session;
    if (!session) return;
    const sinceUs = this.#clock.monotonicUs() - this.#letterUs;
    while (this.#flying < Math.min(mostFlying, session.most)) {
      const letter = this.#letters[this.#flyingLetters];
      if (letter && letter.fromUs < sinceUs) this.#letters.splice(this.#flyingLetters, 1);
      else if (letter) this.#sendLetter(session, letter);
      else if (!this.#sendState(session)) break;
    }
    this.#wake();
  }

  #sendLetter(session: Session, letter: Letter): void {
    this.#flyingLetters += 1;
    this.#fly(session, letter.topic, letter.payload, false, () => {
      this.#flyingLetters -= 1;
      this.#letters = this.#letters.filter((one) => one !== letter);
    });
  }

  #sendState(session: Session): boolean {
    for (const [topic, state] of this.#states) {
      if (state.isFlying || state.known === state.payload) continue;
      const { payload } = state;
      state.isFlying = true;
      this.#fly(session, topic, payload, true, (isTaken) => {
        state.isFlying = false;
        state.known = payload;
        const isGone = isTaken && payload === "" && state.payload === "";
        if (isGone) this.#states.delete(topic);
      });
      return true;
    }
    return false;
  }

  #fly(
    session: Session,
    topic: string,
    payload: string,
    retain: boolean,
    done: (isTaken: boolean) => void,
  ): void {
    this.#flying += 1;
    const bytes = Buffer.byteLength(topic) + Buffer.byteLength(payload) + frameBytes;
    // Who sends more than the broker has said that it takes is thrown out.
    const isTooLarge = bytes > (session.mostBytes ?? Number.POSITIVE_INFINITY);
    const sent = isTooLarge ? Promise.resolve(false) : session.publish(topic, payload, { retain });
    sent.then(
      (isTaken) => {
        // One of a connection that is over: what it said is said again.
        if (session !== this.#session) return;
        this.#flying -= 1;
        done(isTaken);
        this.#judge(topic, isTaken);
        this.#pump();
      },
      () => {},
    );
  }

  #judge(topic: string, isTaken: boolean): void {
    if (isTaken !== this.#refused.has(topic)) return;
    if (isTaken) this.#refused.delete(topic);
    else this.#refused.add(topic);
    this.#onRefused([...this.#refused]);
  }
}
