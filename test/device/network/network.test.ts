import * as assert from "uvu/assert";
import { openDurable } from "../../../src/base/node/durable.ts";
import { fromText } from "../../../src/base/pure/bytes.ts";
import { isFailure } from "../../../src/base/pure/failure.ts";
import { checkWanted, draftProfile } from "../../../src/device/network/profile.ts";
import { readResult, writeResult } from "../../../src/device/network/result.ts";
import { nameOf, type Security, securityOf, survey } from "../../../src/device/network/seen.ts";
import { judge } from "../../../src/device/network/verdict.ts";
import { suite } from "../../lib/suite.ts";
import { quickFolder } from "../../lib/world.ts";

const moves = (...list: [state: number, reason: number][]) =>
  list.map(([state, reason]) => ({ state, reason }));
const point = (ssid: string, strength: number, rsnFlags = 0x100) => ({
  ...{ path: `/${ssid}/${strength}`, ssid: fromText(ssid), strength },
  ...{ flags: 1, wpaFlags: 0, rsnFlags },
});

suite("network", (test) => {
  test("what NetworkManager's moves mean", () => {
    const begun: [number, number][] = [
      [40, 0],
      [50, 0],
    ];
    const cases: [string, ReturnType<typeof moves>, Security | undefined][] = [
      ["joined", moves(...begun, [70, 0], [80, 0], [90, 0], [100, 0]), "wpa2"],
      ["wrong-password", moves(...begun, [60, 8], [120, 7]), "wpa2"],
      ["wrong-password", moves(...begun, [120, 53]), "wpa3"],
      ["wrong-password", moves(...begun, [120, 11]), "wpa3"],
      ["turned-away", moves(...begun, [120, 11]), "wpa2"],
      ["no-such-network", moves(...begun, [120, 53]), "wpa2"],
      ["no-such-network", moves(...begun), undefined],
      ["no-such-network", moves(...begun, [60, 8], [120, 7]), undefined],
      ["no-address", moves(...begun, [70, 0], [120, 5]), "wpa2"],
      ["no-address", moves(...begun, [70, 0]), "wpa2"],
      ["interrupted", moves(...begun, [30, 36]), "wpa2"],
      ["turned-away", [], "wpa2"],
    ];
    for (const [wanted, list, security] of cases) {
      assert.is(judge(list, security), wanted, JSON.stringify([list, security]));
    }
  });

  test("what is in the air, the strongest first and once each", () => {
    const heard = [
      point("Home", 40),
      point("Home", 80),
      point("", 99),
      point("\0\0\0", 98),
      point("Café", 60, 0x400),
      point("Home", 20, 0x400),
    ];
    const found = survey(heard).map(({ name, dBm, security, path }) => [name, dBm, security, path]);
    assert.equal(found, [
      ["Home", -60, "wpa2", "/Home/80"],
      ["Café", -70, "wpa3", "/Café/60"],
      ["Home", -90, "wpa3", "/Home/20"],
    ]);
    const kinds: [Security, number, number, number][] = [
      ["open", 0, 0, 0],
      ["wep", 1, 0, 0],
      ["wpa", 1, 0x100, 0],
      ["wpa2-wpa3", 1, 0, 0x500],
      ["enterprise", 1, 0, 0x200],
      ["open-encrypted", 0, 0, 0x800],
    ];
    for (const [wanted, flags, wpaFlags, rsnFlags] of kinds) {
      assert.is(securityOf({ flags, wpaFlags, rsnFlags }), wanted);
    }
    assert.is(nameOf(Uint8Array.of(0x41, 0xff, 0x1b)), "A\\xff\\x1b");
  });

  test("passwords of every kind, and what can be none", () => {
    const wanted = (password: string, name = "Home") => ({
      ...{ ssid: fromText(name), password, isHidden: false },
    });
    const good: [string, Security | undefined][] = [
      ["correct-horse", "wpa2"],
      ["f".repeat(64), "wpa2"],
      ["x", "wpa3"],
      ["correct-horse", "wpa2-wpa3"],
      ["", "open"],
      ["", undefined],
    ];
    for (const [password, security] of good) checkWanted(wanted(password), security);
    const bad: [string, Security, string][] = [
      ["short", "wpa2", "password"],
      ["x".repeat(64), "wpa2", "password"],
      ["", "wpa2", "password"],
      ["something", "open", "password"],
      ["something", "wep", "security"],
      ["something", "enterprise", "security"],
    ];
    for (const [password, security, stage] of bad) {
      assert.throws(
        () => checkWanted(wanted(password), security),
        (error: unknown) => isFailure(error, "misuse", "refused") && error.stage === stage,
        `${password} ${security}`,
      );
    }
    assert.throws(() => checkWanted(wanted("correct-horse", "x".repeat(33)), "wpa2"), isFailure);
    const method = (password: string, security: Security | undefined) =>
      draftProfile(wanted(password), security, "u").kept["802-11-wireless-security"]?.[
        "key-mgmt"
      ]?.[1];
    assert.is(method("correct-horse", "wpa2-wpa3"), "wpa-psk");
    assert.is(method("correct-horse", "wpa3"), "sae");
    assert.is(method("", "open"), undefined);
    assert.is(method("", "open-encrypted"), "owe");
    const { tried, kept } = draftProfile(wanted("correct-horse"), "wpa2", "u");
    assert.equal(tried.connection?.autoconnect, ["b", false]);
    assert.is(kept.connection?.autoconnect, undefined);
  });

  test("the result is read again, and what is none is no result", async () => {
    await using folder = await quickFolder();
    const durable = await openDurable(folder.path);
    assert.is(await readResult(durable), undefined);
    const begun = { ssid: fromText("Home"), uuid: "a", attempt: 1 };
    await writeResult(durable, begun);
    assert.equal(await readResult(durable), begun);
    const ended = { ...begun, verdict: "joined", address: "192.168.1.7" } as const;
    await writeResult(durable, ended);
    assert.equal(await readResult(durable), ended);
    await durable.write("result", fromText("{}"));
    assert.is(await readResult(durable), undefined);
    await durable.close();
  });
});
