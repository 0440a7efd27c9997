import { spawn } from "node:child_process";
import { chownSync, copyFileSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { objectsOf } from "../../../src/base/node/bus.ts";
import { explain } from "../../../src/base/pure/failure.ts";
import { reachByBluetooth } from "../../../src/phone/cli/bluetooth.ts";
import { writeId } from "../../../src/protocol/sealed/gatt.ts";
import { parseInvite, printInvite } from "../../../src/protocol/sealed/invite.ts";
import { ready } from "../../../src/protocol/sealed/sodium.ts";
import type { Running } from "../../lib/trio.ts";
import type { VisitOrder } from "../visit.ts";
import { bluez, openRadios, until } from "./radio.ts";
import { ends, phone, relay, start, startBy, tell } from "./story.ts";

// A board with a radio, the phones of Ada, Bea and Eve, and what may happen between them.

const results = process.env.BOARD_RESULTS ?? "/results";
const order = JSON.parse(readFileSync(`${results}/order.json`, "utf8")) as VisitOrder;
/** With so many keys that there is time for what is to happen before it has paired. */
const pair = (name: string, link: string) => {
  const by = ["--bluetooth", "--adapter", near, "--phone", name, "--keys", "2000"];
  return phone(name, "pair", link, ...by, "--relay", relay);
};
let sessions = 0;
/** The camera talks with this phone, which has the secret. */
async function proves(running: Running): Promise<Running> {
  const said = new RegExp(`(?:proven the secret[^]*){${++sessions}}`);
  const tooSoon = running.ended.then(({ code, out, err }) => {
    throw new Error(`it ended with ${code} before: ${out}\n${err}`);
  });
  await Promise.race([camera.until(said), tooSoon]);
  tooSoon.catch(() => {});
  return running;
}
const [board, near] = ["hci0", "hci1"] as const;
await ready();
const radios = await openRadios(2, `${results}/radio.log`);
tell("two radios, one bluetoothd");
const mailboxes = start("relay/main.js", "--folder", "/tmp/relay");
await mailboxes.until(/listening/);
assert.is(await radios.isOn(board), false);

// As on an installed board it is not root.
const nobody = 65_534;
mkdirSync("/tmp/state", { mode: 0o700 });
chownSync("/tmp/state", nobody, nobody);
const asNobody = ["setpriv", `--reuid=${nobody}`, `--regid=${nobody}`, "--clear-groups"];
const wishes = ["--state", "/tmp/state", "--name", "porch", "--bluetooth", "--adapter", board];
const camera = startBy(asNobody, "device/main.js", "pair", ...wishes);
const [link] = await camera.until(/^obscura:\S+$/m);
await camera.until(/phones can come by Bluetooth/);
assert.equal([await radios.isOn(board), await radios.advertised(board)], [true, 1]);
tell("the window is open");

const invite = parseInvite(link);
const { identity } = invite;
await radios.hears(near, board);
tell("the camera is heard");
const garbage = await reachByBluetooth({ identity, adapter: near, waitMs: 20_000, tell });
for (const [path, faces] of await objectsOf(radios.bus, bluez)) {
  if (faces["org.bluez.GattCharacteristic1"]?.UUID !== writeId) continue;
  const body = [new Uint8Array(300).fill(0xff), []];
  const write = { interface: "org.bluez.GattCharacteristic1", member: "WriteValue" };
  const call = { destination: bluez, path, ...write, signature: "aya{sv}", body };
  await radios.bus.call(call).catch(() => {});
}
const answer = await garbage.pipe.receive({ mostBytes: 100, withinMs: 60_000 }).catch(explain);
assert.is(answer, "the connection broke");
await garbage.close();
tell("who writes garbage is sent away");

await radios.hears(near, board);
const guess = printInvite({ ...invite, secret: new Uint8Array(32).fill(1) });
await ends(pair("eve", guess), 1, /does not know this link/);
tell("a wrong secret is refused, and said to be wrong");

await radios.hears(near, board);
const vanishing = await proves(pair("ada", link));
await radios.switchOff(near);
await ends(vanishing, 1, /Nothing is lost/);
await camera.until(/a session ended early/);
tell("a phone vanished half-way");

await radios.hears(near, board);
const forlorn = await proves(pair("ada", link));
await radios.kill();
await ends(forlorn, 1, /Nothing is lost/);
await radios.start();
await camera.until(/bluetoothd was started anew, and told again/);
assert.is(await radios.advertised(board), 1);
tell("bluetoothd was killed: the phone says so, the new one was told again");

await radios.hears(near, board);
const slow = await proves(pair("ada", link));
slow.child.kill("SIGSTOP");
const quick = phone("bea", "pair", link, "--phone", "bea", "--keys", "200", "--relay", relay);
await ends(quick, 0, /paired with porch/);
await ends(camera, 0, /adopted by bea/);
slow.child.kill("SIGCONT");
await ends(slow, 1, /took its place|the camera went away/);
tell("two phones at once with one link, one by radio: the later one has it, the other is told");
const words = [quick, camera].map((each) => /check word ([^:,\s]+): /.exec(each.lines.join("\n")));
tell(`paired, both show ${words[0]?.[1]}`);
assert.ok(words[0]?.[1] !== undefined && words[0][1] === words[1]?.[1]);
assert.equal([await radios.isOn(board), await radios.advertised(board)], [false, 0]);
tell("the window is closed, and the radio off");

const player = spawn(
  process.execPath,
  [
    join(import.meta.dirname, "play.js"),
    ...["--pictures", order.pictures, "--playlist", order.playlist, "--device", "/dev/video10"],
    ...["--rounds", "100"],
  ],
  { stdio: "inherit" },
);
const service = start(
  ...["device/main.js", "run", "--source", "/dev/video10", "--state", "/tmp/state"],
  ...(["--config", `${results}/camera.yaml`, "--json"] as const),
);
await service.until(/"event":"clip"/);
tell("the first clip was recorded");
await until("a whole clip at the phone", async () => {
  const { code, out } = await phone("bea", "clips", "--json").ended;
  return code === 0 && out.includes('"whole"');
});
await ends(phone("bea", "export", "--all", "-o", "/tmp/clips"), 0, /mp4/);
const films = readdirSync("/tmp/clips").sort();
const [film = ""] = films.filter((name) => name.endsWith(".mp4"));
copyFileSync(`/tmp/clips/${film}`, `${results}/first.mp4`);
tell("the first clip is on the phone, as a film");
await service.end("SIGTERM");
player.kill();
process.exit(0);
