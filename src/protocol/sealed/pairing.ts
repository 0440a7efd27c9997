import { equal, fromText, type Reader, toText } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import { parseRelay } from "../wire/client.ts";
import { type DoorList, verifyDoorList } from "../wire/door.ts";
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
import { fromBase64, toBase64 } from "./base64.ts";
import { integer, object, oneOf, parse, text } from "./json.ts";
import { type Version, verifyFirst } from "./membership.ts";
import { fingerprint, sizes } from "./sodium.ts";
import { longestSupplyBytes, type Supply, verifySupply } from "./supply.ts";

// Pairing without a network, by two files. Specification: pairing.md.

export const identityKind: Kind = { word: "identity", number: 21 };
export const adoptionKind: Kind = { word: "adoption", number: 22 };

/** Who a camera is, signed by itself. */
export type Identity = {
  camera: Uint8Array; // 32 bytes, signs clips, parts, entries, beacons
  request: Uint8Array; // 32 bytes, signs requests to a relay
  receiving: Uint8Array; // 1216 bytes, X-Wing: commands are sealed to it
  incarnation: number;
  name: string; // for people, at most 64 bytes
};

/** What an owner gives to a camera that shall be theirs. */
export type Adoption = {
  camera: Uint8Array;
  identity: Uint8Array; // hash of the identity that the owner saw
  owner: Uint8Array; // the phone that signs
  membership: Uint8Array; // version 1
  supply: Uint8Array;
  mailbox: Uint8Array; // 32 bytes
  doors: Uint8Array; // its door list
  relays: readonly string[]; // where the mailbox is, the first that answers; may be none
};

const nameBytes = 64;
const doorsBytes = 64 * 1024;
const membershipBytes = 8192;
export const mostRelays = 8;
const relayBytes = 512;
/** The longest adoption: what a camera makes room for before it reads one. */
export const longestAdoptionBytes: number =
  longestSupplyBytes + membershipBytes + doorsBytes + mostRelays * (2 + relayBytes) + 512;

export function encodeIdentity(identity: Identity, by: By) {
  const writer = writeEnvelope(identityKind)
    .raw(identity.camera)
    .raw(identity.request)
    .raw(identity.receiving)
    .u32(identity.incarnation)
    .bytes16(fromText(identity.name));
  return encodeObject(identityKind, writer, decodeIdentity, by);
}

export function decodeIdentity(bytes: Uint8Array): Identity {
  return decodeObject(identityKind, bytes, (reader) => {
    const camera = reader.take(keyBytes);
    const request = reader.take(keyBytes);
    const receiving = reader.take(sizes.kemPublicKey);
    const incarnation = reader.u32();
    const name = toText(reader.bytes16(nameBytes));
    if (!isKey(request)) throw reader.refuse("key", "a request key that fits anybody");
    if (/\p{Cc}/u.test(name)) throw reader.refuse("text", "a name with control characters");
    return { camera, request, receiving, incarnation, name };
  });
}

/** Stages after decoding: "key", "signature". */
export function verifyIdentity(bytes: Uint8Array, suite: Suite): Identity & { hash: Uint8Array } {
  const identity = decodeIdentity(bytes);
  return { ...identity, hash: verifyObject(identityKind, bytes, identity.camera, suite) };
}

export function encodeAdoption(adoption: Adoption, by: By) {
  const writer = writeEnvelope(adoptionKind)
    .raw(adoption.camera)
    .raw(adoption.identity)
    .raw(adoption.owner)
    .bytes32(adoption.membership)
    .bytes32(adoption.supply)
    .raw(adoption.mailbox)
    .bytes32(adoption.doors)
    .u8(adoption.relays.length);
  for (const relay of adoption.relays) writer.bytes16(fromText(relay));
  return encodeObject(adoptionKind, writer, decodeAdoption, by);
}

export function decodeAdoption(bytes: Uint8Array): Adoption {
  return decodeObject(adoptionKind, bytes, (reader) => {
    const camera = reader.take(keyBytes);
    const identity = reader.take(hashBytes);
    const owner = reader.take(keyBytes);
    const membership = reader.bytes32(membershipBytes);
    const supply = reader.bytes32(longestSupplyBytes);
    const mailbox = reader.take(hashBytes);
    const doors = reader.bytes32(doorsBytes);
    const count = reader.u8();
    if (count > mostRelays) throw reader.refuse("count", `${count} relays, at most ${mostRelays}`);
    const relays: string[] = [];
    for (let i = 0; i < count; i++) {
      const relay = readRelay(reader, relayBytes);
      if (relays.includes(relay)) throw reader.refuse("relay", "an adoption with a relay twice");
      relays.push(relay);
    }
    return { camera, identity, owner, membership, supply, mailbox, doors, relays };
  });
}

/**
 * A relay's address in the one form in which an adoption holds it, or undefined for what is none:
 * no slash at its end, no port that the scheme implies.
 */
export function relayOf(address: string): string | undefined {
  try {
    const { origin, prefix } = parseRelay(address);
    return origin + prefix;
  } catch {
    return undefined;
  }
}

/** The address of a relay behind a length, in its one form. Stage "relay". */
export function readRelay(reader: Reader, limit: number): string {
  const relay = toText(reader.bytes16(limit));
  if (relay !== relayOf(relay)) {
    throw reader.refuse("relay", "something else than the address of a relay");
  }
  return relay;
}

/** An adoption with everything in it opened and checked. */
export type Adopted = {
  readonly owner: Uint8Array;
  readonly membership: Version;
  readonly membershipBytes: Uint8Array;
  readonly supply: Supply;
  readonly supplyBytes: Uint8Array;
  readonly mailbox: Uint8Array;
  readonly doors: DoorList;
  readonly doorsBytes: Uint8Array;
  readonly relays: readonly string[];
  readonly hash: Uint8Array;
};

/**
 * An adoption of this very camera. Stages after decoding: "camera", "identity" (the owner saw
 * another identity), "key", "signature", then those of the member list, "owner" (it does not make
 * the signer an owner), those of supply and door list, "door" (the camera is not let in).
 *
 * @param incarnation the one that the camera is in: an adopted one may have left that of its identity
 */
export function verifyAdoption(
  bytes: Uint8Array,
  identity: Identity & { hash: Uint8Array },
  suite: Suite,
  incarnation: number = identity.incarnation,
): Adopted {
  const { camera } = identity;
  const adoption = decodeAdoption(bytes);
  const { owner, mailbox, relays } = adoption;
  if (!equal(adoption.camera, camera)) throw refuse("camera", "an adoption of another camera");
  if (!equal(adoption.identity, identity.hash)) {
    throw refuse("identity", "an adoption of another identity of this camera");
  }
  const hash = verifyObject(adoptionKind, bytes, owner, suite);
  const membership = verifyFirst(adoption.membership, camera, suite);
  if (!equal(membership.signer, owner)) throw refuse("owner", "a member list of another owner");
  const supply = verifySupply(adoption.supply, { phone: owner, camera, incarnation }, suite);
  const doors = verifyDoorList(adoption.doors, mailbox, suite);
  const door = doors.doors.find(({ key }) => equal(key, identity.request));
  if (!door || !("rights" in door) || !door.rights.has("append")) {
    throw refuse("door", "a mailbox that does not let this camera in");
  }
  return {
    ...{ owner, membership, supply, mailbox, doors, relays, hash },
    membershipBytes: adoption.membership,
    supplyBytes: adoption.supply,
    doorsBytes: adoption.doors,
  };
}

const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/**
 * Twelve characters (60 bits) that both sides show, so that a person sees that no file was
 * exchanged on the way: of an identity, or of an identity and its adoption together.
 */
export function checkWord(...hashes: readonly Uint8Array[]): string {
  const print = fingerprint("obscura/1/check-word", ...hashes);
  let word = "";
  for (let i = 0; i < 12; i++) word += alphabet[(print[i] ?? 0) & 31];
  return `${word.slice(0, 4)}-${word.slice(4, 8)}-${word.slice(8)}`;
}

/** What stands in camera.json and owner.json: one object, as a file that people can carry. */
export type PairingFile = "camera identity" | "camera adoption";
export const pairingFileBytes: number = 2 * (longestSupplyBytes + 128 * 1024);

const fileCheck = object({
  obscura: oneOf("camera identity", "camera adoption"),
  format: integer(),
  content: text(pairingFileBytes),
});

export function printPairingFile(holds: PairingFile, content: Uint8Array, check: string): string {
  const json = { obscura: holds, format: 1, check, content: toBase64(content) };
  return `${JSON.stringify(json, null, 2)}\n`;
}

/** Stages: "length", "text", "json", "holds", "base64". The check word in it is for people only. */
export function parsePairingFile(holds: PairingFile, bytes: Uint8Array): Uint8Array {
  const file = parse(bytes, pairingFileBytes, "pairing file", fileCheck);
  if (file.format !== 1) {
    throw new Failure("refused", `a pairing file of format ${file.format}`, {
      stage: "version",
      hint: "Update this program",
    });
  }
  if (file.obscura !== holds) {
    throw new Failure("refused", `this file holds a ${file.obscura}, not a ${holds}`, {
      stage: "holds",
    });
  }
  return fromBase64(file.content);
}

function refuse(stage: string, message: string): Failure {
  return new Failure("refused", message, { stage });
}
