import { nodeSuite } from "../../src/base/node/crypto.ts";
import { equal, toHex } from "../../src/base/pure/bytes.ts";
import { Failure, isFailure } from "../../src/base/pure/failure.ts";
import { inRange, type Link } from "../../src/phone/link.ts";
import type { Statement } from "../../src/protocol/sealed/body.ts";
import { verifyCheckpoint } from "../../src/protocol/sealed/checkpoint.ts";
import { type ClipRecipient, ClipSealer } from "../../src/protocol/sealed/clip.ts";
import { admit, type Command, openCommand } from "../../src/protocol/sealed/command.ts";
import { LogEpoch } from "../../src/protocol/sealed/epoch.ts";
import { MembershipHistory, roleOf } from "../../src/protocol/sealed/membership.ts";
import {
  type Adopted,
  encodeIdentity,
  verifyAdoption,
  verifyIdentity,
} from "../../src/protocol/sealed/pairing.ts";
import type { Sealed } from "../../src/protocol/sealed/sealed.ts";
import { kemPair, type Pair, random, sign, signPair } from "../../src/protocol/sealed/sodium.ts";
import {
  checkSupplyRises,
  decodeSupply,
  type Supply,
  verifySupply,
} from "../../src/protocol/sealed/supply.ts";
import { verifyConfirmation, verifyTombstone } from "../../src/protocol/sealed/tombstone.ts";
import { type Name, printName } from "../../src/protocol/wire/name.ts";
import { opening, pattern, sealingSuite } from "../lib/sealed.ts";
import type { FilmPieces } from "./film.ts";

export type Kept = { readonly name: Name; readonly bytes: Uint8Array };

/** What lies at a relay or in a folder; whoever keeps it can put there, and take away, what they like. */
export class Objects {
  readonly all = new Map<string, Kept>();
  /** Called before each put; may throw, as a phone that is killed does. */
  onPut: (name: Name) => void = () => {};

  readonly link: Link = {
    where: "memory",
    kind: "folder",
    list: async (range = {}) =>
      inRange(
        [...this.all.values()].map(({ name }) => name),
        range,
      ),
    get: async (name) => this.all.get(printName(name))?.bytes,
    put: async (object) => {
      this.onPut(object.name);
      this.all.set(printName(object.name), object);
    },
    remove: async (name) => void this.all.delete(printName(name)),
  };

  copy(): Objects {
    const copy = new Objects();
    for (const [name, one] of this.all) copy.all.set(name, one);
    return copy;
  }
}

function signer() {
  const { publicKey, secret } = signPair();
  return { publicKey, sign: (message: Uint8Array) => sign(secret, message), suite: nodeSuite };
}

/**
 * A camera of several phones, made with the protocol alone and in memory: it takes commands, orders
 * member lists, seals to each member and says everything in its log.
 */
export class HouseCamera {
  readonly objects: Objects;
  readonly signer: ReturnType<typeof signer>;
  /** Signs requests to a relay. */
  readonly requests: ReturnType<typeof signer>;
  readonly receiving: Pair;
  readonly identity: Uint8Array;
  members: MembershipHistory | undefined;
  wallMs = 1_700_000_000_000;
  uptimeMs = 1000;
  incarnation = 0;
  /** Refusals that were not said in the log, for the tests' own eyes. */
  readonly troubles: string[] = [];
  /** All that it said in its log. */
  readonly said: Statement[] = [];
  #supplies = new Map<string, { supply: Supply; nextIndex: number }>();
  readonly #highest: Map<string, number>;
  readonly #taken: Set<string>;
  /** The member lists in their order, behind the first. */
  readonly #lists: Uint8Array[] = [];
  #listBytes = new Uint8Array() as Uint8Array;
  /** Of each entry, by sequence. */
  readonly #hashes: string[] = [];
  /** What a fleeting command has to quote. */
  readonly #nonce = random(16);
  #epoch: LogEpoch | undefined;
  #epochNumber = 0;
  #sequence = 0;
  #previous: Uint8Array = new Uint8Array(32);

  /** With `of` one that goes on from where that one stands, as a copy of its card would: a fork. */
  constructor(objects: Objects, name = "Front door", of?: HouseCamera) {
    this.objects = objects;
    this.signer = of?.signer ?? signer();
    this.requests = of?.requests ?? signer();
    this.#highest = new Map(of ? of.#highest : []);
    this.#taken = new Set(of ? of.#taken : []);
    this.receiving = of?.receiving ?? kemPair();
    if (of) {
      this.identity = of.identity;
      this.members = of.members && new MembershipHistory(of.members.first, nodeSuite);
      this.#listBytes = of.#listBytes;
      for (const list of of.#lists) this.#order(list);
      this.#hashes = [...of.#hashes];
      this.wallMs = of.wallMs;
      this.uptimeMs = of.uptimeMs;
      this.#supplies = new Map([...of.#supplies].map(([phone, held]) => [phone, { ...held }]));
      this.#sequence = of.#sequence;
      this.#previous = of.#previous;
      this.#epochNumber = of.#epochNumber;
      this.newEpoch();
      return;
    }
    const request = this.requests.publicKey;
    this.identity = encodeIdentity(
      {
        ...{ camera: this.signer.publicKey, request, incarnation: 0, name },
        receiving: this.receiving.publicKey,
      },
      this.signer,
    ).bytes;
  }

  get id(): Uint8Array {
    return this.signer.publicKey;
  }

  async adopt(adoption: Uint8Array): Promise<Adopted> {
    const identity = verifyIdentity(this.identity, nodeSuite);
    const adopted = verifyAdoption(adoption, identity, nodeSuite);
    this.members = new MembershipHistory(adopted.membership, nodeSuite);
    this.#listBytes = adopted.membershipBytes;
    this.#hold(adopted.supply);
    this.newEpoch();
    await this.say({ kind: "started", version: "0.1.0", reason: "test" });
    await this.say({ kind: "membership", list: adopted.membershipBytes });
    await this.say({ kind: "receiving-key", publicKey: this.receiving.publicKey });
    await this.#acknowledge(adopted.supply);
    return adopted;
  }

  #hold(supply: Supply): void {
    const { firstIndex } = supply;
    this.#supplies.set(toHex(supply.phone), { supply, nextIndex: firstIndex });
  }

  get #list() {
    if (!this.members) throw new Error("not adopted");
    return this.members.head;
  }

  #lasting(phone: Uint8Array): Uint8Array | undefined {
    const held = this.#supplies.get(toHex(phone));
    return held?.supply.days[0] ?? held?.supply.restart;
  }

  newEpoch(): void {
    this.#epochNumber += 1;
    const { version, members } = this.#list;
    const keys = members.flatMap(({ phone }) => this.#lasting(phone) ?? []);
    const fields = { camera: this.id, incarnation: this.incarnation, epoch: this.#epochNumber };
    this.#epoch = new LogEpoch({ ...fields, membership: version }, keys);
  }

  #order(list: Uint8Array): void {
    this.members?.add(list, true);
    this.#lists.push(list);
    this.#listBytes = list;
  }

  async say(statement: Statement): Promise<void> {
    this.said.push(statement);
    const place = { sequence: this.#sequence, previous: this.#previous, uptimeMs: this.uptimeMs };
    const body = { wallMs: this.wallMs, clockTrusted: true, statement };
    const made = this.#epoch?.seal(body, place, this.signer);
    if (!made) throw new Error("no epoch");
    this.#hashes[this.#sequence] = toHex(made.hash);
    this.#sequence += 1;
    this.#previous = made.hash;
    this.uptimeMs += 1000;
    this.wallMs += 1000;
    await this.#put(made.sealed);
  }

  /** `short` is without video, as a picture alone. */
  async record(
    options: { day?: boolean; short?: boolean; film?: FilmPieces; picture?: Uint8Array } = {},
  ): Promise<Uint8Array> {
    const { version, members } = this.#list;
    const recipients = members.flatMap(({ phone }): ClipRecipient[] => {
      const held = this.#supplies.get(toHex(phone));
      const { oneTime = [], firstIndex = 0 } = held?.supply ?? {};
      const once = options.day ? undefined : oneTime[(held?.nextIndex ?? 0) - firstIndex];
      if (held && once) {
        held.nextIndex += 1;
        return [{ publicKey: once, shared: false }];
      }
      const publicKey = this.#lasting(phone);
      return publicKey ? [{ publicKey, shared: true }] : [];
    });
    const sealer = new ClipSealer({
      ...{ camera: this.id, incarnation: this.incarnation, membership: version, recipients },
      opening: { ...opening, wallMs: this.wallMs },
      ...{ sign: this.signer.sign, suite: sealingSuite },
    });
    const { clip, headerHash, keyIds } = sealer;
    await this.say({ kind: "clip-started", clip, headerHash, keyIds: [...keyIds] });
    const parts = [sealer.flush()];
    const { init, fragments } = options.film ?? { init: pattern(700), fragments: [pattern(900)] };
    if (!options.short) {
      parts.push(...sealer.init(init));
      for (const fragment of fragments) parts.push(...sealer.fragment(fragment));
    }
    const about = { what: "frame", width: 64, height: 48, capturedUs: 1 } as const;
    if (options.picture) parts.push(...sealer.thumbnail(about, options.picture));
    parts.push(
      ...sealer.close({
        ...{ endUs: opening.startUs + 1, durationMs: 500, frames: 5, thinned: [], mostPersons: 1 },
        ...{ bestScore: 0.9, tracks: [], reason: "ended" },
      }),
    );
    for (const part of parts) if (part) await this.#put(part);
    const { last } = sealer;
    sealer.abandon();
    if (last) await this.say({ kind: "clip-ended", clip, last, reason: "ended" });
    return clip;
  }

  /** Takes the commands that lie in the boxes, or in those that it is given, in the order of their numbers. */
  async work(boxes: readonly Kept[] = [...this.objects.all.values()]): Promise<void> {
    const found: Command[] = [];
    for (const { name, bytes } of boxes) {
      const text = printName(name);
      if (name.kind !== "box" || this.#taken.has(text)) continue;
      this.#taken.add(text);
      const expected = { camera: this.id, incarnation: this.incarnation };
      try {
        const command = openCommand(bytes, [this.receiving], expected, nodeSuite);
        if (command) found.push(command);
      } catch (error) {
        this.troubles.push((error as Error).message);
      }
    }
    found.sort((a, b) => a.number - b.number);
    for (const command of found) await this.#take(command);
  }

  async #take(command: Command): Promise<void> {
    const { phone, number, action } = command;
    const done = { kind: "command-done" as const, phone, number, action: action.kind };
    try {
      const verdict = admit(command, {
        role: (one) => roleOf(this.#list, one),
        highest: (one) => this.#highest.get(toHex(one)),
        nonceAgeMs: (one) => (equal(one, this.#nonce) ? 0 : undefined),
        version: (one) => this.#version(one),
      });
      if (verdict === "done") return;
      this.#highest.set(toHex(phone), number);
      await this.#act(command);
      await this.say(done);
    } catch (error) {
      if (!isFailure(error)) throw error;
      const { kind, message, stage = "" } = error;
      if (kind === "denied") this.troubles.push(message);
      else await this.say({ ...done, refused: stage });
    }
  }

  #acknowledge({ phone, batch, firstIndex: nextIndex, oneTime }: Supply): Promise<void> {
    const endIndex = nextIndex + oneTime.length;
    return this.say({ kind: "supply-acknowledged", phone, batch, nextIndex, endIndex });
  }

  #version(action: Command["action"]): number {
    if (action.kind === "membership" || action.kind === "erase") return this.#list.version;
    if (action.kind === "setting") {
      const isIt = (one: Statement) => one.kind === "setting" && one.name === action.name;
      return this.said.filter(isIt).length;
    }
    if (action.kind !== "supply") return 0;
    return this.#supplies.get(toHex(decodeSupply(action.supply).phone))?.supply.batch ?? 0;
  }

  async #act({ action, phone: by, number }: Command): Promise<void> {
    if (action.kind === "membership") {
      this.#order(action.list);
      this.newEpoch();
      await this.say({ kind: "membership", list: action.list });
    } else if (action.kind === "supply") {
      const { phone } = decodeSupply(action.supply);
      const about = { phone, camera: this.id, incarnation: this.incarnation };
      const supply = verifySupply(action.supply, about, nodeSuite);
      const held = this.#supplies.get(toHex(phone));
      if (held) checkSupplyRises(supply, { batch: held.supply.batch, nextIndex: held.nextIndex });
      const days = supply.days.length > 0 ? supply.days : (held?.supply.days ?? []);
      const restart = supply.restart ?? held?.supply.restart;
      this.#hold({ ...supply, days, ...(restart ? { restart } : {}) });
      this.newEpoch();
      await this.#acknowledge(supply);
    } else if (action.kind === "tombstone") {
      const { clip, phone } = verifyTombstone(action.tombstone, this.id, nodeSuite);
      if (roleOf(this.#list, phone) !== "owner") throw new Error("not an owner's");
      for (const [text, { name }] of this.objects.all) {
        if (name.kind === "part" && equal(name.clip, clip)) this.objects.all.delete(text);
      }
      await this.say({ kind: "tombstone-done", tombstone: action.tombstone });
    } else if (action.kind === "checkpoint") {
      const { sequence, hash, list } = verifyCheckpoint(action.checkpoint, this.id, nodeSuite);
      if (this.#hashes[sequence] !== toHex(hash) || !equal(list, this.#list.hash)) {
        throw new Failure("refused", "not of this log", { stage: "head" });
      }
      await this.say({ kind: "checkpointed", checkpoint: action.checkpoint });
      await this.say({ kind: "membership", list: this.#listBytes });
      await this.say({ kind: "receiving-key", publicKey: this.receiving.publicKey });
      for (const { supply } of this.#supplies.values()) await this.#acknowledge(supply);
    } else if (action.kind === "confirm") {
      verifyConfirmation(action.confirmation, this.id, nodeSuite);
      await this.say({ kind: "tombstone-confirmed", confirmation: action.confirmation });
    } else if (action.kind === "setting") {
      const { name, value, replaces } = action;
      await this.say({ kind: "setting", name, value, version: replaces + 1 });
    } else if (action.kind === "ask") {
      await this.say({ kind: "nonce", phone: by, number, nonce: this.#nonce });
    } else if (action.kind === "snapshot") {
      const watched = { kind: "watched", phone: by, how: "snapshot" } as const;
      await this.say({ ...watched, state: "started" });
      const clip = await this.record({ short: true, picture: pattern(3000) });
      await this.say({ ...watched, state: "ended", clip });
    }
  }

  async #put(object: Sealed): Promise<void> {
    this.objects.all.set(printName(object.name), object);
  }
}
