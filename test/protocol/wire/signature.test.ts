import { createHash, createPublicKey, verify } from "node:crypto";
import * as assert from "uvu/assert";
import { cameraSeed } from "../../../scripts/vectors-wire.ts";
import { ed25519Signer, nodeSuite } from "../../../src/base/node/crypto.ts";
import { fromHex, toHex } from "../../../src/base/pure/bytes.ts";
import { isFailure } from "../../../src/base/pure/failure.ts";
import {
  digest,
  isKey,
  kinds,
  label,
  signatureInput,
  signObject,
  verifyObject,
} from "../../../src/protocol/wire/signature.ts";
import { suite } from "../../lib/suite.ts";

const camera = ed25519Signer(cameraSeed);

suite("signature", (test) => {
  test("the digest is SHA-512 cut to 32 bytes, the same in any pieces", () => {
    const bytes = Buffer.from("abc");
    const whole = digest(nodeSuite, bytes);
    assert.is(toHex(whole), "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a");
    assert.equal(digest(nodeSuite, ...[...bytes].map((byte) => Uint8Array.of(byte))), whole);
  });

  test("no two kinds share a word, a number or a beginning of their signature input", () => {
    const all = Object.values(kinds);
    assert.is(new Set(all.map(({ word }) => word)).size, all.length);
    assert.is(new Set(all.map(({ number }) => number)).size, all.length);
    assert.is(Buffer.from(label("part")).toString("latin1"), "\u000eobscura/1/part");
  });

  test("an object's signature and hash are what the specification says, by other means", () => {
    const bytes = new Uint8Array(200).fill(7);
    const hash = signObject(kinds.part, bytes, camera.sign, nodeSuite);
    const sha = (data: Uint8Array) => createHash("sha512").update(data).digest().subarray(0, 32);
    const input = Buffer.concat([
      Buffer.from("\u000eobscura/1/part\u0001"),
      sha(bytes.subarray(0, 136)),
    ]);
    assert.is(Buffer.compare(signatureInput(kinds.part, sha(bytes.subarray(0, 136))), input), 0);
    const x = Buffer.from(camera.publicKey).toString("base64url");
    const key = createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
    assert.is(verify(null, input, key, bytes.subarray(136)), true);
    assert.is(Buffer.compare(hash, sha(bytes)), 0);
    assert.equal(verifyObject(kinds.part, bytes, camera.publicKey, nodeSuite), hash);
  });

  test("every bit of an object counts", () => {
    const bytes = new Uint8Array(80).fill(7);
    signObject(kinds.entry, bytes, camera.sign, nodeSuite);
    for (let bit = 0; bit < 8 * bytes.length; bit++) {
      const changed = new Uint8Array(bytes);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      assert.throws(
        () => verifyObject(kinds.entry, changed, camera.publicKey, nodeSuite),
        (e: unknown) => isFailure(e, "corrupt") && e.stage === "signature",
      );
    }
  });

  test("a key of small order is refused, although OpenSSL takes a signature that fits anything", () => {
    const key = fromHex(`01${"00".repeat(31)}`);
    // R is the neutral element and S is 0: [S]B = R + [k]A holds for every k when A is neutral too.
    const signature = Buffer.concat([key, new Uint8Array(32)]);
    assert.is(nodeSuite.verify(key, Buffer.from("anything"), signature), true);
    assert.is(isKey(key), false);
    const bytes = Buffer.concat([new Uint8Array(20), signature]);
    assert.throws(
      () => verifyObject(kinds.part, bytes, key, nodeSuite),
      (e: unknown) => isFailure(e, "corrupt") && e.stage === "key",
    );
  });

  test("the order-8 points are refused in both signs, honest keys are not", () => {
    const point = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc";
    assert.is(isKey(fromHex(`${point}05`)), false);
    assert.is(isKey(fromHex(`${point}85`)), false);
    assert.is(isKey(camera.publicKey), true);
    assert.is(isKey(camera.publicKey.subarray(1)), false);
  });

  test("what is no key or no signature is false, not an exception", () => {
    const message = new Uint8Array(3);
    assert.is(nodeSuite.verify(new Uint8Array(31), message, new Uint8Array(64)), false);
    assert.is(nodeSuite.verify(new Uint8Array(32).fill(255), message, new Uint8Array(64)), false);
    assert.is(nodeSuite.verify(camera.publicKey, message, new Uint8Array(63)), false);
  });
});
