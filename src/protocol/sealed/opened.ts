import { Reader } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import { checkFollows, partBytes, partHeadBytes, verifyPart } from "../wire/part.ts";
import { type Suite, signatureBytes } from "../wire/signature.ts";
import { type ChunkKeys, ChunkOpener, chunkTypes, type Piece } from "./chunk.ts";
import { type ClipStart, checkClipKey, detailsKeyOf, readStart, videoKeyOf } from "./clip.ts";
import {
  type ClosingDetails,
  decodeClosing,
  decodeOpening,
  decodeThumbnail,
  limits,
  type OpeningDetails,
  type ThumbnailDetails,
} from "./details.ts";

/** What comes out of a clip, in the order in which the camera wrote it. */
export type ClipEvent =
  | { kind: "opening"; details: OpeningDetails }
  | { kind: "init"; bytes: Uint8Array }
  | { kind: "fragment"; bytes: Uint8Array }
  | { kind: "thumbnail"; details: ThumbnailDetails; bytes: Uint8Array }
  | { kind: "closing"; details: ClosingDetails }
  /** Of a later format, or of the details when the video key alone is known. */
  | { kind: "skipped" };

export type ClipEnd = {
  /** Whether the closing chunk came. Without it the clip is cut off after its last whole piece. */
  readonly whole: boolean;
  /** The last part that verified; undefined when not even part 0 came whole. */
  readonly last: { readonly number: number; readonly hash: Uint8Array } | undefined;
};

export type ClipOpenerOptions = {
  readonly camera: Uint8Array;
  readonly suite: Suite;
  /** The clip's key, from its start; or the video key alone, for whoever was given one clip. */
  readonly key: (
    start: ClipStart,
  ) => { readonly clip: Uint8Array } | { readonly video: Uint8Array };
};

/**
 * Opens a clip from the bytes of its parts, one after the other, cut anywhere. Holds one part, one
 * chunk and one piece at most. Nothing of a part comes out before its signature and its place in
 * the chain have been checked.
 */
export class ClipOpener {
  readonly #options: ClipOpenerOptions;
  /** The head of the part that is coming in; all of it, once the head has told its length. */
  #held: Uint8Array = new Uint8Array(partHeadBytes);
  #heldBytes = 0;
  #before: (ReturnType<typeof verifyPart> & { hash: Uint8Array }) | undefined;
  #chunks: ChunkOpener | undefined;
  #hasInit = false;
  #failed = false;

  constructor(options: ClipOpenerOptions) {
    this.#options = options;
  }

  *push(bytes: Uint8Array): Generator<ClipEvent> {
    if (this.#failed) throw new Failure("misuse", "this clip has failed already");
    this.#failed = true;
    for (let at = 0; at < bytes.length; ) {
      const slice = bytes.subarray(at, at + this.#held.length - this.#heldBytes);
      this.#held.set(slice, this.#heldBytes);
      this.#heldBytes += slice.length;
      at += slice.length;
      if (this.#heldBytes < this.#held.length) break;
      if (this.#heldBytes === partHeadBytes) {
        this.#grow();
        continue;
      }
      const part = this.#held;
      this.#held = new Uint8Array(partHeadBytes);
      this.#heldBytes = 0;
      yield* this.#part(part);
    }
    this.#failed = false;
  }

  /** Says how the clip ended. A part that did not come whole is left out. */
  end(): ClipEnd {
    const last = this.#before && { number: this.#before.number, hash: this.#before.hash };
    return { whole: this.#chunks?.closed === true, last };
  }

  #grow(): void {
    const reader = new Reader(this.#held.subarray(partHeadBytes - 4), "part");
    const wanted = partHeadBytes + reader.u32() + signatureBytes;
    if (wanted > partBytes) throw reader.refuse("length", "a part is at most 1 MiB");
    const whole = new Uint8Array(wanted);
    whole.set(this.#held);
    this.#held = whole;
  }

  *#part(bytes: Uint8Array): Generator<ClipEvent> {
    const { camera, suite } = this.#options;
    const part = verifyPart(bytes, camera, suite);
    if (this.#before) checkFollows(part, this.#before);
    const payload = part.number === 0 ? this.#start(readStart(part, suite)) : part.payload;
    this.#before = part;
    if (!this.#chunks) throw this.#refuse("chain", `a clip that begins with part ${part.number}`);
    for (const piece of this.#chunks.push(payload)) yield this.#read(piece);
    // A part holds whole chunks, so that each stands for itself once it is durable.
    if (!this.#chunks.atBoundary) {
      throw this.#refuse("chunk", "a part that ends in the midst of a chunk");
    }
  }

  #start(start: ClipStart): Uint8Array {
    const key = this.#options.key(start);
    if ("clip" in key) checkClipKey(start, key.clip);
    const keys: ChunkKeys =
      "clip" in key
        ? {
            video: videoKeyOf(key.clip, start.headerHash),
            details: detailsKeyOf(key.clip, start.headerHash),
          }
        : key;
    this.#chunks = new ChunkOpener(keys);
    return start.chunks;
  }

  #read(piece: Piece): ClipEvent {
    switch (piece.type) {
      case "hidden":
      case "unknown":
        return { kind: "skipped" };
      case chunkTypes.opening:
        return { kind: "opening", details: decodeOpening(piece.content) };
      case chunkTypes.closing:
        return { kind: "closing", details: decodeClosing(piece.content) };
      case chunkTypes.thumbnail:
        return this.#thumbnail(piece.content);
      case chunkTypes.media:
        if (!piece.init && !this.#hasInit) {
          throw this.#refuse("order", "a fragment before the initialisation");
        }
        this.#hasInit = true;
        return { kind: piece.init ? "init" : "fragment", bytes: piece.content };
    }
  }

  #thumbnail(content: Uint8Array): ClipEvent {
    const reader = new Reader(content, "thumbnail");
    const details = decodeThumbnail(reader.bytes16(limits.thumbnailHeadBytes));
    const bytes = reader.take(reader.remaining);
    if (bytes.length > limits.thumbnailBytes) {
      throw reader.refuse("length", `a thumbnail of ${bytes.length} bytes`);
    }
    return { kind: "thumbnail", details, bytes };
  }

  #refuse(stage: string, message: string): Failure {
    return new Failure("corrupt", message, { stage });
  }
}
