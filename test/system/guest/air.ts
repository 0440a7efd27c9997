import { type ChildProcess, execFile, spawn } from "node:child_process";
import { appendFileSync, openSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { promisify } from "node:util";

// The air around a board: radios that hear each other (mac80211_hwsim), networks of hostapd.

const execute = promisify(execFile);
const results: string = process.env.BOARD_RESULTS ?? "/results";
/** Patience of a test on a machine that does much else; nothing is measured by it. */
const patienceMs = 180_000;

export function tell(text: string): void {
  appendFileSync(join(results, "progress"), `${performance.now().toFixed(0)} ms: ${text}\n`);
}

export async function sh(line: string): Promise<string> {
  const { stdout, stderr } = await execute("sh", ["-ec", line], { maxBuffer: 1 << 24 });
  appendFileSync(join(results, "commands"), `$ ${line}\n${stdout}${stderr}`);
  return stdout.trim();
}

export async function until(what: string, isSo: () => Promise<boolean> | boolean): Promise<void> {
  for (const endMs = Date.now() + patienceMs; Date.now() < endMs; await wait(300)) {
    if (await Promise.resolve(isSo()).catch(() => false)) return;
  }
  throw new Error(`it did not come to this: ${what}`);
}

/** A program in a place of its own, which no way leads to but through the air. */
export const within = (place: string, line: string): string => `ip netns exec ${place} ${line}`;

function run(line: string, log: string): ChildProcess {
  const [program = "", ...args] = line.split(" ");
  const out = openSync(join(results, log), "a");
  const child = spawn(program, args, { stdio: ["ignore", out, out] });
  child.unref();
  return child;
}

/** Takes a radio out of the board's sight; resolves to its device there. */
export async function takeAway(phy: string, place: string): Promise<string> {
  await sh(`ip netns add ${place}; iw phy ${phy} set netns name ${place}`);
  await sh(within(place, "ip link set lo up"));
  return await sh(`${within(place, "iw dev")} | sed -n 's/.*Interface //p'`);
}

export type Point = {
  readonly ssid: string;
  /** hostapd's words beside interface and name. */
  readonly protection: string;
  /** What its network's addresses begin with, such as 192.168.50; none: nobody gives any. */
  readonly gives?: string;
};

/** One radio that sends several networks, each its own. */
export async function buildHouse(phy: string, points: readonly Point[]): Promise<void> {
  const device = await takeAway(phy, "house");
  const devices = points.map((_, i) => (i === 0 ? device : `house${i}`));
  const settings = points.map(({ ssid, protection }, i) => {
    const head = i === 0 ? `interface=${device}\ndriver=nl80211\nhw_mode=g\nchannel=6\n` : "";
    return `${head || `bss=${devices[i]}\n`}ssid=${ssid}\n${protection}`;
  });
  await writeFile("/run/hostapd.conf", settings.join(""));
  run(within("house", "hostapd -t /run/hostapd.conf"), "house.log");
  for (const [i, { ssid, gives }] of points.entries()) {
    await until(`${ssid} is on the air`, async () =>
      (await sh(within("house", `iw dev ${devices[i]} info`))).includes(`ssid ${ssid}`),
    );
    if (!gives) continue;
    await sh(within("house", `ip addr replace ${gives}.1/24 dev ${devices[i]}`));
    const range = `--dhcp-range=${gives}.10,${gives}.20,1h --dhcp-leasefile=/run/leases${i}`;
    const only = `--port=0 --interface=${devices[i]} --bind-interfaces`;
    run(within("house", `dnsmasq -k --no-resolv --pid-file= ${only} ${range}`), "house.log");
  }
}

export const wpa2 = (password: string): string =>
  `wpa=2\nwpa_key_mgmt=WPA-PSK\nrsn_pairwise=CCMP\nwpa_passphrase=${password}\n`;
export const wpa3 = (password: string): string =>
  `wpa=2\nwpa_key_mgmt=SAE\nrsn_pairwise=CCMP\nieee80211w=2\nsae_password=${password}\nsae_pwe=2\n`;

/** D-Bus, udev and NetworkManager of this board, which has every device of it to itself. */
export async function startManager(): Promise<ChildProcess> {
  const settings = "[main]\nplugins=keyfile\ndns=none\n[keyfile]\nunmanaged-devices=\n";
  // It loads no plugin that is not root's, as those of a folder of the host may be.
  await sh("mkdir -p /run/dbus; chown -R 0:0 /usr/lib/*/NetworkManager /etc/NetworkManager");
  await sh("[ -s /etc/machine-id ] || dbus-uuidgen >/etc/machine-id");
  await writeFile("/etc/NetworkManager/conf.d/board.conf", settings);
  await sh("dbus-daemon --system --fork; /lib/systemd/systemd-udevd --daemon");
  await sh("udevadm trigger; udevadm settle");
  const manager = runManager();
  await until("NetworkManager has a Wi-Fi device at rest", async () =>
    (await sh("nmcli -t -f TYPE,STATE device")).includes("wifi:disconnected"),
  );
  tell("NetworkManager runs");
  return manager;
}

export const runManager = (): ChildProcess => run("NetworkManager --debug", "manager.log");

/** The camera's own user, with the rights that board/ gives it and no others. */
export async function makeUser(state: string): Promise<string> {
  const name = "obscura-camera";
  await sh(`groupadd -r ${name}; useradd -r -g ${name} -d ${state} ${name}`);
  await sh(`install -d -m 700 -o ${name} -g ${name} ${state}`);
  await sh("install -D -m 644 board/obscura-camera.polkit /etc/polkit-1/rules.d/70-obscura.rules");
  // What was unpacked and not installed has no user.
  await sh("id polkitd || useradd -r polkitd; chown -R polkitd /etc/polkit-1/rules.d");
  run("/usr/lib/polkit-1/polkitd", "polkit.log");
  const rights = "--inh-caps=-all,+net_bind_service --ambient-caps=-all,+net_bind_service";
  const limits = "prlimit --memlock=570425344 --core=1:1";
  return `${limits} setpriv --reuid ${name} --regid ${name} --init-groups ${rights}`;
}

/** A program of the checkout: its exit code and what it says, also while it runs. */
export function start(words: readonly string[], input = "", before = "") {
  const line = [...before.split(" "), process.execPath, ...words].filter(Boolean);
  const [program = "", ...args] = line;
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"] });
  child.stdin.end(input);
  const run = {
    said: "",
    noted: "",
    code: undefined as number | undefined,
    ended: Promise.resolve(),
    kill: () => void child.kill("SIGKILL"),
  };
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    run.said += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    run.noted += text;
    appendFileSync(join(results, "commands"), text);
  });
  run.ended = new Promise((resolve) => {
    child.once("close", (code) => {
      run.code = code ?? -1;
      resolve();
    });
  });
  return run;
}
