import { stat } from "node:fs/promises";
import { extname, join } from "node:path";
import { failureOf, makeFolder } from "../../base/node/durable.ts";
import { toHex } from "../../base/pure/bytes.ts";
import { explain, Failure, isFailure } from "../../base/pure/failure.ts";
import type { ThumbnailDetails } from "../../protocol/sealed/details.ts";
import type { Suite } from "../../protocol/wire/signature.ts";
import { pick, readClip } from "../clips.ts";
import type { Link } from "../link.ts";
import type { Clip, Survey } from "../survey.ts";
import type { CameraKeys } from "../vault.ts";
import type { Film } from "./film.ts";
import { type Voice, writeWhole } from "./out.ts";
import { printTime } from "./show.ts";

export type ExportOptions = {
  readonly clips: readonly Clip[];
  readonly link: Link;
  readonly camera: CameraKeys;
  readonly suite: Suite;
  /** All were asked for: one that ends before its first picture is told of, and no failure. */
  readonly all: boolean;
  readonly out: string | undefined;
  readonly voice: Voice;
};

export type Exported = {
  clip: string;
  file: string;
  bytes: number;
  /** False for a clip that was cut off: what there is of it is in the file. */
  whole: boolean;
  start?: string;
  seconds?: number;
  pictures?: number;
  width?: number;
  height?: number;
  persons?: number;
};

/** The clips that were asked for: those named, or every one that opens. */
export function choose(survey: Survey, operands: readonly string[]): Clip[] {
  if (operands.length > 0) return operands.map((prefix) => pick(survey.clips, prefix));
  const there = survey.clips.filter(
    ({ state, parts }) => state !== "deleted" && (state !== "lost" || parts.length > 0),
  );
  const open = there.filter(({ summary }) => summary);
  if (there.length > 0 && open.length === 0) {
    throw new Failure("denied", `none of the ${there.length} clips opens with the keys here`);
  }
  return open;
}

/** What was written, and how many clips could not be (each named on standard error). */
export type Outcome = { files: Exported[]; failed: number };

async function each(
  { clips, voice }: ExportOptions,
  act: (clip: Clip) => Promise<Exported[]>,
): Promise<Outcome> {
  const files: Exported[] = [];
  let failed = 0;
  for (const [i, clip] of clips.entries()) {
    if (clips.length > 1) voice.progress(`clip ${i + 1} of ${clips.length}`);
    try {
      files.push(...(await act(clip)));
    } catch (error) {
      // One clip that is broken keeps nobody from the others.
      if (!isFailure(error, "corrupt", "refused", "absent", "denied")) throw error;
      voice.warn(`clip ${toHex(clip.id).slice(0, 12)}: ${explain(error)}`);
      failed += 1;
    }
  }
  return { files, failed };
}

function refuseGone({ state, parts }: Clip): void {
  if (state === "deleted") throw new Failure("absent", "it was deleted: its key is destroyed");
  if (state === "lost" && parts.length === 0) {
    throw new Failure("absent", "the camera had to let it go");
  }
}

/**
 * Writes each clip as MP4; where its picture changed its size, one file for each size. One without
 * video, as a snapshot is, becomes the JPEG that is in it.
 */
export function exportClips(options: ExportOptions): Promise<Outcome> {
  return each(options, async (clip) => {
    refuseGone(clip);
    // Loaded here: it is large, and no other command needs it.
    const { makeFilm } = await import("./film.ts");
    const { pieces, whole, persons, trouble } = await readFilmPieces(clip, options);
    if (pieces.length === 0) return await exportPicture(clip, options, true);
    const files: Exported[] = [];
    for (const { init, fragments } of pieces) {
      const film = await makeFilm(init, fragments);
      const suffix = files.length === 0 ? "" : `-${files.length + 1}`;
      const file = await place(
        clip,
        { count: options.clips.length, out: options.out },
        ".mp4",
        suffix,
      );
      await writeWhole(file, film.bytes);
      files.push(describe(clip, file, film, whole, persons));
    }
    if (trouble) options.voice.warn(`clip ${toHex(clip.id).slice(0, 12)}: ${trouble}`);
    return files;
  });
}

async function readFilmPieces(clip: Clip, { link, camera, suite }: ExportOptions) {
  const reading = readClip(link, clip.parts, camera, suite);
  const pieces: { init: Uint8Array; fragments: Uint8Array[] }[] = [];
  let persons: number | undefined;
  let trouble: string | undefined;
  try {
    for await (const event of reading.events) {
      if (event.kind === "init") pieces.push({ init: event.bytes, fragments: [] });
      if (event.kind === "fragment") pieces.at(-1)?.fragments.push(event.bytes);
      if (event.kind === "closing") persons = event.details.mostPersons;
    }
  } catch (error) {
    // What came before a damaged part is still worth having.
    if (!isFailure(error, "corrupt", "refused") || pieces.length === 0) throw error;
    trouble = `exported up to a part that does not verify: ${explain(error)}`;
  }
  // A size that was begun and never filled is none.
  const filled = pieces.filter(({ fragments }) => fragments.length > 0);
  return { pieces: filled, whole: reading.end().whole, persons, trouble };
}

function describe(
  clip: Clip,
  file: string,
  film: Film,
  whole: boolean,
  persons: number | undefined,
): Exported {
  const { bytes, seconds, pictures, width, height } = film;
  return {
    ...{ clip: toHex(clip.id), file, bytes: bytes.length, whole, seconds, pictures, width, height },
    ...(clip.startMs === undefined ? {} : { start: new Date(clip.startMs).toISOString() }),
    ...(persons === undefined ? {} : { persons }),
  };
}

/** Writes the best picture of each clip: the person, or with `frame` the whole view. */
export function exportThumbnails(options: ExportOptions, frame: boolean): Promise<Outcome> {
  return each(options, async (clip) => {
    refuseGone(clip);
    return await exportPicture(clip, options, frame);
  });
}

async function exportPicture(
  clip: Clip,
  options: ExportOptions,
  frame: boolean,
): Promise<Exported[]> {
  const found = await readThumbnail(clip, options, frame);
  if (!found) {
    const isCut = clip.state === "cut off" || clip.state === "unfinished";
    const why = `there is no picture in it${isCut ? ": it ends before its first" : ""}`;
    if (!options.all || !isCut) throw new Failure("absent", why);
    options.voice.warn(`clip ${toHex(clip.id).slice(0, 12)}: ${why}`);
    return [];
  }
  // Who asked for a film did not know that there is only a picture.
  const out = options.out?.replace(/\.mp4$/i, ".jpg");
  const file = await place(clip, { count: options.clips.length, out }, ".jpg", "");
  await writeWhole(file, found.bytes);
  const { width, height } = found.details;
  const whole = clip.state === "whole";
  return [{ clip: toHex(clip.id), file, bytes: found.bytes.length, whole, width, height }];
}

async function readThumbnail(
  clip: Clip,
  { link, camera, suite }: ExportOptions,
  frame: boolean,
): Promise<{ details: ThumbnailDetails; bytes: Uint8Array } | undefined> {
  const wanted = frame ? "frame" : "person";
  let other: { details: ThumbnailDetails; bytes: Uint8Array } | undefined;
  let best: typeof other;
  // Later ones are better: the camera replaces its best picture while the clip runs.
  for await (const event of readClip(link, clip.parts, camera, suite).events) {
    if (event.kind !== "thumbnail") continue;
    if (event.details.what === wanted) best = event;
    else other = event;
  }
  return best ?? other;
}

/** What nobody calls a folder. */
const media = /^-$|\.(?:mp4|m4v|mov|mkv|avi|webm|jpe?g|png|gif|webp)$/i;

/**
 * -o names the file of a single clip, or the folder of several; else they go where one stands.
 * Throws Failure "misuse" for a file that cannot be what is written.
 */
export async function place(
  clip: Pick<Clip, "id" | "startMs">,
  { count, out }: { count: number; out: string | undefined },
  ending: string,
  suffix: string,
): Promise<string> {
  const given = out && extname(out).toLowerCase().replace(".jpeg", ".jpg");
  if (out !== undefined && count === 1 && given === ending) {
    return suffix === "" ? out : out.slice(0, -ending.length) + suffix + ending;
  }
  const folder = out ?? ".";
  const isFolder = await stat(folder).then(
    (found) => found.isDirectory(),
    () => false,
  );
  if (media.test(folder) && !isFolder) {
    const what = count === 1 ? `a file that ends in ${ending}, or a folder` : "a folder";
    throw new Failure("misuse", `-o ${folder}: ${what} was expected`);
  }
  await makeFolder(folder, 0o777).catch((error) => {
    throw failureOf(error, "mkdir", folder);
  });
  const time = printTime(clip.startMs, true).replace(" ", "_").replaceAll(":", "-");
  return join(folder, `${time}_${toHex(clip.id).slice(0, 12)}${suffix}${ending}`);
}
