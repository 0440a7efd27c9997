import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { Failure } from "../../src/base/pure/failure.ts";
import {
  checkCard,
  checkHands,
  checkUnit,
  diagnose,
  diskSwaps,
  printFindings,
} from "../../src/device/doctor.ts";
import { suite } from "../lib/suite.ts";
import { temporaryFolder } from "../lib/world.ts";

suite("device/doctor", (test) => {
  test("a check that throws is a bad finding with the mend of its failure", async () => {
    const findings = await diagnose([
      { about: "camera", look: async () => ({ state: "good", text: "there" }) },
      {
        about: "model",
        look: async () => {
          throw new Failure("absent", "no model", { hint: "run scripts/run" });
        },
      },
    ]);
    assert.equal(findings, [
      { about: "camera", state: "good", text: "there" },
      { about: "model", state: "bad", text: "no model", mend: "run scripts/run" },
    ]);
    assert.is(
      printFindings(findings),
      "ok   camera  there\nBAD  model   no model\n             → run scripts/run",
    );
  });

  test("a light and a button that are not there are told with what is", async () => {
    await using folder = await temporaryFolder();
    for (const name of ["ACT", "PWR", "gpiochip0", "gpiochip4"]) {
      await writeFile(join(folder.path, name), "");
    }
    const program = join(folder.path, "gpiomon");
    const places = { leds: folder.path, devices: folder.path };
    const look = async (light: string, button: string) =>
      (await diagnose(checkHands({ light, button }, places))).map(
        ({ state, text, mend = "" }) => `${state}: ${text} ${mend}`,
      );
    const path = process.env.PATH;
    try {
      process.env.PATH = folder.path;
      assert.equal(await look("", ""), ["good: none ", "good: none "]);
      assert.match((await look("", "gpiochip0/17"))[1] ?? "", /^bad: libgpiod.*install gpiod/);
      await writeFile(program, "#!/bin/sh\n", { mode: 0o755 });
      assert.equal(await look("ACT", "gpiochip4/17"), ["good: ACT ", "good: gpiochip4/17 "]);
      const [light, button] = await look("../ACT", "gpiochip9/1");
      assert.match(light ?? "", /^bad: there is no LED \.\.\/ACT there are ACT, PWR/);
      assert.match(button ?? "", /^bad: there is no gpiochip9 There are gpiochip0, gpiochip4/);
    } finally {
      process.env.PATH = path;
    }
  });

  test("swap names its devices", () => {
    const text =
      "Filename\tType\tSize\tUsed\tPriority\n/dev/zram0 partition 1 0 5\n/var/swap file 1 0 -2\n";
    assert.equal(diskSwaps(text), ["/var/swap"]);
    assert.equal(diskSwaps("Filename Type\n"), []);
  });

  test("a card without room is a warning that says how much", async () => {
    const [good, poor] = await diagnose([checkCard("/", 0), checkCard("/nowhere/yet", 1e12)]);
    assert.is(good?.state, "good");
    assert.is(poor?.state, "warning");
    assert.match(poor?.mend ?? "", /limitMiB/);
  });

  test("a service is told as systemd tells it", async () => {
    const of = async (text: string) => {
      const [finding] = await diagnose([checkUnit("service", "a.service", async () => text)]);
      return [finding?.state, finding?.text];
    };
    const loaded = "LoadState=loaded\nUnitFileState=enabled\n";
    const running = `${loaded}ActiveState=active\nSubState=running\nStatusText=watching\n`;
    assert.equal(await of(`${running}NRestarts=0\n`), ["good", "runs: watching"]);
    assert.equal(await of(`${running}NRestarts=2\n`), [
      "warning",
      "runs: watching, started anew 2 times",
    ]);
    assert.equal(await of(running.replace("enabled", "disabled")), [
      "warning",
      "runs, but would not start after a power cut",
    ]);
    assert.equal(
      await of(`${loaded}ActiveState=failed\nSubState=failed\nResult=watchdog\nNRestarts=9\n`),
      ["bad", "failed, failed (watchdog), started anew 9 times"],
    );
    assert.equal(await of("LoadState=not-found\nActiveState=inactive\n"), [
      "good",
      "not installed here",
    ]);
    assert.equal(await of(""), ["good", "not installed here"]);
  });
});
