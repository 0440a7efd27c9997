import { Failure } from "./failure.ts";

/** Big-endian reading with refusals: every read checks its length before it allocates. */
export class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #what: string;
  #at = 0;

  /** @param what names the object in the refusal ("part", "stanza") */
  constructor(bytes: Uint8Array, what: string) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#what = what;
  }

  get offset(): number {
    return this.#at;
  }

  get remaining(): number {
    return this.#bytes.length - this.#at;
  }

  #take(count: number): number {
    const at = this.#at;
    if (count > this.#bytes.length - at) throw this.refuse("length", `${this.#what} is cut short`);
    this.#at = at + count;
    return at;
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2));
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4));
  }

  /** An unsigned 64-bit integer up to 2^53 - 1; more is refused. */
  u64(): number {
    const value = this.#view.getBigUint64(this.#take(8));
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
      throw this.refuse("range", `${this.#what} holds a number above 2^53 - 1`);
    }
    return Number(value);
  }

  /** A view of the next `count` bytes, not a copy. */
  take(count: number): Uint8Array {
    const at = this.#take(count);
    return this.#bytes.subarray(at, at + count);
  }

  /** Bytes behind a 16-bit length, at most `limit` of them. */
  bytes16(limit: number): Uint8Array {
    return this.#limited(this.u16(), limit);
  }

  /** Bytes behind a 32-bit length, at most `limit` of them. */
  bytes32(limit: number): Uint8Array {
    return this.#limited(this.u32(), limit);
  }

  #limited(length: number, limit: number): Uint8Array {
    if (length > limit) {
      throw this.refuse("length", `${this.#what} has a field of ${length} bytes, at most ${limit}`);
    }
    return this.take(length);
  }

  /** Refuses anything left over: one canonical form, no trailing bytes. */
  end(): void {
    if (this.remaining > 0) {
      throw this.refuse("length", `${this.#what} has ${this.remaining} bytes too many`);
    }
  }

  refuse(stage: string, message: string): Failure {
    return new Failure("corrupt", message, { stage });
  }
}

/** Big-endian writing into a list of pieces, joined once. */
export class Writer {
  readonly #pieces: Uint8Array[] = [];

  #number(size: number, value: number): this {
    const piece = new Uint8Array(size);
    for (let at = size - 1, rest = value; at >= 0; at--) {
      piece[at] = rest;
      rest = Math.floor(rest / 256);
    }
    return this.raw(piece);
  }

  u8(value: number): this {
    return this.#number(1, value);
  }

  u16(value: number): this {
    return this.#number(2, value);
  }

  u32(value: number): this {
    return this.#number(4, value);
  }

  u64(value: number): this {
    const piece = new Uint8Array(8);
    new DataView(piece.buffer).setBigUint64(0, BigInt(value));
    return this.raw(piece);
  }

  raw(bytes: Uint8Array): this {
    this.#pieces.push(bytes);
    return this;
  }

  bytes16(bytes: Uint8Array): this {
    return this.u16(bytes.length).raw(bytes);
  }

  bytes32(bytes: Uint8Array): this {
    return this.u32(bytes.length).raw(bytes);
  }

  done(): Uint8Array {
    return concat(this.#pieces);
  }
}

export function concat(pieces: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

export function equal(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** True when every byte is zero, as padding is. A loop: `every` takes ten times as long. */
export function isZero(bytes: Uint8Array): boolean {
  let all = 0;
  for (let i = 0; i < bytes.length; i++) all |= bytes[i] ?? 0;
  return all === 0;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const digits: Uint8Array = encoder.encode("0123456789abcdef");

/** Lower-case hexadecimal. By bytes: a string that grows by the digit takes ten times as long. */
export function toHex(bytes: Uint8Array): string {
  const text = new Uint8Array(2 * bytes.length);
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] ?? 0;
    text[2 * i] = digits[byte >> 4] ?? 0;
    text[2 * i + 1] = digits[byte & 15] ?? 0;
  }
  return decoder.decode(text);
}

/** Reads lower-case hexadecimal only: one canonical form. */
export function fromHex(text: string): Uint8Array {
  if (!/^(?:[0-9a-f]{2})*$/.test(text)) {
    throw new Failure("corrupt", "not lower-case hexadecimal", { stage: "hex" });
  }
  const valueAt = (at: number) => {
    const code = text.charCodeAt(at);
    return code < 0x3a ? code - 0x30 : code - 0x57;
  };
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = (valueAt(2 * i) << 4) | valueAt(2 * i + 1);
  return bytes;
}

export function fromText(text: string): Uint8Array {
  return encoder.encode(text);
}

/** Reads UTF-8; anything that is not well-formed UTF-8 is refused. */
export function toText(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw new Failure("corrupt", "not UTF-8 text", { stage: "text", cause });
  }
}
