/**
 * The push stage. In: what detection, recording and sealing say of a visit, what the alarm does, and which
 * parts lie at a relay. Out: one sealed pointer for each visit and subscriber, handed to a relay, which
 * posts it to a push service; when its first picture can be fetched, and not before. Nobody waits for
 * it, and nothing of it ends the service.
 */
import { randomBytes } from "node:crypto";
import type { Log } from "../../base/node/log.ts";
import { equal } from "../../base/pure/bytes.ts";
import { explain, Failure, isFailure } from "../../base/pure/failure.ts";
import type { Statement } from "../../protocol/sealed/body.ts";
import { type Membership, roleOf } from "../../protocol/sealed/membership.ts";
import type { Subscription } from "../../protocol/sealed/subscription.ts";
import { parseEndpoint } from "../../protocol/wire/push.ts";
import type { Recording } from "../record/record.ts";
import type { ServiceEvent } from "../report.ts";
import { add, type Visit, watchVisitors } from "../visit/visit.ts";
import { newKey, newSubscriber, openBook, type Subscriber } from "./book.ts";
import { type Line, type LineOptions, openLine, type TellingOptions } from "./line.ts";
import { Arrivals } from "./plan.ts";

export { pushSchema } from "./settings.ts";

/** What phones ask for (command.md); each says in the camera's log what came of it. */
export type Subscribers = {
  /** Says the camera's key at push services. */
  key(): Promise<void>;
  subscribe(phone: Uint8Array, subscription: Subscription): Promise<void>;
  unsubscribe(phone: Uint8Array, id: Uint8Array): Promise<void>;
  /** Sends a test message to each subscription of a phone; rejects with why it did not go. */
  test(phone: Uint8Array): Promise<void>;
  /** Who is no member any more is told nothing more. */
  follow(membership: Membership): Promise<void>;
  /** What a reader has to know that begins here (checkpoint.md). */
  statements(): Statement[];
};

export type Push = Subscribers & {
  /** A recording on its way to be sealed, which goes on unchanged. */
  watch<R extends Recording>(recording: R): R;
  event(event: ServiceEvent): void;
  /** What the camera's log is told of the alarm. */
  said(statement: Statement): void;
  /** What is being sent has a moment to arrive; what waits goes with the next start. */
  close(): Promise<void>;
};

export type PushOptions = TellingOptions & {
  state: string;
  /** Whether the state folder can be written. */
  isKept: boolean;
  membership: Membership | undefined;
  /** Adds to the camera's sealed log. */
  note(statement: Statement): Promise<void>;
  onProblem(error: unknown): void;
  logs(stage: string): Log;
};

const mostOfPhone = 4;
const mostSubscribers = 16;
const mostTestsAnHour = 20;
const hourUs = 3_600_000_000;

export async function openPush(options: PushOptions): Promise<Push> {
  const { state, isKept, clock, note, onProblem, relays } = options;
  const log = options.logs("push");
  const onDamage = (failure: Failure) =>
    log.error(`nobody is told any more, phones have to subscribe again: ${explain(failure)}`);
  const book = await openBook(state, { isKept, clock, onDamage });
  const arrivals = new Arrivals();
  const lines = new Map<Subscriber, Line>();
  let tests: number[] = [];

  const save = () => book.save().catch((error) => isFailure(error, "full") || onProblem(error));
  const tell = (what: "added" | "removed" | "gone", { phone, id, endpoint }: Subscriber) => {
    const { host, origin } = parseEndpoint(endpoint);
    const service = origin.slice(origin.indexOf(host));
    return { kind: "push", what, phone, id, service } as const;
  };
  const remove = async (one: Subscriber, what: "removed" | "gone") => {
    if (!book.subscribers.includes(one)) return;
    book.subscribers = book.subscribers.filter((other) => other !== one);
    // Not waited for: it may be the line itself that says so.
    void lines.get(one)?.close();
    lines.delete(one);
    await book.save();
    log.info(what === "gone" ? "a subscription is no more" : "a subscription was ended");
    await note(tell(what, one));
  };
  const sayKey = (publicKey: Uint8Array) => note({ kind: "push", what: "key", key: publicKey });
  const keyOf = async () => {
    if (book.key) return book.key;
    const key = newKey();
    book.key = key;
    await book.save().catch((error) => {
      book.key = undefined;
      throw error;
    });
    await sayKey(key.publicKey);
    return key;
  };
  const open = (subscriber: Subscriber) => {
    const about: LineOptions = {
      ...{ ...options, subscriber, save, log, arrivals, key: keyOf },
      onGone: () => remove(subscriber, "gone").catch(onProblem),
    };
    lines.set(subscriber, openLine(about));
  };
  const inform = (visit: Visit) => {
    if (book.subscribers.length === 0) return;
    for (const { tray } of book.subscribers) add(tray, visit);
    void save();
    for (const line of lines.values()) line.added(visit);
  };
  const visitors = watchVisitors({ onVisit: inform });
  const guarded = <T>(act: () => T, otherwise: T): T => {
    try {
      return act();
    } catch (error) {
      // A mistake of ours costs a message, never the camera a clip.
      log.error(explain(error));
      return otherwise;
    }
  };
  const follow = async (membership: Membership) => {
    for (const one of book.subscribers) {
      const role = roleOf(membership, one.phone);
      if (role !== "owner" && role !== "viewer") await remove(one, "removed");
    }
  };

  for (const subscriber of book.subscribers) open(subscriber);
  if (options.membership) await follow(options.membership).catch(onProblem);

  return {
    watch: (recording) => guarded(() => visitors.watch(recording), recording),
    event(event) {
      guarded(() => {
        if (event.event === "relayed") {
          arrivals.add(event.clip, event.number);
          for (const line of lines.values()) line.wake();
        }
        visitors.event(event);
        // A clip that is whole at a relay may be known to be so by its own word alone.
        if (event.event === "clip") for (const line of lines.values()) line.wake();
      }, undefined);
    },
    said(statement) {
      if (statement.kind !== "alarm" || statement.what !== "siren") return;
      inform({
        ...{ clip: randomBytes(16).toString("hex"), what: "alarm", atMs: clock.wallMs() },
        ...{ clockTrusted: options.clockTrusted(), persons: undefined, picture: undefined },
        refusals: 0,
      });
    },
    async key() {
      if (book.key) await sayKey(book.key.publicKey);
      else await keyOf();
    },
    async subscribe(phone, subscription) {
      if (relays.length === 0) {
        throw new Failure("refused", "this camera has no relay to hand messages on");
      }
      const own = book.subscribers.filter((one) => equal(one.phone, phone));
      const isSame = (one: Subscriber) =>
        equal(one.id, subscription.id) || one.endpoint === subscription.endpoint;
      const old = own.filter(isSame);
      if (book.subscribers.some((one) => equal(one.id, subscription.id) && !own.includes(one))) {
        throw new Failure("refused", "a subscription of another phone has this id");
      }
      if (own.length - old.length >= mostOfPhone) {
        throw new Failure("full", `${mostOfPhone} subscriptions of this phone are here already`);
      }
      if (book.subscribers.length - old.length >= mostSubscribers) {
        throw new Failure("full", `${mostSubscribers} subscriptions are here already`);
      }
      const again = old.find((one) => equal(one.id, subscription.id));
      // Carried out again after a kill it is the same, and its numbers go on.
      const subscriber = {
        ...newSubscriber({ ...subscription, phone }),
        number: again?.number ?? 0,
      };
      await keyOf();
      const before = book.subscribers;
      book.subscribers = [...before.filter((one) => !old.includes(one)), subscriber];
      await book.save().catch((error) => {
        book.subscribers = before;
        throw error;
      });
      for (const one of old) {
        const line = lines.get(one);
        lines.delete(one);
        await line?.close();
      }
      for (const one of old) if (one !== again) await note(tell("removed", one));
      await note(tell("added", subscriber));
      log.info("a phone is told of visits from now on");
      open(subscriber);
    },
    async unsubscribe(phone, id) {
      const one = book.subscribers.find((all) => equal(all.id, id) && equal(all.phone, phone));
      if (one) await remove(one, "removed");
    },
    async test(phone) {
      const nowUs = clock.monotonicUs();
      tests = tests.filter((atUs) => nowUs - atUs < hourUs);
      if (tests.length >= mostTestsAnHour) throw new Failure("full", "too many tests in this hour");
      tests.push(nowUs);
      const own = book.subscribers.filter((one) => equal(one.phone, phone));
      if (own.length === 0) throw new Failure("absent", "this phone has no subscription here");
      await Promise.all(own.map((one) => lines.get(one)?.test()));
    },
    follow,
    statements: () => [
      ...(book.key ? [{ kind: "push", what: "key", key: book.key.publicKey } as const] : []),
      ...book.subscribers.map((one) => tell("added", one)),
    ],
    async close() {
      await Promise.all([...lines.values()].map((line) => line.close()));
      if (book.subscribers.length > 0) await save();
      await book.close();
    },
  };
}
