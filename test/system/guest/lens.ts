import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { openLog } from "../../../src/base/node/log.ts";
import { systemClock } from "../../../src/base/node/time.ts";
import { toHex } from "../../../src/base/pure/bytes.ts";
import { type CameraOptions, openCamera } from "../../../src/device/camera/camera.ts";
import { watchForCode } from "../../../src/device/pairing/eye.ts";
import { ready } from "../../../src/protocol/sealed/sodium.ts";

/** Looks through a real driver at codes that are shown in turn, until each was read or time is over. */
export type Order = {
  camera: Pick<CameraOptions, "source" | "format" | "width" | "height">;
  player: string[];
  /** Phones of the codes, in hexadecimal. */
  phones: string[];
  forMs: number;
};
export type Read = { phones: string[]; seconds: number };

const results = process.env.BOARD_RESULTS ?? "/results";
const order = JSON.parse(readFileSync(`${results}/order.json`, "utf8")) as Order;
await ready();
const player = spawn(process.execPath, order.player, { stdio: ["ignore", "inherit", "inherit"] });
const over = new AbortController();
const late = setTimeout(() => over.abort(), order.forMs);

/** It is no capture device until somebody writes to it. */
async function open(): ReturnType<typeof openCamera> {
  for (;;) {
    try {
      const source = { ...order.camera, slabBytes: 24 << 20 };
      return await openCamera({ ...source, clock: systemClock, signal: over.signal });
    } catch (error) {
      if (over.signal.aborted) throw error;
      await wait(300);
    }
  }
}

const startMs = performance.now();
const camera = await open();
const found = new Set<string>();
await watchForCode(camera.frames, {
  ...{ log: openLog("lens", "debug"), signal: over.signal },
  isWanted({ phone }) {
    found.add(toHex(phone));
    return order.phones.every((one) => found.has(one));
  },
}).catch((error) => {
  if (!over.signal.aborted) throw error;
});
clearTimeout(late);
await camera.close();
player.kill("SIGKILL");
const read: Read = { phones: [...found], seconds: (performance.now() - startMs) / 1000 };
writeFileSync(`${results}/read.json`, JSON.stringify(read));
