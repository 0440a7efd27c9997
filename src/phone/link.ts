import type { Sealed } from "../protocol/sealed/sealed.ts";
import type { Name } from "../protocol/wire/name.ts";

/** Where a camera's objects lie for a phone: a folder, a relay. Trusted with nothing. */
export type Link = {
  /** Every name there, in no order that may be relied on. A hint: see `find`. */
  list(): Promise<Name[]>;
  /** The bytes under a name, unchecked; undefined when there is nothing. */
  get(name: Name): Promise<Uint8Array | undefined>;
  /** Durable there when it resolves. */
  put(object: Sealed): Promise<void>;
};
