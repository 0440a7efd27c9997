import { concat, equal, Reader } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import { clipIdBytes } from "../wire/name.ts";
import { encodePart, type Part, type PartFields, payloadBytes } from "../wire/part.ts";
import {
  hashBytes,
  type Kind,
  keyBytes,
  noHash,
  readEnvelope,
  type Sign,
  type Suite,
  signatureBytes,
  signObject,
  verifyObject,
  writeEnvelope,
} from "../wire/signature.ts";
import { ChunkSealer, type ChunkType, chunkTypes, type SealingSuite } from "./chunk.ts";
import {
  type ClosingDetails,
  encodeClosing,
  encodeOpening,
  encodeThumbnail,
  type OpeningDetails,
  type ThumbnailDetails,
} from "./details.ts";
import { branded, type Sealed } from "./sealed.ts";
import { derive, random, same, wipe } from "./sodium.ts";
import { decodeStanzas, encodeStanzas, keyId, type Stanza, wrap } from "./stanza.ts";

// One clip, from the header to its parts. Specification: clip.md. The other way: opened.ts.

export const clipKind: Kind = { word: "clip", number: 16 };

export type ClipHeader = {
  camera: Uint8Array; // 32 bytes, the key that signs
  incarnation: number;
  clip: Uint8Array; // 16 random bytes
  membership: number; // version of the member list that the recipients are from
  commitment: Uint8Array; // 32 bytes, to the clip key
};

export const headerBytes: number = 4 + keyBytes + 4 + clipIdBytes + 4 + hashBytes + signatureBytes;

/** A public key from a supply. `shared` is set for day and restart keys, which seal more than one clip. */
export type ClipRecipient = { readonly publicKey: Uint8Array; readonly shared: boolean };

/** The clip key stands behind this: whoever shows another key for the clip is found out. */
export function commitmentTo(
  clipKey: Uint8Array,
  camera: Uint8Array,
  clip: Uint8Array,
): Uint8Array {
  return derive(clipKey, "obscura/1/clip/commitment", camera, clip);
}

export function videoKeyOf(clipKey: Uint8Array, headerHash: Uint8Array): Uint8Array {
  return derive(clipKey, "obscura/1/clip/video", headerHash);
}

export function detailsKeyOf(clipKey: Uint8Array, headerHash: Uint8Array): Uint8Array {
  return derive(clipKey, "obscura/1/clip/details", headerHash);
}

export function encodeHeader(
  header: ClipHeader,
  { sign, suite }: { sign: Sign; suite: Suite },
): { bytes: Uint8Array; hash: Uint8Array } {
  const bytes = writeEnvelope(clipKind)
    .raw(header.camera)
    .u32(header.incarnation)
    .raw(header.clip)
    .u32(header.membership)
    .raw(header.commitment)
    .raw(new Uint8Array(signatureBytes))
    .done();
  decodeHeader(new Reader(bytes, "clip header"));
  return { bytes, hash: signObject(clipKind, bytes, sign, suite) };
}

/** Reads the header's fields; says nothing yet about who made it. */
export function decodeHeader(reader: Reader): ClipHeader {
  readEnvelope(reader, clipKind);
  const camera = reader.take(keyBytes);
  const incarnation = reader.u32();
  const clip = reader.take(clipIdBytes);
  const membership = reader.u32();
  const commitment = reader.take(hashBytes);
  reader.take(signatureBytes);
  return { camera, incarnation, clip, membership, commitment };
}

/** What a phone needs to find out whether a clip is for it. */
export type ClipStart = {
  readonly header: ClipHeader;
  readonly headerHash: Uint8Array;
  readonly stanzas: readonly Stanza[];
  /** Where the chunks of part 0 begin. */
  readonly chunks: Uint8Array;
};

/**
 * The header and stanzas in part 0, whose own signature was checked before. Stages: those of
 * decoding, "key", "signature", "header" (the header of another clip), "count", "stanza".
 */
export function readStart(part: Part, suite: Suite): ClipStart {
  const reader = new Reader(part.payload, "clip header");
  const header = decodeHeader(reader);
  const bytes = part.payload.subarray(0, headerBytes);
  const isThis =
    part.number === 0 &&
    equal(header.camera, part.camera) &&
    header.incarnation === part.incarnation &&
    equal(header.clip, part.clip);
  if (!isThis) throw reader.refuse("header", "the header of another clip");
  const headerHash = verifyObject(clipKind, bytes, part.camera, suite);
  const stanzas = decodeStanzas(reader);
  return { header, headerHash, stanzas, chunks: part.payload.subarray(reader.offset) };
}

/** Refuses a key that is not the one that the header commits to, stage "commitment". */
export function checkClipKey({ header }: ClipStart, clipKey: Uint8Array): void {
  if (!same(commitmentTo(clipKey, header.camera, header.clip), header.commitment)) {
    throw new Failure("corrupt", "a clip key other than the one committed to", {
      stage: "commitment",
    });
  }
}

export type ClipSealerOptions = {
  readonly camera: Uint8Array;
  readonly incarnation: number;
  readonly membership: number;
  /** At least one; nobody else will ever open the clip, the camera included. */
  readonly recipients: readonly ClipRecipient[];
  readonly opening: OpeningDetails;
  readonly sign: Sign;
  readonly suite: SealingSuite;
};

/**
 * Seals one clip into parts as its pieces come. The clip key is drawn here and wiped as soon as
 * the stanzas hold it, the chunk keys at `close` or `abandon`. Parts come out in order; each must
 * be durable before the next is worth anything.
 */
export class ClipSealer {
  readonly clip: Uint8Array = random(clipIdBytes);
  readonly headerHash: Uint8Array;
  /** One for each recipient, in their order: what the log names. */
  readonly keyIds: readonly Uint8Array[];
  readonly #options: ClipSealerOptions;
  readonly #keys: { video: Uint8Array; details: Uint8Array };
  readonly #chunks: ChunkSealer;
  /** The next part's payload, as far as it is there; chunks are sealed straight into it. */
  #payload: Uint8Array = new Uint8Array(payloadBytes);
  #filled = 0;
  #number = 0;
  #previous: Uint8Array = noHash;
  #hasInit = false;
  #over = false;

  constructor(options: ClipSealerOptions) {
    const { camera, incarnation, membership, recipients, suite, sign } = options;
    if (recipients.length === 0) throw new Failure("misuse", "a clip that nobody could open");
    this.#options = options;
    const clipKey = random(32);
    const commitment = commitmentTo(clipKey, camera, this.clip);
    const header = encodeHeader(
      { camera, incarnation, clip: this.clip, membership, commitment },
      { sign, suite },
    );
    this.headerHash = header.hash;
    const stanzas = recipients.map(({ publicKey, shared }) => {
      const id = keyId(publicKey, shared ? this.clip : undefined);
      return wrap(clipKey, header.hash, { id, publicKey });
    });
    this.keyIds = stanzas.map((stanza) => stanza.id);
    this.#keys = {
      video: videoKeyOf(clipKey, header.hash),
      details: detailsKeyOf(clipKey, header.hash),
    };
    wipe(clipKey);
    this.#chunks = new ChunkSealer(this.#keys, suite);
    for (const bytes of [header.bytes, encodeStanzas(stanzas)]) {
      this.#payload.set(bytes, this.#filled);
      this.#filled += bytes.length;
    }
    this.#add(chunkTypes.opening, encodeOpening(options.opening));
  }

  /** The newest part: what the log says when the clip ends. */
  get last(): { number: number; hash: Uint8Array } | undefined {
    return this.#number === 0 ? undefined : { number: this.#number - 1, hash: this.#previous };
  }

  /** The MP4 initialisation; comes before all fragments, and again when the picture's size changes. */
  init(bytes: Uint8Array): Sealed[] {
    this.#hasInit = true;
    return this.#add(chunkTypes.media, bytes, true);
  }

  /** One MP4 fragment that begins with a key frame. Returns the parts that it filled. */
  fragment(bytes: Uint8Array): Sealed[] {
    if (!this.#hasInit) throw new Failure("misuse", "a fragment before the initialisation");
    return this.#add(chunkTypes.media, bytes);
  }

  thumbnail(details: ThumbnailDetails, jpeg: Uint8Array): Sealed[] {
    const head = encodeThumbnail(details);
    const length = new Uint8Array([head.length >> 8, head.length & 0xff]);
    return this.#add(chunkTypes.thumbnail, concat([length, head, jpeg]));
  }

  /** Whatever waits, as one part; undefined when nothing does. */
  flush(): Sealed | undefined {
    if (this.#over) throw new Failure("misuse", "the clip has ended");
    return this.#part();
  }

  /** Ends the clip whole. */
  close(details: ClosingDetails): Sealed[] {
    const parts = this.#add(chunkTypes.closing, encodeClosing(details));
    const last = this.#part();
    this.abandon();
    return last ? [...parts, last] : parts;
  }

  /** Forgets the keys; what was sealed stands as a clip that was cut off. Any number of times. */
  abandon(): void {
    this.#over = true;
    this.#payload = new Uint8Array();
    this.#filled = 0;
    wipe(this.#keys.video, this.#keys.details);
  }

  #add(type: ChunkType, content: Uint8Array, init = false): Sealed[] {
    if (this.#over) throw new Failure("misuse", "the clip has ended");
    const parts: Sealed[] = [];
    const place = (bytes: number) => {
      const part = this.#filled + bytes > payloadBytes ? this.#part() : undefined;
      if (part) parts.push(part);
      return this.#payload.subarray(this.#filled, this.#filled + bytes);
    };
    for (const chunk of this.#chunks.seal(type, content, { init, place })) {
      this.#filled += chunk.length;
    }
    return parts;
  }

  #part(): Sealed | undefined {
    if (this.#filled === 0) return undefined;
    const { camera, incarnation, sign, suite } = this.#options;
    const fields: PartFields = {
      camera,
      incarnation,
      clip: this.clip,
      number: this.#number,
      previous: this.#previous,
    };
    const part = encodePart(fields, [this.#payload.subarray(0, this.#filled)], { sign, suite });
    this.#filled = 0;
    this.#number += 1;
    this.#previous = part.hash;
    return branded(part.name, part.bytes);
  }
}
