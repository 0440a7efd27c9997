import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { fromText } from "../../../src/base/pure/bytes.ts";
import { errors, states } from "../../../src/device/improv/machine.ts";
import { improvHost } from "../../lib/improv.ts";
import { checkout } from "../../lib/machine.ts";
import { suite } from "../../lib/suite.ts";

/** What of the package's client is driven here. */
type Client = EventTarget & {
  currentState?: number;
  errorState: number;
  capabilities: number;
  RPCResult?: { command: number; values: string[] };
  initialize(): Promise<void>;
  identify(): void;
  provision(ssid: string, password: string): Promise<string | undefined>;
  sendRPCWithResponse(
    command: number,
    data: Uint8Array,
  ): Promise<{ command: number; values: string[] }>;
};

/** The client of improv-wifi-sdk as it is published, but for one path that only bundlers can follow. */
async function loadClient(): Promise<new (device: unknown, logger: unknown) => Client> {
  const read = (name: string) =>
    readFile(join(checkout, "node_modules/improv-wifi-sdk/dist", `${name}.js`), "utf8");
  const urlOf = (text: string) => `data:text/javascript,${encodeURIComponent(text)}`;
  const constants = urlOf(await read("const"));
  const text = (await read("ble")).replace('from "./const"', `from ${JSON.stringify(constants)}`);
  return (await import(urlOf(text))).ImprovBluetoothLE;
}

/** Web Bluetooth as a browser that is connected to this board would show it. */
function browserOf(host: Awaited<ReturnType<typeof improvHost>>) {
  const { service, listeners } = host;
  const view = (bytes: Uint8Array) => new DataView(Uint8Array.from(bytes).buffer);
  const characteristicOf = (id: string) => {
    const [name, one] =
      Object.entries(service.characteristics).find(([, { id: its }]) => its === id) ?? [];
    if (name === undefined || !one) throw new Error(`there is no ${id}`);
    const characteristic = Object.assign(new EventTarget(), {
      value: undefined as DataView | undefined,
      readValue: async () => view(host.read(name)),
      async startNotifications() {
        assert.ok(one.flags.includes("notify"));
        listeners.add((what, value) => {
          if (what !== name) return;
          characteristic.value = view(value);
          characteristic.dispatchEvent(new Event("characteristicvaluechanged"));
        });
      },
      async writeValueWithoutResponse(value: Uint8Array) {
        assert.ok(one.flags.includes("write-without-response"));
        host.write(value);
      },
    });
    return characteristic;
  };
  const gatt = {
    connected: false,
    async connect() {
      gatt.connected = true;
    },
    async getPrimaryService(id: string) {
      assert.is(id, service.id);
      return { getCharacteristic: async (which: string) => characteristicOf(which) };
    },
    disconnect() {
      gatt.connected = false;
      service.left("/a");
    },
  };
  return Object.assign(new EventTarget(), { name: "obscura-test", gatt });
}

suite("improv-wifi-sdk", (test) => {
  test("a foreign client reads what is shown, and brings the board into a network", async () => {
    const ImprovBluetoothLE = await loadClient();
    const name = "Café au coin";
    const host = await improvHost({
      joins: [false, true],
      networks: [
        {
          ...{ ssid: fromText(name), name, strength: 80, dBm: -60, security: "wpa2-wpa3" },
          path: "/",
        },
      ],
    });
    const device = browserOf(host);
    const logger = { log() {}, error() {}, debug() {} };
    const client = new ImprovBluetoothLE(device, logger);
    await client.initialize();
    assert.equal(
      [client.capabilities, client.currentState, client.errorState],
      [7, states.authorized, errors.none],
    );
    client.identify();
    assert.equal(host.did, ["identify"]);
    const info = await client.sendRPCWithResponse(3, new Uint8Array());
    assert.equal(info.values.slice(0, 4), ["Obscura", "0.1.0", "Raspberry Pi 4 Model B", "Porch"]);
    const found = await client.sendRPCWithResponse(4, new Uint8Array());
    assert.equal(found, { command: 4, values: [name, "-60", "WPA2/WPA3"] });

    assert.is(await client.provision(name, "wrong-horse"), undefined);
    assert.is(client.errorState, errors.connect);
    await host.until("state", states.authorized);
    assert.is(client.currentState, states.authorized);
    assert.is(device.gatt.connected, true);

    assert.is(await client.provision(name, "correct-horse"), undefined, "no page to go on to");
    assert.equal([client.currentState, client.errorState], [states.provisioned, errors.none]);
    assert.is(device.gatt.connected, false, "it takes its result for the end");
    assert.equal(host.did.slice(1), [`join ${name} wrong-horse`, `join ${name} correct-horse`]);
    await host.gone;
    await host.improv.close();
  });
});
