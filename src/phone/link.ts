import { Failure } from "../base/pure/failure.ts";
import type { Sealed } from "../protocol/sealed/sealed.ts";
import { type Name, printName } from "../protocol/wire/name.ts";
import type { Fault } from "./fault.ts";

/** Which names: those that begin with `under` and come after `after` in text order. */
export type Range = {
  /** Whole fields of a name: "entry/", "box/<writer>/"; everything without. */
  readonly under?: string;
  readonly after?: string;
  /** The first so many at most; without it all there are. */
  readonly limit?: number;
};

/** Where a camera's objects lie for a phone: a folder, a relay. Trusted with nothing. */
export type Link = {
  /** For people: the folder's path, the relay's address. */
  readonly where: string;
  /** A relay says when it has something new; a folder has to be looked into. */
  readonly kind: "folder" | "relay";
  /** What is wrong with the place itself. */
  readonly faults?: readonly Fault[];
  /** Names in text order. A hint: what is left out may be there all the same. */
  list(range?: Range): Promise<Name[]>;
  /** The bytes under a name, unchecked, at most as long as its kind; undefined when there is nothing. */
  get(name: Name): Promise<Uint8Array | undefined>;
  /** Durable there when it resolves. */
  put(object: Sealed): Promise<void>;
  /** Takes one's own object away again, where this may be done. */
  remove?(name: Name): Promise<void>;
  /**
   * Resolves when there may be something new under `under` after `after`, at most after `waitMs`;
   * rejects with the signal's reason.
   */
  wait?(range: Range, waitMs: number, signal: AbortSignal): Promise<void>;
};

/** The part of `names` that a range means, in text order. */
export function inRange(
  names: Iterable<Name>,
  { under = "", after = "", limit }: Range = {},
): Name[] {
  const found: { text: string; name: Name }[] = [];
  for (const name of names) {
    const text = printName(name);
    if (text > after && text.startsWith(under)) found.push({ text, name });
  }
  found.sort((a, b) => (a.text < b.text ? -1 : a.text > b.text ? 1 : 0));
  return found.slice(0, limit).map(({ name }) => name);
}

const pageNames = 1000;
const mostNames = 2_000_000;
/** A command stays until the log shows it, what phones tell each other for longer. */
const mostBoxes = 50_000;

/** Refuses a listing without end: more names under `under` than there can be. */
export function checkCount(names: number, under: string): void {
  if (names <= (under.startsWith("box/") ? mostBoxes : mostNames)) return;
  throw new Failure("corrupt", "names are listed without end", { stage: "flood" });
}

/** Every name of a range, a page at a time. */
export async function* pages(
  link: Link,
  { under = "", after = "" }: Range,
): AsyncGenerator<Name[], void> {
  let bound = after;
  let names = 0;
  for (;;) {
    const page = await link.list({ under, after: bound, limit: pageNames });
    const last = page.at(-1);
    if (!last) return;
    names += page.length;
    checkCount(names, under);
    yield page;
    if (page.length < pageNames) return;
    bound = printName(last);
  }
}
