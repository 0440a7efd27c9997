import {
  type Checked,
  flag,
  hex,
  integer,
  list,
  number,
  object,
  oneOf,
  optional,
  parse,
  print,
  text,
} from "./json.ts";

/** What describes a clip, sealed under its details key. Limits are those of details.md. */
export const limits = {
  openingBytes: 16 * 1024,
  closingBytes: 192 * 1024,
  thumbnailHeadBytes: 1024,
  thumbnailBytes: 1024 * 1024,
  tracks: 64,
  samplesPerTrack: 512,
  zones: 32,
} as const;

const side = integer(1, 16384);
const zones = list(text(64), limits.zones);
const coordinate = number(-16384, 32768);
const score = number(0, 1);

const opening = object({
  /** CLOCK_MONOTONIC of the first picture, pre-roll included. */
  startUs: integer(),
  /** The camera's wall clock at the same moment, ms since 1970. */
  wallMs: integer(),
  clockTrusted: flag,
  /** The incident that this clip belongs to (clips that follow one another share it). */
  incident: hex(16),
  width: side,
  height: side,
  fps: number(0.01, 1000),
  /** RFC 6381 codec string, as the encoder was when it was tried; the clip's own init is what counts. */
  codec: optional(text(64)),
  camera: optional(text(64)),
  model: object({ id: text(64), precision: oneOf("fp32", "int8") }),
  zones,
  preRollMs: integer(0, 3_600_000),
});

const sample = object({
  atUs: integer(),
  x: coordinate,
  y: coordinate,
  width: number(0, 32768),
  height: number(0, 32768),
  score,
  zones,
});

const closing = object({
  endUs: integer(),
  durationMs: integer(0, 86_400_000),
  frames: integer(0, 0xffffffff),
  /** Where the recording was thinned because the encoder fell behind. */
  thinned: list(
    object({ fromUs: integer(), toUs: integer(), how: oneOf("half-rate", "half-size", "dropped") }),
    1024,
  ),
  mostPersons: integer(0, 1024),
  bestScore: score,
  tracks: list(
    object({
      track: integer(),
      firstUs: integer(),
      lastUs: integer(),
      samples: list(sample, limits.samplesPerTrack),
    }),
    limits.tracks,
  ),
  /** The place of sound tracks; no camera writes one yet. */
  sound: optional(
    list(object({ codec: text(64), channels: integer(1, 8), sampleRate: integer(1, 384_000) }), 8),
  ),
  reason: oneOf("ended", "longest", "resized", "stopped"),
});

const thumbnail = object({
  what: oneOf("person", "frame"),
  width: side,
  height: side,
  capturedUs: integer(),
});

export type OpeningDetails = Checked<typeof opening>;
export type ClosingDetails = Checked<typeof closing>;
/** A JPEG picture's description; the picture itself follows it in the chunk. */
export type ThumbnailDetails = Checked<typeof thumbnail>;

export function encodeOpening(details: OpeningDetails): Uint8Array {
  return print(details, limits.openingBytes, "opening", opening);
}

export function decodeOpening(bytes: Uint8Array): OpeningDetails {
  return parse(bytes, limits.openingBytes, "opening", opening);
}

/** Thins the samples of long tracks first, evenly, first and last kept, until all of it fits. */
export function encodeClosing(details: ClosingDetails): Uint8Array {
  let keep: number = limits.samplesPerTrack;
  for (;;) {
    const tracks = details.tracks.slice(0, limits.tracks).map((track) => ({
      ...track,
      samples: thin(track.samples, keep),
    }));
    const thinned = { ...details, tracks };
    if (keep <= 2 || JSON.stringify(thinned).length <= limits.closingBytes) {
      return print(thinned, limits.closingBytes, "closing", closing);
    }
    keep = keep >> 1;
  }
}

export function decodeClosing(bytes: Uint8Array): ClosingDetails {
  return parse(bytes, limits.closingBytes, "closing", closing);
}

export function encodeThumbnail(details: ThumbnailDetails): Uint8Array {
  return print(details, limits.thumbnailHeadBytes, "thumbnail", thumbnail);
}

export function decodeThumbnail(bytes: Uint8Array): ThumbnailDetails {
  return parse(bytes, limits.thumbnailHeadBytes, "thumbnail", thumbnail);
}

function thin<T>(samples: readonly T[], keep: number): T[] {
  if (samples.length <= keep) return [...samples];
  const step = (samples.length - 1) / (keep - 1);
  return Array.from({ length: keep }, (_, i) => samples[Math.round(i * step)] as T);
}
