import type { Log } from "../base/node/log.ts";
import type { Supervisor } from "../base/node/program.ts";
import type { Clock } from "../base/pure/clock.ts";
import type { Light, State } from "./light.ts";

// How the camera is, for its light, its supervisor and its log. That the process runs proves
// nothing: what counts is that pictures come and are looked at.

/** What is known at one moment; times in µs of the monotonic clock. */
export type Signs = {
  nowUs: number;
  /** What is waited for before pictures are expected; undefined when they are. */
  waiting: { state: State; text: string } | undefined;
  /** When a picture was last looked at. */
  lookedUs: number;
  /** What is known to be wrong, by what it is wrong with. */
  faults: ReadonlyMap<string, string>;
  recordings: number;
  /** When somebody was last handed a picture. */
  watchedUs: number | undefined;
};
export type Verdict = {
  state: State;
  text: string;
  /** False when only a new start can help: the supervisor is told nothing more. */
  isAlive: boolean;
};

/** The camera stage says so itself, and opens the device anew, well before this is over. */
const silenceUs = 30_000_000;
const watchedUs = 10_000_000;
const lookEveryMs = 1_000;

/** A camera that is known to be gone is waited for; one that is silent is not. */
export function judge(signs: Signs): Verdict {
  const { nowUs, waiting, faults } = signs;
  const wrong = [...faults.values()].join("; ");
  if (waiting) return { ...waiting, isAlive: true };
  const silentUs = nowUs - signs.lookedUs;
  if (silentUs > silenceUs && !faults.has("camera")) {
    return {
      state: "problem",
      text: "no picture comes, and the camera does not say why",
      isAlive: false,
    };
  }
  const isWatched = signs.watchedUs !== undefined && nowUs - signs.watchedUs < watchedUs;
  if (isWatched) return { state: "watched", text: "a picture was asked for", isAlive: true };
  if (signs.recordings > 0) return { state: "recording", text: "recording", isAlive: true };
  if (wrong !== "") return { state: "problem", text: wrong, isAlive: true };
  return { state: "watching", text: "watching", isAlive: true };
}

export type Health = {
  /** Nothing is expected of the camera until `watch`. */
  wait(state: "starting" | "unpaired" | "private" | "problem", text: string): void;
  /** From now on `looks`, how many pictures were looked at so far, has to rise. */
  watch(looks: () => number): void;
  /** Something is wrong that pictures do not show; without a text it is right again. */
  fault(about: string, text?: string): void;
  recording(count: number): void;
  watched(): void;
  /** What is known now, each by itself: the light shows only one of them. */
  now(): {
    recording: boolean;
    watched: boolean;
    problem: string | undefined;
    /** When one was last looked at; stale when that is too long ago, or none is to be had yet, but for privacy. */
    pictures: { ageS: number; isStale: boolean };
  };
  /** What a hand at the board did, or somebody near asks for, is shown by the light before all else. */
  hand(state: "window" | "held" | "asked" | undefined): void;
  close(): Promise<void>;
};

export function openHealth(options: {
  supervisor: Supervisor;
  light: Light;
  clock: Clock;
  log: Log;
}): Health {
  const { supervisor, light, clock, log } = options;
  const end = new AbortController();
  const faults = new Map<string, string>();
  let waiting: Signs["waiting"] = { state: "starting", text: "starting" };
  let looks = () => 0;
  let counted = -1;
  let lookedUs = clock.monotonicUs();
  let recordings = 0;
  let watchedUs: number | undefined;
  let hand: State | undefined;
  let told: Verdict | undefined;
  let aliveUs = Number.NEGATIVE_INFINITY;

  const signs = (): Signs => {
    const nowUs = clock.monotonicUs();
    return { nowUs, waiting, lookedUs, faults, recordings, watchedUs };
  };
  const look = () => {
    const nowUs = clock.monotonicUs();
    const count = looks();
    if (count !== counted) lookedUs = nowUs;
    counted = count;
    const verdict = judge(signs());
    light.show(hand ?? verdict.state);
    if (verdict.text !== told?.text) {
      supervisor.status(verdict.text);
      if (!verdict.isAlive) log.error(verdict.text);
    }
    told = verdict;
    // A third of what it waits, so that one late word does no harm.
    const isDue =
      nowUs - aliveUs >= ((supervisor.patienceMs ?? Number.POSITIVE_INFINITY) * 1000) / 3;
    if (!verdict.isAlive || !isDue) return;
    supervisor.tell("alive");
    aliveUs = nowUs;
  };
  const watch = async () => {
    while (!end.signal.aborted) {
      look();
      await clock.sleep(lookEveryMs, end.signal).catch(() => {});
    }
  };
  const watching = watch();
  return {
    wait(state, text) {
      waiting = { state, text };
      look();
    },
    watch(counter) {
      waiting = undefined;
      looks = counter;
      counted = -1;
      look();
    },
    fault(about, text) {
      if (text === undefined) faults.delete(about);
      else faults.set(about, text);
    },
    recording(count) {
      recordings = count;
    },
    watched() {
      watchedUs = clock.monotonicUs();
    },
    now() {
      const all = signs();
      // In privacy no picture is expected, and what else is wrong is wrong then too.
      const isPrivate = waiting?.state === "private";
      const told = isPrivate ? { waiting: undefined, lookedUs: all.nowUs } : {};
      const alone = judge({ ...all, ...told, recordings: 0, watchedUs: undefined });
      const silentUs = clock.monotonicUs() - lookedUs;
      return {
        recording: recordings > 0,
        watched: judge({ ...signs(), waiting: undefined }).state === "watched",
        problem: alone.state === "problem" ? alone.text : undefined,
        pictures: {
          ageS: silentUs / 1e6,
          isStale: !isPrivate && (waiting !== undefined || silentUs > silenceUs),
        },
      };
    },
    hand(state) {
      hand = state;
      look();
    },
    async close() {
      end.abort();
      await watching;
      await light.close();
    },
  };
}
