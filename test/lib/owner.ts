import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { ed25519Signer, nodeSuite } from "../../src/base/node/crypto.ts";
import { toHex } from "../../src/base/pure/bytes.ts";
import type { Keyring } from "../../src/device/keyring.ts";
import type { Body, Statement } from "../../src/protocol/sealed/body.ts";
import { readStart } from "../../src/protocol/sealed/clip.ts";
import { EpochReader, openEpoch } from "../../src/protocol/sealed/epoch.ts";
import { encodeMembership, found } from "../../src/protocol/sealed/membership.ts";
import { type ClipEvent, ClipOpener } from "../../src/protocol/sealed/opened.ts";
import { encodeAdoption } from "../../src/protocol/sealed/pairing.ts";
import { kemPair, type Pair, ready } from "../../src/protocol/sealed/sodium.ts";
import { keyFingerprint, keyId, unwrap } from "../../src/protocol/sealed/stanza.ts";
import { encodeSupply } from "../../src/protocol/sealed/supply.ts";
import { encodeDoorList } from "../../src/protocol/wire/door.ts";
import { checkLink, verifyEntry } from "../../src/protocol/wire/entry.ts";
import { fromFileName, mailboxOf, type Name } from "../../src/protocol/wire/name.ts";
import { decodePart } from "../../src/protocol/wire/part.ts";

export type Line = { sequence: number; incarnation: number; epoch: number; body: Body };
export type Opened = { events: ClipEvent[]; last: number; whole: boolean; keyId: string };

/** A phone with every secret in memory: opens what a camera wrote, and checks as a phone must. */
export type Owner = {
  adoption: Uint8Array;
  /** Further keys, by default the ones that follow; the owner can open what they seal. */
  supply(more: More): Uint8Array;
  /** An adoption that brings them. */
  further(more: More & { member?: string }): Uint8Array;
  /** All entries of an outbox, chained from the first, opened in order; throws at any break. */
  readLog(folder: string): Promise<Line[]>;
  /** One clip from the parts in an outbox; throws when anything in it does not verify. */
  openClip(folder: string, clip: string): Promise<Opened>;
};

/** How further keys differ from those that would follow. */
export type More = {
  batch?: number;
  firstIndex?: number;
  incarnation?: number;
  oneTime?: number;
  days?: number;
  /** Of another phone. */
  seed?: number;
};
export type OwnerOptions = { oneTime?: number; days?: number; restart?: boolean; seed?: number };

export async function makeOwner(
  identity: Keyring["identity"],
  { oneTime = 8, days = 3, restart = true, seed = 0x77 }: OwnerOptions = {},
): Promise<Owner> {
  await ready();
  const { camera, incarnation } = identity;
  const phone = ed25519Signer(new Uint8Array(32).fill(seed));
  const root = ed25519Signer(new Uint8Array(32).fill(seed + 1));
  const request = ed25519Signer(new Uint8Array(32).fill(seed + 2));
  const pairs = (count: number) => Array.from({ length: count }, kemPair);
  const publicOf = (list: readonly Pair[]) => list.map(({ publicKey }) => publicKey);
  const by = { sign: phone.sign, suite: nodeSuite };
  const all: Pair[] = [];
  const prints: { fingerprint: Uint8Array; secret: Uint8Array }[] = [];
  const supply = (more: More & { restart?: boolean } = {}): Uint8Array => {
    const signer = more.seed ? ed25519Signer(new Uint8Array(32).fill(more.seed)) : phone;
    const keys = {
      oneTime: pairs(more.oneTime ?? 1),
      days: pairs(more.days ?? days),
      restart: pairs((more.restart ?? true) ? 1 : 0),
    };
    for (const pair of [...keys.oneTime, ...keys.days, ...keys.restart]) {
      all.push(pair);
      prints.push({ fingerprint: keyFingerprint(pair.publicKey), secret: pair.secret });
    }
    const [restartKey] = publicOf(keys.restart);
    return encodeSupply(
      {
        ...{ phone: signer.publicKey, camera, incarnation: more.incarnation ?? incarnation },
        ...{ batch: more.batch ?? 2, firstIndex: more.firstIndex ?? oneTime, firstDay: 0 },
        ...{ oneTime: publicOf(keys.oneTime), days: publicOf(keys.days) },
        ...(restartKey ? { restart: restartKey } : {}),
      },
      { sign: signer.sign, suite: nodeSuite },
    ).bytes;
  };
  const doors = encodeDoorList(
    {
      ...{ root: root.publicKey, version: 1, minimumAgeMs: 0 },
      doors: [
        { key: identity.request, rights: new Set(["append"] as const) },
        { key: request.publicKey, rights: new Set(["read", "box", "delete"] as const) },
      ].sort((a, b) => (toHex(a.key) < toHex(b.key) ? -1 : 1)),
    },
    { sign: root.sign, suite: nodeSuite },
  );
  const adopt = (supplied: Uint8Array, member = "owner") =>
    encodeAdoption(
      {
        ...{ camera, identity: identity.hash, owner: phone.publicKey, supply: supplied },
        membership: encodeMembership(found(camera, phone.publicKey, member), by).bytes,
        mailbox: mailboxOf(root.publicKey, nodeSuite),
        doors: doors.bytes,
        relays: ["http://127.0.0.1:8470"],
      },
      by,
    ).bytes;
  const adoption = adopt(supply({ batch: 1, firstIndex: 0, oneTime, restart }));

  return {
    adoption,
    supply,
    further: ({ member, ...more }) => adopt(supply(more), member),
    async readLog(folder) {
      const lines: Line[] = [];
      let before: ReturnType<typeof verifyEntry> | undefined;
      let reader: EpochReader | undefined;
      const names = (await namesIn(folder)).filter(([name]) => name.kind === "entry");
      for (const [, file] of names.sort((a, b) => sequenceOf(a[0]) - sequenceOf(b[0]))) {
        const entry = verifyEntry(await read(folder, file), camera, nodeSuite);
        if (before) checkLink(entry, before);
        before = entry;
        const key = entry.stanzas && openEpoch(entry, prints);
        if (key) reader = new EpochReader(entry, key);
        if (!reader) throw new Error("a log that no key opens");
        const { sequence, incarnation: of, epoch } = entry;
        lines.push({ sequence, incarnation: of, epoch, body: reader.open(entry) });
      }
      return lines;
    },
    async openClip(folder, clip) {
      const names = (await namesIn(folder)).filter(
        ([name]) => name.kind === "part" && toHex(name.clip) === clip,
      );
      const files = names.map(([, file]) => file).sort();
      const parts = await Promise.all(files.map((file) => read(folder, file)));
      const [first] = parts;
      if (!first) throw new Error(`clip ${clip} has no part`);
      let id = "";
      const opener = new ClipOpener({
        camera,
        suite: nodeSuite,
        key: (start) => {
          for (const { publicKey, secret } of all) {
            for (const context of [new Uint8Array(), start.header.clip]) {
              const ours = keyId(publicKey, context);
              for (const stanza of start.stanzas) {
                const key = unwrap(stanza, start.headerHash, ours, secret);
                if (!key) continue;
                id = toHex(ours);
                return { clip: key };
              }
            }
          }
          throw new Error("a clip that none of this phone's keys opens");
        },
      });
      const events = parts.flatMap((part) => [...opener.push(part)]);
      readStart(decodePart(first), nodeSuite);
      const { whole, last } = opener.end();
      return { events, whole, last: last?.number ?? -1, keyId: id };
    },
  };
}

async function namesIn(folder: string): Promise<[Name, string][]> {
  return (await readdir(folder)).map((file) => [fromFileName(file), file]);
}

function sequenceOf(name: Name): number {
  return name.kind === "entry" ? name.sequence : -1;
}

async function read(folder: string, file: string): Promise<Uint8Array> {
  return new Uint8Array(await readFile(join(folder, file)));
}

/** Statements of one kind, with their fields. */
export function all<K extends Statement["kind"]>(
  lines: readonly Line[],
  kind: K,
): Extract<Statement, { kind: K }>[] {
  return lines.flatMap(({ body }) =>
    body.statement.kind === kind ? [body.statement as Extract<Statement, { kind: K }>] : [],
  );
}
