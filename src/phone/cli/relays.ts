import { nodeSuite } from "../../base/node/crypto.ts";
import { explain, isFailure } from "../../base/pure/failure.ts";
import { entryName } from "../../protocol/wire/entry.ts";
import { printName } from "../../protocol/wire/name.ts";
import type { Fault } from "../fault.ts";
import { readJournal } from "../journal.ts";
import { type Link, pages } from "../link.ts";
import { type Line, openRelay } from "../relay.ts";
import type { Survey } from "../survey.ts";
import type { CameraKeys } from "../vault.ts";

/** What the camera's other relays lack or show otherwise, against the one that was looked at. */
export async function compareRelays(
  urls: readonly string[],
  link: Link,
  found: Survey,
  camera: CameraKeys,
  line: Line,
): Promise<Fault[]> {
  const faults: Fault[] = [];
  for (const url of urls) {
    if (url === link.where) continue;
    try {
      faults.push(...(await compareOne(await openRelay(url, camera, line), link, found, camera)));
    } catch (error) {
      if (!isFailure(error, "gone", "offline", "refused", "corrupt")) throw error;
      faults.push({ severity: "note", kind: "withheld", text: explain(error) });
    }
  }
  return faults;
}

async function compareOne(
  other: Link,
  link: Link,
  { journal, clips }: Survey,
  camera: CameraKeys,
): Promise<Fault[]> {
  const faults: Fault[] = [...(other.faults ?? [])];
  const entries = journal.records.map(({ entry }) => entry);
  const lacks = async (under: string, ours: readonly string[], what: string) => {
    const missing = new Set(ours);
    for await (const page of pages(other, { under })) {
      for (const name of page) missing.delete(printName(name));
    }
    if (missing.size === 0) return;
    const text = `relay ${other.where} lacks ${missing.size} ${what} that ${link.where} has`;
    faults.push({ severity: "loss", kind: "withheld", text });
  };
  await lacks(
    "entry/",
    entries.map((entry) => printName(entryName(entry, entry.hash))),
    "log entries",
  );
  const parts = clips.filter(({ state }) => state !== "deleted").flatMap((clip) => clip.parts);
  await lacks("part/", parts.map(printName), "parts of clips");
  // What it has beyond ours, or in place of it.
  const kept = entries.slice(0, journal.sound);
  const theirs = await readJournal({ link: other, camera, suite: nodeSuite, kept });
  for (const { severity, kind, text, sequence } of theirs.faults) {
    if (severity !== "lie") continue;
    faults.push({
      ...{ severity, kind, text: `relay ${other.where}: ${text}` },
      ...(sequence === undefined ? {} : { sequence }),
    });
  }
  return faults;
}
