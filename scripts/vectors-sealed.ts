import { join } from "node:path";
import { ed25519Signer, nodeSuite } from "../src/base/node/crypto.ts";
import { toHex } from "../src/base/pure/bytes.ts";
import {
  encodeMembership,
  follow,
  found,
  type Membership,
  membershipKind,
} from "../src/protocol/sealed/membership.ts";
import {
  type Adoption,
  adoptionKind,
  encodeAdoption,
  encodeIdentity,
  type Identity,
  identityKind,
} from "../src/protocol/sealed/pairing.ts";
import { kemPublicKey, ready } from "../src/protocol/sealed/sodium.ts";
import { encodeSupply, type Supply, supplyKind } from "../src/protocol/sealed/supply.ts";
import { encodeDoorList } from "../src/protocol/wire/door.ts";
import { mailboxOf } from "../src/protocol/wire/name.ts";
import { type Vector, wellVector as well, writeVectors } from "./vectors.ts";
import {
  bodyVectors,
  chunkVectors,
  clipVectors,
  commandVectors,
  detailsVectors,
  epochVectors,
  stanzaVectors,
} from "./vectors-boxes.ts";
import {
  answerVectors,
  grantVectors,
  lensVectors,
  linkVectors,
  offerVectors,
  seenVectors,
} from "./vectors-join.ts";
import { networkVectors } from "./vectors-network.ts";
import { checkpointVectors, confirmationVectors, tombstoneVectors } from "./vectors-phones.ts";
import { pointerVectors } from "./vectors-pointer.ts";
import { cameraSeed, put, type Refusal, refusals, rootSeed } from "./vectors-wire.ts";

// Makes the vectors of the sealed formats: node dist/scripts/vectors-sealed.js
// Here those that are signed and not sealed; the others are in vectors-boxes.ts.

export const ownerSeed: Uint8Array = new Uint8Array(32).fill(0x44);
const camera = { ...ed25519Signer(cameraSeed), suite: nodeSuite };
const owner = { ...ed25519Signer(ownerSeed), suite: nodeSuite };
const root = { ...ed25519Signer(rootSeed), suite: nodeSuite };
const other = ed25519Signer(new Uint8Array(32).fill(0x55)).publicKey;
const bytesOf = (value: number, length: number) => new Uint8Array(length).fill(value);

function supplyVectors(): Vector[] {
  const key = (value: number) => kemPublicKey(bytesOf(value, 32));
  const supply: Supply = {
    ...{ phone: owner.publicKey, camera: camera.publicKey, incarnation: 2 },
    ...{ batch: 3, firstIndex: 4000, firstDay: 7 },
    ...{ oneTime: [key(1), key(2)], days: [key(3)], restart: key(4) },
  };
  const { restart: _, ...bare } = supply;
  const one = { ...bare, days: [] };
  const input = {
    expectedPhone: toHex(owner.publicKey),
    expectedCamera: toHex(camera.publicKey),
    expectedIncarnation: "2",
  };
  const { bytes } = encodeSupply(one, owner);
  const list: Refusal[] = [
    { name: "phone-another", expect: "phone", edit: (b) => void b.set(other, 4) },
    { name: "camera-another", expect: "camera", edit: (b) => void b.set(other, 36) },
    { name: "incarnation-another", expect: "incarnation", edit: put(68, 0, 0, 0, 1) },
    { name: "count-of-one-time-above-limit", expect: "count", edit: put(84, 0x10, 1) },
    { name: "count-of-days-above-limit", expect: "count", edit: put(86, 4, 1) },
    { name: "count-none", expect: "count", edit: put(84, 0, 0) },
    { name: "length-one-key-more", expect: "length", edit: put(84, 0, 3) },
    { name: "length-one-key-fewer", expect: "length", edit: put(84, 0, 1) },
    { name: "length-restart-missing", expect: "length", edit: put(3, 1) },
    { name: "range-of-index", expect: "range", edit: put(76, 255, 255, 255, 255) },
    { name: "range-of-day", expect: "range", edit: put(80, 255, 255, 255, 255, 0, 2, 0, 1) },
  ];
  return [
    well("well", supplyKind, encodeSupply(supply, owner).bytes, input, supply),
    well("well-one-time-only", supplyKind, bytes, input, one),
    ...refusals(supplyKind, input, bytes, owner, list),
  ];
}

function membershipVectors(): Vector[] {
  const first = found(camera.publicKey, owner.publicKey, "Ada");
  const made = encodeMembership(first, owner);
  const second: Membership = follow({ ...first, hash: made.hash }, owner.publicKey, [
    ...first.members,
    { phone: other, role: "viewer", name: "Béla’s phone" },
  ]);
  const { bytes } = encodeMembership(second, owner);
  const withKit: Membership = follow({ ...first, hash: made.hash }, owner.publicKey, [
    ...first.members,
    { phone: other, role: "kit", name: "on paper" },
  ]);
  const kit = encodeMembership(withKit, owner);
  const input = { expectedCamera: toHex(camera.publicKey) };
  const later = { ...input, expectedParent: toHex(made.bytes) };
  // One member: 75 is its key, 107 its role, 108 the length of its name.
  const list: Refusal[] = [
    {
      name: "camera-another",
      expect: "camera",
      kind: "refused",
      edit: (b) => void b.set(other, 4),
    },
    { name: "version-not-first", expect: "version", kind: "refused", edit: put(39, 2, 1) },
    { name: "parent-of-first", expect: "parent", edit: put(40, 1) },
    { name: "parent-at-version-0", expect: "parent", edit: put(39, 0) },
    { name: "suite-demanded-2", expect: "suite", kind: "refused", edit: put(72, 2) },
    { name: "suite-demanded-0", expect: "suite", edit: put(72, 0) },
    { name: "count-above-limit", expect: "count", edit: put(73, 33) },
    { name: "role-0", expect: "role", edit: put(106, 0) },
    { name: "role-4", expect: "role", edit: put(106, 4) },
    { name: "owner-none", expect: "owner", edit: put(106, 2) },
    { name: "key-of-small-order", expect: "key", edit: put(74, ...bytesOf(0, 32)) },
    { name: "length-of-name", expect: "length", edit: put(107, 65) },
    { name: "text-not-utf8", expect: "text", edit: put(108, 0xff) },
    { name: "text-with-newline", expect: "text", edit: put(108, 10) },
    {
      name: "owner-is-not-the-signer",
      expect: "owner",
      kind: "refused",
      edit: (b) => void b.set(other, b.length - 96),
    },
  ];
  const nextList: Refusal[] = [
    { name: "next-parent-another", expect: "parent", kind: "refused", edit: put(40, 1) },
    { name: "next-version-skipped", expect: "parent", kind: "refused", edit: put(39, 3) },
    {
      name: "next-order-doubled",
      expect: "order",
      edit: (b) => void b.set(b.slice(74, 106), 108 + (b[107] ?? 0)),
    },
  ];
  const next = refusals(membershipKind, later, bytes, owner, nextList);
  return [
    well("well-first", membershipKind, made.bytes, input, first),
    well("well-next", membershipKind, bytes, later, second),
    well("well-with-kit", membershipKind, kit.bytes, later, withKit),
    ...refusals(membershipKind, input, made.bytes, owner, list),
    ...next.filter(({ name }) => name.startsWith("next-")),
  ];
}

function pairingVectors(): Record<string, Vector[]> {
  const identity: Identity = {
    ...{ camera: camera.publicKey, request: other, incarnation: 0, name: "Front door" },
    receiving: kemPublicKey(bytesOf(9, 32)),
  };
  const known = encodeIdentity(identity, camera);
  const membership = encodeMembership(found(camera.publicKey, owner.publicKey, "Ada"), owner);
  const keys = { oneTime: [kemPublicKey(bytesOf(1, 32))], days: [] };
  const about = { phone: owner.publicKey, camera: camera.publicKey, incarnation: 0 };
  const supply = { ...about, batch: 1, firstIndex: 0, firstDay: 0, ...keys };
  const doors = [{ key: other, rights: new Set(["append"] as const) }];
  const door = { root: root.publicKey, version: 1, minimumAgeMs: 0, doors };
  const adoption: Adoption = {
    ...{ camera: camera.publicKey, identity: known.hash, owner: owner.publicKey },
    ...{ membership: membership.bytes, supply: encodeSupply(supply, owner).bytes },
    ...{ mailbox: mailboxOf(root.publicKey, nodeSuite) },
    doors: encodeDoorList(door, root).bytes,
    relays: ["https://relay.example", "http://[fd00::2]:8470/cams"],
  };
  const { bytes } = encodeAdoption(adoption, owner);
  const alone = { ...adoption, relays: [] };
  const input = { expectedIdentity: toHex(known.bytes) };
  const list = 4 + 96 + 4;
  const supplyAt = list + adoption.membership.length + 4;
  const mailboxAt = supplyAt + adoption.supply.length;
  const relayAt = mailboxAt + 32 + 4 + adoption.doors.length + 1;
  const refused = { kind: "refused" } as const;
  return {
    identity: [
      well("well", identityKind, known.bytes, {}, identity),
      ...refusals(identityKind, {}, known.bytes, camera, [
        { name: "key-of-request", expect: "key", edit: put(36, ...bytesOf(0, 32)) },
        { name: "length-of-name", expect: "length", edit: put(1288, 0, 65) },
        { name: "text-not-utf8", expect: "text", edit: put(1290, 0xc0) },
        { name: "text-with-escape", expect: "text", edit: put(1290, 27) },
      ]),
    ],
    adoption: [
      well("well", adoptionKind, bytes, input, adoption),
      well("well-without-relay", adoptionKind, encodeAdoption(alone, owner).bytes, input, alone),
      ...refusals(adoptionKind, input, bytes, owner, [
        { name: "camera-another", expect: "camera", ...refused, edit: (b) => void b.set(other, 4) },
        { name: "identity-another", expect: "identity", ...refused, edit: put(36, 1, 2, 3) },
        { name: "signature-of-list", expect: "signature", edit: put(supplyAt - 5, 1) },
        { name: "signature-of-supply", expect: "signature", edit: put(mailboxAt - 1, 1) },
        { name: "incarnation-of-supply", expect: "incarnation", edit: put(supplyAt + 71, 1) },
        { name: "mailbox-another", expect: "mailbox", edit: put(mailboxAt, 1, 2) },
        { name: "length-of-list", expect: "length", edit: put(list - 4, 0, 0, 0x20, 1) },
        { name: "count-of-relays", expect: "count", edit: put(relayAt - 1, 9) },
        { name: "length-of-relay", expect: "length", edit: put(relayAt, 2, 1) },
        { name: "relay-of-another-scheme", expect: "relay", edit: put(relayAt + 2, 72) },
        { name: "relay-with-a-slash-at-its-end", expect: "relay", edit: put(relayAt + 22, 47) },
        { name: "relay-with-a-control-character", expect: "relay", edit: put(relayAt + 22, 10) },
        { name: "text-of-relay", expect: "text", edit: put(relayAt + 22, 0xff) },
        { name: "length-of-supply", expect: "length", edit: put(supplyAt - 4, 255) },
      ]),
    ],
  };
}

/** All of them, by folder. */
export async function sealedVectors(): Promise<Record<string, Vector[]>> {
  await ready();
  return {
    supply: supplyVectors(),
    membership: membershipVectors(),
    ...pairingVectors(),
    details: detailsVectors(),
    body: bodyVectors(),
    epoch: epochVectors(),
    stanza: stanzaVectors(),
    chunk: chunkVectors(),
    clip: clipVectors(),
    command: commandVectors(),
    tombstone: tombstoneVectors(),
    confirmation: confirmationVectors(),
    checkpoint: checkpointVectors(),
    offer: offerVectors(),
    answer: answerVectors(),
    grant: grantVectors(),
    seen: seenVectors(),
    link: linkVectors(),
    lens: lensVectors(),
    network: networkVectors(),
    pointer: pointerVectors(),
  };
}

if (process.argv[1]?.endsWith("scripts/vectors-sealed.js")) {
  for (const [folder, vectors] of Object.entries(await sealedVectors())) {
    await writeVectors(join("test/vectors/sealed", folder), vectors);
    console.log(`${folder}: ${vectors.length}`);
  }
}
