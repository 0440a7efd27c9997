import * as assert from "uvu/assert";
import { isFailure } from "../../../src/base/pure/failure.ts";
import { kemPair, ready } from "../../../src/protocol/sealed/sodium.ts";
import {
  checkSupplyRises,
  decodeSupply,
  encodeSupply,
  firstSupply,
  longestSupplyBytes,
  type Supply,
  supplyKind,
  verifySupply,
} from "../../../src/protocol/sealed/supply.ts";
import { signObject } from "../../../src/protocol/wire/signature.ts";
import { fuzz, quickSign, quickSuite } from "../../lib/fuzz.ts";
import { nodeSuite, pattern, signer } from "../../lib/sealed.ts";
import { suite } from "../../lib/suite.ts";

await ready();

const phone = signer();
const camera = signer().key;

function supply(oneTime: number, days: number, restart = true): Supply {
  const key = () => kemPair().publicKey;
  return {
    ...{ phone: phone.key, camera, incarnation: 2, batch: 1, firstIndex: 10, firstDay: 3 },
    oneTime: Array.from({ length: oneTime }, key),
    days: Array.from({ length: days }, key),
    ...(restart ? { restart: key() } : {}),
  };
}

const expected = { phone: phone.key, camera, incarnation: 2 };

suite("supply", (test) => {
  test("what is written is what is read, with and without each sort of key", () => {
    for (const whole of [supply(3, 2), supply(0, 0), supply(1, 0, false), supply(0, 1, false)]) {
      const { bytes } = encodeSupply(whole, phone);
      const read = verifySupply(bytes, expected, nodeSuite);
      assert.equal(JSON.stringify(read), JSON.stringify(whole));
    }
  });

  test("the supply of a pairing: its size, and how long its keys take", () => {
    const startMs = performance.now();
    const whole = supply(firstSupply.oneTime, firstSupply.days);
    const { bytes } = encodeSupply(whole, phone);
    const ms = performance.now() - startMs;
    assert.ok(bytes.length <= longestSupplyBytes);
    assert.is(verifySupply(bytes, expected, nodeSuite).oneTime.length, firstSupply.oneTime);
    console.log(`measured: supply of ${bytes.length} bytes made in ${ms.toFixed(0)} ms`);
  });

  test("another phone's, another camera's, another life's and unsigned ones are refused", () => {
    const { bytes } = encodeSupply(supply(1, 1), phone);
    const other = signer().key;
    const refused = (stage: string, change: object, input = bytes) =>
      assert.throws(
        () => verifySupply(input, { ...expected, ...change }, nodeSuite),
        (error: unknown) => isFailure(error, "corrupt") && error.stage === stage,
        stage,
      );
    refused("phone", { phone: other });
    refused("camera", { camera: other });
    refused("incarnation", { incarnation: 1 });
    const flipped = Uint8Array.from(bytes);
    flipped[500] = (flipped[500] ?? 0) ^ 1;
    refused("signature", {}, flipped);
  });

  test("empty supplies, indexes that run over and counts beyond the bytes are refused", () => {
    assert.throws(() => encodeSupply({ ...supply(1, 0, false), oneTime: [] }, phone), is("count"));
    const over = { ...supply(2, 0, false), firstIndex: 0xffff_ffff };
    assert.throws(() => encodeSupply(over, phone), is("range"));
    const { bytes } = encodeSupply(supply(2, 2), phone);
    for (const at of [84, 85, 86, 87]) {
      const changed = Uint8Array.from(bytes);
      changed[at] = (changed[at] ?? 0) + 1;
      assert.throws(
        () => decodeSupply(changed),
        (e: unknown) => isFailure(e, "corrupt"),
      );
    }
  });

  test("batches and indexes only rise", () => {
    const next = { ...supply(0, 0), batch: 2, firstIndex: 100 };
    checkSupplyRises(next, { batch: 1, nextIndex: 100 });
    checkSupplyRises(next, { batch: 1, nextIndex: 50 });
    assert.throws(() => checkSupplyRises(next, { batch: 2, nextIndex: 100 }), is("index"));
    assert.throws(() => checkSupplyRises(next, { batch: 1, nextIndex: 101 }), is("index"));
  });

  test("fuzz", () => {
    const key = pattern(32);
    const quick = { sign: quickSign(key), suite: quickSuite };
    const seed = { ...supply(1, 1), phone: key };
    const { restart: _, ...bare } = seed;
    fuzz({
      name: "supply",
      seeds: [encodeSupply(seed, quick).bytes, encodeSupply({ ...bare, days: [] }, quick).bytes],
      decode: (bytes) => verifySupply(bytes, { ...expected, phone: key }, quickSuite),
      reseal: (bytes) => {
        if (bytes.length > 64) signObject(supplyKind, bytes, quick.sign, quickSuite);
        return bytes;
      },
      reaches: [
        ...["taken", "length", "version", "suite", "kind", "flags", "count", "range"],
        ...["phone", "camera", "incarnation", "signature"],
      ],
    });
  });
});

function is(stage: string): (error: unknown) => boolean {
  return (error) => isFailure(error) && error.stage === stage;
}
