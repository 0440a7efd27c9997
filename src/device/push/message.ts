import { fromHex } from "../../base/pure/bytes.ts";
import { type Pointer, pointerLifeMs, sealPointer } from "../../protocol/sealed/pointer.ts";
import { encodePush } from "../../protocol/wire/push.ts";
import type { By } from "../../protocol/wire/signature.ts";
import type { Visit } from "../visit/visit.ts";
import type { Book, Subscriber } from "./book.ts";

/** What a pointer says beside whom it is for. */
export type News = Pick<
  Pointer,
  "what" | "wallMs" | "clockTrusted" | "clip" | "picture" | "persons"
>;

export function newsOf({ clip, what, atMs, clockTrusted, persons, picture }: Visit): News {
  const wallMs = Math.max(0, Math.round(atMs));
  const time = { wallMs, clockTrusted };
  if (what) return { what, ...time, clip: undefined, picture: undefined, persons: undefined };
  return { what: "visit", ...time, clip: fromHex(clip), picture, persons };
}

export type ComposeOptions = {
  subscriber: Subscriber;
  key: NonNullable<Book["key"]>;
  /** `mailto:` or `https:` of who answers for this camera (RFC 8292). */
  contact: string;
  name: string;
  camera: Uint8Array;
  incarnation: number;
  by: By;
};

/**
 * The request that a relay is handed: a pointer sealed to the subscription's own key, then encrypted as
 * browsers want it. Each is like any other but for what is sealed: the same length, TTL and urgency, and
 * no topic. A newer visit does not make an older one void, and a topic for tests alone would tell.
 */
export async function compose(news: News, options: ComposeOptions): Promise<Uint8Array> {
  const { subscriber, key, contact, name, camera, incarnation, by } = options;
  const { id, phone, number, endpoint, p256dh, auth } = subscriber;
  const about = { camera, phone, subscription: id, incarnation, number, name };
  const notice = sealPointer({ ...about, ...news }, subscriber.key, by);
  const { default: webpush } = await import("web-push");
  const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64url");
  const ttlS = pointerLifeMs / 1000;
  const { headers, body } = webpush.generateRequestDetails(
    { endpoint, keys: { p256dh: base64(p256dh), auth: base64(auth) } },
    Buffer.from(notice),
    {
      ...{ TTL: ttlS, urgency: "high", contentEncoding: "aes128gcm" },
      vapidDetails: {
        ...{ subject: contact, publicKey: base64(key.publicKey) },
        privateKey: base64(key.secret),
      },
    },
  );
  const authorization = String(headers.Authorization);
  return encodePush({ endpoint, authorization, ttlS, urgency: "high", topic: "", body });
}
