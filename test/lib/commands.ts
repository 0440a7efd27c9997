import { join } from "node:path";
import * as assert from "uvu/assert";
import { ed25519Signer, nodeSuite } from "../../src/base/node/crypto.ts";
import type { Fault } from "../../src/base/node/durable.ts";
import { systemClock } from "../../src/base/node/time.ts";
import { equal } from "../../src/base/pure/bytes.ts";
import type { Clock } from "../../src/base/pure/clock.ts";
import { pictureOf } from "../../src/device/command/act.ts";
import {
  type CommandOptions,
  type Commands,
  openCommands,
} from "../../src/device/command/command.ts";
import { checkRemote, needsRestart } from "../../src/device/config.ts";
import { type Keyring, openKeyring } from "../../src/device/keyring.ts";
import { openUplink, type Uplink } from "../../src/device/uplink/uplink.ts";
import type { Action } from "../../src/protocol/sealed/action.ts";
import type { Command } from "../../src/protocol/sealed/command.ts";
import { sealCommand } from "../../src/protocol/sealed/command.ts";
import type { Sealed } from "../../src/protocol/sealed/sealed.ts";
import type { Mailbox } from "../../src/protocol/wire/client.ts";
import { all } from "./owner.ts";
import { pattern } from "./sealed.ts";
import { type Camera, makeCamera, type Running, startSealer } from "./sealing.ts";
import { quickFolder } from "./world.ts";

/** The phone of test/lib/owner.ts, and others by another seed. */
export const phoneOf = (seed = 0x77) => ed25519Signer(new Uint8Array(32).fill(seed));
/** The request key by which a phone has a box. */
export const writerOf = (seed = 0x77) => ed25519Signer(new Uint8Array(32).fill(seed + 2));

export type Obeying = Running & {
  commands: Commands;
  uplink: Uplink;
  keyring: Keyring;
  done: { action: string; refused?: string }[];
  endings: string[];
  problems: unknown[];
  /** Seals a command of a phone; the next number unless said. */
  seal(action: Action, change?: Partial<Command> & { seed?: number }): Sealed;
  /** Seals and hands it in; what the camera said of it: "done", why not, or "" for nothing. */
  ask(action: Action, change?: Partial<Command> & { seed?: number }): Promise<string>;
};

let numbers = 1000;

/** For tests that are not about who is told of visits. */
export const nobodyTold: CommandOptions["push"] = {
  ...{ key: async () => {}, subscribe: async () => {}, unsubscribe: async () => {} },
  ...{ test: async () => {}, follow: async () => {}, statements: () => [] },
};

/** What the service does with a state folder, up to the commands. */
export async function startCamera(
  camera: Pick<Camera, "state">,
  options: {
    relays?: readonly Mailbox[];
    clock?: Clock;
    picture?: () => Promise<Uint8Array>;
    openWindow?: CommandOptions["openWindow"];
    push?: CommandOptions["push"];
    alarm?: CommandOptions["alarm"];
    fault?: Fault;
    boxes?: string;
    outboxFault?: Fault;
    onCut?(): void;
  } = {},
): Promise<Obeying> {
  const { relays = [], clock = systemClock } = options;
  const keyring = await openKeyring(camera.state);
  const running = await startSealer(camera.state, {
    clock,
    ...(options.onCut ? { onCut: options.onCut } : {}),
    outboxFault: options.outboxFault,
  });
  const { sealer, outbox } = running;
  const all = relays.map((relay, i) => ({ url: `fake:${i}`, urgent: relay, patient: relay }));
  const uplink = openUplink({
    ...{ outbox, relays: all, camera: keyring.identity.camera, clock },
    signal: new AbortController().signal,
    incarnation: () => sealer.life.incarnation,
    onAhead: () => {},
    onFound: (entry) => outbox.put(entry),
    onGiven: async () => {},
  });
  const done: Obeying["done"] = [];
  const endings: string[] = [];
  const problems: unknown[] = [];
  const commands = await openCommands({
    ...{ sealer, outbox, keyring, relays: all, uplink, clock, fault: options.fault },
    folder: join(camera.state, "commands"),
    ...(options.boxes ? { boxes: options.boxes } : {}),
    checkSetting: async (name, value) => checkRemote(name, value),
    takeSetting: (name) => !needsRestart(name),
    picture: async () =>
      pictureOf(
        {
          bytes: (await options.picture?.()) ?? pattern(5000, 77),
          ...{ width: 640, height: 360, capturedUs: 5 },
        },
        {
          ...{ wallMs: 1, clockTrusted: true, fps: 15, camera: "test" },
          model: { id: "tiny", precision: "fp32" },
        },
      ),
    openWindow: options.openWindow ?? (async () => []),
    push: options.push ?? nobodyTold,
    alarm: options.alarm ?? (async () => {}),
    markErased: async () => void endings.push("marked"),
    onDone: (one) => void done.push(one),
    onEnd: (how) => void endings.push(how),
    onProblem: (failure) => void problems.push(failure),
  });
  const seal: Obeying["seal"] = (action, { seed = 0x77, ...change } = {}) => {
    numbers += 1;
    const phone = phoneOf(seed);
    const fields = {
      ...{ camera: keyring.identity.camera, incarnation: sealer.life.incarnation },
      ...{ phone: phone.publicKey, number: numbers, head: undefined, action },
    };
    return sealCommand({ ...fields, ...change }, keyring.receiving, {
      ...{ sign: phone.sign, suite: nodeSuite, writer: writerOf(seed).publicKey },
    });
  };
  return {
    ...running,
    ...{ commands, uplink, keyring, done, endings, problems, seal },
    async ask(action, change) {
      const before = done.length;
      await commands.take(seal(action, change).bytes);
      const said = done.slice(before).at(-1);
      return said ? (said.refused ?? "done") : "";
    },
    async stop() {
      await commands.close();
      await uplink.close();
      await running.stop();
    },
  };
}

/** A camera with an owner that obeys, and its folder; both are gone with `await using`. */
export async function commandWorld(options: Parameters<typeof startCamera>[1] = {}) {
  const home = await quickFolder();
  const camera = await makeCamera(home.path);
  const running = await startCamera(camera, options);
  return {
    ...{ home, camera, ...running },
    [Symbol.asyncDispose]: async () => {
      await running.stop();
      await home[Symbol.asyncDispose]();
    },
  };
}

/** One that the camera has just given out to its owner. */
export async function nonceOf(
  world: Awaited<ReturnType<typeof commandWorld>>,
): Promise<Uint8Array> {
  await world.ask({ kind: "ask", replaces: 0 });
  const lines = await world.camera.owner.readLog(world.camera.outbox);
  const [given] = all(lines, "nonce").slice(-1);
  assert.ok(given && equal(given.phone, phoneOf().publicKey));
  return given.nonce;
}
