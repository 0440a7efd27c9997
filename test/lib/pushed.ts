import { createPublicKey, verify } from "node:crypto";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import type { IncomingHttpHeaders } from "node:http";
import { createServer as createPlain } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import webpush from "web-push";
import type { Tls } from "../../scripts/mosquitto.ts";

// A push service of the test's own (RFC 8030), as browsers' makers run them.

export type Pushed = {
  path: string;
  headers: IncomingHttpHeaders;
  body: Buffer;
  /** Of its own clock, µs. */
  atUs: number;
  /** What the VAPID token says, whose signature was right. */
  claims: { aud: string; exp: number; sub: string };
  /** The key that it was signed with, 65 bytes. */
  sender: Buffer;
};

export type Reply = { status: number; headers?: Record<string, string> };

export type PushService = {
  readonly port: number;
  readonly origin: string;
  readonly received: Pushed[];
  /** Requests that were no push: a wrong token, a wrong field. */
  readonly wrong: string[];
  /** How many are connected, of whom something may still come. */
  open(): number;
  /** What it answers; "hang" for never. */
  answer: (pushed: Pushed) => Reply | "hang";
  [Symbol.asyncDispose](): Promise<void>;
};

/** By https with a certificate, else by plain http. */
export async function startPushService(tls?: Tls, port = 0): Promise<PushService> {
  const received: Pushed[] = [];
  const wrong: string[] = [];
  const listener = tls
    ? createServer({ key: await readFile(tls.key), cert: await readFile(tls.certificate) })
    : createPlain();
  const sockets = new Set<Socket>();
  listener.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  listener.listen(port, "127.0.0.1");
  await once(listener, "listening");
  const { port: own } = listener.address() as AddressInfo;
  const service: PushService = {
    ...{ port: own, origin: `${tls ? "https" : "http"}://127.0.0.1:${own}` },
    received,
    wrong,
    open: () => sockets.size,
    answer: () => ({ status: 201 }),
    async [Symbol.asyncDispose]() {
      listener.closeAllConnections();
      if (listener.listening) await new Promise((resolve) => listener.close(resolve));
    },
  };
  listener.on("request", async (request, response) => {
    const pieces: Buffer[] = [];
    try {
      for await (const piece of request) pieces.push(piece);
    } catch {
      // Whoever hangs up in its midst has sent nothing.
      return;
    }
    const { url: path = "", headers } = request;
    try {
      const { claims, sender } = checkVapid(headers.authorization ?? "");
      if (request.method !== "POST") throw new Error(`method ${request.method}`);
      if (headers["content-encoding"] !== "aes128gcm") throw new Error("content-encoding");
      if (!/^\d{1,7}$/.test(String(headers.ttl))) throw new Error("ttl");
      const body = Buffer.concat(pieces);
      const atUs = Number(process.hrtime.bigint() / 1000n);
      const pushed = { path, headers, body, atUs, claims, sender };
      received.push(pushed);
      const reply = service.answer(pushed);
      if (reply !== "hang") response.writeHead(reply.status, reply.headers).end("noted");
    } catch (error) {
      wrong.push(String(error));
      response.writeHead(401).end();
    }
  });
  return service;
}

/** By node:crypto alone: what it takes is RFC 8292, not what some library makes. */
function checkVapid(field: string): Pick<Pushed, "claims" | "sender"> {
  const [, token = "", key = ""] = /^vapid t=([^,]+), k=([A-Za-z0-9_-]+)$/.exec(field) ?? [];
  const [head = "", claims = "", signature = ""] = token.split(".");
  const sender = Buffer.from(key, "base64url");
  if (sender.length !== 65 || sender[0] !== 4) throw new Error("no key");
  const publicKey = createPublicKey({
    format: "jwk",
    key: {
      ...{ kty: "EC", crv: "P-256" },
      x: sender.subarray(1, 33).toString("base64url"),
      y: sender.subarray(33).toString("base64url"),
    },
  });
  const read = (text: string) => JSON.parse(Buffer.from(text, "base64url").toString());
  if (read(head).alg !== "ES256") throw new Error("another algorithm");
  const isRight = verify(
    "sha256",
    Buffer.from(`${head}.${claims}`),
    { key: publicKey, dsaEncoding: "ieee-p1363" },
    Buffer.from(signature, "base64url"),
  );
  if (!isRight) throw new Error("not signed");
  const said = read(claims);
  const inS = said.exp - Date.now() / 1000;
  if (!(inS > 0 && inS <= 86_400)) throw new Error("a token that is over, or lasts too long");
  return { claims: said, sender };
}

/** A message that any relay takes, for tests that are not about what is in it. */
export function vapidFor(origin: string): string {
  // Signed for by the library that cameras use.
  const { publicKey, privateKey } = webpush.generateVAPIDKeys();
  const subject = "mailto:test@example.org";
  return webpush.getVapidHeaders(origin, subject, publicKey, privateKey, "aes128gcm").Authorization;
}
