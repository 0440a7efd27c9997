import * as assert from "uvu/assert";
import { cameraSeed } from "../../../scripts/vectors-wire.ts";
import { ed25519Signer, nodeSuite } from "../../../src/base/node/crypto.ts";
import { fromHex } from "../../../src/base/pure/bytes.ts";
import { isFailure } from "../../../src/base/pure/failure.ts";
import {
  bodyBytes,
  checkLink,
  decodeEntry,
  type EntryFields,
  encodeEntry,
  stanzasBytes,
  verifyEntry,
} from "../../../src/protocol/wire/entry.ts";
import { digest, kinds, signObject } from "../../../src/protocol/wire/signature.ts";
import { fuzz, quickSign, quickSuite } from "../../lib/fuzz.ts";
import { suite } from "../../lib/suite.ts";
import { checkVectors } from "../../lib/vectors.ts";

const camera = ed25519Signer(cameraSeed);
const real = { sign: camera.sign, suite: nodeSuite };
const first: EntryFields = {
  ...{ camera: camera.publicKey, incarnation: 1, sequence: 0, previous: new Uint8Array(32) },
  ...{ membership: 1, epoch: 1, uptimeMs: 1, critical: false, body: new Uint8Array(40) },
};

suite("entry", (test) => {
  test("vectors", async () => {
    await checkVectors("wire/entry", ({ header, bytes }) => {
      const { name, ...entry } = verifyEntry(bytes, fromHex(header.camera ?? ""), nodeSuite);
      assert.is(name.kind, "entry");
      return { fields: entry, again: encodeEntry(entry, real).bytes };
    });
  });

  test("the longest body and stanzas go through, a byte more does not", () => {
    const longest = { body: new Uint8Array(bodyBytes), stanzas: new Uint8Array(stanzasBytes) };
    const { bytes } = encodeEntry({ ...first, ...longest }, real);
    assert.is(decodeEntry(bytes, nodeSuite).stanzas?.length, stanzasBytes);
    for (const field of ["body", "stanzas"] as const) {
      const more = { ...first, ...longest, [field]: new Uint8Array(longest[field].length + 1) };
      assert.throws(
        () => encodeEntry(more, real),
        (e: unknown) => isFailure(e, "corrupt"),
      );
    }
  });

  test("only a child of the entry before links to it, in its incarnation or a later one", () => {
    const zero = { ...first, ...encodeEntry(first, real) };
    const one = { ...first, sequence: 1, previous: zero.hash };
    checkLink(one, zero);
    checkLink({ ...one, incarnation: 2 }, zero);
    const other = new Uint8Array(32).fill(1);
    for (const change of [
      { sequence: 2 },
      { previous: other },
      { incarnation: 0 },
      { camera: other },
    ]) {
      assert.throws(
        () => checkLink({ ...one, ...change }, zero),
        (e: unknown) => isFailure(e, "corrupt") && e.stage === "chain",
      );
    }
  });

  test("fuzz", () => {
    const key = new Uint8Array(32).fill(9);
    const quick = { sign: quickSign(key), suite: quickSuite };
    const fields = { ...first, camera: key };
    const next = { ...fields, sequence: 1, previous: key, critical: true };
    fuzz({
      name: "entry",
      seeds: [
        encodeEntry(fields, quick).bytes,
        encodeEntry({ ...next, stanzas: new Uint8Array(60) }, quick).bytes,
      ],
      decode: (bytes) => verifyEntry(bytes, key, quickSuite),
      reseal: (bytes) => {
        // With every second body's hash set right, later checks are met too.
        if (bytes.length > 196 && bytes[3] === 0 && bytes.length % 2 === 0) {
          bytes.set(digest(quickSuite, bytes.subarray(132, bytes.length - 64)), 96);
        }
        if (bytes.length > 64) signObject(kinds.entry, bytes, quick.sign, quickSuite);
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
        "previous",
        "body",
        "camera",
        "signature",
      ],
    });
  });
});
