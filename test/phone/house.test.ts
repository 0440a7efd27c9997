import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import * as assert from "uvu/assert";
import { suite } from "../lib/suite.ts";
import type { Report, Work } from "./worker.ts";

// Random schedules of a house: two cameras, up to three phones of both roles, a kit, and keepers of
// their mailboxes who do what they like, against a model that knows what is true (oracle.ts). All of
// them run, unless a machine takes many times as long as others: then as many as in a quarter of an hour.
// Most stand on cryptography that costs nothing; a share on libsodium.

const schedules = Number(process.env.OBSCURA_HOUSE_SCHEDULES ?? 10_000);
const firstSeed = Number(process.env.OBSCURA_HOUSE_SEED ?? 1);
const mostMs = 15 * 60_000;
/** One of so many on libsodium, the others on what stands in for it. */
const realShare = 1000;

function runWorker(work: Work): Promise<Report> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL("./worker.js", import.meta.url), { workerData: work });
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}

async function runAll(count: number, isCheap: boolean): Promise<Report[]> {
  const threads = Math.min(count, 2, availableParallelism());
  return await Promise.all(
    Array.from({ length: threads }, (_, i) => {
      const own = Math.floor(count / threads) + (i < count % threads ? 1 : 0);
      return runWorker({ first: firstSeed + i, step: threads, count: own, isCheap, mostMs });
    }),
  );
}

function tell(reports: readonly Report[], isCheap: boolean, startMs: number): void {
  const failure = reports.find((one) => one.failure)?.failure;
  const done = reports.reduce((sum, one) => sum + one.done, 0);
  const counts = new Map<string, number>();
  for (const [what, often] of reports.flatMap((one) => Object.entries(one.counts))) {
    counts.set(what, (counts.get(what) ?? 0) + often);
  }
  const seconds = ((performance.now() - startMs) / 1000).toFixed(0);
  const list = [...counts].sort().map(([what, often]) => `${what} ${often}`);
  console.log(
    `\nmeasured: ${done} schedules on ${isCheap ? "cheap cryptography" : "libsodium"}, ${seconds} s: ${list.join(", ")}`,
  );
  assert.is(failure, undefined, failure ?? "");
}

suite("a house", (test) => {
  for (const isCheap of [true, false]) {
    const real = Math.ceil(schedules / realShare);
    const count = isCheap ? schedules - (schedules > 1 ? real : 0) : real;
    test(
      `a house that lives at random, against a model, on ${isCheap ? "cheap cryptography" : "libsodium"}`,
      async () => {
        const startMs = performance.now();
        const reports = await runAll(count, isCheap);
        tell(reports, isCheap, startMs);
        const done = reports.reduce((sum, one) => sum + one.done, 0);
        const isLate = performance.now() - startMs > mostMs;
        assert.ok(done === count || (isLate && done > count / 20), `${done} of ${count}`);
      },
      { deadlineMs: 1_100_000 },
    );
  }
});
