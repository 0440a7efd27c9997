import { ed25519Signer, nodeSuite } from "../../base/node/crypto.ts";
import type { Log } from "../../base/node/log.ts";
import { toHex } from "../../base/pure/bytes.ts";
import type { Clock } from "../../base/pure/clock.ts";
import { explain } from "../../base/pure/failure.ts";
import { guestSeed, type LensCode, sealKnock, type Wifi } from "../../protocol/sealed/lens.ts";
import { openMeeting } from "../../protocol/sealed/meeting.ts";
import { openMailbox, type Send } from "../../protocol/wire/client.ts";
import { mailboxOf } from "../../protocol/wire/name.ts";
import type { Camera } from "../camera/camera.ts";
import { watchForCode } from "./eye.ts";
import type { Pairing } from "./host.ts";

// Pairing through the lens, the camera's end: protocol/sealed/lens.md.

/** Who has the camera's pictures. */
export type Eye = Pick<Camera, "frames" | "close">;

export type LensOptions = {
  readonly pairing: Pick<Pairing, "identity" | "serve" | "outcome" | "remainingMs">;
  /** Opens the camera; it is closed again as soon as a code was read. */
  open(signal: AbortSignal): Promise<Eye>;
  readonly send: Send;
  readonly clock: Clock;
  readonly log: Log;
  /** Ends when the window does. */
  readonly signal: AbortSignal;
  /** Joins the network that the code names; a failure is said, and the eye looks on. */
  join(wifi: Wifi): Promise<void>;
};

/** How long a phone may take to hear why it is not served. */
const clearMs = 20_000;

/**
 * While the window is open: looks for a code, goes where it says, and serves whoever made it. What
 * comes to nothing is said, and the next code looked for; a code is used once. Rejects when the
 * camera cannot be opened.
 */
export async function openLens(options: LensOptions): Promise<void> {
  const { pairing, log, signal, join } = options;
  const used = new Set<string>();
  while (!signal.aborted) {
    const code = await look(options, used);
    if (!code) return;
    try {
      if (code.wifi) await join(code.wifi);
      await meet(code, options);
    } catch (error) {
      log.warn(`a code was read, and nobody was met: ${explain(error)}`);
    } finally {
      code.secret.fill(0);
    }
    if (pairing.remainingMs() <= 0) return;
  }
}

async function look(
  { open, log, signal }: LensOptions,
  used: Set<string>,
): Promise<LensCode | undefined> {
  const camera = await open(signal);
  try {
    const isWanted = ({ phone }: LensCode) => !used.has(toHex(phone));
    const code = await watchForCode(camera.frames, { log, signal, isWanted });
    // The phone's key is as fresh as the secret, and is none.
    if (code) used.add(toHex(code.phone));
    return code;
  } finally {
    await camera.close();
  }
}

async function meet(code: LensCode, { pairing, send, clock, log }: LensOptions): Promise<void> {
  const { sign, publicKey: own } = ed25519Signer(guestSeed(code.secret));
  const mailbox = openMailbox({
    ...{
      url: code.relay,
      mailbox: mailboxOf(code.root, nodeSuite),
      key: own,
      sign,
      suite: nodeSuite,
      send,
    },
    nowMs: () => clock.wallMs(),
  });
  const meeting = openMeeting({
    ...{ mailbox, own, other: code.root, suite: nodeSuite },
    ...{ nowMs: () => clock.monotonicUs() / 1000, sleep: (ms) => clock.sleep(ms) },
  });
  log.info("a code was read; its phone is asked", { relay: code.relay });
  try {
    await meeting.send(sealKnock(code, pairing.identity));
    await pairing.serve({
      ...{ pipe: meeting, from: "lens", admit() {} },
      code: { secret: code.secret, phone: code.phone },
    });
  } finally {
    // Who spoke last leaves it there until it was heard: after a success that is the phone.
    const isOver = await Promise.race([pairing.outcome.then(() => true), clock.sleep(0)]);
    await (isOver ? undefined : meeting.cleared(clearMs).catch(() => {}));
    meeting.close();
    await meeting.clear().catch((error) => log.debug(explain(error)));
  }
}
