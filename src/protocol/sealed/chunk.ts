import { isZero, Reader, Writer } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import type { Suite } from "../wire/signature.ts";
import { decrypt, longestBytes, sizes } from "./sodium.ts";

// What a clip is made of after its header. Specification: chunk.md.

export const chunkTypes = { opening: 1, media: 2, thumbnail: 3, closing: 4 } as const;
export type ChunkType = (typeof chunkTypes)[keyof typeof chunkTypes];
/** Types to come share these two: what a reader must know, or say "update", and what it may skip. */
const criticalType = 5;
const skippedType = 6;

export const stepBytes = 64 * 1024;
export const mostSteps = longestBytes / stepBytes;
const headBytes = 5;
/** Content of one full chunk. */
export const chunkContentBytes = longestBytes - headBytes;
export const longestMediaBytes = 8 * 1024 * 1024;
export const longestThumbnailBytes = 1024 * 1024 + 4096;

const endsFlag = 1;
const initFlag = 2;
const none = new Uint8Array();
const newBytes = (bytes: number): Uint8Array => new Uint8Array(bytes);

/** What who seals clips needs of the platform beside. */
export type SealingSuite = Suite & {
  /**
   * XChaCha20-Poly1305 without additional data: `out` becomes `pieces` joined and filled up with
   * zeros, sealed, and the tag behind it.
   */
  encryptInto(
    out: Uint8Array,
    key: Uint8Array,
    nonce: Uint8Array,
    pieces: readonly Uint8Array[],
  ): void;
};

/** The keys of one clip's chunks. Who was given the video alone holds no details key. */
export type ChunkKeys = { readonly video: Uint8Array; readonly details?: Uint8Array };

/** One whole piece of a clip: a chunk's content, or that of several joined. */
export type Piece =
  | { readonly type: ChunkType; readonly init: boolean; readonly content: Uint8Array }
  /** Of a later format; its content is not kept. */
  | { readonly type: "unknown" }
  /** Of the details, which this reader has no key for. */
  | { readonly type: "hidden" };

/** The bytes on the wire of a chunk with this much content: one byte, the padded text, the tag. */
export function chunkBytes(contentBytes: number): number {
  return 1 + stepsFor(contentBytes) * stepBytes + sizes.tag;
}

function stepsFor(contentBytes: number): number {
  return Math.ceil((contentBytes + headBytes) / stepBytes);
}

function nonceOf(type: number, counter: number): Uint8Array {
  const last = type === chunkTypes.closing ? 1 : 0;
  return new Writer().u8(type).u64(counter).u8(last).raw(new Uint8Array(14)).done();
}

/**
 * Seals the pieces of one clip, in order. Each nonce is used once: the counter runs over all
 * chunks and a closing piece ends it.
 */
export class ChunkSealer {
  readonly #keys: { video: Uint8Array; details: Uint8Array };
  readonly #suite: SealingSuite;
  #counter = 0;
  #closed = false;

  constructor(keys: { video: Uint8Array; details: Uint8Array }, suite: SealingSuite) {
    this.#keys = keys;
    this.#suite = suite;
  }

  /** The chunks of one piece, each ready for a part; `place` says where one of so many bytes goes. */
  *seal(
    type: ChunkType,
    content: Uint8Array,
    { init = false, place = newBytes }: { init?: boolean; place?: typeof newBytes } = {},
  ): Generator<Uint8Array> {
    if (this.#closed) throw new Failure("misuse", "a chunk after the closing one");
    if (content.length === 0) throw new Failure("misuse", "an empty piece");
    if (content.length > limitOf(type)) {
      throw new Failure("misuse", `a piece of ${content.length} bytes, at most ${limitOf(type)}`);
    }
    this.#closed = type === chunkTypes.closing;
    const key = type === chunkTypes.media ? this.#keys.video : this.#keys.details;
    for (let at = 0; at < content.length; at += chunkContentBytes) {
      const slice = content.subarray(at, at + chunkContentBytes);
      const steps = stepsFor(slice.length);
      const ends = at + chunkContentBytes >= content.length;
      const flags = (ends ? endsFlag : 0) | (init ? initFlag : 0);
      const head = new Writer().u32(slice.length).u8(flags).done();
      const chunk = place(chunkBytes(slice.length));
      chunk[0] = steps;
      const nonce = nonceOf(type, this.#counter);
      this.#suite.encryptInto(chunk.subarray(1), key, nonce, [head, slice]);
      this.#counter += 1;
      yield chunk;
    }
  }
}

/**
 * Opens what a `ChunkSealer` wrote, handed over in any pieces. Holds one chunk and one piece at
 * most. After a Failure nothing more can be pushed.
 */
export class ChunkOpener {
  readonly #keys: ChunkKeys;
  /** The steps of the chunk that is coming in; all of it, once that byte is there. */
  #chunk: Uint8Array = new Uint8Array(1);
  #filled = 0;
  #counter = 0;
  #last: number = chunkTypes.opening;
  #open: { type: ChunkType; init: boolean; slices: Uint8Array[]; bytes: number } | undefined;
  #state: "first" | "running" | "closed" | "failed" = "first";

  constructor(keys: ChunkKeys) {
    this.#keys = keys;
  }

  /** True when the closing chunk has been opened. */
  get closed(): boolean {
    return this.#state === "closed";
  }

  /** True between two chunks, when no byte of a next one has come. */
  get atBoundary(): boolean {
    return this.#filled === 0;
  }

  /** The pieces that these bytes completed. */
  *push(bytes: Uint8Array): Generator<Piece> {
    let at = 0;
    while (at < bytes.length) {
      if (this.#state === "closed") throw this.#refuse("order", "bytes after the closing chunk");
      if (this.#state === "failed") throw new Failure("misuse", "this clip has failed already");
      const slice = bytes.subarray(at, at + this.#chunk.length - this.#filled);
      this.#chunk.set(slice, this.#filled);
      this.#filled += slice.length;
      at += slice.length;
      if (this.#filled < this.#chunk.length) continue;
      if (this.#filled === 1) {
        this.#grow();
        continue;
      }
      const piece = this.#complete(this.#chunk.subarray(1));
      this.#chunk = new Uint8Array(1);
      this.#filled = 0;
      if (piece) yield piece;
    }
  }

  #grow(): void {
    const steps = this.#chunk[0] ?? 0;
    if (steps < 1 || steps > mostSteps) throw this.#refuse("steps", `a chunk of ${steps} steps`);
    this.#chunk = new Uint8Array(1 + steps * stepBytes + sizes.tag);
    this.#chunk[0] = steps;
  }

  #refuse(stage: string, message: string): Failure {
    this.#state = "failed";
    return new Failure("corrupt", message, { stage });
  }

  #complete(sealed: Uint8Array): Piece | undefined {
    const opened = this.#decrypt(sealed);
    this.#counter += 1;
    if (!opened) return this.#hide();
    const { type, plain } = opened;
    if (type === criticalType) {
      this.#state = "failed";
      throw new Failure("refused", "a chunk of a type that is not known", {
        stage: "type",
        hint: "Update this program",
      });
    }
    const { content, ends, init } = this.#unpad(plain);
    this.#order(type);
    if (type === skippedType) return ends ? { type: "unknown" } : undefined;
    return this.#join(type as ChunkType, content, ends, init);
  }

  // The type is not written anywhere in clear, so the likely one is tried first: a type that is
  // wrong costs one pass of Poly1305. Types to come are tried before a chunk is called broken.
  #decrypt(sealed: Uint8Array): { type: number; plain: Uint8Array } | undefined {
    const known = Object.values(chunkTypes).filter((type) => type !== this.#last);
    const { video, details } = this.#keys;
    for (const type of [this.#last, ...known, criticalType, skippedType]) {
      const isVideo = type === chunkTypes.media;
      const keys = type > chunkTypes.closing ? [video, details] : [isVideo ? video : details];
      for (const key of keys) {
        const plain = key && decrypt(key, nonceOf(type, this.#counter), sealed, none);
        if (!plain) continue;
        this.#last = type === chunkTypes.opening ? chunkTypes.media : type;
        return { type, plain };
      }
    }
    return undefined;
  }

  #hide(): Piece {
    if (this.#keys.details || this.#open) {
      throw this.#refuse("chunk", `chunk ${this.#counter - 1} does not open`);
    }
    this.#state = "running";
    return { type: "hidden" };
  }

  #unpad(plain: Uint8Array): { content: Uint8Array; ends: boolean; init: boolean } {
    const reader = new Reader(plain, "chunk");
    const length = reader.u32();
    const flags = reader.u8();
    const ends = (flags & endsFlag) !== 0;
    const wrongSteps = length === 0 || stepsFor(length) * stepBytes !== plain.length;
    if (wrongSteps || (!ends && length !== chunkContentBytes)) {
      throw this.#refuse("padding", `a chunk of ${plain.length} bytes with ${length} inside`);
    }
    if ((flags & ~(endsFlag | initFlag)) !== 0) throw this.#refuse("flags", `flags ${flags}`);
    const content = reader.take(length);
    if (!isZero(plain.subarray(reader.offset))) {
      throw this.#refuse("padding", "padding that is not zero");
    }
    return { content, ends, init: (flags & initFlag) !== 0 };
  }

  #order(type: number): void {
    const isOpening = type === chunkTypes.opening;
    if (isOpening !== (this.#state === "first") && !(isOpening === false && !this.#keys.details)) {
      throw this.#refuse("order", "a clip begins with its one opening chunk");
    }
    if (this.#open && this.#open.type !== type) {
      throw this.#refuse("order", "a chunk in the midst of another piece");
    }
    this.#state = "running";
  }

  #join(type: ChunkType, slice: Uint8Array, ends: boolean, init: boolean): Piece | undefined {
    if (init && type !== chunkTypes.media) throw this.#refuse("flags", "an init flag out of place");
    this.#open ??= { type, init, slices: [], bytes: 0 };
    if (this.#open.init !== init) throw this.#refuse("flags", "a piece half of it init");
    this.#open.bytes += slice.length;
    if (this.#open.bytes > limitOf(type)) {
      throw this.#refuse("length", `a piece of more than ${limitOf(type)} bytes`);
    }
    this.#open.slices.push(slice);
    if (!ends) return undefined;
    const content = new Uint8Array(this.#open.bytes);
    let at = 0;
    for (const part of this.#open.slices) {
      content.set(part, at);
      at += part.length;
    }
    this.#open = undefined;
    if (type === chunkTypes.closing) this.#state = "closed";
    return { type, init, content };
  }
}

function limitOf(type: ChunkType): number {
  if (type === chunkTypes.media) return longestMediaBytes;
  if (type === chunkTypes.thumbnail) return longestThumbnailBytes;
  return chunkContentBytes;
}
