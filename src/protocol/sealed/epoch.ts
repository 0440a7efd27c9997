import { equal, Reader, Writer } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import { type Beacon, encodeBeacon } from "../wire/beacon.ts";
import { type Entry, encodeEntry, verifyEntry } from "../wire/entry.ts";
import type { Sign, Suite } from "../wire/signature.ts";
import { type Body, decodeBody, encodeBody, type Statement } from "./body.ts";
import { branded, type Sealed } from "./sealed.ts";
import { decrypt, derive, encrypt, fingerprint, random, sizes, wipe } from "./sodium.ts";
import {
  decodeStanzas,
  encodeStanzas,
  keyId,
  keyIdOf,
  type Stanza,
  unwrap,
  wrap,
} from "./stanza.ts";

// The keys of the log: one for each day and member list, and from it one for each entry, each made
// from the one before and then forgotten. Specification: body.md.

export type EpochFields = {
  camera: Uint8Array;
  incarnation: number;
  epoch: number; // rises through the life of the camera
  membership: number;
};

/** An entry after `longestEpoch` others of its epoch is refused: a reader derives key after key. */
export const longestEpoch = 100_000;

// Safe as a constant: an entry key seals one entry.
const nonce = new Uint8Array(sizes.nonce);

function contextOf({ camera, incarnation, epoch, membership }: EpochFields): Uint8Array {
  const numbers = new Writer().u32(incarnation).u32(epoch).u32(membership).done();
  return fingerprint("obscura/1/log/epoch", camera, numbers);
}

function firstLink(epochKey: Uint8Array, context: Uint8Array): Uint8Array {
  return derive(epochKey, "obscura/1/log/chain", context);
}

function nextLink(link: Uint8Array): Uint8Array {
  return derive(link, "obscura/1/log/next");
}

function entryKey(link: Uint8Array): Uint8Array {
  return derive(link, "obscura/1/log/entry");
}

function additionalOf(fields: EpochFields, sequence: number, uptimeMs: number): Uint8Array {
  return new Writer().raw(contextOf(fields)).u64(sequence).u64(uptimeMs).done();
}

/** Where in the log an entry goes; everything else of it the epoch knows. */
export type EntryPlace = { sequence: number; previous: Uint8Array; uptimeMs: number };
export type SealedEntry = { readonly sealed: Sealed; readonly hash: Uint8Array };

/**
 * The camera's side of one epoch. The first entry that it seals carries the epoch key, wrapped to
 * each member; the key itself is forgotten at once, and each entry's key as soon as it was used.
 */
export class LogEpoch {
  readonly fields: EpochFields;
  #stanzas: Uint8Array | undefined;
  #link: Uint8Array;
  #count = 0;

  /** @param dayKeys the members' day keys, or restart keys where nothing else is left */
  constructor(fields: EpochFields, dayKeys: readonly Uint8Array[]) {
    this.fields = fields;
    const context = contextOf(fields);
    const epochKey = random(sizes.key);
    const stanzas = dayKeys.map((publicKey) =>
      wrap(epochKey, context, { id: keyId(publicKey, context), publicKey }),
    );
    this.#stanzas = encodeStanzas(stanzas);
    this.#link = firstLink(epochKey, context);
    wipe(epochKey);
  }

  /** How many entries it takes yet. */
  get room(): number {
    return longestEpoch - this.#count;
  }

  seal(
    body: Body & { statement: Statement },
    place: EntryPlace,
    signer: { sign: Sign; suite: Suite },
    critical = true,
  ): SealedEntry {
    if (this.room <= 0) throw new Failure("misuse", "this epoch of the log is full");
    const { camera, incarnation, epoch, membership } = this.fields;
    const additional = additionalOf(this.fields, place.sequence, place.uptimeMs);
    const plain = encodeBody(body);
    const key = entryKey(this.#link);
    const sealed = encrypt(key, nonce, plain, additional);
    const stanzas = this.#stanzas ? { stanzas: this.#stanzas } : {};
    const fields = { camera, incarnation, epoch, membership, ...place, critical, ...stanzas };
    const entry = encodeEntry({ ...fields, body: sealed }, signer);
    const next = nextLink(this.#link);
    wipe(key, this.#link, plain);
    this.#link = next;
    this.#count += 1;
    this.#stanzas = undefined;
    return { sealed: branded(entry.name, entry.bytes), hash: entry.hash };
  }

  /** Forgets the key of the next entry; the epoch is over. */
  end(): void {
    wipe(this.#link);
    this.#count = longestEpoch;
  }
}

/** A key that an epoch may be wrapped to, by its fingerprint. */
export type DayKey = { readonly fingerprint: Uint8Array; readonly secret: Uint8Array };

/**
 * The epoch key in the entry that opens an epoch: null when none of the keys is meant. Stages:
 * those of stanzas, "stanza" when one is meant and does not open.
 */
export function openEpoch(entry: Entry, keys: Iterable<DayKey>): Uint8Array | null {
  if (!entry.stanzas) throw new Failure("misuse", "an entry that opens no epoch");
  const context = contextOf(entry);
  const reader = new Reader(entry.stanzas, "epoch");
  const stanzas: Stanza[] = decodeStanzas(reader);
  reader.end();
  for (const { fingerprint: print, secret } of keys) {
    const id = keyIdOf(print, context);
    for (const stanza of stanzas) {
      const key = unwrap(stanza, context, id, secret);
      if (key) return key;
    }
  }
  return null;
}

/** A reader's side of one epoch: opens its entries, in any order (quickest in their own). */
export class EpochReader {
  readonly #fields: EpochFields;
  readonly #first: number;
  readonly #epochKey: Uint8Array;
  #at: number;
  #link: Uint8Array;

  /** @param opening the entry that carried the epoch key */
  constructor(opening: EpochFields & { sequence: number }, epochKey: Uint8Array) {
    const { camera, incarnation, epoch, membership, sequence } = opening;
    this.#fields = { camera, incarnation, epoch, membership };
    this.#first = sequence;
    this.#epochKey = epochKey;
    this.#at = sequence;
    this.#link = firstLink(epochKey, contextOf(opening));
  }

  /**
   * What the entry says. Stages: "epoch" (not of this one), "body" (does not open), then those of
   * decodeBody.
   */
  open(entry: Entry): Body {
    const { camera, incarnation, epoch, membership } = this.#fields;
    const steps = entry.sequence - this.#first;
    const isHere =
      equal(entry.camera, camera) &&
      entry.incarnation === incarnation &&
      entry.epoch === epoch &&
      entry.membership === membership;
    if (!isHere || steps < 0 || steps >= longestEpoch) {
      throw new Failure("corrupt", "a log entry of another epoch", { stage: "epoch" });
    }
    if (entry.sequence < this.#at) {
      this.#at = this.#first;
      this.#link = firstLink(this.#epochKey, contextOf(this.#fields));
    }
    for (; this.#at < entry.sequence; this.#at++) this.#link = nextLink(this.#link);
    const additional = additionalOf(this.#fields, entry.sequence, entry.uptimeMs);
    const plain = decrypt(entryKey(this.#link), nonce, entry.body, additional);
    if (!plain) throw new Failure("corrupt", "a log entry does not open", { stage: "body" });
    return decodeBody(plain, entry.critical);
  }
}

/** An entry that this camera sealed and lost, and that somebody kept. Throws what `verifyEntry` does. */
export function keepEntry(
  bytes: Uint8Array,
  camera: Uint8Array,
  suite: Suite,
): { entry: ReturnType<typeof verifyEntry>; sealed: Sealed } {
  const entry = verifyEntry(bytes, camera, suite);
  return { entry, sealed: branded(entry.name, bytes) };
}

/** The beacon, ready for the outbox. */
export function sealBeacon(beacon: Beacon, signer: { sign: Sign; suite: Suite }): Sealed {
  return branded({ kind: "beacon" }, encodeBeacon(beacon, signer).bytes);
}
