import { Failure } from "../../src/base/pure/failure.ts";
import { type Beacon, decodeBeacon, replacesBeacon } from "../../src/protocol/wire/beacon.ts";
import type { Mailbox } from "../../src/protocol/wire/client.ts";
import { type Listed, listMost, printClip } from "../../src/protocol/wire/mailbox.ts";
import { type Name, parseName, printName } from "../../src/protocol/wire/name.ts";
import { decodePush, type PushMessage, type Verdict } from "../../src/protocol/wire/push.ts";

/** What a relay may do instead of what it should. */
export type Mischief = {
  /** No answer at all. */
  down?: boolean;
  /** A put or a listing that is never answered. */
  stuck?: boolean;
  /** The answer to a put is cut off after the object was stored, this often. */
  cutAnswers?: number;
  /** Says "stored" and keeps nothing. */
  keepsNothing?: boolean;
  /** Leaves such names out of listings. */
  hides?: (name: string) => boolean;
  /** Puts these into listings. */
  invents?: readonly string[];
  quotaBytes?: number;
  refuses?: (name: string) => Failure | undefined;
  mayRemove?: (name: string) => boolean;
};

/** A relay in memory, as far as a camera sees one: a hand-written double of client.ts. */
export class FakeRelay implements Mailbox {
  readonly objects = new Map<string, Uint8Array>();
  /** Names in the order in which they came, with repeats. */
  readonly puts: string[] = [];
  readonly removed: string[] = [];
  /** Messages that it was to hand on, and what it says of each. */
  readonly pushes: PushMessage[] = [];
  verdict: () => Verdict = () => ({ kind: "accepted" });
  requests = 0;
  mischief: Mischief = {};
  /** Called before each answer. */
  onRequest: (what: string) => void | Promise<void> = () => {};
  #wake: () => void = () => {};

  async #ask(what: string, signal?: AbortSignal): Promise<void> {
    this.requests += 1;
    await new Promise((resolve) => setImmediate(resolve));
    await this.onRequest(what);
    signal?.throwIfAborted();
    if (this.mischief.down) throw new Failure("gone", "no whole answer (ECONNREFUSED)");
    if (!this.mischief.stuck) return;
    await new Promise((_, reject) => {
      signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
  }

  async push(bytes: Uint8Array, { signal }: { signal?: AbortSignal } = {}): Promise<Verdict> {
    await this.#ask("push", signal);
    this.pushes.push(decodePush(bytes));
    return this.verdict();
  }

  async put(
    { name, bytes }: { name: Name; bytes: Uint8Array },
    { signal }: { signal?: AbortSignal } = {},
  ): Promise<"stored" | "there"> {
    const text = printName(name);
    await this.#ask(`put ${text}`, signal);
    const refused = this.mischief.refuses?.(text);
    if (refused) throw refused;
    this.puts.push(text);
    const before = this.objects.get(text);
    if (name.kind === "beacon" && before) {
      const [next, current]: Beacon[] = [decodeBeacon(bytes), decodeBeacon(before)];
      if (next && current && !replacesBeacon(next, current)) {
        throw new Failure("refused", "the relay answers 409", { stage: "rises" });
      }
    } else if (before) return "there";
    const used = [...this.objects.values()].reduce((sum, one) => sum + one.length, 0);
    if (used + bytes.length > (this.mischief.quotaBytes ?? Number.POSITIVE_INFINITY)) {
      throw new Failure("full", "the relay answers 507", { stage: "quota" });
    }
    if (!this.mischief.keepsNothing) this.objects.set(text, bytes);
    this.#wake();
    if (this.mischief.cutAnswers) {
      this.mischief.cutAnswers -= 1;
      throw new Failure("gone", "no whole answer (ECONNRESET)");
    }
    return "stored";
  }

  async get(name: Name, { signal }: { signal?: AbortSignal } = {}) {
    await this.#ask(`get ${printName(name)}`, signal);
    return this.objects.get(printName(name));
  }

  async list(
    options: {
      under?: string;
      after?: string;
      limit?: number;
      waitMs?: number;
      signal?: AbortSignal;
    } = {},
  ): Promise<Listed[]> {
    const { under = "", after = "", limit = listMost, waitMs = 0, signal } = options;
    await this.#ask(`list ${under}`, signal);
    const page = () =>
      [...this.objects.keys(), ...(this.mischief.invents ?? [])]
        .filter((name) => name.startsWith(under) && name > after && !this.mischief.hides?.(name))
        .sort()
        .slice(0, limit);
    if (waitMs > 0 && page().length === 0) {
      await new Promise<void>((resolve, reject) => {
        const before = this.#wake;
        this.#wake = () => {
          before();
          if (page().length > 0) resolve();
        };
        signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
      });
    }
    return page().map((name) => ({
      name: parseName(name),
      bytes: this.objects.get(name)?.length ?? 1,
    }));
  }

  async remove(
    what: Name | { incarnation: number; clip: Uint8Array },
    { signal }: { signal?: AbortSignal } = {},
  ): Promise<void> {
    const under = "kind" in what ? printName(what) : printClip(what);
    await this.#ask(`remove ${under}`, signal);
    if (this.mischief.mayRemove && !this.mischief.mayRemove(under)) {
      throw new Failure("refused", "the relay answers 403", { stage: "right" });
    }
    this.removed.push(under);
    for (const name of this.objects.keys()) if (name.startsWith(under)) this.objects.delete(name);
  }

  relayMs(): number | undefined {
    return undefined;
  }

  /** Names of a kind, in text order. */
  names(kind = ""): string[] {
    return [...this.objects.keys()].filter((name) => name.startsWith(kind)).sort();
  }
}
