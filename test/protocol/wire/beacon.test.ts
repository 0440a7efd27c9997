import * as assert from "uvu/assert";
import { cameraSeed } from "../../../scripts/vectors-wire.ts";
import { ed25519Signer, nodeSuite } from "../../../src/base/node/crypto.ts";
import { fromHex } from "../../../src/base/pure/bytes.ts";
import {
  type Beacon,
  beaconBytes,
  encodeBeacon,
  replacesBeacon,
  verifyBeacon,
} from "../../../src/protocol/wire/beacon.ts";
import { digest, kinds, signObject } from "../../../src/protocol/wire/signature.ts";
import { fuzz, quickSign, quickSuite } from "../../lib/fuzz.ts";
import { suite } from "../../lib/suite.ts";
import { checkVectors } from "../../lib/vectors.ts";

const camera = ed25519Signer(cameraSeed);
const beacon: Beacon = {
  ...{ camera: camera.publicKey, version: 5, incarnation: 2, uptimeMs: 1, wallMs: 2 },
  ...{ head: { sequence: 1, hash: new Uint8Array(32).fill(3) }, trusted: true },
};

suite("beacon", (test) => {
  test("vectors", async () => {
    await checkVectors("wire/beacon", ({ header, bytes }) => {
      const fields = verifyBeacon(bytes, fromHex(header.camera ?? ""), nodeSuite);
      assert.is(bytes.length, beaconBytes);
      const again = encodeBeacon(fields, { sign: camera.sign, suite: nodeSuite });
      return { fields: { ...fields, hash: digest(nodeSuite, bytes) }, again: again.bytes };
    });
  });

  test("only a later one takes the place of another", () => {
    assert.is(replacesBeacon({ ...beacon, version: 6 }, beacon), true);
    assert.is(replacesBeacon(beacon, beacon), false);
    assert.is(replacesBeacon({ ...beacon, version: 4 }, beacon), false);
    assert.is(replacesBeacon({ ...beacon, incarnation: 3, version: 0 }, beacon), true);
    assert.is(replacesBeacon({ ...beacon, incarnation: 1, version: 9 }, beacon), false);
  });

  test("fuzz", () => {
    const key = new Uint8Array(32).fill(9);
    const quick = { sign: quickSign(key), suite: quickSuite };
    const mine = { ...beacon, camera: key };
    fuzz({
      name: "beacon",
      seeds: [
        encodeBeacon(mine, quick).bytes,
        encodeBeacon({ ...mine, trusted: false }, quick).bytes,
      ],
      decode: (bytes) => verifyBeacon(bytes, key, quickSuite),
      reseal: (bytes) => {
        if (bytes.length > 64) signObject(kinds.beacon, bytes, quick.sign, quickSuite);
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
        "trusted",
        "camera",
        "signature",
      ],
    });
  });
});
