import { parentPort, workerData } from "node:worker_threads";
import { fixedRandom } from "../../scripts/random.ts";
import { ready } from "../../src/protocol/sealed/sodium.ts";
import { useCheapCryptography } from "../lib/cheap.ts";
import { liveHouse } from "./house.ts";
import { draw, run, type Schedule, shrink } from "./schedule.ts";

// One of the threads that run schedules: those from `first` on, each `step`th, `count` in all.

export type Work = {
  first: number;
  step: number;
  count: number;
  isCheap: boolean;
  /** None is begun after so long. */
  mostMs: number;
};
/** How many there were of each step and deed, or what failed. */
export type Report = { done: number; counts: Record<string, number>; failure?: string };

const { first, step, count, isCheap, mostMs } = workerData as Work;
const startMs = performance.now();
await ready();
if (isCheap) useCheapCryptography("house");
const drawn = isCheap ? undefined : fixedRandom("house");
const stages = await liveHouse();
drawn?.[Symbol.dispose]();
const counts: Record<string, number> = {};
const add = (what: string) => {
  counts[what] = (counts[what] ?? 0) + 1;
};
let failure: string | undefined;
let done = 0;
for (; done < count && !failure && performance.now() - startMs < mostMs; done++) {
  const seed = first + done * step;
  const play = async (one: Schedule) => {
    if (isCheap) useCheapCryptography(`schedule ${seed}`);
    using _ = isCheap ? undefined : fixedRandom(`schedule ${seed}`);
    await run(one, stages);
  };
  const schedule = draw(seed, stages);
  try {
    await play(schedule);
  } catch (error) {
    const least = await shrink(schedule, play);
    const where = (error as Error).stack?.split("\n")[1]?.trim();
    const which = `OBSCURA_HOUSE_SEED=${seed} OBSCURA_HOUSE_SCHEDULES=1`;
    const text = `${(error as Error).message} (${where}): seed ${seed} (${which})`;
    failure = `${text}: ${stages[schedule.stage]?.what}: ${JSON.stringify(least.steps)}`;
  }
  for (const one of schedule.steps) {
    add(one.step);
    if (one.step === "look") add(one.deed.deed);
  }
}
const report: Report = { done, counts, ...(failure === undefined ? {} : { failure }) };
parentPort?.postMessage(report);
