import { concat, fromText } from "../../base/pure/bytes.ts";

/**
 * The smallest Matroska that a live stream of pictures needs: it is the one container ffmpeg reads
 * from a pipe that gives every picture its own time. Bare JPEGs on a pipe have none, and webcams
 * halve their rate in the dark.
 */
export type VideoTrack = {
  /** Pixels as stored, before any turning. */
  width: number;
  height: number;
  /** Nominal pictures a second: ffmpeg budgets the bit rate by it; times are each picture's own. */
  fps: number;
};

/** Ticks of 1 µs, in nanoseconds: the frames' own unit, so nothing is rounded. */
const timestampScaleNs = 1000;

const id = {
  ebml: 0x1a45dfa3,
  docType: 0x4282,
  docTypeVersion: 0x4287,
  docTypeReadVersion: 0x4285,
  segment: 0x18538067,
  info: 0x1549a966,
  timestampScale: 0x2ad7b1,
  muxingApp: 0x4d80,
  writingApp: 0x5741,
  tracks: 0x1654ae6b,
  track: 0xae,
  trackNumber: 0xd7,
  trackUid: 0x73c5,
  trackType: 0x83,
  codecId: 0x86,
  flagLacing: 0x9c,
  defaultDuration: 0x23e383,
  video: 0xe0,
  pixelWidth: 0xb0,
  pixelHeight: 0xba,
  cluster: 0x1f43b675,
  timestamp: 0xe7,
  simpleBlock: 0xa3,
} as const;

/** What comes before the first picture. The segment has no known size: it ends with the pipe. */
export function matroskaHeader({ width, height, fps }: VideoTrack): Uint8Array {
  const video = element(
    id.video,
    concat([number(id.pixelWidth, width), number(id.pixelHeight, height)]),
  );
  const track = concat([
    number(id.trackNumber, 1),
    number(id.trackUid, 1),
    number(id.trackType, 1),
    number(id.flagLacing, 0),
    text(id.codecId, "V_MJPEG"),
    number(id.defaultDuration, Math.round(1e9 / fps)),
    video,
  ]);
  return concat([
    element(
      id.ebml,
      concat([
        text(id.docType, "matroska"),
        number(id.docTypeVersion, 4),
        number(id.docTypeReadVersion, 2),
      ]),
    ),
    idBytes(id.segment),
    unknownSize,
    element(
      id.info,
      concat([
        number(id.timestampScale, timestampScaleNs),
        text(id.muxingApp, "obscura"),
        text(id.writingApp, "obscura"),
      ]),
    ),
    element(id.tracks, element(id.track, track)),
  ]);
}

/**
 * The bytes that go before one JPEG of `byteLength` bytes, `atUs` after the stream's beginning.
 * A cluster for each picture: a block's own time reaches only 32 ms at this scale, and a cluster
 * of known size lets ffmpeg hand the picture on as soon as its last byte is there.
 */
export function pictureHeader(atUs: number, byteLength: number): Uint8Array {
  const time = number(id.timestamp, atUs);
  // Track 1 as a one-byte number, time 0 within the cluster, flagged as a key frame.
  const block = new Uint8Array([0x81, 0, 0, 0x80]);
  const blockStart = concat([idBytes(id.simpleBlock), size(block.length + byteLength), block]);
  return concat([
    idBytes(id.cluster),
    size(time.length + blockStart.length + byteLength),
    time,
    blockStart,
  ]);
}

const unknownSize = new Uint8Array([0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);

/** Always eight bytes: one of the forms EBML allows, and none has to be chosen. */
function size(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value) | (1n << 56n));
  return bytes;
}

function idBytes(value: number): Uint8Array {
  return unsigned(value);
}

function element(name: number, body: Uint8Array): Uint8Array {
  return concat([idBytes(name), size(body.length), body]);
}

function number(name: number, value: number): Uint8Array {
  return element(name, unsigned(value));
}

function text(name: number, value: string): Uint8Array {
  return element(name, fromText(value));
}

/** As few big-endian bytes as hold the value, at least one. */
function unsigned(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  do {
    bytes.unshift(rest % 256);
    rest = Math.floor(rest / 256);
  } while (rest > 0);
  return new Uint8Array(bytes);
}
