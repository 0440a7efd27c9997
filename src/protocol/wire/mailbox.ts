import { fromHex, fromText, toHex, toText } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import { beaconBytes } from "./beacon.ts";
import { doorsMost } from "./door.ts";
import { bodyBytes, stanzasBytes } from "./entry.ts";
import { clipIdBytes, longestName, type Name, parseName, printName } from "./name.ts";
import { partBytes } from "./part.ts";
import { hashBytes, keyBytes, signatureBytes } from "./signature.ts";

// What can be asked of a mailbox over HTTP, and how a listing is written. Specification: mailbox.md.

export type Clip = { incarnation: number; clip: Uint8Array };
/** A listing: names in text order, those beginning with `under`, strictly after `after`. */
export type Page = {
  under: string; // "" or a prefix of whole fields: "entry/", "part/0000000001/<clip>/", "beacon"
  after: string; // "" or any text up to the longest name: a bound, not a name
  limit?: number; // names on the page, at most `listMost`, which is what counts when it is absent
  waitS?: number; // how long the relay may hold an empty answer back, at most `waitMostS`
};
export type Ask =
  | { act: "put" | "get" | "delete"; name: Name }
  | { act: "delete-clip"; clip: Clip }
  | { act: "list"; page: Page }
  /** To be handed to a push service (push.md). */
  | { act: "push" };
export type Listed = { name: Name; bytes: number };

export const listMost = 1000;
export const waitMostS = 60;
/** Bytes of the longest listing: the longest name, a space, seven digits and a line end a line. */
export const listingBytes: number = listMost * (longestName + 9);
/** Bytes of the longest problem document that a client reads. */
export const problemBytes = 4096;
/** Media type of an object; of a listing it is text. */
export const objectType = "application/octet-stream";
export const listingType = "text/plain; charset=utf-8";
export const problemType = "application/problem+json";

/** The longest that an object of a kind can be; a relay turns a longer one away by its length. */
export const longest: Readonly<Record<Name["kind"], number>> = {
  part: partBytes,
  box: partBytes,
  entry: 128 + 4 + stanzasBytes + 4 + bodyBytes + signatureBytes,
  beacon: beaconBytes,
  door: 54 + doorsMost * (keyBytes + 1 + clipIdBytes + 8) + signatureBytes,
};

/** Path and query of a request's target, as they stand on the request line; "?" for no query. */
export function printAsk(mailbox: Uint8Array, ask: Ask): { path: string; query: string } {
  const root = `/${toHex(mailbox)}/`;
  switch (ask.act) {
    case "put":
    case "get":
    case "delete":
      return { path: root + printName(ask.name), query: "?" };
    case "delete-clip":
      return { path: root + printClip(ask.clip), query: "?" };
    case "list":
      return { path: root, query: printPage(ask.page) };
    case "push":
      return { path: root + pushPath, query: "?" };
  }
}

/**
 * Reads exactly what `printAsk` prints; anything else is refused, stages "method", "mailbox",
 * "name" and "query". So one thing is asked for in one way, and no path leaves its mailbox.
 */
export function parseAsk(
  method: string,
  path: string,
  query: string,
): { mailbox: Uint8Array; ask: Ask } {
  const id = /^\/([0-9a-f]{64})\/(.*)$/s.exec(path);
  if (!id) throw refuse("mailbox", "no mailbox");
  const mailbox = fromHex(id[1] ?? "");
  const rest = id[2] ?? "";
  if (method === "GET" && rest === "") {
    return { mailbox, ask: { act: "list", page: parsePage(query) } };
  }
  if (query !== "?") throw refuse("query", "a query where there is none");
  switch (method) {
    case "PUT":
      return { mailbox, ask: { act: "put", name: parseName(rest) } };
    case "GET":
      return { mailbox, ask: { act: "get", name: parseName(rest) } };
    case "DELETE": {
      const clip = parseClip(rest);
      if (clip) return { mailbox, ask: { act: "delete-clip", clip } };
      return { mailbox, ask: { act: "delete", name: parseName(rest) } };
    }
    case "POST":
      if (rest !== pushPath) throw refuse("method", "only a message is posted");
      return { mailbox, ask: { act: "push" } };
    default:
      throw refuse("method", "a mailbox knows PUT, GET, DELETE and POST");
  }
}

/** "part/<incarnation>/<clip>/": what every part of a clip begins with. */
export function printClip({ incarnation, clip }: Clip): string {
  const hash = new Uint8Array(hashBytes);
  const name = printName({ kind: "part", incarnation, clip, number: 0, hash });
  return name.slice(0, clipPrefix);
}

const pushPath = "push";
const clipPrefix = "part/".length + 10 + 1 + 2 * clipIdBytes + 1;
const clipPattern = /^part\/[0-9]{10}\/[0-9a-f]{32}\/$/;

function parseClip(text: string): Clip | undefined {
  if (!clipPattern.test(text)) return undefined;
  const name = parseName(`${text}${"0".repeat(10)}/${"0".repeat(2 * hashBytes)}`);
  return name.kind === "part" ? { incarnation: name.incarnation, clip: name.clip } : undefined;
}

/** Whole fields of a name, from its beginning. */
const underPattern =
  /^(?:beacon|door|part\/(?:[0-9]{10}\/(?:[0-9a-f]{32}\/(?:[0-9]{10}\/)?)?)?|entry\/(?:[0-9]{10}\/(?:[0-9]{16}\/)?)?|box\/(?:[0-9a-f]{64}\/(?:[0-9]{16}\/)?)?)$/;
const afterPattern = /^[0-9a-z/]+$/;
const numberPattern = /^[1-9][0-9]{0,3}$/;

function printPage(page: Page): string {
  // What this very file would refuse to read is never asked.
  return joinPage(parsePage(joinPage(page)));
}

function joinPage({ under, after, limit, waitS }: Page): string {
  const fields = [
    ...(under === "" ? [] : [`under=${under}`]),
    ...(after === "" ? [] : [`after=${after}`]),
    ...(limit === undefined ? [] : [`limit=${limit}`]),
    ...(waitS === undefined ? [] : [`wait=${waitS}`]),
  ];
  return `?${fields.join("&")}`;
}

function parsePage(query: string): Page {
  const fields = new Map(
    query
      .slice(1)
      .split("&", 4)
      .map((field) => {
        const at = field.indexOf("=");
        return [field.slice(0, at), field.slice(at + 1)];
      }),
  );
  const count = (name: string, most: number) => {
    const text = fields.get(name);
    if (text === undefined) return undefined;
    const value = numberPattern.test(text) ? Number(text) : Number.NaN;
    if (!(value <= most)) throw refuse("query", `${name} is a number from 1 to ${most}`);
    return value;
  };
  const under = fields.get("under") ?? "";
  const after = fields.get("after") ?? "";
  const [limit, waitS] = [count("limit", listMost), count("wait", waitMostS)];
  if (under !== "" && !underPattern.test(under)) {
    throw refuse("query", "under is no prefix of whole fields");
  }
  if (after !== "" && (after.length > longestName || !afterPattern.test(after))) {
    throw refuse("query", "after is no bound of names");
  }
  const page: Page = {
    ...{ under, after },
    ...(limit === undefined ? {} : { limit }),
    ...(waitS === undefined ? {} : { waitS }),
  };
  if (joinPage(page) !== query) throw refuse("query", "not the one form of a listing's query");
  return page;
}

/** Whether an object's name belongs on a page. */
export function isOnPage(name: string, { under, after }: Page): boolean {
  return name > after && name.startsWith(under);
}

export function printListing(listed: readonly Listed[]): string {
  return listed.map(({ name, bytes }) => `${printName(name)} ${bytes}\n`).join("");
}

/**
 * Reads a page and holds it against what was asked: lines of one form, names that rise, belong on
 * the page and are no more than asked for, sizes that their kind can have; else "corrupt", stage
 * "listing". Beacon and door list may stand there although `after` is not before them: they were
 * overwritten while the relay held the answer.
 */
export function parseListing(content: Uint8Array, page: Page): Listed[] {
  if (content.length > listingBytes) throw misread("longer than a listing can be");
  const text = toText(content);
  if (text === "") return [];
  if (!text.endsWith("\n")) throw misread("cut short");
  const lines = text.slice(0, -1).split("\n");
  if (lines.length > (page.limit ?? listMost)) throw misread("more names than asked for");
  let before = "";
  return lines.map((line) => {
    const found = /^([0-9a-z/]+) ([1-9][0-9]{0,6})$/.exec(line);
    if (!found) throw misread("a line that is none");
    const [, written = "", size = ""] = found;
    const name = parseName(written);
    const isFixed = name.kind === "beacon" || name.kind === "door";
    if (written <= before) throw misread("names that do not rise");
    if (!isOnPage(written, isFixed ? { ...page, after: "" } : page)) {
      throw misread("a name that was not asked for");
    }
    before = written;
    const bytes = Number(size);
    if (bytes > longest[name.kind]) throw misread(`a ${name.kind} of ${bytes} bytes`);
    return { name, bytes };
  });
}

/** Why a relay said no, as its problem document says it. */
export type Problem = { title: string; stage?: string };

export function printProblem({ title, stage }: Problem): Uint8Array {
  return fromText(`${JSON.stringify({ title, ...(stage ? { stage } : {}) })}\n`);
}

/** What can be made of a problem document; whatever a relay says there is for people only. */
export function parseProblem(content: Uint8Array): Problem {
  try {
    const { title, stage } = JSON.parse(toText(content.subarray(0, problemBytes)));
    const isWord = typeof stage === "string" && /^[a-z-]{1,32}$/.test(stage);
    return { title: plain(title), ...(isWord ? { stage } : {}) };
  } catch {
    return { title: "" };
  }
}

function plain(title: unknown): string {
  return typeof title === "string" ? title.replace(/[^ -~]/g, "").slice(0, 200) : "";
}

function refuse(stage: string, why: string): Failure {
  return new Failure("corrupt", `not a request to a mailbox: ${why}`, { stage });
}

function misread(why: string): Failure {
  return new Failure("corrupt", `not a listing: ${why}`, { stage: "listing" });
}
