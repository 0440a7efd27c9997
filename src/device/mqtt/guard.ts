import { Failure } from "../../base/pure/failure.ts";

/** What of MQTT's packets this camera has any use for, of a broker that may be hostile. */
const publish = 3;
const puback = 4;
/** Reasons: "packet too large" is none that a PUBACK may have, "quota exceeded" is. */
const [tooLarge, overQuota] = [0x95, 0x97];
/** CONNACK, PUBLISH, PUBACK, SUBACK, UNSUBACK, PINGRESP, DISCONNECT. */
const expected: readonly number[] = [2, publish, 4, 9, 11, 13, 14];

/**
 * Looks at what a broker sends before it is taken in: only the kinds of packets that can come to who
 * subscribes with QoS 0, each of at most `mostBytes`, at most `mostPackets` in ten seconds. Throws
 * Failure "refused"; the connection is to be ended then. Mosquitto (`message_size_limit`) says "packet too
 * large" of a single message, which the client takes for garbage: it is changed, in place, into a word that
 * MQTT has for that.
 */
export function createGuard(options: {
  mostBytes: number;
  mostPackets: number;
  nowUs(): number;
}): (chunk: Uint8Array) => void {
  const { mostBytes, mostPackets, nowUs } = options;
  const refuse = (what: string) => new Failure("refused", `the broker sends ${what}`);
  let kind = 0;
  let length = 0;
  let left = 0; // bytes of the packet under way that are still to come
  let head: { length: number; scale: number } | undefined; // inside its length field
  let count = 0;
  let sinceUs = nowUs();

  const begin = (byte: number) => {
    const now = nowUs();
    if (now - sinceUs >= 10_000_000) {
      count = 0;
      sinceUs = now;
    }
    count += 1;
    if (count > mostPackets) throw refuse("without end");
    kind = byte >> 4;
    const qos = (byte >> 1) & 3;
    if (!expected.includes(kind)) throw refuse("packets that nobody asked for");
    if (kind === publish && qos !== 0) throw refuse("messages in another way than asked for");
    head = { length: 0, scale: 1 };
  };
  return (chunk) => {
    for (let at = 0; at < chunk.length; ) {
      if (head) {
        const byte = chunk[at++] ?? 0;
        head.length += (byte & 0x7f) * head.scale;
        head.scale *= 128;
        if (head.length > mostBytes || head.scale > 128 ** 4) throw refuse("too large a message");
        if (byte & 0x80) continue;
        left = head.length;
        length = left;
        head = undefined;
      } else if (left > 0) {
        const taken = Math.min(left, chunk.length - at);
        // Behind the two bytes of which message it is.
        const reason = at + 2 - (length - left);
        const isHere = kind === puback && reason >= at && reason < at + taken;
        if (isHere && chunk[reason] === tooLarge) chunk[reason] = overQuota;
        left -= taken;
        at += taken;
      } else begin(chunk[at++] ?? 0);
    }
  };
}
