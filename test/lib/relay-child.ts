import { writeSync } from "node:fs";
import type { Fault, Step } from "../../src/base/node/durable.ts";
import { openLog } from "../../src/base/node/log.ts";
import { systemClock } from "../../src/base/node/time.ts";
import { openRelay } from "../../src/relay/relay.ts";
import { settingsOf } from "./relay.ts";

/** Where the relay of a kill test ends itself: before or after a step on the nth thing of its kind. */
export type RelayKill = {
  /** How the step's name begins: "part/", "entry/", "beacon", "door", "box/", "delete", "folder". */
  what: string;
  step: Step;
  nth: number;
  when: "before" | "after";
};

/** The process of a kill test: a relay that says its port and may end itself. */
async function main(task: { folder: string; kill?: RelayKill }): Promise<void> {
  const relay = await openRelay({
    ...{ folder: task.folder, config: await settingsOf(), clock: systemClock },
    ...{ log: openLog("relay", "error"), fault: task.kill && killAt(task.kill) },
  });
  writeSync(1, `${relay.port}\n`);
}

function killAt({ what, step, nth, when }: RelayKill): Fault {
  let count = 0;
  return (at, name) => {
    if (at !== step || !name.startsWith(what) || ++count !== nth) return undefined;
    if (when === "before") die();
    return {
      applied: true,
      get error(): Error {
        return die();
      },
    };
  };
}

function die(): never {
  process.kill(process.pid, "SIGKILL");
  throw new Error("still alive");
}

await main(JSON.parse(process.argv[2] ?? "{}"));
