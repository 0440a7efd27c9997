import { type Bus, objectsOf, openBus, setProperty } from "../../base/node/bus.ts";
import { after } from "../../base/node/socket.ts";
import { systemClock } from "../../base/node/time.ts";
import { explain, Failure, isFailure } from "../../base/pure/failure.ts";
import { openFrames, type Pipe } from "../../protocol/sealed/frames.ts";
import { radioName, readId, roomOf, serviceId, writeId } from "../../protocol/sealed/gatt.ts";

// A computer's Bluetooth by way of BlueZ, as the phone's end: protocol/sealed/gatt.md.

export type RadioOptions = {
  /** Of the camera that is looked for. */
  readonly identity: Uint8Array;
  /** As "hci0"; the first unless given. */
  readonly adapter: string | undefined;
  /** For the camera to be heard. */
  readonly waitMs: number;
  /** What is under way. */
  tell(text: string): void;
};

const bluez = "org.bluez";
const adapterFace = "org.bluez.Adapter1";
const deviceFace = "org.bluez.Device1";
const characteristicFace = "org.bluez.GattCharacteristic1";
const lookEveryMs = 500;
const connectMs = 40_000;
const answerMs = 40_000;

/**
 * Finds the camera by its radio and connects to it. Throws Failure "absent" without BlueZ or an
 * adapter, "offline" when the camera is not heard or does not answer. While another phone is served,
 * the pipe's `send` throws "busy". BlueZ is as it was before when `close` resolves.
 */
export async function reachByBluetooth(
  options: RadioOptions,
): Promise<{ pipe: Pipe; close(): Promise<void> }> {
  const { identity, adapter, waitMs, tell } = options;
  const bus = await openBus();
  const undo: (() => unknown)[] = [() => bus.close()];
  const close = async () => {
    for (const act of undo.splice(0).reverse()) await Promise.resolve(act()).catch(() => {});
  };
  try {
    const radio = await findRadio(bus, adapter);
    const at = { destination: bluez, path: radio.path, interface: adapterFace };
    if (!radio.isOn) {
      await setProperty(bus, at, "Powered", ["b", true]);
      undo.push(() => setProperty(bus, at, "Powered", ["b", false]));
    }
    const name = radioName(identity);
    tell(`listening for ${name}`);
    const filter = [["Transport", ["s", "le"]]];
    await bus.call({ ...at, member: "SetDiscoveryFilter", signature: "a{sv}", body: [filter] });
    undo.push(() => bus.call({ ...at, member: "StopDiscovery" }));
    const device = await findCamera(bus, radio.path, name, waitMs);
    await undo.pop()?.();
    // BlueZ forgets it half a minute later: they are not bonded.
    undo.push(() => bus.call({ ...deviceAt(device), member: "Disconnect" }));
    tell(`connecting to ${name}`);
    await connect(bus, device);
    const pipe = await speak(bus, device);
    undo.push(() => pipe.close());
    return { pipe, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function findRadio(bus: Bus, named: string | undefined) {
  for (const [path, { [adapterFace]: face }] of await objectsOf(bus, bluez)) {
    const isIt = named === undefined || path === `/org/bluez/${named}`;
    if (face && isIt) return { path, isOn: face.Powered === true };
  }
  const which = named === undefined ? "no Bluetooth adapter" : `no Bluetooth adapter ${named}`;
  throw new Failure("absent", `there is ${which}`, { hint: "bluetoothctl list shows them" });
}

/** Looks until `find` finds something; undefined when it did not in time. */
async function until<T>(ms: number, find: () => Promise<T | undefined>): Promise<T | undefined> {
  const endUs = systemClock.monotonicUs() + ms * 1000;
  for (;;) {
    const found = await find();
    if (found !== undefined || systemClock.monotonicUs() >= endUs) return found;
    await systemClock.sleep(lookEveryMs);
  }
}

async function findCamera(bus: Bus, adapter: string, name: string, waitMs: number) {
  const listen = { destination: bluez, path: adapter, interface: adapterFace };
  let isListening = false;
  const found = await until(waitMs, async () => {
    if (!isListening) {
      isListening = await bus.call({ ...listen, member: "StartDiscovery" }).then(
        () => true,
        (error) => {
          // The kernel still listens for a bluetoothd that was ended.
          if (isFailure(error) && error.errno === "org.bluez.Error.InProgress") return false;
          throw error;
        },
      );
    }
    for (const [path, { [deviceFace]: face }] of await objectsOf(bus, bluez)) {
      const ids = (face?.UUIDs ?? []) as readonly string[];
      if (face?.Adapter === adapter && face.Name === name && ids.includes(serviceId)) return path;
    }
    return undefined;
  });
  if (found !== undefined) return found;
  throw new Failure("offline", `no camera ${name} is heard`, {
    hint: "Is it near, and its window still open? obscura-camera pair --bluetooth opens one",
  });
}

/** Radios often fail at first. */
async function connect(bus: Bus, device: string): Promise<void> {
  let cause: unknown = new Failure("stalled", "it does not say what it offers");
  const isReached = await until(connectMs, async () => {
    try {
      await bus.call({ ...deviceAt(device), member: "Connect", withinMs: connectMs });
    } catch (error) {
      cause = error;
    }
    const face = (await objectsOf(bus, bluez)).get(device)?.[deviceFace];
    return face?.ServicesResolved === true || undefined;
  });
  if (isReached) return;
  throw new Failure("offline", `the camera is heard and not reached: ${explain(cause)}`, {
    ...{ cause, hint: "Go nearer, and try again with the same link" },
  });
}

const deviceAt = (path: string) => ({ destination: bluez, path, interface: deviceFace });

async function speak(bus: Bus, device: string): Promise<Pipe> {
  const objects = await objectsOf(bus, bluez);
  const find = (id: string) => {
    for (const [path, { [characteristicFace]: face }] of objects) {
      if (path.startsWith(`${device}/`) && face?.UUID === id) return { path, mtu: face.MTU };
    }
    throw new Failure("refused", "the camera does not offer what it is to be paired by", {
      hint: "Update its programs, and this one",
    });
  };
  const [inward, outward] = [find(writeId), find(readId)];
  const room = roomOf(inward.mtu);
  let busy: Failure | undefined;
  const call = (path: string, member: string, signature: string, body: unknown[]) => {
    const at = { destination: bluez, path, interface: characteristicFace };
    return bus.call({ ...at, member, signature, body, withinMs: answerMs }).catch((cause) => {
      if (isFailure(cause) && cause.errno === "org.bluez.Error.NotPermitted") {
        const hint = "Try again in a moment, with the same link";
        busy = new Failure("busy", "the camera is busy with another phone", { cause, hint });
      }
      throw cause;
    });
  };
  let isOver = false;
  async function* chunks(): AsyncGenerator<Uint8Array> {
    while (!isOver) {
      const [value] = await call(outward.path, "ReadValue", "a{sv}", [[]]);
      const piece = Uint8Array.from(value as Iterable<number>);
      if (piece.length > 0) yield piece;
    }
  }
  const pipe = openFrames({
    ...{ chunks: chunks(), after },
    async write(message) {
      for (let at = 0; at < message.length; at += room) {
        const piece = message.slice(at, at + room);
        await call(inward.path, "WriteValue", "aya{sv}", [piece, [["type", ["s", "request"]]]]);
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
