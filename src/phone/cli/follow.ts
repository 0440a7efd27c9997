import { stopSignal } from "../../base/node/program.ts";
import { systemClock } from "../../base/node/time.ts";
import { toHex } from "../../base/pure/bytes.ts";
import { explain, isFailure } from "../../base/pure/failure.ts";
import { entryName } from "../../protocol/wire/entry.ts";
import { printClip } from "../../protocol/wire/mailbox.ts";
import { printName } from "../../protocol/wire/name.ts";
import type { Link, Range } from "../link.ts";
import type { Line } from "../relay.ts";
import type { Clip, Survey } from "../survey.ts";
import { shortId } from "../vault.ts";
import type { Arguments } from "./arguments.ts";
import type { Voice } from "./out.ts";
import { Patience } from "./patience.ts";
import { clipToJson, printTime } from "./show.ts";
import { openHome } from "./store.ts";
import { openWorld, surveyWorld } from "./world.ts";

const longestWaitMs = 50_000;
const folderPauseMs = 1000;
const shortestBackoffMs = 1000;
const longestBackoffMs = 60_000;
/** How many running clips are watched for further parts. */
const mostWatched = 3;
/** A relay that says news without end, and has none, is asked this seldom in the end. */
const longestRestMs = 60_000;
/** The same while a clip grows: its parts are only names yet. */
const growingRestMs = 2_000;

export type ClipEvent = {
  readonly event: "there" | "began" | "grew" | "ended" | "changed";
  readonly clip: Clip;
};

/** What is new since the survey before, in the order of the clips. */
export function compare(before: ReadonlyMap<string, Clip> | undefined, now: Survey): ClipEvent[] {
  return now.clips.flatMap((clip): ClipEvent[] => {
    const known = before?.get(toHex(clip.id));
    if (!before) return [{ event: "there", clip }];
    if (!known) return [{ event: clip.state === "unfinished" ? "began" : "ended", clip }];
    if (known.state !== clip.state) {
      return [{ event: known.state === "unfinished" ? "ended" : "changed", clip }];
    }
    const isLonger = clip.state === "unfinished" && known.parts.length < clip.parts.length;
    return isLonger ? [{ event: "grew", clip }] : [];
  });
}

/**
 * Prints clips as they begin, grow and end, until it is stopped. Holds the keys only while it looks,
 * so that other commands find them free meanwhile; after a cut it goes on where it was.
 */
export async function followClips(given: Arguments, line: Line, voice: Voice): Promise<void> {
  const signal = stopSignal();
  // Nobody reads any more.
  process.stdout.once("error", () => process.kill(process.pid, "SIGTERM"));
  let before: ReadonlyMap<string, Clip> | undefined;
  let backoffMs = 0;
  const patience = new Patience();
  let waitedMs = Number.POSITIVE_INFINITY;
  let newest = -1;
  while (!signal.aborted) {
    try {
      const { link, ranges, found } = await lookOnce(given, line, voice);
      if (backoffMs > 0) voice.warn("back again");
      backoffMs = 0;
      const events = compare(before, found);
      for (const one of events) {
        voice.print(given.json ? `${JSON.stringify(toJson(one))}\n` : print(one));
      }
      if (before && !found.well) voice.progress("something is wrong here: see `verify`");
      before = new Map(found.clips.map((clip) => [toHex(clip.id), clip]));
      const last = found.journal.records.at(-1)?.entry.sequence ?? -1;
      const longestMs = events.length > 0 ? growingRestMs : longestRestMs;
      await patience.rest({ waitedMs, isNew: last > newest, longestMs }, signal);
      newest = last;
      const startMs = performance.now();
      await waitForNews(link, ranges, signal);
      waitedMs = link.wait ? performance.now() - startMs : Number.POSITIVE_INFINITY;
    } catch (error) {
      if (signal.aborted) return;
      if (!isFailure(error, "gone", "offline", "busy", "full")) throw error;
      if (backoffMs === 0) voice.warn(`${explain(error)}. Trying again until it works`);
      backoffMs = Math.min(longestBackoffMs, Math.max(shortestBackoffMs, backoffMs * 2));
      const pauseMs = Math.max(error.retryAfterMs ?? 0, backoffMs * (0.5 + Math.random() / 2));
      await systemClock.sleep(pauseMs, signal).catch(() => {});
    }
  }
}

async function lookOnce(given: Arguments, line: Line, voice: Voice) {
  await using store = await openHome(given.home, voice.warn);
  const world = await openWorld(given, store, line, voice);
  const found = await surveyWorld(world, "new", voice);
  return { link: world.link, found, ranges: newsOf(found) };
}

/** Where something new would lie: after the log's end, and after the last part of a running clip. */
function newsOf({ journal, clips }: Survey): Range[] {
  const head = journal.records.at(-1)?.entry;
  const running = clips.filter(({ state, parts }) => state === "unfinished" && parts.length > 0);
  return [
    { under: "entry/", after: head ? printName(entryName(head, head.hash)) : "" },
    ...running.slice(-mostWatched).flatMap(({ parts }) => {
      const last = parts.at(-1);
      return last ? [{ under: printClip(last), after: printName(last) }] : [];
    }),
  ];
}

async function waitForNews(link: Link, ranges: Range[], signal: AbortSignal): Promise<void> {
  const { wait } = link;
  if (!wait) return await systemClock.sleep(folderPauseMs, signal);
  const enough = new AbortController();
  const both = AbortSignal.any([signal, enough.signal]);
  const waits = ranges.map((range) => wait(range, longestWaitMs, both));
  try {
    await Promise.race(waits);
  } finally {
    enough.abort();
    await Promise.allSettled(waits);
  }
}

function print({ event, clip }: ClipEvent): string {
  const { id, startMs, clockTrusted, summary, state, parts } = clip;
  const time = `${shortId(id)}  ${printTime(startMs, clockTrusted)}`;
  switch (event) {
    case "began":
      return `${time}  begins\n`;
    case "grew":
      return `${time}  goes on, ${parts.length} parts\n`;
    case "there":
    case "ended":
    case "changed": {
      const seconds = summary?.durationMs === undefined ? "" : `${summary.durationMs / 1000} s, `;
      const persons = summary?.persons === undefined ? "" : `${summary.persons} at once, `;
      return `${time}  ${seconds}${persons}${state}\n`;
    }
  }
}

function toJson({ event, clip }: ClipEvent) {
  return { event, ...clipToJson(clip) };
}
