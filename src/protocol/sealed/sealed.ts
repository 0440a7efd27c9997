import type { Name } from "../wire/name.ts";

/**
 * A class, and not exported: its private field makes the type one that no object literal and no
 * spread of another can fit, and that can be asked for while the program runs.
 */
class SealedObject {
  readonly name: Name;
  readonly bytes: Uint8Array;
  readonly #sealed = true;

  constructor(name: Name, bytes: Uint8Array) {
    this.name = name;
    this.bytes = bytes;
  }

  static is(value: unknown): value is SealedObject {
    return typeof value === "object" && value !== null && #sealed in value && value.#sealed;
  }
}

/**
 * Bytes that may leave the process: sealed and signed. Only this half of the protocol makes one,
 * out of a clip's part, a log entry, a beacon or a command; the outbox takes nothing else.
 */
export type Sealed = SealedObject;

/** True for what was made here, whatever the types were told. */
export function isSealed(value: unknown): value is Sealed {
  return SealedObject.is(value);
}

/**
 * The one place where one is made. Stripped from the declarations, so that code outside of this
 * project cannot name it: calling it there is a compile error.
 * @internal
 */
export function branded(name: Name, bytes: Uint8Array): Sealed {
  return new SealedObject(name, bytes);
}
