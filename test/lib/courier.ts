import { writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { systemClock } from "../../src/base/node/time.ts";
import type { Clock } from "../../src/base/pure/clock.ts";
import { openKeyring } from "../../src/device/keyring.ts";
import { openRelays, openUplink } from "../../src/device/uplink/uplink.ts";
import { recording, startSealer } from "./sealing.ts";

export type SenderTask = {
  state: string;
  url: string;
  clips: number;
  fragments: number;
  /** What its wall clock is wrong by. */
  aheadMs: number;
  /** How long it goes on at most when all is sealed and not all is sent. */
  lingerMs: number;
};

/** The process of a kill test: a camera that seals and sends, and says what is durable where. */
async function main({
  state,
  url,
  clips,
  fragments,
  aheadMs,
  lingerMs,
}: SenderTask): Promise<void> {
  const clock: Clock = {
    monotonicUs: () => systemClock.monotonicUs(),
    wallMs: () => systemClock.wallMs() + aheadMs,
    sleep: (ms, signal) => systemClock.sleep(ms, signal),
  };
  const { sealer, outbox, stop } = await startSealer(state, {
    clock,
    onPart: ({ clip, number }) => say(`part ${clip} ${number}`),
  });
  const { adopted, identity, signRequest } = await openKeyring(state);
  if (!adopted) throw new Error("no owner");
  const { relays, close } = openRelays({
    ...{ urls: [url], mailbox: adopted.mailbox, key: identity.request, sign: signRequest },
    ...{ kbitPerS: 0, clock },
  });
  const uplink = openUplink({
    ...{ outbox, camera: identity.camera, relays, incarnation: () => 1, clock },
    signal: new AbortController().signal,
    routes: async () => "eth0",
    onRelayed: ({ clip, number }) => say(`relayed ${clip} ${number}`),
    onAhead: () => say("ahead"),
    onFound: (entry) => outbox.put(entry),
    onGiven: async () => {},
  });
  say("ready");
  for (let i = 0; i < clips; i++) {
    await sealer.clip(recording(fragments, { bytes: 30_000, paceMs: 15 }));
  }
  const startMs = performance.now();
  const waits = () => uplink.status().some((one) => one.entries + one.clips > 0);
  // The first comparison takes a moment; until then nothing is known to wait.
  for (let quiet = 0; quiet < 3 && performance.now() - startMs < lingerMs; ) {
    await sleep(60);
    quiet = waits() ? 0 : quiet + 1;
  }
  say(waits() ? "waiting" : "sent");
  await uplink.close();
  close();
  await stop();
}

/** Written at once, not when the event loop comes to it. */
function say(line: string): void {
  writeSync(1, `${line}\n`);
}

await main(JSON.parse(process.argv[2] ?? "{}"));
