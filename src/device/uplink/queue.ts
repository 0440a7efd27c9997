import { toHex } from "../../base/pure/bytes.ts";
import { type EntryName, type Name, type PartName, printName } from "../../protocol/wire/name.ts";

/** A clip on its way to one relay. */
type Waiting = {
  clip: string; // id in hexadecimal
  incarnation: number;
  /** What of it the relay lacks; undefined while nobody has asked the relay. */
  missing: Map<number, PartName> | undefined;
};
export type Look = { clip: string; incarnation: number };

/**
 * What one relay lacks, and what goes there next. Holds names only, at most those of the outbox, and
 * nothing that outlives the process: the relay is asked again at the next start.
 */
export class Queue {
  readonly #entries = new Map<string, EntryName>(); // by sequence
  readonly #clips = new Map<string, Waiting>(); // the oldest first
  /** Clips that the relay has something of. */
  readonly #there = new Set<string>();
  /** Taken away from a full relay to make room for newer ones: they do not come back by themselves. */
  readonly #given = new Set<string>();
  /** Refused for what they are, each by itself; tried again after the next comparison. */
  readonly #aside = new Set<string>();
  /** Whole at the relay, by its own word. */
  readonly #whole = new Set<string>();
  /** Begun while they were recorded: finished before older ones. */
  readonly #begun = new Set<string>();
  #beacon = 0;
  #beaconSent = 0;

  /** A new object in the outbox. */
  put(name: Name): void {
    if (name.kind === "beacon") this.#beacon += 1;
    else if (name.kind === "entry") this.#entries.set(printName(name), name);
    else if (name.kind === "part") this.#putPart(name);
  }

  #putPart(name: PartName): void {
    const clip = toHex(name.clip);
    if (this.#given.has(clip)) return;
    const known = this.#clips.get(clip);
    // Of a clip that is not known nothing else is missing: its earlier parts were sent.
    const missing = new Map<number, PartName>();
    const waiting = known ?? { clip, incarnation: name.incarnation, missing };
    waiting.missing?.set(name.number, name);
    this.#clips.set(clip, waiting);
  }

  /** A clip went from the outbox. */
  drop(clip: string): void {
    this.#clips.delete(clip);
    for (const set of [this.#there, this.#given, this.#begun, this.#whole]) set.delete(clip);
  }

  /**
   * After a comparison: the entries that the relay lacks, and every clip of the outbox, oldest
   * first, to be looked for. What was put meanwhile stays wanted.
   */
  compared(entries: readonly EntryName[], clips: readonly Look[]): void {
    const all = [...entries, ...this.#entries.values()];
    all.sort((a, b) => a.incarnation - b.incarnation || a.sequence - b.sequence);
    this.#entries.clear();
    for (const name of all) this.#entries.set(printName(name), name);
    this.#beacon += 1;
    this.#aside.clear();
    this.#there.clear();
    const before = new Map(this.#clips);
    this.#clips.clear();
    for (const { clip, incarnation } of clips) {
      if (this.#given.has(clip)) continue;
      // What is being sent as it is recorded needs no look.
      const begun = this.#begun.has(clip) ? before.get(clip) : undefined;
      this.#clips.set(clip, begun ?? { clip, incarnation, missing: undefined });
    }
  }

  /** Entries that were not taken by the relay yet. */
  waitingEntries(): Set<EntryName> {
    return new Set(this.#entries.values());
  }

  /**
   * What a look at one clip found: the parts that the relay lacks, of so many. Returns how many of
   * them it had taken before.
   */
  looked(clip: string, missing: readonly PartName[], of: number): number {
    const waiting = this.#clips.get(clip);
    if (!waiting) return 0;
    if (missing.length < of) this.#there.add(clip);
    const forgotten = this.#whole.delete(clip) ? missing.length : 0;
    const later = waiting.missing ?? new Map<number, PartName>();
    waiting.missing = new Map([...missing.map((name) => [name.number, name] as const), ...later]);
    this.#tidy(waiting);
    return forgotten;
  }

  done(name: Name, beaconOf = this.#beacon): void {
    if (name.kind === "beacon") this.#beaconSent = Math.max(this.#beaconSent, beaconOf);
    else if (name.kind === "entry") this.#entries.delete(printName(name));
    else if (name.kind === "part") {
      const clip = toHex(name.clip);
      this.#there.add(clip);
      this.#remove(name);
    }
  }

  /** Not tried again before the next comparison. */
  setAside(name: Name): void {
    this.#aside.add(printName(name));
    if (name.kind === "part") this.#remove(name);
    else this.done(name);
  }

  get asideCount(): number {
    return this.#aside.size;
  }

  /** The relay gave this clip up for newer ones. */
  giveUp(clip: string): void {
    this.drop(clip);
    this.#given.add(clip);
  }

  #remove(name: PartName): void {
    const waiting = this.#clips.get(toHex(name.clip));
    waiting?.missing?.delete(name.number);
    if (waiting) this.#tidy(waiting);
  }

  #tidy({ clip, missing }: Waiting): void {
    if (missing?.size !== 0) return;
    this.#clips.delete(clip);
    this.#begun.delete(clip);
    this.#whole.add(clip);
  }

  /** Whether the relay is known to have something of it. */
  has(clip: string): boolean {
    return this.#there.has(clip);
  }

  /** Whether the relay has all of a clip that is known of it. */
  isWhole(clip: string): boolean {
    return this.#whole.has(clip) && !this.#clips.has(clip);
  }

  /** Which beacon `done` is told of: one that was put while it was sent is sent again. */
  get beaconOf(): number {
    return this.#beacon;
  }

  /** Entries in their order, and when there are none the beacon: it names no head that is not there. */
  nextOfLog(): EntryName | { kind: "beacon" } | undefined {
    for (const name of this.#entries.values()) return name;
    return this.#beacon > this.#beaconSent ? { kind: "beacon" } : undefined;
  }

  /** A part of a clip that is being recorded, or that was begun so. */
  nextRunning(open: Iterable<string>): PartName | undefined {
    for (const clip of [...this.#begun, ...open]) {
      const part = firstOf(this.#clips.get(clip));
      if (!part) continue;
      this.#begun.add(clip);
      return part;
    }
    return undefined;
  }

  /**
   * The oldest clip (or the newest) that is not passed over: what of it is missing, or that it has to
   * be looked for.
   */
  nextOfOld(
    pass: (clip: string) => boolean,
    newestFirst = false,
  ): { put: PartName } | { look: Look } | undefined {
    const clips = [...this.#clips.values()];
    for (const waiting of newestFirst ? clips.reverse() : clips) {
      if (waiting.missing === undefined) return { look: waiting };
      if (this.#begun.has(waiting.clip) || pass(waiting.clip)) continue;
      const part = firstOf(waiting);
      if (part) return { put: part };
    }
    return undefined;
  }

  /** What is wanted and not there, as far as it is known. */
  get waiting(): { entries: number; clips: number } {
    return { entries: this.#entries.size, clips: this.#clips.size };
  }
}

function firstOf(waiting: Waiting | undefined): PartName | undefined {
  let first: PartName | undefined;
  for (const part of waiting?.missing?.values() ?? []) {
    if (!first || part.number < first.number) first = part;
  }
  return first;
}
