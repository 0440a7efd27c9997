import * as assert from "uvu/assert";
import { answerVectors, commandVectors } from "../../../scripts/vectors-improv.ts";
import { fromText, toHex, toText } from "../../../src/base/pure/bytes.ts";
import { isFailure } from "../../../src/base/pure/failure.ts";
import {
  type Deed,
  errors,
  type Machine,
  openMachine,
  packetMs,
  states,
} from "../../../src/device/improv/machine.ts";
import {
  fitting,
  parseAnswer,
  parseCommand,
  printAnswer,
  printCommand,
} from "../../../src/device/improv/packet.ts";
import { fuzz, generator } from "../../lib/fuzz.ts";
import { suite } from "../../lib/suite.ts";
import { checkVectors, readVectors } from "../../lib/vectors.ts";

const info = {
  ...{ firmware: "Obscura", version: "0.1.0", hardware: "Raspberry Pi 4 Model B" },
  ...{ system: "Debian GNU/Linux", systemVersion: "12" },
};
const authorizedMs = 60_000;
const open = () => openMachine({ authorizedMs, info, name: "Porch" });
const authorized = () => {
  const machine = open();
  machine.step({ kind: "authorized", atMs: 0 });
  return machine;
};
const identify = printCommand({ kind: "identify" });
const settings = printCommand({ kind: "settings", ssid: fromText("Home"), password: "secret12" });
const scan = printCommand({ kind: "scan" });
const write = (improv: Machine, bytes: Uint8Array, atMs = 0, room = 509) =>
  improv.step({ kind: "written", bytes, room, atMs });
const kinds = (deeds: readonly Deed[]) =>
  deeds.map((deed) => (deed.kind === "show" ? deed.what : deed.kind));
const texts = (improv: Machine) => parseAnswer(improv.result).texts;

suite("improv", (test) => {
  test("the vectors are those of today, and are read and refused as they say", async () => {
    for (const [folder, made] of [
      ["improv/command", commandVectors()],
      ["improv/answer", answerVectors()],
    ] as const) {
      const kept = Object.fromEntries(
        (await readVectors(folder)).map(({ name, bytes }) => [name, toHex(bytes)]),
      );
      assert.equal(kept, Object.fromEntries(made.map(({ name, bytes }) => [name, toHex(bytes)])));
    }
    await checkVectors("improv/command", ({ bytes }) => {
      const fields = parseCommand(bytes);
      return { fields, again: printCommand(fields) };
    });
    await checkVectors("improv/answer", ({ bytes }) => {
      const fields = parseAnswer(bytes);
      return { fields, again: printAnswer(fields) };
    });
  });

  test("the specification's example, byte for byte", () => {
    const wanted = `011e0c${Buffer.from("MyWirelessAP").toString("hex")}10${Buffer.from("mysecurepassword").toString("hex")}c0`;
    const example = { kind: "settings", ssid: fromText("MyWirelessAP") } as const;
    const bytes = printCommand({ ...example, password: "mysecurepassword" });
    assert.is(Buffer.from(bytes).toString("hex"), wanted);
  });

  test("a whole way, in pieces of every size", () => {
    for (let size = 1; size <= settings.length; size++) {
      const improv = open();
      assert.is(improv.state, states.locked);
      improv.step({ kind: "authorized", atMs: 0 });
      let deeds: Deed[] = [];
      for (let at = 0; at < settings.length; at += size) {
        deeds = write(improv, settings.subarray(at, at + size));
      }
      assert.equal(kinds(deeds), ["state", "join"]);
      assert.is(improv.state, states.provisioning);
      const [, join] = deeds;
      assert.equal(join, { kind: "join", ssid: fromText("Home"), password: "secret12" });
      const end = improv.step({ kind: "settled", isJoined: true, atMs: 9 });
      assert.equal(kinds(end), ["result", "state", "stop"]);
      assert.equal([improv.state, texts(improv)], [states.provisioned, []]);
    }
  });

  test("a network that is not joined: error 3, and the minute begins anew", () => {
    const improv = open();
    improv.step({ kind: "authorized", atMs: 0 });
    write(improv, settings, authorizedMs - 1);
    assert.equal(improv.step({ kind: "time", atMs: 2 * authorizedMs }), []);
    improv.step({ kind: "settled", isJoined: false, atMs: 2 * authorizedMs });
    assert.equal([improv.state, improv.error], [states.authorized, errors.connect]);
    assert.is(improv.dueMs(), 3 * authorizedMs);
    improv.step({ kind: "time", atMs: 3 * authorizedMs - 1 });
    assert.is(improv.state, states.authorized);
    improv.step({ kind: "time", atMs: 3 * authorizedMs });
    assert.equal([improv.state, improv.dueMs()], [states.locked, undefined]);
    assert.equal(improv.serviceData(), Uint8Array.of(1, 7, 0, 0, 0, 0));
  });

  test("without authorization nothing is taken, and what is harmless is answered", () => {
    const improv = open();
    write(improv, settings);
    assert.equal([improv.state, improv.error], [states.locked, errors.locked]);
    assert.equal(kinds(write(improv, identify)), ["error", "identify"]);
    assert.is(improv.error, errors.none);
    write(improv, printCommand({ kind: "info" }));
    assert.equal(texts(improv), ["Obscura", "0.1.0", info.hardware, "Porch", info.system, "12"]);
    write(improv, printCommand({ kind: "name", text: "Garden" }));
    assert.is(improv.error, errors.locked);
  });

  test("while a network is joined nothing else is taken", () => {
    const improv = authorized();
    write(improv, settings);
    for (const bytes of [settings, scan, identify]) {
      assert.equal(
        kinds(write(improv, bytes)).filter((kind) => kind !== "error"),
        [],
      );
      assert.is(improv.error, errors.locked);
    }
  });

  test("a scan: the strongest that have room, once, and for nobody who has left", () => {
    const improv = open();
    const heard = Array.from({ length: 20 }, (_, i) => ({
      ...{ ssid: `network number ${i}`, dBm: -40 - i, auth: "WPA2" },
    }));
    assert.equal(kinds(write(improv, scan)), ["scan"]);
    improv.step({ kind: "scanned", heard });
    const found = texts(improv);
    assert.is(found.length % 3, 0);
    assert.equal(found.slice(0, 3), ["network number 0", "-40", "WPA2"]);
    assert.ok(found.length > 18 && improv.result.length <= 258);
    assert.equal(improv.step({ kind: "scanned", heard }), []);
    write(improv, scan);
    improv.step({ kind: "disconnected" });
    assert.equal(improv.step({ kind: "scanned", heard }), []);
    write(improv, scan);
    improv.step({ kind: "unheard" });
    assert.is(improv.error, errors.unknown);
    assert.equal(fitting(["a".repeat(300), "-1", "NO"], 3, 600), []);
    for (const [room, count] of [
      [100, 3],
      [30, 1],
      // For nobody who can be notified of it: it has to be read.
      [20, found.length / 3],
    ] as const) {
      write(improv, scan, 0, room);
      improv.step({ kind: "scanned", heard });
      assert.is(texts(improv).length / 3, count);
      assert.ok(room < 30 || improv.result.length <= room);
    }
  });

  test("the name is told, and nobody gives another; a host name is not offered", () => {
    const improv = authorized();
    write(improv, printCommand({ kind: "name", text: undefined }));
    assert.equal(texts(improv), ["Porch"]);
    write(improv, printCommand({ kind: "name", text: "Garden" }));
    assert.is(improv.error, errors.unknown);
    write(improv, printCommand({ kind: "name", text: undefined }));
    assert.equal([texts(improv), improv.error], [["Porch"], errors.none]);
    for (const text of [undefined, "garden"]) {
      write(improv, printCommand({ kind: "hostname", text }));
      assert.equal([improv.error, improv.capabilities], [errors.command, 0b0111]);
    }
  });

  test("what is no packet is refused, and the next one is read", () => {
    const improv = open();
    const wrong = Uint8Array.from(identify);
    wrong[2] = 0;
    for (const [bytes, error] of [
      [wrong, errors.packet],
      [Uint8Array.of(2, 0, 2, 2), errors.packet],
      [new Uint8Array(600).fill(1), errors.packet],
      [Uint8Array.of(9, 0, 9), errors.command],
    ] as const) {
      write(improv, bytes);
      assert.is(improv.error, error);
      assert.equal(kinds(write(improv, identify)), ["error", "identify"]);
    }
    write(improv, identify.subarray(0, 2), 0);
    assert.is(improv.dueMs(), packetMs);
    assert.equal(kinds(write(improv, identify, packetMs)), ["error", "error", "identify"]);
    write(improv, identify.subarray(0, 1));
    improv.step({ kind: "disconnected" });
    assert.equal(kinds(write(improv, identify)), ["identify"]);
  });

  test("mutated packets are refused or read, never anything else", () => {
    const seeds = commandVectors().map(({ bytes }) => bytes);
    const reaches = ["length", "checksum", "data", "text", "command"];
    const reseal = (bytes: Uint8Array) => {
      const end = bytes.length - 1;
      if (end >= 0)
        bytes[end] = bytes.subarray(0, end).reduce((sum, byte) => (sum + byte) & 255, 0);
      if (end >= 2 && end - 2 < 256) bytes[1] = end - 2;
      if (end >= 0)
        bytes[end] = bytes.subarray(0, end).reduce((sum, byte) => (sum + byte) & 255, 0);
      return bytes;
    };
    fuzz({ name: "improv command", seeds, decode: parseCommand, reseal, reaches });
    const answers = answerVectors().map(({ bytes }) => bytes);
    fuzz({
      name: "improv answer",
      seeds: answers,
      decode: parseAnswer,
      reaches: ["length", "data"],
    });
  });

  test("hostile: 20,000 mutated writes in pieces; a network is joined by a whole packet only", () => {
    const seeds = commandVectors().map(({ bytes }) => bytes);
    const improv = open();
    const random = generator(11);
    let said = Buffer.alloc(0);
    let joins = 0;
    const forget = () => {
      improv.step({ kind: "disconnected" });
      said = Buffer.alloc(0);
    };
    for (let i = 0; i < 20_000; i++) {
      const bytes = Uint8Array.from(seeds[random(seeds.length)] ?? []);
      if (bytes.length > 0 && random(2) === 0) bytes[random(bytes.length)] = random(256);
      if (random(9) === 0) improv.step({ kind: "authorized", atMs: i });
      if (random(50) === 0) forget();
      const cut = random(3) === 0 ? random(bytes.length + 1) : bytes.length;
      for (const piece of [bytes.subarray(0, cut), bytes.subarray(cut)]) {
        if (random(10) === 0) continue;
        said = Buffer.concat([said, piece]).subarray(-1000);
        for (const deed of write(improv, piece, i, random(600))) {
          if (deed.kind !== "join") continue;
          joins += 1;
          const { ssid, password } = deed;
          const whole = Buffer.from(printCommand({ kind: "settings", ssid, password }));
          assert.equal(said.subarray(-whole.length), whole);
          assert.is(improv.state, states.provisioning);
          improv.step({ kind: "settled", isJoined: false, atMs: i });
          forget();
        }
      }
      assert.ok(improv.result.length <= 258);
    }
    console.log(
      `\nmeasured: improv: 20000 mutated packets in pieces, ${joins} of them whole settings`,
    );
    assert.ok(joins > 100);
  });

  test("a text that is cut is still text", () => {
    const long = { ...info, hardware: "ü".repeat(60) };
    const improv = openMachine({ authorizedMs, info: long, name: "🎥".repeat(20) });
    write(improv, printCommand({ kind: "info" }));
    const [, , hardware = "", name = ""] = texts(improv);
    assert.equal([hardware, name], ["ü".repeat(20), "🎥".repeat(10)]);
    assert.is(toText(fromText(name)), name);
    assert.throws(() => printAnswer({ command: 1, texts: ["a".repeat(256)] }), isFailure);
  });
});
