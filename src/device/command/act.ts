import { randomBytes } from "node:crypto";
import { nodeSuite } from "../../base/node/crypto.ts";
import { equal, fromHex, toHex } from "../../base/pure/bytes.ts";
import type { Clock } from "../../base/pure/clock.ts";
import { Failure } from "../../base/pure/failure.ts";
import type { Action } from "../../protocol/sealed/action.ts";
import { verifyCheckpoint } from "../../protocol/sealed/checkpoint.ts";
import type { Address } from "../../protocol/sealed/invite.ts";
import { roleOf } from "../../protocol/sealed/membership.ts";
import { verifyConfirmation, verifyTombstone } from "../../protocol/sealed/tombstone.ts";
import { decodeEntry } from "../../protocol/wire/entry.ts";
import type { Keyring } from "../keyring.ts";
import type { Outbox } from "../outbox/outbox.ts";
import type { Subscribers } from "../push/push.ts";
import type { Recording, Sealer } from "../seal/seal.ts";
import type { Asked, Memory } from "./memory.ts";

/** What carrying out takes of the rest of the camera. */
export type Hands = {
  keyring(): Keyring;
  /** The keyring that came of what was carried out. */
  taken(keyring: Keyring): void;
  sealer: Sealer;
  outbox: Outbox;
  memory: Memory;
  clock: Clock;
  /** Takes a clip away at the relays that answer soon; the others go on with it. */
  removeAtRelays(clip: string, incarnation: number): Promise<void>;
  /** One picture of now, as a recording without video (command.md). Throws Failure "gone" without a camera. */
  picture(): Promise<Recording>;
  /** Who is told of visits by push services. */
  push: Subscribers;
  /**
   * Opens a window for pairing under a secret, in place of one that is open; resolves to where it listens.
   * Throws Failure "busy" when another program pairs here.
   */
  openWindow(secret: Uint8Array): Promise<readonly Address[]>;
  /** Arms or disarms the alarm; noted when it resolves. Throws Failure "refused" without one. */
  alarm(order: Extract<Action, { kind: "alarm" }>["order"]): Promise<void>;
  /** Checks a setting's YAML and returns it as JSON; throws Failure "misuse". */
  checkSetting(name: string, value: string): Promise<string>;
  /** Takes a setting that is kept; false when it is in force from the next start on. */
  takeSetting(name: string, value: string): boolean | Promise<boolean>;
  /** Nonces that were given out, for `gate`. */
  giveNonce(phone: Uint8Array): Uint8Array;
  /** From here on the camera is to be erased: durable when it resolves. */
  markErased(): Promise<void>;
};

const mostLives = 16;

/** What has to happen when the command is finished. */
export type After = "nothing" | "restart" | "erase";

/**
 * Carries out one command that was admitted. Each may be done again from its beginning: a kill at any
 * step costs at most a second entry that says the same. Throws a Failure that says why it was refused.
 */
export async function act({ phone, number, action }: Asked, hands: Hands): Promise<After> {
  const { sealer, memory } = hands;
  switch (action.kind) {
    case "tombstone":
      await bury(action.tombstone, hands);
      return "nothing";
    case "supply": {
      const keyring = await hands.keyring().resupply(action.supply, sealer.life);
      hands.taken(keyring);
      if (keyring.adopted) await sealer.resupply(keyring.adopted);
      return "nothing";
    }
    case "membership": {
      const keyring = await hands.keyring().follow(action.list);
      hands.taken(keyring);
      if (keyring.adopted) {
        await sealer.follow(keyring.adopted);
        await hands.push.follow(keyring.adopted.membership);
      }
      return "nothing";
    }
    case "setting": {
      const value = await hands.checkSetting(action.name, action.value);
      const kept = { value, version: action.replaces + 1 };
      const { name } = action;
      await memory.set(name, kept);
      await sealer.note({ kind: "setting", name, ...kept });
      return (await hands.takeSetting(name, value)) ? "nothing" : "restart";
    }
    case "confirm": {
      const { confirmation } = action;
      verifyConfirmation(confirmation, cameraOf(hands), nodeSuite);
      await sealer.note({ kind: "tombstone-confirmed", confirmation });
      return "nothing";
    }
    case "checkpoint":
      await checkpoint(action.checkpoint, hands);
      return "nothing";
    case "ask":
      await sealer.note({ kind: "nonce", phone, number, nonce: hands.giveNonce(phone) });
      return "nothing";
    case "snapshot": {
      await sealer.note({ kind: "watched", phone, how: "snapshot", state: "started" });
      const { clip } = await sealer.clip(await hands.picture());
      const of = { clip: fromHex(clip) };
      await sealer.note({ kind: "watched", phone, how: "snapshot", state: "ended", ...of });
      return "nothing";
    }
    case "window": {
      const addresses = await hands.openWindow(action.secret);
      await sealer.note({ kind: "window", phone, number, addresses: [...addresses] });
      return "nothing";
    }
    case "push-key":
      await hands.push.key();
      return "nothing";
    case "subscribe":
      await hands.push.subscribe(phone, action.subscription);
      return "nothing";
    case "unsubscribe":
      await hands.push.unsubscribe(phone, action.id);
      return "nothing";
    case "push-test":
      await hands.push.test(phone);
      return "nothing";
    case "alarm":
      await hands.alarm(action.order);
      return "nothing";
    case "erase":
      await hands.markErased();
      return "erase";
    case "live":
    case "talk":
      throw new Failure("refused", "this camera shows no live picture yet", { stage: "action" });
  }
}

/** Tombstone: gone here, then at the relays, then said. */
async function bury(bytes: Uint8Array, hands: Hands): Promise<void> {
  const { sealer, outbox, memory } = hands;
  const tombstone = verifyTombstone(bytes, cameraOf(hands), nodeSuite);
  const members = hands.keyring().adopted?.membership;
  if (!members || roleOf(members, tombstone.phone) !== "owner") {
    throw new Failure("refused", "a tombstone that no owner signed", { stage: "owner" });
  }
  const clip = toHex(tombstone.clip);
  const lose = async () => {
    const there = outbox.clips().find((one) => one.clip === clip);
    // Of one that is gone here nobody knows which life of the camera it was of.
    const all = outbox.entries().map((one) => one.incarnation);
    const incarnations = there ? [there.incarnation] : [...new Set(all)].slice(-mostLives);
    // Durable first: what is gone here and not there would be forgotten by a kill in between.
    for (const incarnation of incarnations) await memory.remove(clip, incarnation);
    if (there) await outbox.lose([{ clip, parts: there.parts }]);
    return incarnations;
  };
  const isOpen = outbox.clips().some((one) => one.clip === clip && one.isOpen);
  const incarnations = isOpen ? await sealer.between(lose) : await lose();
  const removing = incarnations.map((incarnation) => hands.removeAtRelays(clip, incarnation));
  await Promise.all(removing);
  await sealer.note({ kind: "tombstone-done", tombstone: bytes });
}

/** Checkpoint: held against the log, quoted in it, then what it stands for is let go. */
async function checkpoint(bytes: Uint8Array, hands: Hands): Promise<void> {
  const { sealer, outbox, memory } = hands;
  const of = verifyCheckpoint(bytes, cameraOf(hands), nodeSuite);
  const { phone, incarnation, sequence, hash, list } = of;
  const members = hands.keyring().adopted?.membership;
  if (!members || roleOf(members, phone) !== "owner") {
    throw new Failure("refused", "a checkpoint that no owner signed", { stage: "owner" });
  }
  if (!equal(members.hash, list)) {
    throw new Failure("refused", "a checkpoint under another member list", { stage: "list" });
  }
  const name = outbox.entries().find((one) => equal(one.hash, hash));
  if (name?.sequence !== sequence || name.incarnation !== incarnation) {
    throw new Failure("refused", "a checkpoint of an entry that is not in this log", {
      stage: "head",
    });
  }
  const entry = decodeEntry(await outbox.read(name), nodeSuite);
  if (!entry.stanzas) {
    throw new Failure("refused", "a checkpoint of an entry that opens no epoch", {
      stage: "epoch",
    });
  }
  const settings = Object.entries(memory.settings).map(
    ([called, kept]) => ({ kind: "setting", name: called, ...kept }) as const,
  );
  await sealer.checkpoint(bytes, { sequence, hash }, [...settings, ...hands.push.statements()]);
}

function cameraOf(hands: Hands): Uint8Array {
  return hands.keyring().identity.camera;
}

/** A recording that holds one picture and no video. */
export function pictureOf(
  jpeg: { bytes: Uint8Array; width: number; height: number; capturedUs: number },
  about: Pick<Recording["opening"], "wallMs" | "clockTrusted" | "fps" | "model"> & {
    camera?: string;
  },
): Recording {
  const { bytes, width, height, capturedUs } = jpeg;
  const incident = randomBytes(16).toString("hex");
  async function* pieces() {
    yield { kind: "thumbnail" as const, bytes, what: "frame" as const, width, height, capturedUs };
    const nothing = { thinned: [], tracks: [], mostPersons: 0, bestScore: 0 };
    const closing = { endUs: capturedUs, durationMs: 0, frames: 0, ...nothing };
    yield { kind: "closing" as const, closing: { ...closing, reason: "ended" as const } };
  }
  const opening = { ...about, incident, startUs: capturedUs, width, height, zones: [] };
  return { incident, opening: { ...opening, preRollMs: 0 }, pieces: pieces() };
}
