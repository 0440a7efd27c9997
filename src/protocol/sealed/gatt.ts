import { toHex } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import type { Stream } from "./frames.ts";

// A stream of bytes over Bluetooth LE, which carries a few hundred of them at a time. Specification: gatt.md.

export const serviceId = "5e1f0b5c-0000-4b1d-9c3a-0b5c07a00001";
/** The phone writes here. */
export const writeId = "5e1f0b5c-0000-4b1d-9c3a-0b5c07a00002";
/** The phone reads here what the camera says. */
export const readId = "5e1f0b5c-0000-4b1d-9c3a-0b5c07a00003";

/** What is held for a reader that is slow; a phone that waits for answers is held up instead. */
export const heldBytes = 64 * 1024;
/** How long a read waits for something to be said. */
export const readMs = 2000;
/** Of every connection, before the two ends have agreed on more. */
const leastMtu = 23;
/** Of a value, whatever the connection carries: 512 by the standard; BlueZ counts its handle too. */
const valueBytes = 510;
const longestValue = 512;
/** Of a write, in front of the value; of a read's answer that needs no second read, too. */
const headBytes = 3;

/** Under which name the camera of this identity is heard. */
export function radioName(identity: Uint8Array): string {
  return `obscura-${toHex(identity).slice(0, 4)}`;
}

/** What a connection carries at once, of what it says of its MTU. */
export function roomOf(mtu: unknown): number {
  const said = typeof mtu === "number" ? Math.floor(mtu) || 0 : 0;
  return Math.min(valueBytes, Math.max(leastMtu, said) - headBytes);
}

export type LinkOptions = Pick<Stream, "after"> & {
  /** Called once, when this end or the other has ended it. */
  onEnd(): void;
};
export type Link = Stream & {
  /**
   * What the phone wrote. Resolves when it may write more: once there is room. Throws Failure "full"
   * when it did not wait for that, which ends the link, and "gone" when it is over.
   */
  take(piece: Uint8Array): Promise<void>;
  /** The next bytes for the phone, at most `room`; none when nothing was said in `readMs`. */
  give(room: number): Promise<Uint8Array>;
};

/** The camera's end of one connection. A `write` resolves when all of it was read. */
export function openLink({ onEnd, after }: LinkOptions): Link {
  const held: Uint8Array[] = [];
  const sayings: { rest: Uint8Array; said(): void }[] = [];
  const waiting: (() => void)[] = [];
  let [bytes, isOver] = [0, false];
  const wake = () => {
    for (const act of waiting.splice(0)) act();
  };
  /** Until something changes. */
  const change = () => new Promise<void>((resolve) => void waiting.push(resolve));
  const gone = () => new Failure("gone", "the link is over");
  const close = () => {
    if (isOver) return;
    isOver = true;
    wake();
    onEnd();
  };
  async function* chunks(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const next = held.shift();
      if (next) {
        bytes -= next.length;
        wake();
        yield next;
      } else if (isOver) return;
      else await change();
    }
  }
  return {
    ...{ chunks: chunks(), close, after },
    async take(piece) {
      if (isOver) throw gone();
      if (piece.length > longestValue || bytes > 2 * heldBytes) {
        close();
        throw new Failure("full", "more than was asked for");
      }
      if (piece.length === 0) return;
      held.push(piece);
      bytes += piece.length;
      wake();
      while (bytes > heldBytes && !isOver) await change();
    },
    async give(room) {
      let isLate = false;
      const cancel = after(readMs, () => {
        isLate = true;
        wake();
      });
      while (sayings.length === 0 && !isOver && !isLate) await change();
      cancel();
      if (isOver) throw gone();
      const [first] = sayings;
      if (!first) return new Uint8Array();
      const piece = first.rest.slice(0, room);
      first.rest = first.rest.subarray(room);
      if (first.rest.length === 0) {
        sayings.shift();
        first.said();
      }
      return piece;
    },
    async write(message) {
      if (isOver) throw gone();
      let isSaid = false;
      const said = () => {
        isSaid = true;
        wake();
      };
      sayings.push({ rest: message, said });
      wake();
      while (!isSaid && !isOver) await change();
      if (!isSaid) throw gone();
    },
  };
}
