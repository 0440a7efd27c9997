import * as assert from "uvu/assert";
import { openLog } from "../../../src/base/node/log.ts";
import { Failure } from "../../../src/base/pure/failure.ts";
import { openPeripheral } from "../../../src/device/bluetooth/bluetooth.ts";
import { adapter, fakeBluez, variants } from "../../lib/bluez.ts";
import { generator } from "../../lib/fuzz.ts";
import { suite } from "../../lib/suite.ts";

async function peripheral(bluez: ReturnType<typeof fakeBluez>, adapterName?: string) {
  const served = { now: 0, most: 0, all: 0 };
  const log = openLog("bluetooth", "debug", () => {});
  const one = await openPeripheral({
    ...{ bus: bluez.bus, name: "obscura-test", log, adapter: adapterName },
    async serve({ pipe }) {
      served.all += 1;
      served.now += 1;
      served.most = Math.max(served.most, served.now);
      for (;;) {
        const message = await pipe.receive({ mostBytes: 100, withinMs: 20_000 }).catch(() => {});
        if (!message) break;
        await pipe.send(message).catch(() => {});
      }
      served.now -= 1;
    },
  });
  return { one, served };
}

const hello = Uint8Array.of(0, 3, 1, 2, 3);
const settled = (ms = 20) => new Promise((resolve) => setTimeout(resolve, ms));
const refusal = async (act: Promise<unknown>) => {
  const error = await act.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  assert.ok(error instanceof Failure, `${error}`);
  return error;
};
const told = [
  ...["Powered true", "Pairable false"],
  ...[`RegisterApplication ${adapter}`, `RegisterAdvertisement ${adapter}`],
];

suite("bluetooth peripheral", (test) => {
  test("on while it is open, and as it was afterwards", async () => {
    for (const isOn of [false, true]) {
      const bluez = fakeBluez({ isOn });
      const { one } = await peripheral(bluez, "hci0");
      assert.equal(bluez.calls.slice(1), told);
      bluez.calls.length = 0;
      await one.close();
      assert.equal(bluez.calls, [
        ...[`UnregisterAdvertisement ${adapter}`, `UnregisterApplication ${adapter}`],
        ...["Pairable true", `Powered ${isOn}`],
      ]);
    }
  });

  test("what cannot be advertised leaves the radio off; an adapter that is not there is said", async () => {
    const bluez = fakeBluez({ refuses: "RegisterAdvertisement" });
    assert.is((await refusal(peripheral(bluez))).kind, "refused");
    assert.is(bluez.calls.at(-1), "Powered false");
    const absent = await refusal(peripheral(fakeBluez(), "hci7"));
    assert.is(absent.kind, "absent");
    assert.match(absent.message, /hci7/);
  });

  test("a bluetoothd that was started anew is told again, unless it is over", async () => {
    const bluez = fakeBluez();
    const { one } = await peripheral(bluez);
    const change = (owner: string) =>
      bluez.say("/", "NameOwnerChanged", ["org.bluez", owner ? "" : ":1.1", owner]);
    change("");
    change(":1.2");
    change("");
    change(":1.3");
    bluez.calls.length = 0;
    while (bluez.calls.length < told.length) await settled();
    await settled(1500);
    assert.equal(bluez.calls, told);
    change("");
    change(":1.4");
    await one.close();
    bluez.calls.length = 0;
    await settled(1500);
    assert.equal(bluez.calls, []);
  });

  test("one phone at a time; it goes with its connection, and the next is served", async () => {
    const bluez = fakeBluez();
    const { one, served } = await peripheral(bluez);
    await bluez.write("/a", hello);
    assert.equal(await bluez.read("/a"), hello);
    for (const act of [bluez.write("/b", hello), bluez.read("/b")]) {
      assert.is((await refusal(act)).errno, "org.bluez.Error.NotPermitted");
    }
    bluez.leave("/b");
    await bluez.write("/a", hello);
    bluez.leave("/a");
    assert.is((await refusal(bluez.write("/a", hello))).kind, "gone");
    await settled();
    await bluez.write("/b", hello);
    await settled();
    assert.is(served.all, 2);
    bluez.say("/", "NameOwnerChanged", ["org.bluez", ":1.1", ""]);
    await settled();
    await bluez.write("/a", hello);
    assert.is(served.all, 3);
    await one.close();
  });

  test("who writes more than a message may have is disconnected", async () => {
    const bluez = fakeBluez();
    const { one } = await peripheral(bluez);
    await bluez.write("/a", new Uint8Array(100).fill(255));
    await settled();
    assert.ok(bluez.calls.includes("Disconnect /a"));
    await one.close();
  });

  const beside = (isEncrypted: boolean) => {
    const left: (string | undefined)[] = [];
    const service = {
      ...{ root: "/org/obscura/beside", id: "1234", localName: "obscura-test", isEncrypted },
      data: ["4677", Uint8Array.of(1)] as const,
      characteristics: {
        one: { id: "5678", flags: ["read", "notify"], read: () => Uint8Array.of(1) },
      },
      left: (device?: string) => void left.push(device),
    };
    return { service, left };
  };
  const agent = ["RegisterAgent /org/bluez", "RequestDefaultAgent /org/bluez"];

  test("a service beside: announced, changed, told who left, taken back; nobody bonds for it", async () => {
    const bluez = fakeBluez();
    const { one } = await peripheral(bluez);
    const { service, left } = beside(false);
    bluez.calls.length = 0;
    const offered = await one.offer(service);
    assert.equal(bluez.calls, [...told, ...told.slice(2)]);
    offered.notify("one", Uint8Array.of(7, 8));
    offered.advertise(Uint8Array.of(9));
    assert.equal(bluez.changes, [
      "/org/obscura/beside/service/one Value ay,7,8",
      "/org/obscura/beside/advertisement ServiceData a{sv},4677,ay,9",
    ]);
    bluez.leave("/a");
    bluez.say("/", "NameOwnerChanged", ["org.bluez", ":1.1", ""]);
    assert.equal(left, ["/a", undefined]);
    bluez.calls.length = 0;
    await offered.takeBack();
    await offered.takeBack();
    assert.equal(bluez.calls, [
      ...[`UnregisterAdvertisement ${adapter}`, `UnregisterApplication ${adapter}`],
    ]);
    bluez.leave("/a");
    assert.is(left.length, 2);
    await one.close();
  });

  test("encrypted: radios may bond for its time, no keyboard, and those that did are forgotten", async () => {
    const bluez = fakeBluez();
    const [own, keys] = [`${adapter}/own`, `${adapter}/keys`];
    bluez.bond(own);
    const { one } = await peripheral(bluez);
    bluez.calls.length = 0;
    const offered = await one.offer(beside(true).service);
    const steps = bluez.calls.filter((call) => !call.startsWith("Register") && !/Get/.test(call));
    assert.equal(steps, ["Powered true", agent[1], "Pairable true"]);
    const methods = bluez.served.get("/org/obscura/agent org.bluez.Agent1")?.methods ?? {};
    assert.equal(Object.keys(methods).sort(), ["Cancel", "Release", "RequestAuthorization"]);
    bluez.bond("/a");
    bluez.bond(keys);
    const keyboard = "00001812-0000-1000-8000-00805f9b34fb";
    bluez.calls.length = 0;
    for (const path of [own, keys, "/org/bluez/hci1/keys"]) {
      const body = ["org.bluez.Device1", variants({ UUIDs: [keyboard] }), []];
      bluez.say(path, "PropertiesChanged", body);
    }
    await settled();
    assert.equal(bluez.calls, [`RemoveDevice ${keys}`]);

    bluez.say("/", "NameOwnerChanged", ["org.bluez", "", ":1.2"]);
    bluez.calls.length = 0;
    // A new bluetoothd is told of it too: twice two things, and the agent between.
    const isTold = () => bluez.calls.filter((call) => call.startsWith("Register")).length >= 5;
    while (!isTold()) await settled();
    assert.ok(agent.every((call) => bluez.calls.includes(call)));
    bluez.calls.length = 0;
    await offered.takeBack();
    assert.equal(bluez.calls.slice(2), ["Pairable false", "UnregisterAgent /org/bluez"]);
    assert.is(bluez.devices.size, 2, "who is paired by the session meanwhile is not cut off");
    await one.close();
    assert.equal([...bluez.devices.keys()], [own]);
  });

  test("a service that cannot be announced is taken back, and pairing goes on", async () => {
    const bluez = fakeBluez();
    const { one } = await peripheral(bluez);
    bluez.refuse("RegisterAgent");
    assert.is((await refusal(one.offer(beside(true).service))).kind, "refused");
    assert.ok(bluez.calls.includes("Pairable false"));
    await bluez.write("/a", hello);
    assert.equal(await bluez.read("/a"), hello);
    await one.close();
  });

  test(
    "hostile: 10,000 mutated writes and reads of three phones are refused or taken; one is held at a time",
    async () => {
      const bluez = fakeBluez();
      const { one, served } = await peripheral(bluez);
      const random = generator(7);
      const pick = <T>(...list: T[]) => list[random(list.length)] as T;
      const outcomes = new Map<string, number>();
      const count = Number(process.env.OBSCURA_FUZZ_COUNT ?? 10_000);
      for (let i = 0; i < count; i++) {
        const value = Uint8Array.of(0, 48, ...new Uint8Array(48).fill(i));
        for (let edits = pick(0, 0, 1, 3); edits > 0; edits--) {
          value[random(value.length)] = random(256);
        }
        const piece = pick(value, value, value.slice(0, random(50)), new Uint8Array(600));
        const device = pick<unknown>("/a", "/a", "/b", "/c", undefined, 7);
        const mtu = pick<unknown>(23, 517, 100, 0, -1, 70_000, "x", undefined);
        const offset = pick<unknown>(undefined, undefined, undefined, 0, 1, "0");
        const options = { device, mtu, offset };
        // A read of who is served may wait for what comes later.
        const reading = bluez.readWith(options).catch(() => {});
        if (random(8) === 0) await Promise.race([reading, settled(0)]);
        const outcome = await bluez.writeWith(piece, options).then(
          () => "taken",
          (error) => (error instanceof Failure ? error.kind : String(error)),
        );
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
        if (random(50) === 0) bluez.leave(pick("/a", "/b", "/c"));
        if (i % 16 === 0) await settled(0);
      }
      const counts = JSON.stringify([...outcomes].sort());
      console.log(`\nmeasured: bluetooth: ${count} writes of ${served.all} guests: ${counts}`);
      assert.equal([...outcomes.keys()].sort(), ["busy", "corrupt", "full", "gone", "taken"]);
      assert.is(served.most, 1);
      await one.close();
      await settled();
      assert.is(served.now, 0);
    },
    { deadlineMs: 120_000 },
  );
});
