import { Failure, type FailureKind } from "../../base/pure/failure.ts";
import {
  type Ask,
  type Clip,
  type Listed,
  listingBytes,
  longest,
  type Page,
  type Problem,
  parseListing,
  parseProblem,
  printAsk,
  problemBytes,
} from "./mailbox.ts";
import type { Name } from "./name.ts";
import { parseVerdict, type Verdict, verdictBytes } from "./push.ts";
import { signRequest } from "./request.ts";
import { keyBytes, type Sign, type Suite } from "./signature.ts";

// A mailbox on a relay, as camera, phone and browser use it. Specification: mailbox.md.

/** One HTTP request, and what came back. */
export type Sending = {
  method: string;
  url: string;
  headers: Readonly<Record<string, string>>;
  body?: Uint8Array;
  /** An answer's body longer than this is not read to its end. */
  mostBytes: number;
  /** Time from the start to the whole answer; longer for a body that the line is slow for. */
  timeoutMs: number;
  signal?: AbortSignal;
};
export type Answer = {
  status: number;
  /** By lower-case name. */
  headers: Readonly<Record<string, string | undefined>>;
  body: Uint8Array;
};
/**
 * Sends it once, follows no redirection. Rejects with Failure "gone" when there was no whole answer
 * in time, "corrupt" for an answer that is none or is longer than `mostBytes`, and with the
 * signal's reason when it aborts.
 */
export type Send = (sending: Sending) => Promise<Answer>;

export type Mailbox = {
  /** Durable at the relay when it resolves; "there" when the very same bytes were already. */
  put(
    object: { name: Name; bytes: Uint8Array },
    options?: { signal?: AbortSignal },
  ): Promise<"stored" | "there">;
  /**
   * Undefined when it is not there. The bytes are not checked here: the reader's own decoder holds
   * them against the name (`checkName`) and their signature.
   */
  get(name: Name, options?: { signal?: AbortSignal }): Promise<Uint8Array | undefined>;
  /**
   * One page of names, in their order, after `after`. With `waitMs` an empty page is held back by
   * the relay until there is something, at most a minute; it may come back empty earlier.
   */
  list(options?: {
    under?: string;
    after?: string;
    limit?: number;
    waitMs?: number;
    signal?: AbortSignal;
  }): Promise<Listed[]>;
  /** Takes away an object or all parts of a clip. What is not there is no error. */
  remove(what: Name | Clip, options?: { signal?: AbortSignal }): Promise<void>;
  /**
   * Has the relay hand a message to a push service (`encodePush`), and resolves with what that said.
   * Stages of a refusal: "push" when this relay forwards nothing, "host" when not to there, "method"
   * from a relay that is older than this.
   */
  push(message: Uint8Array, options?: { signal?: AbortSignal }): Promise<Verdict>;
  /** The relay's time by its last answer, ms since 1970, to the second; undefined before one. */
  relayMs(): number | undefined;
};

/**
 * All failures are typed: "gone" no answer, too many requests or a relay in trouble (`retryAfterMs`
 * where it said so): try again later; "full" its quota or disk; "refused" it said no, `stage` names
 * the check (request.md, mailbox.md; "right" when the key has no door for it, "rises" for a beacon or
 * door list older than the relay's); "corrupt" garbage.
 *
 * @param url http(s)://host[:port][/prefix] of the relay
 * @param mailbox 32 bytes
 * @param key the public key of `sign`, which the mailbox's door list lets in (or its root key)
 * @param timeoutMs for an answer, without a body's own time (1 KiB/s) and without a long poll's wait
 */
export function openMailbox({
  url,
  mailbox,
  key,
  sign,
  suite,
  send,
  nowMs,
  timeoutMs = 20_000,
}: {
  url: string;
  mailbox: Uint8Array;
  key: Uint8Array;
  sign: Sign;
  suite: Suite;
  send: Send;
  nowMs(): number;
  timeoutMs?: number;
}): Mailbox {
  const { origin, authority, prefix } = parseRelay(url);
  if (mailbox.length !== keyBytes || key.length !== keyBytes) {
    throw new Failure("misuse", "mailbox and key are 32 bytes each");
  }
  /** What the relay's clock is ahead of ours, as its last answer said; to sign with once it had to. */
  let aheadMs: number | undefined;
  let signAheadMs = 0;

  const once = async (
    method: string,
    ask: Ask,
    {
      body,
      mostBytes,
      waitMs,
      signal,
    }: { body?: Uint8Array; mostBytes: number; waitMs: number; signal?: AbortSignal | undefined },
  ): Promise<Answer> => {
    const target = printAsk(mailbox, ask);
    const path = prefix + target.path;
    const hash = suite.sha512();
    if (body) hash.update(body);
    const signed = signRequest({ method, authority, path, query: target.query }, hash.digest(), {
      // Our own clock may have been set since: a time before 1970 could not be written, and so never
      // be put right.
      ...{ sign, key, createdMs: Math.max(0, nowMs() + signAheadMs) },
    });
    const answer = await send({
      method,
      url: origin + path + (target.query === "?" ? "" : target.query),
      headers: { ...signed, ...(body ? { "content-type": "application/octet-stream" } : {}) },
      ...(body ? { body } : {}),
      mostBytes: Math.max(mostBytes, problemBytes),
      timeoutMs: timeoutMs + waitMs + Math.max(mostBytes, body?.length ?? 0),
      ...(signal ? { signal } : {}),
    });
    const date = Date.parse(answer.headers.date ?? "");
    if (Number.isFinite(date)) aheadMs = date - nowMs();
    return answer;
  };

  const request: typeof once = async (method, ask, options) => {
    const answer = await once(method, ask, options);
    // A board without a clock takes the relay's; one that lies gains only that it refuses us.
    if (answer.status !== 401 || parseProblem(answer.body).stage !== "created") return answer;
    if (aheadMs === undefined) return answer;
    signAheadMs = aheadMs;
    return await once(method, ask, options);
  };

  return {
    async put({ name, bytes }, { signal } = {}) {
      if (bytes.length > longest[name.kind]) {
        throw new Failure("misuse", `a ${name.kind} of ${bytes.length} bytes`);
      }
      const ask: Ask = { act: "put", name };
      const answer = await request("PUT", ask, { body: bytes, mostBytes: 0, waitMs: 0, signal });
      if (answer.status === 201) return "stored";
      if (answer.status === 200) return "there";
      throw failureOf(answer);
    },
    async get(name, { signal } = {}) {
      const mostBytes = longest[name.kind];
      const answer = await request("GET", { act: "get", name }, { mostBytes, waitMs: 0, signal });
      if (answer.status === 404) return undefined;
      if (answer.status !== 200) throw failureOf(answer);
      if (answer.body.length > mostBytes) throw tooLong(name.kind);
      return answer.body;
    },
    async list({ under = "", after = "", limit, waitMs = 0, signal } = {}) {
      const waitS = Math.min(60, Math.ceil(waitMs / 1000));
      const page: Page = {
        ...{ under, after },
        ...(limit === undefined ? {} : { limit }),
        ...(waitS > 0 ? { waitS } : {}),
      };
      const answer = await request(
        "GET",
        { act: "list", page },
        { mostBytes: listingBytes, waitMs: waitS * 1000, signal },
      );
      if (answer.status !== 200) throw failureOf(answer);
      return parseListing(answer.body, page);
    },
    async remove(what, { signal } = {}) {
      const ask: Ask =
        "kind" in what ? { act: "delete", name: what } : { act: "delete-clip", clip: what };
      const answer = await request("DELETE", ask, { mostBytes: 0, waitMs: 0, signal });
      if (answer.status !== 204 && answer.status !== 404) throw failureOf(answer);
    },
    async push(message, { signal } = {}) {
      const asked = { body: message, mostBytes: verdictBytes, waitMs: forwardMs, signal };
      const answer = await request("POST", { act: "push" }, asked);
      if (answer.status !== 200) throw failureOf(answer);
      return parseVerdict(answer.body);
    },
    relayMs: () => (aheadMs === undefined ? undefined : Math.round(nowMs() + aheadMs)),
  };
}

/** What a relay may take for a push service, besides its own time. */
const forwardMs = 15_000;

const relayPattern =
  /^(https?):\/\/((?:[a-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::[1-9][0-9]{0,4})?)((?:\/[a-z0-9._~-]{1,64}){0,4})\/?$/;

/**
 * Reads a relay's address: scheme and host in lower case, no user, query or fragment; a scheme's own
 * port is left out of the authority, as browsers do. Throws Failure "misuse", stage "relay".
 */
export function parseRelay(url: string): { origin: string; authority: string; prefix: string } {
  const found = relayPattern.exec(url);
  const [, scheme = "", host = "", prefix = ""] = found ?? [];
  if (!found || url.length > 512 || prefix.split("/").some((step) => /^\.+$/.test(step))) {
    throw new Failure("misuse", "not the address of a relay", {
      stage: "relay",
      hint: "Write it as https://relay.example:8443 or http://192.168.1.2:8470",
    });
  }
  const authority = host.replace(scheme === "http" ? /:80$/ : /:443$/, "");
  return { origin: `${scheme}://${authority}`, authority, prefix };
}

const kindOf: Readonly<Record<number, FailureKind>> = {
  400: "refused",
  401: "refused",
  403: "refused",
  404: "refused",
  405: "refused",
  409: "refused",
  411: "refused",
  413: "refused",
  421: "refused",
  408: "gone",
  429: "gone",
  507: "full",
};

/** A name for the check where a relay's problem document does not give one. */
const stageOf: Readonly<Record<number, string>> = { 403: "right", 409: "rises", 413: "length" };

function failureOf({ status, headers, body }: Answer): Failure {
  const { title, stage = stageOf[status] }: Problem = parseProblem(body);
  const kind = kindOf[status] ?? (status >= 500 && status < 600 ? "gone" : "corrupt");
  const seconds = /^[0-9]{1,5}$/.test(headers["retry-after"] ?? "") ? headers["retry-after"] : "";
  return new Failure(kind, `the relay answers ${status}${title ? `: ${title}` : ""}`, {
    ...(stage === undefined ? {} : { stage }),
    ...(seconds ? { retryAfterMs: Number(seconds) * 1000 } : {}),
  });
}

function tooLong(kind: string): Failure {
  return new Failure("corrupt", `the relay gives more than a ${kind} can have`, {
    stage: "length",
  });
}
