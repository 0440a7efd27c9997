import { type Bus, openBus } from "../../base/node/bus.ts";
import { openHttp } from "../../base/node/http.ts";
import type { Log } from "../../base/node/log.ts";
import { systemClock } from "../../base/node/time.ts";
import { explain, Failure } from "../../base/pure/failure.ts";
import { radioName } from "../../protocol/sealed/gatt.ts";
import { openPeripheral, type Peripheral } from "../bluetooth/bluetooth.ts";
import { boardInfo, type ImprovMode, openImprov } from "../improv/improv.ts";
import type { Outcome, Pairing } from "./host.ts";
import { type Eye, openLens } from "./lens.ts";
import type { Reach } from "./reach.ts";

// The ways into one window beside the network.

export type Ways = {
  readonly pairing: Pairing;
  readonly reach: Pick<Reach, "joinAtOnce" | "air" | "point">;
  /** Opens the lens, to look for codes; without it none is looked for. */
  readonly eye?: ((signal: AbortSignal) => Promise<Eye>) | undefined;
  readonly bluetooth?: Bluetooth | undefined;
  log(stage: string): Log;
  /** What is open now, for people. */
  say(text: string): void;
  /** A way that cannot be had, while the others are open. */
  warn(text: string): void;
};

export type Bluetooth = {
  /** By which radio phones may come: a name as hci0, or undefined for the first. */
  readonly adapter: string | undefined;
  /** Clients that are not ours may hand over a network, of a camera that nobody owns. */
  readonly improv?: Improv | undefined;
};
export type Improv = {
  readonly isEncrypted: boolean;
  /** What they show as the name of this camera. */
  readonly name: string;
  /** Shows which camera this is. */
  identify(): void;
  /** The camera is in another network. The link for there is a secret, as the first one. Awaited. */
  joined(link: string): unknown;
};

export function improvOf(mode: ImprovMode, how: Omit<Improv, "isEncrypted">): Improv | undefined {
  return mode === "off" ? undefined : { ...how, isEncrypted: mode === "encrypted" };
}

/** Opens them until the window closes; resolves to how it ended, when all are closed. */
export async function serveWays(ways: Ways): Promise<Outcome> {
  const { pairing, eye, bluetooth } = ways;
  const looking = eye ? look(eye, ways) : undefined;
  const radio = bluetooth ? await startBluetooth(bluetooth, ways) : undefined;
  try {
    return await pairing.outcome;
  } finally {
    await looking;
    await radio?.close();
  }
}

async function startBluetooth(bluetooth: Bluetooth, ways: Ways) {
  const { pairing, log, say, warn } = ways;
  const { adapter } = bluetooth;
  const name = radioName(pairing.identity);
  let bus: Bus | undefined;
  try {
    bus = await openBus();
    const peripheral = await openPeripheral({
      ...{ bus, name, adapter, log: log("bluetooth") },
      serve: (guest) => pairing.serve({ ...guest, admit() {} }),
    });
    const improv = await startImprov(peripheral, bluetooth, ways);
    say(`phones can come by Bluetooth too, where this camera is called ${name}`);
    return {
      async close() {
        await improv?.close();
        await peripheral.close();
        bus?.close();
      },
    };
  } catch (error) {
    bus?.close();
    warn(`no Bluetooth: ${explain(error)}`);
    return undefined;
  }
}

/** Not with an owner: who is in range and nobody knows would choose the network of somebody's camera. */
async function startImprov(peripheral: Peripheral, { improv }: Bluetooth, ways: Ways) {
  const { pairing, reach, log, say, warn } = ways;
  if (!improv || pairing.owners.length > 0) return undefined;
  try {
    const air = await reach.air();
    const opened = await openImprov({
      ...{ peripheral, ...improv, clock: systemClock },
      ...{ localName: radioName(pairing.identity), info: await boardInfo(), log: log("improv") },
      authorizedMs: pairing.remainingMs(),
      scan: async () => (await air.scan()).filter(({ name }) => name !== reach.point?.ssid),
      async join(wifi) {
        // Whoever has the link goes first, and is not cut off by the board's leaving its own network.
        if (pairing.isServing()) throw new Failure("busy", "a phone is being paired");
        await reach.joinAtOnce({ ...wifi, hidden: false });
        say("somebody who is near has brought this camera into a Wi-Fi network (Improv)");
        const tell = async () => improv.joined(await pairing.relocate());
        await tell().catch((error) => warn(`it is not reached there: ${explain(error)}`));
      },
    });
    const listeners = improv.isEncrypted ? "" : ". What they say is in the clear, as you wished";
    void pairing.owned.then(opened.close);
    say(`apps that speak Improv can bring this camera into a Wi-Fi network${listeners}`);
    return opened;
  } catch (error) {
    warn(`no Improv: ${explain(error)}`);
    return undefined;
  }
}

async function look(
  open: NonNullable<Ways["eye"]>,
  { pairing, reach, log, say, warn }: Ways,
): Promise<void> {
  const over = new AbortController();
  const end = () => over.abort();
  void pairing.outcome.then(end, end);
  const http = openHttp();
  try {
    await openLens({
      ...{ pairing, send: http.send, clock: systemClock, signal: over.signal },
      ...{ log: log("lens"), join: reach.joinAtOnce },
      open: async (signal) => {
        const eye = await open(signal);
        say("the camera looks for a code: obscura-phone pair --lens FILE.png");
        return eye;
      },
    });
  } catch (error) {
    if (!over.signal.aborted) warn(`no eye: ${explain(error)}`);
  } finally {
    http.close();
  }
}
