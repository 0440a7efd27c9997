import { execFileSync } from "node:child_process";
import { mkdirSync, openSync, readdirSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import * as assert from "uvu/assert";
import { ready } from "../../../src/protocol/sealed/sodium.ts";
import { ends, phone, relay, start, tell } from "./story.ts";

/** A board with a button and without anything else that could be operated, and the phones of Ada and Eve. */
export type PanelOrder = {
  /** Footage with people, as bare pictures in YUYV. */
  pictures: string;
  size: { width: number; height: number };
};
/** What was on the card while the camera had an owner: name → bytes in hexadecimal. */
export type Secrets = Record<string, string>;

const results = process.env.BOARD_RESULTS ?? "/results";
const order = JSON.parse(readFileSync(`${results}/order.json`, "utf8")) as PanelOrder;
const surname = "-of-orchard-lane";
const device = "/dev/video10";
const state = "/card/camera";
const sh = (line: string) => execFileSync("sh", ["-ec", line], { encoding: "utf8" }).trim();

/** A line of a GPIO chip that the kernel simulates, pulled up by whoever watches it. */
function openLine() {
  sh("mount -t configfs none /sys/kernel/config 2>/dev/null || true");
  const chip = "/sys/kernel/config/gpio-sim/panel";
  mkdirSync(`${chip}/bank0`, { recursive: true });
  writeFileSync(`${chip}/bank0/num_lines`, "8");
  writeFileSync(`${chip}/live`, "1");
  const name = readFileSync(`${chip}/bank0/chip_name`, "utf8").trim();
  const platform = readFileSync(`${chip}/dev_name`, "utf8").trim();
  const pull = `/sys/devices/platform/${platform}/${name}/sim_gpio3/pull`;
  return {
    name: `${name}/3`,
    async hold(over: Promise<unknown>) {
      writeFileSync(pull, "pull-down");
      await over;
      writeFileSync(pull, "pull-up");
    },
  };
}

const { width, height } = order.size;
const pictureBytes = 2 * width * height;
/** What is before the lens, picture after picture in YUYV, over and over. */
let shown: Uint8Array[] = [new Uint8Array(pictureBytes).fill(128)];
// One writer for good: a loopback device is no camera while nobody writes to it.
const lens = openSync(device, "r+");
sh(`v4l2-ctl -d ${device} --set-fmt-video-out=width=${width},height=${height},pixelformat=YUYV`);
let count = 0;
setInterval(() => writeSync(lens, shown[count++ % shown.length] as Uint8Array), 100);

function showCode(file: string): void {
  const fit = `scale=-1:${height - 20}:flags=area,pad=${width}:${height}:(ow-iw)/2:10:gray`;
  const to = ["-vf", fit, "-pix_fmt", "yuyv422", "-f", "rawvideo", "-"];
  shown = [execFileSync("ffmpeg", ["-v", "error", "-i", file, ...to], { maxBuffer: 1 << 24 })];
}
function showPeople(): void {
  const all = readFileSync(order.pictures);
  shown = Array.from({ length: all.length / pictureBytes }, (_, i) =>
    all.subarray(i * pictureBytes, (i + 1) * pictureBytes),
  );
}
/** Writes its code, and shows it. */
async function pair(name: string) {
  const file = `/tmp/${name}.png`;
  const by = ["--lens", file, "--phone", `${name}${surname}`, "--keys", "50", "--relay", relay];
  const pairing = phone(name, "pair", ...by);
  await pairing.until(/show it to the camera/);
  showCode(file);
  return pairing;
}

await ready();
const line = openLine();
writeFileSync(
  "/tmp/camera.yaml",
  `${readFileSync(`${results}/camera.yaml`)}button: ${line.name}\n`,
);
const mailboxes = start("relay/main.js", "--folder", "/tmp/relay");
await mailboxes.until(/listening/);
// As under systemd, whose words nobody listens to here.
process.env.NOTIFY_SOCKET = "/run/nobody";
const run = ["run", "--source", device, "--state", state, "--config", "/tmp/camera.yaml", "--json"];
const camera = start("device/main.js", ...run);
/** What the camera logs. */
let noted = "";
camera.child.stderr?.on("data", (text) => {
  noted += text;
});
/**
 * Presses until the camera has said so once more: one that is busy for all of a press takes it for a
 * contact that bounces.
 */
async function press() {
  const times = () => noted.split("pressed:").length;
  const before = times();
  while (times() === before) {
    await line.hold(wait(1_000));
    for (let i = 0; i < 50 && times() === before; i++) await wait(100);
  }
}
await camera.until(/waiting for an owner/);
tell(`a camera without an owner, and a button at ${line.name}`);

const ada = await pair("ada");
await wait(2_000);
assert.not.match(noted, /pressed/);
await press();
tell("pressed");
await ends(ada, 0, /paired with porch/);
await camera.until(/the window is closed: a phone was paired/);
tell("Ada's phone has shown its code to the lens, and is the owner");

showPeople();
await camera.until(/"event":"clip"/);
for (;;) {
  const { code, out } = await phone("ada", "clips", "--json").ended;
  if (code === 0 && out.includes('"whole"')) break;
  await wait(500);
}
tell("the first sealed clip is at the phone, whole");

const eve = await pair("eve");
await press();
await ends(eve, 1, /another owner/);
tell("a stranger presses it and shows a code: she is told that it has an owner");

const keys = join(state, "keys");
const secrets: Secrets = { "phone's name": Buffer.from(`ada${surname}`).toString("hex") };
for (const file of readdirSync(keys).filter((name) => name.endsWith(".key"))) {
  secrets[file] = readFileSync(join(keys, file)).subarray(0, 32).toString("hex");
}
writeFileSync(`${results}/secrets.json`, JSON.stringify(secrets));
sh(`sync; cp --sparse=always /dev/ubda ${results}/before.img`);
await line.hold(camera.until(/let go to keep it/i));
await wait(8_000);
assert.is(camera.isOver, false);
tell("held until it is warned: nothing else");
await line.hold(camera.ended);
await ends(camera, 0, /the button has erased this camera: it is as new/);
await ends(phone("ada", "verify"), 0, /no lie and no loss/);
const { out: log } = await phone("ada", "log").ended;
assert.match(log, /a window for pairing was opened/);
assert.match(log, /the button was held for ten seconds: it is erased/);
tell("held for ten: erased, which Ada reads in its log");
assert.equal(readdirSync(state), []);
sh(`umount /card; sync; cp --sparse=always /dev/ubda ${results}/after.img; mount /dev/ubda /card`);

const anew = start("device/main.js", ...run);
await anew.until(/waiting for an owner/);
tell("started anew it is nobody's");
await anew.end("SIGTERM");
process.exit(0);
