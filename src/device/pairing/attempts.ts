import { join } from "node:path";
import { openDurable } from "../../base/node/durable.ts";
import type { Clock } from "../../base/pure/clock.ts";
import type { Statement } from "../../protocol/sealed/body.ts";
import { endings } from "./host.ts";
import {
  type BoardTime,
  boardTime,
  endOf,
  orNone,
  parseWindow,
  printWindow,
  readWindow,
  type WindowState,
} from "./window.ts";

const lookEveryMs = 2_000;
const file = "told";

/**
 * Tells the camera's log what came of pairing windows, whichever program opened them and whenever: that
 * one was opened, each wrong secret, how it closed. After a kill a thing may be told twice.
 */
export function watchAttempts(options: {
  state: string;
  clock: Clock;
  note(statement: Statement): Promise<void>;
  /** Whether one is open, at each look. */
  onWindow?(isOpen: boolean): void;
  onProblem(error: unknown): void;
  /** For tests. */
  time?: BoardTime;
}): { close(): Promise<void> } {
  const { state, clock, note, onWindow, onProblem } = options;
  const end = new AbortController();
  const watch = async () => {
    const time = options.time ?? (await boardTime());
    const folder = await openDurable(join(state, "attempts"));
    try {
      let told = await folder.read(file).then(parseWindow).catch(orNone);
      while (!end.signal.aborted) {
        const now = await readWindow(state);
        onWindow?.(now !== undefined && endOf(now, time) === undefined);
        const news = now ? compare(told, now) : [];
        for (const text of news) await note({ kind: "problem", code: "pairing", text });
        if (now && news.length > 0) {
          // Not with what opens it.
          const { secret: _, ...rest } = now;
          await folder.write(file, printWindow(rest));
          told = rest;
        }
        await clock.sleep(lookEveryMs, end.signal).catch(() => {});
      }
    } finally {
      await folder.close();
    }
  };
  const watching = watch().catch(onProblem);
  return {
    async close() {
      end.abort();
      await watching;
    },
  };
}

function compare(told: WindowState | undefined, now: WindowState): string[] {
  const isSame = told?.boot === now.boot && told.openedMs === now.openedMs;
  const before = isSame ? told : { failures: 0, end: undefined };
  const guesses = now.failures - before.failures;
  const wrong = guesses === 1 ? "a wrong secret was tried" : `${guesses} wrong secrets were tried`;
  return [
    ...(isSame ? [] : ["a window for pairing was opened"]),
    ...(guesses > 0 ? [wrong] : []),
    ...(now.end && !before.end ? [`the window for pairing closed: ${endings[now.end]}`] : []),
  ];
}
