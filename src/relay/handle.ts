import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { nodeSuite } from "../base/node/crypto.ts";
import { equal, fromText, toHex } from "../base/pure/bytes.ts";
import { Failure, isFailure } from "../base/pure/failure.ts";
import {
  type Ask,
  listingType,
  longest,
  type Page,
  parseAsk,
  printListing,
} from "../protocol/wire/mailbox.ts";
import { nameHash } from "../protocol/wire/name.ts";
import { decodePush, printVerdict, pushBytes, verdictType } from "../protocol/wire/push.ts";
import { checkContent, verifyRequest } from "../protocol/wire/request.ts";
import {
  answerBytes,
  answerEmpty,
  answerFile,
  answerProblem,
  preflight,
  resultOf,
  tellable,
} from "./answer.ts";
import { type Authorities, authorityOf } from "./authority.ts";
import type { Flow } from "./flow.ts";
import { decide } from "./gate.ts";
import type { Limits } from "./limit.ts";
import type { Act, Metrics } from "./metrics.ts";
import type { Poll } from "./poll.ts";
import type { Forwarder } from "./push.ts";
import type { Store } from "./store.ts";

// One request, from its head to the end of its answer: the checks of protocol/wire/mailbox.md in
// their order. Nothing of a request is kept or logged.

export type Desk = {
  store: Store;
  limits: Limits;
  poll: Poll;
  flow: Flow;
  forwarder: Forwarder;
  metrics: Metrics;
  authorities: Authorities;
  /** "" or "/steps": the paths are below it. */
  prefix: string;
  /** Content that is being taken at once. */
  uploadsMost: number;
  wallMs(): number;
  isClosing(): boolean;
  onError(error: unknown): void;
};
/** Requests that are under way on one connection: a pipeline of more is an attack. */
export const pipelineMost = 4;
/** What a request that was refused counts for, with those that were not as 1. */
const refusedCost = 20;
/** Longer content than any object is not even passed over. */
const passedOverBytes = 2 * longest.part;

type Asked = { mailbox: Uint8Array; ask: Ask; key: Uint8Array; contentSha512: Uint8Array };

export function openHandler(desk: Desk) {
  const { store, limits, poll, flow, forwarder, metrics } = desk;
  const nothing = nodeSuite.sha512().digest();
  let uploads = 0;

  return async (
    request: IncomingMessage,
    response: ServerResponse,
    /** For a request that waits to be told to send its content. */
    goOn?: () => void,
  ): Promise<void> => {
    const { socket } = request;
    let isAwaited = goOn !== undefined;
    const slot = limits.slotOfAddress(socket.remoteAddress ?? "");
    let act: Act = "none";
    const gone = new AbortController();
    const endUpload = watchUpload(request, flow);
    // Also what still comes behind an answer.
    request.on("close", endUpload);
    const endWatches: (() => void)[] = [];
    // A pipelined answer whose turn has not come is told nothing when its connection ends.
    const end = () => {
      if (gone.signal.aborted) return;
      // Without a reason Node makes an error with its stack, for each request.
      gone.abort(null);
      socket.removeListener("close", end);
      if (request.complete || socket.destroyed) endUpload();
      for (const endWatch of endWatches) endWatch();
      metrics.count(act, resultOf(response.statusCode));
    };
    response.on("close", end);
    socket.on("close", end);

    try {
      if (desk.isClosing()) return refuse(503, { title: "the relay is stopping" });
      if (!limits.takeOfAddress(slot)) return refuse(429, { title: "too many requests" });
      if (request.method === "OPTIONS") return void response.writeHead(204, preflight).end();
      if (request.method === "GET" && request.url === "/health") return answerHealth();
      const asked = check();
      if (!asked) return;
      act = asked.ask.act === "delete-clip" ? "delete" : asked.ask.act;
      if (asked.ask.act === "list" && asked.ask.page.waitS !== undefined) act = "wait";
      if (!limits.takeOfKey(toHex(asked.key))) {
        return refuse(429, { title: "too many requests of this key" });
      }
      const verdict = await verdictOn(asked);
      if (verdict === "no") return deny();
      await serve(asked, verdict === "aged");
    } catch (error) {
      // Whoever went away while sending is nobody's failure.
      if (gone.signal.aborted || request.errored || response.headersSent) {
        return void socket.destroy();
      }
      const { status, ...told } = tellable(error);
      if (status >= 500 && status !== 507) desk.onError(error);
      refuse(status, told);
    }

    function refuse(status: number, told: { title: string; stage?: string; retryS?: number }) {
      const { "content-length": written = "0", "transfer-encoding": coding } = request.headers;
      const isShort = coding === undefined && Number(written) <= passedOverBytes;
      // What is not passed over would be taken for the next request.
      if (isAwaited || (!request.complete && !isShort)) {
        response.setHeader("connection", "close");
      }
      answerProblem(response, status, told);
    }

    function deny() {
      limits.takeOfAddress(slot, refusedCost);
      refuse(403, { title: "no door for this", stage: "right" });
    }

    function answerHealth() {
      if (store.broken) return refuse(503, { title: "the storage failed" });
      answerBytes(response, 200, "text/plain; charset=utf-8", fromText("ok\n"));
    }

    /** Everything about the head; undefined when the answer is given. */
    function check(): Asked | undefined {
      const { method = "", url = "" } = request;
      const doubled = doubledField(request);
      if (doubled) {
        refuse(400, { title: `the field ${doubled} stands twice`, stage: "field" });
        return undefined;
      }
      const authority = authorityOf(request, desk.authorities);
      if (authority === undefined) {
        refuse(421, {
          title: "not a name that this relay answers to (authority in its settings)",
          stage: "authority",
        });
        return undefined;
      }
      const isPosted = method === "POST" && url.endsWith("/push");
      if (!isPosted && !["GET", "PUT", "DELETE"].includes(method)) {
        response.setHeader("allow", "GET, PUT, DELETE, OPTIONS");
        refuse(405, { title: "a mailbox knows GET, PUT and DELETE", stage: "method" });
        return undefined;
      }
      const mark = url.indexOf("?");
      const path = mark < 0 ? url : url.slice(0, mark);
      const query = mark < 0 ? "?" : url.slice(mark);
      if (!path.startsWith(`${desk.prefix}/`)) {
        refuse(404, { title: "nothing here" });
        return undefined;
      }
      const { mailbox, ask } = parseAsk(method, path.slice(desk.prefix.length), query);
      const headers = request.headers as Record<string, string | undefined>;
      try {
        const { key, contentSha512 } = verifyRequest({ method, authority, path, query }, headers, {
          ...{ suite: nodeSuite, nowMs: desk.wallMs() },
        });
        return { mailbox, ask, key, contentSha512 };
      } catch (error) {
        if (!isFailure(error, "refused")) throw error;
        limits.takeOfAddress(slot, refusedCost);
        const { message: title, stage } = error;
        // By the clock that it was judged by: Node's own field is up to a second old, which is
        // years for a clock that was set in it.
        response.setHeader("date", new Date(desk.wallMs()).toUTCString());
        refuse(401, { title, ...(stage ? { stage } : {}) });
        return undefined;
      }
    }

    async function verdictOn({ mailbox, ask, key }: Asked) {
      const options = { suite: nodeSuite, nowMs: desk.wallMs() };
      const bare = decide({ mailbox, ask }, key, undefined, options);
      if (bare !== "no") return bare;
      return decide({ mailbox, ask }, key, await store.doors(mailbox), options);
    }

    async function serve(asked: Asked, isAged: boolean): Promise<void> {
      const { mailbox, ask, key, contentSha512 } = asked;
      if (ask.act === "put") return await take(asked);
      if (ask.act === "push") return await forward(asked);
      checkEmpty(request);
      checkContent(contentSha512, nothing);
      if (ask.act === "list") return await list(asked, ask.page, toHex(key));
      if (ask.act === "get") {
        await using found = await store.get(mailbox, ask.name);
        if (!found) return refuse(404, { title: "nothing under this name" });
        endWatches.push(watchDownload(socket, flow));
        await answerFile(response, found, gone.signal);
        return metrics.moved("out", found.bytes);
      }
      const what = ask.act === "delete-clip" ? ask.clip : ask.name;
      const doors = isAged ? await store.doors(mailbox) : undefined;
      const minimumAgeMs = doors?.minimumAgeMs ?? Number.POSITIVE_INFINITY;
      await store.remove(mailbox, what, isAged ? minimumAgeMs : undefined);
      answerEmpty(response, 204);
    }

    async function take({ mailbox, ask, contentSha512 }: Asked): Promise<void> {
      if (ask.act !== "put") return;
      const { name } = ask;
      const written = request.headers["content-length"];
      if (request.headers["transfer-encoding"] !== undefined || written === undefined) {
        return refuse(411, { title: "a put says its length", stage: "length" });
      }
      const bytes = Number(written);
      if (!(bytes <= longest[name.kind])) {
        return refuse(413, { title: `longer than a ${name.kind} can be`, stage: "length" });
      }
      if (bytes === 0) throw new Failure("refused", "nothing is put", { stage: "length" });
      const hash = nameHash(name);
      // Both are SHA-512: whether the content can be what the name ends in shows before it comes.
      if (hash && !equal(hash, contentSha512.subarray(0, hash.length))) {
        throw new Failure("refused", "the content is not what the name ends in", { stage: "hash" });
      }
      if (uploads >= desk.uploadsMost) {
        return refuse(503, { title: "too many puts at once", retryS: 1 });
      }
      uploads++;
      try {
        goOn?.();
        isAwaited = false;
        const pieces = request.iterator({ destroyOnReturn: false });
        const outcome = await store.put(mailbox, name, { bytes, sha512: contentSha512, pieces });
        if (outcome === "stored") metrics.moved("in", bytes);
        answerEmpty(response, outcome === "stored" ? 201 : 200);
      } finally {
        uploads--;
      }
    }

    async function forward({ mailbox, contentSha512 }: Asked): Promise<void> {
      const { "content-length": written, "transfer-encoding": coding } = request.headers;
      if (coding !== undefined || written === undefined) {
        return refuse(411, { title: "a message says its length", stage: "length" });
      }
      if (!(Number(written) <= pushBytes)) {
        return refuse(413, { title: "longer than a message can be", stage: "length" });
      }
      goOn?.();
      isAwaited = false;
      const pieces: Uint8Array[] = [];
      for await (const piece of request.iterator({ destroyOnReturn: false })) pieces.push(piece);
      const content = Buffer.concat(pieces);
      checkContent(contentSha512, nodeSuite.sha512().update(content).digest());
      const message = decodePush(content);
      forwarder.check(message);
      const digest = toHex(contentSha512);
      // What is sent once more, since its answer was lost, is no second message.
      if (!forwarder.knows(digest) && !limits.takePush(toHex(mailbox))) {
        return refuse(429, { title: "too many messages of this mailbox", retryS: 60 });
      }
      const verdict = await forwarder.forward(message, digest);
      if (gone.signal.aborted) return;
      answerBytes(response, 200, verdictType, printVerdict(verdict));
    }

    async function list(asked: Asked, page: Page, key: string): Promise<void> {
      const { mailbox } = asked;
      const { waitS } = page;
      if (waitS === undefined) return send(await store.list(mailbox, page));
      // Who waits is on the list before anybody looks, so that nothing comes in between unseen.
      const waiting = poll.wait({ mailbox: toHex(mailbox), key, page });
      if (waiting === "key") return refuse(429, { title: "too many wait with this key" });
      if (waiting === "all") return refuse(503, { title: "too many wait" });
      try {
        const there = await store.list(mailbox, page);
        if (there.length > 0) return send(there);
        const name = await waiting.woken(waitS * 1000, gone.signal);
        if (gone.signal.aborted) return;
        if (name === undefined) return send([]);
        // The door may have been closed meanwhile.
        if ((await verdictOn(asked)) !== "yes") return deny();
        const now = await store.list(mailbox, page);
        // A beacon or door list that was overwritten, though it is not behind the bound.
        const changed =
          name > page.after ? [] : await store.list(mailbox, { under: name, after: "" });
        send([...changed, ...now].slice(0, page.limit));
      } finally {
        waiting.end();
      }
    }

    function send(listed: Parameters<typeof printListing>[0]): void {
      endWatches.push(watchDownload(socket, flow));
      answerBytes(response, 200, listingType, fromText(printListing(listed)));
    }
  };
}

/** A field that may stand once only, of those that decide who asks for what. */
function doubledField({ rawHeaders }: IncomingMessage): string | undefined {
  const once = ["host", "content-length", "transfer-encoding", "expect", "connection"];
  once.push("content-digest", "signature-input", "signature");
  const seen = new Set<string>();
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] ?? "").toLowerCase();
    if (!once.includes(name)) continue;
    if (seen.has(name)) return name;
    seen.add(name);
  }
  return undefined;
}

/** A request that is no put brings nothing. */
function checkEmpty({ headers }: IncomingMessage): void {
  const isEmpty = (headers["content-length"] ?? "0") === "0";
  if (isEmpty && headers["transfer-encoding"] === undefined) return;
  throw new Failure("refused", "content where there is none", { stage: "content" });
}

function watchUpload(request: IncomingMessage, flow: Flow): () => void {
  const { socket } = request;
  const before = socket.bytesRead;
  return flow.watch(
    () => (request.complete ? Number.POSITIVE_INFINITY : socket.bytesRead - before),
    () => socket.destroy(),
  );
}

function watchDownload(socket: Socket, flow: Flow): () => void {
  const sent = () => socket.bytesWritten - socket.writableLength;
  const before = sent();
  return flow.watch(
    () => sent() - before,
    () => socket.destroy(),
  );
}
