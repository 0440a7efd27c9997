import { existsSync } from "node:fs";
import { runOnBoard } from "../lib/board.ts";
import { findMachine, findPackages } from "../lib/machine.ts";
import { suite } from "../lib/suite.ts";
import { bluetoothModules, bluetoothPrograms } from "./radios.ts";

const machine = await findMachine();
const packages = findPackages();

suite("improv", (test) => {
  const title =
    "a client that is BlueZ's: refused without encryption, a wrong password, half a packet; into the network";
  if (machine.kind !== "guest") {
    test.skip(title, machine.kind === "host" ? "would change the host's radios" : machine.why);
    return;
  }
  const missing = bluetoothPrograms.filter((path) => !existsSync(path));
  if (missing.length > 0) {
    test.skip(title, `the host, whose root is the guest's, has no ${missing.join(", ")}`);
    return;
  }
  if (packages === undefined) {
    test.skip(title, "no NetworkManager for guests: scripts/board/packages downloads it");
    return;
  }
  test(
    title,
    async () => {
      await using run = await runOnBoard(machine, {
        command: ["node", "dist/test/system/guest/improv.js"],
        modules: [...bluetoothModules, "hci_vhci", "mac80211_hwsim radios=2"],
        ...{ packages, memoryMiB: 768, timeoutMs: 1_200_000 },
      });
      console.log(run.stdout);
    },
    { deadlineMs: 1_700_000 },
  );
});
