import * as assert from "uvu/assert";
import { openLog } from "../../../src/base/node/log.ts";
import { fromText, toHex } from "../../../src/base/pure/bytes.ts";
import { ManualClock } from "../../../src/base/pure/clock.ts";
import { Failure } from "../../../src/base/pure/failure.ts";
import { identifyMs, silentMs } from "../../../src/device/improv/improv.ts";
import { errors, states } from "../../../src/device/improv/machine.ts";
import { parseAnswer, printCommand } from "../../../src/device/improv/packet.ts";
import type { Seen } from "../../../src/device/network/network.ts";
import { improvHost } from "../../lib/improv.ts";
import { suite } from "../../lib/suite.ts";

const settings = printCommand({ kind: "settings", ssid: fromText("Home"), password: "secret12" });
const identify = printCommand({ kind: "identify" });
const scan = printCommand({ kind: "scan" });
const heard = (name: string, more: Partial<Seen> = {}): Seen => ({
  ...{ ssid: fromText(name), name, strength: 80, dBm: -60, security: "wpa2", path: "/" },
  ...more,
});
const refusal = (act: () => unknown) => {
  try {
    act();
  } catch (error) {
    assert.ok(error instanceof Failure, String(error));
    return error.errno;
  }
  return "taken";
};

suite("improv stage", (test) => {
  test("all of it wants encryption, or nothing does; the advertisement is full with it", async () => {
    for (const isEncrypted of [true, false]) {
      const host = await improvHost({ isEncrypted });
      const { characteristics, data } = host.service;
      assert.equal(Object.keys(characteristics).sort(), [
        ...["capabilities", "command", "error", "result", "state"],
      ]);
      for (const { flags } of Object.values(characteristics)) {
        for (const flag of ["read", "write", "notify"].filter((one) => flags.includes(one))) {
          assert.is(flags.includes(`encrypt-${flag}`), isEncrypted, flags.join());
        }
      }
      assert.is(host.service.isEncrypted, isEncrypted);
      assert.equal(data, ["4677", Uint8Array.of(2, 7, 0, 0, 0, 0)]);
      // Flags, the id of the service, and the data behind its short id, each behind its head.
      assert.is(3 + (2 + 16) + (2 + 2 + (data?.[1].length ?? 0)), 31);
      await host.improv.close();
    }
  });

  test("values are read from any place in them, and no other", async () => {
    const host = await improvHost();
    host.write(printCommand({ kind: "info" }));
    const whole = host.read("result");
    assert.equal(host.read("result", whole.length - 3), whole.subarray(-3));
    assert.equal(host.read("result", whole.length), new Uint8Array());
    const beyond = () => host.read("result", whole.length + 1);
    assert.is(refusal(beyond), "org.bluez.Error.InvalidOffset");
    assert.is(
      refusal(() => host.write(identify, "/a", 1)),
      "org.bluez.Error.InvalidOffset",
    );
    await host.improv.close();
  });

  test("two clients: one is served until it goes or is silent, and neither's half is the other's", async () => {
    const clock = new ManualClock();
    const host = await improvHost({ clock });
    host.write(settings.subarray(0, 9), "/a");
    assert.is(
      refusal(() => host.write(identify, "/b")),
      "org.bluez.Error.NotPermitted",
    );
    assert.equal(host.read("state", 0, "/b"), Uint8Array.of(states.authorized));
    host.service.left("/b");
    assert.is(
      refusal(() => host.write(identify, "/b")),
      "org.bluez.Error.NotPermitted",
    );
    host.service.left("/a");
    host.write(identify, "/b");
    assert.is(host.did.join(), "identify");
    clock.advance(silentMs);
    host.write(settings.subarray(0, 5), "/a");
    clock.advance(silentMs);
    host.write(identify, "/b");
    assert.is(host.did.join(), "identify,identify");
    // A bluetoothd that ended took everybody along.
    host.write(settings.subarray(0, 5), "/b");
    host.service.left();
    host.write(identify, "/a");
    assert.is(host.did.join(), "identify,identify", "it is being shown");
    clock.advance(identifyMs);
    host.write(identify, "/a");
    assert.is(host.did.join(), "identify,identify,identify");
    await host.improv.close();
  });

  test("a network: joining, not joined, joined; then it ends by itself", async () => {
    const host = await improvHost({ joins: [false, true] });
    host.write(settings);
    assert.equal(host.advertised.at(-1), Uint8Array.of(states.provisioning, 7, 0, 0, 0, 0));
    await host.until("state", states.authorized);
    assert.equal(host.notified, ["state 03", "error 03", "state 02"]);
    host.notified.length = 0;
    host.write(settings);
    await host.until("state", states.provisioned);
    assert.equal(host.notified, ["error 00", "state 03", "result 010001", "state 04"]);
    assert.equal(host.did, ["join Home secret12", "join Home secret12"]);
    assert.is(host.isOffered(), true, "the last notification is still under way");
    await host.gone;
    host.write(identify);
    assert.is(host.did.length, 2);
    await host.improv.close();
  });

  test("closed while a network is joined: nothing is said any more", async () => {
    const host = await improvHost({ joins: [true] });
    host.write(settings);
    await host.improv.close();
    host.notified.length = 0;
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(host.notified, []);
  });

  test("networks: the kinds of protection, and none whose name is no text", async () => {
    const host = await improvHost({
      networks: [
        heard("Home"),
        heard("Both", { security: "wpa2-wpa3" }),
        heard("Open", { security: "open-encrypted" }),
        heard("\\\\xff", { ssid: Uint8Array.of(0xff) }),
        heard("Office", { security: "enterprise" }),
      ],
    });
    host.write(scan);
    await host.until("result");
    assert.equal(parseAnswer(host.read("result")).texts, [
      ...["Home", "-60", "WPA2", "Both", "-60", "WPA2/WPA3"],
      ...["Open", "-60", "NO", "Office", "-60", "WPA2 EAP"],
    ]);
    await host.improv.close();
    const deaf = await improvHost({ networks: new Failure("gone", "no radio") });
    deaf.write(scan);
    await deaf.until("error", errors.unknown);
    await deaf.improv.close();
  });

  test("the authorization lapses, and half a packet is forgotten, by their own clocks", async () => {
    const host = await improvHost({ authorizedMs: 50 });
    host.write(settings.subarray(0, 5));
    await host.until("state", states.locked);
    assert.is(toHex(host.advertised.at(-1) ?? new Uint8Array()), "010700000000");
    host.service.left();
    host.write(settings);
    assert.equal([...host.read("error")], [errors.locked]);
    assert.equal(host.did, []);
    await host.improv.close();
  });

  test("BlueZ that refuses it is told on", async () => {
    const log = openLog("improv", "debug", () => {});
    const failed = await improvHost({ log, refuses: true }).catch((error) => error);
    assert.is(failed.kind, "refused");
  });
});
