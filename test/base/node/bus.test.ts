import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { systemBus } from "@homebridge/dbus-native";
import * as assert from "uvu/assert";
import { objectsOf, openBus, type Signal, setProperty } from "../../../src/base/node/bus.ts";
import { Failure } from "../../../src/base/pure/failure.ts";
import { suite } from "../../lib/suite.ts";
import { temporaryFolder } from "../../lib/world.ts";

const daemon = "/usr/bin/dbus-daemon";
const name = "org.example.Door";

/** A bus of its own, as the system's, for this process. */
async function busWorld() {
  const folder = await temporaryFolder();
  const address = `unix:path=${join(folder.path, "bus")}`;
  const config = join(folder.path, "bus.conf");
  const anybody = `<allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/>`;
  await writeFile(
    config,
    `<busconfig><type>system</type><listen>${address}</listen><auth>EXTERNAL</auth>` +
      `<policy context="default">${anybody}</policy></busconfig>`,
  );
  const child = spawn(daemon, [`--config-file=${config}`, "--nofork", "--print-address"]);
  await once(child.stdout, "data");
  const before = process.env.DBUS_SYSTEM_BUS_ADDRESS;
  process.env.DBUS_SYSTEM_BUS_ADDRESS = address;
  const end = async () => {
    if (child.exitCode !== null || child.signalCode) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  };
  return {
    end,
    async [Symbol.asyncDispose]() {
      if (before === undefined) delete process.env.DBUS_SYSTEM_BUS_ADDRESS;
      else process.env.DBUS_SYSTEM_BUS_ADDRESS = before;
      await end();
      await folder[Symbol.asyncDispose]();
    },
  };
}

const failureOf = async (act: Promise<unknown>) => {
  const error = await act.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  if (!(error instanceof Failure)) throw error ?? new Error("it went well");
  return error;
};
async function until(what: string, isSo: () => boolean): Promise<void> {
  for (let i = 0; i < 3000; i++) {
    if (isSo()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`never: ${what}`);
}

const own = (member: string, signature: string, body: unknown[]) => ({
  ...{ destination: "org.freedesktop.DBus", path: "/org/freedesktop/DBus" },
  ...{ interface: "org.freedesktop.DBus", member, signature, body },
});

/** Somebody with a name, and an object that others call. */
async function openDoor() {
  const bus = await openBus();
  await bus.call(own("RequestName", "su", [name, 0]));
  const at = { path: "/door", interface: name };
  bus.serve({
    ...at,
    methods: {
      Knock: { takes: "aya{sv}", gives: "s", act: ([bytes]) => `heard ${[...(bytes as Buffer)]}` },
      Refuse: {
        ...{ takes: "", gives: "" },
        act: () => {
          throw new Failure("busy", "not now", { errno: `${name}.Error.Later` });
        },
      },
      Fail: {
        ...{ takes: "", gives: "" },
        act: () => {
          throw new Error("a secret of ours");
        },
      },
      Wait: { takes: "", gives: "", act: () => new Promise(() => {}) },
    },
    properties: { Open: ["b", true] },
  });
  const objects = [["/door", [[name, [["Open", ["b", true]]]]]]];
  bus.serve({
    ...{ path: "/", interface: "org.freedesktop.DBus.ObjectManager" },
    methods: { GetManagedObjects: { takes: "", gives: "a{oa{sa{sv}}}", act: () => objects } },
  });
  return bus;
}

const bell = "org.example.Bell";

/** Somebody with a name who says something, with the library alone. */
async function openBell() {
  const client = systemBus() as ReturnType<typeof systemBus> & {
    sendSignal(path: string, of: string, name: string, signature: string, body: unknown[]): void;
  };
  await new Promise<void>((resolve, reject) =>
    client.invoke(own("RequestName", "su", [bell, 0]), (error) =>
      error ? reject(new Error(error.name)) : resolve(),
    ),
  );
  return {
    ring: () => client.sendSignal("/bell", bell, "Rang", "s", ["twice"]),
    close: () => client.connection.stream.destroy(),
  };
}

suite("bus", (test) => {
  if (!existsSync(daemon)) {
    test.skip("everything", `there is no ${daemon}`);
    return;
  }

  test("calls, properties, objects and signals, between two on a real bus", async () => {
    await using _ = await busWorld();
    const door = await openDoor();
    const bus = await openBus();
    const at = { destination: name, path: "/door", interface: name };
    const body = [Uint8Array.of(1, 255), [["mtu", ["q", 23]]]];
    const said = await bus.call({ ...at, member: "Knock", signature: "aya{sv}", body });
    assert.equal(said, ["heard 1,255"]);
    const objects = await objectsOf(bus, name);
    assert.equal([...objects], [["/door", { [name]: { Open: true } }]]);
    await setProperty(bus, at, "Open", ["b", false]);
    const get = { ...at, interface: "org.freedesktop.DBus.Properties", member: "Get" };
    const [open] = await bus.call({ ...get, signature: "ss", body: [name, "Open"] });
    assert.is((open as [unknown, [boolean]])[1][0], false);

    for (const one of [bus, door]) one.close();
  });

  test("signals of a name, whoever has it", async () => {
    await using _ = await busWorld();
    const bus = await openBus();
    const first = await openBell();
    const heard: Signal[] = [];
    const unwatch = await bus.watch(bell, (signal) => void heard.push(signal));
    const names = () => heard.map(({ member, body }) => `${member} ${body[2] !== ""}`);
    first.ring();
    await until("a signal", () => heard.length === 1);
    const { path, interface: of, member, body } = heard[0] as Signal;
    assert.equal([path, of, member, body], ["/bell", bell, "Rang", ["twice"]]);
    first.close();
    await until("it is gone", () => heard.length === 2);
    const next = await openBell();
    await until("it is back", () => heard.length === 3);
    assert.equal(names().slice(1), ["NameOwnerChanged false", "NameOwnerChanged true"]);
    next.ring();
    await until("a signal of the next", () => heard.length === 4);
    await unwatch();
    next.ring();
    await bus.call(own("NameHasOwner", "s", [bell]));
    assert.is(heard.length, 4);
    next.close();
    bus.close();
  });

  test("what fails says how: nobody there, no, an unknown error, no answer, no bus", async () => {
    await using world = await busWorld();
    const door = await openDoor();
    const bus = await openBus();
    const at = { destination: name, path: "/door", interface: name };
    const nobody = await failureOf(bus.call({ ...at, destination: "org.example.No", member: "X" }));
    assert.is(nobody.kind, "absent");
    assert.is((await failureOf(bus.call({ ...at, member: "No" }))).kind, "absent");
    const refused = await failureOf(bus.call({ ...at, member: "Refuse" }));
    assert.equal([refused.kind, refused.errno], ["refused", `${name}.Error.Later`]);
    const failed = await failureOf(bus.call({ ...at, member: "Fail" }));
    assert.is(failed.kind, "refused");
    assert.not.match(failed.message, /secret/);
    const late = await failureOf(bus.call({ ...at, member: "Wait", withinMs: 50 }));
    assert.is(late.kind, "stalled");

    const waiting = failureOf(bus.call({ ...at, member: "Wait" }));
    await world.end();
    assert.is((await waiting).kind, "gone");
    assert.is((await failureOf(bus.call({ ...at, member: "Knock" }))).kind, "gone");
    assert.is((await failureOf(openBus())).kind, "absent");
    door.close();
  });
});
