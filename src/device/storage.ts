import { join } from "node:path";
import type { Log } from "../base/node/log.ts";
import type { Clock } from "../base/pure/clock.ts";
import type { Config } from "./config.ts";
import type { Health } from "./health.ts";
import {
  type Outbox,
  openMemoryOutbox,
  openOutbox,
  storageFailures,
  storageFailuresFile,
} from "./outbox/outbox.ts";

const memoryBytes = 32 * 2 ** 20;

/** The outbox on the card; in memory, and said so, when the card has failed twice. */
export async function openStorage(options: {
  config: Pick<Config, "outbox">;
  state: string;
  health: Pick<Health, "fault">;
  clock: Clock;
  log: Log;
}): Promise<{ outbox: Outbox; limitBytes: number }> {
  const { config, state, health, clock, log } = options;
  const { limitMiB, headroomMiB } = config.outbox;
  const isLost = storageFailures(storageFailuresFile(state)) >= 2;
  const limitBytes = isLost ? memoryBytes : limitMiB * 2 ** 20;
  const common = { folder: join(state, "outbox"), limitBytes, wallMs: () => clock.wallMs() };
  if (!isLost) {
    const outbox = await openOutbox({ ...common, headroomBytes: headroomMiB * 2 ** 20 });
    return { outbox, limitBytes };
  }
  const outbox = await openMemoryOutbox(common);
  log.error("the card failed twice: clips stay in memory");
  health.fault("card", "the card failed: clips stay in memory");
  return { outbox, limitBytes };
}
