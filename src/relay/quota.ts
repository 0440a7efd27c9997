import { Failure } from "../base/pure/failure.ts";
import type { Name } from "../protocol/wire/name.ts";

// What a mailbox may hold. Clips leave room for the log, and both leave room for the owner: a camera
// that films without end can silence neither its log nor its owner's commands.

export type Usage = { bytes: number; objects: number };

const share: Readonly<Record<Name["kind"], number>> = {
  part: 0.9,
  entry: 0.95,
  box: 1,
  beacon: 1,
  door: 1,
};

/** Throws Failure "full", stage "quota", when an object of `bytes` does not fit. */
export function checkQuota(kind: Name["kind"], bytes: number, usage: Usage, most: Usage): void {
  const fits =
    usage.bytes + bytes <= most.bytes * share[kind] &&
    usage.objects + 1 <= most.objects * share[kind];
  if (!fits) throw new Failure("full", "this mailbox is full", { stage: "quota" });
}
