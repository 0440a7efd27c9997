import { once } from "node:events";
import { writeSync } from "node:fs";
import { join } from "node:path";
import { openLog } from "../../src/base/node/log.ts";
import { stopSignal } from "../../src/base/node/program.ts";
import { systemClock } from "../../src/base/node/time.ts";
import { explain } from "../../src/base/pure/failure.ts";
import { pictureOf } from "../../src/device/command/act.ts";
import { readConfig } from "../../src/device/config.ts";
import {
  askRelays,
  type DeliveryOptions,
  relaysOf,
  startCommands,
  startUplink,
} from "../../src/device/delivery.ts";
import { openKeyring } from "../../src/device/keyring.ts";
import { isStorageFailure, openOutbox } from "../../src/device/outbox/outbox.ts";
import { openSealer } from "../../src/device/seal/seal.ts";
import { nobodyTold } from "./commands.ts";
import { opening, pattern } from "./sealed.ts";
import { recording } from "./sealing.ts";

export type CourierTask = {
  state: string;
  config: string;
  /** How many clips it seals; then it goes on sending, and says "sent" when nothing waits. */
  clips: number;
  fragments: number;
  fragmentBytes: number;
  /** Between two fragments, and ten times this between two clips. */
  paceMs: number;
};

/**
 * `obscura-camera run` without lens, detector and encoder: the service's own sealer, uplink and
 * commands over recordings of made-up bytes, so that it is there in a moment. Says on standard
 * output what is durable where; ends at SIGTERM as the service does.
 */
async function main(task: CourierTask): Promise<void> {
  const signal = stopSignal();
  const clock = systemClock;
  const config = await readConfig(task.config);
  const keyring = await openKeyring(task.state);
  const logs = (stage: string) => openLog(stage, "info");
  const outbox = await openOutbox({
    folder: join(task.state, "outbox"),
    limitBytes: config.outbox.limitMiB * 2 ** 20,
    headroomBytes: config.outbox.headroomMiB * 2 ** 20,
    wallMs: () => clock.wallMs(),
  });
  const storage = new AbortController();
  const fail = (error: unknown) => {
    say(`problem ${explain(error)}`);
    if (isStorageFailure(error)) storage.abort(error);
  };
  const end = AbortSignal.any([signal, storage.signal]);
  const { relays, close } = relaysOf(config, keyring, clock);
  const sealer = await openSealer({
    ...{ keyring, outbox, clock, version: "test", folder: join(task.state, "journal") },
    newestElsewhere: askRelays(relays, { keyring, outbox, clock, signal: end }),
    clockTrusted: () => true,
    onPart: ({ clip, number }) => say(`part ${clip} ${number}`),
    onProblem: fail,
  });
  const still = { bytes: pattern(5000, 77), width: 640, height: 360, capturedUs: 5 };
  const delivery: DeliveryOptions = {
    ...{ relays, keyring, outbox, sealer, state: task.state, clock, logs, fail },
    onRelayed: ({ clip, number }) => say(`relayed ${clip} ${number}`),
    picture: async () => pictureOf(still, opening),
    openWindow: async () => [],
    alarm: async () => {},
    markErased: async () => {},
    onEnd: () => {},
  };
  const uplink = startUplink(delivery);
  const commands = await startCommands({
    ...delivery,
    uplink,
    push: nobodyTold,
    takeSetting: () => true,
  });
  say(`ready ${sealer.life.incarnation}`);

  const pause = (ms: number) => clock.sleep(ms, end).catch(() => {});
  const { fragments, paceMs, fragmentBytes: bytes } = task;
  for (let made = 0; made < task.clips && !end.aborted; made++) {
    await sealer.clip(recording(fragments, { bytes, paceMs })).catch(fail);
    await pause(10 * paceMs);
  }
  while (!end.aborted) {
    const waits = () =>
      uplink.status().some(({ failure, entries, clips }) => failure || entries + clips > 0);
    await uplink.idle(1000);
    if (!waits()) break;
    await pause(50);
  }
  if (!end.aborted) {
    say("sent");
    await once(end, "abort");
  }
  await commands.close();
  await uplink.close();
  await sealer.close();
  await outbox.close();
  close();
  if (storage.signal.aborted) throw storage.signal.reason;
}

/** Written at once, not when the event loop comes to it. */
function say(line: string): void {
  writeSync(1, `${line}\n`);
}

await main(JSON.parse(process.argv[2] ?? "{}"));
