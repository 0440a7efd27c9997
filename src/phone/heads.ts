import { equal, toHex } from "../base/pure/bytes.ts";
import { isFailure } from "../base/pure/failure.ts";
import { openBox, sealBox } from "../protocol/sealed/box.ts";
import { circleOf } from "../protocol/sealed/join.ts";
import { type Member, roleOf } from "../protocol/sealed/membership.ts";
import { encodeSeen, seenPair, verifySeen } from "../protocol/sealed/seen.ts";
import { sign, signPublicKey } from "../protocol/sealed/sodium.ts";
import { type BoxName, type Name, printName } from "../protocol/wire/name.ts";
import type { Suite } from "../protocol/wire/signature.ts";
import { doorKeyOf } from "./doors.ts";
import type { Fault } from "./fault.ts";
import { pages } from "./link.ts";
import { type OutgoingOptions, tidy } from "./outgoing.ts";
import type { CameraKeys } from "./vault.ts";

// Phones compare heads: two that are served different logs find out (seen.md).

/** A phone names its newest entry at most once in this time, unless it is asked to. */
const namedEveryMs = 24 * 60 * 60 * 1000;
/** Of each phone's box, how many of these are read, and how many objects are looked into for them. */
const mostSeen = 2;
const mostLooked = 64;

/** The secret that the phones of this camera share. */
export function circle(camera: CameraKeys): Uint8Array | undefined {
  return camera.root ? circleOf(camera.root) : camera.circle;
}

/** Names the newest entry to the other phones, and holds what they named against this log. */
export async function compareHeads(
  options: OutgoingOptions,
  always: boolean,
): Promise<readonly Fault[]> {
  const { link, vault, camera, journal, suite, nowMs } = options;
  const shared = circle(camera);
  const last = journal.records.at(-1)?.entry;
  if (!shared || !last) return [];
  const pair = seenPair(shared);
  const { phone, phoneKey } = vault.content;
  const faults: Fault[] = [];
  const { members } = journal.members.head;
  for (const member of members) {
    if (equal(member.phone, phoneKey)) continue;
    const writer = camera.root && doorKeyOf(camera.root, member.phone);
    faults.push(...(await readSeen(options, pair, writer, member)));
    if (!writer) break;
  }
  const named = camera.named;
  const isDue = always || !named || nowMs - named.atMs >= namedEveryMs;
  const isSound = !journal.faults.some(({ severity }) => severity === "lie");
  if (isDue && isSound && members.length > 1 && last.sequence > (named?.sequence ?? -1)) {
    const { incarnation, sequence, hash } = last;
    const about = { camera: camera.id, phone: phoneKey, atMs: nowMs, incarnation, sequence, hash };
    const { bytes } = encodeSeen(about, { sign: (message) => sign(phone, message), suite });
    const place = { writer: signPublicKey(camera.request), sequence: nowMs };
    camera.named = { atMs: nowMs, sequence };
    const object = sealBox(bytes, pair.publicKey, place, suite);
    await link.put(object);
    await tidy(link, await olderSeen(options, pair, object.name));
    vault.touch();
    await vault.saveIfTouched();
  }
  return faults;
}

type SeenPair = ReturnType<typeof seenPair>;

/** What this phone named before, in its own box: the newest entry stands for all of it. */
async function olderSeen(
  { link, camera, vault, suite }: OutgoingOptions,
  pair: SeenPair,
  newest: Name,
): Promise<BoxName[]> {
  const isSent = new Set(camera.outgoing.flatMap(({ sent }) => (sent ? printName(sent.name) : [])));
  isSent.add(printName(newest));
  const found: BoxName[] = [];
  let looked = 0;
  const under = `box/${toHex(signPublicKey(camera.request))}/`;
  for (const name of await link.list({ under })) {
    if (name.kind !== "box" || isSent.has(printName(name))) continue;
    looked += 1;
    if (looked > mostLooked) break;
    const seen = openSeen(await link.get(name), pair, suite);
    if (seen && equal(seen.phone, vault.content.phoneKey)) found.push(name);
  }
  return found;
}

/** Undefined for what lies in a box and is something else. */
function openSeen(bytes: Uint8Array | undefined, pair: SeenPair, suite: Suite) {
  try {
    const plain = bytes && openBox(bytes, [pair], suite);
    return plain ? verifySeen(plain, suite) : undefined;
  } catch (error) {
    if (isFailure(error)) return undefined;
    throw error;
  }
}

async function readSeen(
  { link, camera, journal, suite, vault }: OutgoingOptions,
  pair: SeenPair,
  writer: Uint8Array | undefined,
  { name }: Member,
): Promise<Fault[]> {
  const names: Name[] = [];
  const under = writer ? `box/${toHex(writer)}/` : "box/";
  for await (const page of pages(link, { under })) names.push(...page);
  const faults: Fault[] = [];
  let [read, looked] = [0, 0];
  for (const one of names.reverse()) {
    looked += 1;
    if (looked > mostLooked || (writer && read >= mostSeen)) break;
    const seen = openSeen(one.kind === "box" ? await link.get(one) : undefined, pair, suite);
    if (!seen) continue;
    read += 1;
    const role = roleOf(journal.members.head, seen.phone);
    if (!role || !equal(seen.camera, camera.id)) continue;
    if (equal(seen.phone, vault.content.phoneKey)) continue;
    const who =
      journal.members.head.members.find(({ phone }) => equal(phone, seen.phone))?.name ?? name;
    const here = journal.records.find(({ entry }) => entry.sequence === seen.sequence)?.entry;
    const end = journal.records.at(-1)?.entry.sequence ?? -1;
    if (here && !equal(here.hash, seen.hash)) {
      const text = `${who || "another phone"} was shown another log entry ${seen.sequence}: the log was forked`;
      faults.push({ severity: "lie", kind: "fork", text, sequence: seen.sequence });
    } else if (seen.sequence > end) {
      const text = `the log ends at ${end}, and ${who || "another phone"} saw up to ${seen.sequence}`;
      faults.push({ severity: "loss", kind: "rollback", text, sequence: seen.sequence });
    }
  }
  return faults;
}
