import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import * as assert from "uvu/assert";
import {
  again,
  boot,
  camera,
  giveAddress,
  linkOnCard,
  pairBy,
  relay,
  results,
  run,
  sh,
  show,
  tell,
  type Unit,
  until,
  watches,
} from "./units.ts";

// Months of an installed board in minutes: somebody walks by every few seconds, and all that can go wrong
// does, in turns. What it holds is looked at before each fault.

export type SoakOrder = {
  minutes: number;
  settings: string;
  /** Kernel module and parameters of what the camera is plugged into. */
  device: string;
};
/** Of the camera's process: what it holds at rest in one life. */
export type Sample = { life: number; atS: number; residentMiB: number; files: number };
export type SoakReport = {
  samples: Sample[];
  faults: Record<string, number>;
  outboxMiB: number[];
  /** Exit code and words of the phone that looks at everything in the end. */
  verify: { code: number; said: string };
  clips: Record<string, number>;
};

const order = JSON.parse(readFileSync(join(results, "order.json"), "utf8")) as SoakOrder;
const [state, mailboxes] = ["/var/lib/obscura/camera", "/var/lib/obscura/relay"];
const patienceMs = 120_000;
const startMs = performance.now();

let world: ChildProcess | undefined;
/** What is before the lens; without it the loopback device is no camera. */
async function plug(): Promise<void> {
  const from = ["--pictures", "/results/pictures", "--playlist", "/results/playlist"];
  const program = "dist/test/system/guest/play.js";
  const said = openSync(join(results, "commands"), "a");
  world = spawn(process.execPath, [program, ...from, "--rounds", "1000000"], {
    stdio: ["ignore", said, said],
  });
  closeSync(said);
  await sh("chgrp video /dev/video10; chmod 660 /dev/video10");
}
async function unplug(): Promise<void> {
  const gone = world && once(world, "exit");
  world?.kill("SIGKILL");
  await gone;
}
/** The device itself goes and comes: one whose last writer was killed takes no other. */
async function renew(): Promise<void> {
  for (const endMs = performance.now() + patienceMs; performance.now() < endMs; await wait(1000)) {
    // Not in the moment in which the camera tries it.
    if (
      await sh("modprobe -r v4l2loopback").then(
        () => true,
        () => false,
      )
    )
      break;
  }
  await wait(5000);
  await sh(`modprobe ${order.device}`);
}

const parts = async () => Number(await sh(`find ${mailboxes} -type f | wc -l`));
/** Something that was sealed since has come to the relay. */
async function goesOn(what: string): Promise<void> {
  const before = await parts();
  for (const endMs = performance.now() + patienceMs; performance.now() < endMs; await wait(1000)) {
    if ((await parts()) > before) return tell(`${what}: it goes on`);
  }
  const log = await sh(`journalctl -b -n 60 --no-pager -o cat -u ${camera} -u ${relay}`);
  throw new Error(`nothing more came to the relay after ${what}\n${log}`);
}

let life = 0;
let lastPid = "";
/** The least of some seconds, in which clips begin and end: what is held all the time. */
async function sample(): Promise<Sample> {
  const { MainPID: pid } = await show(camera);
  if (pid !== lastPid) life++;
  lastPid = pid;
  let [residentMiB, files] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (let i = 0; i < 12; i++, await wait(1000)) {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    residentMiB = Math.min(residentMiB, Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) / 1024);
    files = Math.min(files, readdirSync(`/proc/${pid}/fd`).length);
  }
  const atS = Math.round((performance.now() - startMs) / 1000);
  const found = { life, atS, residentMiB: Math.round(residentMiB * 10) / 10, files };
  tell(`held: ${JSON.stringify(found)}`);
  return found;
}

/** Somebody comes by all the time: it may be recording whenever it is asked. */
const sees = (now: Unit) => watches(now) || now.StatusText === "recording";

const kill = async (unit: string, signal: string) => {
  const before = await show(unit);
  await sh(`kill -${signal} ${before.MainPID}`);
  await until(unit, "up again", again(before));
};
/** Those in which the camera lives on come first: a life in which it is killed tells little of its memory. */
const faults: Record<string, () => Promise<void>> = {
  "relay restarted": async () => void (await sh(`systemctl restart ${relay}`)),
  "relay killed": () => kill(relay, "KILL"),
  async "network lost"() {
    await sh("ip link set lo down");
    await wait(8000);
    await sh("ip link set lo up");
  },
  async unplugged() {
    const before = await show(camera);
    await unplug();
    await until(camera, "telling of the camera that is gone", (now) => !sees(now));
    await renew();
    await plug();
    await until(camera, "seeing again", sees);
    assert.is((await show(camera)).MainPID, before.MainPID, "it lives on");
  },
  "encoder killed": async () => void (await sh("pkill -KILL -u obscura-camera ffmpeg || true")),
  async hung() {
    await kill(camera, "STOP");
    assert.match(await sh(`journalctl -b --no-pager -o cat -u ${camera}`), "Watchdog timeout");
  },
  killed: () => kill(camera, "KILL"),
};

await sh("mkdir -p /etc/systemd/system/obscura-camera.service.d /etc/obscura");
const quick = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nWatchdogSec=15\nRestartSec=1\n";
for (const unit of [camera, relay]) {
  await sh(`mkdir -p /etc/systemd/system/${unit}.d`);
  writeFileSync(`/etc/systemd/system/${unit}.d/quick.conf`, quick);
}
writeFileSync("/etc/obscura/camera.yaml", order.settings);
await sh(`mkdir -p ${boot}`);
await giveAddress();
await plug();
await run("scripts/install-board", ["--relay"]);
tell("installed, out of the box");
await until(relay, "running", ({ ActiveState }) => ActiveState === "active");
const phone = `${process.execPath} dist/src/phone/cli.js --home /root/phone`;
await pairBy(await linkOnCard(), phone, "--relay http://127.0.0.1:8470 --keys 500");
tell("paired by its label");
await until(camera, "watching, with nobody's help", watches);
await goesOn("paired");
const isWhole = async () => (await sh(`${phone} clips --json`)).includes('"whole"');
for (const endMs = Date.now() + patienceMs; !(await isWhole()); await wait(1000)) {
  if (Date.now() > endMs) throw new Error("no whole clip came to the phone");
}
tell("the first clip is on the phone");

const report: SoakReport = {
  ...{ samples: [], faults: {}, outboxMiB: [], clips: {} },
  verify: { code: -1, said: "" },
};
const all = Object.entries(faults);
const endMs = performance.now() + order.minutes * 60_000;
// The last round is of all that can happen; before it the camera lives on through the others.
for (let isLast = false; !isLast; ) {
  isLast = performance.now() >= endMs;
  for (const [name, happen] of isLast ? all : all.slice(0, -2)) {
    report.samples.push(await sample());
    await happen();
    report.faults[name] = (report.faults[name] ?? 0) + 1;
    await goesOn(name);
    report.outboxMiB.push(Number(await sh(`du -sk ${state}/outbox | cut -f1`)) / 1024);
  }
}
report.samples.push(await sample());
await unplug();
// What was sealed last is on its way for a moment.
for (let before = -1, now = 0; before !== now; [before, now] = [now, await parts()])
  await wait(8000);
const look = () =>
  run(process.execPath, [
    ...["dist/src/phone/cli.js", "--home", "/root/phone", "verify", "--json"],
  ]).then(
    ({ stdout }) => ({ code: 0, said: stdout }),
    (error) => ({ code: Number(error.code), said: String(error.stdout) }),
  );
const clipsOf = ({ said }: { said: string }): { state: string }[] => JSON.parse(said).clips;
/** A machine that does much else may not have sent all of it yet. */
const isOver = (found: { code: number; said: string }) =>
  found.code === 0 && clipsOf(found).every(({ state: one }) => ["whole", "cut off"].includes(one));
let looks = await look();
for (const endMs = Date.now() + patienceMs; !isOver(looks) && Date.now() < endMs; )
  looks = await look();
report.verify = { code: looks.code, said: looks.said.slice(0, 4000) };
for (const { state: one } of clipsOf(looks)) {
  report.clips[one] = (report.clips[one] ?? 0) + 1;
}
writeFileSync(join(results, "report.json"), JSON.stringify(report));
tell("the end");
process.exit(0);
