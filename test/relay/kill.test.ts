import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import * as assert from "uvu/assert";
import { nodeSuite } from "../../src/base/node/crypto.ts";
import { openHttp } from "../../src/base/node/http.ts";
import { isFailure } from "../../src/base/pure/failure.ts";
import { openMailbox } from "../../src/protocol/wire/client.ts";
import { checkName, type Name, parseName, printName } from "../../src/protocol/wire/name.ts";
import {
  beacon,
  box,
  clip,
  doorList,
  entry,
  mailbox,
  type Put,
  part,
  type Who,
  who,
} from "../lib/relay.ts";
import type { RelayKill } from "../lib/relay-child.ts";
import { suite } from "../lib/suite.ts";
import { quickFolder } from "../lib/world.ts";

const program = new URL("../lib/relay-child.js", import.meta.url).pathname;
/** For kills at random. */
const mostMs = 10 * 60_000;

type Child = { process: ChildProcess; port: number; ended: Promise<string> };

async function start(folder: string, kill?: RelayKill): Promise<Child> {
  const child = spawn(process.execPath, [program, JSON.stringify({ folder, kill })], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(child, "exit").then(([code, signal]) => String(signal ?? code));
  const [line] = await Promise.race([
    once(child.stdout as NodeJS.ReadableStream, "data"),
    ended.then((how) => {
      // Killed while it started: the port is of no use to anybody.
      if (how === "SIGKILL") return ["0"];
      throw new Error(`the relay ended with ${how}`);
    }),
  ]);
  return { process: child, port: Number(String(line)), ended };
}

async function stop(child: Child): Promise<void> {
  child.process.kill("SIGKILL");
  await child.ended;
}

/** Everybody's way to one relay, wherever it listens today. */
function people(portOf: () => number) {
  const http = openHttp();
  const as = (by: Who) =>
    openMailbox({
      ...{ url: `http://127.0.0.1:${portOf()}`, mailbox, suite: nodeSuite, send: http.send },
      ...{ key: who[by].publicKey, sign: who[by].sign, nowMs: Date.now },
    });
  return { as, close: http.close };
}

type Act =
  | { by: Who; put: Put }
  | { by: Who; remove: Name | { incarnation: number; clip: Uint8Array } };
const bytes = (n: number, length = 70_000) => new Uint8Array(length).fill(n);
const fixed = (kind: "beacon" | "door", content: Uint8Array): Put => ({
  ...{ name: { kind }, bytes: content },
});

/** One of each thing that a relay writes, in an order in which each finds its mailbox. */
const script: Act[] = [
  { by: "root", put: fixed("door", doorList()) },
  { by: "camera", put: entry(1) },
  { by: "camera", put: part(0, bytes(1)) },
  { by: "camera", put: part(1, bytes(2)) },
  { by: "camera", put: fixed("beacon", beacon(1)) },
  { by: "camera", put: entry(2) },
  { by: "viewer", put: box("viewer", 1) },
  { by: "camera", put: fixed("beacon", beacon(2)) },
  { by: "root", put: fixed("door", doorList({ version: 2 })) },
  { by: "owner", remove: entry(1).name },
  { by: "owner", remove: { incarnation: 1, clip } },
  { by: "camera", put: part(0, bytes(3)) },
];

/** What must be there after so many acts were acknowledged, and what may be of the one under way. */
function expected(acts: readonly Act[]): Map<string, Uint8Array> {
  const there = new Map<string, Uint8Array>();
  for (const act of acts) {
    if ("put" in act) there.set(printName(act.put.name), act.put.bytes);
    else if ("kind" in act.remove) there.delete(printName(act.remove));
    else for (const name of [...there.keys()]) if (name.startsWith("part/")) there.delete(name);
  }
  return there;
}

async function contents(portOf: () => number): Promise<Map<string, Uint8Array>> {
  const { as, close } = people(portOf);
  const found = new Map<string, Uint8Array>();
  const root = as("root");
  for (const { name, bytes: length } of await root.list()) {
    const content = await root.get(name);
    assert.ok(content, printName(name));
    assert.is(content.length, length);
    checkName(name, content, nodeSuite);
    assert.not.ok(found.has(printName(name)), `${printName(name)} stands twice`);
    found.set(printName(name), content);
  }
  close();
  return found;
}

async function perform(act: Act, as: (by: Who) => ReturnType<typeof openMailbox>): Promise<void> {
  if ("put" in act) await as(act.by).put(act.put);
  else await as(act.by).remove(act.remove);
}

/** Held against what was acknowledged: nothing lost, nothing half, nothing that nobody sent. */
function compare(found: Map<string, Uint8Array>, done: Act[], underWay: Act | undefined): void {
  const before = expected(done);
  const after = underWay ? expected([...done, underWay]) : before;
  for (const name of new Set([...before.keys(), ...after.keys(), ...found.keys()])) {
    const may = [before.get(name), after.get(name)].map(
      (one) => one && Buffer.from(one).toString("hex"),
    );
    const is = found.get(name);
    assert.ok(
      may.includes(is && Buffer.from(is).toString("hex")),
      `${name} is ${is?.length} bytes`,
    );
  }
}

const points: [what: string, step: RelayKill["step"]][] = [
  ...(["part/", "beacon", "door"] as const).flatMap((what) =>
    (["create", "write", "fsync", "rename", "fsync-folder"] as const).map(
      (step): [string, RelayKill["step"]] => [what, step],
    ),
  ),
  ["entry/", "rename"],
  ["box/", "fsync-folder"],
  ["folder", "create"],
  ["folder", "fsync-folder"],
  ["delete", "unlink"],
  ["delete", "fsync-folder"],
];

suite("relay killed", (test) => {
  test(
    "at each step of each thing it writes: nothing acknowledged is lost, nothing half is seen",
    async () => {
      let kills = 0;
      for (const [what, step] of points) {
        for (const when of ["before", "after"] as const) {
          await using home = await quickFolder();
          const nth = what === "folder" ? 4 : what === "entry/" || what === "beacon" ? 2 : 1;
          let child = await start(home.path, { what, step, nth, when });
          const { as, close } = people(() => child.port);
          const done: Act[] = [];
          let underWay: Act | undefined;
          for (const act of script) {
            try {
              await perform(act, as);
              done.push(act);
            } catch (error) {
              if (!isFailure(error, "gone")) throw error;
              underWay = act;
              break;
            }
          }
          const row = `${when} ${step} of ${what}`;
          assert.ok(underWay, `${row}: never came to it`);
          assert.is(await child.ended, "SIGKILL", row);
          kills++;
          child = await start(home.path);
          assert.equal(await readdir(join(home.path, "drafts")), [], row);
          try {
            compare(await contents(() => child.port), done, underWay);
          } catch (error) {
            throw new Error(`${row}: ${(error as Error).message}`);
          }
          // Sent again from there, all ends as if nothing had been.
          for (const act of script.slice(done.length)) await perform(act, as);
          compare(await contents(() => child.port), [...script], undefined);
          close();
          await stop(child);
        }
      }
      console.log(`\nmeasured: relay killed at ${kills} points, nothing lost, nothing half`);
    },
    { deadlineMs: 600_000 },
  );

  test(
    "at random moments under load: nothing acknowledged is lost, nothing doubled",
    async () => {
      const rounds = Number(process.env.OBSCURA_KILLS ?? 200);
      await using home = await quickFolder();
      let child = await start(home.path);
      const { as, close } = people(() => child.port);
      await as("root").put(fixed("door", doorList()));
      const kept = new Map<string, Uint8Array>();
      const offered = new Set(["door"]);
      let sequence = 0;
      let version = 0;
      let latest = 0;
      let acknowledged = 0;
      const startMs = performance.now();
      let round = 0;
      for (let isLast = false; !isLast; round++) {
        // Fewer where a machine takes many times as long as others.
        isLast = round === rounds - 1 || performance.now() - startMs > mostMs;
        let isAlive = true;
        let inRound = 0;
        const writers = Array.from({ length: 4 }, async (_, writer) => {
          while (isAlive) {
            const n = sequence++;
            const object =
              writer === 0
                ? fixed("beacon", beacon(++version))
                : writer === 1
                  ? entry(n)
                  : part(n, bytes(n & 255, 1000 + ((n * 7919) % 200_000)), bytes(n, 16));
            offered.add(printName(object.name));
            try {
              await as("camera").put(object);
              if (object.name.kind === "beacon") latest = Math.max(latest, version);
              else kept.set(printName(object.name), object.bytes);
              acknowledged++;
              inRound++;
            } catch (error) {
              if (!isFailure(error, "gone")) throw error;
              return;
            }
          }
        });
        // Some, so that there is something to lose; then at any moment.
        for (let i = 0; i < 6000 && inRound <= round % 7; i++) await sleep(5);
        await sleep((round * 37) % 40);
        await stop(child);
        isAlive = false;
        await Promise.all(writers);
        child = await start(home.path);
        assert.equal(await readdir(join(home.path, "drafts")), []);
        if (round % 10 !== 9 && !isLast) continue;
        const owner = as("root");
        const listed: string[] = [];
        for (let after = ""; ; ) {
          const page = (await owner.list({ after })).map(({ name }) => printName(name));
          listed.push(...page);
          if (page.length < 1000) break;
          after = page.at(-1) ?? "";
        }
        assert.is(new Set(listed).size, listed.length);
        for (const name of kept.keys()) assert.ok(listed.includes(name), `${name} is lost`);
        for (const name of listed) assert.ok(offered.has(name), `${name} was never put`);
        const head = await owner.get({ kind: "beacon" });
        const at = head
          ? Number(new DataView(head.buffer, head.byteOffset + 36).getBigUint64(0))
          : 0;
        assert.ok(at >= latest, `beacon ${at}, acknowledged ${latest}`);
        // To be quick, not all is fetched again each time, and not all is kept.
        for (const [name, content] of kept) {
          const found = await owner.get(parseName(name));
          assert.ok(found && Buffer.compare(found, content) === 0, name);
        }
        for (const name of kept.keys()) await owner.remove(parseName(name));
        for (const name of listed)
          if (name.startsWith("part/")) await owner.remove(parseName(name));
        kept.clear();
      }
      console.log(
        `\nmeasured: relay killed ${round} times at random: ${acknowledged} objects acknowledged, 0 lost, 0 doubled`,
      );
      assert.ok(acknowledged > round);
      close();
      await stop(child);
    },
    { deadlineMs: 900_000 },
  );
});
