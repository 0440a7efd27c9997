import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import * as assert from "uvu/assert";
import { listen, startMosquitto, until } from "../../lib/mosquitto.ts";
import { ends, phone, start, tell } from "./story.ts";

/** A camera at a real driver, and a house that shuts its lens. */
const device = "/dev/video0";
const base = "obscura/porch";
const state = "/tmp/camera";
const patienceMs = 200_000;

/** Who has the device open, by their ids. */
function holders(): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const folder = `/proc/${pid}/fd`;
        return readdirSync(folder).some((fd) => {
          try {
            return readlinkSync(`${folder}/${fd}`) === device;
          } catch {
            return false;
          }
        });
      } catch {
        return false;
      }
    });
}
/** Of the driver: how often it is open, whoever has it. */
const uses = () => Number(readFileSync("/sys/module/vivid/refcnt", "utf8"));

process.env.NOTIFY_SOCKET = "/run/nobody";
await ends(start("device/main.js", "identity", "--state", state, "-o", "/tmp/c"), 0, /./);
await ends(phone("ada", "adopt", "/tmp/c", "-o", "/tmp/o", "--keys", "20"), 0, /./);
await ends(start("device/main.js", "adopt", "--state", state, "/tmp/o"), 0, /./);
mkdirSync("/tmp/broker");
await using broker = await startMosquitto("/tmp/broker");
await using house = await listen(broker.url);
writeFileSync(
  "/tmp/camera.yaml",
  `version: 1
camera: { width: 640, height: 360, fps: 10, format: YUYV, slabMiB: 12 }
detect: { input: 256x160, precision: int8, crops: false, threads: 1 }
record: { fps: 10, preRollMiB: 6, preRollS: 2, postRollS: 1 }
mqtt: { id: porch, url: "${broker.url}", commands: [privacy, record] }
`,
);
const run = ["run", "--source", device, "--state", state, "--config", "/tmp/camera.yaml", "--json"];
const idle = uses();
const said = (camera: { lines: readonly string[] }) => camera.lines.join("\n");
const count = (camera: { lines: readonly string[] }, event: string) =>
  camera.lines.filter((line) => line.includes(`"event":"${event}"`)).length;
const ask = (name: string, payload: string) => house.publish(`${base}/${name}/set`, payload);
const waitFor = (name: string, payload: string, from = 0) =>
  until(
    `${name} is ${payload}`,
    () =>
      house.messages
        .slice(from)
        .some((one) => one.topic === `${base}/${name}` && one.payload.toString() === payload) &&
      house.at(`${base}/${name}`) === payload,
    { patienceMs },
  );

const first = start("device/main.js", ...run);
await first.until(/"event":"pictures"/);
assert.equal(holders(), [String(first.child.pid)], "the test sees who has the device");
assert.ok(uses() > idle);
await ask("record", "60");
await first.until(/"event":"part"/);
tell("a camera records a real device");

await ask("privacy", "ON");
await waitFor("privacy", "ON");
assert.equal(holders(), []);
assert.is(uses(), idle);
await first.until(/"event":"clip".*"reason":"stopped"/);
const before = ["camera", "pictures", "part", "clip"].map((event) => count(first, event));
// It is free: somebody else can have it.
execFileSync("v4l2-ctl", ["-d", device, "--stream-mmap", "--stream-count=3"], { stdio: "ignore" });
await wait(5_000);
assert.equal(
  ["camera", "pictures", "part", "clip"].map((event) => count(first, event)),
  before,
);
assert.is(uses(), idle);
tell("privacy: the device is closed, the clip is sealed, and nothing follows");

await first.end("SIGKILL");
const from = house.messages.length;
let opened = 0;
const timer = setInterval(() => {
  if (uses() !== idle || holders().length > 0) opened += 1;
}, 5);
const second = start("device/main.js", ...run);
await waitFor("privacy", "ON", from);
await wait(5_000);
clearInterval(timer);
assert.is(opened, 0, said(second));
assert.is(count(second, "camera"), 0);
tell("killed and started anew: the device was not opened for a moment");

await ask("privacy", "OFF");
// Or what is asked next would seem to have been answered before.
await waitFor("privacy", "OFF");
await second.until(/"event":"pictures"/);
assert.equal(holders(), [String(second.child.pid)]);
for (let i = 0; i < 3; i++) {
  await ask("privacy", "ON");
  await waitFor("privacy", "ON");
  assert.equal(holders(), []);
  await ask("privacy", "OFF");
  await waitFor("privacy", "OFF");
  await until("it sees again", () => count(second, "pictures") === i + 2, { patienceMs });
}
tell("over, and three times more");
await second.end("SIGTERM");
assert.is(uses(), idle);
process.exit(0);
