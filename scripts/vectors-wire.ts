import { createHash } from "node:crypto";
import { join } from "node:path";
import { ed25519Signer, nodeSuite } from "../src/base/node/crypto.ts";
import { fromText, toHex } from "../src/base/pure/bytes.ts";
import { encodeBeacon } from "../src/protocol/wire/beacon.ts";
import { type DoorList, encodeDoorList } from "../src/protocol/wire/door.ts";
import { type EntryFields, encodeEntry } from "../src/protocol/wire/entry.ts";
import { mailboxOf } from "../src/protocol/wire/name.ts";
import { encodePart, type PartFields } from "../src/protocol/wire/part.ts";
import { type Kind, kinds, type Sign, signObject } from "../src/protocol/wire/signature.ts";
import { type Vector, writeVectors } from "./vectors.ts";
import { askVectors, listingVectors } from "./vectors-mailbox.ts";
import { pushVectors, verdictVectors } from "./vectors-push.ts";
import { nameVectors, requestVectors } from "./vectors-text.ts";

// Makes the vectors of the wire formats: node dist/scripts/vectors-wire.js
// Each is built from literals here and read back by test/protocol/wire.

export const cameraSeed: Uint8Array = new Uint8Array(32).fill(0x11);
export const rootSeed: Uint8Array = new Uint8Array(32).fill(0x22);
export const phoneSeed: Uint8Array = new Uint8Array(32).fill(0x33);
const camera = ed25519Signer(cameraSeed);
const root = ed25519Signer(rootSeed);
const phone = ed25519Signer(phoneSeed);
const suite = nodeSuite;
const bytesOf = (value: number, length: number) => new Uint8Array(length).fill(value);

export type Edit = (bytes: Uint8Array) => Uint8Array | undefined;
export type Refusal = { name: string; expect: string; kind?: "corrupt" | "refused"; edit: Edit };

/** Overwrites bytes at an offset. */
export function put(at: number, ...values: number[]): Edit {
  return (bytes) => void bytes.set(values, at);
}

/** What every signed object must refuse; each is signed again unless the signature is the case. */
const common: Refusal[] = [
  { name: "version-2", expect: "version", kind: "refused", edit: put(0, 2) },
  { name: "suite-2", expect: "suite", kind: "refused", edit: put(1, 2) },
  { name: "kind-of-another", expect: "kind", edit: put(2, 99) },
  { name: "flags-unknown", expect: "flags", kind: "refused", edit: put(3, 0x80) },
  {
    name: "length-trailing",
    expect: "length",
    edit: (bytes) => Buffer.concat([bytes, bytesOf(0, 1)]),
  },
];

export function refusals(
  kind: Kind,
  header: Record<string, string>,
  well: Uint8Array,
  signer: { sign: Sign },
  list: readonly Refusal[],
): Vector[] {
  const make = (refusal: Refusal, sign: (bytes: Uint8Array) => void): Vector => {
    const copy = new Uint8Array(well);
    const bytes = new Uint8Array(refusal.edit(copy) ?? copy);
    sign(bytes);
    const { name, expect, kind: failure = "corrupt" } = refusal;
    const head = { object: kind.word, expect, kind: failure, ...header };
    return { name, header: head, bytes, raw: false };
  };
  const again = (bytes: Uint8Array) => void signObject(kind, bytes, signer.sign, suite);
  const flipped = put(well.length - 1, (well.at(-1) ?? 0) ^ 1);
  return [
    ...[...common, ...list].map((refusal) => make(refusal, again)),
    make({ name: "signature-flipped", expect: "signature", edit: flipped }, () => {}),
    make(
      { name: "signature-of-another-key", expect: "signature", edit: () => undefined },
      (bytes) => {
        signObject(kind, bytes, phone.sign, suite);
      },
    ),
    make(
      { name: "signature-of-another-kind", expect: "signature", edit: () => undefined },
      (bytes) => {
        signObject({ word: "other", number: kind.number }, bytes, signer.sign, suite);
      },
    ),
  ];
}

function partVectors(): Vector[] {
  const first: PartFields = {
    camera: camera.publicKey,
    incarnation: 1,
    clip: bytesOf(0xc1, 16),
    number: 0,
    previous: bytesOf(0, 32),
  };
  const payload = fromText("header, stanzas and the opening chunk");
  const zero = encodePart(first, [payload], { sign: camera.sign, suite });
  const second = { ...first, number: 1, previous: zero.hash };
  const one = encodePart(second, [payload, payload], { sign: camera.sign, suite });
  const header = { camera: toHex(camera.publicKey) };
  const well = (
    name: string,
    fields: PartFields,
    { bytes, hash }: typeof zero,
    times: number,
  ): Vector => {
    const { incarnation, clip, number, previous } = fields;
    const lines = {
      ...{ incarnation: String(incarnation), clip: toHex(clip), number: String(number) },
      ...{ previous: toHex(previous), payload: toHex(payload).repeat(times), hash: toHex(hash) },
    };
    return {
      name,
      header: { object: "part", expect: "well", ...header, ...lines },
      bytes,
      raw: false,
    };
  };
  return [
    well("well-first", first, zero, 1),
    well("well-second", second, one, 2),
    ...refusals(kinds.part, header, zero.bytes, camera, [
      { name: "camera-another", expect: "camera", edit: (b) => void b.set(phone.publicKey, 4) },
      { name: "previous-of-first", expect: "previous", edit: put(60, 1) },
      { name: "previous-missing", expect: "previous", edit: put(56, 0, 0, 0, 1) },
      { name: "length-of-payload-zero", expect: "length", edit: emptied(92, payload.length) },
      { name: "length-of-payload-longer", expect: "length", edit: put(92, 0, 0, 1, 0) },
      { name: "length-of-payload-shorter", expect: "length", edit: put(92, 0, 0, 0, 1) },
      { name: "length-of-payload-beyond-limit", expect: "length", edit: put(92, 0, 0x10, 0, 0) },
      { name: "length-of-payload-negative", expect: "length", edit: put(92, 255, 255, 255, 255) },
    ]),
  ];
}

/** A field behind a 32-bit length at `at`, taken out. */
function emptied(at: number, length: number): Edit {
  return (bytes) =>
    Buffer.concat([bytes.subarray(0, at), bytesOf(0, 4), bytes.subarray(at + 4 + length)]);
}

function entryVectors(): Vector[] {
  const fields: EntryFields = {
    ...{ camera: camera.publicKey, incarnation: 1, sequence: 0, previous: bytesOf(0, 32) },
    ...{ membership: 1, epoch: 1, uptimeMs: 12_345, critical: false, body: bytesOf(0xbb, 64) },
  };
  const header = { camera: toHex(camera.publicKey) };
  const make = (change: Partial<EntryFields>) => {
    const changed = { ...fields, ...change };
    return { fields: changed, ...encodeEntry(changed, { sign: camera.sign, suite }) };
  };
  const plain = make({});
  const next = { sequence: 1, previous: plain.hash };
  const well = (name: string, { fields: f, bytes, hash }: typeof plain): Vector => {
    const lines = {
      ...{ incarnation: String(f.incarnation), sequence: String(f.sequence) },
      ...{ previous: toHex(f.previous), membership: String(f.membership), epoch: String(f.epoch) },
      ...{ uptimeMs: String(f.uptimeMs), critical: String(f.critical), body: toHex(f.body) },
      ...(f.stanzas ? { stanzas: toHex(f.stanzas) } : {}),
      ...{ bodyHash: toHex(createHash("sha512").update(f.body).digest().subarray(0, 32)) },
      hash: toHex(hash),
    };
    return {
      name,
      header: { object: "entry", expect: "well", ...header, ...lines },
      bytes,
      raw: false,
    };
  };
  const epoch = make({ ...next, stanzas: bytesOf(0x57, 80), epoch: 2 });
  return [
    well("well-first", plain),
    well("well-critical", make({ ...next, critical: true })),
    well("well-epoch", epoch),
    well("well-incarnation-2", make({ ...next, incarnation: 2, uptimeMs: 2 ** 53 - 1 })),
    ...refusals(kinds.entry, header, plain.bytes, camera, [
      { name: "camera-another", expect: "camera", edit: (b) => void b.set(phone.publicKey, 4) },
      { name: "range-of-sequence", expect: "range", edit: put(40, 0, 0x20) },
      { name: "range-of-uptime", expect: "range", edit: put(88, 0xff) },
      { name: "previous-of-first", expect: "previous", edit: put(48, 1) },
      { name: "previous-missing", expect: "previous", edit: put(47, 1) },
      { name: "body-another", expect: "body", edit: put(132, 0) },
      { name: "body-hash-another", expect: "body", edit: put(96, 0) },
      { name: "length-of-body-zero", expect: "length", edit: emptied(128, 64) },
      { name: "length-of-body-beyond-limit", expect: "length", edit: put(128, 0, 1, 0, 1) },
      { name: "length-without-promised-stanzas", expect: "length", edit: put(3, 2) },
    ]),
    ...refusals(kinds.entry, header, epoch.bytes, camera, [
      { name: "epoch-length-of-stanzas-zero", expect: "length", edit: emptied(128, 80) },
      {
        name: "epoch-length-of-stanzas-beyond-limit",
        expect: "length",
        edit: put(128, 0, 2, 0, 1),
      },
    ]).filter(({ name }) => name.startsWith("epoch-")),
  ];
}

function beaconVectors(): Vector[] {
  const beacon = {
    ...{ camera: camera.publicKey, version: 7, incarnation: 2, uptimeMs: 900_000 },
    ...{
      head: { sequence: 41, hash: bytesOf(0xee, 32) },
      wallMs: 1_780_000_000_000,
      trusted: true,
    },
  };
  const header = { camera: toHex(camera.publicKey) };
  const well = (name: string, b: typeof beacon): Vector => {
    const { bytes, hash } = encodeBeacon(b, { sign: camera.sign, suite });
    const lines = {
      ...{ version: String(b.version), incarnation: String(b.incarnation) },
      ...{ "head.sequence": String(b.head.sequence), "head.hash": toHex(b.head.hash) },
      ...{ uptimeMs: String(b.uptimeMs), wallMs: String(b.wallMs), trusted: String(b.trusted) },
      hash: toHex(hash),
    };
    return {
      name,
      header: { object: "beacon", expect: "well", ...header, ...lines },
      bytes,
      raw: false,
    };
  };
  const trusted = well("well-trusted", beacon);
  return [
    trusted,
    well("well-clock-not-set", { ...beacon, wallMs: 0, trusted: false }),
    ...refusals(kinds.beacon, header, trusted.bytes, camera, [
      { name: "camera-another", expect: "camera", edit: (b) => void b.set(phone.publicKey, 4) },
      { name: "range-of-version", expect: "range", edit: put(36, 0xff) },
      { name: "trusted-2", expect: "trusted", edit: put(104, 2) },
    ]),
  ];
}

function doorVectors(): Vector[] {
  const rising = (list: DoorList["doors"]) =>
    [...list].sort((a, b) => Buffer.compare(a.key, b.key));
  const list: DoorList = {
    ...{ root: root.publicKey, version: 3, minimumAgeMs: 86_400_000 },
    doors: rising([
      { key: camera.publicKey, rights: new Set(["append"]) },
      { key: phone.publicKey, rights: new Set(["read", "box", "delete"]) },
      { key: root.publicKey, share: { clip: bytesOf(0xc1, 16), untilMs: 1_780_000_000_000 } },
    ]),
  };
  const header = { mailbox: toHex(mailboxOf(root.publicKey, suite)) };
  const well = (name: string, l: DoorList): Vector => {
    const { bytes, hash } = encodeDoorList(l, { sign: root.sign, suite });
    const lines: Record<string, string> = {
      ...{ root: toHex(l.root), version: String(l.version) },
      minimumAgeMs: String(l.minimumAgeMs),
    };
    for (const [i, door] of l.doors.entries()) {
      lines[`doors.${i}.key`] = toHex(door.key);
      if ("share" in door) {
        lines[`doors.${i}.share.clip`] = toHex(door.share.clip);
        lines[`doors.${i}.share.untilMs`] = String(door.share.untilMs);
      } else lines[`doors.${i}.rights`] = [...door.rights].join(" ");
    }
    const head = { object: "door", expect: "well", ...header, ...lines, hash: toHex(hash) };
    return { name, header: head, bytes, raw: false };
  };
  const two = well("well-camera-and-phone", {
    ...list,
    doors: rising(list.doors.slice(0, 2).filter((d) => "rights" in d)),
  });
  const key = 54;
  const rights = key + 32;
  const pair = {
    ...list,
    doors: rising([
      { key: camera.publicKey, rights: new Set(["append"] as const) },
      { key: phone.publicKey, rights: new Set(["read", "box"] as const) },
    ]),
  };
  const base = encodeDoorList(pair, { sign: root.sign, suite }).bytes;
  return [
    well("well-empty", { ...list, doors: [] }),
    two,
    well("well-with-a-share", list),
    ...refusals(kinds.door, header, base, root, [
      { name: "mailbox-another", expect: "mailbox", edit: (b) => void b.set(phone.publicKey, 4) },
      { name: "order-falls", expect: "order", edit: (b) => void b.set(bytesOf(0xff, 32), key) },
      {
        name: "order-doubled",
        expect: "order",
        edit: (b) => void b.set(b.slice(key, key + 32), key + 33),
      },
      { name: "key-of-small-order", expect: "key", edit: (b) => void b.set(bytesOf(0, 32), key) },
      { name: "rights-none", expect: "rights", edit: put(rights, 0) },
      { name: "rights-unknown", expect: "rights", kind: "refused", edit: put(rights, 0x21) },
      { name: "rights-share-and-read", expect: "rights", kind: "refused", edit: put(rights, 0x12) },
      { name: "length-of-list-beyond-limit", expect: "length", edit: put(52, 4, 1) },
      { name: "length-of-list-shorter", expect: "length", edit: put(52, 0, 1) },
      { name: "range-of-version", expect: "range", edit: put(36, 0xff) },
    ]),
  ];
}

/** Every wire object's vectors, by folder below test/vectors/wire. */
export function wireVectors(): Record<string, Vector[]> {
  return {
    part: partVectors(),
    entry: entryVectors(),
    beacon: beaconVectors(),
    door: doorVectors(),
    name: nameVectors(),
    request: requestVectors(),
    ask: askVectors(),
    listing: listingVectors(),
    push: pushVectors(),
    verdict: verdictVectors(),
  };
}

if (process.argv[1]?.endsWith("scripts/vectors-wire.js")) {
  for (const [folder, vectors] of Object.entries(wireVectors())) {
    await writeVectors(join("test/vectors/wire", folder), vectors);
    console.log(`${folder}: ${vectors.length}`);
  }
}
