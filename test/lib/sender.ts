import { writeSync } from "node:fs";
import { systemClock } from "../../src/base/node/time.ts";
import { openKeyring } from "../../src/device/keyring.ts";
import { openRelays, openUplink } from "../../src/device/uplink/uplink.ts";
import { recording, startSealer } from "./sealing.ts";

export type SenderTask = { state: string; url: string; clips: number; kbitPerS?: number };

/** The process of a kill test: seals clips and sends them to a relay, until all is there. */
async function main({ state, url, clips, kbitPerS = 0 }: SenderTask): Promise<void> {
  const keyring = await openKeyring(state);
  const { adopted, identity, signRequest } = keyring;
  if (!adopted) throw new Error("not adopted");
  const { relays, close } = openRelays({
    ...{ urls: [url], mailbox: adopted.mailbox, key: identity.request, sign: signRequest },
    ...{ kbitPerS, clock: systemClock },
  });
  const { sealer, outbox, stop } = await startSealer(state, {
    onPart: ({ clip, number }) => say(`part ${clip} ${number}`),
  });
  const uplink = openUplink({
    ...{ outbox, relays, camera: identity.camera, clock: systemClock },
    signal: new AbortController().signal,
    incarnation: () => sealer.life.incarnation,
    onRelayed: ({ clip, number }) => say(`relayed ${clip} ${number}`),
    onAhead: () => say("ahead"),
    onFound: (entry) => outbox.put(entry),
    onGiven: async () => say("given"),
  });
  say("ready");
  for (let i = 0; i < clips; i++) {
    await sealer.clip(recording(8, { bytes: 60_000, paceMs: 10 }));
  }
  await uplink.idle(30_000);
  await uplink.close();
  await stop();
  close();
  say("done");
}

/** Written at once, not when the event loop comes to it. */
function say(line: string): void {
  writeSync(1, `${line}\n`);
}

await main(JSON.parse(process.argv[2] ?? "{}"));
