import { readNamed } from "../../base/node/program.ts";
import { toText } from "../../base/pure/bytes.ts";
import { Failure, isFailure } from "../../base/pure/failure.ts";
import { checkSubscription } from "../../protocol/sealed/subscription.ts";
import { parseEndpoint } from "../../protocol/wire/push.ts";

/** Where messages go, and the browser's keys. */
export type Wish = { endpoint: string; p256dh: Uint8Array; auth: Uint8Array };

const mostBytes = 16 * 1024;

/**
 * Reads a `PushSubscription` as `JSON.stringify` writes it in a browser: `endpoint`, `keys.p256dh`,
 * `keys.auth`; what else is there is passed over. Throws Failure "misuse".
 */
export async function readPushSubscription(path: string): Promise<Wish> {
  const content = await readNamed(path, { what: "a push subscription", mostBytes });
  let value: unknown;
  try {
    value = JSON.parse(toText(content));
  } catch (cause) {
    throw misuse(path, "it is not JSON", cause);
  }
  const { endpoint, keys } = (value ?? {}) as Record<string, unknown>;
  const { p256dh, auth } = (keys ?? {}) as Record<string, unknown>;
  if (typeof endpoint !== "string") throw misuse(path, "there is no endpoint in it");
  const read = (name: string, text: unknown) => {
    const isBase64 = typeof text === "string" && /^[A-Za-z0-9+/_-]{1,256}={0,2}$/.test(text);
    if (!isBase64) throw misuse(path, `keys.${name} is not base64`);
    return new Uint8Array(Buffer.from(text, "base64url"));
  };
  const keysRead = { p256dh: read("p256dh", p256dh), auth: read("auth", auth) };
  return checkWish(path, { endpoint: readEndpoint(path, endpoint), ...keysRead });
}

/** An address as somebody typed or copied it, in its one spelling. Throws Failure "misuse". */
export function readEndpoint(where: string, text: string): string {
  let url: URL;
  try {
    url = new URL(text.trim());
    if (url.username !== "" || url.password !== "") throw new Error("a user");
    parseEndpoint(url.href);
  } catch (cause) {
    // It is not shown: whoever knows it can send there.
    throw misuse(where, "its endpoint is not the address of a push service", cause);
  }
  return url.href;
}

function checkWish(where: string, wish: Wish): Wish {
  try {
    const nothing = new Uint8Array();
    checkSubscription({ id: nothing, key: nothing, ...wish });
    return wish;
  } catch (cause) {
    if (!isFailure(cause)) throw cause;
    throw misuse(where, cause.message.replace("not a subscription: ", ""), cause);
  }
}

function misuse(where: string, why: string, cause?: unknown): Failure {
  return new Failure("misuse", `${where} is no push subscription: ${why}`, {
    ...{ cause, hint: "It is what JSON.stringify(subscription) gives in a browser" },
  });
}
