import { Failure } from "../base/pure/failure.ts";
import {
  guestSeed,
  knockBytes,
  type LensCode,
  openKnock,
  phoneName,
  printLens,
  type Wifi,
} from "../protocol/sealed/lens.ts";
import { type Meeting, openMeeting } from "../protocol/sealed/meeting.ts";
import { exchangePair, random, sign, signPublicKey, wipe } from "../protocol/sealed/sodium.ts";
import { type Mailbox, openMailbox } from "../protocol/wire/client.ts";
import { encodeDoorList } from "../protocol/wire/door.ts";
import { mailboxOf } from "../protocol/wire/name.ts";
import { type Paired, type PairOptions, pairCamera } from "./pair.ts";
import type { Line } from "./relay.ts";
import type { Vault } from "./vault.ts";

// Pairing through the lens, the phone's end: protocol/sealed/lens.md.

export type LensOptions = Omit<PairOptions, "pipe" | "invite" | "own" | "root"> & {
  /** Where the two meet, and the camera's clips go. The first of `relays` unless given. */
  readonly relay: string;
  readonly wifi?: Wifi;
  readonly line: Line;
  /** For the camera to see the code. */
  readonly waitMs: number;
  /** Shows the code's text, in capitals. The mailbox is open when it is called. */
  show(text: string): Promise<void>;
  /** A camera has read it. */
  onKnock?(): void;
};

/** How long what the camera wrote may still lie there before this end takes its own away. */
const clearMs = 30_000;

/**
 * Shows a code and becomes the owner of the camera that reads it first. Throws as `pairCamera`;
 * "stalled" when none did in `waitMs`, and what the relay says when the mailbox cannot be opened.
 */
export async function pairByLens(vault: Vault, options: LensOptions): Promise<Paired> {
  const { relay, wifi, line, waitMs, show, onKnock, suite } = options;
  const [root, secret, own] = [random(32), random(32), exchangePair()];
  const code: LensCode = {
    ...{ secret, phone: phoneName(own.publicKey), root: signPublicKey(root), relay },
    ...(wifi ? { wifi } : {}),
  };
  const text = printLens(code);
  const guest = signPublicKey(guestSeed(secret));
  const bySodium = (message: Uint8Array) => sign(root, message);
  const byRoot = line.signer?.(root) ?? bySodium;
  const mailbox = openMailbox({
    ...{ url: relay, mailbox: mailboxOf(code.root, suite), key: code.root, sign: byRoot, suite },
    ...{ send: line.send, nowMs: () => line.nowMs() },
  });
  await openDoor(mailbox, code.root, guest, { sign: byRoot, suite });
  const meeting = openMeeting({
    ...{ mailbox, own: code.root, other: guest, suite },
    ...{ nowMs: () => line.nowMs(), sleep: (ms) => line.sleep(ms) },
  });
  try {
    await show(text);
    const identity = await awaitKnock(meeting, code, waitMs);
    onKnock?.();
    const invite = { identity, secret, addresses: [] };
    const paired = await pairCamera(vault, { ...options, pipe: meeting, invite, own, root });
    await meeting.cleared(clearMs).catch(() => false);
    return paired;
  } finally {
    meeting.close();
    wipe(secret, own.secret);
    // What stays when this fails is sealed, and nobody's.
    await meeting.clear().catch(() => {});
  }
}

async function openDoor(
  mailbox: Mailbox,
  root: Uint8Array,
  guest: Uint8Array,
  by: Parameters<typeof encodeDoorList>[1],
): Promise<void> {
  const doors = [{ key: guest, rights: new Set(["read", "box"] as const) }];
  const { bytes } = encodeDoorList({ root, version: 1, minimumAgeMs: 0, doors }, by);
  await mailbox.put({ name: { kind: "door" }, bytes });
}

async function awaitKnock(meeting: Meeting, code: LensCode, withinMs: number): Promise<Uint8Array> {
  const knock = await meeting.receive({ mostBytes: knockBytes, withinMs });
  if (!knock) throw new Failure("gone", "the meeting ended");
  return openKnock(code, knock);
}
