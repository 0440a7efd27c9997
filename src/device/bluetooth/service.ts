import { type Bus, dictionary, type Method } from "../../base/node/bus.ts";
import { Failure } from "../../base/pure/failure.ts";
import { roomOf } from "../../protocol/sealed/gatt.ts";

// A GATT service and its advertisement as objects on the bus, where BlueZ finds them.

export type Client = {
  /** Its object at BlueZ. */
  readonly device: string;
  /** What its connection carries at once. */
  readonly room: number;
  /** Where in the value it begins to read or write. */
  readonly offset: number;
};
export type Characteristic = {
  readonly id: string;
  /** In BlueZ's words. */
  readonly flags: readonly string[];
  read?(client: Client): Uint8Array | Promise<Uint8Array>;
  write?(client: Client, value: Uint8Array): void | Promise<void>;
};
export type Service = {
  /** Where it is served; its advertisement beside it. */
  readonly root: string;
  readonly id: string;
  /** By their names on the bus. */
  readonly characteristics: Readonly<Record<string, Characteristic>>;
  /** In the scan response. */
  readonly localName: string;
  /** In the advertisement: bytes behind a short id. */
  readonly data?: readonly [id: string, bytes: Uint8Array];
};
export type ServedService = {
  readonly root: string;
  readonly advertisement: string;
  /** Tells whoever asked to be notified. */
  notify(name: string, value: Uint8Array): void;
  /** Other bytes for the advertisement. */
  advertise(bytes: Uint8Array): void;
};

const characteristicFace = "org.bluez.GattCharacteristic1";

export function serveService(bus: Bus, service: Service): ServedService {
  const { root, id, characteristics, localName, data } = service;
  const path = `${root}/service`;
  const objects: [path: string, faces: unknown][] = [];
  const serve = (
    at: string,
    face: string,
    methods: Readonly<Record<string, Method>>,
    properties: Readonly<Record<string, readonly [string, unknown]>>,
  ) => {
    objects.push([at, [[face, Object.entries(properties)]]]);
    return bus.serve({ path: at, interface: face, methods, properties });
  };
  serve(path, "org.bluez.GattService1", {}, { UUID: ["s", id], Primary: ["b", true] });
  const change = new Map<string, ReturnType<Bus["serve"]>>();
  for (const [name, characteristic] of Object.entries(characteristics)) {
    const properties = {
      UUID: ["s", characteristic.id],
      Service: ["o", path],
      Flags: ["as", characteristic.flags],
    } as const;
    const at = `${path}/${name}`;
    change.set(name, serve(at, characteristicFace, methodsOf(characteristic), properties));
  }
  const all = { takes: "", gives: "a{oa{sa{sv}}}", act: () => objects };
  const manager = "org.freedesktop.DBus.ObjectManager";
  bus.serve({ path: root, interface: manager, methods: { GetManagedObjects: all } });
  const advertisement = `${root}/advertisement`;
  const dataOf = (bytes: Uint8Array) => ["a{sv}", [[data?.[0], ["ay", [...bytes]]]]] as const;
  const announce = bus.serve({
    ...{ path: advertisement, interface: "org.bluez.LEAdvertisement1" },
    methods: { Release: nothing },
    properties: {
      Type: ["s", "peripheral"],
      ServiceUUIDs: ["as", [id]],
      LocalName: ["s", localName],
      Discoverable: ["b", true],
      ...(data ? { ServiceData: dataOf(data[1]) } : {}),
    },
  });
  return {
    ...{ root, advertisement },
    notify: (name, value) => change.get(name)?.("Value", ["ay", [...value]]),
    advertise: (bytes) => announce("ServiceData", dataOf(bytes)),
  };
}

const nothing: Method = { takes: "", gives: "", act: () => undefined };

function methodsOf({ flags, read, write }: Characteristic): Record<string, Method> {
  return {
    ...(read && {
      ReadValue: {
        ...{ takes: "a{sv}", gives: "ay" },
        act: ([options]) => read(clientOf(options)),
      },
    }),
    ...(write && {
      WriteValue: {
        ...{ takes: "aya{sv}", gives: "" },
        act: ([value, options]) =>
          write(clientOf(options), Uint8Array.from(value as Iterable<number>)),
      },
    }),
    ...(flags.includes("notify") && { StartNotify: nothing, StopNotify: nothing }),
  };
}

function clientOf(options: unknown): Client {
  const { device, mtu, offset = 0 } = dictionary(options);
  if (typeof device === "string" && typeof offset === "number") {
    return { device, room: roomOf(mtu), offset };
  }
  throw wrongOffset();
}

export function wrongOffset(): Failure {
  const errno = "org.bluez.Error.InvalidOffset";
  return new Failure("corrupt", "a value has no such beginning", { errno });
}
