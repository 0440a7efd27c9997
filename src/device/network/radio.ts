import { type Bus, dictionary, type Signal } from "../../base/node/bus.ts";
import { Failure, isFailure } from "../../base/pure/failure.ts";

// NetworkManager as it speaks on D-Bus (its reference manual, 1.42 and newer).

const service = "org.freedesktop.NetworkManager";
const root = "/org/freedesktop/NetworkManager";
const settingsPath = `${root}/Settings`;
const wifi = 2; // NMDeviceType
const nothing = "/";

/** An access point as it was last heard. */
export type Heard = {
  readonly path: string;
  /** Empty when it hides its name. */
  readonly ssid: Uint8Array;
  /** NetworkManager's percentage, 0 to 100. */
  readonly strength: number;
  readonly flags: number;
  readonly wpaFlags: number;
  readonly rsnFlags: number;
};
/** A profile in NetworkManager's words: section → key → [D-Bus signature, value]. */
export type Profile = Record<string, Record<string, readonly [signature: string, value: unknown]>>;
/** One move of the device, in NetworkManager's numbers (NMDeviceState, NMDeviceStateReason). */
export type Move = { readonly state: number; readonly reason: number };
/** The states this program tells apart. */
export const states = { disconnected: 30, needsSecret: 60, addressing: 70, up: 100, failed: 120 };

export type Active = {
  readonly uuid: string;
  readonly ssid: Uint8Array;
  /** The board is the access point. */
  readonly isOwn: boolean;
  readonly path: string;
};

/** The board's Wi-Fi device, by way of NetworkManager. */
export type Radio = {
  /** As the kernel calls it. */
  readonly interface: string;
  state(): Promise<number>;
  /** The profile that is in use, if one is. */
  active(): Promise<Active | undefined>;
  addresses(): Promise<string[]>;
  heard(): Promise<Heard[]>;
  /** Resolves when the air was listened to anew; `ssids` are asked for by name. */
  scan(ssids: readonly Uint8Array[], withinMs: number): Promise<void>;
  /** Paths of all Wi-Fi profiles for a network, or for any, whatever made them. */
  profilesOf(ssid: Uint8Array | undefined): Promise<string[]>;
  profileOf(uuid: string): Promise<string | undefined>;
  removeProfile(path: string): Promise<void>;
  /** Keeps a profile that lay in memory on the card, in the form given. */
  keepProfile(path: string, profile: Profile): Promise<void>;
  /** Its path; it lies in memory only. `point` is the path of a heard access point, where one is meant. */
  activate(profile: Profile, point: string | undefined): Promise<string>;
  /** A profile that is there already. */
  activateAgain(uuid: string): Promise<void>;
  deactivate(active: string): Promise<void>;
  /** What is in force now comes back by itself after `seconds`, unless `forget` or `restore` is called. */
  checkpoint(seconds: number): Promise<{ forget(): Promise<void>; restore(): Promise<void> }>;
  /** Calls `move` with each move of the device, `gone` when NetworkManager ends or the device leaves. */
  follow(move: (move: Move) => void, gone: () => void): Promise<() => Promise<void>>;
};

/**
 * Throws Failure "absent" when there is no NetworkManager or no Wi-Fi device that it looks after,
 * "denied" when the radio is switched off or a right is missing.
 */
export async function openRadio(bus: Bus): Promise<Radio> {
  const call = async (
    path: string,
    of: string,
    member: string,
    signature = "",
    body: unknown[] = [],
  ) =>
    await bus.call({
      ...{ destination: service, path, member },
      interface: of === "" ? service : of.includes(".freedesktop.DBus.") ? of : `${service}.${of}`,
      ...(signature === "" ? {} : { signature, body }),
    });
  const properties = async (path: string, of: string) => {
    const name = of === "" ? service : `${service}.${of}`;
    const [all] = await call(path, "org.freedesktop.DBus.Properties", "GetAll", "s", [name]);
    return dictionary(all);
  };

  const found = await findDevice(call, properties);
  const { Interface: name } = await properties(found, "Device");
  // Its path is another one when NetworkManager was started anew.
  const device = async () => {
    const [path] = await call(root, "", "GetDeviceByIpIface", "s", [name]);
    return String(path);
  };

  const settingsOf = async (path: string) => {
    const [all] = await call(path, "Settings.Connection", "GetSettings");
    const sections = all as readonly [name: string, keys: unknown][];
    return Object.fromEntries(sections.map(([section, keys]) => [section, dictionary(keys)]));
  };
  const profiles = async () => {
    const [paths] = await call(settingsPath, "Settings", "ListConnections");
    return paths as string[];
  };

  const profileOf = async (uuid: string) => {
    const found = await call(settingsPath, "Settings", "GetConnectionByUuid", "s", [uuid]).catch(
      (error) => {
        if (isFailure(error, "refused", "absent")) return [];
        throw error;
      },
    );
    return found[0] as string | undefined;
  };

  return {
    interface: String(name),
    state: async () => Number((await properties(await device(), "Device")).State),
    async active() {
      const { ActiveConnection: active } = await properties(await device(), "Device");
      if (active === nothing) return undefined;
      const { Connection: profile, Uuid: uuid } = await properties(
        String(active),
        "Connection.Active",
      );
      const { "802-11-wireless": wireless } = await settingsOf(String(profile));
      const isOwn = wireless?.mode === "ap";
      return { uuid: String(uuid), ssid: plain(wireless?.ssid), isOwn, path: String(active) };
    },
    async addresses() {
      const { Ip4Config: config } = await properties(await device(), "Device");
      if (config === nothing) return [];
      const { AddressData: list } = await properties(String(config), "IP4Config");
      return (list as unknown[]).map((each) => {
        return String(dictionary(each).address);
      });
    },
    async heard() {
      const [paths] = await call(await device(), "Device.Wireless", "GetAllAccessPoints");
      const all = await Promise.all(
        (paths as string[]).map(async (path): Promise<Heard | undefined> => {
          // One that went silent in the meantime is no longer there.
          const found = await properties(path, "AccessPoint").catch(absentIs(undefined));
          // Nor is one that it made up for a profile and never heard.
          if (!found || Number(found.LastSeen) < 0) return undefined;
          return {
            ...{ path, ssid: plain(found.Ssid), strength: Number(found.Strength) },
            ...{ flags: Number(found.Flags), wpaFlags: Number(found.WpaFlags) },
            rsnFlags: Number(found.RsnFlags),
          };
        }),
      );
      return all.filter((point) => point !== undefined);
    },
    async scan(ssids, withinMs) {
      const lastScan = async () => (await properties(await device(), "Device.Wireless")).LastScan;
      const before = String(await lastScan());
      const named = ssids.map((ssid) => [...ssid]);
      const options = named.length > 0 ? [["ssids", ["aay", named]]] : [];
      const ask = async () =>
        await call(await device(), "Device.Wireless", "RequestScan", "a{sv}", [options]);
      const endMs = performance.now() + withinMs;
      let isAsked = false;
      while (performance.now() < endMs) {
        // It is refused while one is under way, and for some seconds after the one before.
        isAsked ||= await ask().then(
          () => true,
          (error) => {
            if (isFailure(error, "refused")) return false;
            throw error;
          },
        );
        await new Promise((resolve) => setTimeout(resolve, 300));
        if (isAsked && String(await lastScan()) !== before) return;
      }
      throw new Failure("stalled", `${name} did not finish a scan within ${withinMs} ms`);
    },
    async profilesOf(ssid) {
      const all = await Promise.all(
        (await profiles()).map(async (path) => {
          const found = await settingsOf(path).catch(absentIs(undefined));
          const wireless = found?.["802-11-wireless"];
          if (!wireless || wireless.mode === "ap") return undefined;
          const isMeant = !ssid || Buffer.compare(plain(wireless.ssid), ssid) === 0;
          return isMeant ? path : undefined;
        }),
      );
      return all.filter((path) => path !== undefined);
    },
    profileOf,
    removeProfile: async (path) => {
      await call(path, "Settings.Connection", "Delete").catch(absentIs(undefined));
    },
    keepProfile: async (path, profile) => {
      const toDisk = 1;
      const body = [entries(profile), toDisk, []];
      await call(path, "Settings.Connection", "Update2", "a{sa{sv}}ua{sv}", body);
    },
    async activate(profile, point) {
      const options = [["persist", ["s", "memory"]]];
      const body = [entries(profile), await device(), point ?? nothing, options];
      const [path] = await call(root, "", "AddAndActivateConnection2", "a{sa{sv}}ooa{sv}", body);
      return String(path);
    },
    activateAgain: async (uuid) => {
      const body = [(await profileOf(uuid)) ?? nothing, await device(), nothing];
      await call(root, "", "ActivateConnection", "ooo", body);
    },
    deactivate: async (active) => {
      await call(root, "", "DeactivateConnection", "o", [active]).catch((error) => {
        // It is not active any more.
        if (!isFailure(error, "refused", "absent")) throw error;
      });
    },
    async checkpoint(seconds) {
      const deleteNewProfiles = 2;
      const body = [[await device()], seconds, deleteNewProfiles];
      const [path] = await call(root, "", "CheckpointCreate", "aouu", body);
      return {
        forget: async () => void (await call(root, "", "CheckpointDestroy", "o", [path])),
        restore: async () => void (await call(root, "", "CheckpointRollback", "o", [path])),
      };
    },
    async follow(move, gone) {
      const followed = await device();
      return await bus.watch(service, ({ path, interface: of, member, body }: Signal) => {
        if (member === "NameOwnerChanged") gone();
        if (member === "DeviceRemoved" && body[0] === followed) gone();
        if (path !== followed || of !== `${service}.Device` || member !== "StateChanged") return;
        move({ state: Number(body[0]), reason: Number(body[2]) });
      });
    },
  };
}

type CallPath = (
  path: string,
  of: string,
  member: string,
  signature?: string,
  body?: unknown[],
) => Promise<unknown[]>;
type Properties = (path: string, of: string) => Promise<Record<string, unknown>>;

async function findDevice(call: CallPath, properties: Properties): Promise<string> {
  const all = await properties(root, "").catch((error) => {
    if (!isFailure(error, "absent")) throw error;
    throw new Failure("absent", "NetworkManager does not run", {
      cause: error,
      hint: "sudo systemctl enable --now NetworkManager",
    });
  });
  const [paths] = await call(root, "", "GetDevices");
  for (const path of paths as string[]) {
    const { DeviceType: type, Managed: isManaged } = await properties(path, "Device");
    if (type !== wifi || !isManaged) continue;
    if (all.WirelessEnabled && all.WirelessHardwareEnabled) return path;
    throw new Failure("denied", "the Wi-Fi radio is switched off", {
      hint: "sudo rfkill unblock wifi; on Raspberry Pi OS a country has to be set first",
    });
  }
  throw new Failure("absent", "NetworkManager has no Wi-Fi device", {
    hint: "nmcli device shows what it has, and what it was told to leave alone",
  });
}

function absentIs<T>(value: T): (error: unknown) => T {
  return (error) => {
    if (isFailure(error, "absent")) return value;
    throw error;
  };
}

const plain = (value: unknown): Uint8Array =>
  new Uint8Array((value as Uint8Array | undefined) ?? []);

const entries = (profile: Profile) =>
  Object.entries(profile).map(([section, keys]) => [section, Object.entries(keys)]);
