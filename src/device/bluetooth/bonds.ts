import { type Bus, objectsOf } from "../../base/node/bus.ts";
import type { Log } from "../../base/node/log.ts";
import { explain, isFailure } from "../../base/pure/failure.ts";

// Keys that radios agree on so that a listener learns nothing ("Just Works"): nobody is asked, nothing is
// proven, and none outlives the window.

export type Bonds = {
  /** Lets radios bond; once more after bluetoothd was started anew. */
  allow(): Promise<void>;
  refuse(): Promise<void>;
  /** Sends away who says that it is a keyboard. */
  see(device: string, services: unknown): Promise<void>;
  /** Forgets whoever has bonded since `allow`. */
  close(): Promise<void>;
};

const bluez = "org.bluez";
const path = "/org/obscura/agent";
const deviceFace = "org.bluez.Device1";
/** Human interface devices: BlueZ makes one that has bonded a keyboard of the board. */
const keyboardId = "00001812-0000-1000-8000-00805f9b34fb";

export function openBonds({ bus, adapter, log }: { bus: Bus; adapter: string; log: Log }): Bonds {
  let before: ReadonlySet<string> | undefined;
  const manager = { destination: bluez, path: "/org/bluez", interface: "org.bluez.AgentManager1" };
  const nothing = { takes: "", gives: "", act: () => undefined };
  // What is not here is refused: numbers to compare, and every profile but ours.
  const RequestAuthorization = { ...nothing, takes: "o" };
  const methods = { Release: nothing, Cancel: nothing, RequestAuthorization };
  bus.serve({ path, interface: "org.bluez.Agent1", methods });
  const bonded = async () => {
    const found: string[] = [];
    for (const [device, { [deviceFace]: face }] of await objectsOf(bus, bluez)) {
      if (face?.Adapter === adapter && face.Paired === true) found.push(device);
    }
    return found;
  };
  const forget = (device: string) =>
    bus
      .call({
        ...{ destination: bluez, path: adapter, interface: "org.bluez.Adapter1" },
        ...{ member: "RemoveDevice", signature: "o", body: [device] },
      })
      .catch((error) => log.warn(`a bond is left: ${explain(error)}`));
  return {
    async see(device, services) {
      const isKeyboard = Array.isArray(services) && services.includes(keyboardId);
      const isNew = before && device.startsWith(`${adapter}/`) && !before.has(device);
      if (!isKeyboard || !isNew) return;
      log.warn("something that wanted to be this board's keyboard is sent away");
      await forget(device);
    },
    async allow() {
      before ??= new Set(await bonded());
      const body = [path, "NoInputNoOutput"];
      await bus.call({ ...manager, member: "RegisterAgent", signature: "os", body }).catch((e) => {
        if (!isFailure(e) || e.errno !== "org.bluez.Error.AlreadyExists") throw e;
      });
      // Without this a desktop's own would ask whoever sits there.
      await bus.call({ ...manager, member: "RequestDefaultAgent", signature: "o", body: [path] });
    },
    async refuse() {
      await bus.call({ ...manager, member: "UnregisterAgent", signature: "o", body: [path] });
    },
    async close() {
      if (!before) return;
      for (const device of await bonded()) {
        if (!before.has(device)) await forget(device);
      }
      await this.refuse();
    },
  };
}
