import { setTimeout as wait } from "node:timers/promises";
import { nodeSuite } from "../../src/base/node/crypto.ts";
import { openHttp } from "../../src/base/node/http.ts";
import { toHex } from "../../src/base/pure/bytes.ts";
import { ManualClock } from "../../src/base/pure/clock.ts";
import { openKeyring } from "../../src/device/keyring.ts";
import { readJournal } from "../../src/phone/journal.ts";
import { addOutgoing, sendOutgoing } from "../../src/phone/outgoing.ts";
import { openRelay } from "../../src/phone/relay.ts";
import { survey } from "../../src/phone/survey.ts";
import { tend } from "../../src/phone/tend.ts";
import { random, sign, signPublicKey } from "../../src/protocol/sealed/sodium.ts";
import { encodeConfirmation } from "../../src/protocol/sealed/tombstone.ts";
import { openMailbox } from "../../src/protocol/wire/client.ts";
import { printName } from "../../src/protocol/wire/name.ts";
import { watched } from "./busy.ts";
import { startCamera } from "./commands.ts";
import type { Deceived, House } from "./deceived.ts";

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;

/** What is on its way while the relay lies: the names of two commands, the older first. */
export type Sent = {
  writer: string;
  names: readonly string[];
  asked: readonly Uint8Array[];
  /** How often each was sealed by now: anew where the camera was at work and did not mention it. */
  sealed(): number[];
};
export type Obeyed = Awaited<ReturnType<typeof openObeyed>>;

/** A camera that takes commands, and the phone that sends them, both over the liar. */
export async function openObeyed(world: Deceived) {
  const [door] = world.houses as [House];
  const { hostile, vault } = world;
  const camera = vault.content.cameras.find(({ name }) => name === door.name);
  if (!camera) throw new Error("no camera");
  const keyring = await openKeyring(door.state);
  const http = openHttp();
  const clock = new ManualClock();
  const { mailbox, pass } = watched(
    openMailbox({
      ...{ url: hostile.url, mailbox: keyring.adopted?.mailbox ?? new Uint8Array() },
      ...{ key: keyring.identity.request, sign: keyring.signRequest, suite: nodeSuite },
      ...{ nowMs: () => Date.now(), send: http.send },
    }),
  );
  const start = () => startCamera({ state: door.state }, { relays: [mailbox], clock });
  let running = await start();
  const before: Pick<typeof running, "done" | "problems"> = { done: [], problems: [] };
  const link = await openRelay(hostile.url, camera, { ...world.line, send: http.send });
  let nowMs = Date.now();
  const about = () => ({ link, vault, camera, suite: nodeSuite, nowMs });
  return {
    ...{ camera, link, hostile, door, line: { ...world.line, send: http.send } },
    get outbox() {
      return running.outbox;
    },
    /** Since the beginning, over its starts. */
    get done() {
      return [...before.done, ...running.done];
    },
    get problems() {
      return [...before.problems, ...running.problems];
    },
    async restart() {
      await running.stop();
      before.done.push(...running.done);
      before.problems.push(...running.problems);
      running = await start();
    },
    hour: () => pass(clock, hourMs, minuteMs),
    about,
    /** Puts two commands on their way; what they ask for does nothing but stand in the log. */
    async ask(): Promise<Sent> {
      const { phone, phoneKey } = vault.content;
      const by = { sign: (message: Uint8Array) => sign(phone, message), suite: nodeSuite };
      const asked = [1, 2].map(() => {
        const done = [{ clip: random(16), tombstone: random(32) }];
        const fields = { camera: camera.id, phone: phoneKey, atMs: nowMs, done };
        return encodeConfirmation(fields, by).bytes;
      });
      const items = asked.map((confirmation) =>
        addOutgoing(camera, { kind: "confirm", replaces: 0, confirmation }, nowMs),
      );
      const journal = await readJournal({ link, camera, suite: nodeSuite });
      await sendOutgoing({ ...about(), journal });
      const names = items.flatMap(({ sent }) => (sent ? [printName(sent.name)] : []));
      const sealed = () => items.map(({ numbers }) => numbers.length);
      return { names, asked, sealed, writer: toHex(signPublicKey(camera.request)) };
    },
    /** The phone looks, a quarter of an hour later, and does what is due. */
    async tend() {
      nowMs += 15 * minuteMs;
      const found = await survey({ link, vault, camera, suite: nodeSuite, depth: "new", nowMs });
      await tend({ ...about(), survey: found, size: { oneTime: 6, days: 4 } });
      return found;
    },
    /** Time passes for the camera until something is so; asked `every` so many steps. */
    async until(isSo: () => boolean | Promise<boolean>, every = 1): Promise<void> {
      for (let i = 0; i % every > 0 || !(await isSo()); i++) {
        if (i > 8000) throw new Error("it never came");
        // A long poll waits by the relay's clock, which nobody moves here.
        if (i % 200 === 199) hostile.cut();
        clock.advance(20_000);
        await wait(5);
      }
    },
    async [Symbol.asyncDispose]() {
      hostile.lie = undefined;
      await running.stop();
      http.close();
    },
  };
}
