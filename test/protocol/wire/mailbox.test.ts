import * as assert from "uvu/assert";
import { fromText, toText } from "../../../src/base/pure/bytes.ts";
import {
  type Ask,
  type Listed,
  listingBytes,
  listMost,
  longest,
  type Page,
  parseAsk,
  parseListing,
  parseProblem,
  printAsk,
  printClip,
  printListing,
  printProblem,
} from "../../../src/protocol/wire/mailbox.ts";
import { compareNames, type Name, printName } from "../../../src/protocol/wire/name.ts";
import { fuzz } from "../../lib/fuzz.ts";
import { suite } from "../../lib/suite.ts";
import { checkVectors } from "../../lib/vectors.ts";

const mailbox = new Uint8Array(32).fill(0xb0);
const hash = new Uint8Array(32).fill(0x9f);
const clip = new Uint8Array(16).fill(0xc1);
const names: Name[] = [
  { kind: "beacon" },
  { kind: "box", writer: hash, sequence: 4, hash },
  { kind: "door" },
  { kind: "entry", incarnation: 1, sequence: 9, hash },
  { kind: "part", incarnation: 1, clip, number: 12, hash },
];
const pages: Page[] = [
  { under: "", after: "" },
  { under: "entry/", after: "entry/0000000001/0", limit: 10 },
  { under: "beacon", after: "beacon", waitS: 60 },
  { under: printClip({ incarnation: 1, clip }), after: "", limit: listMost, waitS: 1 },
];
const asks: [method: string, ask: Ask][] = [
  ...names.flatMap((name): [string, Ask][] => [
    ["PUT", { act: "put", name }],
    ["GET", { act: "get", name }],
    ["DELETE", { act: "delete", name }],
  ]),
  ["DELETE", { act: "delete-clip", clip: { incarnation: 7, clip } }],
  ["POST", { act: "push" }],
  ...pages.map((page): [string, Ask] => ["GET", { act: "list", page }]),
];

/** The vectors' text form of what is asked: "METHOD path?query". */
function parseText(bytes: Uint8Array) {
  const text = Buffer.from(bytes).toString("latin1");
  const space = text.indexOf(" ");
  const mark = text.indexOf("?", space);
  const end = mark < 0 ? text.length : mark;
  const query = mark < 0 ? "?" : text.slice(mark);
  return parseAsk(text.slice(0, space), text.slice(space + 1, end), query);
}

function printText(method: string, ask: Ask): Uint8Array {
  const { path, query } = printAsk(mailbox, ask);
  const isList = ask.act === "list";
  return fromText(`${method} ${path}${query === "?" && !isList ? "" : query}`);
}

const methods: Record<Ask["act"], string> = {
  ...{ put: "PUT", get: "GET", delete: "DELETE", "delete-clip": "DELETE", list: "GET" },
  push: "POST",
};

function parsePageText(text: string): Page {
  const fields = new URLSearchParams(text.slice(1));
  const limit = fields.get("limit");
  return {
    ...{ under: fields.get("under") ?? "", after: fields.get("after") ?? "" },
    ...(limit === null ? {} : { limit: Number(limit) }),
  };
}

suite("mailbox", (test) => {
  test("vectors of what is asked", async () => {
    await checkVectors(
      "wire/ask",
      ({ bytes }) => {
        const fields = parseText(bytes);
        return { fields, again: printText(methods[fields.ask.act], fields.ask) };
      },
      // A limit cut short is a smaller limit.
      { prefixes: false },
    );
  });

  test("vectors of listings", async () => {
    await checkVectors(
      "wire/listing",
      ({ header, bytes }) => {
        const fields = parseListing(bytes, parsePageText(header.page ?? ""));
        return { fields, again: fromText(printListing(fields)) };
      },
      // A listing cut after a line is a shorter one: it may lie by leaving out.
      { prefixes: false },
    );
  });

  test("whatever can be asked comes back from its target", () => {
    for (const [method, ask] of asks) {
      const { path, query } = printAsk(mailbox, ask);
      assert.equal(parseAsk(method, path, query), { mailbox, ask });
    }
  });

  test("a clip's prefix is what its parts begin with, and no other's", () => {
    const part = printName({ kind: "part", incarnation: 7, clip, number: 3, hash });
    assert.ok(part.startsWith(printClip({ incarnation: 7, clip })));
    assert.not.ok(part.startsWith(printClip({ incarnation: 8, clip })));
  });

  test("a full listing is read, and no listing is longer than the limit says", () => {
    const many: Listed[] = Array.from({ length: listMost }, (_, sequence) => ({
      name: { kind: "box", writer: hash, sequence, hash },
      bytes: longest.box,
    }));
    const content = fromText(printListing(many));
    assert.is(content.length, listingBytes);
    assert.equal(parseListing(content, { under: "", after: "" }), many);
  });

  test("problems: what a relay says cannot hurt who shows it", () => {
    const { title, stage } = parseProblem(printProblem({ title: "no", stage: "right" }));
    assert.equal({ title, stage }, { title: "no", stage: "right" });
    const hostile = { title: "\u001b[2J\u202eok\n", stage: "../x" };
    assert.equal(parseProblem(fromText(JSON.stringify(hostile))), { title: "[2Jok" });
    for (const text of [
      "",
      "null",
      "[]",
      '{"title":1}',
      "\u0000",
      `{"title":"${"x".repeat(9999)}"}`,
    ])
      assert.equal(parseProblem(fromText(text)), { title: "" }, text.slice(0, 20));
    assert.is(parseProblem(fromText(`{"title":"${"x".repeat(3000)}"}`)).title.length, 200);
    assert.equal(parseProblem(Uint8Array.of(0xff)), { title: "" });
  });

  test("fuzz: what is asked is read as it was written, or refused", () => {
    fuzz({
      name: "ask",
      seeds: asks.map(([method, ask]) => printText(method, ask)),
      decode: (bytes) => {
        const { mailbox: to, ask } = parseText(bytes);
        const { path, query } = printAsk(to, ask);
        const text = Buffer.from(bytes).toString("latin1");
        const plain = `${methods[ask.act]} ${path}`;
        if (text !== plain + query && !(query === "?" && text === plain)) {
          throw new Error("two spellings of one request");
        }
      },
      reaches: ["taken", "mailbox", "name", "query", "method"],
    });
  });

  test("fuzz: listings", () => {
    const page: Page = { under: "", after: "beacon" };
    const listed = names.sort(compareNames).map((name, i) => ({ name, bytes: 100 + i }));
    fuzz({
      name: "listing",
      seeds: [listed, listed.slice(2), listed.slice(3)].map((l) => fromText(printListing(l))),
      decode: (bytes) => {
        const found = parseListing(bytes, page);
        if (printListing(found) !== toText(bytes)) throw new Error("two spellings of one listing");
      },
      reaches: ["taken", "listing", "name", "text"],
    });
  });
});
