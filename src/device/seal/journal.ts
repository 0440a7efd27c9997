import { fromHex } from "../../base/pure/bytes.ts";
import type { Clock } from "../../base/pure/clock.ts";
import { Failure, isFailure } from "../../base/pure/failure.ts";
import type { Statement } from "../../protocol/sealed/body.ts";
import { LogEpoch, sealBeacon } from "../../protocol/sealed/epoch.ts";
import type { Sealed } from "../../protocol/sealed/sealed.ts";
import { noHash, type Sign, type Suite } from "../../protocol/wire/signature.ts";
import type { Owned } from "../keyring.ts";
import { chooseExpired, type Loss, type Outbox } from "../outbox/outbox.ts";
import { type Head, type Notebook, type NotebookFolder, writeNotebook } from "./notebook.ts";
import { type Chosen, chooseForEpoch, dayMs } from "./recipients.ts";

export type JournalOptions = {
  camera: Uint8Array;
  sign: Sign;
  suite: Suite;
  adopted: Owned;
  outbox: Outbox;
  /** Where the notebook lies. */
  folder: NotebookFolder;
  notebook: Notebook;
  clock: Clock;
  clockTrusted(): boolean;
};

/** Kinds that a phone may skip when it does not know them; of all others it has to know. */
const skippable: ReadonlySet<string> = new Set([
  ...["started", "problem", "setting", "watched", "asked", "alarm", "push"],
]);
const mostLossesAnEntry = 256;
/** An epoch with less room than this is over: no turn writes more entries after it was prepared. */
const leastRoom = 64;
/** A full disk is met by taking away the oldest clip; more tries mean that this does not help. */
const mostTries = 8;

/**
 * Writes the camera's log: one entry after the other, each durable before the next is sealed. What
 * announces a step of a clip goes through `inTurn`, so that its sequence is known beforehand.
 */
export class Journal {
  readonly notebook: Notebook;
  readonly #options: JournalOptions;
  readonly #startUs: number;
  readonly #elapsedAtStartMs: number;
  #adopted: Owned;
  #epoch: { log: LogEpoch; day: number } | undefined;
  /** Of an epoch that ended before its day. */
  #endedDay: number | undefined;
  #beaconVersion = 0;
  /** Within the present turn: what it writes goes into the epoch as it stands. */
  #isPrepared = false;
  /** Gone already, and in no entry yet. */
  readonly #unnamed: Loss[] = [];
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: JournalOptions) {
    this.#options = options;
    this.notebook = options.notebook;
    this.#adopted = options.adopted;
    this.#startUs = options.clock.monotonicUs();
    this.#elapsedAtStartMs = options.notebook.elapsedMs;
  }

  get elapsedMs(): number {
    const sinceMs = Math.floor((this.#options.clock.monotonicUs() - this.#startUs) / 1000);
    return this.#elapsedAtStartMs + sinceMs;
  }

  get nextSequence(): number {
    const { head } = this.notebook;
    return head ? head.sequence + 1 : 0;
  }

  /** Appends one statement; durable when it resolves. */
  append(statement: Statement): Promise<void> {
    return this.inTurn((append) => append(statement));
  }

  /** The day whose keys the epoch is sealed to; the log closes it in a later turn at the earliest. */
  get day(): number {
    if (!this.#epoch) throw new Failure("misuse", "a day before the turn was prepared");
    return this.#epoch.day;
  }

  /** Runs `act` while nobody else appends; `append` in it takes effect at once. */
  inTurn<T>(act: (append: (statement: Statement) => Promise<void>) => Promise<T>): Promise<T> {
    const turn = this.#last.then(() => {
      this.#isPrepared = false;
      return act((statement) => this.#append(statement));
    });
    this.#last = turn.catch(() => {});
    return turn;
  }

  /** Writes the notebook as it stands; durable when it resolves. */
  async save(): Promise<void> {
    this.notebook.elapsedMs = this.elapsedMs;
    await this.#withRoom(() => writeNotebook(this.#options.folder, this.notebook));
  }

  /**
   * Names and takes away the clips that stand in the way of `bytes`. Throws Failure "full" when
   * there is none to give.
   */
  async makeRoom(bytes: number, options: { force?: boolean } = {}): Promise<void> {
    const { outbox } = this.#options;
    for (;;) {
      const victims = (await outbox.victims(bytes, options)).slice(0, mostLossesAnEntry);
      if (victims.length === 0) return;
      await this.append(lost(victims, "full"));
      await outbox.lose(victims);
      if (options.force) return;
    }
  }

  /**
   * Names and takes away the clips that were kept for `retentionDays` of run time; 0 is for ever. What
   * it remembers for that is durable with the next `save`.
   */
  async expire(retentionDays: number): Promise<void> {
    const { notebook } = this;
    const { outbox } = this.#options;
    if (retentionDays === 0) {
      delete notebook.days;
      return;
    }
    const clips = outbox.clips();
    const today = Math.floor(this.elapsedMs / dayMs);
    const days = notebook.days ?? [];
    const { victims, marks } = chooseExpired(clips, days, { today, retentionDays });
    const chosen = new Set(victims);
    const losses = clips.filter(({ clip }) => chosen.has(clip));
    while (losses.length > 0) {
      const some = losses.splice(0, mostLossesAnEntry);
      await this.append(lost(some, "expired"));
      await outbox.lose(some);
    }
    notebook.days = marks;
  }

  /** The newest head, signed, in place of the beacon before. */
  async beacon(): Promise<void> {
    const { camera, outbox, clock } = this.#options;
    await this.inTurn(async () => {
      const { head, incarnation } = this.notebook;
      if (!head) return;
      this.#beaconVersion += 1;
      const beacon = {
        ...{ camera, incarnation, head, version: this.#beaconVersion },
        ...{ uptimeMs: uptimeMs(clock), wallMs: clock.wallMs() },
        trusted: this.#options.clockTrusted(),
      };
      await outbox.put(sealBeacon(beacon, this.#options));
    });
  }

  /** Whom the log is sealed to, and with which keys. */
  get adopted(): Owned {
    return this.#adopted;
  }

  /** In a turn: further keys of the members that there are. */
  resupply(adopted: Owned): void {
    this.#adopted = adopted;
  }

  /** In a turn: the epoch is over, the next entry opens one to whoever is a member then. */
  endEpoch(): void {
    this.#endedDay = this.#epoch?.day ?? this.#endedDay;
    this.#epoch?.log.end();
    this.#epoch = undefined;
    this.#isPrepared = false;
  }

  /**
   * In a turn: goes on in a new incarnation that is linked to `head`, or to the own one where that is
   * newer. Durable before its first entry: an incarnation is never opened twice.
   */
  async reopen(head: Head): Promise<Head> {
    const { notebook } = this;
    const parent = notebook.head && notebook.head.sequence >= head.sequence ? notebook.head : head;
    notebook.incarnation = Math.max(notebook.incarnation, head.incarnation) + 1;
    const { incarnation, sequence, hash } = parent;
    notebook.head = { incarnation, sequence, hash };
    this.endEpoch();
    await this.save();
    return parent;
  }

  /** Later beacons have a higher version than this. */
  continueBeacons(version: number): void {
    this.#beaconVersion = Math.max(this.#beaconVersion, version);
  }

  /** Saves the notebook, with the last beacon before it, and forgets the epoch's key. */
  async close(): Promise<void> {
    await this.inTurn(async () => {
      if (this.#unnamed.length === 0) return;
      await this.prepare();
      await this.#nameLost();
    }).catch((error) => {
      // A card without any room is no reason not to end well.
      if (!isFailure(error, "full")) throw error;
    });
    await this.beacon();
    await this.inTurn(() => this.save());
    this.#epoch?.log.end();
    this.#epoch = undefined;
  }

  /**
   * In a turn: opens the epoch that the next entry needs, with whatever has to be said about it, so
   * that `nextSequence` is that of the next statement. Once a turn: a day that ends in its midst is
   * closed in the next, or what was announced would come behind the closing.
   */
  async prepare(): Promise<void> {
    if (this.#isPrepared && this.#epoch) return;
    const today = Math.floor(this.elapsedMs / dayMs);
    const before = this.#epoch;
    if (!before || before.day !== today || before.log.room < leastRoom) {
      const chosen = await this.#openEpoch(today);
      for (const key of chosen) {
        const said = key.from === "day" ? undefined : fallbackOf(key);
        if (said) await this.#write(said);
      }
      const day = before?.day ?? this.#endedDay ?? today;
      this.#endedDay = undefined;
      if (day !== today) await this.#write({ kind: "day-closed", day });
    }
    this.#isPrepared = true;
  }

  async #append(statement: Statement): Promise<void> {
    await this.prepare();
    await this.#write(statement);
  }

  /** A fresh key for the log, for a new day or after a start: kept in memory alone. */
  async #openEpoch(day: number): Promise<Chosen[]> {
    const { camera } = this.#options;
    const adopted = this.#adopted;
    const { incarnation } = this.notebook;
    const chosen = chooseForEpoch(adopted, { incarnation, day });
    if (chosen.length === 0) {
      throw new Failure("absent", "no member has a key that the log could be sealed to", {
        hint: "Adopt this camera again",
      });
    }
    this.#epoch?.log.end();
    this.notebook.epoch += 1;
    await this.save();
    const fields = {
      ...{ camera, incarnation, epoch: this.notebook.epoch },
      membership: adopted.membership.version,
    };
    this.#epoch = {
      log: new LogEpoch(
        fields,
        chosen.map(({ publicKey }) => publicKey),
      ),
      day,
    };
    return chosen;
  }

  /** And then names what went to make room for it. */
  async #write(statement: Statement): Promise<void> {
    await this.#writeOne(statement);
    await this.#nameLost();
  }

  /** What could not be named stays to be, behind the next entry. */
  async #nameLost(): Promise<void> {
    for (;;) {
      const unnamed = this.#unnamed.slice(0, mostLossesAnEntry);
      if (unnamed.length === 0) return;
      await this.#writeOne(lost(unnamed, "full"));
      this.#unnamed.splice(0, unnamed.length);
    }
  }

  async #writeOne(statement: Statement): Promise<void> {
    const { clock, clockTrusted } = this.#options;
    const epoch = this.#epoch;
    if (!epoch) throw new Failure("misuse", "an entry without an epoch");
    const { head } = this.notebook;
    const { sealed, hash } = epoch.log.seal(
      { wallMs: clock.wallMs(), clockTrusted: clockTrusted(), statement },
      {
        sequence: this.nextSequence,
        previous: head?.hash ?? noHash,
        uptimeMs: uptimeMs(clock),
      },
      this.#options,
      !skippable.has(statement.kind),
    );
    await this.#putEntry(sealed);
    const { incarnation } = this.notebook;
    this.notebook.head = { incarnation, sequence: this.nextSequence, hash };
  }

  async #putEntry(sealed: Sealed): Promise<void> {
    try {
      await this.#withRoom(() => this.#options.outbox.put(sealed));
    } catch (error) {
      // Its key is used up and its sequence is not: only a new epoch keeps the two in step.
      this.#epoch?.log.end();
      this.#epoch = undefined;
      throw error;
    }
  }

  /** On a full disk clips go first and are named after: outbox.md, "Make room". */
  async #withRoom(act: () => Promise<void>): Promise<void> {
    const { outbox } = this.#options;
    for (let tries = 1; ; tries++) {
      try {
        return await act();
      } catch (error) {
        if (!isFailure(error, "full") || tries === mostTries) throw error;
        const victims = await outbox.victims(0, { force: true });
        await outbox.lose(victims);
        this.#unnamed.push(...victims);
      }
    }
  }
}

export function lost(losses: readonly Loss[], reason: "full" | "expired" | "damaged"): Statement {
  return {
    kind: "lost",
    clips: losses.map(({ clip, parts }) => ({ clip: fromHex(clip), parts })),
    reason,
  };
}

/** What the log says of a key that was taken for want of a better one. */
export function fallbackOf(key: Chosen, clip?: Uint8Array): Statement | undefined {
  const { phone } = key;
  if (key.from === "one-time" || key.from === "kit") return undefined;
  const of = clip ? { clip } : {};
  if (key.from === "day") return { kind: "fallback-used", phone, key: "day", day: key.day, ...of };
  return { kind: "fallback-used", phone, key: "restart", ...of };
}

export function uptimeMs(clock: Clock): number {
  return Math.floor(clock.monotonicUs() / 1000);
}
