import { setImmediate as turn } from "node:timers/promises";
import { ManualClock } from "../../src/base/pure/clock.ts";
import type { Loss, Outbox } from "../../src/device/outbox/outbox.ts";
import { type Head, openUplink, type Uplink } from "../../src/device/uplink/uplink.ts";
import { toFileName } from "../../src/protocol/wire/name.ts";
import type { FakeRelay } from "./mailbox.ts";
import { type Camera, makeCamera, recording, startSealer } from "./sealing.ts";
import { quickFolder } from "./world.ts";

export type Sending = {
  uplink: Uplink;
  clock: ManualClock;
  relayed: { clip: string; number: number; relay: number }[];
  ahead: Head[];
  given: Loss[];
  states: string[];
  /** What the board is connected to. */
  network: { routes: string };
  /** Lets time go by in steps, and everybody do what they then do. */
  pass(ms: number, stepMs?: number): Promise<void>;
} & AsyncDisposable;

/** An uplink whose time stands still unless it is told to move. */
export function startUplink(
  camera: Camera,
  outbox: Outbox,
  relays: readonly FakeRelay[],
  { incarnation = 1, random = 0.5 } = {},
): Sending {
  const clock = new ManualClock();
  const sending = {
    ...{ clock, relayed: [], ahead: [], given: [], states: [], network: { routes: "eth0" } },
  } as unknown as Sending;
  sending.uplink = openUplink({
    outbox: { ...outbox, read: (name) => reading(outbox.read(name)) },
    camera: camera.keyring.identity.camera,
    relays: relays.map((relay, i) => ({ url: `fake:${i}`, urgent: relay, patient: relay })),
    incarnation: () => incarnation,
    clock,
    signal: new AbortController().signal,
    random: () => random,
    routes: async () => sending.network.routes,
    onRelayed: (part) => void sending.relayed.push(part),
    onAhead: (head) => void sending.ahead.push(head),
    onFound: (entry) => outbox.put(entry),
    onGiven: async (losses) => void sending.given.push(...losses),
    onState: ({ text }) => void sending.states.push(text),
  });
  sending.pass = async (ms, stepMs = ms) => {
    for (let passed = 0; passed < ms; passed += stepMs) {
      clock.advance(Math.min(stepMs, ms - passed));
      await settle(relays);
    }
  };
  sending[Symbol.asyncDispose] = () => sending.uplink.close();
  return sending;
}

let reads = 0;

async function reading<T>(read: Promise<T>): Promise<T> {
  reads += 1;
  return await read.finally(() => {
    reads -= 1;
  });
}

/** Until no relay was asked for anything for a while, and nothing is being read. */
export async function settle(relays: readonly FakeRelay[], rounds = 12): Promise<void> {
  const count = () => relays.reduce((sum, { requests }) => sum + requests, 0);
  for (let quiet = 0, before = count(); quiet < rounds; ) {
    await turn();
    quiet = count() === before && reads === 0 ? quiet + 1 : 0;
    before = count();
  }
}

/** What the outbox holds, as a relay names it. */
export function namesOf(outbox: Outbox): string[] {
  const parts = outbox.clips().flatMap(({ clip }) => outbox.parts(clip));
  return [...outbox.entries(), ...parts]
    .map((name) => toFileName(name).replaceAll(".", "/"))
    .concat("beacon")
    .sort();
}

/** A camera that has sealed so many clips. */
export async function makeWorld({ clips = 2, fragments = 6 } = {}) {
  const home = await quickFolder();
  const camera = await makeCamera(home.path);
  const running = await startSealer(home.path);
  for (let i = 0; i < clips; i++) await running.sealer.clip(recording(fragments));
  return {
    ...{ home, camera, ...running },
    clips: () => running.outbox.clips().map(({ clip }) => clip),
    [Symbol.asyncDispose]: async () => {
      await running.stop();
      await home[Symbol.asyncDispose]();
    },
  };
}
