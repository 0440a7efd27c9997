import { equal, toHex } from "../../base/pure/bytes.ts";
import { Failure, isFailure } from "../../base/pure/failure.ts";
import type { Mailbox } from "../wire/client.ts";
import { type Name, printName } from "../wire/name.ts";
import { digest, type Suite } from "../wire/signature.ts";
import { longestMessage, type Pipe } from "./frames.ts";

// Messages between two ends that cannot reach one another, over boxes of a mailbox that both can.
// Specification: lens.md, "Meeting".

export type MeetingOptions = {
  /** By this end's key. */
  readonly mailbox: Mailbox;
  /** Public request keys: each end writes into the box of its own. */
  readonly own: Uint8Array;
  readonly other: Uint8Array;
  readonly suite: Suite;
  /** Any clock that runs on. */
  nowMs(): number;
  sleep(ms: number): Promise<void>;
};
export type Meeting = Pipe & {
  /** Takes away what this end has written. */
  clear(): Promise<void>;
  /** Resolves true when nothing of the other end lies there any more, false after `withinMs`. */
  cleared(withinMs: number): Promise<boolean>;
};

const mostMessages = 65_536;
const sendMs = 20_000;
const longestWaitMs = 30_000;
const pauseMs = 1000;

type Box = Extract<Name, { kind: "box" }>;

/**
 * One end of a meeting that has not begun: both boxes are empty. What is lost on the way is sent and
 * asked for again until the time is over; a message that is not the next one is refused (`order`).
 */
export function openMeeting(options: MeetingOptions): Meeting {
  const { mailbox, own, other, suite, nowMs, sleep } = options;
  const under = `box/${toHex(other)}/`;
  const written: Box[] = [];
  let after = "";
  let expected = 0;
  let isClosed = false;

  /** Until it goes well, something else than the network fails, or the time is over. */
  const insist = async <T>(untilMs: number, act: () => Promise<T>): Promise<T> => {
    for (;;) {
      if (isClosed) throw new Failure("gone", "the meeting is over");
      try {
        return await act();
      } catch (error) {
        if (!isFailure(error, "gone", "offline") || nowMs() + pauseMs >= untilMs) throw error;
      }
      await sleep(pauseMs);
    }
  };

  /** What came next, or undefined when nothing did in the time. */
  const look = async (untilMs: number): Promise<{ name: Box; bytes: number } | undefined> => {
    for (;;) {
      const askedMs = nowMs();
      const waitMs = Math.min(longestWaitMs, untilMs - askedMs);
      if (waitMs <= 0) return undefined;
      const [next] = await insist(untilMs, () => mailbox.list({ under, after, limit: 1, waitMs }));
      if (next?.name.kind === "box") return { name: next.name, bytes: next.bytes };
      // A relay may answer at once all the time.
      if (nowMs() - askedMs < pauseMs) await sleep(pauseMs);
    }
  };

  return {
    async send(message) {
      if (message.length === 0 || message.length > longestMessage) {
        throw new Failure("misuse", `a message of ${message.length} bytes`);
      }
      if (written.length >= mostMessages) throw new Failure("full", "too many messages");
      const hash = digest(suite, message);
      const name: Box = { kind: "box", writer: own, sequence: written.length, hash };
      written.push(name);
      const bytes = message.slice();
      await insist(nowMs() + sendMs, () => mailbox.put({ name, bytes }));
    },
    async receive({ mostBytes, withinMs }) {
      const untilMs = nowMs() + withinMs;
      const next = await look(untilMs);
      if (!next) throw new Failure("stalled", "the other end did not say anything in time");
      const { name } = next;
      if (name.sequence !== expected || !equal(name.writer, other)) {
        throw refuse("order", "a message that is not the next one");
      }
      const tooLong = () => refuse("length", `a message longer than ${mostBytes} bytes`);
      if (next.bytes > mostBytes) throw tooLong();
      const bytes = await insist(untilMs, () => mailbox.get(name));
      if (!bytes) throw new Failure("gone", "a message was taken away");
      if (bytes.length === 0 || bytes.length > mostBytes) throw tooLong();
      expected += 1;
      after = printName(name);
      return bytes;
    },
    close() {
      isClosed = true;
    },
    async clear() {
      for (const name of written.splice(0)) await mailbox.remove(name);
    },
    async cleared(withinMs) {
      const untilMs = nowMs() + withinMs;
      for (;;) {
        const left = await mailbox.list({ under, limit: 1 });
        if (left.length === 0) return true;
        if (nowMs() + pauseMs >= untilMs) return false;
        await sleep(pauseMs);
      }
    },
  };
}

function refuse(stage: string, text: string): Failure {
  return new Failure("corrupt", text, { stage });
}
