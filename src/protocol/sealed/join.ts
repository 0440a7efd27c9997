import { fromText, type Reader, toText, type Writer } from "../../base/pure/bytes.ts";
import { type DoorList, encodeDoorList } from "../wire/door.ts";
import {
  type By,
  decodeObject,
  encodeObject,
  hashBytes,
  isKey,
  type Kind,
  keyBytes,
  type Suite,
  verifyObject,
  writeEnvelope,
} from "../wire/signature.ts";
import { sealBox } from "./box.ts";
import type { Role } from "./membership.ts";
import { mostRelays, readRelay } from "./pairing.ts";
import { branded, type Sealed } from "./sealed.ts";
import { derive, kemPublicKey, type Pair, sizes } from "./sodium.ts";

// How a phone joins those of an owner: offer, answer, grant. Specification: join.md.

export const offerKind: Kind = { word: "offer", number: 35 };
export const answerKind: Kind = { word: "answer", number: 36 };
export const grantKind: Kind = { word: "grant", number: 37 };

/** What the owner's phone asks for, left for whoever has the link. */
export type Offer = {
  phone: Uint8Array; // 32 bytes, the owner who signs
  role: Exclude<Role, "kit">;
  untilMs: number; // by the owner's clock; nothing is taken after it
  cameras: readonly OfferedCamera[];
};
export type OfferedCamera = {
  camera: Uint8Array;
  incarnation: number;
  /** Of elapsed time, as far as the owner knows: the first day key is for it. */
  day: number;
};

/** What the new phone is, and its first keys. */
export type Answer = {
  phone: Uint8Array; // 32 bytes, the new phone, which signs
  offer: Uint8Array; // hash of the offer that it answers
  grantKey: Uint8Array; // 1216 bytes, X-Wing: the grant is sealed to it
  name: string; // for people, at most 64 bytes
  supplies: readonly Uint8Array[]; // one for each camera of the offer, in its order
};

/** What the new phone needs to know of the cameras. */
export type Grant = {
  phone: Uint8Array; // 32 bytes, the owner who signs
  answer: Uint8Array; // hash of the answer; zero for a recovery kit
  role: Role;
  cameras: readonly GrantedCamera[];
};
export type GrantedCamera = {
  identity: Uint8Array; // pairing.md
  name: string; // as the owner calls it
  adoptedMs: number;
  list: Uint8Array; // member list in force, the new member in it: what comes is held against it
  root: Uint8Array; // public root key of the mailbox
  rootSecret: Uint8Array | undefined; // for owners and kits alone
  request: Uint8Array; // seed of the new phone's door
  circle: Uint8Array; // what the phones of this camera share (seen.md)
  relays: readonly string[];
  incarnation: number;
  receiving: Uint8Array; // 1216 bytes, the newest that the owner knows
  checkpoint?: Uint8Array; // where the log begins, when not with its first entry (checkpoint.md)
};

export const mostJoined = 16;
export const longestOfferMs: number = 24 * 60 * 60 * 1000;
/** Keys that a phone brings with its answer; its first command brings more. */
export const starterSupply = { oneTime: 16, days: 16 } as const;
const nameBytes = 64;
const supplyBytes = 64 * 1024;
const identityBytes = 4096;
const listBytes = 8192;
const relayBytes = 512;
const checkpointBytes = 1024;
/** Flag of a grant: a checkpoint stands behind each camera. */
const withCheckpoints = 1;
const roles: readonly Role[] = ["owner", "viewer", "kit"];

export function encodeOffer(offer: Offer, by: By) {
  const writer = writeEnvelope(offerKind)
    .raw(offer.phone)
    .u8(roles.indexOf(offer.role) + 1)
    .u64(offer.untilMs)
    .u8(offer.cameras.length);
  for (const { camera, incarnation, day } of offer.cameras) {
    writer.raw(camera).u32(incarnation).u32(day);
  }
  return encodeObject(offerKind, writer, decodeOffer, by);
}

export function decodeOffer(bytes: Uint8Array): Offer {
  return decodeObject(offerKind, bytes, (reader) => {
    const phone = reader.take(keyBytes);
    const role = readRole(reader);
    if (role === "kit") throw reader.refuse("role", "an offer to a kit");
    const untilMs = reader.u64();
    const cameras = Array.from({ length: readCount(reader) }, () => ({
      camera: reader.take(keyBytes),
      incarnation: reader.u32(),
      day: reader.u32(),
    }));
    return { phone, role, untilMs, cameras };
  });
}

/** Stages after decoding: "key", "signature". Who made it, the link says: it came sealed under it. */
export function verifyOffer(bytes: Uint8Array, suite: Suite): Offer & { hash: Uint8Array } {
  const offer = decodeOffer(bytes);
  return { ...offer, hash: verifyObject(offerKind, bytes, offer.phone, suite) };
}

export function encodeAnswer(answer: Answer, by: By) {
  const writer = writeEnvelope(answerKind)
    .raw(answer.phone)
    .raw(answer.offer)
    .raw(answer.grantKey)
    .bytes16(fromText(answer.name))
    .u8(answer.supplies.length);
  for (const supply of answer.supplies) writer.bytes32(supply);
  return encodeObject(answerKind, writer, decodeAnswer, by);
}

export function decodeAnswer(bytes: Uint8Array): Answer {
  return decodeObject(answerKind, bytes, (reader) => {
    const phone = reader.take(keyBytes);
    const offer = reader.take(hashBytes);
    const grantKey = reader.take(sizes.kemPublicKey);
    const name = readName(reader);
    const supplies = Array.from({ length: readCount(reader) }, () => reader.bytes32(supplyBytes));
    return { phone, offer, grantKey, name, supplies };
  });
}

/** Stages after decoding: "key", "signature". Offer and supplies are the reader's to check. */
export function verifyAnswer(bytes: Uint8Array, suite: Suite): Answer & { hash: Uint8Array } {
  const answer = decodeAnswer(bytes);
  return { ...answer, hash: verifyObject(answerKind, bytes, answer.phone, suite) };
}

export function encodeGrant(grant: Grant, by: By) {
  const flags = grant.cameras.some(({ checkpoint }) => checkpoint) ? withCheckpoints : 0;
  const writer = writeEnvelope(grantKind, flags)
    .raw(grant.phone)
    .raw(grant.answer)
    .u8(roles.indexOf(grant.role) + 1)
    .u8(grant.cameras.length);
  for (const camera of grant.cameras) {
    writeCamera(writer, camera);
    if (flags) writer.bytes16(camera.checkpoint ?? new Uint8Array());
  }
  return encodeObject(grantKind, writer, decodeGrant, by);
}

function writeCamera(writer: Writer, camera: GrantedCamera): void {
  writer
    .bytes16(camera.identity)
    .bytes16(fromText(camera.name))
    .u64(camera.adoptedMs)
    .bytes16(camera.list)
    .raw(camera.root)
    .u8(camera.rootSecret ? 1 : 0);
  if (camera.rootSecret) writer.raw(camera.rootSecret);
  writer.raw(camera.request).raw(camera.circle).u8(camera.relays.length);
  for (const url of camera.relays) writer.bytes16(fromText(url));
  writer.u32(camera.incarnation).raw(camera.receiving);
}

export function decodeGrant(bytes: Uint8Array): Grant {
  const read = (reader: Reader, flags: number): Grant => {
    const phone = reader.take(keyBytes);
    const answer = reader.take(hashBytes);
    const role = readRole(reader);
    const cameras = Array.from({ length: readCount(reader) }, () => {
      const camera = readCamera(reader, role);
      const checkpoint = flags ? reader.bytes16(checkpointBytes) : new Uint8Array();
      return checkpoint.length > 0 ? { ...camera, checkpoint } : camera;
    });
    if (flags && !cameras.some((camera) => "checkpoint" in camera)) {
      throw reader.refuse("flags", "a grant that has checkpoints and shows none");
    }
    return { phone, answer, role, cameras };
  };
  return decodeObject(grantKind, bytes, read, withCheckpoints);
}

function readCamera(reader: Reader, role: Role): GrantedCamera {
  const identity = reader.bytes16(identityBytes);
  const name = readName(reader);
  const adoptedMs = reader.u64();
  const list = reader.bytes16(listBytes);
  const root = reader.take(keyBytes);
  if (!isKey(root)) throw reader.refuse("key", "a mailbox under a key that fits anybody");
  const withRoot = reader.u8();
  if (withRoot !== (role === "viewer" ? 0 : 1)) {
    throw reader.refuse("root", "a root key that does not go with the role");
  }
  const rootSecret = withRoot ? reader.take(sizes.signSecret) : undefined;
  const request = reader.take(sizes.signSecret);
  const circle = reader.take(sizes.key);
  const count = reader.u8();
  if (count > mostRelays) throw reader.refuse("count", `a grant with ${count} relays`);
  const relays = Array.from({ length: count }, () => readRelay(reader, relayBytes));
  const incarnation = reader.u32();
  const receiving = reader.take(sizes.kemPublicKey);
  return {
    ...{ identity, name, adoptedMs, list, root, rootSecret, request, circle, relays },
    ...{ incarnation, receiving },
  };
}

/** Seals one of the three for the box of `writer`; it is wiped. */
export function sealFor(
  bytes: Uint8Array,
  reader: Uint8Array,
  place: { writer: Uint8Array; sequence: number },
  suite: Suite,
): Sealed {
  return sealBox(Uint8Array.from(bytes), reader, place, suite);
}

/** Stages after decoding: "key", "signature". */
export function verifyGrant(bytes: Uint8Array, suite: Suite): Grant & { hash: Uint8Array } {
  const grant = decodeGrant(bytes);
  return { ...grant, hash: verifyObject(grantKind, bytes, grant.phone, suite) };
}

function readRole(reader: Reader): Role {
  const role = roles[reader.u8() - 1];
  if (!role) throw reader.refuse("role", "a role that is not known");
  return role;
}

function readCount(reader: Reader): number {
  const count = reader.u8();
  if (count < 1 || count > mostJoined) throw reader.refuse("count", `${count} cameras`);
  return count;
}

function readName(reader: Reader): string {
  const name = toText(reader.bytes16(nameBytes));
  if (/\p{Cc}/u.test(name)) throw reader.refuse("text", "a name with control characters");
  return name;
}

/** What both sides make of the secret in the link. */
export type JoinKeys = {
  /** The offer is sealed to it. */
  readonly offer: Pair;
  /** The answer is sealed to it. */
  readonly answer: Pair;
  /** Seed of the door by which the new phone comes in until it has one of its own. */
  readonly request: Uint8Array;
};

export function joinKeys(secret: Uint8Array, mailbox: Uint8Array): JoinKeys {
  const pair = (label: string) => {
    const seed = derive(secret, label, mailbox);
    return { secret: seed, publicKey: kemPublicKey(seed) };
  };
  return {
    offer: pair("obscura/1/join/offer"),
    answer: pair("obscura/1/join/answer"),
    request: derive(secret, "obscura/1/join/request", mailbox),
  };
}

/** A door list, ready for the mailbox. */
export function sealDoorList(list: DoorList, by: By): Sealed {
  return branded({ kind: "door" }, encodeDoorList(list, by).bytes);
}

/** The seed of a member's door: whoever holds the mailbox's root key can name each member's door. */
export function doorSeed(root: Uint8Array, phone: Uint8Array): Uint8Array {
  return derive(root, "obscura/1/door", phone);
}

/** What the phones of one camera share, viewers too (seen.md). */
export function circleOf(root: Uint8Array): Uint8Array {
  return derive(root, "obscura/1/circle");
}
