import { copyFile, readdir, readFile, writeFile } from "node:fs/promises";
import * as assert from "uvu/assert";
import { openLog } from "../../../src/base/node/log.ts";
import { forgetNetworks } from "../../../src/device/network/network.ts";
import {
  buildHouse,
  makeUser,
  runManager,
  sh,
  start,
  startManager,
  takeAway,
  tell,
  until,
  within,
  wpa2,
  wpa3,
} from "./air.ts";

// A board's Wi-Fi under a real NetworkManager. What is asserted here ends the guest with the reason.

const camera = "dist/src/device/main.js";
const state = ["--state", "/var/lib/board"];
const [password, other] = ["correct-horse", "battery-staple"];

async function wifi(words: readonly string[], input = "") {
  const run = start([camera, "wifi", ...state, "--json", ...words], input);
  await run.ended;
  return run;
}

async function join(name: string, input: string, ...more: string[]) {
  const { said, noted } = await wifi(["join", name, ...more], input);
  tell(`join ${name}: ${said.trim() || noted}`);
  return JSON.parse(said);
}

/** The profiles that NetworkManager has, by name. */
const profiles = async () =>
  (await sh("nmcli -t -f NAME connection | sort"))
    .split("\n")
    .filter((name) => name !== "" && name !== "lo");
const status = async () => JSON.parse((await wifi(["status"])).said);
/** Nobody but NetworkManager has it. */
const isNowhereElse = async () =>
  assert.is(await sh(`grep -rlE '${password}|${other}|wrong-horse' /var/lib/board || true`), "");

const stories: Record<string, () => Promise<void>> = {
  async join() {
    await buildHouse("phy0", [
      { ssid: "Home", protection: wpa2(password), gives: "192.168.50" },
      {
        ssid: "Hidden",
        protection: `${wpa3(other)}ignore_broadcast_ssid=1\n`,
        gives: "192.168.51",
      },
      { ssid: "Mute", protection: "" },
    ]);
    const manager = await startManager();
    // One look may miss who is slow to answer.
    let found: string[][] = [];
    await until("two are heard", async () => {
      const { said } = await wifi(["scan"]);
      tell(`scan: ${said.trim()}`);
      found = JSON.parse(said).map(({ name = "", security = "" }) => [name, security]);
      return found.length > 1;
    });
    assert.equal(found.sort(), [
      ["Home", "wpa2"],
      ["Mute", "open"],
    ]);

    const joined = await join("Home", password);
    assert.is(joined.verdict, "joined");
    assert.match(joined.address, /^192\.168\.50\./);
    assert.is((await join("Elsewhere", password)).verdict, "no-such-network");

    const wrong = await join("Home", "wrong-horse");
    assert.equal([wrong.verdict, wrong.isRestored], ["wrong-password", true]);
    await sh("busybox ping -c1 -W20 192.168.50.1");
    assert.equal(await profiles(), ["Home"]);

    // No address: that takes the longest.
    const silent = join("Mute", "");
    await until("it is being tried", async () => (await profiles()).length === 2);
    const meanwhile = await wifi(["join", "Home"], "wrong-horse");
    assert.equal([meanwhile.code, meanwhile.said], [1, ""], "one attempt at a time");
    const mute = await silent;
    assert.equal([mute.verdict, mute.isRestored], ["no-address", true]);
    await sh("busybox ping -c1 -W20 192.168.50.1");

    const hidden = await join("Hidden", other, "--hidden");
    assert.is(hidden.verdict, "joined");
    assert.match(hidden.address, /^192\.168\.51\./);
    assert.equal(await profiles(), ["Hidden", "Home"]);

    // Nobody answers to it, so it is tried in the dark.
    const nowhere = await join("Nowhere", password, "--hidden");
    assert.equal([nowhere.verdict, nowhere.isRestored], ["no-such-network", true]);

    const cut = join("Mute", "");
    await until("it is being tried", async () => (await profiles()).includes("Mute"));
    manager.kill("SIGKILL");
    runManager();
    const interrupted = await cut;
    assert.equal([interrupted.verdict, interrupted.isRestored], ["interrupted", true]);
    const { last, network } = await status();
    assert.equal([network, last.verdict, last.attempt], ["Hidden", "interrupted", 7]);
    assert.equal(await profiles(), ["Hidden", "Home"]);
    await isNowhereElse();

    const killed = start([camera, "wifi", ...state, "join", "Mute"]);
    await until("it is being tried", async () => (await profiles()).includes("Mute"));
    killed.kill();
    await killed.ended;
    // Whoever asks next settles what was left.
    const settled = await status();
    tell(`killed in the middle: ${JSON.stringify(settled)}`);
    assert.equal([settled.last.verdict, settled.last.attempt], ["interrupted", 8]);
    // NetworkManager takes it back when it has heard nothing for so long.
    await until("it is where it was", async () => {
      return (await status()).network === "Hidden" && !(await profiles()).includes("Mute");
    });
    assert.equal(await profiles(), ["Hidden", "Home"]);

    await forgetNetworks("/var/lib/board", openLog("erase", "debug", tell));
    assert.equal(await profiles(), []);
    await until("it is in none", async () => (await status()).network === null);
  },

  async own() {
    await buildHouse("phy0", [{ ssid: "Home", protection: wpa2(password), gives: "192.168.50" }]);
    const relay = "http://192.168.50.1:8470";
    await writeFile("/run/relay.yaml", "version: 1\nlisten: { host: 192.168.50.1 }\n");
    const kept = ["--config", "/run/relay.yaml", "--folder", "/run/relay"];
    const mailboxes = start(["dist/src/relay/main.js", ...kept], "", within("house", ""));
    await until("the house's relay runs", () => /listening/.test(mailboxes.noted));
    const device = await takeAway("phy2", "phone");
    const named = "/etc/NetworkManager/dnsmasq-shared.d/obscura.conf";
    await sh(`install -D board/obscura-camera.dnsmasq ${named}`);
    await startManager();
    const user = await makeUser("/var/lib/board");
    const pair = start([camera, "pair", ...state, "--no-qr"], "", user);
    await until("the codes are shown", () => /^WIFI:.*;;$/m.test(pair.said));
    const link = /^obscura:\S+$/m.exec(pair.said)?.[0] ?? "";
    const [, ssid, secret] = /^WIFI:T:WPA;S:(.*);P:(.*);;$/m.exec(pair.said) ?? [];
    tell(`the camera's own network: ${ssid}`);
    const isThere = async () =>
      (await sh(within("phone", `iw dev ${device} link`))).includes("Connected");
    const enter = async (name: string | undefined, passphrase: string | undefined) => {
      await sh(`wpa_passphrase '${name}' ${passphrase} >/run/phone.conf`);
      await sh(
        within("phone", `wpa_supplicant -B -P /run/phone.pid -i ${device} -c /run/phone.conf`),
      );
      await until(`the phone is in ${name}`, isThere);
      const ask = `busybox udhcpc -f -n -q -t 20 -i ${device} -s /bin/true 2>&1`;
      const lease = await sh(within("phone", ask));
      const given = /lease of ([\d.]+) obtained/.exec(lease)?.[1];
      assert.ok(given, lease);
      await sh(within("phone", `ip addr replace ${given}/24 dev ${device}`));
      return given;
    };
    const address = await enter(ssid, secret);
    assert.match(address, /^10\.71\.83\./);
    const page = await sh(within("phone", "busybox wget -q -O - http://10.71.83.1/generate_204"));
    assert.match(page, "the camera's own network");
    const anywhere = await sh(within("phone", "busybox nslookup -type=a example.org 10.71.83.1"));
    assert.match(
      anywhere,
      /Name:\s+example\.org\s+Address.*: 10\.71\.83\.1/,
      "every name leads there",
    );
    tell(`the phone is there as ${address} and has read the page`);

    const phone = ["dist/src/phone/cli.js", "--home", "/root/phone", "--json"];
    const wanted = [...phone, "pair", link, "--keys", "20", "--relay", relay, "--wifi"];
    const lost = start([...wanted, "Elsewhere"], password, within("phone", ""));
    await until("the camera has left its own network", async () => {
      return !(await sh("nmcli -t -f NAME connection show --active")).includes(ssid ?? "");
    });
    lost.kill();
    await lost.ended;
    await until("the camera knows", () => pair.noted.includes("verdict=no-such-network"));
    await until("the camera's own network is back", isThere);
    assert.is(pair.code, undefined, "the window is open still");
    tell("the phone vanished while the camera looked for a network that is not there");

    const wrong = start([...wanted, "Home"], "wrong-horse", within("phone", ""));
    await wrong.ended;
    tell(`wrong password: ${wrong.code} ${wrong.said}${wrong.noted}`);
    assert.match(wrong.noted, "paired, but not in Home: the password is wrong");
    assert.equal([wrong.code, pair.code], [1, undefined], "the window is open still");

    const right = start([...wanted, "Home", "--wait", "25"], password, within("phone", ""));
    await pair.ended;
    tell(`the camera has ended: ${pair.said}${pair.noted}`);
    assert.is(pair.code, 0);
    assert.equal(await profiles(), ["Home"], "its own network is gone");
    const { network, addresses, last } = await status();
    assert.equal([network, last.verdict], ["Home", "joined"]);
    assert.match(addresses[0], /^192\.168\.50\./);
    await isNowhereElse();
    await right.ended;
    tell(`the phone has ended: ${right.code} ${right.said}${right.noted}`);
    assert.is(right.code, 0);

    // At home: the phone in its network again, the camera at its work.
    await sh("kill $(cat /run/phone.pid)");
    await until("the phone has left", async () => !(await isThere()));
    await sh(within("phone", `ip addr flush dev ${device}`));
    tell(`the phone is in Home as ${await enter("Home", password)}`);
    const { pictures, playlist } = JSON.parse(await readFile("/results/order.json", "utf8"));
    const footage = ["--pictures", pictures, "--playlist", playlist];
    const player = start(["dist/test/system/guest/play.js", ...footage, "--rounds", "100"]);
    await sh("chgrp obscura-camera /dev/video10; chmod 660 /dev/video10");
    const seen = ["--source", "/dev/video10", "--config", "/results/camera.yaml", "--json"];
    const service = start([camera, "run", ...state, ...seen], "", user);
    await until("the first clip was recorded", () => service.said.includes('"event":"clip"'));
    let list = "";
    await until("a whole clip is on the phone", async () => {
      const clips = start([...phone, "clips"], "", within("phone", ""));
      await clips.ended;
      list = clips.said;
      return list.includes('"whole"');
    });
    const films = start([...phone, "export", "--all", "-o", "/run/clips"], "", within("phone", ""));
    await films.ended;
    const all = (await readdir("/run/clips")).sort();
    const [film = ""] = all.filter((name) => name.endsWith(".mp4"));
    await copyFile(`/run/clips/${film}`, "/results/first.mp4");
    tell(`the first clip is on the phone, over the house's network: ${list.trim().slice(0, 300)}`);
    for (const each of [service, player, mailboxes]) each.kill();
  },
};

await stories[process.env.STORY ?? ""]?.();
tell("the end");
