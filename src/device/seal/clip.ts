import { toHex } from "../../base/pure/bytes.ts";
import type { Clock } from "../../base/pure/clock.ts";
import { Failure, isFailure } from "../../base/pure/failure.ts";
import { ClipSealer } from "../../protocol/sealed/clip.ts";
import type {
  ClosingDetails,
  OpeningDetails,
  ThumbnailDetails,
} from "../../protocol/sealed/details.ts";
import type { Sealed } from "../../protocol/sealed/sealed.ts";
import type { Sign } from "../../protocol/wire/signature.ts";
import { isStorageFailure, type Outbox } from "../outbox/outbox.ts";
import { sealingSuite } from "./aead.ts";
import { fallbackOf, type Journal } from "./journal.ts";
import type { EndReason } from "./notebook.ts";
import { type Chosen, chooseForClip } from "./recipients.ts";

/** What of a recording is sealed; the recorder's own type has more. */
export type Recording = {
  readonly incident: string;
  readonly opening: OpeningDetails;
  /** Throws when the recording was cut off: what came before stands. */
  readonly pieces: AsyncIterable<
    | { kind: "init"; bytes: Uint8Array }
    | { kind: "fragment"; bytes: Uint8Array }
    | ({ kind: "thumbnail"; bytes: Uint8Array } & ThumbnailDetails)
    | { kind: "closing"; closing: ClosingDetails }
  >;
};

export type SealedClip = {
  clip: string; // id in hexadecimal
  incident: string;
  parts: number;
  bytes: number; // of all parts
  reason: EndReason;
};

/** One part, as it becomes durable. */
export type SealedPart = Pick<SealedClip, "clip" | "incident" | "bytes"> & {
  number: number;
  atUs: number;
  /** With this part the clip's first picture is durable. */
  picture?: true;
};

export type SealClipOptions = {
  camera: Uint8Array;
  sign: Sign;
  journal: Journal;
  outbox: Outbox;
  clock: Clock;
  /** Cuts the clip off: it has to be over. */
  signal?: AbortSignal;
  onPart?: ((part: SealedPart) => void) | undefined;
  onProblem?: ((failure: Failure) => void) | undefined;
};

/**
 * The first picture and the first fragment are a part each, as soon as they are there. From then on
 * a part takes two fragments: half as many fsyncs, a second behind at most. While a clip is young,
 * and most likely to be cut off by who was just seen, a fragment does not wait for the next one.
 */
const fragmentsAPart = 2;
/** Ten seconds and the usual pre-roll, in fragments of half a second. */
const youngFragments = 30;
/** Room is made for part 0 before it is sealed: 64 KiB and its stanzas, of 32 members at most. */
const firstBytes = 112 * 1024;
/** A write that finds no room costs the oldest clip; when that many do not help, this one ends. */
const mostTries = 4;

/**
 * One clip from its first part to the entry that ends it. The order of what becomes durable:
 *
 *     1. notebook: the keys are spent, the clip is open, its start is announced
 *     2. part 0: header, stanzas, opening
 *     3. log: clip-started, and a fallback-used for each key that is
 *     4. parts, as fragments come
 *     5. notebook: the end is announced, with the last part's hash
 *     6. log: clip-ended
 *
 * 1 to 3 are one turn of the log, in which the keys are chosen too: no day is closed meanwhile. When
 * 3 finds no room, part 0 goes again before the notebook forgets the clip. The clip's keys are
 * forgotten between 4 and 5, or when anything throws.
 */
export async function sealClip(
  recording: Recording,
  options: SealClipOptions,
): Promise<SealedClip> {
  const { journal, outbox, onPart, clock } = options;
  const kept: Kept = { last: undefined, parts: 0, bytes: 0, picture: "none" };
  const count = ({ name, bytes }: Sealed) => {
    if (name.kind !== "part") return;
    kept.last = { number: name.number, hash: name.hash };
    kept.parts += 1;
    kept.bytes += bytes.length;
    const clip = toHex(name.clip);
    const { incident } = recording;
    const atUs = clock.monotonicUs();
    // Its last chunk lies in the part that comes next, whatever was sent before.
    const picture = kept.picture === "under way" ? ({ picture: true } as const) : {};
    if (kept.picture === "under way") kept.picture = "durable";
    onPart?.({ clip, incident, number: name.number, bytes: bytes.length, atUs, ...picture });
  };
  const { sealer, chosen } = await start(recording.opening, count, options);
  const clip = toHex(sealer.clip);
  try {
    for (const key of chosen) {
      const said = fallbackOf(key, sealer.clip);
      if (said) await journal.append(said).catch(unlessFull);
    }
    const reason = await pour(recording, sealer, { count, kept }, options);
    sealer.abandon();
    if (kept.last) await end(sealer.clip, kept.last, reason, options);
    const { parts, bytes } = kept;
    return { clip, incident: recording.incident, parts, bytes, reason };
  } finally {
    sealer.abandon();
    outbox.hold(clip, false);
  }
}

/** What is durable: the end of a clip names no part that is not. */
type Kept = {
  last: { number: number; hash: Uint8Array } | undefined;
  parts: number;
  bytes: number;
  /** Of the first picture; "under way" once the sealer has all of it. */
  picture: "none" | "under way" | "durable";
};
type PieceOf<R> = R extends { pieces: AsyncIterable<infer P> } ? P : never;
type Begun = { sealer: ClipSealer; chosen: readonly Chosen[]; first: Sealed; day: number };

/** In a turn that was prepared: keys for one clip, taken at once, and its first part. */
function begin(opening: OpeningDetails, options: SealClipOptions): Begun {
  const { camera, sign, journal } = options;
  const { adopted, day } = journal;
  const { incarnation, spent } = journal.notebook;
  const chosen = chooseForClip(adopted, { incarnation, day, spent });
  if (chosen.length === 0) {
    throw new Failure("absent", "no member has a key that a clip could be sealed to", {
      hint: "Adopt this camera again",
    });
  }
  for (const key of chosen) {
    if (key.from === "one-time") spent[toHex(key.phone)] = key.index + 1;
  }
  const sealer = new ClipSealer({
    ...{ camera, incarnation, opening, sign, suite: sealingSuite },
    membership: adopted.membership.version,
    recipients: chosen.map(({ publicKey, from }) => ({ publicKey, shared: from !== "one-time" })),
  });
  const first = sealer.flush();
  if (!first) throw new Failure("misuse", "a clip without a first part");
  return { sealer, chosen, first, day };
}

/** Steps 1 to 3. The clip is held in the outbox when it resolves. */
async function start(
  opening: OpeningDetails,
  count: (part: Sealed) => void,
  { journal, outbox, ...options }: SealClipOptions,
): Promise<Pick<Begun, "sealer" | "chosen">> {
  let begun: Begun | undefined;
  const others = () => {
    const clip = begun && toHex(begun.sealer.clip);
    return journal.notebook.open.filter((one) => one.clip !== clip);
  };
  /** Whatever of it is there goes; durable before the notebook forgets that it was begun. */
  const drop = async () => {
    if (!begun) return;
    const { sealer } = begun;
    sealer.abandon();
    await outbox.discard(outbox.parts(toHex(sealer.clip)));
    outbox.hold(toHex(sealer.clip), false);
    journal.notebook.open = others();
    begun = undefined;
  };
  const act = () =>
    journal.inTurn(async (append) => {
      await journal.prepare();
      // The log has closed the day since the try before, and with it perhaps a key of this clip.
      if (begun && begun.day !== journal.day) await drop();
      begun ??= begin(opening, { ...options, journal, outbox });
      const { sealer, chosen, first } = begun;
      const { headerHash, keyIds } = sealer;
      const clip = toHex(sealer.clip);
      outbox.hold(clip, true);
      const at = journal.nextSequence;
      journal.notebook.open = [...others(), { clip, at, phase: "starting" }];
      await journal.save();
      await outbox.put(first);
      await append({ kind: "clip-started", clip: sealer.clip, headerHash, keyIds: [...keyIds] });
      count(first);
      return { sealer, chosen };
    });
  try {
    return await withRoom(firstBytes, act, journal);
  } catch (error) {
    // Storage that failed can take nothing away; the next start finishes what is there.
    if (!isStorageFailure(error)) await journal.inTurn(drop);
    throw error;
  }
}

/** Step 4: takes the pieces as they come and says how the clip ended. */
async function pour(
  recording: Recording,
  sealer: ClipSealer,
  { count, kept }: { count: (part: Sealed) => void; kept: Kept },
  { journal, outbox, onProblem, signal }: SealClipOptions,
): Promise<EndReason> {
  let stuck = false;
  const keep = async (parts: readonly (Sealed | undefined)[]) => {
    for (const part of parts) {
      if (!part) continue;
      stuck = true;
      await withRoom(part.bytes.length, () => outbox.put(part), journal);
      stuck = false;
      count(part);
    }
  };
  let waiting = fragmentsAPart - 1;
  let fragments = 0;
  let pictured: "not yet" | "waits" | "sealed" = "not yet";
  try {
    for await (const piece of withPauses(recording.pieces, signal)) {
      switch (piece.kind) {
        case "pause":
          if (pictured === "waits") {
            // Somebody waits for the first picture; the encoder has only just been started.
            pictured = "sealed";
            await keep([sealer.flush()]);
          } else if (fragments > 0 && fragments < youngFragments && waiting > 0) {
            // While it catches up with the pre-roll the next one is there already.
            waiting = 0;
            await keep([sealer.flush()]);
          }
          break;
        case "init":
          await keep(sealer.init(piece.bytes));
          break;
        case "fragment":
          await keep(sealer.fragment(piece.bytes));
          fragments += 1;
          waiting += 1;
          if (waiting < fragmentsAPart) break;
          waiting = 0;
          await keep([sealer.flush()]);
          break;
        case "thumbnail": {
          const { bytes, what, width, height, capturedUs } = piece;
          await keep(sealer.thumbnail({ what, width, height, capturedUs }, bytes));
          if (kept.picture === "none") kept.picture = "under way";
          if (pictured === "not yet") pictured = "waits";
          break;
        }
        case "closing":
          await keep(sealer.close(piece.closing));
          return piece.closing.reason;
      }
    }
    throw new Failure("gone", "the recording stopped without an end");
  } catch (error) {
    // Storage that failed ends the program; the next start names the durable prefix.
    if (isStorageFailure(error)) throw error;
    const failure =
      error instanceof Failure
        ? error
        : new Failure("gone", "the recording broke off", { cause: error });
    onProblem?.(failure);
    // What could not be kept leaves a hole, and nothing may come after it.
    if (!stuck) await keep([sealer.flush()]).catch(unlessFull);
    const text = failure.message.slice(0, 500);
    await journal.append({ kind: "problem", code: "clip-cut-off", text }).catch(unlessFull);
    return "cut-off";
  }
}

/** The pieces, and a pause before each that is not there yet. */
async function* withPauses(
  pieces: Recording["pieces"],
  signal = new AbortController().signal,
): AsyncGenerator<PieceOf<Recording> | { kind: "pause" }, void> {
  const source = pieces[Symbol.asyncIterator]();
  let isWaiting = false;
  let onCut = () => {};
  const cut = new Promise<never>((_, reject) => {
    onCut = () => reject(signal.reason);
    signal.addEventListener("abort", onCut);
  });
  cut.catch(() => {});
  try {
    for (;;) {
      signal.throwIfAborted();
      const next = source.next();
      isWaiting = true;
      next.catch(() => {});
      const pause = new Promise<undefined>((resolve) => setImmediate(resolve, undefined));
      if (!(await Promise.race([next, pause]))) yield { kind: "pause" };
      const result = await Promise.race([next, cut]);
      isWaiting = false;
      if (result.done) return;
      yield result.value;
    }
  } finally {
    signal.removeEventListener("abort", onCut);
    // A source that is being waited for ends after its next piece, and nobody waits for that.
    const ended = source.return?.();
    if (isWaiting) ended?.catch(() => {});
    else await ended;
  }
}

/** Steps 5 and 6. */
async function end(
  clip: Uint8Array,
  last: NonNullable<Kept["last"]>,
  reason: EndReason,
  { journal }: SealClipOptions,
): Promise<void> {
  const id = toHex(clip);
  await journal.inTurn(async (append) => {
    await journal.prepare();
    const others = journal.notebook.open.filter((one) => one.clip !== id);
    const at = journal.nextSequence;
    journal.notebook.open = [...others, { clip: id, at, phase: "ending", last, reason }];
    await journal.save();
    await append({ kind: "clip-ended", clip, last, reason });
    journal.notebook.open = others;
  });
}

/** A card without any room swallows it: the clip goes on, or ends, without. */
function unlessFull(error: unknown): void {
  if (!isFailure(error, "full")) throw error;
}

async function withRoom<T>(bytes: number, act: () => Promise<T>, journal: Journal): Promise<T> {
  for (let tries = 1; ; tries++) {
    await journal.makeRoom(bytes, { force: tries > 1 });
    try {
      return await act();
    } catch (error) {
      if (!isFailure(error, "full") || tries === mostTries) throw error;
    }
  }
}
