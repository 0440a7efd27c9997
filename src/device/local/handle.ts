import type { IncomingMessage, ServerResponse } from "node:http";
import { isIP } from "node:net";
import { hostname } from "node:os";
import { longest } from "../../protocol/wire/mailbox.ts";
import { type Board, idPattern } from "./board.ts";
import {
  boxType,
  jsonType,
  metricsType,
  type Operation,
  pageType,
  problemType,
  streamType,
} from "./document.ts";
import { type Limits, plainAddress } from "./limit.ts";
import { type MailboxDoor, mailboxPrefix } from "./mailbox.ts";
import { type Counts, printMetrics } from "./metrics.ts";
import { openapi } from "./openapi.ts";
import { page, pagePolicy } from "./page.ts";
import type { Stream } from "./stream.ts";

// One request, from its head to its answer: the checks of local.md in their order. Nothing of a request is
// kept or logged.

export type Desk = {
  board: Board;
  stream: Stream;
  limits: Limits;
  /** Names besides addresses, localhost and the host's own. */
  names: ReadonlySet<string>;
  isGood(token: string): Promise<boolean>;
  pictures(): { ageS: number; isStale: boolean };
  /** What is sealed, for who signs as a phone; undefined while nobody's phone is known. */
  mailbox(): MailboxDoor | undefined;
  /** Takes a sealed command; undefined while none can be taken. */
  take(): ((box: Uint8Array) => Promise<boolean>) | undefined;
  counts(): Counts;
  /** What nobody who asks is to blame for. */
  onError(error: unknown): void;
};

/** What a request counts for that a token or a signature did not vouch for. */
const strangeCost = 10;
const mostPosts = { all: 8, ofAddress: 2 };
const retryS = "5";

const safe: Readonly<Record<string, string>> = {
  "cache-control": "no-store",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "permissions-policy": "camera=(), microphone=(), geolocation=()",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
};

type Asked = { request: IncomingMessage; response: ServerResponse; address: string; token: string };

export function openHandler(desk: Desk) {
  const { board, stream, limits, isGood, onError } = desk;
  const document = JSON.stringify(openapi);
  const posts = new Map<string, number>();

  const say = (response: ServerResponse, status: number, type: string, text: string) => {
    response.writeHead(status, {
      ...{ "content-type": type, "content-length": Buffer.byteLength(text) },
    });
    response.end(text);
  };
  const sayJson = (response: ServerResponse, status: number, value: unknown) =>
    say(response, status, jsonType, JSON.stringify(value));
  const refuse = (
    { request, response }: Pick<Asked, "request" | "response">,
    status: number,
    title: string,
    stage?: string,
  ) => {
    if (status === 429 || status === 503) response.setHeader("retry-after", retryS);
    // What was not read would be taken for the next request; who asks too much shall connect anew.
    if (hasContent(request) || status === 429) response.setHeader("connection", "close");
    say(
      response,
      status,
      problemType,
      JSON.stringify({ title, status, ...(stage ? { stage } : {}) }),
    );
  };

  const acts: Readonly<Record<string, (asked: Asked) => void | Promise<void>>> = {
    page({ response }) {
      response.setHeader("content-security-policy", pagePolicy);
      say(response, 200, pageType, page);
    },
    document: ({ response }) => say(response, 200, jsonType, document),
    health({ response }) {
      const { isStale } = desk.pictures();
      sayJson(response, isStale ? 503 : 200, { status: isStale ? "stale" : "ok" });
    },
    states: ({ response }) => sayJson(response, 200, board.read()),
    events: ({ response }) => sayJson(response, 200, { events: board.events("visit") }),
    alarms: ({ response }) => sayJson(response, 200, { events: board.events("alarm") }),
    metrics({ response }) {
      const pictures = desk.pictures();
      const measured = { told: board.read(), visits: board.visits(), counts: desk.counts() };
      say(response, 200, metricsType, printMetrics({ ...measured, pictures }));
    },
    stream(asked) {
      const { request, response, token } = asked;
      const last = request.headers["last-event-id"];
      const lastId = typeof last === "string" && lastIdPattern.test(last) ? last : undefined;
      if (last !== undefined && lastId === undefined) {
        return refuse(asked, 400, "Last-Event-ID is none of this stream");
      }
      if (stream.isFull()) return refuse(asked, 503, "too many read the stream");
      // Without its last field a proxy as nginx gathers events before it passes them on.
      response.writeHead(200, {
        ...{ "content-type": streamType, connection: "close", "x-accel-buffering": "no" },
      });
      if (request.method === "HEAD") response.end();
      else stream.subscribe(response, { token, lastId });
    },
    command,
  };

  async function command(asked: Asked): Promise<void> {
    const { request, response, address } = asked;
    const { "content-length": written, "content-type": type } = request.headers;
    if (type?.toLowerCase() !== boxType) return refuse(asked, 415, `a command is ${boxType}`);
    if (written === undefined) return refuse(asked, 411, "say how long it is");
    const bytes = Number(written);
    if (bytes > longest.box) return refuse(asked, 413, `${longest.box} bytes at most`);
    const take = desk.take();
    if (!take) return refuse(asked, 503, "no commands are taken yet");
    const open = posts.get(address) ?? 0;
    const sum = [...posts.values()].reduce((all, one) => all + one, 0);
    if (open >= mostPosts.ofAddress || sum >= mostPosts.all) {
      return refuse(asked, 503, "too many commands at once");
    }
    posts.set(address, open + 1);
    try {
      // Who speaks HTTP/1.0 would take it for the answer.
      const isAsked = request.headers.expect !== undefined && request.httpVersion !== "1.0";
      if (isAsked) response.writeContinue();
      const box = await readContent(request, bytes);
      if (await take(box)) return void response.writeHead(202, { "content-length": 0 }).end();
      limits.charge(address, strangeCost);
      refuse(asked, 403, "nothing for this camera");
    } finally {
      const left = (posts.get(address) ?? 1) - 1;
      if (left > 0) posts.set(address, left);
      else posts.delete(address);
    }
  }

  /** Signed by a phone, in the place of a token. */
  async function sealed(asked: Asked): Promise<void> {
    const { request, response, address } = asked;
    if (hasContent(request)) return refuse(asked, 400, "no content belongs here", "content");
    const mailbox = desk.mailbox();
    if (!mailbox) return refuse(asked, 503, "nothing is read yet");
    const answer = await mailbox(request, response);
    if (answer === "answered") return;
    const { status, title, stage } = answer;
    if (status === 401 || status === 403) limits.charge(address, strangeCost);
    refuse(asked, status, title, stage);
  }

  const dispatch = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const address = plainAddress(request.socket.remoteAddress);
    const asked = { request, response, address, token: "" };
    for (const [name, value] of Object.entries(safe)) response.setHeader(name, value);
    if (!limits.take(address)) return refuse(asked, 429, "too many requests");
    const { method = "", url = "", headers } = request;
    if ((request.headersDistinct.host ?? []).length > 1) {
      return refuse(asked, 400, "a request names one host");
    }
    if (!isOurs(headers.host, desk.names)) {
      return refuse(asked, 421, "not a name of this camera (local.names in its settings)");
    }
    if (url.startsWith(`${mailboxPrefix}/`)) return await sealed(asked);
    const path = Object.hasOwn(openapi.paths, url) ? openapi.paths[url] : undefined;
    if (!path) return refuse(asked, 404, "there is nothing here; see /openapi.json");
    const operation = operationOf(path, method);
    if (!operation) {
      response.setHeader("allow", path.get ? "GET, HEAD" : "POST");
      return refuse(asked, 405, "not to be asked in this way");
    }
    if (!operation.requestBody && hasContent(request)) {
      return refuse(asked, 400, "no content belongs here");
    }
    if (operation.security.length > 0) {
      asked.token = /^Bearer ([^\s]+)$/i.exec(headers.authorization ?? "")?.[1] ?? "";
      if (!(await isGood(asked.token))) {
        limits.charge(address, strangeCost);
        response.setHeader("www-authenticate", 'Bearer realm="obscura"');
        return refuse(asked, 401, "a token is needed: obscura-camera local token NAME");
      }
    }
    await acts[operation.operationId]?.(asked);
  };

  return async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    try {
      await dispatch(request, response);
    } catch (error) {
      // Whoever went away while sending is nobody's failure.
      if (request.errored || response.destroyed || response.headersSent) {
        return void response.destroy();
      }
      onError(error);
      refuse({ request, response }, 503, "not now");
    }
  };
}

const lastIdPattern = new RegExp(idPattern);

function operationOf(
  path: { get?: Operation; post?: Operation },
  method: string,
): Operation | undefined {
  if (method === "GET" || method === "HEAD") return path.get;
  return method === "POST" ? path.post : undefined;
}

const hasContent = ({ headers }: IncomingMessage) =>
  headers["transfer-encoding"] !== undefined || (headers["content-length"] ?? "0") !== "0";

/**
 * Whether a request means this camera. A page from elsewhere reaches it only under a name that its own
 * server made point here (DNS rebinding): an address as it is nobody can point anywhere.
 */
export function isOurs(host: string | undefined, names: ReadonlySet<string>): boolean {
  const found = /^(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?$/i.exec(host ?? "");
  const name = (found?.[1] ?? "").toLowerCase();
  if (name === "") return false;
  if (name.startsWith("[")) return isIP(name.slice(1, -1)) === 6;
  if (isIP(name) === 4) return true;
  const own = hostname().toLowerCase();
  const first = own.split(".")[0] ?? own;
  return ["localhost", own, first, `${first}.local`].includes(name) || names.has(name);
}

async function readContent(request: IncomingMessage, bytes: number): Promise<Uint8Array> {
  const pieces: Buffer[] = [];
  for await (const piece of request) pieces.push(piece);
  const whole = Buffer.concat(pieces);
  // Node gives neither more nor less than was said; a box is read as a view of its own.
  return new Uint8Array(whole.buffer, whole.byteOffset, Math.min(bytes, whole.length));
}
