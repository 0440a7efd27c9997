import * as assert from "uvu/assert";
import { equal, Reader } from "../../../src/base/pure/bytes.ts";
import { isFailure } from "../../../src/base/pure/failure.ts";
import {
  type ClipRecipient,
  ClipSealer,
  type ClipStart,
  clipKind,
  headerBytes,
  readStart,
  videoKeyOf,
} from "../../../src/protocol/sealed/clip.ts";
import type { ClosingDetails } from "../../../src/protocol/sealed/details.ts";
import { type ClipEvent, ClipOpener } from "../../../src/protocol/sealed/opened.ts";
import type { Sealed } from "../../../src/protocol/sealed/sealed.ts";
import { kemPair, random, ready } from "../../../src/protocol/sealed/sodium.ts";
import {
  decodeStanzas,
  encodeStanzas,
  keyId,
  unwrap,
  wrap,
} from "../../../src/protocol/sealed/stanza.ts";
import {
  decodePart,
  encodePart,
  partBytes,
  payloadBytes,
} from "../../../src/protocol/wire/part.ts";
import { kinds, signObject } from "../../../src/protocol/wire/signature.ts";
import { fuzz, quickSign, quickSuite } from "../../lib/fuzz.ts";
import {
  fixedRandom,
  nodeSuite,
  opening,
  pattern,
  type Signer,
  sealingSuite,
  signer,
} from "../../lib/sealed.ts";
import { suite } from "../../lib/suite.ts";

await ready();

const closing: ClosingDetails = {
  endUs: 20_000_000,
  durationMs: 8000,
  frames: 120,
  thinned: [],
  mostPersons: 1,
  bestScore: 0.9,
  tracks: [],
  reason: "ended",
};

type World = { camera: Signer; phone: ReturnType<typeof kemPair>; sealer: ClipSealer };

function world(more: ClipRecipient[] = []): World {
  const camera = signer();
  const phone = kemPair();
  const recipients = [{ publicKey: phone.publicKey, shared: false }, ...more];
  const sealer = new ClipSealer({
    ...{ camera: camera.key, incarnation: 3, membership: 1, recipients, opening },
    ...{ sign: camera.sign, suite: sealingSuite },
  });
  return { camera, phone, sealer };
}

/** Every part of a clip with an initialisation, fragments of these sizes, and a thumbnail. */
function record({ sealer }: World, fragments: number[], close = true): Sealed[] {
  const parts: (Sealed | undefined)[] = [sealer.flush()];
  parts.push(...sealer.init(pattern(800)));
  for (const bytes of fragments) parts.push(...sealer.fragment(pattern(bytes, bytes)));
  const details = { what: "person", width: 200, height: 300, capturedUs: 5 } as const;
  parts.push(...sealer.thumbnail(details, pattern(9000)));
  parts.push(...(close ? sealer.close(closing) : [sealer.flush()]));
  return parts.filter((part) => part !== undefined);
}

function keyFrom({ phone }: World) {
  return (start: ClipStart) => {
    const id = keyId(phone.publicKey);
    for (const stanza of start.stanzas) {
      const clip = unwrap(stanza, start.headerHash, id, phone.secret);
      if (clip) return { clip };
    }
    throw new Error("not for this phone");
  };
}

function open(w: World, parts: Uint8Array[], cut = Number.POSITIVE_INFINITY) {
  const opener = new ClipOpener({ camera: w.camera.key, suite: nodeSuite, key: keyFrom(w) });
  const events: ClipEvent[] = [];
  const stream = Buffer.concat(parts);
  for (let at = 0; at < stream.length; at += cut) {
    events.push(...opener.push(stream.subarray(at, Math.min(stream.length, at + cut))));
  }
  return { events, end: opener.end() };
}

const bytesOf = (parts: Sealed[]) => parts.map((part) => part.bytes);

function refused(stage: string, act: () => unknown): void {
  assert.throws(act, (error: unknown) => isFailure(error) && error.stage === stage, stage);
}

suite("clip", (test) => {
  test("what goes in comes out, in order, however the bytes are cut", () => {
    const w = world();
    const sizes = [100_000, 300_000, 1, 262_139, 600_000];
    const parts = record(w, sizes);
    for (const part of parts) {
      assert.ok(part.bytes.length <= partBytes);
      assert.is(part.name.kind, "part");
    }
    for (const cut of [1_000_000, 70_001, 4096]) {
      const { events, end } = open(w, bytesOf(parts), cut);
      assert.ok(end.whole);
      assert.is(end.last?.number, parts.length - 1);
      const kinds = events.map((event) => event.kind).join(" ");
      assert.is(kinds, `opening init ${"fragment ".repeat(sizes.length)}thumbnail closing`);
      const fragments = events.filter((event) => event.kind === "fragment");
      fragments.forEach((event, i) => {
        assert.ok(equal(event.bytes, pattern(sizes[i] ?? 0, sizes[i])));
      });
      assert.equal(events[0]?.kind === "opening" && events[0].details, opening);
      const last = events.at(-1);
      assert.equal(last?.kind === "closing" && last.details, closing);
    }
  });

  test("byte by byte gives the same", () => {
    const w = world();
    const parts = bytesOf(record(w, [10]));
    assert.ok(open(w, parts, 1).end.whole);
  });

  test("a clip without its closing chunk opens as cut off, up to the last whole part", () => {
    const w = world();
    const parts = bytesOf(record(w, [300_000, 300_000, 300_000, 300_000], false));
    const whole = open(w, parts);
    assert.not.ok(whole.end.whole);
    const half = parts.slice(0, -1).concat(parts.at(-1)?.subarray(0, 5000) ?? []);
    const cut = open(w, half);
    assert.not.ok(cut.end.whole);
    assert.is(cut.end.last?.number, parts.length - 2);
    assert.ok(cut.events.length < whole.events.length && cut.events.length >= 3);
    assert.equal(open(w, []).end, { whole: false, last: undefined });
  });

  test("parts in another order, doubled, left out or of another clip are refused", () => {
    const w = world();
    const [a, b, c] = bytesOf(record(w, [600_000, 600_000])) as [
      Uint8Array,
      Uint8Array,
      Uint8Array,
    ];
    const other = world();
    const [, foreign] = bytesOf(record(other, [600_000, 600_000])) as [Uint8Array, Uint8Array];
    refused("chain", () => open(w, [a, c]));
    refused("chain", () => open(w, [a, b, b]));
    refused("chain", () => open(w, [b]));
    refused("chain", () => open(w, [a, a]));
    refused("camera", () => open(w, [a, foreign]));
    const flipped = Uint8Array.from(b);
    flipped[5000] = (flipped[5000] ?? 0) ^ 1;
    refused("signature", () => open(w, [a, flipped]));
  });

  test("somebody who was given the clip's key cannot put video under the camera's name", () => {
    const w = world();
    const [a, b] = bytesOf(record(w, [600_000])) as [Uint8Array, Uint8Array];
    const thief = signer();
    const part = decodePart(b);
    const forged = encodePart(part, [part.payload], thief).bytes;
    refused("signature", () => open(w, [a, forged]));
  });

  test("another clip's header, another key and a wrong commitment are refused", () => {
    const w = world();
    const [a] = bytesOf(record(w, [10])) as [Uint8Array];
    const first = decodePart(a);
    const moved = encodePart({ ...first, clip: random(16) }, [first.payload], w.camera).bytes;
    refused("header", () => open(w, [moved]));
    const later = encodePart({ ...first, incarnation: 4 }, [first.payload], w.camera).bytes;
    refused("header", () => open(w, [later]));
    const options = { camera: w.camera.key, suite: nodeSuite, key: () => ({ clip: random(32) }) };
    refused("commitment", () => [...new ClipOpener(options).push(a)]);
    const start = readStart(first, nodeSuite);
    const broken = start.stanzas[0];
    assert.ok(broken);
    broken.body.set([1, 2, 3], 500);
    refused("stanza", () => keyFrom(w)(start));
  });

  test("each recipient opens it and no other key does; shared keys get a new id for each clip", () => {
    const viewer = kemPair();
    const w = world([{ publicKey: viewer.publicKey, shared: true }]);
    const [a] = bytesOf(record(w, [10])) as [Uint8Array];
    const start = readStart(decodePart(a), nodeSuite);
    const id = keyId(viewer.publicKey, w.sealer.clip);
    assert.ok(w.sealer.keyIds.some((one) => equal(one, id)));
    const found = start.stanzas.map((one) => unwrap(one, start.headerHash, id, viewer.secret));
    const mine = start.stanzas.map((one) =>
      unwrap(one, start.headerHash, keyId(w.phone.publicKey), w.phone.secret),
    );
    assert.ok(found[1] && mine[0] && equal(found[1], mine[0]));
    assert.is(found[0], null);
    const stranger = kemPair();
    const none = keyId(stranger.publicKey);
    assert.equal(
      start.stanzas.map((one) => unwrap(one, start.headerHash, none, stranger.secret)),
      [null, null],
    );
  });

  test("the video key alone gives the video", () => {
    const w = world();
    const parts = bytesOf(record(w, [70_000]));
    const key = (start: ClipStart) => ({
      video: videoKeyOf(keyFrom(w)(start).clip, start.headerHash),
    });
    const opener = new ClipOpener({ camera: w.camera.key, suite: nodeSuite, key });
    const kinds = [...opener.push(Buffer.concat(parts))].map((event) => event.kind);
    assert.equal(kinds, ["skipped", "init", "fragment", "skipped", "skipped"]);
  });

  test("parts fill up to the limit, and the sealer holds no more than one", () => {
    const w = world();
    w.sealer.init(pattern(10));
    const parts = Array.from({ length: 20 }, () => w.sealer.fragment(pattern(200_000))).flat();
    assert.ok(parts.length >= 4);
    for (const part of parts) assert.ok(part.bytes.length > payloadBytes - 262_161);
  });

  test(
    "fuzz",
    () => {
      const key = pattern(32, 11);
      const quick = { sign: quickSign(key), suite: { ...sealingSuite, ...quickSuite } };
      const recipients = [{ publicKey: kemPair().publicKey, shared: false }];
      const fields = { camera: key, incarnation: 1, membership: 1, recipients, opening };
      const clipKey = (() => {
        using _ = fixedRandom("clip fuzz");
        random(16);
        return random(32);
      })();
      using _ = fixedRandom("clip fuzz");
      const sealer = new ClipSealer({ ...fields, ...quick });
      const first = sealer.flush()?.bytes as Uint8Array;
      sealer.init(pattern(100));
      const second = sealer.flush()?.bytes as Uint8Array;
      const last = Buffer.concat(sealer.close(closing).map(({ bytes }) => bytes));
      // Without the chunk's 64 KiB most mutations meet the head, the header and the stanzas.
      const part = decodePart(first);
      const short = encodePart(part, [part.payload.subarray(0, 1400)], quick).bytes;
      fuzz({
        name: "clip",
        seeds: [short, short, first, Buffer.concat([first, second, last])],
        decode: (bytes) => {
          const opener = new ClipOpener({
            ...{ camera: key, suite: quickSuite, key: () => ({ clip: clipKey }) },
          });
          return [...opener.push(bytes)];
        },
        reseal: (bytes) => {
          const end = bytes.length < 10_000 ? bytes.length : first.length;
          if (bytes.length < end || end < 400) return bytes;
          const whole = bytes.subarray(0, end);
          if (end < first.length)
            new DataView(whole.buffer, whole.byteOffset).setUint32(92, end - 160);
          signObject(clipKind, whole.subarray(96, 96 + headerBytes), quick.sign, quickSuite);
          signObject(kinds.part, whole, quick.sign, quickSuite);
          return bytes;
        },
        reaches: [
          ...["taken", "length", "version", "suite", "kind", "flags", "camera", "signature"],
          ...["header", "chain", "previous", "count", "stanza", "steps", "chunk", "commitment"],
        ],
      });
    },
    { deadlineMs: 580_000 },
  );

  test(
    "fuzz of stanzas",
    () => {
      const phone = kemPair();
      const context = pattern(32, 2);
      const id = keyId(phone.publicKey);
      const stanza = wrap(pattern(32), context, { id, publicKey: phone.publicKey });
      const later = { type: 9, id: new Uint8Array(), body: pattern(40) };
      fuzz({
        name: "stanza",
        seeds: [encodeStanzas([stanza]), encodeStanzas([later, stanza]), encodeStanzas([])],
        decode: (bytes) => {
          const reader = new Reader(bytes, "stanzas");
          for (const one of decodeStanzas(reader)) unwrap(one, context, id, phone.secret);
          reader.end();
        },
        reaches: ["taken", "length", "count", "stanza"],
      });
    },
    { deadlineMs: 200_000 },
  );

  test("misuse: no recipients, fragments first, anything after the end", () => {
    const camera = signer();
    const options = { camera: camera.key, incarnation: 0, membership: 1, recipients: [], opening };
    assert.throws(() => new ClipSealer({ ...options, ...camera, suite: sealingSuite }));
    const { sealer } = world();
    assert.throws(() => sealer.fragment(pattern(10)));
    sealer.close(closing);
    assert.throws(() => sealer.flush());
    assert.throws(() => sealer.init(pattern(1)));
    sealer.abandon();
  });
});
