import { fromText, Reader, toText, Writer } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import { inviteSecretBytes } from "./invite.ts";
import { subscriptionBytes } from "./pointer.ts";
import { sizes } from "./sodium.ts";
import { encodeSubscription, readSubscription, type Subscription } from "./subscription.ts";

// What a command asks for. Specification: command.md.

export const commandNonceBytes = 16;
/** What an action may hold at most; a supply that is larger goes in several batches. */
export const actionBytes: number = 900 * 1024;
const settingNameBytes = 64;
const settingValueBytes = 16 * 1024;

/** The settings that an owner may change from afar (command.md). */
export const settingNames: readonly string[] = [
  "name",
  "privacy",
  "camera.rotate",
  "camera.flip",
  "camera.masks",
  "detect.threshold",
  "detect.zones",
  "record.preRollS",
  "record.postRollS",
  "relay.urls",
  "relay.kbitPerS",
];

/** What of the alarm may be asked for from afar, in the order of their numbers, from 1. */
export const alarmOrders = ["arm_home", "arm_away", "disarm"] as const;

type Fleeting = { nonce: Uint8Array }; // 16 bytes, given out by the camera under 30 s ago
type Lasting = { replaces: number }; // the version that it takes the place of

export type Action =
  /** Shows the live picture, sealed to the viewer's ephemeral X-Wing key. */
  | ({ kind: "live"; viewer: Uint8Array } & Fleeting)
  /** As live, and lets the viewer be heard. */
  | ({ kind: "talk"; viewer: Uint8Array } & Fleeting)
  | ({ kind: "snapshot" } & Fleeting)
  /** Opens a window for pairing under this secret (invite.md, 32 bytes); the log says where. */
  | ({ kind: "window"; secret: Uint8Array } & Fleeting)
  /** Arms the alarm of the house, or disarms it. */
  | ({ kind: "alarm"; order: (typeof alarmOrders)[number] } & Fleeting)
  /** One setting, as YAML text of the configuration's schema. */
  | ({ kind: "setting"; name: string; value: string } & Lasting)
  /** The next member list (membership.md). */
  | ({ kind: "membership"; list: Uint8Array } & Lasting)
  /** Deletes one clip: every phone destroys what opens it (tombstone.md). */
  | ({ kind: "tombstone"; tombstone: Uint8Array } & Lasting)
  /** More keys (supply.md); `replaces` is the batch before. */
  | ({ kind: "supply"; supply: Uint8Array } & Lasting)
  /** Forgets everything and returns to the state of a new board; `replaces` the member list. */
  | ({ kind: "erase" } & Lasting)
  /** Asks for the nonce that a fleeting command has to quote; the log answers. `replaces` is 0. */
  | ({ kind: "ask" } & Lasting)
  /** What opened these clips is destroyed on this phone: a confirmation (tombstone.md). */
  | ({ kind: "confirm"; confirmation: Uint8Array } & Lasting)
  /** A signed head that stands for all entries up to it (checkpoint.md). */
  | ({ kind: "checkpoint"; checkpoint: Uint8Array } & Lasting)
  /** Asks for the camera's key at push services; the log answers. `replaces` is 0, as of those below. */
  | ({ kind: "push-key" } & Lasting)
  /** Has this phone told of visits; one with its id takes the place of that. */
  | ({ kind: "subscribe"; subscription: Subscription } & Lasting)
  | ({ kind: "unsubscribe"; id: Uint8Array } & Lasting)
  /** Has a test message sent to each subscription of this phone. */
  | ({ kind: "push-test" } & Fleeting);

/** Numbers from 128 on may be skipped by a camera that does not know them. */
const numbers = {
  live: 1,
  talk: 2,
  snapshot: 3,
  setting: 4,
  membership: 5,
  tombstone: 6,
  supply: 7,
  erase: 8,
  ask: 9,
  confirm: 10,
  checkpoint: 11,
  window: 12,
  "push-key": 13,
  subscribe: 14,
  unsubscribe: 15,
  "push-test": 16,
  alarm: 17,
} as const satisfies Record<Action["kind"], number>;

export function encodeAction(action: Action): { kind: number; bytes: Uint8Array } {
  const writer = new Writer();
  if ("nonce" in action) writer.raw(action.nonce);
  else writer.u32(action.replaces);
  switch (action.kind) {
    case "live":
    case "talk":
      writer.raw(action.viewer);
      break;
    case "window":
      writer.raw(action.secret);
      break;
    case "alarm":
      writer.u8(alarmOrders.indexOf(action.order) + 1);
      break;
    case "snapshot":
    case "erase":
    case "ask":
    case "push-key":
    case "push-test":
      break;
    case "subscribe":
      writer.raw(encodeSubscription(action.subscription));
      break;
    case "unsubscribe":
      writer.raw(action.id);
      break;
    case "setting":
      writer.bytes16(fromText(action.name)).bytes16(fromText(action.value));
      break;
    case "membership":
      writer.raw(action.list);
      break;
    case "tombstone":
      writer.raw(action.tombstone);
      break;
    case "supply":
      writer.raw(action.supply);
      break;
    case "confirm":
      writer.raw(action.confirmation);
      break;
    case "checkpoint":
      writer.raw(action.checkpoint);
      break;
  }
  return { kind: numbers[action.kind], bytes: writer.done() };
}

export function decodeAction(number: number, bytes: Uint8Array): Action {
  const reader = new Reader(bytes, "command");
  const action = readAction(number, reader);
  reader.end();
  return action;
}

function readAction(number: number, reader: Reader): Action {
  const nonce = () => ({ nonce: reader.take(commandNonceBytes) });
  const lasting = () => ({ replaces: reader.u32() });
  const rest = () => reader.take(reader.remaining);
  switch (number) {
    case numbers.live:
      return { kind: "live", ...nonce(), viewer: reader.take(sizes.kemPublicKey) };
    case numbers.talk:
      return { kind: "talk", ...nonce(), viewer: reader.take(sizes.kemPublicKey) };
    case numbers.snapshot:
      return { kind: "snapshot", ...nonce() };
    case numbers.window:
      return { kind: "window", ...nonce(), secret: reader.take(inviteSecretBytes) };
    case numbers.alarm:
      return { kind: "alarm", ...nonce(), order: orderOf(reader.u8()) };
    case numbers.setting:
      return {
        kind: "setting",
        ...lasting(),
        name: toText(reader.bytes16(settingNameBytes)),
        value: toText(reader.bytes16(settingValueBytes)),
      };
    case numbers.membership:
      return { kind: "membership", ...lasting(), list: rest() };
    case numbers.tombstone:
      return { kind: "tombstone", ...lasting(), tombstone: rest() };
    case numbers.supply:
      return { kind: "supply", ...lasting(), supply: rest() };
    case numbers.erase:
      return { kind: "erase", ...lasting() };
    case numbers.ask:
      return { kind: "ask", ...lasting() };
    case numbers.confirm:
      return { kind: "confirm", ...lasting(), confirmation: rest() };
    case numbers.checkpoint:
      return { kind: "checkpoint", ...lasting(), checkpoint: rest() };
    case numbers["push-key"]:
      return { kind: "push-key", ...lasting() };
    case numbers.subscribe:
      return { kind: "subscribe", ...lasting(), subscription: readSubscription(reader) };
    case numbers.unsubscribe:
      return { kind: "unsubscribe", ...lasting(), id: reader.take(subscriptionBytes) };
    case numbers["push-test"]:
      return { kind: "push-test", ...nonce() };
    default:
      throw new Failure("refused", `a command of kind ${number}`, {
        stage: number < 128 ? "action" : "skipped",
        hint: "Update this program",
      });
  }
}

function orderOf(number: number): (typeof alarmOrders)[number] {
  const order = alarmOrders[number - 1];
  if (order) return order;
  throw new Failure("refused", `an order ${number} for the alarm`, {
    stage: "action",
    hint: "Update this program",
  });
}
