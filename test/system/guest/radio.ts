import { execFile, spawn } from "node:child_process";
import { mkdirSync, openSync, writeFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { promisify } from "node:util";
import { type Bus, objectsOf, openBus, setProperty } from "../../../src/base/node/bus.ts";
import { serviceId } from "../../../src/protocol/sealed/gatt.ts";

// Radios for a board and its phones, real ones to the kernel and to bluetoothd.

export const bluez = "org.bluez";
const run = promisify(execFile);

const settings = `[General]
ControllerMode=le
ReverseServiceDiscovery=false
[GATT]
Cache=no
Channels=1
[Policy]
AutoEnable=false
`;

export async function until<T>(
  what: string,
  look: () => Promise<T | undefined | false>,
): Promise<T> {
  for (const endMs = Date.now() + 180_000; Date.now() < endMs; await wait(200)) {
    const found = await look().catch(() => undefined);
    if (found !== undefined && found !== false) return found;
  }
  throw new Error(`it did not come to this: ${what}`);
}

export type Radios = {
  readonly bus: Bus;
  /** Kills bluetoothd and starts it again. */
  kill(): Promise<void>;
  start(): Promise<void>;
  /** Listens with `adapter` until it hears the camera at `board`, or another service there; its object. */
  hears(adapter: string, board: string, service?: string): Promise<string>;
  switchOff(adapter: string): Promise<void>;
  isOn(adapter: string): Promise<boolean>;
  /** How many advertisements it sends out. */
  advertised(adapter: string): Promise<number>;
};

/** `count` controllers, hci0 and so on, one bluetoothd and the bus; what they say goes to `log`. */
export async function openRadios(count: number, log: string): Promise<Radios> {
  const background = (program: string, ...args: string[]) =>
    spawn(program, args, { stdio: ["ignore", openSync(log, "a"), openSync(log, "a")] });
  mkdirSync("/run/dbus", { recursive: true });
  writeFileSync("/tmp/bluetoothd.conf", settings);
  const makeId = "[ -s /etc/machine-id ] || tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id";
  await run("sh", ["-c", makeId]);
  await run("sh", ["-c", "[ -S /run/dbus/system_bus_socket ] || dbus-daemon --system --fork"]);
  await startControllers(count, background);
  const bus = await openBus();
  const pathOf = (adapter: string) => `/org/bluez/${adapter}`;
  const at = (adapter: string) => ({
    ...{ destination: bluez, path: pathOf(adapter), interface: "org.bluez.Adapter1" },
  });
  const facesOf = async (adapter: string) => (await objectsOf(bus, bluez)).get(pathOf(adapter));
  let daemon: ReturnType<typeof background> | undefined;
  const radios: Radios = {
    bus,
    async kill() {
      const ended = new Promise((resolve) => daemon?.once("exit", resolve));
      daemon?.kill("SIGKILL");
      await ended;
    },
    async start() {
      const plain = ["-n", "-f", "/tmp/bluetoothd.conf", "-P", "battery,vcp,bap,deviceinfo"];
      daemon = background("/usr/libexec/bluetooth/bluetoothd", ...plain);
      await until("bluetoothd has all", async () => {
        const all = await objectsOf(bus, bluez);
        return [...all.keys()].filter((path) => /\/hci\d+$/.test(path)).length === count;
      });
    },
    async hears(adapter, board, service = serviceId) {
      await setProperty(bus, at(adapter), "Powered", ["b", true]);
      // The kernel may still listen for a bluetoothd that was killed.
      const start = { ...at(adapter), member: "StartDiscovery" };
      await until(`${adapter} listens`, () => bus.call(start));
      const heard = await until(`${adapter} hears the camera`, async () => {
        // A real radio says all the time that it is there, a virtual one when it begins to say so.
        for (const isSaying of ["00", "01"]) {
          await run("hcitool", ["-i", board, "cmd", "0x08", "0x000a", isSaying]);
        }
        for (const [path, { "org.bluez.Device1": face }] of await objectsOf(bus, bluez)) {
          const ids = (face?.UUIDs ?? []) as string[];
          const isIt = path.startsWith(`${pathOf(adapter)}/`) && ids.includes(service);
          if (isIt) return path;
        }
        return undefined;
      });
      // Who listens is slow to connect.
      await bus.call({ ...at(adapter), member: "StopDiscovery" });
      return heard;
    },
    switchOff: (adapter) => setProperty(bus, at(adapter), "Powered", ["b", false]),
    isOn: async (adapter) => (await facesOf(adapter))?.["org.bluez.Adapter1"]?.Powered === true,
    advertised: async (adapter) =>
      Number((await facesOf(adapter))?.["org.bluez.LEAdvertisingManager1"]?.ActiveInstances),
  };
  await radios.start();
  return radios;
}

/** The first reset of a controller may time out on a machine that does much else. */
async function startControllers(
  count: number,
  background: (program: string, ...args: string[]) => ReturnType<typeof spawn>,
): Promise<void> {
  for (let i = 0; i < 6; i++) {
    const controllers = background("btvirt", "-L", `-l${count}`);
    for (let j = 0; j < 40; j++) {
      await wait(500);
      const { stdout } = await run("hciconfig", ["-a"]);
      const all = stdout.match(/BD Address: (?!00:00:00:00:00:00)/g) ?? [];
      if (all.length === count) return;
    }
    controllers.kill("SIGKILL");
    await wait(500);
  }
  throw new Error(`no ${count} controllers`);
}
