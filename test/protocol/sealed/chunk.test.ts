import * as assert from "uvu/assert";
import { equal } from "../../../src/base/pure/bytes.ts";
import { isFailure } from "../../../src/base/pure/failure.ts";
import {
  ChunkOpener,
  ChunkSealer,
  chunkBytes,
  chunkContentBytes,
  chunkTypes,
  longestMediaBytes,
  longestThumbnailBytes,
  type Piece,
  stepBytes,
} from "../../../src/protocol/sealed/chunk.ts";
import { encrypt, random, ready } from "../../../src/protocol/sealed/sodium.ts";
import { fuzz } from "../../lib/fuzz.ts";
import { pattern, sealingSuite } from "../../lib/sealed.ts";
import { suite } from "../../lib/suite.ts";

await ready();

const { opening, media, thumbnail, closing } = chunkTypes;
const keys = () => ({ video: random(32), details: random(32) });
const small = pattern(10);

suite("chunk", (test) => {
  test("content of every size round a step, a chunk and two chunks comes back", () => {
    const sizes = [1, 2, 1000];
    for (const edge of [stepBytes, 2 * stepBytes, 3 * stepBytes]) {
      for (let near = edge - 7; near <= edge + 1; near++) sizes.push(near);
    }
    for (const whole of [chunkContentBytes, 2 * chunkContentBytes]) {
      sizes.push(whole - 1, whole, whole + 1);
    }
    for (const size of sizes) {
      const both = keys();
      const sealer = new ChunkSealer(both, sealingSuite);
      const opener = new ChunkOpener(both);
      const content = pattern(size);
      take(opener, sealer.seal(opening, small));
      const chunks = [...sealer.seal(media, content)];
      const full = Math.ceil(size / chunkContentBytes);
      assert.is(chunks.length, full, `${size}`);
      const rest = size - (full - 1) * chunkContentBytes;
      assert.is(chunks.at(-1)?.length, chunkBytes(rest), `${size}`);
      assert.is(((chunks.at(-1)?.length ?? 0) - 17) % stepBytes, 0);
      const pieces = take(opener, chunks);
      assert.is(pieces.length, 1);
      assert.ok(sameContent(pieces[0], content), `${size}`);
      take(opener, sealer.seal(closing, small));
      assert.ok(opener.closed);
    }
  });

  test("any way of cutting the stream gives the same pieces", () => {
    const both = keys();
    const sealer = new ChunkSealer(both, sealingSuite);
    const contents = [small, pattern(200), pattern(300_000), pattern(70_000, 5), small];
    const types = [opening, media, media, thumbnail, closing];
    const stream = Buffer.concat(
      types.flatMap((type, i) => [...sealer.seal(type, contents[i] ?? small, { init: i === 1 })]),
    );
    for (const cut of [1, 17, 65_536, 65_553, 100_001, stream.length]) {
      const opener = new ChunkOpener(both);
      const pieces: Piece[] = [];
      for (let at = 0; at < stream.length; at += cut) {
        pieces.push(...opener.push(stream.subarray(at, at + cut)));
      }
      assert.equal(
        pieces.map((piece) => piece.type),
        types,
      );
      pieces.forEach((piece, i) => {
        assert.ok(sameContent(piece, contents[i] ?? small));
        assert.is("init" in piece && piece.init, i === 1);
      });
      assert.ok(opener.closed);
    }
  });

  test("no two chunks share a nonce, and equal content gives unequal bytes of one length", () => {
    const both = keys();
    const sealer = new ChunkSealer(both, sealingSuite);
    const chunks = [opening, media, media, thumbnail, closing].flatMap((type) => [
      ...sealer.seal(type, small),
    ]);
    assert.is(new Set(chunks.map((chunk) => Buffer.from(chunk).toString("hex"))).size, 5);
    assert.equal(
      chunks.map((chunk) => chunk.length),
      Array(5).fill(chunkBytes(10)),
    );
  });

  test("the sealer refuses what the opener would", () => {
    const sealer = new ChunkSealer(keys(), sealingSuite);
    const seal = (...args: Parameters<ChunkSealer["seal"]>) => [...sealer.seal(...args)];
    assert.throws(() => seal(media, new Uint8Array()));
    assert.throws(() => seal(media, new Uint8Array(longestMediaBytes + 1)));
    assert.throws(() => seal(thumbnail, new Uint8Array(longestThumbnailBytes + 1)));
    assert.throws(() => seal(closing, new Uint8Array(chunkContentBytes + 1)));
    seal(opening, small);
    seal(closing, small);
    assert.throws(() => seal(media, small));
  });

  test("order, counter, keys and each flipped byte are held to", () => {
    const both = keys();
    const sealed = () => {
      const sealer = new ChunkSealer(both, sealingSuite);
      const of = (type: 1 | 2 | 3 | 4) => [...sealer.seal(type, pattern(type))][0] as Uint8Array;
      return { opening: of(opening), media: of(media), more: of(media), closing: of(closing) };
    };
    const refused = (stage: string, chunks: Uint8Array[], use = both) => {
      const opener = new ChunkOpener(use);
      assert.throws(
        () => take(opener, chunks),
        (error: unknown) => isFailure(error, "corrupt") && error.stage === stage,
        stage,
      );
      assert.throws(() => take(opener, chunks), /failed already|after the closing/);
    };
    const s = sealed();
    refused("chunk", [s.opening, s.more]);
    refused("chunk", [s.opening, s.opening]);
    refused("chunk", [s.media]);
    refused("chunk", [s.opening, s.media, s.more, s.media]);
    refused("order", [s.opening, s.media, s.more, s.closing, s.media]);
    refused("chunk", [s.opening], keys());
    refused("steps", [Uint8Array.of(0)]);
    refused("steps", [Uint8Array.of(5)]);
    for (let i = 1; i < s.opening.length; i += 4999) {
      const flipped = Uint8Array.from(s.opening);
      flipped[i] = (flipped[i] ?? 0) ^ 128;
      refused("chunk", [flipped]);
    }
  });

  test("what a faulty camera could seal is refused with its stage", () => {
    const both = keys();
    const plain = (length: number, flags: number, steps = 1, tail = 0) => {
      const bytes = Buffer.alloc(steps * stepBytes);
      bytes.writeUInt32BE(length);
      bytes[4] = flags;
      bytes[bytes.length - 1] = tail;
      return bytes;
    };
    const chunk = (type: number, counter: number, bytes: Uint8Array, key = both.details) => {
      const nonce = Buffer.alloc(24);
      nonce[0] = type;
      nonce.writeBigUInt64BE(BigInt(counter), 1);
      nonce[9] = type === closing ? 1 : 0;
      const sealed = encrypt(key, nonce, bytes, new Uint8Array());
      return Buffer.concat([Buffer.from([bytes.length / stepBytes]), sealed]);
    };
    const first = chunk(opening, 0, plain(1, 1));
    const stageOf = (...chunks: Uint8Array[]) => {
      try {
        take(new ChunkOpener(both), chunks);
        return "taken";
      } catch (error) {
        return isFailure(error) ? error.stage : String(error);
      }
    };
    const video = (...args: [number, Uint8Array]) => chunk(media, ...args, both.video);
    assert.is(stageOf(first), "taken");
    assert.is(stageOf(chunk(opening, 0, plain(0, 1))), "padding");
    assert.is(stageOf(chunk(opening, 0, plain(1, 1, 2))), "padding");
    assert.is(stageOf(chunk(opening, 0, plain(70_000, 1))), "padding");
    assert.is(stageOf(chunk(opening, 0, plain(1, 1, 1, 9))), "padding");
    assert.is(stageOf(chunk(opening, 0, plain(1, 0))), "padding");
    assert.is(stageOf(chunk(opening, 0, plain(1, 5))), "flags");
    assert.is(stageOf(chunk(opening, 0, plain(1, 3))), "flags");
    assert.is(stageOf(chunk(thumbnail, 0, plain(1, 1))), "order");
    assert.is(stageOf(first, chunk(opening, 1, plain(1, 1))), "order");
    assert.is(stageOf(first, chunk(5, 1, plain(1, 1))), "type");
    assert.is(stageOf(first, chunk(6, 1, plain(1, 1)), chunk(closing, 2, plain(1, 1))), "taken");
    const full = plain(chunkContentBytes, 0, 4);
    assert.is(stageOf(first, video(1, full), chunk(thumbnail, 2, plain(1, 1))), "order");
    assert.is(stageOf(first, video(1, full), video(2, plain(1, 3))), "flags");
    const endless = Array.from({ length: 33 }, (_, i) => video(i + 1, full));
    assert.is(stageOf(first, ...endless), "length");
  });

  test(
    "fuzz",
    () => {
      const both = keys();
      const sealer = new ChunkSealer(both, sealingSuite);
      const stream = Buffer.concat(
        [opening, media, closing].flatMap((type) => [...sealer.seal(type, pattern(type))]),
      );
      const first = stream.subarray(0, chunkBytes(10));
      const head = (length: number, flags: number) =>
        Buffer.from([0, length >> 16, (length >> 8) & 255, length & 255, flags, 0, 0, 0]);
      fuzz({
        name: "chunk",
        seeds: [first, head(4, 1), head(70_000, 1), head(chunkContentBytes, 0), head(9, 3)],
        decode: (bytes) => take(new ChunkOpener(both), [bytes]),
        // The same bytes as the plain text of a chunk of each type: the clip's first, or, where the
        // price of opening two is paid, the one after a good first.
        reseal: (bytes) => {
          const salt = bytes[bytes.length - 1] ?? 0;
          const isSecond = salt % 4 === 0;
          const padded = Buffer.alloc((salt % 31 === 30 ? 4 : 1) * stepBytes);
          padded.set(bytes.subarray(0, padded.length));
          const type = isSecond ? ((salt >> 2) % 6) + 1 : opening;
          const nonce = Buffer.alloc(24);
          nonce[0] = type;
          nonce[8] = isSecond ? 1 : 0;
          nonce[9] = type === closing ? 1 : 0;
          const key = type === media ? both.video : both.details;
          const sealed = encrypt(key, nonce, padded, new Uint8Array());
          const chunk = Buffer.concat([Uint8Array.of(padded.length / stepBytes), sealed]);
          return isSecond ? Buffer.concat([first, chunk]) : chunk;
        },
        reaches: ["taken", "chunk", "steps", "padding", "flags", "order", "type"],
      });
    },
    { deadlineMs: 580_000 },
  );

  test("whoever has the video key alone sees the video and that there is more", () => {
    const both = keys();
    const sealer = new ChunkSealer(both, sealingSuite);
    const chunks = [opening, media, thumbnail, media, closing].flatMap((type) => [
      ...sealer.seal(type, pattern(type)),
    ]);
    const pieces = take(new ChunkOpener({ video: both.video }), chunks);
    assert.equal(
      pieces.map((piece) => piece.type),
      ["hidden", media, "hidden", media, "hidden"],
    );
  });
});

function take(opener: ChunkOpener, chunks: Iterable<Uint8Array>): Piece[] {
  const pieces: Piece[] = [];
  for (const chunk of chunks) pieces.push(...opener.push(chunk));
  return pieces;
}

function sameContent(piece: Piece | undefined, content: Uint8Array): boolean {
  return piece !== undefined && "content" in piece && equal(piece.content, content);
}
