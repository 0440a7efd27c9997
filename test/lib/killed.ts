import { writeSync } from "node:fs";
import type { Fault, Step } from "../../src/base/node/durable.ts";
import { systemClock } from "../../src/base/node/time.ts";
import { recording, startSealer } from "./sealing.ts";

/** Where a child of a kill test ends itself: before or after one step of the nth file of a sort. */
export type KillPoint = {
  /** "part.", "entry." or "notebook", as the file's name begins; "lose" for a removal. */
  file: string;
  /** Counted from 1 over the run, each name once. */
  nth: number;
  step: Step;
  when: "before" | "after";
};
export type ChildTask = {
  state: string;
  point?: KillPoint;
  clips: number;
  fragments: number;
  fragmentBytes: number;
  paceMs: number;
  limitBytes: number;
};

/**
 * The process of a kill test: seals clip after clip, as the service does, and says on standard
 * output which parts are durable ("part CLIP NUMBER") and when fragments were offered ("fragment US").
 */
async function main(task: ChildTask): Promise<void> {
  const fault = task.point && killAt(task.point);
  const { limitBytes } = task;
  const { sealer, stop, outbox } = await startSealer(task.state, {
    ...{ limitBytes, outboxFault: fault, notebookFault: fault },
    onPart: ({ clip, number }) => say(`part ${clip} ${number}`),
  });
  say("ready");
  for (let i = 0; i < task.clips; i++) {
    const options = { bytes: task.fragmentBytes, paceMs: task.paceMs };
    const onFragment = () => say(`fragment ${systemClock.monotonicUs()}`);
    await sealer.clip(recording(task.fragments, { ...options, onFragment }));
  }
  await stop();
  say(`done ${outbox.kind}`);
}

function killAt(point: KillPoint): Fault {
  const seen: string[] = [];
  return (step, name) => {
    if (!name.startsWith(point.file)) return undefined;
    if (step === (point.step === "unlink" ? "unlink" : "create")) seen.push(name);
    if (step !== point.step || seen.length !== point.nth) return undefined;
    if (point.when === "before") die();
    return {
      applied: true,
      get error(): Error {
        return die();
      },
    };
  };
}

function die(): never {
  process.kill(process.pid, "SIGKILL");
  throw new Error("still alive");
}

/** Written at once, not when the event loop comes to it. */
function say(line: string): void {
  writeSync(1, `${line}\n`);
}

await main(JSON.parse(process.argv[2] ?? "{}"));
