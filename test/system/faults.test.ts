import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { type AddressInfo, connect, createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { equal, is, ok } from "uvu/assert";
import type { SenderTask } from "../lib/courier.ts";
import { suite } from "../lib/suite.ts";
import { quickFolder } from "../lib/world.ts";

const rounds = Number(process.env.OBSCURA_KILL_ROUNDS ?? 200);
/** Unless a number was asked for: so that a slow machine is not held up. */
const longestMs = process.env.OBSCURA_KILL_ROUNDS ? Number.POSITIVE_INFINITY : 300_000;
const firstSeed = Number(process.env.OBSCURA_KILL_SEED ?? 20_26);
const dist = new URL("../../", import.meta.url).pathname;
const programs = {
  camera: join(dist, "src/device/main.js"),
  phone: join(dist, "src/phone/cli.js"),
  relay: join(dist, "src/relay/main.js"),
  sender: join(dist, "test/lib/courier.js"),
};
const yearMs = 365 * 86_400_000;

function generator(seed: number): (below: number) => number {
  let state = Math.imul(seed, 0x9e3779b1) | 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

type Ended = { code: number; out: string; err: string };
function call(program: keyof typeof programs, ...args: string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(process.execPath, [programs[program], ...args], (error, out, err) => {
      resolve({ code: error ? Number(error.code ?? -1) : 0, out, err });
    });
  });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

async function startRelay(file: string, folder: string, url: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, [programs.relay, "--config", file, "--folder", folder], {
    stdio: "ignore",
  });
  for (let tries = 0; tries < 200; tries++) {
    if (child.exitCode !== null) throw new Error(`the relay ended with ${child.exitCode}`);
    if (
      await fetch(`${url}/health`).then(
        (answer) => answer.ok,
        () => false,
      )
    )
      return child;
    await sleep(25);
  }
  throw new Error("the relay does not answer");
}

type Sender = { child: ChildProcess; lines: string[]; ended: Promise<string> };
function startSender(task: SenderTask): Sender {
  const child = spawn(process.execPath, [programs.sender, JSON.stringify(task)], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const lines: string[] = [];
  let rest = "";
  let complaint = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    const all = (rest + text).split("\n");
    rest = all.pop() ?? "";
    lines.push(...all);
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    complaint += text;
  });
  const ended = once(child, "close").then(([code, signal]) => {
    if (signal === "SIGKILL" || code === 0) return String(signal ?? code);
    throw new Error(`the camera ended with ${code}: ${complaint}`);
  });
  ended.catch(() => {});
  return { child, lines, ended };
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGKILL");
  await once(child, "exit");
}

/** A line that is slow, late and breaks: each connection after as many bytes as it likes. */
async function openBadLine(to: number, random: (below: number) => number) {
  const counts = { connections: 0, broken: 0, bytes: 0 };
  const server = createServer((here) => {
    counts.connections += 1;
    const there = connect(to, "127.0.0.1");
    let left = random(2) === 0 ? 2000 + random(400_000) : Number.POSITIVE_INFINITY;
    const cut = () => {
      here.destroy();
      there.destroy();
    };
    for (const [from, into] of [
      [here, there],
      [there, here],
    ] as const) {
      from.on("data", (bytes) => {
        from.pause();
        counts.bytes += bytes.length;
        left -= bytes.length;
        if (left < 0) {
          counts.broken += 1;
          return cut();
        }
        // About 2 MB a second, and a way of 20 to 60 ms.
        const ms = 20 + random(40) + bytes.length / 2000;
        setTimeout(() => {
          if (!into.destroyed) into.write(bytes);
          from.resume();
        }, ms);
      });
      from.on("error", cut).on("close", cut);
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    ...{ port: (server.address() as AddressInfo).port, counts, close: () => server.close() },
  };
}

suite("faults", (test) => {
  test(
    "over a line that is slow, late and breaks, all comes there once and the phone reads it",
    async () => {
      await using folder = await quickFolder();
      const at = (name: string) => join(folder.path, name);
      const port = await freePort();
      const line = await openBadLine(port, generator(firstSeed));
      const url = `http://127.0.0.1:${line.port}`;
      await writeFile(
        at("relay.yaml"),
        `version: 1
listen: { host: 127.0.0.1, port: ${port} }
authority: ["127.0.0.1:${line.port}"]
metrics: { port: 0 }
quota: { headroomMiB: 0 }
`,
      );
      const relay = await startRelay(at("relay.yaml"), at("relay"), `http://127.0.0.1:${port}`);
      const phone = (...args: string[]) => call("phone", "--home", at("home"), ...args);
      await call("camera", "identity", "--state", at("camera"), "--name", "door", "-o", at("c"));
      is((await phone("adopt", at("c"), "-o", at("o"), "--relay", url, "--keys", "20")).code, 0);
      is((await call("camera", "adopt", "--state", at("camera"), at("o"))).code, 0);
      // The first look opens the mailbox, as soon as one comes through.
      for (let tries = 0; (await phone("clips")).code !== 0; tries++) ok(tries < 20);
      const sender = startSender({
        ...{ state: at("camera"), url, clips: 6, fragments: 12, aheadMs: 0, lingerMs: 90_000 },
      });
      await sender.ended;
      equal(sender.lines.at(-1), "sent");
      let tries = 1;
      let read = await phone("verify", "--json");
      for (; read.code === 1 && tries < 40; tries++) read = await phone("verify", "--json");
      const { clips, faults } = JSON.parse(read.out);
      equal(
        faults.filter(({ severity }: { severity: string }) => severity !== "note"),
        [],
      );
      equal(
        clips.map(({ state }: { state: string }) => state),
        Array(6).fill("whole"),
      );
      const { connections, broken, bytes } = line.counts;
      console.log(
        `\nmeasured: a bad line: ${connections} connections, ${broken} broken, ${(bytes / 1e6).toFixed(1)} MB; 6 clips whole, read after ${tries} tries`,
      );
      ok(broken > 0, "nothing broke");
      line.close();
      await kill(relay);
    },
    { deadlineMs: 300_000 },
  );

  test(
    "camera, relay and phone killed at random, the camera's clock anywhere: nothing acknowledged is lost, nothing doubled, no lie is found",
    async () => {
      await using folder = await quickFolder();
      const at = (name: string) => join(folder.path, name);
      const port = await freePort();
      const url = `http://127.0.0.1:${port}`;
      await writeFile(
        at("relay.yaml"),
        `version: 1
listen: { host: 127.0.0.1, port: ${port} }
metrics: { port: 0 }
quota: { headroomMiB: 0 }
limits: { requestsPerSecondPerAddress: 0, requestsPerSecondPerKey: 1000000 }
`,
      );
      const phone = (...args: string[]) => call("phone", "--home", at("home"), ...args);
      let relay = await startRelay(at("relay.yaml"), at("relay"), url);
      await call("camera", "identity", "--state", at("camera"), "--name", "door", "-o", at("c"));
      const keys = String(rounds + 50);
      is((await phone("adopt", at("c"), "-o", at("o"), "--relay", url, "--keys", keys)).code, 0);
      is((await call("camera", "adopt", "--state", at("camera"), at("o"))).code, 0);
      // The first look opens the mailbox.
      is((await phone("clips")).code, 0);

      const durable = new Set<string>();
      const relayed = new Set<string>();
      const killed = { camera: 0, relay: 0, phone: 0 };
      const take = (lines: readonly string[]) => {
        for (const line of lines) {
          const [what, clip, number] = line.split(" ");
          if (what === "part") durable.add(`${clip} ${number}`);
          if (what === "relayed") relayed.add(`${clip} ${number}`);
        }
      };
      const random = generator(firstSeed);
      const task = { state: at("camera"), url, clips: 1, fragments: 6, aheadMs: 0, lingerMs: 1500 };
      const startMs = performance.now();
      let done = 0;
      for (; done < rounds && performance.now() - startMs < longestMs; done++) {
        const victim = (["camera", "relay", "phone"] as const)[random(3)] ?? "camera";
        const aheadMs = random(4) === 0 ? (random(21) - 10) * yearMs : 0;
        const sender = startSender({ ...task, aheadMs });
        const reader =
          victim === "phone"
            ? spawn(process.execPath, [programs.phone, "--home", at("home"), "clips"], {
                stdio: "ignore",
              })
            : undefined;
        await sleep(150 + random(500));
        const child = victim === "camera" ? sender.child : victim === "relay" ? relay : reader;
        if (child && child.exitCode === null) killed[victim] += 1;
        if (child) await kill(child);
        if (victim === "relay") relay = await startRelay(at("relay.yaml"), at("relay"), url);
        await sender.ended;
        take(sender.lines);
      }
      const seconds = (performance.now() - startMs) / 1000;

      // Peace: what is left is sent, and the phone reads it all.
      const last = startSender({ ...task, lingerMs: 120_000 });
      await last.ended;
      take(last.lines);
      equal(last.lines.at(-1), "sent");
      const checked = await call("camera", "check", "--state", at("camera"));
      is(checked.code, 0, checked.out);
      const { code, out, err } = await phone("verify", "--json");
      ok(out.startsWith("{"), err);
      const found = JSON.parse(out);
      const faults: { severity: string; text: string }[] = found.faults;
      const bad = faults.filter(({ severity }) => severity !== "note");
      equal(bad, []);
      is(code, 0);
      const states = new Map<string, number>();
      const there = new Map<string, number>();
      for (const { id, state, parts } of found.clips) {
        states.set(state, (states.get(state) ?? 0) + 1);
        there.set(id, parts);
      }
      const wrong = [...states.keys()].filter((state) => state !== "whole" && state !== "cut off");
      equal(wrong, [], JSON.stringify([...states]));
      // Parts are numbered without a hole: a clip with a part of a number has all before it.
      const lost = (all: ReadonlySet<string>) =>
        [...all].filter((one) => {
          const [clip = "", number = ""] = one.split(" ");
          return Number(number) >= (there.get(clip) ?? 0);
        });
      equal(lost(relayed), [], "said to be durable at the relay");
      equal(lost(durable), [], "said to be durable on the card");
      await kill(relay);
      const list = [...states].map(([state, count]) => `${count} ${state}`).join(", ");
      console.log(
        `\nmeasured: ${done} of ${rounds} rounds in ${seconds.toFixed(0)} s from seed ${firstSeed}: camera killed ${killed.camera}, ` +
          `relay ${killed.relay}, phone ${killed.phone} times; ${durable.size} parts durable, ` +
          `${relayed.size} said to be relayed, 0 lost, 0 doubled; clips: ${list}`,
      );
      ok(Math.min(...Object.values(killed)) > 0 || done < 20);
    },
    { deadlineMs: 900_000 },
  );
});
