import { fromText, type Reader, toText, Writer } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import { endpointBytes, parseEndpoint } from "../wire/push.ts";
import { subscriptionBytes } from "./pointer.ts";
import { sizes } from "./sodium.ts";

// Where a phone is told of visits, and to which keys that is sealed. Specification: command.md.

export type Subscription = {
  /** 16 bytes, drawn by the phone. */
  id: Uint8Array;
  /** X-Wing, made for this subscription: pointers are sealed to it. */
  key: Uint8Array;
  /** Of the browser, or of who stands in for it: a point of P-256, 65 bytes, and 16 random ones. */
  p256dh: Uint8Array;
  auth: Uint8Array;
  /** Whoever knows it can send there. */
  endpoint: string;
};

const pointBytes = 65;
const authBytes = 16;

export function encodeSubscription({ id, key, p256dh, auth, endpoint }: Subscription): Uint8Array {
  return new Writer().raw(id).raw(key).raw(p256dh).raw(auth).bytes16(fromText(endpoint)).done();
}

/** Stages: "length", "text", "endpoint" (wire/push.md), "point" (not on the curve). */
export function readSubscription(reader: Reader): Subscription {
  const id = reader.take(subscriptionBytes);
  const key = reader.take(sizes.kemPublicKey);
  const p256dh = reader.take(pointBytes);
  const auth = reader.take(authBytes);
  const endpoint = toText(reader.bytes16(endpointBytes));
  return checkSubscription({ id, key, p256dh, auth, endpoint });
}

/** What was put together elsewhere; the same stages. */
export function checkSubscription(subscription: Subscription): Subscription {
  const { p256dh, auth, endpoint } = subscription;
  parseEndpoint(endpoint);
  if (auth.length !== authBytes) throw refuse("length", `${auth.length} bytes of auth, not 16`);
  if (!isPoint(p256dh)) throw refuse("point", "a p256dh that is no point of P-256");
  return subscription;
}

const prime = 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n;
const b = 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn;

/** Whether these are the 65 bytes of a point on P-256, not compressed: y² = x³ − 3x + b. */
export function isPoint(bytes: Uint8Array): boolean {
  if (bytes.length !== pointBytes || bytes[0] !== 4) return false;
  const [x, y] = [numberOf(bytes.subarray(1, 33)), numberOf(bytes.subarray(33))];
  if (x >= prime || y >= prime) return false;
  const right = (((x * x * x - 3n * x + b) % prime) + prime) % prime;
  return (y * y) % prime === right;
}

function numberOf(bytes: Uint8Array): bigint {
  return bytes.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
}

function refuse(stage: string, why: string): Failure {
  return new Failure("corrupt", `not a subscription: ${why}`, { stage });
}
