import { createECDH, type ECDH } from "node:crypto";
import { nodeSuite } from "../../src/base/node/crypto.ts";
import { openLog } from "../../src/base/node/log.ts";
import { systemClock } from "../../src/base/node/time.ts";
import { fromHex } from "../../src/base/pure/bytes.ts";
import type { Clock } from "../../src/base/pure/clock.ts";
import { openKeyring } from "../../src/device/keyring.ts";
import { openPush, type Push, type PushOptions } from "../../src/device/push/push.ts";
import type { Statement } from "../../src/protocol/sealed/body.ts";
import {
  openPointer,
  type Pointer,
  type PointerHolder,
} from "../../src/protocol/sealed/pointer.ts";
import { kemPair, random, ready } from "../../src/protocol/sealed/sodium.ts";
import type { Subscription } from "../../src/protocol/sealed/subscription.ts";
import type { PushMessage } from "../../src/protocol/wire/push.ts";
import { phoneOf } from "./commands.ts";
import { openBody } from "./ece.ts";
import { FakeRelay } from "./mailbox.ts";
import { type Mailed, openMailed, type VisitOptions } from "./mailed.ts";

// A camera that seals made-up visits and tells subscribers of them, by relays in memory.

await ready();

export type Browser = {
  curve: ECDH;
  holder: PointerHolder;
  subscription: Subscription;
  phone: Uint8Array;
  /** What came, opened as a browser and then a phone do it. */
  read(message: Pick<PushMessage, "body">): Pointer;
};

/** Somebody's phone with a browser, as far as a camera knows it. The camera's owner unless said. */
export function browserAt(endpoint: string, camera: Uint8Array, seed = 0x77): Browser {
  const curve = createECDH("prime256v1");
  const p256dh = new Uint8Array(curve.generateKeys());
  const [auth, id, pair] = [random(16), random(16), kemPair()];
  const phone = phoneOf(seed).publicKey;
  const holder = { camera, phone, subscription: id, pair };
  return {
    ...{ phone, curve, holder },
    subscription: { id, key: pair.publicKey, p256dh, auth, endpoint },
    read({ body }) {
      const opened = openPointer(openBody(body, curve, auth), [holder], nodeSuite);
      if (!opened) throw new Error("it is for somebody else");
      return opened.pointer;
    },
  };
}

export type Pushing = {
  mailed: Mailed;
  camera: Uint8Array;
  relays: FakeRelay[];
  notes: Statement[];
  faults: Map<string, string>;
  whole: Set<string>;
  log(): string;
  problems: unknown[];
  open(more?: Partial<PushOptions>): Promise<Push>;
  /** A visit whose parts lie at a relay at once unless `isAway`; its clip. */
  visit(push: Push, options?: VisitOptions & { isAway?: boolean }): Promise<string>;
  /** Says that the first parts of a clip lie at a relay. */
  relayed(push: Push, clip: string, parts?: number): void;
  [Symbol.asyncDispose](): Promise<void>;
};

export async function openPushing({
  clock = systemClock,
  relays: count = 1,
}: {
  clock?: Clock;
  relays?: number;
} = {}): Promise<Pushing> {
  const mailed = await openMailed({ clock });
  const keyring = await openKeyring(mailed.state);
  const { camera } = keyring.identity;
  const relays = Array.from({ length: count }, () => new FakeRelay());
  const notes: Statement[] = [];
  const faults = new Map<string, string>();
  const whole = new Set<string>();
  const problems: unknown[] = [];
  const opened: Push[] = [];
  let log = "";
  const relayed = (push: Push, clip: string, parts = 8) => {
    for (let number = 0; number < parts; number++) {
      push.event({ event: "relayed", clip, number, atUs: 1, relay: 0 });
    }
  };
  return {
    ...{ mailed, camera, relays, notes, faults, whole, problems, relayed },
    log: () => log,
    async open(more = {}) {
      const push = await openPush({
        config: { name: "Porch", push: { perHour: 20, contact: "mailto:camera@example.org" } },
        ...{ state: mailed.state, isKept: true, camera, sign: keyring.sign, clock },
        ...{ membership: keyring.adopted?.membership, incarnation: () => 1 },
        relays: relays.map((urgent) => ({ urgent })),
        uplink: { holds: (clip) => whole.has(clip) },
        health: {
          fault: (about, text) => void (text ? faults.set(about, text) : faults.delete(about)),
        },
        note: async (statement) => void notes.push(statement),
        onProblem: (error) => problems.push(error),
        clockTrusted: () => true,
        logs: (stage) =>
          openLog(stage, "debug", (line) => {
            log += line;
          }),
        random: () => 0.5,
        ...more,
      });
      mailed.join(push);
      opened.push(push);
      return push;
    },
    async visit(push, { isAway = false, ...options } = {}) {
      const clip = await mailed.visit(push, options);
      if (!isAway) relayed(push, clip);
      return clip;
    },
    async [Symbol.asyncDispose]() {
      for (const push of opened) await push.close();
      await mailed[Symbol.asyncDispose]();
    },
  };
}

export const clipOf = (text: string): Uint8Array => fromHex(text);
