import { cp, readdir, readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { fromFileName, printName } from "../../src/protocol/wire/name.ts";
import { copyOf, type Deceived, deceivedWorld, type House, type Look } from "../lib/deceived.ts";
import type { Lie } from "../lib/hostile.ts";
import * as lies from "../lib/lies.ts";
import { suite } from "../lib/suite.ts";
import { type Row, tell } from "../lib/told.ts";
import type { MemoryStore } from "./memory.ts";

/** Which phone looks: one that has seen nothing yet, two of three clips, or all of them. */
type Who = "new" | "earlier" | "all";
type Case = {
  /** What the relay does. */
  does: string;
  who?: Who;
  lie: Lie;
  /** Faults that are no notes, as "severity kind", or the failure as "kind stage". */
  expect: readonly string[];
  states?: readonly string[];
  /** Of a lie that changes nothing for this phone. */
  notes?: readonly string[];
};

async function objectsOf(outbox: string): Promise<Map<string, Uint8Array>> {
  const objects = new Map<string, Uint8Array>();
  for (const file of await readdir(outbox)) {
    if (file.startsWith(".")) continue;
    objects.set(printName(fromFileName(file)), new Uint8Array(await readFile(join(outbox, file))));
  }
  return objects;
}

async function makeWorld() {
  const world = await deceivedWorld(["door", "garden"]);
  const [door, garden] = world.houses as [House, House];
  const homes: Record<Who, MemoryStore> = {
    ...{ new: world.copy(), earlier: world.copy(), all: world.copy() },
  };
  await door.record(2);
  await garden.record(1);
  assert.equal(await world.look(door, homes.earlier), well(2));
  // A card that is copied here and goes on elsewhere makes a second branch of the log.
  const twin = join(world.folder, "twin");
  await cp(door.state, twin, { recursive: true });
  await door.record(1);
  await door.recordOnly(2, twin);
  assert.equal(await world.look(door, homes.all), well(3));
  const kept = world.hostile.kept.get(door.mailbox) ?? new Map<string, readonly Buffer[]>();
  const names = [...kept.keys()].sort();
  const entries = names.filter((name) => name.startsWith("entry/"));
  const clips = new Map<string, string[]>();
  for (const name of names.filter((one) => one.startsWith("part/"))) {
    const id = name.split("/")[2] ?? "";
    clips.set(id, [...(clips.get(id) ?? []), name]);
  }
  return {
    ...{ world, door, garden, homes, entries, clips: [...clips.values()] },
    ...{ kept, twin: await objectsOf(join(twin, "outbox")) },
    [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
  };
}

const well = (clips: number): Look => ({
  ...{ code: 0, faults: [], texts: [] },
  states: Array.from({ length: clips }, () => "whole"),
});

type World = Awaited<ReturnType<typeof makeWorld>>;

function casesOf({ world, garden, entries, clips, kept, twin }: World): Case[] {
  const [first = [], second = []] = clips;
  const at = (list: readonly string[], i: number) => list.at(i) ?? "";
  const is =
    (...names: string[]) =>
    (name: string) =>
      names.includes(name);
  const bytesOf = (name: string) => kept.get(name)?.at(-1) ?? Buffer.alloc(0);
  const middle = at(entries, 4);
  const tail = entries.slice(-3);
  const part = at(first, 1);
  const gardens = new Map(
    [...(world.hostile.kept.get(garden.mailbox) ?? [])].map(([name, all]) => [name, all.at(-1)]),
  ) as Map<string, Uint8Array>;
  const flip = (bytes: Buffer) => {
    const copy = Buffer.from(bytes);
    copy[copy.length >> 1] = (copy[copy.length >> 1] ?? 0) ^ 1;
    return copy;
  };
  const oldBeacon = lies.oldest(world.hostile, "beacon");
  return [
    { does: "is honest", who: "all", lie: {}, expect: [], states: ["whole", "whole", "whole"] },
    {
      does: "leaves an entry out of its listing",
      ...{ lie: lies.leaveOut(is(middle)), expect: [] },
    },
    { does: "leaves a part out of its listing", lie: lies.leaveOut(is(part)), expect: [] },
    { does: "withholds an entry", lie: lies.withhold(is(middle)), expect: ["loss gap"] },
    {
      does: "withholds the newest entries",
      ...{ lie: lies.withhold(is(...tail)), expect: ["loss rollback"] },
    },
    {
      does: "withholds the newest entries and gives an old beacon, to a phone that saw them",
      who: "all",
      lie: lies.together(lies.withhold(is(...tail)), oldBeacon),
      expect: ["loss rollback"],
    },
    {
      does: "withholds the newest entries and the beacon, from a phone that never saw them",
      who: "earlier",
      lie: lies.withhold(is(...entries.slice(-8), "beacon")),
      expect: ["loss rollback", "loss withheld"],
    },
    {
      does: "withholds the beacon",
      ...{ who: "all", lie: lies.withhold(is("beacon")), expect: ["loss withheld"] },
    },
    {
      does: "gives an old beacon",
      ...{ who: "all", lie: oldBeacon, expect: ["loss rollback"] },
    },
    {
      does: "flips a bit of the beacon",
      ...{ lie: lies.give(is("beacon"), flip), expect: ["lie forged"] },
    },
    {
      does: "gives the beacon of another camera",
      lie: lies.give(is("beacon"), () => gardens.get("beacon") ?? Buffer.alloc(0)),
      expect: ["lie forged"],
    },
    { does: "withholds a part", lie: lies.withhold(is(part)), expect: ["loss withheld"] },
    {
      does: "withholds a clip",
      ...{ lie: lies.withhold(is(...first)), expect: ["loss withheld"] },
    },
    {
      does: "withholds the whole log",
      lie: lies.withhold((name) => name.startsWith("entry/")),
      expect: ["loss rollback"],
    },
    {
      does: "says that nothing is there",
      who: "all",
      lie: lies.withhold(() => true),
      expect: ["loss rollback", "loss withheld"],
    },
    { does: "flips a bit of a part", lie: lies.give(is(part), flip), expect: ["loss damaged"] },
    {
      does: "flips a bit of an entry",
      lie: lies.give(is(middle), flip),
      expect: ["loss damaged", "loss gap"],
    },
    {
      does: "cuts a part short",
      ...{ lie: lies.give(is(part), (bytes) => bytes.subarray(0, -9)), expect: ["loss damaged"] },
    },
    {
      does: "splices two parts",
      lie: lies.give(is(part), (bytes) =>
        Buffer.concat([bytes.subarray(0, 5000), bytesOf(at(second, 1)).subarray(5000)]),
      ),
      expect: ["loss damaged"],
    },
    {
      does: "gives another part of the same clip",
      ...{ lie: lies.give(is(part), () => bytesOf(at(first, 2))), expect: ["lie replay"] },
    },
    {
      does: "gives a part of another clip",
      ...{ lie: lies.give(is(part), () => bytesOf(at(second, 1))), expect: ["lie replay"] },
    },
    {
      does: "gives an old entry as a newer one",
      lie: lies.give(is(at(entries, -1)), () => bytesOf(at(entries, 3))),
      expect: ["lie replay", "loss rollback"],
    },
    { does: "lists every name twice", lie: lies.doubled, expect: ["corrupt listing"] },
    { does: "lists in another order", lie: lies.reordered, expect: ["corrupt listing"] },
    { does: "lists what was not asked for", lie: lies.strayed, expect: ["corrupt listing"] },
    { does: "invents entries without end", lie: lies.invent("entry"), expect: ["corrupt flood"] },
    {
      does: "invents entries without end, all of them garbage",
      lie: lies.invent("entry", () => Buffer.alloc(300, 1)),
      expect: ["corrupt flood"],
    },
    { does: "invents parts without end", lie: lies.invent("part"), expect: ["corrupt flood"] },
    {
      does: "answers with another mailbox",
      ...{ lie: lies.serve(gardens), expect: ["lie forged", "lie unlogged"] },
    },
    {
      does: "shows the branch of a copied card, to a phone that saw the other",
      ...{ who: "all", lie: lies.serve(twin), expect: ["lie fork"] },
    },
    {
      does: "shows both branches of a copied card",
      lie: lies.serve(
        new Map([
          ...[...kept].map(([name, all]) => [name, all.at(-1)] as [string, Buffer]),
          ...twin,
        ]),
      ),
      expect: ["lie fork"],
    },
    {
      does: "says that each request is too old, its clock ahead by years",
      lie: lies.wrongTime(5 * 365 * 86_400_000),
      expect: ["refused created"],
    },
    {
      does: "says that each request is too new, its clock behind by years",
      lie: lies.wrongTime(-5 * 365 * 86_400_000),
      expect: ["refused created"],
    },
    {
      does: "says a wrong date with each answer",
      lie: lies.wrongDate(40 * 86_400_000),
      expect: [],
    },
    { does: "answers late", lie: lies.late(3000), expect: ["gone"] },
    { does: "answers a byte at a time", lie: lies.wire.drip, expect: ["gone"] },
    { does: "hangs up", lie: lies.wire.hangUp, expect: ["gone"] },
    { does: "breaks its answer off", lie: lies.wire.cutShort, expect: ["gone"] },
    { does: "sends more than it said", lie: lies.wire.tooMuch, expect: ["corrupt"] },
    { does: "speaks no HTTP", lie: lies.wire.noHttp, expect: ["corrupt"] },
    { does: "sends headers without end", lie: lies.wire.hugeHeaders, expect: ["corrupt"] },
    { does: "sends a body without end", lie: lies.wire.endlessBody, expect: ["corrupt length"] },
    { does: "says that 9 PB follow", lie: lies.wire.longBody, expect: ["corrupt length"] },
    {
      does: "sends a listing without end",
      lie: lies.only(lies.ofListings, lies.wire.endlessBody),
      expect: ["corrupt length"],
    },
    {
      does: "sends a part without end",
      ...{ lie: lies.only(lies.ofParts, lies.wire.endlessBody), expect: ["loss damaged"] },
    },
    {
      does: "sends a part a byte at a time",
      ...{ lie: lies.only(lies.ofParts, lies.wire.drip), expect: ["gone"] },
    },
    {
      does: "sends a listing as a gzip bomb",
      ...{ lie: lies.only(lies.ofListings, lies.bomb()), expect: ["corrupt length"] },
    },
    {
      does: "sends interim answers without end",
      lie: lies.wire.endlessInformation,
      expect: ["gone"],
    },
    { does: "sends a gzip bomb", lie: lies.bomb(), expect: ["corrupt length"] },
    { does: "says 204 to everything", lie: lies.always(204, {}), expect: ["corrupt"] },
    { does: "says 403 to everything", lie: lies.always(403, {}), expect: ["refused right"] },
    {
      does: "says 500 with a page that drives a terminal",
      lie: lies.always(500, {}, '{"title":"\\u001b[2J\\u001b]0;x\\u0007 \\u009b31m"}'),
      expect: ["gone"],
    },
    {
      does: "asks for a day's patience",
      lie: lies.always(503, { "retry-after": "86400" }),
      expect: ["gone"],
    },
    {
      does: "asks for patience without end",
      lie: lies.always(429, { "retry-after": "1" }),
      expect: ["gone"],
    },
  ];
}

const mib = 1 << 20;

suite("a hostile relay", (test) => {
  test(
    "what a phone says to each lie",
    async () => {
      await using made = await makeWorld();
      const { world, door, homes } = made;
      const rows: Row[] = [];
      const wrong: string[] = [];
      let mostRaw = 0;
      let mostAsked = 0;
      globalThis.gc?.();
      const residentBefore = process.memoryUsage.rss();
      for (const one of casesOf(made)) {
        world.hostile.forget();
        world.hostile.lie = one.lie;
        const startMs = performance.now();
        const found = await world.look(door, copyOf(homes[one.who ?? "new"]));
        const tookMs = performance.now() - startMs;
        if (process.env.OBSCURA_SHOW)
          console.error(
            `${one.does}: ${found.code} ${found.texts.slice(0, 6).join("; ").slice(0, 600)} (${found.states.slice(0, 5)}) ${tookMs.toFixed(0)} ms ${world.hostile.asked.length}`,
          );
        world.hostile.lie = undefined;
        mostRaw = Math.max(mostRaw, world.hostile.rawBytes());
        mostAsked = Math.max(mostAsked, world.hostile.asked.length);
        const serious = [...new Set(found.faults.filter((fault) => !fault.startsWith("note")))];
        const isRight = serious.sort().join() === [...one.expect].sort().join();
        if (!isRight || process.env.OBSCURA_SHOW)
          wrong.push(
            `${one.does}: ${found.code} ${found.texts.join("; ") || "nothing"} (${found.states}) ${tookMs.toFixed(0)} ms`,
          );
        if (one.states) assert.equal(found.states, one.states);
        rows.push({ does: one.does, code: found.code, says: found.texts });
      }
      globalThis.gc?.();
      const grown = (process.memoryUsage.rss() - residentBefore) / mib;
      console.log(
        `\nmeasured: hostile relay: ${rows.length} lies, at most ${mostAsked} requests and ` +
          `${(mostRaw / mib).toFixed(1)} MiB of an endless answer taken, memory +${grown.toFixed(0)} MiB`,
      );
      assert.equal(wrong, []);
      assert.ok(mostRaw < 64 * mib, `${mostRaw} bytes of an endless answer`);
      assert.ok(grown < 256, `${grown} MiB`);
      await tell("phone", rows);
      // And nothing it did stays: the same phones find all well.
      for (const home of Object.values(homes)) {
        assert.equal((await world.look(door, copyOf(home))).faults, []);
      }
    },
    { deadlineMs: 600_000 },
  );

  test("a redirection leads nowhere, and takes no request with it", async () => {
    await using world: Deceived = await deceivedWorld();
    const [door] = world.houses as [House];
    let requests = 0;
    const other = createServer((_, response) => {
      requests += 1;
      response.end();
    });
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    const { port } = other.address() as AddressInfo;
    for (const status of [301, 302, 303, 307, 308]) {
      world.hostile.lie = lies.always(status, { location: `http://127.0.0.1:${port}/` });
      const found = await world.look(door, world.copy());
      assert.equal(found.faults, ["corrupt"], found.texts.join());
    }
    other.close();
    assert.is(requests, 0);
  });
});
