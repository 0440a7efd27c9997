import * as assert from "uvu/assert";
import { rootSeed } from "../../../scripts/vectors-wire.ts";
import { ed25519Signer, nodeSuite } from "../../../src/base/node/crypto.ts";
import { fromHex } from "../../../src/base/pure/bytes.ts";
import { isFailure } from "../../../src/base/pure/failure.ts";
import {
  type Door,
  type DoorList,
  doorsMost,
  encodeDoorList,
  findDoor,
  replacesDoorList,
  verifyDoorList,
} from "../../../src/protocol/wire/door.ts";
import { mailboxOf } from "../../../src/protocol/wire/name.ts";
import { digest, kinds, signObject } from "../../../src/protocol/wire/signature.ts";
import { fuzz, quickSign, quickSuite } from "../../lib/fuzz.ts";
import { suite } from "../../lib/suite.ts";
import { checkVectors } from "../../lib/vectors.ts";

const root = ed25519Signer(rootSeed);
const real = { sign: root.sign, suite: nodeSuite };
const keyOf = (n: number) => {
  const key = new Uint8Array(32).fill(5);
  new DataView(key.buffer).setUint16(0, n);
  return key;
};
const share = { clip: new Uint8Array(16).fill(1), untilMs: 1000 };
const doors: Door[] = [
  { key: keyOf(1), rights: new Set(["append"]) },
  { key: keyOf(2), rights: new Set(["read", "box"]) },
  { key: keyOf(3), share },
];
const list: DoorList = { root: root.publicKey, version: 2, minimumAgeMs: 60_000, doors };

suite("door", (test) => {
  test("vectors", async () => {
    await checkVectors("wire/door", ({ header, bytes }) => {
      const fields = verifyDoorList(bytes, fromHex(header.mailbox ?? ""), nodeSuite);
      const again = encodeDoorList(fields, real);
      return { fields: { ...fields, hash: digest(nodeSuite, bytes) }, again: again.bytes };
    });
  });

  test("every set of rights comes out as it went in", () => {
    const all = ["append", "read", "box", "delete"] as const;
    const many = Array.from({ length: 15 }, (_, i) => ({
      key: keyOf(i),
      rights: new Set(all.filter((_, bit) => (i + 1) & (1 << bit))),
    }));
    const { bytes } = encodeDoorList({ ...list, doors: many }, real);
    assert.equal(
      verifyDoorList(bytes, mailboxOf(root.publicKey, nodeSuite), nodeSuite).doors,
      many,
    );
  });

  test("a full list is read, one key more is refused", () => {
    const many = (count: number): Door[] =>
      Array.from({ length: count }, (_, i) => ({ key: keyOf(i), rights: new Set(["read"]) }));
    encodeDoorList({ ...list, doors: many(doorsMost) }, real);
    assert.throws(
      () => encodeDoorList({ ...list, doors: many(doorsMost + 1) }, real),
      (e: unknown) => isFailure(e, "corrupt") && e.stage === "length",
    );
  });

  test("a share opens until its date, other keys without end, strangers nothing", () => {
    assert.equal(findDoor(list, keyOf(3), 999), doors[2]);
    assert.is(findDoor(list, keyOf(3), 1000), undefined);
    assert.equal(findDoor(list, keyOf(1), 1e15), doors[0]);
    assert.is(findDoor(list, keyOf(4), 0), undefined);
  });

  test("versions only rise", () => {
    assert.is(replacesDoorList({ ...list, version: 3 }, list), true);
    assert.is(replacesDoorList(list, list), false);
    assert.is(replacesDoorList({ ...list, version: 1 }, list), false);
  });

  test("fuzz", () => {
    const key = new Uint8Array(32).fill(9);
    const quick = { sign: quickSign(key), suite: quickSuite };
    const mine = { ...list, root: key };
    fuzz({
      name: "door",
      seeds: [
        encodeDoorList(mine, quick).bytes,
        encodeDoorList({ ...mine, doors: doors.slice(1) }, quick).bytes,
      ],
      decode: (bytes) => verifyDoorList(bytes, mailboxOf(key, quickSuite), quickSuite),
      reseal: (bytes) => {
        if (bytes.length > 64) signObject(kinds.door, bytes, quick.sign, quickSuite);
        return bytes;
      },
      reaches: [
        "taken",
        "length",
        "version",
        "suite",
        "kind",
        "flags",
        "range",
        "order",
        "rights",
        "mailbox",
        "signature",
      ],
    });
  });
});
