import { existsSync } from "node:fs";
import { runOnBoard } from "../lib/board.ts";
import { findMachine } from "../lib/machine.ts";
import { suite } from "../lib/suite.ts";
import { temporaryFolder } from "../lib/world.ts";
import { loopback } from "./observe.ts";
import { bluetoothModules, bluetoothPrograms } from "./radios.ts";
import { assertVisit, visitFootage, visitSettings } from "./visit.ts";

const machine = await findMachine();

suite("bluetooth", (test) => {
  const title =
    "garbage, a wrong secret, a phone that vanishes, bluetoothd killed; from no owner to the first clip";
  if (machine.kind !== "guest") {
    test.skip(title, machine.kind === "host" ? "would change the host's radios" : machine.why);
    return;
  }
  const missing = bluetoothPrograms.filter((path) => !existsSync(path));
  if (missing.length > 0) {
    test.skip(title, `the host, whose root is the guest's, has no ${missing.join(", ")}`);
    return;
  }
  test(
    title,
    async () => {
      await using folder = await temporaryFolder();
      const order = await visitFootage(folder.path);
      await using run = await runOnBoard(machine, {
        command: ["node", "dist/test/system/guest/bluetooth.js"],
        modules: [...bluetoothModules, "hci_vhci", loopback],
        files: { "order.json": JSON.stringify(order), "camera.yaml": visitSettings },
        ...{ memoryMiB: 768, timeoutMs: 1_200_000 },
      });
      console.log(run.stdout);
      await assertVisit(await run.read("first.mp4"));
    },
    { deadlineMs: 1_700_000 },
  );
});
