import { fromText, Reader, toText, Writer } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";

// What a camera asks its relay to hand to a push service, and what came of it. Specification: push.md.

export const urgencies = ["very-low", "low", "normal", "high"] as const;
export type Urgency = (typeof urgencies)[number];

export type PushMessage = {
  /** Where it goes; whoever knows it can send there, so it is nobody else's to know. */
  endpoint: string;
  /** VAPID: "vapid t=…, k=…". */
  authorization: string;
  /** How long the service may keep it, in seconds. */
  ttlS: number;
  urgency: Urgency;
  /** A newer one with this topic takes the place of one not yet delivered; "" for none. */
  topic: string;
  /** aes128gcm of RFC 8291. */
  body: Uint8Array;
};

/** What the service said of it, as the relay tells it. */
export type Verdict =
  | { kind: "accepted" }
  /** The subscription is no more. */
  | { kind: "gone" }
  /** Not before so many seconds. */
  | { kind: "later"; seconds: number }
  /** Not this message, whenever it comes. */
  | { kind: "refused"; status: number };

const version = 1;
export const endpointBytes = 768;
const authorizationBytes = 1024;
const topicBytes = 32;
export const pushBodyBytes = 4096;
const mostTtlS = 86_400;
const mostLaterS = 3600;
/** The longest content of a push request. */
export const pushBytes: number =
  1 + 2 + endpointBytes + 2 + authorizationBytes + 4 + 1 + 2 + topicBytes + 2 + pushBodyBytes;
/** The longest verdict, with its line end. */
export const verdictBytes = 32;
export const verdictType = "text/plain; charset=utf-8";

const authorizationPattern =
  /^vapid t=[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+, k=[A-Za-z0-9_-]+$/;
const topicPattern = /^[A-Za-z0-9_-]*$/;

export function encodePush(message: PushMessage): Uint8Array {
  const bytes = new Writer()
    .u8(version)
    .bytes16(fromText(message.endpoint))
    .bytes16(fromText(message.authorization))
    .u32(message.ttlS)
    .u8(urgencies.indexOf(message.urgency))
    .bytes16(fromText(message.topic))
    .bytes16(message.body)
    .done();
  // What this very file would refuse to read is never asked.
  decodePush(bytes);
  return bytes;
}

/** Stages: "length", "text", and those of push.md. */
export function decodePush(bytes: Uint8Array): PushMessage {
  if (bytes.length > pushBytes) throw refuse("length", "longer than it can be");
  const reader = new Reader(bytes, "push");
  if (reader.u8() !== version) throw newer("version", "a push of another format");
  const endpoint = toText(reader.bytes16(endpointBytes));
  parseEndpoint(endpoint);
  const authorization = toText(reader.bytes16(authorizationBytes));
  if (!authorizationPattern.test(authorization)) throw refuse("authorization", "no VAPID");
  const ttlS = reader.u32();
  if (ttlS > mostTtlS) throw refuse("range", "a TTL of more than a day");
  const urgency = urgencies[reader.u8()];
  if (urgency === undefined) throw refuse("urgency", "an urgency that is none");
  const topic = toText(reader.bytes16(topicBytes));
  if (!topicPattern.test(topic)) throw refuse("topic", "a topic that is none");
  const body = reader.bytes16(pushBodyBytes);
  if (body.length === 0) throw refuse("length", "nothing in it");
  reader.end();
  return { endpoint, authorization, ttlS, urgency, topic, body };
}

export type Endpoint = {
  isTls: boolean;
  /** As it is written: a name, an IPv4 address, or an IPv6 address in brackets. */
  host: string;
  port: number;
  /** Scheme, host, and the port unless it is the scheme's own. */
  origin: string;
  /** With the query. */
  path: string;
};

const endpointPattern =
  /^(https?):\/\/([a-z0-9][a-z0-9.-]{0,252}|\[[0-9a-f:.]{2,45}\])(?::([1-9][0-9]{0,4}))?(\/[!$-;=?-[\]_a-z~%]*)$/;

/** The one way that push.md has to write an address; else Failure "corrupt", stage "endpoint". */
export function parseEndpoint(text: string): Endpoint {
  const found = text.length <= endpointBytes ? endpointPattern.exec(text) : null;
  const [, scheme = "", host = "", digits, path = ""] = found ?? [];
  const isTls = scheme === "https";
  const own = isTls ? 443 : 80;
  const port = digits === undefined ? own : Number(digits);
  // The text itself is in no failure: it is a secret.
  if (!found || port > 0xffff || (digits !== undefined && port === own)) {
    throw refuse("endpoint", "no address of a push service");
  }
  const origin = `${scheme}://${host}${digits === undefined ? "" : `:${port}`}`;
  return { isTls, host, port, origin, path };
}

export function printVerdict(verdict: Verdict): Uint8Array {
  if (verdict.kind === "later") return fromText(`later ${verdict.seconds}\n`);
  if (verdict.kind === "refused") return fromText(`refused ${verdict.status}\n`);
  return fromText(`${verdict.kind}\n`);
}

/** Reads exactly what `printVerdict` prints; else Failure "corrupt", stage "verdict". */
export function parseVerdict(content: Uint8Array): Verdict {
  const text = content.length <= verdictBytes ? ascii(content) : "";
  if (text === "accepted\n" || text === "gone\n") {
    return { kind: text === "gone\n" ? "gone" : "accepted" };
  }
  const later = /^later (0|[1-9][0-9]{0,3})\n$/.exec(text);
  const seconds = Number(later?.[1]);
  if (later && seconds <= mostLaterS) return { kind: "later", seconds };
  const refused = /^refused ([1-5][0-9]{2})\n$/.exec(text);
  if (refused) return { kind: "refused", status: Number(refused[1]) };
  throw new Failure("corrupt", "not a verdict of a push service", { stage: "verdict" });
}

/** What an HTTP status of a push service means, beside its fields `retry-after` and `date`. */
export function verdictOf(status: number, retryAfter?: string, date?: string): Verdict {
  if (status >= 200 && status < 300) return { kind: "accepted" };
  if (status === 404 || status === 410) return { kind: "gone" };
  if (status === 408 || status === 429 || (status >= 500 && status < 600)) {
    return { kind: "later", seconds: Math.min(secondsOf(retryAfter, date), mostLaterS) };
  }
  return status >= 100 && status < 600
    ? { kind: "refused", status }
    : { kind: "later", seconds: 0 };
}

const momentPattern = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/;

/** A number, or a moment by the service's own clock; anything else counts as nothing said. */
function secondsOf(asked = "", date = ""): number {
  if (/^[0-9]{1,9}$/.test(asked)) return Number(asked);
  if (![asked, date].every((text) => momentPattern.test(text))) return 0;
  const seconds = (Date.parse(asked) - Date.parse(date)) / 1000;
  return seconds > 0 ? seconds : 0;
}

function ascii(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

function refuse(stage: string, why: string): Failure {
  return new Failure("corrupt", `not a push: ${why}`, { stage });
}

function newer(stage: string, why: string): Failure {
  return new Failure("refused", why, { stage, hint: "Update this program" });
}
