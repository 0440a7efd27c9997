import { spawn } from "node:child_process";
import * as assert from "uvu/assert";
import { ed25519Signer, nodeSuite } from "../../../src/base/node/crypto.ts";
import { openHttp } from "../../../src/base/node/http.ts";
import { systemClock } from "../../../src/base/node/time.ts";
import { Failure } from "../../../src/base/pure/failure.ts";
import type { Outbox } from "../../../src/device/outbox/outbox.ts";
import { askForHead, openRelays, openUplink } from "../../../src/device/uplink/uplink.ts";
import { openMailbox } from "../../../src/protocol/wire/client.ts";
import { listMost } from "../../../src/protocol/wire/mailbox.ts";
import { type Name, printName } from "../../../src/protocol/wire/name.ts";
import { relayWorld } from "../../lib/relay.ts";
import { type Camera, faultsOf, makeCamera, recording, startSealer } from "../../lib/sealing.ts";
import type { SenderTask } from "../../lib/sender.ts";
import { suite } from "../../lib/suite.ts";
import { namesOf } from "../../lib/uplink.ts";
import { quickFolder } from "../../lib/world.ts";

const child = new URL("../../lib/sender.js", import.meta.url).pathname;
const rounds = Number(process.env.OBSCURA_KILL_ROUNDS ?? 12);

/** A real relay with the mailbox of this camera's owner, who may read and delete there. */
async function relayOf(camera: Camera, settings = "") {
  const world = await relayWorld({ isEmpty: true, settings });
  const adopted = camera.keyring.adopted;
  assert.ok(adopted);
  const http = openHttp();
  const as = (seed: number) => {
    const { publicKey: key, sign } = ed25519Signer(new Uint8Array(32).fill(seed));
    const url = `http://${world.authority}`;
    const of = { url, mailbox: adopted.mailbox, nowMs: () => Date.now(), send: http.send };
    return openMailbox({ ...of, key, sign, suite: nodeSuite });
  };
  await as(0x78).put({ name: { kind: "door" }, bytes: adopted.doorsBytes });
  const names = async () => {
    const all: Name[] = [];
    for (;;) {
      const last = all.at(-1);
      const after = last ? { after: printName(last) } : {};
      const page = await as(0x79).list({ limit: listMost, ...after });
      all.push(...page.map(({ name }) => name));
      if (page.length < listMost) return all.filter(({ kind }) => kind !== "door").map(printName);
    }
  };
  return {
    ...{ names, owner: () => as(0x79) },
    url: () => `http://${world.authority}`,
    restart: () => world.restart(),
    [Symbol.asyncDispose]: async () => {
      http.close();
      await world[Symbol.asyncDispose]();
    },
  };
}

type Said = { parts: string[]; relayed: string[]; others: string[] };

/** Runs the sender until it is done, or is killed `afterMs` from its first sign of life. */
async function send(task: SenderTask, afterMs?: number): Promise<Said & { killed: boolean }> {
  const running = spawn(process.execPath, [child, JSON.stringify(task)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const said: Said = { parts: [], relayed: [], others: [] };
  let rest = "";
  running.stdout.setEncoding("utf8").on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      const [what = "", ...about] = line.split(" ");
      if (what === "part") said.parts.push(about.join(" "));
      else if (what === "relayed") said.relayed.push(about.join(" "));
      else said.others.push(what);
      if (what === "ready" && afterMs !== undefined) {
        setTimeout(() => running.kill("SIGKILL"), afterMs);
      }
    }
  });
  const how = await new Promise((resolve) => running.on("close", (_, signal) => resolve(signal)));
  return { ...said, killed: how === "SIGKILL" };
}

const isWhole = (outbox: Pick<Outbox, "entries">) =>
  outbox.entries().every(({ sequence }, i) => sequence === i);

suite("uplink to a real relay", (test) => {
  test("parts are there while the clip runs; all of it is there at its end, byte by byte", async () => {
    await using home = await quickFolder();
    const camera = await makeCamera(home.path);
    await using relay = await relayOf(camera);
    const { parts, relayed, others } = await send({ state: home.path, url: relay.url(), clips: 2 });
    assert.equal(others, ["ready", "done"]);
    assert.equal([...relayed].sort(), [...parts].sort());
    const after = await startSealer(home.path);
    const wanted = namesOf(after.outbox);
    const there = new Set(await relay.names());
    // What the next start writes is not there yet.
    const missing = wanted.filter((name) => !there.has(name));
    assert.ok(missing.every((name) => name.startsWith("entry/")));
    assert.is([...there].filter((name) => name.startsWith("part/")).length, parts.length);
    for (const { clip } of after.outbox.clips()) {
      for (const name of after.outbox.parts(clip)) {
        assert.equal(await relay.owner().get(name), await after.outbox.read(name));
      }
    }
    await after.stop();
  });

  test(
    `killed ${rounds} times at random, and the relay started again: nothing acknowledged is lost, nothing doubled`,
    async () => {
      await using home = await quickFolder();
      const camera = await makeCamera(home.path, { oneTime: 100 });
      await using relay = await relayOf(camera);
      const relayed = new Set<string>();
      let killed = 0;
      for (let i = 0; i < rounds; i++) {
        const afterMs = 50 + Math.random() * 1500;
        const said = await send({ state: home.path, url: relay.url(), clips: 50 }, afterMs);
        for (const part of said.relayed) relayed.add(part);
        if (said.killed) killed += 1;
        assert.not(said.others.includes("ahead"), "a kill is no card that was put back");
        if (i % 4 === 3) await relay.restart();
      }
      await send({ state: home.path, url: relay.url(), clips: 0 });
      const after = await startSealer(home.path);
      const names = await relay.names();
      const there = new Set(names);
      const wanted = namesOf(after.outbox).filter((name) => name.startsWith("part/"));
      assert.equal(
        names.filter((name) => name.startsWith("part/")),
        wanted,
      );
      const byPart = (name: string) => `${name.split("/")[2]} ${Number(name.split("/")[3])}`;
      const numbers = wanted.map(byPart);
      assert.is(new Set(numbers).size, numbers.length, "no number twice in a clip");
      for (const part of relayed) assert.ok(numbers.includes(part), part);
      assert.ok(there.has("beacon"));
      await after.stop();
      console.log(
        `measured: uplink: ${killed} kills, ${relayed.size} parts acknowledged, ${numbers.length} there`,
      );
    },
    { deadlineMs: 300_000 },
  );

  test("a clock that is years off takes the relay's time", async () => {
    await using home = await quickFolder();
    const camera = await makeCamera(home.path);
    await using relay = await relayOf(camera);
    const { adopted, identity, signRequest } = camera.keyring;
    assert.ok(adopted);
    const running = await startSealer(home.path);
    await running.sealer.clip(recording(2));
    const clock = { ...systemClock, wallMs: () => 1000 };
    const { relays, close } = openRelays({
      ...{ urls: [relay.url()], mailbox: adopted.mailbox, key: identity.request },
      ...{ sign: signRequest, kbitPerS: 0, clock },
    });
    const uplink = openUplink({
      ...{ outbox: running.outbox, relays, camera: identity.camera, clock: systemClock },
      signal: new AbortController().signal,
      incarnation: () => 1,
      onAhead: () => {},
      onFound: (entry) => running.outbox.put(entry),
      onGiven: async () => {},
    });
    await uplink.idle(60_000);
    await uplink.close();
    assert.equal(await relay.names(), namesOf(running.outbox));
    close();
    await running.stop();
  });

  test("a restored card: the next start goes on behind what the relay has", async () => {
    await using home = await quickFolder();
    await using copy = await quickFolder();
    const camera = await makeCamera(home.path);
    await using relay = await relayOf(camera);
    const { cp, rm } = await import("node:fs/promises");
    await send({ state: home.path, url: relay.url(), clips: 1 });
    await cp(home.path, copy.path, { recursive: true });
    await send({ state: home.path, url: relay.url(), clips: 1 });
    await rm(home.path, { recursive: true });
    await cp(copy.path, home.path, { recursive: true });
    const { adopted, identity, signRequest } = camera.keyring;
    assert.ok(adopted);
    const { relays, close } = openRelays({
      ...{ urls: [relay.url()], mailbox: adopted.mailbox, key: identity.request },
      ...{ sign: signRequest, kbitPerS: 0, clock: systemClock },
    });
    const newest = (await relay.names()).filter((name) => name.startsWith("entry/")).at(-1) ?? "";
    const running = await startSealer(home.path, {
      newestElsewhere: (incarnation) =>
        askForHead({
          ...{ relays, camera: identity.camera, incarnation, clock: systemClock },
          entries: () => [],
          signal: new AbortController().signal,
        }),
    });
    assert.is(running.sealer.life.incarnation, 2);
    const opened = running.outbox.entries().find(({ incarnation }) => incarnation === 2);
    assert.is(opened?.sequence, Number(newest.split("/")[2]) + 1);
    const { clip } = await running.sealer.clip(recording(1));
    assert.ok((await camera.owner.openClip(camera.outbox, clip)).whole);
    await running.stop();
    const broken = async () => (await faultsOf(home.path)).map(({ number }) => number);
    assert.equal(await broken(), [5], "the entries in between lie at the relay");
    // Broken off after so many of them are durable, then to the end.
    for (const most of [0, 1, Number.POSITIVE_INFINITY]) {
      const again = await startSealer(home.path);
      assert.is(again.sealer.life.incarnation, 2, "and stays there");
      let found = 0;
      const uplink = openUplink({
        ...{ outbox: again.outbox, relays, camera: identity.camera, clock: systemClock },
        signal: new AbortController().signal,
        incarnation: () => 2,
        onAhead: () => {},
        onFound: async (entry) => {
          found += 1;
          if (found > most) throw new Failure("gone", "killed");
          await again.outbox.put(entry);
        },
        onGiven: async () => {},
      });
      const isDone = () => (most < Number.POSITIVE_INFINITY ? found > most : isWhole(again.outbox));
      while (!isDone()) await systemClock.sleep(20);
      await uplink.close();
      await again.stop();
      assert.equal(await broken(), most < Number.POSITIVE_INFINITY ? [5] : []);
    }
    const lines = await camera.owner.readLog(camera.outbox);
    assert.is(lines.filter(({ body }) => body.statement.kind === "clip-started").length, 3);
    close();
  });
});
