import { concat } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";

/** What the first bytes of a fragmented MP4 say about all that follow. */
export type InitSegment = {
  kind: "init";
  /** ftyp and moov, as a player wants them appended first. */
  bytes: Uint8Array;
  /** RFC 6381, for example "avc1.42c01f". */
  codec: string;
  width: number;
  height: number;
  /** Ticks a second of every time in the fragments. */
  timescale: number;
};

export type Fragment = {
  kind: "fragment";
  /** moof and mdat. */
  bytes: Uint8Array;
  /** In ticks of the init segment's timescale. */
  start: number;
  duration: number;
  /** Pictures in it. */
  samples: number;
  /** Its first picture can be decoded without any before it. */
  key: boolean;
};

/** ffmpeg's moov is under 1 KiB; half a second at 4 Mbit/s is 256 KiB. Far above both is no MP4 of ours. */
const longestBytes: Record<string, number> = {
  ftyp: 1024,
  styp: 1024,
  free: 1024,
  moov: 64 * 1024,
  moof: 64 * 1024,
  mdat: 8 * 1024 * 1024,
};

function refuse(stage: string, message: string): Failure {
  return new Failure("corrupt", `the encoder's MP4: ${message}`, { stage });
}

/**
 * Splits a fragmented MP4 with one H.264 track into its init segment and its fragments as the
 * bytes arrive. At most one init segment or fragment is held. Throws Failure("corrupt") whose
 * stage is "box" (a header that cannot be, or one too long), "order", "init" or "fragment".
 * A stream that ends between boxes ends here; one that ends within is stage "cut".
 */
export class Mp4Splitter {
  #held: Uint8Array[] = [];
  #heldBytes = 0;
  #wanted = 8;
  #done: { type: string; bytes: Uint8Array }[] = [];
  #init: InitSegment | undefined;

  /** Takes the next bytes (and keeps them: they must not change) and returns what they complete. */
  push(chunk: Uint8Array): (InitSegment | Fragment)[] {
    this.#held.push(chunk);
    this.#heldBytes += chunk.length;
    if (this.#heldBytes < this.#wanted) return [];
    let bytes = this.#held.length === 1 ? chunk : concat(this.#held);
    const found: (InitSegment | Fragment)[] = [];
    for (;;) {
      this.#wanted = 8;
      if (bytes.length < 8) break;
      const { type, size } = header(bytes, 0);
      const longest = longestBytes[type];
      if (longest === undefined) throw refuse("box", `has a box that is not known here`);
      if (size > longest) throw refuse("box", `has a ${type} of ${size} bytes`);
      this.#wanted = size;
      if (bytes.length < size) break;
      const whole = this.#take(type, bytes.subarray(0, size));
      if (whole) found.push(whole);
      bytes = bytes.subarray(size);
    }
    this.#held = bytes.length > 0 ? [bytes] : [];
    this.#heldBytes = bytes.length;
    return found;
  }

  /** Says that no more will come. */
  end(): void {
    if (this.#heldBytes > 0 || this.#done.length > 0) throw refuse("cut", "ends within a box");
  }

  #take(type: string, bytes: Uint8Array): InitSegment | Fragment | undefined {
    if (type === "free" || type === "styp") return undefined;
    const expected = this.#init ? ["moof", "mdat"] : ["ftyp", "moov"];
    if (type !== expected[this.#done.length]) {
      throw refuse("order", `has ${type} where ${expected[this.#done.length]} belongs`);
    }
    this.#done.push({ type, bytes });
    if (this.#done.length < 2) return undefined;
    const [first, second] = this.#done.map((box) => box.bytes);
    this.#done = [];
    if (!first || !second) return undefined;
    if (this.#init) return readFragment(first, second);
    this.#init = readInit(first, second);
    return this.#init;
  }
}

function readInit(ftyp: Uint8Array, moov: Uint8Array): InitSegment {
  const track = path(moov, 8, ["trak", "mdia"]);
  const mdhd = path(track, 0, ["mdhd"]);
  const timescale = u32(mdhd, mdhd[0] === 1 ? 20 : 12);
  const stsd = path(track, 0, ["minf", "stbl", "stsd"]);
  const entry = path(stsd, 8, ["avc1"]);
  // A visual sample entry is 78 bytes, its children follow (ISO/IEC 14496-12, 12.1.3).
  const avcC = path(entry, 78, ["avcC"]);
  const [version, profile, compatibility, level] = avcC;
  const sets = (avcC[5] ?? 0) & 0x1f;
  if (version !== 1 || profile === undefined || sets === 0 || avcC.length < 12) {
    // An encoder that gives its parameter sets too late leaves an empty avcC, and nothing plays it.
    throw refuse("init", "has no H.264 parameter sets");
  }
  if (timescale === 0) throw refuse("init", "has a timescale of 0");
  const hex = [profile, compatibility ?? 0, level ?? 0].map((b) => b.toString(16).padStart(2, "0"));
  return {
    kind: "init",
    bytes: concat([ftyp, moov]),
    codec: `avc1.${hex.join("")}`,
    width: u16(entry, 24),
    height: u16(entry, 26),
    timescale,
  };
}

/** Bits of tfhd and trun flags: which fields are there (ISO/IEC 14496-12, 8.8.7 and 8.8.8). */
const tfhdFields = { base: 0x1, description: 0x2, duration: 0x8, size: 0x10, flags: 0x20 } as const;
const trunFields = { offset: 0x1, first: 0x4, duration: 0x100, size: 0x200, flags: 0x400 } as const;
const trunComposition = 0x800;
const notSync = 0x10000;

function readFragment(moof: Uint8Array, mdat: Uint8Array): Fragment {
  const traf = path(moof, 8, ["traf"]);
  const tfhd = path(traf, 0, ["tfhd"]);
  const tfhdFlags = u32(tfhd, 0) & 0xffffff;
  let at = 8;
  if (tfhdFlags & tfhdFields.base) at += 8;
  if (tfhdFlags & tfhdFields.description) at += 4;
  let duration = 0;
  if (tfhdFlags & tfhdFields.duration) {
    duration = u32(tfhd, at);
    at += 4;
  }
  if (tfhdFlags & tfhdFields.size) at += 4;
  const defaultFlags = tfhdFlags & tfhdFields.flags ? u32(tfhd, at) : 0;

  const tfdt = path(traf, 0, ["tfdt"]);
  const start = tfdt[0] === 1 ? u32(tfdt, 4) * 2 ** 32 + u32(tfdt, 8) : u32(tfdt, 4);
  const run = readRun(path(traf, 0, ["trun"]), duration, defaultFlags);
  if (run.samples === 0 || !Number.isSafeInteger(start)) throw refuse("fragment", "is empty");
  return { kind: "fragment", bytes: concat([moof, mdat]), start, ...run };
}

function readRun(trun: Uint8Array, defaultDuration: number, defaultFlags: number) {
  const flags = u32(trun, 0) & 0xffffff;
  const samples = u32(trun, 4);
  let at = 8;
  if (flags & trunFields.offset) at += 4;
  let firstFlags = defaultFlags;
  if (flags & trunFields.first) {
    firstFlags = u32(trun, at);
    at += 4;
  }
  const each = [trunFields.duration, trunFields.size, trunFields.flags, trunComposition];
  const stride = 4 * each.filter((field) => flags & field).length;
  if (trun.length - at !== samples * stride)
    throw refuse("fragment", "has a run of a wrong length");
  if (flags & trunFields.flags && samples > 0) {
    const before = each.slice(0, 2).filter((field) => flags & field).length;
    firstFlags = u32(trun, at + 4 * before);
  }
  let duration = flags & trunFields.duration ? 0 : samples * defaultDuration;
  if (flags & trunFields.duration) {
    for (let i = 0; i < samples; i++) duration += u32(trun, at + i * stride);
  }
  return { samples, duration, key: (firstFlags & notSync) === 0 };
}

function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

function u32(bytes: Uint8Array, at: number): number {
  if (at + 4 > bytes.length) throw refuse("box", "has a box that is too short");
  return u16(bytes, at) * 0x10000 + u16(bytes, at + 2);
}

function header(bytes: Uint8Array, at: number): { type: string; size: number } {
  const size = u32(bytes, at);
  const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
  // 0 would mean "to the end" and 1 a 64-bit length: neither is written by a live encoder.
  if (size < 8) throw refuse("box", `has a box of ${size} bytes`);
  return { type, size };
}

/** The body of the box found by descending through `names`, children starting at `at`. */
function path(bytes: Uint8Array, at: number, names: string[]): Uint8Array {
  const [name, ...rest] = names;
  let offset = at;
  while (offset + 8 <= bytes.length) {
    const { type, size } = header(bytes, offset);
    if (offset + size > bytes.length) throw refuse("box", `has a box longer than its parent`);
    if (type === name) {
      const body = bytes.subarray(offset + 8, offset + size);
      return rest.length === 0 ? body : path(body, 0, rest);
    }
    offset += size;
  }
  throw refuse("box", `has no ${name}`);
}
