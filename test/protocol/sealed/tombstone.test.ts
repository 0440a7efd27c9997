import * as assert from "uvu/assert";
import { isFailure } from "../../../src/base/pure/failure.ts";
import {
  checkpointKind,
  encodeCheckpoint,
  verifyCheckpoint,
} from "../../../src/protocol/sealed/checkpoint.ts";
import { ready } from "../../../src/protocol/sealed/sodium.ts";
import {
  confirmationBytes,
  confirmationKind,
  encodeConfirmation,
  encodeTombstone,
  mostConfirmed,
  tombstoneBytes,
  tombstoneKind,
  verifyConfirmation,
  verifyTombstone,
} from "../../../src/protocol/sealed/tombstone.ts";
import { type Kind, signObject } from "../../../src/protocol/wire/signature.ts";
import { fuzz, quickSign, quickSuite } from "../../lib/fuzz.ts";
import { nodeSuite, pattern, signer } from "../../lib/sealed.ts";
import { suite } from "../../lib/suite.ts";

await ready();

const owner = signer();
const camera = signer().key;
const clip = pattern(16, 3);
const tombstone = { camera, clip, phone: owner.key, atMs: 7, keyIds: [pattern(16, 5)] };

function refused(stage: string, act: () => unknown): void {
  assert.throws(act, (error: unknown) => isFailure(error) && error.stage === stage, stage);
}

const clips = (count: number) =>
  Array.from({ length: count }, (_, i) => ({
    clip: Uint8Array.of(i >> 8, i & 255, ...pattern(14)),
    tombstone: pattern(32, i + 1),
  }));

suite("tombstone", (test) => {
  test("arrives as it was signed, with the most keys and with none", () => {
    for (const count of [0, 1, 64]) {
      const keyIds = Array.from({ length: count }, (_, i) => pattern(16, i + 1));
      const { bytes, hash } = encodeTombstone({ ...tombstone, keyIds }, owner);
      assert.ok(bytes.length <= tombstoneBytes);
      const read = verifyTombstone(bytes, camera, nodeSuite);
      assert.equal(read, { ...tombstone, keyIds, hash });
    }
    const most = Array.from({ length: 65 }, () => pattern(16));
    refused("count", () => encodeTombstone({ ...tombstone, keyIds: most }, owner));
  });

  test("of another camera, by another key", () => {
    const { bytes } = encodeTombstone(tombstone, owner);
    refused("camera", () => verifyTombstone(bytes, owner.key, nodeSuite));
    const forged = encodeTombstone(tombstone, signer()).bytes;
    refused("signature", () => verifyTombstone(forged, camera, nodeSuite));
    const anybody = encodeTombstone({ ...tombstone, phone: new Uint8Array(32) }, owner).bytes;
    refused("key", () => verifyTombstone(anybody, camera, nodeSuite));
  });

  test("a confirmation names up to 128 clips, each once", () => {
    const about = { camera, phone: owner.key, atMs: 9 };
    const make = (done: ReturnType<typeof clips>) => encodeConfirmation({ ...about, done }, owner);
    const { bytes, hash } = make(clips(mostConfirmed));
    assert.is(bytes.length, confirmationBytes);
    const read = verifyConfirmation(bytes, camera, nodeSuite);
    assert.equal(read, { ...about, done: clips(mostConfirmed), hash });
    refused("count", () => make(clips(mostConfirmed + 1)));
    refused("count", () => make([]));
    refused("order", () => make(clips(2).reverse()));
    refused("order", () => make([...clips(1), ...clips(1)]));
  });

  test("one kind is not taken for another", () => {
    const done = clips(1);
    const { bytes } = encodeConfirmation({ camera, phone: owner.key, atMs: 9, done }, owner);
    refused("kind", () => verifyTombstone(bytes, camera, nodeSuite));
  });

  const key = pattern(32, 9);
  const quick = { sign: quickSign(key), suite: quickSuite };
  const about = { camera, phone: key, atMs: 1_700_000_000_000 };
  const again = (kind: Kind) => (bytes: Uint8Array) => {
    if (bytes.length > 64) signObject(kind, bytes, quick.sign, quickSuite);
    return bytes;
  };
  const always = ["taken", "length", "version", "suite", "kind", "flags", "camera", "signature"];

  test("fuzz tombstone", () => {
    const seeds = [1, 3].map((count) => {
      const keyIds = Array.from({ length: count }, (_, i) => pattern(16, i + 1));
      return encodeTombstone({ ...tombstone, phone: key, keyIds }, quick).bytes;
    });
    fuzz({
      ...{ name: "tombstone", seeds, reseal: again(tombstoneKind) },
      decode: (bytes) => verifyTombstone(bytes, camera, quickSuite),
      reaches: [...always, "range", "count"],
    });
  });

  test("fuzz confirmation", () => {
    const seeds = [1, 3].map((n) => encodeConfirmation({ ...about, done: clips(n) }, quick).bytes);
    fuzz({
      ...{ name: "confirmation", seeds, reseal: again(confirmationKind) },
      decode: (bytes) => verifyConfirmation(bytes, camera, quickSuite),
      reaches: [...always, "range", "count", "order"],
    });
  });

  test("fuzz checkpoint", () => {
    const head = { incarnation: 2, sequence: 77, hash: pattern(32), list: pattern(32, 2) };
    const seeds = [encodeCheckpoint({ ...about, ...head }, quick).bytes];
    fuzz({
      ...{ name: "checkpoint", seeds, reseal: again(checkpointKind) },
      decode: (bytes) => verifyCheckpoint(bytes, camera, quickSuite),
      reaches: [...always, "range"],
    });
  });
});
