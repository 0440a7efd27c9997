import type { Name } from "../wire/name.ts";

declare const brand: unique symbol;

/**
 * Bytes that may leave the process: sealed and signed. Only this half of the protocol makes one,
 * out of a clip's part, a log entry, a beacon or a command; the outbox takes nothing else.
 */
export type Sealed = { readonly name: Name; readonly bytes: Uint8Array; readonly [brand]: true };

/**
 * The one place where the brand is given. Stripped from the declarations, so that code outside of
 * this project cannot name it: calling it there is a compile error.
 * @internal
 */
export function branded(name: Name, bytes: Uint8Array): Sealed {
  return { name, bytes } as Sealed;
}
