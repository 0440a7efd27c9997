import type { ServerResponse } from "node:http";
import { type Board, type Kept, mostEvents } from "./board.ts";

// Server-sent events: each subscriber has a bounded buffer, and who does not read is cut off.

export type StreamOptions = {
  board: Board;
  /** Subscribers at once. */
  most: number;
  /** What may wait for one of them, besides what the kernel holds. */
  mostBytes: number;
  /** Between two signs of life, in which what waits has to get on. */
  tickMs: number;
  isGood(token: string): Promise<boolean>;
  onCutOff(): void;
};

export type Stream = {
  readonly count: number;
  isFull(): boolean;
  /** Goes on with an answer whose head is written. */
  subscribe(response: ServerResponse, who: { token: string; lastId: string | undefined }): void;
  close(): void;
};

const lines = (event: string, data: unknown, id?: string) =>
  `event: ${event}\n${id === undefined ? "" : `id: ${id}\n`}data: ${JSON.stringify(data)}\n\n`;
const told = ({ kind, event, id }: Kept) => lines(kind, event, id);
/** Events that wait to be told again, of both kinds, and those that come meanwhile. */
const mostBehind = 4 * mostEvents;
/** They hold what `visit` and `alarm` say. */
const doubles = ["last_event", "last_alarm"];

export function openStream(options: StreamOptions): Stream {
  const { board, most, mostBytes, tickMs, isGood, onCutOff } = options;
  type Subscriber = { token: string; tick(): void; end(): void };
  const all = new Set<Subscriber>();

  const timer = setInterval(() => {
    for (const one of all) {
      one.tick();
      // Of a token that cannot be looked for nobody knows that it is good.
      isGood(one.token).then(
        (good) => good || one.end(),
        () => one.end(),
      );
    }
  }, tickMs);
  timer.unref();

  return {
    get count() {
      return all.size;
    },
    isFull: () => all.size >= most,
    subscribe(response, { token, lastId }) {
      // Of a pipeline whose turn has not come only the connection says that it is over.
      const { socket } = response.req;
      // Who went while the token was looked for is heard of no more.
      if (socket.destroyed) return void response.destroy();
      socket.setKeepAlive(true, tickMs);
      const leave = () => {
        if (!all.delete(subscriber)) return false;
        stop();
        for (const one of [response, socket]) one.removeListener("close", leave);
        return true;
      };
      /** What had not left at the last sign of life; undefined when nothing waited. */
      let waited: number | undefined;
      let written = 0;
      const cut = () => {
        if (!leave()) return;
        onCutOff();
        response.destroy();
      };
      /** Whether more may come at once. */
      const write = (text: string): boolean => {
        if (!all.has(subscriber)) return false;
        const bytes = Buffer.from(text);
        if (response.writableLength + bytes.length > mostBytes) {
          cut();
          return false;
        }
        written += bytes.length;
        return response.write(bytes);
      };
      /** Events that are still to be told, as fast as they are taken: all that are kept may be more than may wait. */
      let behind: readonly Kept[] = [];
      const catchUp = () => {
        while (behind.length > 0) {
          const [next, ...rest] = behind;
          behind = rest;
          if (next && !write(told(next))) return;
        }
      };
      const subscriber: Subscriber = {
        token,
        tick() {
          const left = written - response.writableLength;
          if (response.writableLength > 0 && waited === left) return cut();
          waited = response.writableLength > 0 ? left : undefined;
          write(": still here\n\n");
        },
        end() {
          leave();
          response.end();
        },
      };
      const stop = board.listen({
        change(change) {
          if (!doubles.includes(change.name)) write(lines("state", change));
        },
        event(kept) {
          if (behind.length === 0) write(told(kept));
          else if (behind.length < mostBehind) behind = [...behind, kept];
          else cut();
        },
      });
      response.on("drain", catchUp);
      for (const one of [response, socket]) one.on("close", leave);
      all.add(subscriber);
      write(`retry: 3000\n\n${lines("states", board.read())}`);
      if (lastId !== undefined) {
        const { events, isShort } = board.after(lastId);
        if (isShort) write(lines("gap", { after: lastId }));
        behind = events;
        catchUp();
      }
    },
    close() {
      clearInterval(timer);
      for (const one of all) one.end();
    },
  };
}
