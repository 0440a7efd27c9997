import { runOnBoard } from "../lib/board.ts";
import { findMachine } from "../lib/machine.ts";
import { whyNoBroker } from "../lib/mosquitto.ts";
import { suite } from "../lib/suite.ts";
import { vivid } from "./observe.ts";

const machine = await findMachine();
const noBroker = await whyNoBroker();

suite("privacy", (test) => {
  const title =
    "a real driver: in privacy nobody has the device open, a start does not open it, and after it all goes on";
  if (machine.kind !== "guest" || noBroker !== undefined) {
    const why = machine.kind === "host" ? "would load a driver into the host" : "no virtual board";
    test.skip(title, machine.kind === "none" ? machine.why : (noBroker ?? why));
    return;
  }
  test(
    title,
    async () => {
      await using run = await runOnBoard(machine, {
        command: ["node", "dist/test/system/guest/privacy.js"],
        modules: [vivid],
        ...{ memoryMiB: 768, timeoutMs: 1_000_000 },
      });
      console.log(run.stdout);
    },
    { deadlineMs: 1_700_000 },
  );
});
