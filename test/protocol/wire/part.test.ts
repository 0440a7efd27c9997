import * as assert from "uvu/assert";
import { cameraSeed } from "../../../scripts/vectors-wire.ts";
import { ed25519Signer, nodeSuite } from "../../../src/base/node/crypto.ts";
import { fromHex } from "../../../src/base/pure/bytes.ts";
import { isFailure } from "../../../src/base/pure/failure.ts";
import {
  checkFollows,
  decodePart,
  encodePart,
  type PartFields,
  partBytes,
  partHeadBytes,
  payloadBytes,
  verifyPart,
} from "../../../src/protocol/wire/part.ts";
import { kinds, signObject } from "../../../src/protocol/wire/signature.ts";
import { fuzz, quickSign, quickSuite } from "../../lib/fuzz.ts";
import { suite } from "../../lib/suite.ts";
import { checkVectors } from "../../lib/vectors.ts";

const camera = ed25519Signer(cameraSeed);
const real = { sign: camera.sign, suite: nodeSuite };
const first: PartFields = {
  camera: camera.publicKey,
  incarnation: 3,
  clip: new Uint8Array(16).fill(7),
  number: 0,
  previous: new Uint8Array(32),
};

suite("part", (test) => {
  test("vectors", async () => {
    await checkVectors("wire/part", ({ header, bytes }) => {
      const { name, ...part } = verifyPart(bytes, fromHex(header.camera ?? ""), nodeSuite);
      assert.is(name.kind, "part");
      return { fields: part, again: encodePart(part, [part.payload], real).bytes };
    });
  });

  test("a part of exactly 1 MiB is made and read, a byte more is neither", () => {
    const { bytes } = encodePart(first, [new Uint8Array(payloadBytes)], real);
    assert.is(bytes.length, partBytes);
    assert.is(decodePart(bytes).payload.length, payloadBytes);
    assert.is(partHeadBytes, 96);
    const more = new Uint8Array(payloadBytes + 1);
    assert.throws(
      () => encodePart(first, [more], real),
      (e: unknown) => isFailure(e, "misuse"),
    );
    const long = new Uint8Array(partBytes + 1);
    long.set(bytes);
    assert.throws(
      () => decodePart(long),
      (e: unknown) => isFailure(e, "corrupt"),
    );
  });

  test("its pieces come out joined, whatever they were", () => {
    const pieces = [1, 0, 70, 3].map((length, i) => new Uint8Array(length).fill(i + 1));
    const { payload } = decodePart(encodePart(first, pieces, real).bytes);
    assert.is(Buffer.compare(payload, Buffer.concat(pieces)), 0);
  });

  test("only the next part of the same clip follows", () => {
    const payload = [new Uint8Array(1)];
    const zero = { ...first, ...encodePart(first, payload, real) };
    const one = { ...first, number: 1, previous: zero.hash };
    checkFollows(one, zero);
    const other = new Uint8Array(32).fill(1);
    const wrong: Partial<PartFields>[] = [
      { number: 2 },
      { previous: other },
      { clip: other.slice(16) },
      { incarnation: 4 },
      { camera: other },
    ];
    for (const change of wrong) {
      assert.throws(
        () => checkFollows({ ...one, ...change }, zero),
        (e: unknown) => isFailure(e, "corrupt") && e.stage === "chain",
      );
    }
  });

  test("fuzz", () => {
    const key = new Uint8Array(32).fill(9);
    const quick = { sign: quickSign(key), suite: quickSuite };
    const fields = { ...first, camera: key };
    const zero = encodePart(fields, [new Uint8Array(90)], quick);
    const next = { ...fields, number: 1, previous: zero.hash };
    fuzz({
      name: "part",
      seeds: [zero.bytes, encodePart(next, [new Uint8Array(500).fill(1)], quick).bytes],
      decode: (bytes) => verifyPart(bytes, key, quickSuite),
      reseal: (bytes) => {
        if (bytes.length > 64) signObject(kinds.part, bytes, quick.sign, quickSuite);
        return bytes;
      },
      reaches: [
        "taken",
        "length",
        "version",
        "suite",
        "kind",
        "flags",
        "previous",
        "camera",
        "signature",
      ],
    });
  });
});
