import { concat } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";

// Messages over a stream of bytes. Specification: session.md, "Transport".

export type Wanted = {
  /** The longest message that is taken. */
  mostBytes: number;
  /** How long the whole of it may take. */
  withinMs: number;
};

/** Whole messages between two ends, over whatever carries them. */
export type Pipe = {
  /** Resolves when the transport has taken it; throws Failure "gone" or "stalled". */
  send(message: Uint8Array): Promise<void>;
  /**
   * The next message; undefined when the other end has closed. Throws Failure "corrupt" (stage
   * "length"), "stalled" when it is not there in time, "gone" when the connection broke.
   */
  receive(wanted: Wanted): Promise<Uint8Array | undefined>;
  /** Ends it at once, from every state; what waits then throws. */
  close(): void;
};

/** A connection as the platform has it. */
export type Stream = {
  readonly chunks: AsyncIterable<Uint8Array>;
  /** Resolves when there is room for more. */
  write(bytes: Uint8Array): Promise<void>;
  close(): void;
  /** Calls `act` after `ms`, unless what it returns is called before. */
  after(ms: number, act: () => void): () => void;
};

export const longestMessage = 65_535;
const sendMs = 60_000;

/** Each message behind its length in 16 bits. Holds no more than one message and one chunk. */
export function openFrames(stream: Stream): Pipe {
  const chunks = stream.chunks[Symbol.asyncIterator]();
  let held: Uint8Array = new Uint8Array();
  let isClosed = false;
  const close = () => {
    isClosed = true;
    stream.close();
  };

  const next = async (): Promise<Uint8Array | undefined> => {
    const step = await chunks.next().catch((cause) => {
      throw new Failure("gone", "the connection broke", { cause });
    });
    return step.done ? undefined : step.value;
  };

  /** True when `count` bytes are held; false when the stream ended before one of them came. */
  const hold = async (count: number): Promise<boolean> => {
    const pieces = [held];
    let bytes = held.length;
    while (bytes < count) {
      const chunk = await next();
      if (!chunk) {
        if (bytes === 0) return false;
        throw new Failure("gone", "the connection ended within a message");
      }
      pieces.push(chunk);
      bytes += chunk.length;
    }
    if (pieces.length > 1) held = concat(pieces);
    return true;
  };

  const read = async (mostBytes: number): Promise<Uint8Array | undefined> => {
    if (!(await hold(2))) return undefined;
    const length = ((held[0] ?? 0) << 8) | (held[1] ?? 0);
    if (length === 0 || length > mostBytes) {
      const text = `a message of ${length} bytes where at most ${mostBytes} were expected`;
      throw new Failure("corrupt", text, { stage: "length" });
    }
    await hold(2 + length);
    const message = held.slice(2, 2 + length);
    held = held.slice(2 + length);
    return message;
  };

  /** Whatever does not end in time ends the connection. */
  const within = async <T>(ms: number, what: string, act: Promise<T>): Promise<T> => {
    let isLate = false;
    const cancel = stream.after(ms, () => {
      isLate = true;
      close();
    });
    const late = () => new Failure("stalled", `the other end did not ${what} in time`);
    try {
      const result = await act;
      if (isLate) throw late();
      return result;
    } catch (error) {
      throw isLate ? late() : error;
    } finally {
      cancel();
    }
  };

  return {
    async send(message) {
      if (isClosed) throw new Failure("gone", "the connection is closed");
      if (message.length === 0 || message.length > longestMessage) {
        throw new Failure("misuse", `a message of ${message.length} bytes`);
      }
      const { length } = message;
      const frame = concat([Uint8Array.of(length >> 8, length & 255), message]);
      const written = stream.write(frame).catch((cause) => {
        throw new Failure("gone", "the connection broke", { cause });
      });
      await within(sendMs, "take a message", written);
    },
    async receive({ mostBytes, withinMs }) {
      if (isClosed) throw new Failure("gone", "the connection is closed");
      return await within(withinMs, "say anything", read(mostBytes));
    },
    close,
  };
}
