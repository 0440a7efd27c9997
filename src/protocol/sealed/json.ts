import { fromHex, fromText, toHex, toText } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";

/**
 * Sealed JSON, read strictly: each field is named with its type and its bounds, what is unknown is
 * left out of the result, what is wrong is refused (stage "json").
 */
export type Check<T> = (value: unknown, path: string) => T;
export type Checked<C> = C extends Check<infer T> ? T : never;

function refuse(path: string, expected: string): never {
  throw new Failure("corrupt", `${path} is not ${expected}`, { stage: "json" });
}

/** A whole number from `least` to `most`. */
export function integer(least = 0, most = Number.MAX_SAFE_INTEGER): Check<number> {
  return (value, path) =>
    typeof value === "number" && Number.isSafeInteger(value) && value >= least && value <= most
      ? value
      : refuse(path, `a whole number from ${least} to ${most}`);
}

/** A finite number from `least` to `most`. */
export function number(least: number, most: number): Check<number> {
  return (value, path) =>
    typeof value === "number" && value >= least && value <= most
      ? value
      : refuse(path, `a number from ${least} to ${most}`);
}

export const flag: Check<boolean> = (value, path) =>
  typeof value === "boolean" ? value : refuse(path, "true or false");

/** Text of at most `most` characters, without control characters: it is shown on terminals. */
export function text(most: number): Check<string> {
  return (value, path) =>
    typeof value === "string" && value.length <= most && !/\p{Cc}|\p{Cs}/u.test(value)
      ? value
      : refuse(path, `plain text of at most ${most} characters`);
}

/** Exactly `count` bytes (or from `count` to `most`) as lower-case hexadecimal. */
export function hex(count: number, most = count): Check<string> {
  return (value, path) =>
    typeof value === "string" &&
    value.length >= 2 * count &&
    value.length <= 2 * most &&
    value.length % 2 === 0 &&
    /^[0-9a-f]*$/.test(value)
      ? value
      : refuse(path, `${sized(count, most)} in hexadecimal`);
}

/** As `hex`, read into bytes; bytes that are to be written are taken as they are. */
export function bytes(count: number, most = count): Check<Uint8Array> {
  const check = hex(count, most);
  return (value, path) => {
    if (!(value instanceof Uint8Array)) return fromHex(check(value, path));
    if (value.length >= count && value.length <= most) return value;
    return refuse(path, sized(count, most));
  };
}

function sized(count: number, most: number): string {
  return `${count === most ? count : `${count} to ${most}`} bytes`;
}

export function oneOf<const T extends string>(...names: T[]): Check<T> {
  return (value, path) =>
    names.find((name) => name === value) ?? refuse(path, `one of ${names.join(", ")}`);
}

export function list<T>(item: Check<T>, most: number): Check<T[]> {
  return (value, path) =>
    Array.isArray(value) && value.length <= most
      ? value.map((each, i) => item(each, `${path}[${i}]`))
      : refuse(path, `a list of at most ${most}`);
}

/** A field that may be missing (never null). */
export type Optional<T> = { readonly optional: Check<T> };

export function optional<T>(check: Check<T>): Optional<T> {
  return { optional: check };
}

type Fields = Record<string, Check<unknown> | Optional<unknown>>;
type Flat<T> = { [K in keyof T]: T[K] };
type Read<F extends Fields> = Flat<
  { [K in keyof F as F[K] extends Check<unknown> ? K : never]: Checked<F[K]> } & {
    [K in keyof F as F[K] extends Check<unknown> ? never : K]?: F[K] extends Optional<infer T>
      ? T
      : never;
  }
>;

/** An object with these fields; others are ignored. */
export function object<F extends Fields>(fields: F): Check<Read<F>> {
  return (value, path) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      return refuse(path, "an object");
    }
    const result: Record<string, unknown> = {};
    for (const [name, field] of Object.entries(fields)) {
      const present = Object.hasOwn(value, name);
      const inner = present ? (value as Record<string, unknown>)[name] : undefined;
      const where = `${path}.${name}`;
      if (typeof field === "function") result[name] = field(inner, where);
      else if (inner !== undefined) result[name] = field.optional(inner, where);
    }
    return result as Read<F>;
  };
}

/** Reads at most `limitBytes` of UTF-8 JSON. */
export function parse<T>(bytes: Uint8Array, limitBytes: number, what: string, check: Check<T>): T {
  if (bytes.length > limitBytes) {
    throw new Failure("corrupt", `${what} of ${bytes.length} bytes, at most ${limitBytes}`, {
      stage: "length",
    });
  }
  let value: unknown;
  const source = toText(bytes);
  try {
    value = JSON.parse(source);
  } catch (cause) {
    throw new Failure("corrupt", `${what} is not JSON`, { stage: "json", cause });
  }
  return check(value, what);
}

/**
 * Writes what `parse` reads, by the same check: nothing is sealed that the other side refuses.
 * Bytes are written as lower-case hexadecimal.
 */
export function print<T>(value: T, limitBytes: number, what: string, check: Check<T>): Uint8Array {
  const encoded = fromText(JSON.stringify(check(value, what), asHex));
  if (encoded.length > limitBytes) {
    throw new Failure("misuse", `${what} of ${encoded.length} bytes, at most ${limitBytes}`);
  }
  return encoded;
}

// The holder is asked, because a Buffer turns itself into something else before a replacer sees it.
function asHex(this: unknown, key: string, value: unknown): unknown {
  const held = (this as Record<string, unknown>)[key];
  return held instanceof Uint8Array ? toHex(held) : value;
}
