import { createHash } from "node:crypto";
import { closeSync, openSync, writeFileSync, writeSync } from "node:fs";
import { readdir, readFile, readlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import * as assert from "uvu/assert";
import { checkUnit } from "../../../src/device/doctor.ts";
import { toBase32 } from "../../../src/protocol/sealed/base32.ts";
import { parseInvite } from "../../../src/protocol/sealed/invite.ts";
import { ready } from "../../../src/protocol/sealed/sodium.ts";
import {
  again,
  boot,
  camera,
  giveAddress,
  linkOnCard,
  pairBy,
  patienceMs,
  relay,
  results,
  run,
  sh,
  show,
  tell,
  until,
  waitsForOwner,
  watches,
} from "./units.ts";

// The life of an installed board under a real systemd, from its installation to a power cut, and from
// the next start to its removal. What is asserted here ends the guest with the reason.

const state = "/var/lib/obscura/camera";
const led = "board::state";

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

/** What udev does by our rules: a host need not have it, and then the guest has not. */
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

/** What of the label lies where a card reader, or who has the camera's state, would find it. */
async function copiesOf(secret: Uint8Array): Promise<string[]> {
  // What was read of the medium before is not read again from memory.
  await sh("sync; echo 3 >/proc/sys/vm/drop_caches");
  const shapes = [Buffer.from(secret), Buffer.from(Buffer.from(secret).toString("hex"))];
  const inLink = [0, 1, 2, 3, 4].map((cut) =>
    toBase32(secret.subarray(cut, cut + 25)).slice(1, -1),
  );
  shapes.push(...inLink.map((letters) => Buffer.from(letters)));
  const files = await sh(`find ${boot} ${state} -xdev -type f`);
  const found: string[] = [];
  for (const file of [...files.split("\n"), "/dev/ubdb"]) {
    const bytes = await readFile(file).catch(() => Buffer.alloc(0));
    if (shapes.some((shape) => bytes.includes(shape))) found.push(file);
  }
  return found;
}

/** As somebody does who has nothing but the card and a phone. */
async function pairByLabel(phone: string): Promise<Uint8Array> {
  const link = await linkOnCard();
  const { secret } = parseInvite(link);
  const files = [`${boot}/pairing.txt`, `${state}/label/label`, `${state}/label/pairing.txt`];
  const copies = await copiesOf(secret);
  for (const file of [...files, "/dev/ubdb"]) assert.ok(copies.includes(file), `${file} has it`);
  assert.equal(
    [...(await readFile(`${boot}/pairing.png`))],
    [...(await readFile(`${state}/label/pairing.png`))],
  );
  tell("its label is on the boot partition");
  await pairBy(link, phone, "--keys 50");
  tell("paired by the link that stood there");
  return secret;
}

/** The label has served: nothing of it is left anywhere. */
async function labelIsGone(secret: Uint8Array): Promise<void> {
  for (const endMs = Date.now() + patienceMs; ; await wait(500)) {
    const copies = await copiesOf(secret);
    if (copies.length === 0) break;
    assert.ok(Date.now() < endMs, copies.join(", "));
  }
  assert.equal(
    (await readdir(boot)).filter((name) => name !== "lost+found"),
    [],
  );
  tell("its label is gone from card and state");
}

async function firstLife(light: number): Promise<void> {
  await sh("mkdir -p /etc/systemd/system/obscura-camera.service.d /etc/obscura");
  const quick = "[Service]\nWatchdogSec=15\nRestartSec=1\n";
  await writeFile("/etc/systemd/system/obscura-camera.service.d/quick.conf", quick);
  await writeFile("/etc/obscura/camera.yaml", settings);
  // What a Raspberry Pi's card reader shows.
  await sh(`mkdir -p ${boot}; mount /dev/ubdb ${boot}`);
  await giveAddress();

  const said = await run("scripts/install-board", ["--relay"]);
  await writeFile(join(results, "install"), said.stdout + said.stderr);
  assert.match(said.stderr, `${boot}/pairing.txt`);
  await rights();
  tell("installed");
  const first = await until(camera, "waiting for an owner", waitsForOwner);
  const firstRelay = await until(relay, "running", ({ ActiveState }) => ActiveState === "active");
  await sh(`kill -9 ${first.MainPID} ${firstRelay.MainPID}`);
  await until(camera, "up again after a kill", again(first, waitsForOwner));
  await until(relay, "up again after a kill", again(firstRelay));
  assert.is(await sh(`systemctl is-enabled ${camera} ${relay}`), "enabled\nenabled");

  const phone = `${process.execPath} dist/src/phone/cli.js --home /root/phone`;
  const secret = await pairByLabel(phone);
  const second = await until(camera, "watching, with nobody's help", watches);
  await labelIsGone(secret);
  const page = await sh("busybox wget -q -O - http://10.71.83.1/generate_204");
  assert.match(page, "the camera's own network");
  tell("the page of its own network is shown");
  await sh("obscura-camera identity -o /tmp/camera.json");
  await sh(`${phone} adopt /tmp/camera.json -o /tmp/owner.json; chmod 644 /tmp/owner.json`);
  assert.match(await sh("obscura-camera adopt /tmp/owner.json"), "adopted by");
  await confined(second.MainPID);

  await sh(`kill -STOP ${second.MainPID}`);
  const third = await until(camera, "up again after the watchdog bit", again(second, watches));
  assert.match(await sh(`journalctl -b --no-pager -o cat -u ${camera}`), "Watchdog timeout");

  // Longer than the watchdog waits: it is told that the camera is known to be gone.
  await sh("echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind");
  await until(
    camera,
    "telling of the camera that is gone",
    ({ StatusText }) => /video0|vivid\.0/.test(StatusText), // where the guest has udev, by its stable name
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

await ready();
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
