import { nodeSuite } from "../../base/node/crypto.ts";
import type { Log } from "../../base/node/log.ts";
import type { Clock } from "../../base/pure/clock.ts";
import { explain, Failure, isFailure } from "../../base/pure/failure.ts";
import { pointerLifeMs } from "../../protocol/sealed/pointer.ts";
import type { Verdict } from "../../protocol/wire/push.ts";
import type { Sign } from "../../protocol/wire/signature.ts";
import { Backoff, type Relay, type Uplink } from "../uplink/uplink.ts";
import { hourUs, openTeller, type Visit } from "../visit/visit.ts";
import { type Book, idOf, type Subscriber } from "./book.ts";
import { compose, type News, newsOf } from "./message.ts";
import { type Arrivals, next, type Plan, settle } from "./plan.ts";
import type { PushSettings } from "./settings.ts";

/** One subscriber, who is told of what waits for them. */
export type Line = {
  /** Something lies at a relay that may be waited for. */
  wake(): void;
  /** A visit was put into the tray just now. */
  added(visit: Visit): void;
  /** Sends a test message at once; rejects with why it did not go. */
  test(): Promise<void>;
  close(): Promise<void>;
};

/** What telling takes of the rest of the camera. */
export type TellingOptions = {
  config: { name: string; push: PushSettings };
  camera: Uint8Array;
  sign: Sign;
  incarnation(): number;
  relays: readonly Pick<Relay, "urgent">[];
  uplink: Pick<Uplink, "holds">;
  health: { fault(about: string, text?: string): void };
  clock: Clock;
  clockTrusted(): boolean;
  /** For tests. */
  random?: () => number;
};

export type LineOptions = TellingOptions & {
  subscriber: Subscriber;
  arrivals: Arrivals;
  key(): Promise<NonNullable<Book["key"]>>;
  save(): Promise<unknown>;
  /** The push service does not know the subscription any more. */
  onGone(): Promise<unknown>;
  log: Log;
};

const mostBackoffMs = 10 * 60_000;
const testMs = 30_000;

export function openLine(options: LineOptions): Line {
  const { subscriber, config, relays, uplink, arrivals, clock, health, log, save } = options;
  const { random = Math.random } = options;
  const { tray } = subscriber;
  const { perHour } = config.push;
  const about = `push ${idOf(subscriber).slice(0, 8)}`;
  const backoff = new Backoff({ clock, random, mostMs: mostBackoffMs });
  const end = new AbortController();
  /** By visit: since when it is known here, and its message, which is sent again as it was. */
  const sinceUs = new Map<string, number>();
  const composed = new Map<string, Uint8Array>();
  let told = "";
  let failingUs: number | undefined;
  /** The service's own word, which may be more patience than the back-off has. */
  let notBeforeUs = 0;

  const now = clock.monotonicUs();
  for (const { clip, atMs, clockTrusted } of tray.visits) {
    const ageMs = clock.wallMs() - atMs;
    // Of what was kept over a stop only the wall's clock knows how old it is, if it was set.
    const isKnown = clockTrusted && ageMs >= 0 && ageMs < pointerLifeMs;
    sinceUs.set(clip, isKnown ? now - ageMs * 1000 : Number.NEGATIVE_INFINITY);
  }
  const isOld = ({ clip }: Visit) =>
    clock.monotonicUs() - (sinceUs.get(clip) ?? 0) > pointerLifeMs * 1000;
  const isThere = (visit: Visit) =>
    visit.what === "alarm" || arrivals.has(visit) || uplink.holds(visit.clip);

  const write = async (news: News): Promise<Uint8Array> => {
    subscriber.number += 1;
    // Durable before it leaves: no two messages have one number.
    await save();
    return await compose(news, {
      ...{ subscriber, key: await options.key(), contact: config.push.contact, name: config.name },
      ...{ camera: options.camera, incarnation: options.incarnation() },
      by: { sign: options.sign, suite: nodeSuite },
    });
  };
  /** By the first relay that does it. */
  const hand = async (message: Uint8Array, signal: AbortSignal): Promise<Verdict> => {
    let failure: unknown = new Failure("offline", "there is no relay to hand messages on");
    for (const { urgent } of relays) {
      try {
        return await urgent.push(message, { signal });
      } catch (error) {
        if (signal.aborted || !isFailure(error)) throw error;
        failure = error;
      }
    }
    throw failure;
  };
  const complain = (failure: Failure, isOwners: boolean) => {
    failingUs ??= clock.monotonicUs();
    const text = explain(failure);
    if (text !== told) log.warn(text);
    told = text;
    // What may pass by itself is no fault; what does not pass for an hour is.
    const isLong = clock.monotonicUs() - failingUs > hourUs;
    health.fault(about, isOwners || isLong ? `a phone is not told of visits: ${text}` : undefined);
  };
  const settled = async (visit: Visit, verdict: Verdict) => {
    if (verdict.kind === "gone") {
      health.fault(about);
      await options.onGone();
    } else if (verdict.kind === "accepted") {
      settle(tray, visit, clock.monotonicUs());
      backoff.worked();
      health.fault(about);
      if (told !== "") log.info("messages go out again");
      [told, failingUs] = ["", undefined];
      log.info("told", { waiting: tray.visits.length });
    } else if (verdict.kind === "later") {
      const failure = wait(verdict.seconds);
      notBeforeUs = clock.monotonicUs() + verdict.seconds * 1_000_000;
      backoff.failed(failure);
      complain(failure, false);
    } else {
      const failure = refusal(verdict.status);
      // What is signed by a clock that is not set may be taken when it is.
      composed.delete(visit.clip);
      if (options.clockTrusted()) settle(tray, visit, undefined);
      backoff.failed(failure);
      complain(failure, options.clockTrusted());
    }
  };
  const act = async ({ visit }: Plan & { kind: "message" }, cut: AbortSignal) => {
    try {
      const message = composed.get(visit.clip) ?? (await write(newsOf(visit)));
      composed.set(visit.clip, message);
      await settled(visit, await hand(message, AbortSignal.any([cut, end.signal])));
    } catch (error) {
      if (cut.aborted || end.signal.aborted) return;
      if (!isFailure(error)) {
        // What cannot be made now cannot be made later.
        settle(tray, visit, undefined);
        log.error(`a message could not be made: ${explain(error)}`);
        return;
      }
      backoff.failed(error);
      complain(error, !isFailure(error, "offline", "stalled", "gone"));
    }
    await save();
  };
  const teller = openTeller<Plan>({
    ...{ clock, backoff, log, act },
    decide: () => {
      const nowUs = clock.monotonicUs();
      const plan = next(tray, { nowUs, perHour, isThere, isOld });
      const waiting = new Set(tray.visits.map(({ clip }) => clip));
      for (const known of [sinceUs, composed]) {
        for (const clip of known.keys()) if (!waiting.has(clip)) known.delete(clip);
      }
      const isEarly = plan.kind === "message" && nowUs < notBeforeUs;
      return isEarly ? { kind: "wait", untilUs: notBeforeUs } : plan;
    },
  });
  return {
    wake: teller.wake,
    added({ clip }) {
      sinceUs.set(clip, clock.monotonicUs());
      teller.wake();
    },
    async test() {
      const enough = new AbortController();
      const late = AbortSignal.any([enough.signal, end.signal]);
      const reason = new Failure("gone", "no answer in time");
      clock.sleep(testMs, late).then(
        () => enough.abort(reason),
        () => {},
      );
      try {
        const time = { wallMs: Math.max(0, clock.wallMs()), clockTrusted: options.clockTrusted() };
        const nothing = { clip: undefined, picture: undefined, persons: undefined };
        const message = await write({ what: "test", ...time, ...nothing });
        const verdict = await hand(message, late);
        if (verdict.kind === "accepted") return;
        if (verdict.kind === "later") throw wait(verdict.seconds);
        if (verdict.kind === "refused") throw refusal(verdict.status);
        await options.onGone();
        throw new Failure("absent", "the push service does not know this subscription any more");
      } finally {
        enough.abort();
      }
    },
    async close() {
      await teller.close();
      end.abort(new Failure("gone", "the subscription ends"));
      health.fault(about);
    },
  };
}

function wait(seconds: number): Failure {
  const asked = seconds > 0 ? { retryAfterMs: seconds * 1000 } : {};
  return new Failure("gone", "the push service takes nothing at present", asked);
}

function refusal(status: number): Failure {
  return new Failure("refused", `the push service refuses the message (${status})`, {
    stage: "service",
    hint: "Subscribe again, with the key of this camera: obscura-phone push key",
  });
}
