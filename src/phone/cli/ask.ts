import { nodeSuite } from "../../base/node/crypto.ts";
import { systemClock } from "../../base/node/time.ts";
import { Failure } from "../../base/pure/failure.ts";
import { entryName } from "../../protocol/wire/entry.ts";
import { printName } from "../../protocol/wire/name.ts";
import { type Journal, readJournal, statements } from "../journal.ts";
import { addOutgoing, type LastingAction, sendOutgoing } from "../outgoing.ts";
import { keep } from "../settle.ts";
import { look } from "../survey.ts";
import type { Voice } from "./out.ts";
import { Patience } from "./patience.ts";
import type { World } from "./world.ts";

const defaultWaitMs = 20_000;
const longestWaitMs = 20_000;
const folderPauseMs = 500;
const longestRestMs = 5_000;

/** The log as far as it is known. */
export async function readLog({ store, vault, camera, link }: World): Promise<Journal> {
  const options = {
    link,
    vault,
    camera,
    suite: nodeSuite,
    depth: "new",
    shelf: store.shelf,
  } as const;
  const { journal, keepOn } = await look(options);
  if (keep(journal, camera)) vault.touch();
  await vault.saveIfTouched();
  await keepOn();
  return journal;
}

/**
 * Reads what comes into the log until `find` finds what was waited for, and returns both; undefined
 * for what did not come in time.
 */
export async function waitForLog<T>(
  { camera, link }: World,
  first: Journal,
  waitMs: number,
  find: (journal: Journal) => T | undefined,
): Promise<{ journal: Journal; found: T | undefined }> {
  const end = performance.now() + waitMs;
  const patience = new Patience();
  let journal = first;
  for (;;) {
    const found = find(journal);
    const restMs = end - performance.now();
    if (found !== undefined || restMs <= 0) return { journal, found };
    const head = journal.records.at(-1)?.entry;
    const range = { under: "entry/", after: head ? printName(entryName(head, head.hash)) : "" };
    const signal = AbortSignal.timeout(Math.ceil(restMs));
    const wait = link.wait
      ? link.wait(range, Math.min(restMs, longestWaitMs), signal)
      : systemClock.sleep(folderPauseMs, signal);
    const startMs = performance.now();
    const onlyOther = (error: unknown) => {
      if (!signal.aborted) throw error;
    };
    await wait.catch(onlyOther);
    const waitedMs = link.wait ? performance.now() - startMs : Number.POSITIVE_INFINITY;
    const kept = journal.records.slice(0, journal.sound).map(({ entry }) => entry);
    journal = await readJournal({ link, camera, suite: nodeSuite, kept });
    const isNew = (journal.records.at(-1)?.entry.sequence ?? -1) > (head?.sequence ?? -1);
    const rest = { waitedMs, isNew, longestMs: longestRestMs };
    await patience.rest(rest, signal).catch(onlyOther);
  }
}

/** `what` is for people: what was asked for. */
type Waiting = { what: string; waitMs: number | undefined; voice: Voice };

/**
 * Has the camera carry out a command that lasts, and waits for its log to say so. "waits" when it
 * has not answered in time: every later command sends it again. Throws Failure "refused" with the
 * camera's reason.
 */
export async function haveDone(
  world: World,
  first: Journal,
  action: LastingAction,
  { what, waitMs = defaultWaitMs, voice }: Waiting,
): Promise<"done" | "waits"> {
  const { vault, camera, link } = world;
  const send = (journal: Journal) =>
    sendOutgoing({ link, vault, camera, journal, suite: nodeSuite, nowMs: Date.now() });
  const item = addOutgoing(camera, action, Date.now());
  await vault.save();
  await send(first);
  voice.progress("waiting for the camera");
  const { journal, found } = await waitForLog(world, first, waitMs, (journal) =>
    statements(journal, "command-done").find(({ statement }) =>
      item.numbers.includes(statement.number),
    ),
  );
  voice.progress("");
  if (!found) return "waits";
  await send(journal);
  const { refused } = found.statement;
  if (refused === undefined) return "done";
  throw new Failure("refused", `the camera refuses ${what}: ${refused}`, { stage: action.kind });
}
