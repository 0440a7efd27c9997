import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { openSync, readFileSync, writeFileSync } from "node:fs";
import { connect as connectTo } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import * as assert from "uvu/assert";
import { dictionary, objectsOf } from "../../../src/base/node/bus.ts";
import { fromText, toHex } from "../../../src/base/pure/bytes.ts";
import { ids, serviceId } from "../../../src/device/improv/improv.ts";
import { type Command, parseAnswer, printCommand } from "../../../src/device/improv/packet.ts";
import { parseInvite } from "../../../src/protocol/sealed/invite.ts";
import { buildHouse, makeUser, sh, startManager, wpa2 } from "./air.ts";
import { bluez, openRadios, until } from "./radio.ts";
import { ends, startBy, tell } from "./story.ts";

// A board and a client of Improv that is BlueZ's, two radios apart; a house with a network.

const results = process.env.BOARD_RESULTS ?? "/results";
const state = "/var/lib/board";
const password = "correct-horse";
const [board, near] = ["hci0", "hci1"] as const;
const characteristicFace = "org.bluez.GattCharacteristic1";
type Name = keyof typeof ids;

await buildHouse("phy0", [{ ssid: "Home", protection: wpa2(password), gives: "192.168.50" }]);
await startManager();
const user = (await makeUser(state)).split(" ");
const radios = await openRadios(2, `${results}/radio.log`);
tell("NetworkManager, two radios, one bluetoothd");

const pair = async (...more: string[]) => {
  const wishes = ["--state", state, "--name", "porch", "--bluetooth", "--adapter", board];
  const camera = startBy(user, "device/main.js", "pair", ...wishes, ...more);
  await camera.until(/phones can come by Bluetooth/);
  return camera;
};
const addressOf = async (adapter: string) =>
  String(
    (await objectsOf(radios.bus, bluez)).get(`/org/bluez/${adapter}`)?.["org.bluez.Adapter1"]
      ?.Address,
  );
/** What one who has no key is answered, and then with one. */
async function tryBare(): Promise<Record<string, string>> {
  const program = join(process.cwd(), "test/system/guest/att.py");
  const args = [program, await addressOf(near), await addressOf(board), ids.state, ids.command];
  const { stdout } = await promisify(execFile)("python3", args, { timeout: 120_000 });
  return Object.fromEntries(
    stdout
      .trim()
      .split("\n")
      .map((line) => line.split(" ")),
  );
}
const bonded = async (adapter: string) => {
  const all = [...(await objectsOf(radios.bus, bluez))];
  return all.filter(
    ([path, faces]) =>
      path.startsWith(`/org/bluez/${adapter}/`) && faces["org.bluez.Device1"]?.Paired === true,
  ).length;
};
const forget = async (device: string) => {
  const at = { destination: bluez, path: `/org/bluez/${near}`, interface: "org.bluez.Adapter1" };
  await radios.bus.call({ ...at, member: "RemoveDevice", signature: "o", body: [device] });
};

/** A client: connects, reads, writes, and hears what it is notified of. */
async function connect() {
  const device = await radios.hears(near, board, serviceId);
  const at = { destination: bluez, path: device, interface: "org.bluez.Device1" };
  const face = async () => (await objectsOf(radios.bus, bluez)).get(device)?.["org.bluez.Device1"];
  await until("the client is connected", async () => {
    await radios.bus.call({ ...at, member: "Connect" }).catch(() => {});
    return (await face())?.ServicesResolved === true;
  });
  const paths = new Map<string, string>();
  for (const [path, faces] of await objectsOf(radios.bus, bluez)) {
    const id = faces[characteristicFace]?.UUID;
    if (path.startsWith(`${device}/`)) paths.set(String(id), path);
  }
  const call = async (name: Name, member: string, signature = "", body: unknown[] = []) => {
    const path = paths.get(ids[name]) ?? "";
    const wanted = { destination: bluez, path, interface: characteristicFace, member };
    return await radios.bus.call({ ...wanted, ...(signature ? { signature, body } : {}) });
  };
  const heard: [name: string, value: string][] = [];
  const names = new Map(Object.entries(ids).map(([name, id]) => [paths.get(id), name]));
  const unwatch = await radios.bus.watch(bluez, ({ path, member, body }) => {
    const name = names.get(path);
    if (!name || member !== "PropertiesChanged" || body[0] !== characteristicFace) return;
    const { Value } = dictionary(body[1]);
    if (Value) heard.push([name, toHex(Uint8Array.from(Value as Iterable<number>))]);
  });
  const client = {
    ...{ device, heard, face },
    read: async (name: Name) => {
      const [value] = await call(name, "ReadValue", "a{sv}", [[]]);
      return Uint8Array.from(value as Iterable<number>);
    },
    write: async (bytes: Uint8Array) => {
      const body = [[...bytes], [["type", ["s", "request"]]]];
      await call("command", "WriteValue", "aya{sv}", body);
    },
    command: (command: Command) => client.write(printCommand(command)),
    /** Everything it was notified of since it last asked, when there is this among it. */
    hears: async (name: Name, value: RegExp) => {
      const found = await until(`${name} ${value}`, async () =>
        heard.find((one) => one[0] === name && value.test(one[1])),
      );
      const all = heard.splice(0).map((one) => one.join(" "));
      return { value: found[1], all };
    },
    follow: async () => {
      for (const name of ["state", "error", "result"] as const) await call(name, "StartNotify");
    },
    async leave() {
      await unwatch();
      await radios.bus.call({ ...at, member: "Disconnect" });
      await until("it is gone", async () => (await face())?.Connected !== true);
    },
  };
  return client;
}
const textsOf = (hex: string) => parseAnswer(Buffer.from(hex, "hex")).texts;

const listening = spawn("btmon", [], { stdio: ["ignore", openSync("/tmp/btmon", "a"), "ignore"] });
const camera = await pair();
await camera.until(/apps that speak Improv can bring this camera into a Wi-Fi network\n/);
assert.is(await radios.advertised(board), 2);
const found = await radios.hears(near, board, serviceId);
const said = (await objectsOf(radios.bus, bluez)).get(found)?.["org.bluez.Device1"];
const data = dictionary(said?.ServiceData)["00004677-0000-1000-8000-00805f9b34fb"];
assert.equal([...(data as Iterable<number>)], [2, 7, 0, 0, 0, 0]);
/** As radios hear it, before anybody answers. */
await until("one whole advertisement", async () => {
  const reports = readFileSync("/tmp/btmon", "utf8").split(/^[<>@=]/m);
  const wanted = [
    ...["Event type: Connectable undirected", "Data length: 31", "128-bit Service UUIDs"],
    ...["Service Data: Unknown (0x4677)", "Data: 020700000000"],
  ];
  return reports.some((report) => wanted.every((words) => report.includes(words)));
});
tell("heard by service id and service data, in one advertisement of 31 bytes");

const bare = await tryBare();
assert.match(bare.read ?? "", /^0108....0f$/, "insufficient encryption");
assert.match(bare.write ?? "", /^0112....0f$/, "insufficient encryption");
assert.match(bare.again ?? "", /^0903....02$/, "authorized");
tell("without a key nothing is read or written; with one nobody was asked about it is");
assert.is(await bonded(board), 1);

let client = await connect();
assert.equal([...(await client.read("capabilities")), ...(await client.read("state"))], [7, 2]);
assert.is((await client.face())?.Paired, true);
await client.follow();
await client.command({ kind: "identify" });
await camera.until(/asks which camera this is/);
await client.command({ kind: "info" });
const info = textsOf((await client.hears("result", /^03/)).value);
assert.equal([info[0], info[3], info.length], ["Obscura", "porch", 6]);
let networks: readonly string[] = [];
// One look may miss who is slow to answer.
for (let tries = 0; tries < 10 && networks.length < 3; tries++) {
  await client.command({ kind: "scan" });
  networks = textsOf((await client.hears("result", /^04/)).value);
}
assert.equal([networks[0], networks[2], networks.length], ["Home", "WPA2", 3]);
assert.match(networks[1] ?? "", /^-\d+$/);
assert.equal([...(await client.read("result"))].length, 6 + networks.join("").length);
tell(`capabilities, state, identify; ${info.join(", ")}; ${networks.join(" ")}`);

const settings = (word: string): Command => ({
  ...{ kind: "settings", ssid: fromText("Home"), password: word },
});
await client.command(settings("wrong-horse"));
await client.hears("state", /^03$/);
const refused = await client.hears("state", /^02$/);
assert.ok(refused.all.includes("error 03"), refused.all.join());
assert.equal([...(await client.read("error")), ...(await client.read("state"))], [3, 2]);
const monitored = readFileSync("/tmp/btmon", "utf8");
assert.ok(monitored.includes("Data: 030700000000"), "the advertisement told of it meanwhile");
listening.kill();
tell("a wrong password: error 3, and authorized as before");

for (let i = 0; i < 2; i++) await client.write(new Uint8Array(200).fill(0xee));
await client.hears("error", /^01$/);
const whole = printCommand(settings(password));
await client.write(whole.subarray(0, 12));
await client.leave();
client = await connect();
await client.follow();
await client.command({ kind: "info" });
assert.is((await client.hears("result", /^03/)).all.includes("error 01"), false);
tell("too much is no packet; half of one is forgotten with who wrote it");

for (let at = 0; at < whole.length; at += 5) await client.write(whole.subarray(at, at + 5));
const joined = await client.hears("state", /^04$/);
assert.equal(joined.all.slice(-2), ["result 010001", "state 04"]);
await camera.until(/has brought this camera into a Wi-Fi network/);
assert.is(await sh("nmcli -t -f NAME connection show --active | grep -v ^lo"), "Home");
await sh("busybox ping -c1 -W20 192.168.50.1");
const [, link = ""] = await camera.until(/there it is paired by (\S+)/);
const there = parseInvite(link).addresses.find(({ ip }) => ip.length === 4 && ip[0] === 192);
const socket = connectTo(there?.port ?? 0, there?.ip.join("."));
await once(socket, "connect");
socket.destroy();
assert.is(await sh(`grep -rl ${password} ${state} || true`), "");
tell("the right one, in pieces: provisioned, and the network is joined");
await until("Improv is over", async () => (await radios.advertised(board)) === 1);
await client.command({ kind: "identify" }).then(
  () => assert.unreachable("it is still there"),
  () => {},
);
assert.is(camera.isOver, false, "the window is open still");
camera.child.kill("SIGTERM");
await ends(camera, 1, /not paired: stopped/);
assert.equal([await bonded(board), await radios.isOn(board)], [0, false]);
tell("the window is closed, the bond forgotten, the radio off");

await forget(client.device);
writeFileSync("/tmp/plain.yaml", "version: 1\nimprov: plain\n");
const plain = await pair("--config", "/tmp/plain.yaml");
await plain.until(/in the clear, as you wished/);
await radios.hears(near, board, serviceId);
assert.match((await tryBare()).read ?? "", /^0903....02$/);
plain.child.kill("SIGTERM");
await plain.ended;
tell("in the clear, where that is wished");

const off = await pair("--improv", "off");
assert.not.match(off.lines.join("\n"), /Improv/);
assert.is(await radios.advertised(board), 1);
off.child.kill("SIGTERM");
await off.ended;

const [files, home] = ["/tmp/files", "/tmp/ada"];
await sh(`install -d -o obscura-camera ${files}`);
const device = `${user.join(" ")} ${process.execPath} dist/src/device/main.js`;
await sh(`${device} identity --state ${state} -o ${files}/camera.json`);
await sh(
  `${process.execPath} dist/src/phone/cli.js --home ${home} adopt ${files}/camera.json -o ${files}/owner.json`,
);
await sh(`chmod 644 ${files}/owner.json; ${device} adopt ${files}/owner.json --state ${state}`);
const owned = await pair();
assert.not.match(owned.lines.join("\n"), /Improv/);
assert.is(await radios.advertised(board), 1);
owned.child.kill("SIGTERM");
await owned.ended;
tell("a camera that has an owner offers nothing of it");
process.exit(0);
