import { fromText } from "../src/base/pure/bytes.ts";
import type { Vector } from "./vectors.ts";

// The vectors of what is asked of a mailbox and of its listings: both are text.

const mailbox = "b0".repeat(32);
const hash = "9f".repeat(32);
const clip = "c1".repeat(16);
const entry = `entry/0000000001/0000000000000001/${hash}`;
const part = `part/0000000002/${clip}/0000000003/${hash}`;

type Case = [text: string, stageOrFields: string | Record<string, string>];

export function askVectors(): Vector[] {
  const list = { "ask.act": "list" };
  const cases: Record<string, Case> = {
    "well-put": [
      `PUT /${mailbox}/${entry}`,
      {
        ...{ "ask.act": "put", "ask.name.kind": "entry", "ask.name.incarnation": "1" },
        ...{ "ask.name.sequence": "1", "ask.name.hash": hash },
      },
    ],
    "well-get": [`GET /${mailbox}/door`, { "ask.act": "get", "ask.name.kind": "door" }],
    "well-delete": [
      `DELETE /${mailbox}/box/${hash}/0000000000000007/${hash}`,
      {
        ...{ "ask.act": "delete", "ask.name.kind": "box", "ask.name.writer": hash },
        ...{ "ask.name.sequence": "7", "ask.name.hash": hash },
      },
    ],
    "well-delete-clip": [
      `DELETE /${mailbox}/part/0000000002/${clip}/`,
      { "ask.act": "delete-clip", "ask.clip.incarnation": "2", "ask.clip.clip": clip },
    ],
    "well-list": [`GET /${mailbox}/?`, { ...list, "ask.page.under": "", "ask.page.after": "" }],
    "well-list-all-fields": [
      `GET /${mailbox}/?under=part/0000000002/${clip}/&after=${part}&limit=1000&wait=60`,
      {
        ...{ ...list, "ask.page.under": `part/0000000002/${clip}/`, "ask.page.after": part },
        ...{ "ask.page.limit": "1000", "ask.page.waitS": "60" },
      },
    ],
    "well-list-bound-that-is-no-name": [
      `GET /${mailbox}/?after=part/0000000002/${clip}0&limit=1`,
      {
        ...{ ...list, "ask.page.under": "", "ask.page.after": `part/0000000002/${clip}0` },
        "ask.page.limit": "1",
      },
    ],
    "well-list-beacon": [
      `GET /${mailbox}/?under=beacon&after=beacon&wait=1`,
      {
        ...{ ...list, "ask.page.under": "beacon", "ask.page.after": "beacon" },
        "ask.page.waitS": "1",
      },
    ],
    "well-push": [`POST /${mailbox}/push`, { "ask.act": "push" }],
    "name-of-a-push-for-put": [`PUT /${mailbox}/push`, "name"],
    "method-post-below-push": [`POST /${mailbox}/push/`, "method"],
    "query-of-a-push": [`POST /${mailbox}/push?x=1`, "query"],
    "mailbox-missing": ["GET /?", "mailbox"],
    "mailbox-without-slash": [`GET /${mailbox}?`, "mailbox"],
    "mailbox-short": [`GET /${mailbox.slice(2)}/door`, "mailbox"],
    "mailbox-upper-case": [`GET /${mailbox.toUpperCase()}/door`, "mailbox"],
    "mailbox-doubled-slash": [`GET //${mailbox}/door`, "mailbox"],
    "mailbox-absolute": [`GET http://relay.example/${mailbox}/door`, "mailbox"],
    "name-traversal": [`GET /${mailbox}/../${mailbox}/door`, "name"],
    "name-escaped": [`GET /${mailbox}/%64oor`, "name"],
    "name-missing-for-put": [`PUT /${mailbox}/`, "name"],
    "name-of-a-clip-for-get": [`GET /${mailbox}/part/0000000002/${clip}/`, "name"],
    "name-of-a-clip-above-u32": [`DELETE /${mailbox}/part/4294967296/${clip}/`, "name"],
    "name-of-an-incarnation": [`DELETE /${mailbox}/part/0000000002/`, "name"],
    "name-with-line-end": [`GET /${mailbox}/door\n`, "name"],
    "method-post": [`POST /${mailbox}/door`, "method"],
    "method-lower-case": [`get /${mailbox}/door`, "method"],
    "query-of-a-name": [`GET /${mailbox}/door?x=1`, "query"],
    "query-of-a-put": [`PUT /${mailbox}/door?limit=1`, "query"],
    "query-order": [`GET /${mailbox}/?limit=1&after=a`, "query"],
    "query-doubled": [`GET /${mailbox}/?limit=1&limit=2`, "query"],
    "query-unknown": [`GET /${mailbox}/?prefix=entry/`, "query"],
    "query-empty-field": [`GET /${mailbox}/?under=&limit=1`, "query"],
    "query-joint-first": [`GET /${mailbox}/?&limit=1`, "query"],
    "query-joint-last": [`GET /${mailbox}/?limit=1&`, "query"],
    "query-joint-missing": [`GET /${mailbox}/?under=entry/after=a`, "query"],
    "query-under-half-a-field": [`GET /${mailbox}/?under=entry/00`, "query"],
    "query-under-without-slash": [`GET /${mailbox}/?under=entry`, "query"],
    "query-under-unknown": [`GET /${mailbox}/?under=live/`, "query"],
    "query-after-escaped": [`GET /${mailbox}/?after=entry%2f`, "query"],
    "query-after-too-long": [`GET /${mailbox}/?after=${"a".repeat(151)}`, "query"],
    "query-limit-0": [`GET /${mailbox}/?limit=0`, "query"],
    "query-limit-padded": [`GET /${mailbox}/?limit=01`, "query"],
    "query-limit-above": [`GET /${mailbox}/?limit=1001`, "query"],
    "query-wait-above": [`GET /${mailbox}/?wait=61`, "query"],
    "query-wait-fraction": [`GET /${mailbox}/?wait=0.5`, "query"],
  };
  return vectorsOf("ask", cases, { mailbox });
}

export function listingVectors(): Vector[] {
  const box = `box/${hash}/0000000000000000/${hash}`;
  const page = "?under=&after=";
  const cases: Record<string, [query: string, ...Case]> = {
    "well-empty": [page, "", {}],
    "well-each-kind": [
      page,
      `beacon 169\n${box} 984424\ndoor 118\n${entry} 196808\n${part} 1048576\n`,
      {
        ...{ "0.name.kind": "beacon", "0.bytes": "169" },
        ...{ "1.name.kind": "box", "1.name.writer": hash, "1.name.sequence": "0" },
        ...{ "1.name.hash": hash, "1.bytes": "984424" },
        ...{ "2.name.kind": "door", "2.bytes": "118" },
        ...{ "3.name.kind": "entry", "3.name.incarnation": "1", "3.name.sequence": "1" },
        ...{ "3.name.hash": hash, "3.bytes": "196808" },
        ...{ "4.name.kind": "part", "4.name.incarnation": "2", "4.name.clip": clip },
        ...{ "4.name.number": "3", "4.name.hash": hash, "4.bytes": "1048576" },
      },
    ],
    "well-overwritten": [
      "?under=beacon&after=beacon",
      "beacon 169\n",
      { "0.name.kind": "beacon", "0.bytes": "169" },
    ],
    "listing-line-end-missing": [page, "beacon 169", "listing"],
    "listing-line-empty": [page, "beacon 169\n\n", "listing"],
    "listing-carriage-return": [page, "beacon 169\r\n", "listing"],
    "listing-two-spaces": [page, "beacon  169\n", "listing"],
    "listing-size-missing": [page, "beacon\n", "listing"],
    "listing-size-0": [page, `${entry} 0\n`, "listing"],
    "listing-size-padded": [page, `${entry} 01\n`, "listing"],
    "listing-size-above-its-kind": [page, `${entry} 196809\n`, "listing"],
    "listing-falls": [page, `${part} 5\n${entry} 5\n`, "listing"],
    "listing-doubled": [page, `${entry} 5\n${entry} 5\n`, "listing"],
    "listing-outside": ["?under=part/&after=", `${entry} 5\n`, "listing"],
    "listing-not-after": [`?under=&after=${entry}`, `${entry} 5\n`, "listing"],
    "listing-more-than-asked": ["?under=&after=&limit=1", `beacon 169\n${entry} 5\n`, "listing"],
    "name-of-nothing": [page, "entry/1 5\n", "name"],
    "name-traversal": [page, "entry/../door 5\n", "listing"],
    "text-not-utf-8": [page, "\u00ff", "text"],
  };
  return Object.entries(cases).flatMap(([name, [query, text, outcome]]) =>
    vectorsOf("listing", { [name]: [text, outcome] }, { page: query }),
  );
}

function vectorsOf(
  object: string,
  cases: Record<string, Case>,
  inputs: Record<string, string>,
): Vector[] {
  return Object.entries(cases).map(([name, [text, outcome]]) => {
    const isWell = typeof outcome !== "string";
    const expected = isWell ? { expect: "well" } : { expect: outcome, kind: "corrupt" };
    const header = { object, ...expected, ...inputs, ...(isWell ? outcome : {}) };
    const bytes = name === "text-not-utf-8" ? Uint8Array.of(0xff) : fromText(text);
    return { name, header, bytes, raw: true };
  });
}
