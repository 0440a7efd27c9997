import type { IncomingMessage, ServerResponse } from "node:http";
import { isIP } from "node:net";
import { nodeSuite } from "../../base/node/crypto.ts";
import { equal, toHex } from "../../base/pure/bytes.ts";
import { explain, isFailure } from "../../base/pure/failure.ts";
import type { Role } from "../../protocol/sealed/membership.ts";
import {
  isOnPage,
  listingType,
  listMost,
  objectType,
  type Page,
  parseAsk,
  printListing,
} from "../../protocol/wire/mailbox.ts";
import { printName } from "../../protocol/wire/name.ts";
import { checkContent, verifyRequest } from "../../protocol/wire/request.ts";
import type { Outbox } from "../outbox/outbox.ts";
import { plainAddress } from "./limit.ts";

// What is sealed, for the phones that it is sealed to: the outbox as a mailbox that is only read, at the
// camera itself (local.md). As a relay's, but that who asks signs with the phone's own key, which the
// camera knows by its member list.

export const mailboxPrefix = "/mailbox";

export type MailboxDesk = {
  /** The owner's mailbox; undefined while there is none. */
  mailbox: Uint8Array | undefined;
  outbox: Pick<Outbox, "objects" | "read" | "watch">;
  /** Of a phone in the member list that is in force now. */
  role(phone: Uint8Array): Role | undefined;
  wallMs(): number;
};
/** Why not: a status of HTTP, and what the phone's mailbox client branches on. */
export type No = { status: number; title: string; stage?: string };
export type MailboxAnswer = No | "answered";

/** How long an empty listing is held back, ms: less than an answer may take. */
const longestWaitMs = 10_000;
const mostWaiting = { all: 16, ofPhone: 4 };
/** Answers of up to 1 MiB each, until they are taken; a phone reads 16 at once. */
const mostSending = { all: 48, ofPhone: 32 };
const nothing = nodeSuite.sha512().digest();
const mostOf = ({ limit = listMost }: Page) => Math.min(limit, listMost);

export type MailboxDoor = (
  request: IncomingMessage,
  response: ServerResponse,
) => Promise<MailboxAnswer>;

/** Answers what may be read, and says why not; the caller has looked at bounds and at the host. */
export function openMailboxDoor(desk: MailboxDesk): MailboxDoor {
  const waiting = openRoom(mostWaiting);
  const sending = openRoom(mostSending);

  const send = (response: ServerResponse, type: string, body: Uint8Array): MailboxAnswer => {
    response.writeHead(200, { "content-type": type, "content-length": body.length }).end(body);
    return "answered";
  };
  const list = (page: Page) => desk.outbox.objects(page, mostOf(page));
  /**
   * Resolves when something was put that is on the page, with what is listed though it is not behind the
   * bound; or when the time is over, or nobody waits.
   */
  const wait = (page: Page, waitMs: number, response: ServerResponse) =>
    new Promise<ReturnType<typeof list>>((resolve) => {
      const end = (changed: ReturnType<typeof list>) => {
        clearTimeout(timer);
        stop();
        response.removeListener("close", done);
        resolve(changed);
      };
      const done = () => end([]);
      const timer = setTimeout(done, waitMs);
      const stop = desk.outbox.watch((change) => {
        if (change.kind !== "put") return;
        const text = printName(change.name);
        if (isOnPage(text, page)) return done();
        // The beacon is overwritten: to be awaited it need not come after anything.
        const isBeacon = change.name.kind === "beacon";
        if (isBeacon && isOnPage(text, { ...page, after: "" })) {
          end(desk.outbox.objects({ under: text, after: "" }, 1));
        }
      });
      response.on("close", done);
    });

  return async (request, response) => {
    const { method = "", url = "", headers, socket } = request;
    if (method !== "GET") {
      response.setHeader("allow", "GET");
      return { status: 405, title: "what is sealed is only read here", stage: "method" };
    }
    const { host = "" } = headers;
    // What was signed for another place is not carried out here, or a hostile one could pass it on.
    const named = host.replace(/:\d{1,5}$/, "").replace(/^\[|\]$/g, "");
    if (isIP(named) !== 0 && named !== plainAddress(socket.localAddress)) {
      return { status: 421, title: "not the address that was connected to", stage: "authority" };
    }
    const mark = url.indexOf("?");
    const path = mark < 0 ? url : url.slice(0, mark);
    const query = mark < 0 ? "?" : url.slice(mark);
    let asked: ReturnType<typeof parseAsk>;
    try {
      asked = parseAsk(method, path.slice(mailboxPrefix.length), query);
    } catch (error) {
      if (!isFailure(error)) throw error;
      return no(400, error);
    }
    const { ask } = asked;
    let signed: ReturnType<typeof verifyRequest>;
    try {
      const target = { method, authority: host, path, query };
      signed = verifyRequest(target, headers as Record<string, string | undefined>, {
        ...{ suite: nodeSuite, nowMs: desk.wallMs() },
      });
      checkContent(signed.contentSha512, nothing);
    } catch (error) {
      if (!isFailure(error)) throw error;
      // By the clock that it was judged by, which the phone then takes.
      response.setHeader("date", new Date(desk.wallMs()).toUTCString());
      return no(401, error);
    }
    const isLetIn = () => {
      const role = desk.role(signed.key);
      const isOurs = desk.mailbox !== undefined && equal(asked.mailbox, desk.mailbox);
      return isOurs && (role === "owner" || role === "viewer");
    };
    const denied = { status: 403, title: "no door for this", stage: "right" };
    if (!isLetIn()) return denied;
    const phone = toHex(signed.key);
    const leave = sending(phone);
    if (!leave) return { status: 429, title: "too much at once" };
    const left = () => {
      leave();
      for (const one of [response, socket]) one.removeListener("close", left);
    };
    // Of a pipeline whose turn has not come only the connection says that it is over.
    for (const one of [response, socket]) one.on("close", left);
    if (ask.act === "get") {
      const { name } = ask;
      // Boxes are the camera's to read, and it keeps no door list.
      const isKept = name.kind === "entry" || name.kind === "part" || name.kind === "beacon";
      const bytes = isKept ? await readFrom(desk.outbox, name) : undefined;
      if (!bytes) return { status: 404, title: "nothing under this name" };
      return send(response, objectType, bytes);
    }
    if (ask.act !== "list") return denied;
    const { page } = ask;
    let listed = list(page);
    if (listed.length === 0 && page.waitS !== undefined) {
      const stop = waiting(phone);
      if (!stop) return { status: 429, title: "too many wait" };
      const waitMs = Math.min(page.waitS * 1000, longestWaitMs);
      const changed = await wait(page, waitMs, response).finally(stop);
      // The phone may have been removed meanwhile.
      if (!isLetIn()) return denied;
      listed = [...changed, ...list(page)].slice(0, mostOf(page));
    }
    return send(response, listingType, Buffer.from(printListing(listed)));
  };
}

/** Counts who is in it: how to leave, once, or nothing where there is no room. */
function openRoom({ all, ofPhone }: { all: number; ofPhone: number }) {
  const inside = new Map<string, number>();
  return (phone: string): (() => void) | undefined => {
    const own = inside.get(phone) ?? 0;
    const sum = [...inside.values()].reduce((so, one) => so + one, 0);
    if (own >= ofPhone || sum >= all) return undefined;
    inside.set(phone, own + 1);
    let isOut = false;
    return () => {
      if (isOut) return;
      isOut = true;
      const left = (inside.get(phone) ?? 1) - 1;
      if (left > 0) inside.set(phone, left);
      else inside.delete(phone);
    };
  };
}

async function readFrom(
  outbox: MailboxDesk["outbox"],
  name: Parameters<Outbox["read"]>[0],
): Promise<Uint8Array | undefined> {
  return await outbox.read(name).catch((error) => {
    if (isFailure(error, "absent")) return undefined;
    throw error;
  });
}

function no(status: number, error: Error & { stage?: string | undefined }): No {
  return { status, title: explain(error), ...(error.stage ? { stage: error.stage } : {}) };
}
