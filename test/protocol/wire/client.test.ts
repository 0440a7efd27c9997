import * as assert from "uvu/assert";
import { cameraSeed } from "../../../scripts/vectors-wire.ts";
import { ed25519Signer, nodeSuite } from "../../../src/base/node/crypto.ts";
import { fromText, toHex } from "../../../src/base/pure/bytes.ts";
import { type FailureKind, isFailure } from "../../../src/base/pure/failure.ts";
import {
  type Answer,
  openMailbox,
  parseRelay,
  type Sending,
} from "../../../src/protocol/wire/client.ts";
import { printProblem } from "../../../src/protocol/wire/mailbox.ts";
import type { Name } from "../../../src/protocol/wire/name.ts";
import { verifyRequest } from "../../../src/protocol/wire/request.ts";
import { suite } from "../../lib/suite.ts";

const camera = ed25519Signer(cameraSeed);
const mailboxId = new Uint8Array(32).fill(0xb0);
const hash = new Uint8Array(32).fill(0x9f);
const clip = new Uint8Array(16).fill(0xc1);
const entry: Name = { kind: "entry", incarnation: 1, sequence: 1, hash };
const nowMs = 1_780_000_000_000;

type Canned = { status: number; body?: Uint8Array; headers?: Record<string, string> };

/** A mailbox whose relay answers from a list, and what it was asked. */
function world(
  answers: Canned[],
  { url = "http://relay.example:8470", now = (): number => nowMs } = {},
) {
  const sent: Sending[] = [];
  const mailbox = openMailbox({
    ...{ url, mailbox: mailboxId, key: camera.publicKey, sign: camera.sign, suite: nodeSuite },
    nowMs: now,
    send: async (sending): Promise<Answer> => {
      sent.push(sending);
      const next = answers.shift();
      if (!next) throw new Error("asked more often than expected");
      return { headers: {}, body: new Uint8Array(), ...next };
    },
  });
  return { mailbox, sent };
}

const problem = (status: number, stage?: string, headers = {}): Canned => ({
  ...{ status, headers },
  body: printProblem({ title: "no", ...(stage ? { stage } : {}) }),
});

async function failureOf(act: Promise<unknown>) {
  const error = await act.then(
    () => undefined,
    (e) => e,
  );
  if (!isFailure(error)) throw new Error(`not a Failure: ${error}`);
  return error;
}

suite("client", (test) => {
  test("each request is one that a relay takes: target, authority, content and time signed", async () => {
    const { mailbox, sent } = world([
      ...[{ status: 201 }, { status: 200 }, { status: 404 }, { status: 200 }],
      ...[{ status: 204 }, { status: 204 }],
    ]);
    const bytes = fromText("sealed");
    assert.is(await mailbox.put({ name: entry, bytes }), "stored");
    assert.is(await mailbox.put({ name: entry, bytes }), "there");
    assert.is(await mailbox.get(entry), undefined);
    assert.equal(await mailbox.list({ under: "entry/", limit: 5, waitMs: 1500 }), []);
    await mailbox.remove(entry);
    await mailbox.remove({ incarnation: 1, clip });
    assert.equal(
      sent.map(({ method, url }) => `${method} ${url.replace(toHex(mailboxId), "M")}`),
      [
        ...Array(2).fill(
          `PUT http://relay.example:8470/M/entry/0000000001/0000000000000001/${toHex(hash)}`,
        ),
        `GET http://relay.example:8470/M/entry/0000000001/0000000000000001/${toHex(hash)}`,
        "GET http://relay.example:8470/M/?under=entry/&limit=5&wait=2",
        `DELETE http://relay.example:8470/M/entry/0000000001/0000000000000001/${toHex(hash)}`,
        `DELETE http://relay.example:8470/M/part/0000000001/${toHex(clip)}/`,
      ],
    );
    for (const { method, url, headers, body } of sent) {
      const { pathname, search } = new URL(url);
      const target = {
        ...{ method, authority: "relay.example:8470", path: pathname, query: search || "?" },
      };
      const seen = verifyRequest(target, headers, { suite: nodeSuite, nowMs });
      assert.equal(seen.key, camera.publicKey);
      const content = nodeSuite
        .sha512()
        .update(body ?? "")
        .digest();
      assert.equal(seen.contentSha512, new Uint8Array(content));
    }
  });

  test("a wrong clock takes the relay's time, once, and keeps it", async () => {
    const relayMs = nowMs + 86_400_000;
    const date = { date: new Date(relayMs).toUTCString() };
    const { mailbox, sent } = world([
      problem(401, "created", date),
      { status: 404, headers: date },
      { status: 404, headers: date },
      problem(401, "created", date),
      problem(401, "created", date),
    ]);
    assert.is(mailbox.relayMs(), undefined);
    assert.is(await mailbox.get(entry), undefined);
    assert.is(await mailbox.get(entry), undefined);
    assert.is(mailbox.relayMs(), relayMs);
    const created = sent.map(({ headers }) =>
      /created=(\d+)/.exec(headers["signature-input"] ?? ""),
    );
    assert.equal(
      created.map((found) => Number(found?.[1]) * 1000),
      [nowMs, relayMs, relayMs],
    );
    // A relay that always refuses is not asked for ever.
    const failure = await failureOf(mailbox.get(entry));
    assert.equal([failure.kind, failure.stage], ["refused", "created"]);
    assert.is(sent.length, 5);
  });

  test("a clock that goes to 1970 after the relay's time was taken is put right too", async () => {
    let ownMs = nowMs;
    const behindMs = nowMs - 3650 * 86_400_000;
    const late = (ms: number) => problem(401, "created", { date: new Date(ms).toUTCString() });
    const answers = [late(behindMs), { status: 404 }, late(nowMs), { status: 404 }];
    const { mailbox, sent } = world(answers, { now: () => ownMs });
    await mailbox.get(entry);
    ownMs = 60_000;
    await mailbox.get(entry);
    const created = sent.map(
      ({ headers }) => /;created=(\d+);/.exec(headers["signature-input"] ?? "")?.[1],
    );
    assert.equal(
      created,
      [nowMs, behindMs, 0, nowMs].map((ms) => String(Math.floor(ms / 1000))),
    );
  });

  const failures: [answer: Canned, kind: FailureKind, stage: string | undefined][] = [
    [problem(400, "beacon"), "refused", "beacon"],
    [problem(401, "signature"), "refused", "signature"],
    // Without a date there is nothing to set a clock by.
    [problem(401, "created"), "refused", "created"],
    [{ status: 403 }, "refused", "right"],
    [problem(409, "camera"), "refused", "camera"],
    [{ status: 409, body: fromText("<html>") }, "refused", "rises"],
    [{ status: 413 }, "refused", "length"],
    [problem(421, "authority"), "refused", "authority"],
    [problem(429), "gone", undefined],
    [{ status: 500 }, "gone", undefined],
    [{ status: 503 }, "gone", undefined],
    [problem(507, "quota"), "full", "quota"],
    [{ status: 302, headers: { location: "http://elsewhere/" } }, "corrupt", undefined],
    [{ status: 204 }, "corrupt", undefined],
    [{ status: 999 }, "corrupt", undefined],
  ];
  for (const [answer, kind, stage] of failures) {
    test(`a put that is answered ${answer.status} ${stage ?? ""} fails as ${kind}`, async () => {
      const { mailbox, sent } = world([answer]);
      const failure = await failureOf(mailbox.put({ name: entry, bytes: fromText("x") }));
      assert.equal([failure.kind, failure.stage], [kind, stage]);
      assert.is(sent.length, 1);
    });
  }

  test("how long to wait is handed on, when it is a number", async () => {
    const after = (text: string) => problem(429, undefined, { "retry-after": text });
    const { mailbox } = world([after("30"), after("Wed, 21 Oct 2026 07:28:00 GMT"), after("-1")]);
    assert.is((await failureOf(mailbox.get(entry))).retryAfterMs, 30_000);
    assert.is((await failureOf(mailbox.get(entry))).retryAfterMs, undefined);
    assert.is((await failureOf(mailbox.get(entry))).retryAfterMs, undefined);
  });

  test("garbage for a listing is corrupt, and so are more bytes than a kind can have", async () => {
    const { mailbox } = world([
      { status: 200, body: fromText("beacon 169\nbeacon 169\n") },
      { status: 200, body: fromText("entry/0000000001/ 5\n") },
      {
        status: 200,
        body: fromText(`door 50\nentry/0000000001/0000000000000001/${toHex(hash)} 5\n`),
      },
      { status: 200, body: new Uint8Array(170) },
    ]);
    assert.is((await failureOf(mailbox.list())).stage, "listing");
    assert.is((await failureOf(mailbox.list())).stage, "name");
    assert.is((await failureOf(mailbox.list({ under: "entry/" }))).stage, "listing");
    assert.is((await failureOf(mailbox.get({ kind: "beacon" }))).stage, "length");
  });

  test("an object that is too long is not sent", async () => {
    const { mailbox, sent } = world([]);
    const put = mailbox.put({ name: { kind: "beacon" }, bytes: new Uint8Array(170) });
    assert.is((await failureOf(put)).kind, "misuse");
    assert.is(sent.length, 0);
  });

  test("addresses of relays", () => {
    assert.equal(parseRelay("https://relay.example:443/a/b/"), {
      ...{ origin: "https://relay.example", authority: "relay.example", prefix: "/a/b" },
    });
    assert.equal(parseRelay("http://[fe80::1]:8470"), {
      ...{ origin: "http://[fe80::1]:8470", authority: "[fe80::1]:8470", prefix: "" },
    });
    const wrong = [
      ...["ftp://relay.example", "http://", "relay.example", "http://a@relay.example", ""],
      ...["HTTP://relay.example", "http://Relay.example", "http://relay.example/?x", "http://a b"],
      ...["http://relay.example/../x", "http://relay.example#x", "http://relay.example:0"],
      ...["http://relay.example\n", "http://relay.example/%2e%2e", `http://${"a".repeat(600)}`],
    ];
    for (const url of wrong) {
      assert.throws(
        () => parseRelay(url),
        (e: unknown) => isFailure(e, "misuse") && e.stage === "relay",
        url,
      );
    }
  });
});
