import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { appendFileSync, closeSync, openSync, writeFileSync, writeSync } from "node:fs";
import { readdir, readFile, readlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { promisify } from "node:util";
import * as assert from "uvu/assert";
import { checkUnit } from "../../../src/device/doctor.ts";

// The life of an installed board under a real systemd, from its installation to a power cut, and from
// the next start to its removal. What is asserted here ends the guest with the reason.

const run = promisify(execFile);
const results = process.env.BOARD_RESULTS ?? "/results";
const camera = "obscura-camera.service";
const relay = "obscura-relay.service";
const state = "/var/lib/obscura/camera";
const led = "board::state";
/** Patience of a test on a machine that does much else; nothing is measured by it. */
const patienceMs = 90_000;

const startedMs = performance.now();
function tell(text: string): void {
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  appendFileSync(join(results, "progress"), `${seconds} s: ${text}\n`);
}

async function sh(line: string): Promise<string> {
  const { stdout, stderr } = await run("sh", ["-ec", line], { maxBuffer: 1 << 24 });
  appendFileSync(join(results, "commands"), `$ ${line}\n${stdout}${stderr}`);
  return stdout.trim();
}

type Unit = Record<
  "ActiveState" | "SubState" | "StatusText" | "MainPID" | "NRestarts" | "Result",
  string
>;
async function show(unit: string): Promise<Unit> {
  const fields = "ActiveState,SubState,StatusText,MainPID,NRestarts,Result";
  const { stdout } = await run("systemctl", ["show", "-p", fields, unit]);
  return Object.fromEntries(
    stdout
      .trim()
      .split("\n")
      .map((line) => line.split(/=(.*)/s, 2)),
  ) as Unit;
}

async function until(unit: string, what: string, wanted: (now: Unit) => boolean): Promise<Unit> {
  let now = await show(unit);
  for (const endMs = Date.now() + patienceMs; Date.now() < endMs; await wait(1000)) {
    if (wanted(now)) {
      tell(`${unit}: ${what}`);
      return now;
    }
    now = await show(unit);
  }
  const log = await sh(`journalctl -b -n 60 --no-pager -o cat -u ${unit}`);
  throw new Error(`${unit} not ${what}: ${JSON.stringify(now)}\n${log}`);
}
const watches = ({ ActiveState, StatusText }: Unit) =>
  ActiveState === "active" && StatusText === "watching";
const waitsForOwner = ({ StatusText }: Unit) => StatusText.startsWith("waiting for an owner");
/** Up again, in another process than before. */
const again =
  (before: Unit, wanted: (now: Unit) => boolean = ({ ActiveState }) => ActiveState === "active") =>
  (now: Unit) =>
    now.MainPID !== before.MainPID && now.MainPID !== "0" && wanted(now);

async function identity(): Promise<string> {
  return createHash("sha256")
    .update(await readFile(join(state, "keys/identity")))
    .digest("hex");
}

/** What of ours lies on the machine, but for state and settings. */
async function traces(): Promise<string[]> {
  const folders = "/etc /opt /usr/local /usr/lib/systemd /var/lib /run/systemd/system";
  const found = await sh(`find ${folders} -xdev -name '*obscura*' 2>/dev/null || true`);
  return found
    .split("\n")
    .filter((line) => line !== "")
    .sort();
}

const settings = `version: 1
camera: { source: /dev/video0, width: 320, height: 180, fps: 5, format: YUYV, slabMiB: 16 }
detect: { input: 256x160, precision: int8, crops: false, threads: 1 }
light: "${led}"
`;

/** What udev does by our rules; a host need not have it, and so the guest has not. */
const rights = async () => {
  await sh("chgrp video /dev/video0; chmod 660 /dev/video0");
  const files = `/sys/class/leds/${led}/brightness /sys/class/leds/${led}/trigger`;
  await sh(`chgrp obscura-camera ${files}; chmod g+w ${files}`);
};

async function confined(pid: string): Promise<void> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  const field = (name: string) => new RegExp(`^${name}:\\s+(\\S+)`, "m").exec(status)?.[1] ?? "";
  const user = await sh("id -u obscura-camera");
  assert.equal(
    [field("Uid"), field("CapEff"), field("CapBnd")],
    [user, "0".repeat(16), "0".repeat(16)],
  );
  assert.equal([field("NoNewPrivs"), field("Seccomp")], ["1", "2"]);
  assert.ok(Number(field("VmLck")) >= 16 * 1024, `${field("VmLck")} KiB of the slab are locked`);
  const limits = await readFile(`/proc/${pid}/limits`, "utf8");
  assert.match(limits, /^Max core file size\s+1\s+1\s/m);
  const files = await sh(`find ${state} -perm /077 -path '*keys*'`);
  assert.is(files, "", "keys are for their owner alone");
}

async function firstLife(light: number): Promise<void> {
  await sh("mkdir -p /etc/systemd/system/obscura-camera.service.d /etc/obscura");
  const quick = "[Service]\nWatchdogSec=15\nRestartSec=1\n";
  await writeFile("/etc/systemd/system/obscura-camera.service.d/quick.conf", quick);
  await writeFile("/etc/obscura/camera.yaml", settings);

  const said = await run("scripts/install-board", ["--relay"]);
  await writeFile(join(results, "install"), said.stdout + said.stderr);
  assert.match(said.stderr, "sudo obscura-camera pair");
  await rights();
  tell("installed");
  const first = await until(camera, "waiting for an owner", waitsForOwner);
  const firstRelay = await until(relay, "running", ({ ActiveState }) => ActiveState === "active");
  await sh(`kill -9 ${first.MainPID} ${firstRelay.MainPID}`);
  await until(camera, "up again after a kill", again(first, waitsForOwner));
  await until(relay, "up again after a kill", again(firstRelay));
  assert.is(await sh(`systemctl is-enabled ${camera} ${relay}`), "enabled\nenabled");

  await sh("obscura-camera identity -o /tmp/camera.json");
  const phone = `${process.execPath} dist/src/phone/cli.js --home /root/phone`;
  await sh(`${phone} adopt /tmp/camera.json -o /tmp/owner.json; chmod 644 /tmp/owner.json`);
  await sh("obscura-camera adopt /tmp/owner.json");
  const second = await until(camera, "watching, with nobody's help", watches);
  await confined(second.MainPID);

  await sh(`kill -STOP ${second.MainPID}`);
  const third = await until(camera, "up again after the watchdog bit", again(second, watches));
  assert.match(await sh(`journalctl -b --no-pager -o cat -u ${camera}`), "Watchdog timeout");

  // Longer than the watchdog waits: it is told that the camera is known to be gone.
  await sh("echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind");
  await until(camera, "telling of the camera that is gone", ({ StatusText }) =>
    /video0/.test(StatusText),
  );
  await wait(17_000);
  assert.is((await show(camera)).MainPID, third.MainPID, "an unplugged camera is waited for");
  await sh("echo vivid.0 >/sys/bus/platform/drivers/vivid/bind");
  await rights();
  await until(camera, "watching again after a replug", watches);
  assert.is(
    await readFile(`/sys/class/leds/${led}/trigger`, "utf8").then(
      (all) => /\[(\w+)\]/.exec(all)?.[1],
    ),
    "none",
  );

  await sh(`systemctl stop ${camera}`);
  const stopped = await show(camera);
  assert.equal([stopped.ActiveState, stopped.Result], ["inactive", "success"]);
  tell("stopped in time");

  const before = [await identity(), await readlink("/opt/obscura/current")];
  await run("scripts/install-board", ["--relay"]);
  tell("upgraded");
  await until(camera, "watching after an upgrade", watches);
  assert.is(await identity(), before[0]);
  assert.is.not(await readlink("/opt/obscura/current"), before[1]);
  assert.equal((await readdir("/opt/obscura")).length, 2, "the slot before is gone");
  assert.is(await readFile("/etc/obscura/camera.yaml", "utf8"), settings);
  // The rest of the doctor's look takes long here, and is the same on a desk.
  const found = await checkUnit("service", camera).look();
  assert.equal([found.state, found.text], ["good", "runs: watching"]);
  writeFileSync(join(results, "identity"), await identity());
  closeSync(light);
  // The host cuts the power when it sees this.
  writeFileSync(join(results, "cut"), "");
  await wait(600_000);
}

async function secondLife(): Promise<void> {
  await until(camera, "watching after a power cut", watches);
  await until(relay, "running after a power cut", ({ ActiveState }) => ActiveState === "active");
  await sh("obscura-camera check");
  const kept = await identity();
  assert.is(kept, (await readFile(join(results, "identity"), "utf8")).trim());

  tell("in order after it");
  await run("scripts/install-board", ["--uninstall"]);
  tell("uninstalled");
  assert.equal(
    (await traces()).map((path) => path.replace(/\/(camera|quick).*/, "")),
    ["/etc/obscura", "/var/lib/obscura"],
  );
  assert.is(await identity(), kept);
  await run("scripts/install-board", ["--uninstall", "--purge"]);
  assert.equal(await traces(), []);
  assert.not.match(await readFile("/etc/passwd", "utf8"), "obscura");
  tell("purged");
}

if (process.env.LIFE === "2") {
  await sh(`chgrp video /dev/video0; chmod 660 /dev/video0`);
  await secondLife();
} else {
  // struct uleds_user_dev: a name of 64 bytes, the brightest value.
  const light = openSync("/dev/uleds", "r+");
  const device = Buffer.alloc(68);
  device.write(led);
  device.writeInt32LE(255, 64);
  writeSync(light, device);
  await firstLife(light);
}
