import type { Log } from "../../base/node/log.ts";
import { after } from "../../base/node/socket.ts";
import { equal, fromText } from "../../base/pure/bytes.ts";
import type { Clock } from "../../base/pure/clock.ts";
import { explain, Failure } from "../../base/pure/failure.ts";
import { type Client, type Offered, type Peripheral, wrongOffset } from "../bluetooth/bluetooth.ts";
import type { Security, Seen } from "../network/network.ts";
import { type Deed, type Event, type Heard, type Info, openMachine } from "./machine.ts";

/**
 * The Improv stage: Wi-Fi by clients that are not ours, over Bluetooth LE. In: a network and its password
 * from whoever is in range while it is offered. Out: the network joined, or the client told that it was
 * not. It never touches an owner's key, and proves nothing. Specification, and who can do what: improv.md.
 */
export { boardInfo } from "./board.ts";
export type { Info } from "./machine.ts";

/** What an owner may choose: `plain` lets listeners read the password, `off` offers nothing. */
export const improvModes = ["encrypted", "plain", "off"] as const;
export type ImprovMode = (typeof improvModes)[number];

export type ImprovOptions = {
  readonly peripheral: Pick<Peripheral, "offer">;
  readonly isEncrypted: boolean;
  /** In the scan response. */
  readonly localName: string;
  readonly info: Info;
  /** What people call this camera. */
  readonly name: string;
  /** It is authorized when it opens, and for so long. */
  readonly authorizedMs: number;
  readonly clock: Clock;
  readonly log: Log;
  /** Shows which board this is. */
  identify(): void;
  scan(): Promise<readonly Seen[]>;
  /** Throws Failure when the network was not joined. */
  join(wifi: { ssid: Uint8Array; password: string }): Promise<void>;
};

export const serviceId = "00467768-6228-2272-4663-277478268000";
/** Of what a client sees, by what lies there. */
export const ids = {
  state: "00467768-6228-2272-4663-277478268001",
  error: "00467768-6228-2272-4663-277478268002",
  command: "00467768-6228-2272-4663-277478268003",
  result: "00467768-6228-2272-4663-277478268004",
  capabilities: "00467768-6228-2272-4663-277478268005",
} as const;
const dataId = "4677";

/** Between the last notification and the end of the service: for it to arrive. */
const lastMs = 1000;
/** How long it takes to show which board this is; asking again meanwhile shows no more. */
export const identifyMs = 10_000;
/** A client that has its commands taken keeps others out until it goes, or is silent for so long. */
export const silentMs = 60_000;

/** Offers it until it has done its work or is closed. Throws as `Peripheral.offer`. */
export async function openImprov(options: ImprovOptions): Promise<{ close(): Promise<void> }> {
  const { peripheral, isEncrypted, localName, name, info, authorizedMs, clock, log } = options;
  const machine = openMachine({ authorizedMs, info, name });
  const nowMs = () => clock.monotonicUs() / 1000;
  let client: { device: string; lastMs: number } | undefined;
  let offered: Offered | undefined;
  let isOpen = true;
  let disarm = () => {};
  let identifiedMs = Number.NEGATIVE_INFINITY;

  const act = (deed: Deed) => {
    switch (deed.kind) {
      case "show":
        offered?.notify(deed.what, deed.bytes);
        if (deed.what === "state") offered?.advertise(machine.serviceData());
        break;
      case "identify":
        if (nowMs() - identifiedMs < identifyMs) break;
        identifiedMs = nowMs();
        options.identify();
        break;
      case "scan":
        options.scan().then(
          (seen) => step({ kind: "scanned", heard: seen.filter(isText).map(heardOf) }),
          (error) => {
            log.warn(`a client of Improv cannot be told the networks: ${explain(error)}`);
            step({ kind: "unheard" });
          },
        );
        break;
      case "join":
        options.join({ ssid: deed.ssid, password: deed.password }).then(
          () => step({ kind: "settled", isJoined: true, atMs: nowMs() }),
          (error) => {
            log.warn(`the network that a client of Improv named: ${explain(error)}`);
            step({ kind: "settled", isJoined: false, atMs: nowMs() });
          },
        );
        break;
      case "stop":
        log.info("Improv has done its work");
        after(lastMs, () => void close());
        break;
    }
  };
  const step = (event: Event) => {
    if (!isOpen) return;
    for (const deed of machine.step(event)) act(deed);
    disarm();
    const dueMs = machine.dueMs();
    if (dueMs !== undefined) {
      disarm = after(Math.max(0, dueMs - nowMs()), () => step({ kind: "time", atMs: nowMs() }));
    }
  };
  const left = (device = client?.device) => {
    if (client === undefined || device !== client.device) return;
    client = undefined;
    step({ kind: "disconnected" });
  };
  const write = ({ device, room, offset }: Client, bytes: Uint8Array) => {
    if (offset !== 0) throw wrongOffset();
    const atMs = nowMs();
    if (client && device !== client.device) {
      if (atMs - client.lastMs < silentMs) {
        const errno = "org.bluez.Error.NotPermitted";
        throw new Failure("busy", "another client is served", { errno });
      }
      left();
    }
    client = { device, lastMs: atMs };
    step({ kind: "written", bytes, room, atMs });
  };
  const shows = (look: () => Uint8Array) => (reader: Client) => {
    const value = look();
    if (reader.offset > value.length) throw wrongOffset();
    return value.subarray(reader.offset);
  };

  const guarded = (...flags: string[]) => [
    ...flags,
    ...(isEncrypted ? flags.flatMap((flag) => guards[flag] ?? []) : []),
  ];
  const shown = guarded("read", "notify");
  machine.step({ kind: "authorized", atMs: nowMs() });
  offered = await peripheral.offer({
    ...{ root: "/org/obscura/improv", id: serviceId, localName, isEncrypted, left },
    data: [dataId, machine.serviceData()],
    characteristics: {
      state: {
        ...{ id: ids.state, flags: shown },
        read: shows(() => Uint8Array.of(machine.state)),
      },
      error: {
        ...{ id: ids.error, flags: shown },
        read: shows(() => Uint8Array.of(machine.error)),
      },
      command: {
        ...{ id: ids.command, flags: guarded("write", "write-without-response"), write },
      },
      result: {
        ...{ id: ids.result, flags: shown },
        read: shows(() => machine.result),
      },
      capabilities: {
        ...{ id: ids.capabilities, flags: guarded("read") },
        read: shows(() => Uint8Array.of(machine.capabilities)),
      },
    },
  });
  const close = async () => {
    if (!isOpen) return;
    isOpen = false;
    disarm();
    await offered?.takeBack();
  };
  step({ kind: "time", atMs: nowMs() });
  return { close };
}

/** BlueZ's words for: only over an encrypted link. A write without response is a write there. */
const guards: Readonly<Record<string, string>> = {
  read: "encrypt-read",
  notify: "encrypt-notify",
  write: "encrypt-write",
};

/** A name that is no text would come back as another one. */
const isText = ({ ssid, name }: Seen) => equal(fromText(name), ssid);

const protections: Record<Security, string> = {
  open: "NO",
  "open-encrypted": "NO",
  wep: "WEP",
  wpa: "WPA",
  wpa2: "WPA2",
  "wpa2-wpa3": "WPA2/WPA3",
  wpa3: "WPA3",
  enterprise: "WPA2 EAP",
};

function heardOf({ name, dBm, security }: Seen): Heard {
  return { ssid: name, dBm, auth: protections[security] };
}
