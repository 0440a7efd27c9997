import type { Bus, Call, Served, Signal } from "../../src/base/node/bus.ts";
import { after } from "../../src/base/node/socket.ts";
import { Failure } from "../../src/base/pure/failure.ts";
import { openFrames, type Pipe } from "../../src/protocol/sealed/frames.ts";
import { roomOf } from "../../src/protocol/sealed/gatt.ts";

// A bluetoothd without a radio, and phones that come by it.

export const adapter = "/org/bluez/hci0";
export const variant = (value: unknown) => [[], [value]];

export const variants = (options: Record<string, unknown>) =>
  Object.entries(options).map(([name, of]) => [name, variant(of)]);

/** A bluetoothd as far as a peripheral sees one. */
export function fakeBluez({ isOn = false, refuses = "" } = {}) {
  const calls: string[] = [];
  const devices = new Map<string, Record<string, unknown>>();
  const changes: string[] = [];
  const served = new Map<string, Served>();
  let hear: (signal: Signal) => void = () => {};
  const base = "/org/obscura/pairing/service";
  const state = { Powered: isOn, Pairable: true };
  let refused = refuses;
  const answer = ({ member, path, body = [] }: Call): unknown[] => {
    const what = member === "RemoveDevice" ? String(body[0]) : path;
    calls.push(member === "Set" ? `${body[1]} ${(body[2] as unknown[])[1]}` : `${member} ${what}`);
    if (member === "RemoveDevice") devices.delete(what);
    if (member === refused) throw new Failure("refused", "no");
    if (member !== "GetManagedObjects") return [];
    const properties = Object.entries(state).map(([name, value]) => [name, variant(value)]);
    const managers = ["GattManager1", "LEAdvertisingManager1"];
    const faces = managers.map((name) => [`org.bluez.${name}`, []]);
    const known = [...devices].map(([path, face]) => [
      path,
      [["org.bluez.Device1", variants(face)]],
    ]);
    return [[[adapter, [["org.bluez.Adapter1", properties], ...faces]], ...known]];
  };
  const bus: Bus = {
    call: async (call) => answer(call),
    async watch(_, act) {
      hear = act;
      return async () => {};
    },
    serve(object) {
      served.set(`${object.path} ${object.interface}`, object);
      return (property, value) => void changes.push(`${object.path} ${property} ${value}`);
    },
    close() {},
  };
  const methodOf = (path: string, member: string) => {
    const one = [...served.values()].find((s) => s.path === path && s.methods[member]);
    const act = one?.methods[member]?.act;
    if (!act) throw new Error(`nobody serves ${path} ${member}`);
    return act;
  };
  const writeWith = async (value: Uint8Array, options: Record<string, unknown>) =>
    void (await methodOf(`${base}/write`, "WriteValue")([value, variants(options)], ":1.1"));
  const readWith = async (options: Record<string, unknown>) =>
    (await methodOf(`${base}/read`, "ReadValue")([variants(options)], ":1.1")) as Uint8Array;
  const say = (path: string, member: string, body: unknown[]) =>
    hear({ sender: ":1.1", path, interface: "org.freedesktop.DBus.Properties", member, body });
  return {
    ...{ bus, calls, devices, changes, served, writeWith, readWith, say },
    refuse(member: string) {
      refused = member;
    },
    /** A radio that has bonded with this one. */
    bond: (path: string) => void devices.set(path, { Adapter: adapter, Paired: true }),
    write: (device: string, value: Uint8Array, mtu = 100) => writeWith(value, { device, mtu }),
    read: (device: string, mtu = 100) => readWith({ device, mtu }),
    leave: (device: string) =>
      say(device, "PropertiesChanged", [
        ...["org.bluez.Device1", [["Connected", variant(false)]], []],
      ]),
  };
}

/** A phone's end, as `phone/cli/bluetooth.ts` makes it of a real one. */
export function phoneAt(bluez: ReturnType<typeof fakeBluez>, device: string, mtu = 185): Pipe {
  const room = roomOf(mtu);
  let isOver = false;
  async function* chunks(): AsyncGenerator<Uint8Array> {
    while (!isOver) {
      const piece = Uint8Array.from(await bluez.read(device, mtu));
      if (piece.length > 0) yield piece;
    }
  }
  let busy: Failure | undefined;
  const pipe = openFrames({
    ...{ chunks: chunks(), after },
    async write(message) {
      for (let at = 0; at < message.length; at += room) {
        await bluez.write(device, message.slice(at, at + room), mtu).catch((error) => {
          if (error.errno === "org.bluez.Error.NotPermitted") busy = error;
          throw error;
        });
      }
    },
    close() {
      isOver = true;
    },
  });
  return {
    ...pipe,
    send: (message) =>
      pipe.send(message).catch((error) => {
        throw busy ?? error;
      }),
  };
}
