import { openLog } from "../../src/base/node/log.ts";
import { openPairing, type PairingStep } from "../../src/device/pairing/host.ts";
import { boardTime } from "../../src/device/pairing/window.ts";

/** A camera that pairs and ends itself, as a power cut would, when it comes to `step`. */
async function main(state: string, step: PairingStep, address: string): Promise<void> {
  const pairing = await openPairing({
    ...{ state, name: "porch", port: 0, address },
    ...{ time: await boardTime(), log: openLog("pairing", "info") },
    onStep: (at) => {
      if (at === step) process.kill(process.pid, "SIGKILL");
    },
  });
  process.stdout.write(`${pairing.link}\n`);
  await pairing.outcome;
}

const [state = "", step = "", address = ""] = process.argv.slice(2);
await main(state, step as PairingStep, address);
