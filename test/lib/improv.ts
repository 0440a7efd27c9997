import { setTimeout as wait } from "node:timers/promises";
import { type Log, openLog } from "../../src/base/node/log.ts";
import { systemClock } from "../../src/base/node/time.ts";
import { toHex, toText } from "../../src/base/pure/bytes.ts";
import type { Clock } from "../../src/base/pure/clock.ts";
import { Failure } from "../../src/base/pure/failure.ts";
import type { Beside } from "../../src/device/bluetooth/bluetooth.ts";
import { openImprov } from "../../src/device/improv/improv.ts";
import type { Seen } from "../../src/device/network/network.ts";

/** The Improv stage, and what a BlueZ would ask of it and hear. */
export async function improvHost({
  isEncrypted = true,
  authorizedMs = 600_000,
  clock = systemClock,
  log = openLog("improv", "debug", () => {}),
  networks = [] as readonly Seen[] | Failure,
  /** How each attempt to join ends. */
  joins = [] as boolean[],
  refuses = false,
  identify = () => {},
}: {
  isEncrypted?: boolean;
  authorizedMs?: number;
  clock?: Clock;
  log?: Log;
  networks?: readonly Seen[] | Failure;
  joins?: boolean[];
  refuses?: boolean;
  identify?: () => void;
} = {}) {
  const did: string[] = [];
  const notified: string[] = [];
  const advertised: Uint8Array[] = [];
  const listeners = new Set<(name: string, value: Uint8Array) => void>();
  let offered: Beside | undefined;
  let isOffered = false;
  let leave = () => {};
  const gone = new Promise<void>((resolve) => {
    leave = resolve;
  });
  const improv = await openImprov({
    peripheral: {
      async offer(beside) {
        if (refuses) throw new Failure("refused", "no");
        offered = beside;
        isOffered = true;
        return {
          notify(name, value) {
            notified.push(`${name} ${toHex(value)}`);
            for (const hear of listeners) hear(name, value);
          },
          advertise: (bytes) => void advertised.push(bytes),
          async takeBack() {
            isOffered = false;
            leave();
          },
        };
      },
    },
    ...{ isEncrypted, authorizedMs, clock, log, localName: "obscura-test", name: "Porch" },
    info: {
      ...{ firmware: "Obscura", version: "0.1.0", hardware: "Raspberry Pi 4 Model B" },
      ...{ system: "Debian GNU/Linux", systemVersion: "12" },
    },
    identify() {
      did.push("identify");
      identify();
    },
    async scan() {
      if (networks instanceof Failure) throw networks;
      return networks;
    },
    async join({ ssid, password }) {
      did.push(`join ${toText(ssid)} ${password}`);
      await wait(1);
      if (!joins.shift()) throw new Failure("refused", "the password is wrong");
    },
  });
  if (!offered) throw new Error("nothing was offered");
  const service = offered;
  const client = (device: string, offset: number) => ({ device, offset, room: 509 });
  const read = (name: string, offset = 0, device = "/a") => {
    const value = service.characteristics[name]?.read?.(client(device, offset));
    if (!(value instanceof Uint8Array)) throw new Error(`${name} is not read at once`);
    return value;
  };
  return {
    ...{ improv, service, did, notified, advertised, listeners, gone, read },
    isOffered: () => isOffered,
    write: (bytes: Uint8Array, device = "/a", offset = 0) =>
      void service.characteristics.command?.write?.(client(device, offset), bytes),
    /** Until a client would be notified of it. */
    async until(name: string, value?: number) {
      const isThere = () =>
        notified.some((one) =>
          value === undefined
            ? one.startsWith(`${name} `)
            : one === `${name} ${toHex(Uint8Array.of(value))}`,
        );
      while (!isThere()) await wait(5);
    },
  };
}
