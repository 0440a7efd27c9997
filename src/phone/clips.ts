import { equal, toHex } from "../base/pure/bytes.ts";
import { Failure, isFailure } from "../base/pure/failure.ts";
import { type ClipStart, checkClipKey, readStart } from "../protocol/sealed/clip.ts";
import { type ClipEnd, type ClipEvent, ClipOpener } from "../protocol/sealed/opened.ts";
import { keyIdOf, unwrap } from "../protocol/sealed/stanza.ts";
import type { PartName } from "../protocol/wire/name.ts";
import { printName } from "../protocol/wire/name.ts";
import { verifyPart } from "../protocol/wire/part.ts";
import type { Suite } from "../protocol/wire/signature.ts";
import { judge } from "./fault.ts";
import type { Link } from "./link.ts";
import type { CameraKeys, Summary } from "./vault.ts";

/** Where a clip's key came from; a one-time secret has to go when the key is safe. */
export type Opened = {
  /** As the header says, which a name in a listing need not. */
  readonly clip: Uint8Array;
  readonly key: Uint8Array;
  readonly headerHash: Uint8Array;
  readonly from: "vault" | { readonly oneTime: Uint8Array } | "day" | "restart";
};

/**
 * The clip's key: null when no stanza is for this phone. Throws a Failure "corrupt" when one is
 * and does not open, or opens to another key than the header commits to.
 */
export function findClipKey(start: ClipStart, camera: CameraKeys): Opened | null {
  const { header, headerHash, stanzas } = start;
  const known = camera.clips.find(({ clip }) => equal(clip, header.clip));
  if (known) {
    checkClipKey(start, known.key);
    return { clip: header.clip, key: known.key, headerHash, from: "vault" };
  }
  const open = (id: Uint8Array, secret: Uint8Array) => {
    for (const stanza of stanzas) {
      const key = unwrap(stanza, headerHash, id, secret);
      if (!key) continue;
      checkClipKey(start, key);
      return key;
    }
    return null;
  };
  for (const { id } of stanzas) {
    const mine = camera.oneTime.find((one) => equal(one.id, id));
    const key = mine && open(mine.id, mine.secret);
    if (key) return { clip: header.clip, key, headerHash, from: { oneTime: mine.id } };
  }
  for (const [from, keys] of [
    ["day", camera.days],
    ["restart", camera.restarts],
  ] as const) {
    for (const { fingerprint, secret } of keys) {
      const key = open(keyIdOf(fingerprint, header.clip), secret);
      if (key) return { clip: header.clip, key, headerHash, from };
    }
  }
  return null;
}

export type ClipReading = {
  readonly events: AsyncIterable<ClipEvent>;
  /** Set as soon as part 0 has been read. */
  opened(): Opened | undefined;
  end(): ClipEnd;
};

/** Thrown by a reading whose clip is sealed to others. */
export const notForUs = "not-for-us";

/**
 * Fetches, verifies and opens one clip, part by part. Ends early, without an error, at the first
 * part that is not there; a part that is there and wrong is an error.
 */
export function readClip(
  link: Link,
  parts: readonly PartName[],
  camera: CameraKeys,
  suite: Suite,
): ClipReading {
  let opened: Opened | undefined;
  const opener = new ClipOpener({
    ...{ camera: camera.id, suite },
    key: (start) => {
      const found = findClipKey(start, camera);
      if (!found) throw new Failure("denied", "sealed to other phones", { stage: notForUs });
      opened = found;
      return { clip: found.key };
    },
  });
  async function* events() {
    for (const [number, name] of parts.entries()) {
      if (name.number !== number) return;
      const bytes = await link.get(name);
      if (!bytes) return;
      judge(name, bytes, suite, () => verifyPart(bytes, camera.id, suite));
      yield* opener.push(bytes);
    }
  }
  return { events: events(), opened: () => opened, end: () => opener.end() };
}

/** Only the start of a clip, for its key: part 0 is enough. */
export async function openStart(
  link: Link,
  first: PartName,
  camera: CameraKeys,
  suite: Suite,
): Promise<Opened | null> {
  const bytes = await link.get(first);
  if (!bytes) throw new Failure("absent", `${printName(first)} is not there`);
  const part = judge(first, bytes, suite, () => verifyPart(bytes, camera.id, suite));
  return findClipKey(readStart(part, suite), camera);
}

/** Reads a clip to its end and says what it is; the video is checked and thrown away. */
export async function summarise(
  reading: ClipReading,
): Promise<{ summary: Summary | undefined; end: ClipEnd; failure: Failure | undefined }> {
  let summary: Omit<Summary, "last" | "whole"> | undefined;
  let failure: Failure | undefined;
  try {
    for await (const event of reading.events) {
      if (event.kind === "opening") {
        const { startUs, wallMs, clockTrusted, zones, width, height } = event.details;
        summary = { startUs, wallMs, clockTrusted, zones, width, height };
      } else if (event.kind === "closing" && summary) {
        const { durationMs, mostPersons } = event.details;
        summary = { ...summary, durationMs, persons: mostPersons };
      }
    }
  } catch (error) {
    if (!isFailure(error, "corrupt", "refused", "denied")) throw error;
    failure = error;
  }
  const end = reading.end();
  const complete =
    summary && end.last ? { ...summary, last: end.last.hash, whole: end.whole } : undefined;
  return { summary: complete, end, failure };
}

/** The clip whose id begins with `prefix`: at least four digits, and no other like it. */
export function pick<T extends { id: Uint8Array }>(clips: readonly T[], prefix: string): T {
  const found = clips.filter(({ id }) => toHex(id).startsWith(prefix.toLowerCase()));
  if (prefix.length < 4) {
    throw new Failure("misuse", `"${prefix}" is too short for a clip's id: four digits or more`);
  }
  if (found.length > 1) {
    throw new Failure("misuse", `"${prefix}" is the beginning of ${found.length} clips`);
  }
  const [clip] = found;
  if (!clip) {
    throw new Failure("absent", `there is no clip ${prefix}`, {
      hint: "`obscura-phone clips --from FOLDER` lists them",
    });
  }
  return clip;
}
