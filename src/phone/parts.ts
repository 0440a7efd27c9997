import { equal, fromHex, toHex } from "../base/pure/bytes.ts";
import { Failure } from "../base/pure/failure.ts";
import { printClip } from "../protocol/wire/mailbox.ts";
import type { Name, PartName } from "../protocol/wire/name.ts";
import { decodePart } from "../protocol/wire/part.ts";
import type { Fault } from "./fault.ts";
import type { Journal } from "./journal.ts";
import { type Link, pages } from "./link.ts";
import { readTold, type Told } from "./told.ts";
import type { CameraKeys } from "./vault.ts";

// Which parts of a clip are there, and which of them are meant.

/** Says what is wrong with one clip. */
export type Add = (severity: Fault["severity"], kind: Fault["kind"], text: string) => void;

/**
 * The parts that are there, by clip. Over a relay and for a quick look only those of clips that were
 * not read to their end before; the others are passed over (`withParts` lists them when wanted).
 */
export async function listParts(
  { link, camera, depth }: { link: Link; camera: CameraKeys; depth: "all" | "new" },
  told: ReadonlyMap<string, Told>,
): Promise<{ parts: Map<string, PartName[]>; passed: Set<string> }> {
  const parts = new Map<string, PartName[]>();
  const passed = new Set<string>();
  if (link.kind === "folder" || depth === "all") {
    let more = mostUnnamed;
    for await (const page of pages(link, { under: "part/" })) {
      groupParts(page, parts);
      if (link.kind === "folder") continue;
      for (const name of page) if (!isNamed(name, told, parts)) more -= 1;
      if (more > 0) continue;
      throw new Failure(
        "corrupt",
        `more than ${mostUnnamed} parts that the log names no clip for`,
        {
          stage: "flood",
        },
      );
    }
    return { parts, passed };
  }
  for (const { clip, summary } of camera.clips) {
    const id = toHex(clip);
    const ended = told.get(id)?.ended;
    // As the log has it: nothing more can come of it.
    if (summary && ended && equal(summary.last, ended.hash)) passed.add(id);
  }
  for (const { clip } of camera.deleted) passed.add(toHex(clip));
  for (const [id, { started }] of told) {
    if (!started || passed.has(id)) continue;
    groupParts(await listClip(link, started.record.entry.incarnation, fromHex(id)), parts);
  }
  return { parts, passed };
}

/** Parts at a relay that no log speaks of: a phone that joined late may have so many, none has more. */
const mostUnnamed = 200_000;

function isNamed(
  name: Name,
  told: ReadonlyMap<string, Told>,
  parts: ReadonlyMap<string, readonly PartName[]>,
): boolean {
  if (name.kind !== "part") return false;
  const id = toHex(name.clip);
  const ended = told.get(id)?.ended;
  return ended !== undefined && (parts.get(id)?.length ?? 0) <= ended.number + 1;
}

function listClip(link: Link, incarnation: number, clip: Uint8Array): Promise<Name[]> {
  return link.list({ under: printClip({ incarnation, clip }) });
}

/** The clip with what is there of it, where a quick look passed it over. */
export async function withParts<C extends { id: Uint8Array; parts: readonly PartName[] }>(
  clip: C,
  journal: Journal,
  link: Link,
): Promise<C> {
  if (clip.parts.length > 0) return clip;
  const about = readTold(journal).get(toHex(clip.id));
  if (!about?.started) return clip;
  const { incarnation } = about.started.record.entry;
  const names = await listClip(link, incarnation, clip.id);
  const listed = [...groupParts(names, new Map()).values()].flat();
  return { ...clip, parts: await chooseParts(listed, about, link, () => {}) };
}

function groupParts(
  names: readonly Name[],
  groups: Map<string, PartName[]>,
): Map<string, PartName[]> {
  for (const name of names) {
    if (name.kind !== "part") continue;
    const id = toHex(name.clip);
    const group = groups.get(id);
    if (group) group.push(name);
    else groups.set(id, [name]);
  }
  return groups;
}

/**
 * One part for each number, in order; rivals are named. A part that a listing left out is asked for by
 * the name that the next one's previous hash, or the log, gives.
 */
export async function chooseParts(
  listed: readonly PartName[],
  { ended, started }: Told,
  link: Link,
  add: Add,
): Promise<PartName[]> {
  const rivals = new Map<number, PartName[]>();
  for (const part of listed) {
    const here = rivals.get(part.number);
    if (here) here.push(part);
    else rivals.set(part.number, [part]);
  }
  const clip = listed[0]?.clip ?? started?.clip;
  const incarnation = listed[0]?.incarnation ?? started?.record.entry.incarnation;
  const find = async (number: number, hash: Uint8Array): Promise<PartName | undefined> => {
    if (!clip || incarnation === undefined) return undefined;
    const name: PartName = { kind: "part", incarnation, clip, number, hash };
    return (await link.get(name)) ? name : undefined;
  };
  const falling = [...new Set([...rivals.keys(), ...(ended ? [ended.number] : [])])];
  falling.sort((a, b) => b - a);
  const chosen: PartName[] = [];
  let wanted: Uint8Array | undefined;
  for (let at = 0, number = falling[0]; number !== undefined; ) {
    const here = rivals.get(number) ?? [];
    if (ended?.number === number) wanted = ended.hash;
    const meant = wanted && here.find(({ hash }) => wanted && equal(hash, wanted));
    const one = meant ?? here[0] ?? (wanted && (await find(number, wanted)));
    if (here.length > 1) add("lie", "fork", `part ${number} is there in ${here.length} versions`);
    if (one) chosen.push(one);
    // Fetched for its previous hash only where the listing does not decide.
    const isPlain = number === 0 || rivals.get(number - 1)?.length === 1;
    wanted = one && !isPlain ? await previousOf(one, link) : undefined;
    if (wanted) number -= 1;
    else {
      while ((falling[at] ?? -1) >= number) at += 1;
      number = falling[at];
    }
  }
  return chosen.reverse();
}

async function previousOf(name: PartName, link: Link): Promise<Uint8Array | undefined> {
  const bytes = await link.get(name);
  try {
    return bytes && decodePart(bytes).previous;
  } catch {
    return undefined; // its own check will name it
  }
}
