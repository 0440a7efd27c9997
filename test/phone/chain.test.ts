import { createHash } from "node:crypto";
import * as assert from "uvu/assert";
import { findChain, type Verified } from "../../src/phone/chain.ts";
import type { Fault } from "../../src/phone/fault.ts";
import { ready } from "../../src/protocol/sealed/sodium.ts";
import { suite } from "../lib/suite.ts";
import { film, memoryWorld } from "./memory.ts";

await ready();

const camera = new Uint8Array(32).fill(7);
const hashOf = (sequence: number) =>
  new Uint8Array(createHash("sha256").update(`${sequence}`).digest());

/** An entry as one that was verified; only what makes a chain of them is real. */
function entry(sequence: number, previous = hashOf(sequence - 1)): Verified {
  const hash = hashOf(sequence);
  return {
    ...{ camera, incarnation: 1, sequence, previous, hash, membership: 1, epoch: 1, uptimeMs: 0 },
  };
}

function chainOf(entries: readonly Verified[]) {
  const faults: Fault[] = [];
  const sequences = findChain(entries, faults).map(({ sequence }) => sequence);
  return { sequences, faults: faults.map(({ kind, sequence }) => `${kind} ${sequence}`) };
}

suite("phone/chain", (test) => {
  test("whatever the order in which they came, and each hole once", () => {
    const all = [0, 1, 2, 3, 6, 7, 9].map((sequence) => entry(sequence));
    const { sequences, faults } = chainOf([...all].reverse());
    assert.equal(sequences, [0, 1, 2, 3, 6, 7, 9]);
    assert.equal(faults, ["gap 8", "gap 4"]);
    assert.equal(chainOf(all).faults, faults);
    assert.equal(chainOf(all.slice(2)).faults, ["gap 8", "gap 4", "gap 0"]);
    assert.equal(chainOf([]), { sequences: [], faults: [] });
  });

  test("time grows as a log does that lacks every second entry", () => {
    const read = (count: number) => {
      const half = Array.from({ length: count }, (_, i) => entry(2 * i));
      const before = process.cpuUsage();
      const { sequences, faults } = chainOf(half);
      const { user, system } = process.cpuUsage(before);
      assert.is(sequences.length, count);
      assert.is(faults.length, count - 1);
      return (user + system) / 1000;
    };
    read(2000);
    // The best of a few: what the collector does meanwhile, and other work, count for nothing.
    const best = (count: number) => Math.min(...[1, 2, 3, 4, 5].map(() => read(count)));
    const [few, many] = [best(4000), best(32_000)];
    console.log(`measured: 4,000 entries between holes in ${few} ms, 32,000 in ${many} ms`);
    // Eight times as many; in quadratic time 64 times as long.
    assert.ok(many < 24 * few, `${few} ms, ${many} ms`);
  });

  test("a ring of entries that name one another as the one before ends", async () => {
    const { camera: recorder, look } = await memoryWorld();
    await recorder.record({ film });
    // By somebody with the camera's key: the newest names nothing, and the one below it the newest.
    const { head } = recorder;
    recorder.rewind({ sequence: head.sequence + 10, hash: hashOf(1) });
    await recorder.say({ kind: "problem", code: "x", text: "x" });
    recorder.rewind({ sequence: head.sequence, hash: recorder.head.hash });
    await recorder.say({ kind: "problem", code: "x", text: "x" });
    const { faults } = await look();
    assert.ok(faults.some(({ kind, severity }) => kind === "damaged" && severity === "loss"));
    assert.ok(faults.some(({ kind }) => kind === "gap"));
  });
});
