import * as assert from "uvu/assert";
import { Failure } from "../../src/base/pure/failure.ts";
import {
  checkCard,
  checkUnit,
  diagnose,
  diskSwaps,
  printFindings,
} from "../../src/device/doctor.ts";
import { suite } from "../lib/suite.ts";

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
