import { equal } from "../base/pure/bytes.ts";
import { explain, Failure, isFailure } from "../base/pure/failure.ts";
import { checkName, type EntryName, type PartName, printName } from "../protocol/wire/name.ts";
import type { Suite } from "../protocol/wire/signature.ts";

/**
 * What a phone found wrong. A *lie* is something that whoever keeps the objects, or somebody with
 * the camera's key, made so; a *loss* is something that was there and is not; a *note* is neither
 * and changes no verdict.
 */
export type Fault = {
  readonly severity: "lie" | "loss" | "note";
  readonly kind: FaultKind;
  /** For people, one sentence. */
  readonly text: string;
  readonly clip?: string; // id in hexadecimal
  readonly sequence?: number;
  readonly name?: string; // of the object, as in a listing
};

export type FaultKind =
  | "gap" // entries are missing
  | "fork" // two entries, or two parts, in one place
  | "rollback" // the log ends before what was known of it
  | "replay" // a good object under the name of another
  | "forged" // not signed by this camera
  | "damaged" // not the bytes that the name ends in
  | "newer" // of a later format than this program knows
  | "unreadable" // sealed to others, or the key for it is gone
  | "withheld" // named by the log and not there
  | "unfinished" // never ended, as far as the log says
  | "unlogged" // there, and not named by the log
  | "lost" // the camera says that it had to let it go
  | "broken" // verified and does not open
  | "silent" // the camera was not heard for long, as far as the relay tells
  | "checkpoint" // an owner stands for what was before
  | "dispute"; // two member lists over one parent

/** How a refusal of an object is named. */
export function faultOf(error: unknown, name: string): Fault {
  if (!isFailure(error, "corrupt", "refused")) throw error;
  const stage = error.stage ?? "";
  if (error.kind === "refused" && ["version", "suite", "flags", "statement"].includes(stage)) {
    return { severity: "note", kind: "newer", text: explain(error), name };
  }
  const kind = stage === "replay" ? "replay" : forgery.has(stage) ? "forged" : "damaged";
  return { severity: kind === "damaged" ? "loss" : "lie", kind, text: error.message, name };
}

const forgery: ReadonlySet<string> = new Set(["camera", "key", "signature"]);

/**
 * Verifies an object that came under a name. Bytes that neither fit the name nor a signature are
 * damaged; those that fit the name alone are forged; those that are signed but are not the ones
 * that the name means are replayed.
 */
export function judge<T extends { hash: Uint8Array }>(
  name: EntryName | PartName,
  bytes: Uint8Array,
  suite: Suite,
  verify: () => T,
): T {
  let verified: T;
  try {
    verified = verify();
  } catch (error) {
    // Bytes that are not the ones of the name are damaged, whatever else is wrong with them.
    checkName(name, bytes, suite);
    throw error;
  }
  if (!equal(verified.hash, name.hash)) {
    const message = `${printName(name)} holds another object of this camera`;
    throw new Failure("corrupt", message, { stage: "replay" });
  }
  return verified;
}
