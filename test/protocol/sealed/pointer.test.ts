import { createECDH } from "node:crypto";
import * as assert from "uvu/assert";
import { nodeSuite } from "../../../src/base/node/crypto.ts";
import { isFailure } from "../../../src/base/pure/failure.ts";
import { decodeAction, encodeAction } from "../../../src/protocol/sealed/action.ts";
import {
  type Come,
  noticeBytes,
  openPlain,
  openPointer,
  type Pointer,
  pointerKind,
  pointerWhats,
  sealPlain,
  sealPointer,
  take,
} from "../../../src/protocol/sealed/pointer.ts";
import { kemPair, random, ready, sign, signPair } from "../../../src/protocol/sealed/sodium.ts";
import { isPoint } from "../../../src/protocol/sealed/subscription.ts";
import { signObject } from "../../../src/protocol/wire/signature.ts";
import { fuzz } from "../../lib/fuzz.ts";
import { suite } from "../../lib/suite.ts";

await ready();

function signer() {
  const { publicKey, secret } = signPair();
  const by = { sign: (message: Uint8Array) => sign(secret, message), suite: nodeSuite };
  return { ...by, key: publicKey };
}

const camera = signer();
const phone = signer();
const pair = kemPair();
const holder = { camera: camera.key, phone: phone.key, subscription: random(16), pair };
const pointer: Pointer = {
  ...{ camera: camera.key, phone: phone.key, subscription: holder.subscription },
  ...{ incarnation: 1, number: 1, wallMs: 1_700_000_000_000, clockTrusted: true },
  ...{ what: "visit", clip: random(16), picture: 0, persons: 1, name: "Porch" },
};

suite("pointer", (test) => {
  test("whatever it says, it is as long as any other, and arrives as it was sent", () => {
    const names = ["", "a", "Haustür", "ü".repeat(96), "x".repeat(500), "two\nlines"];
    const lengths = new Set<number>();
    for (const what of pointerWhats) {
      for (const name of names) {
        for (const clip of [undefined, random(16)]) {
          const bytes = sealPointer({ ...pointer, what, name, clip }, pair.publicKey, camera);
          lengths.add(bytes.length);
          const opened = openPointer(bytes, [holder], nodeSuite)?.pointer;
          assert.is(opened?.what, what);
          assert.equal(opened?.clip, clip);
          assert.ok(name.replace("\n", " ").startsWith(opened?.name ?? "?"));
          assert.ok((opened?.name.length ?? 0) >= Math.min(name.length, 96));
        }
      }
    }
    assert.equal([...lengths], [noticeBytes]);
    assert.is(noticeBytes, 1924);
  });

  test("sealed by somebody else, or passed on to somebody else, it is refused", () => {
    const bytes = sealPointer(pointer, pair.publicKey, camera);
    const other = { ...holder, pair: kemPair() };
    assert.is(openPointer(bytes, [other], nodeSuite), null);
    assert.is(openPointer(bytes, [other, holder], nodeSuite)?.holder, holder);
    const stage = (act: () => unknown) => {
      try {
        act();
      } catch (error) {
        if (isFailure(error)) return error.stage;
      }
      return "taken";
    };
    // Who holds one subscription's key seals what it got to another's.
    const plain = openPlain(bytes, pair, nodeSuite) ?? new Uint8Array();
    const passed = sealPlain(plain.slice(), other.pair.publicKey, nodeSuite);
    const theirs = { ...other, phone: signer().key };
    assert.is(
      stage(() => openPointer(passed, [theirs], nodeSuite)),
      "phone",
    );
    const again = { ...other, subscription: random(16) };
    assert.is(
      stage(() => openPointer(passed, [again], nodeSuite)),
      "subscription",
    );
    const forged = sealPointer(pointer, pair.publicKey, signer());
    assert.is(
      stage(() => openPointer(forged, [holder], nodeSuite)),
      "signature",
    );
  });

  test("what came before is again, whatever the order; what is missing is counted", () => {
    let come: Come | undefined;
    const of = (number: number, incarnation = 1) => {
      const taken = take(come, { incarnation, number });
      come = taken.come;
      return [taken.isAgain, taken.missing];
    };
    assert.equal(of(10), [false, 0]);
    assert.equal(of(10), [true, 0]);
    assert.equal(of(13), [false, 2]);
    assert.equal(of(11), [false, 1]);
    assert.equal(of(11), [true, 1]);
    assert.equal(of(13), [true, 1]);
    assert.equal(of(12), [false, 0]);
    assert.equal(of(9), [false, 0]);
    assert.equal(of(1000), [false, 0]);
    assert.equal(of(13)[0], true);
    assert.equal(of(1000 - 64), [false, 63]);
    assert.equal(of(1000 - 65)[0], true);
    // Another life of the camera counts anew, and there is no way back.
    assert.equal(of(3, 2), [false, 0]);
    assert.equal(of(1001, 1)[0], true);
    assert.equal(of(3, 2), [true, 0]);
    for (let number = 4; number < 500; number++) assert.equal(of(number, 2), [false, 0]);
    assert.ok((come?.below.length ?? 0) <= 64);
  });

  test("what is a point of P-256 is what node:crypto says", () => {
    for (let i = 0; i < 50; i++) {
      const curve = createECDH("prime256v1");
      const key = new Uint8Array(curve.generateKeys());
      assert.ok(isPoint(key));
      for (const at of [1, 20, 40, 64]) {
        const off = key.with(at, (key[at] ?? 0) ^ 1);
        let isTaken = true;
        try {
          curve.computeSecret(off);
        } catch {
          isTaken = false;
        }
        assert.is(isPoint(off), isTaken);
      }
    }
    const zero = new Uint8Array(65);
    assert.not.ok(isPoint(zero));
    assert.not.ok(isPoint(zero.with(0, 4)));
    assert.not.ok(isPoint(new Uint8Array(65).fill(255).with(0, 4)));
    assert.not.ok(isPoint(new Uint8Array(33).fill(2)));
    assert.not.ok(isPoint(new Uint8Array()));
    // As a command it is refused too.
    const curve = createECDH("prime256v1");
    const p256dh = new Uint8Array(curve.generateKeys());
    const subscription = {
      ...{ id: random(16), key: pair.publicKey, p256dh, auth: random(16) },
      endpoint: "https://push.example/a",
    };
    const { kind, bytes } = encodeAction({ kind: "subscribe", replaces: 0, subscription });
    assert.is(decodeAction(kind, bytes).kind, "subscribe");
    const at = 4 + 16 + 1216 + 30;
    const off = bytes.with(at, (bytes[at] ?? 0) ^ 1);
    assert.throws(
      () => decodeAction(kind, off),
      (error: unknown) => isFailure(error) && error.stage === "point",
    );
  });

  test(
    "fuzz: inside and outside",
    () => {
      const seed = sealPointer(pointer, pair.publicKey, camera);
      const plain = openPlain(seed, pair, nodeSuite) ?? new Uint8Array();
      fuzz({
        name: "pointer",
        count: 20_000,
        seeds: [seed, plain],
        decode: (bytes) => openPointer(bytes, [holder], nodeSuite),
        reseal: (bytes) => {
          const inner = new Uint8Array(768);
          inner.set(bytes.subarray(0, 768));
          if (bytes.length >= noticeBytes) return bytes;
          signObject(pointerKind, inner, camera.sign, nodeSuite);
          return sealPlain(inner, pair.publicKey, nodeSuite);
        },
        reaches: ["taken", "length", "version", "kind", "camera", "padding", "what"],
      });
    },
    { deadlineMs: 300_000 },
  );
});
