import { type Bus, dictionary, objectsOf, setProperty } from "../../base/node/bus.ts";
import type { Log } from "../../base/node/log.ts";
import { systemClock } from "../../base/node/time.ts";
import { explain, Failure, isFailure } from "../../base/pure/failure.ts";
import type { Pipe } from "../../protocol/sealed/frames.ts";
import { readId, serviceId, writeId } from "../../protocol/sealed/gatt.ts";
import { openBonds } from "./bonds.ts";
import { Guests } from "./guests.ts";
import { type Client, type Service, serveService, wrongOffset } from "./service.ts";

export { type Client, type Service, wrongOffset } from "./service.ts";

/**
 * The Bluetooth stage: a Bluetooth LE peripheral by way of BlueZ, for the time of a pairing window. In:
 * what phones write. Out: a pipe for each phone, one at a time. The radio is switched on when it opens
 * and is as it was before when it closes; a bluetoothd that was started anew is told everything again.
 * What is said over it is sealed by the session (protocol/sealed/session.md): the radio's own pairing is
 * not used, and refused unless a service beside it asks for encryption. Specification: protocol/sealed/gatt.md.
 */
export type PeripheralOptions = {
  readonly bus: Bus;
  /** What a phone lists; at most 20 bytes are shown. */
  readonly name: string;
  /** As "hci0"; the first that can do it unless given. */
  readonly adapter?: string | undefined;
  readonly log: Log;
  /** Serves one phone; the connection is ended when this resolves. Never rejects. */
  serve(guest: { pipe: Pipe; from: string }): Promise<void>;
};
export type Peripheral = {
  /** Offers another service beside. Throws as `openPeripheral`. */
  offer(beside: Beside): Promise<Offered>;
  close(): Promise<void>;
};
export type Beside = Service & {
  /** Radios may bond with this one meanwhile, whoever's they are: what the service says is encrypted. */
  readonly isEncrypted: boolean;
  /** A device was disconnected, or bluetoothd ended. */
  left(device?: string): void;
};
export type Offered = Pick<ReturnType<typeof serveService>, "notify" | "advertise"> & {
  takeBack(): Promise<void>;
};

const bluez = "org.bluez";
const adapterFace = "org.bluez.Adapter1";
const [gatt, advertising] = ["org.bluez.GattManager1", "org.bluez.LEAdvertisingManager1"];

/** Throws Failure "absent" without bluetoothd or an adapter that can do it, and as `Bus.call`. */
export async function openPeripheral(options: PeripheralOptions): Promise<Peripheral> {
  const { bus, name, log, serve } = options;
  const { path, before } = await findAdapter(bus, options.adapter);
  const guests = new Guests({
    ...{ serve, log },
    // So that the phone knows, and the next can come.
    sendAway: (device) =>
      bus.call({
        ...{ destination: bluez, path: device, interface: "org.bluez.Device1" },
        member: "Disconnect",
      }),
  });
  const adapter = { destination: bluez, path, interface: adapterFace };
  const set = (property: string, value: boolean) =>
    setProperty(bus, adapter, property, ["b", value]);
  const tell = (face: string, member: string, signature: string, body: readonly unknown[]) =>
    bus.call({ destination: bluez, path, interface: face, member, signature, body });
  const register = (face: string, member: string, object: string) =>
    tell(face, member, "oa{sv}", [object, []]).catch((error) => {
      if (!isFailure(error) || error.errno !== "org.bluez.Error.AlreadyExists") throw error;
    });
  const bonds = openBonds({ bus, adapter: path, log });
  const offered = new Set<Known>([{ ...pairingService(bus, name, guests), beside: undefined }]);
  const announce = async ({ root, advertisement }: Known) => {
    await register(gatt, "RegisterApplication", root);
    await register(advertising, "RegisterAdvertisement", advertisement);
  };
  const start = async () => {
    await set("Powered", true);
    const isEncrypted = [...offered].some(({ beside }) => beside?.isEncrypted);
    if (isEncrypted) await bonds.allow();
    // Else nobody bonds with a camera: its phone proves itself in the session.
    await set("Pairable", isEncrypted);
    for (const one of offered) await announce(one);
  };
  const left = (device?: string) => {
    if (device === undefined) guests.end();
    else guests.left(device);
    for (const { beside } of offered) beside?.left(device);
  };
  let isOpen = true;
  let lives = 0;
  const unwatch = await bus.watch(bluez, ({ path: object, member, body }) => {
    if (member === "PropertiesChanged" && body[0] === "org.bluez.Device1") {
      const changed = dictionary(body[1]);
      if (changed.Connected === false) left(object);
      void bonds.see(object, changed.UUIDs);
    }
    if (member !== "NameOwnerChanged") return;
    left();
    const life = ++lives;
    if (body[2] !== "") void restart(start, () => isOpen && life === lives, log);
  });
  const attempt = async (undo: readonly (() => Promise<unknown>)[]) => {
    for (const act of undo) await act().catch((error) => log.debug(explain(error)));
  };
  const withdraw = ({ root, advertisement }: Known) => [
    () => tell(advertising, "UnregisterAdvertisement", "o", [advertisement]),
    () => tell(gatt, "UnregisterApplication", "o", [root]),
  ];
  const close = async () => {
    isOpen = false;
    guests.end();
    await unwatch().catch(() => {});
    await attempt([
      ...[...offered].flatMap(withdraw),
      () => set("Pairable", before.isPairable),
      () => bonds.close(),
      () => set("Powered", before.isOn),
    ]);
  };
  const offer: Peripheral["offer"] = async (beside) => {
    const served = serveService(bus, beside);
    const one = { ...served, beside };
    const takeBack = async () => {
      if (!offered.delete(one) || !isOpen) return;
      const refuse = [() => set("Pairable", false), () => bonds.refuse()];
      await attempt([...withdraw(one), ...(beside.isEncrypted ? refuse : [])]);
    };
    offered.add(one);
    try {
      await start();
    } catch (error) {
      await takeBack();
      throw error;
    }
    return { notify: served.notify, advertise: served.advertise, takeBack };
  };
  try {
    await start();
  } catch (error) {
    await close();
    throw error;
  }
  return { offer, close };
}

type Known = ReturnType<typeof serveService> & { beside: Beside | undefined };

const pauseMs = 1000;
const mostTries = 30;

/** A bluetoothd that has just come has no adapter yet. */
async function restart(start: () => Promise<void>, isWanted: () => boolean, log: Log) {
  for (let i = 0; i < mostTries; i++) {
    await systemClock.sleep(pauseMs);
    if (!isWanted()) return;
    try {
      await start();
      log.info("bluetoothd was started anew, and told again");
      return;
    } catch (error) {
      log.debug(explain(error));
    }
  }
  log.warn(
    "bluetoothd was started anew and does not take this camera: no phone comes by Bluetooth",
  );
}

async function findAdapter(bus: Bus, named: string | undefined) {
  const all = await objectsOf(bus, bluez);
  for (const [path, faces] of all) {
    const { [adapterFace]: adapter, [gatt]: server, [advertising]: sender } = faces;
    if (!adapter || !server || !sender) continue;
    if (named !== undefined && path !== `/org/bluez/${named}`) continue;
    return {
      path,
      before: { isOn: adapter.Powered === true, isPairable: adapter.Pairable === true },
    };
  }
  const which = named === undefined ? "no Bluetooth adapter" : `no Bluetooth adapter ${named}`;
  throw new Failure("absent", `there is ${which} that phones could find`, {
    hint: "Is it blocked? rfkill list",
  });
}

function pairingService(bus: Bus, localName: string, guests: Guests) {
  /** The stream has no places in it, so that each value is taken from its beginning. */
  const whole = ({ offset }: Client) => {
    if (offset !== 0) throw wrongOffset();
  };
  return serveService(bus, {
    ...{ root: "/org/obscura/pairing", id: serviceId, localName },
    characteristics: {
      write: {
        ...{ id: writeId, flags: ["write", "write-without-response"] },
        write(client, value) {
          whole(client);
          return guests.write(client.device, value);
        },
      },
      read: {
        ...{ id: readId, flags: ["read"] },
        read(client) {
          whole(client);
          return guests.read(client.device, client.room);
        },
      },
    },
  });
}
