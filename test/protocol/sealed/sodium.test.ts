import { createHash, createPrivateKey, createPublicKey, sign as nodeSign } from "node:crypto";
import { xchacha20poly1305 } from "@noble/ciphers/chacha.js";
import { blake2b } from "@noble/hashes/blake2.js";
import { ml_kem768_x25519 as xwing } from "@noble/post-quantum/hybrid.js";
import { ml_kem768 } from "@noble/post-quantum/ml-kem.js";
import sodium from "libsodium-wrappers";
import * as assert from "uvu/assert";
import { isFailure } from "../../../src/base/pure/failure.ts";
import {
  decapsulate,
  decrypt,
  derive,
  encapsulate,
  encrypt,
  fingerprint,
  kemPair,
  kemPublicKey,
  longestBytes,
  random,
  ready,
  same,
  sign,
  signPair,
  signPublicKey,
  sizes,
  verify,
  wipe,
} from "../../../src/protocol/sealed/sodium.ts";
import { fixedRandom, pattern } from "../../lib/sealed.ts";
import { suite } from "../../lib/suite.ts";

await ready();

const oracles = 20;

suite("sodium", (test) => {
  test("X-Wing against noble: ours opens what theirs made, and the other way", () => {
    for (let i = 0; i < oracles; i++) {
      const mine = kemPair();
      const theirs = xwing.keygen(mine.secret);
      assert.equal(hex(theirs.publicKey), hex(mine.publicKey));
      const sent = xwing.encapsulate(mine.publicKey);
      assert.equal(hex(decapsulate(sent.cipherText, mine.secret)), hex(sent.sharedSecret));
      const back = encapsulate(theirs.publicKey);
      assert.equal(hex(xwing.decapsulate(back.ciphertext, theirs.secretKey)), hex(back.shared));
      // A forged ciphertext is refused by neither; both must come to the same other secret.
      const forged = Uint8Array.from(back.ciphertext);
      forged[i * 50] = (forged[i * 50] ?? 0) ^ 1;
      const wrong = decapsulate(forged, mine.secret);
      assert.equal(hex(wrong), hex(xwing.decapsulate(forged, theirs.secretKey)));
      assert.not.equal(hex(wrong), hex(back.shared));
    }
  });

  test("ML-KEM-768 inside it against noble, both ways", () => {
    for (let i = 0; i < oracles; i++) {
      const seed = random(64);
      const mine = sodium.crypto_kem_mlkem768_seed_keypair(seed);
      const theirs = ml_kem768.keygen(seed);
      assert.equal(hex(mine.publicKey), hex(theirs.publicKey));
      const sent = ml_kem768.encapsulate(mine.publicKey);
      assert.equal(
        hex(sodium.crypto_kem_mlkem768_dec(sent.cipherText, mine.privateKey)),
        hex(sent.sharedSecret),
      );
      const back = sodium.crypto_kem_mlkem768_enc(theirs.publicKey);
      assert.equal(
        hex(ml_kem768.decapsulate(back.ciphertext, theirs.secretKey)),
        hex(back.sharedSecret),
      );
    }
  });

  test("keys that are none are refused before and by the library", () => {
    for (const length of [0, 1, 1215, 1217]) {
      assert.throws(() => encapsulate(new Uint8Array(length)), stage("length"));
    }
    assert.throws(() => encapsulate(new Uint8Array(1216).fill(255)), stage("kem"));
    assert.throws(() => decapsulate(new Uint8Array(1119), kemPair().secret), stage("length"));
    assert.throws(() => kemPublicKey(new Uint8Array(31)), stage("length"));
  });

  test("XChaCha20-Poly1305 against noble, both ways, and every flipped bit is refused", () => {
    for (const length of [0, 1, 15, 16, 17, 64, 1000]) {
      const [key, nonce, additional] = [random(32), random(24), pattern(length, 7)];
      const plain = pattern(length);
      const sealed = encrypt(key, nonce, plain, additional);
      const theirs = xchacha20poly1305(key, nonce, additional);
      assert.equal(hex(theirs.encrypt(plain)), hex(sealed));
      assert.equal(hex(decrypt(key, nonce, sealed, additional)), hex(plain));
      for (let bit = 0; bit < sealed.length * 8; bit += length > 100 ? 97 : 1) {
        const flipped = Uint8Array.from(sealed);
        flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        assert.is(decrypt(key, nonce, flipped, additional), null);
      }
    }
    assert.is(decrypt(random(32), random(24), new Uint8Array(15), new Uint8Array()), null);
  });

  test("derive is keyed BLAKE2b-256 over length-prefixed label and inputs", () => {
    const secret = random(32);
    const [a, b] = [pattern(5), pattern(700)];
    const message = Buffer.concat([
      Buffer.from([4]),
      Buffer.from("name"),
      Buffer.from([0, 0, 0, 5]),
      a,
      Buffer.from([0, 0, 2, 188]),
      b,
    ]);
    const expected = blake2b(message, { key: secret, dkLen: 32 });
    assert.equal(hex(derive(secret, "name", a, b)), hex(expected));
    assert.equal(hex(fingerprint("name", a, b)), hex(blake2b(message, { dkLen: 32 })));
    const none = new Uint8Array();
    const all = [
      derive(secret, "name"),
      derive(secret, "name", none),
      derive(secret, "name", none, none),
      derive(secret, "nam", Buffer.from("e")),
      derive(secret, "name", a.subarray(0, 2), a.subarray(2)),
      derive(secret, "name", a),
    ];
    assert.is(new Set(all.map(hex)).size, all.length);
    assert.throws(() => derive(new Uint8Array(15), "name"));
    assert.throws(() => derive(new Uint8Array(65), "name"));
  });

  test("Ed25519 against node:crypto, both ways", () => {
    const { publicKey, secret } = signPair();
    assert.equal(hex(signPublicKey(secret)), hex(publicKey));
    const pkcs8 = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), secret]);
    const key = createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" });
    const message = pattern(100);
    const theirs = nodeSign(null, message, key);
    assert.equal(hex(sign(secret, message)), hex(theirs));
    const spki = createPublicKey(key).export({ format: "der", type: "spki" });
    assert.equal(hex(spki.subarray(-32)), hex(publicKey));
    assert.ok(verify(publicKey, message, theirs));
    assert.not.ok(verify(publicKey, pattern(100, 3), theirs));
    assert.not.ok(verify(publicKey, message, theirs.subarray(1)));
    assert.not.ok(verify(publicKey.subarray(1), message, theirs));
    assert.not.ok(verify(new Uint8Array(32), message, theirs));
  });

  test("comparison and wiping", () => {
    const secret = random(32);
    assert.ok(same(secret, Uint8Array.from(secret)));
    assert.not.ok(same(secret, random(32)));
    assert.not.ok(same(secret, secret.subarray(1)));
    wipe(secret);
    assert.equal(hex(secret), "00".repeat(32));
  });

  test("the wasm heap does not grow with the count of calls, and a call is bounded", () => {
    const heap = () => (sodium as unknown as Library).libsodium.HEAPU8.length;
    const [key, nonce, none] = [random(32), random(24), new Uint8Array()];
    const plain = pattern(longestBytes);
    const run = () => decrypt(key, nonce, encrypt(key, nonce, plain, none), none);
    run();
    const before = heap();
    for (let i = 0; i < 100; i++) run();
    for (let i = 0; i < 100; i++) decapsulate(encapsulate(kemPair().publicKey).ciphertext, key);
    assert.is(heap(), before);
    assert.throws(() => encrypt(key, nonce, new Uint8Array(longestBytes + 1), none));
    assert.is(decrypt(key, nonce, new Uint8Array(longestBytes + sizes.tag + 1), none), null);
  });

  test("chosen randomness reaches every draw, and ends with the test that asked for it", () => {
    const draw = () => {
      const { publicKey, secret } = kemPair();
      const { ciphertext } = encapsulate(publicKey);
      return createHash("sha256").update(secret).update(ciphertext).update(random(9)).digest("hex");
    };
    const fixed = () => {
      using _ = fixedRandom("one");
      return draw();
    };
    assert.is(fixed(), fixed());
    assert.is.not(draw(), draw());
  });
});

type Library = { libsodium: { HEAPU8: Uint8Array } };

function hex(bytes: Uint8Array | null): string {
  return Buffer.from(bytes ?? []).toString("hex");
}

function stage(name: string): (error: unknown) => boolean {
  return (error) => isFailure(error) && error.stage === name;
}
