import { fromHex, toHex } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import { digest, label, type Suite } from "./signature.ts";

// What a relay says of itself on the local network. Specification: announce.md.

export const service = "_obscura._tcp.local";
/** Of a camera's own interface: marks are of its identity, which no relay knows (local.md). */
export const cameraService = "_obscura-camera._tcp.local";
const saltBytes = 16;
export const marksMost = 16;
const marksStep = 8;
const markBytes = 6;
/** Random bytes that one announcement needs. */
export const randomMost = saltBytes + marksMost * markBytes;

export type Announcement = { isTls: boolean; salt: Uint8Array; marks: readonly string[] };

/** The mark by which a phone that knows the mailbox recognises it, and nobody else. */
export function markOf(mailbox: Uint8Array, salt: Uint8Array, suite: Suite): string {
  return toHex(digest(suite, label("announce"), salt, mailbox).subarray(0, markBytes));
}

/** @param random fresh random bytes, `randomMost` of them */
export function announce(
  mailboxes: readonly Uint8Array[],
  { isTls, random, suite }: { isTls: boolean; random: Uint8Array; suite: Suite },
): Announcement {
  if (random.length !== randomMost || mailboxes.length > marksMost) {
    throw new Failure("misuse", `an announcement is of ${marksMost} mailboxes at most`);
  }
  const salt = random.subarray(0, saltBytes);
  const count = Math.max(1, Math.ceil(mailboxes.length / marksStep)) * marksStep;
  const filling = Array.from({ length: count }, (_, i) =>
    toHex(random.subarray(saltBytes + i * markBytes, saltBytes + (i + 1) * markBytes)),
  );
  const marks = mailboxes.map((mailbox) => markOf(mailbox, salt, suite));
  return { isTls, salt, marks: [...marks, ...filling.slice(marks.length)].sort() };
}

/** The strings of the TXT record. */
export function printAnnouncement({ isTls, salt, marks }: Announcement): string[] {
  return ["v=1", `t=${isTls ? 1 : 0}`, `s=${toHex(salt)}`, `m=${marks.join("")}`];
}

/** Reads exactly what `printAnnouncement` prints; anything else is refused, stage "announcement". */
export function parseAnnouncement(strings: readonly string[]): Announcement {
  const [version = "", tls = "", salt = "", list = "", ...more] = strings;
  const marks = /^m=(?:[0-9a-f]{12}){8,16}$/.test(list)
    ? (list.slice(2).match(/.{12}/g) ?? [])
    : [];
  const isWell =
    version === "v=1" &&
    /^t=[01]$/.test(tls) &&
    /^s=[0-9a-f]{32}$/.test(salt) &&
    marks.length > 0 &&
    marks.length % marksStep === 0 &&
    marks.every((mark, i) => i === 0 || mark >= (marks[i - 1] ?? "")) &&
    more.length === 0;
  if (!isWell) throw new Failure("corrupt", "no announcement", { stage: "announcement" });
  return { isTls: tls === "t=1", salt: fromHex(salt.slice(2)), marks };
}

/** Whether a mailbox is among those announced. */
export function isAnnounced(
  { salt, marks }: Announcement,
  mailbox: Uint8Array,
  suite: Suite,
): boolean {
  return marks.includes(markOf(mailbox, salt, suite));
}
