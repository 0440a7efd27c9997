import { Agent, request } from "node:http";
import * as assert from "uvu/assert";
import { toHex } from "../../../src/base/pure/bytes.ts";
import { openapi } from "../../../src/device/local/openapi.ts";
import { objectType } from "../../../src/protocol/wire/mailbox.ts";
import { printName } from "../../../src/protocol/wire/name.ts";
import { faultOf, operationAt } from "../../lib/document.ts";
import { generator } from "../../lib/fuzz.ts";
import { came, left } from "../../lib/housed.ts";
import type { Reply } from "../../lib/local.ts";
import { faultsOf } from "../../lib/schema.ts";
import { openShelved } from "../../lib/shelved.ts";
import { suite } from "../../lib/suite.ts";
import { holdsPicture } from "../../lib/topics.ts";

const count = Number(process.env.OBSCURA_FUZZ_COUNT ?? 20_000);
const atOnce = 8;
const { schemas } = openapi.components;
/** What is said of requests that no path of the document has. */
const elsewhere = [400, 404, 405, 408, 417, 421, 431];

type Random = ReturnType<typeof generator>;
type Request = {
  method: string;
  path: string;
  headers: Record<string, string>;
  body: Buffer | undefined;
};

type World = Awaited<ReturnType<typeof openShelved>>;
/** What is signed, by the path that it is one of. */
type Sealed = Readonly<Record<string, readonly string[]>>;

/** A request that the document describes, or one that is wrong in up to three ways. */
function make(
  random: Random,
  { at, sign }: Pick<World, "at" | "sign">,
  sealed: Sealed,
): Request & { isGood: boolean } {
  const { token } = at;
  const pick = <T>(of: readonly T[]) => of[random(of.length)] as T;
  const noise = (length: number) => Buffer.from(Array.from({ length }, () => random(256)));
  const word = () => noise(1 + random(60)).toString(pick(["hex", "base64", "base64url"]));
  const paths = Object.keys(openapi.paths);
  const template = pick(paths);
  const path = pick(sealed[template] ?? [template]);
  const of = openapi.paths[template];
  const made: Request = {
    ...{ method: of?.post ? "POST" : "GET", path, body: undefined },
    headers: sealed[template] ? sign(path) : { authorization: `Bearer ${token}` },
  };
  if (of?.post) {
    made.headers["content-type"] = "application/octet-stream";
    made.body = noise(random(2000));
  }
  const last = `${noise(4).toString("hex")}.${1 + random(99)}`;
  if (path === "/v1/stream" && random(2) === 0) made.headers["last-event-id"] = last;
  const wrongs = random(4);
  for (let i = 0; i < wrongs; i++) {
    switch (random(12)) {
      case 0:
        made.method = pick([
          "PUT",
          "DELETE",
          "PATCH",
          "OPTIONS",
          "TRACE",
          "HEAD",
          "POST",
          "GET",
          "PROPFIND",
        ]);
        break;
      case 1:
        made.path = pick([
          ...[
            `${path}/`,
            `${path}?${word()}=${word()}`,
            `/${path}`,
            `${path}%00`,
            path.replace(/[0-9a-f]/, "f"),
            path.toUpperCase(),
          ],
          ...[
            `/${encodeURIComponent(word())}`,
            `${path}/../health`,
            "/..%2f..%2fetc/passwd",
            "/v1/",
          ],
          ...[
            "/v1/__proto__",
            "/constructor",
            "*",
            `/${"a".repeat(random(9000))}`,
            "/v1/states/person",
          ],
        ]);
        break;
      case 2:
        made.headers.authorization = pick([
          ...[
            "",
            "Bearer",
            "Bearer ",
            "Basic eDp5",
            `bearer ${word()}`,
            `Bearer ${"x".repeat(43)}`,
          ],
          ...[`Bearer ${token.slice(1)}`, `Bearer ${token} ${token}`, `Token ${token}`, word()],
        ]);
        break;
      case 3:
        delete made.headers.authorization;
        break;
      case 4:
        made.headers.host = pick([
          "evil.example",
          "[::1]",
          `${word()}:1`,
          "localhost:99999",
          "a,b",
          "::1",
        ]);
        break;
      case 5:
        made.headers["content-type"] = pick(["text/plain", "application/json", word(), "a/b; c=d"]);
        break;
      case 6:
        made.body = noise(random(3000));
        break;
      case 7:
        made.headers["last-event-id"] = pick([word(), "..", "0.0", "x".repeat(500), "-1", "NaN.1"]);
        break;
      case 8:
        made.headers[
          pick([
            "accept",
            "range",
            "if-none-match",
            "x-forwarded-for",
            "cookie",
            "origin",
            word().replace(/[^a-z]/gi, "a"),
          ])
        ] = word();
        break;
      case 9:
        made.headers[pick(["signature", "signature-input", "content-digest"])] = pick([
          ...["", word(), `obscura=:${noise(64).toString("base64")}:`],
          String(sign(path, { createdMs: random(2 ** 31) * 1000 })["signature-input"]),
          sign(pick(Object.values(sealed).flat()), { seed: 1 + random(9) }).signature,
        ]);
        break;
      case 10:
        made.headers.accept = pick(["image/jpeg", "text/event-stream", "*/*"]);
        break;
      default:
        made.headers[pick(["transfer-encoding", "expect", "upgrade"])] = pick([
          "chunked",
          "gzip",
          word(),
        ]);
    }
  }
  return { ...made, isGood: wrongs === 0 };
}

/** The answer; of a stream its head. Undefined when it was hung up on. */
function send(port: number, agent: Agent, made: Request): Promise<Reply | undefined> {
  return new Promise((resolve) => {
    const { method, path, headers, body } = made;
    let sent: ReturnType<typeof request>;
    try {
      sent = request({ host: "127.0.0.1", port, agent, method, path, headers });
    } catch {
      // What this client cannot be made to say is said in hostile.test.ts.
      resolve(undefined);
      return;
    }
    sent.on("error", () => resolve(undefined));
    sent.on("response", (response) => {
      const pieces: Buffer[] = [];
      const end = () => {
        const { statusCode = 0, headers: told } = response;
        resolve({ status: statusCode, headers: told, body: Buffer.concat(pieces) });
      };
      response.on("error", end);
      response.on("end", end);
      response.on("data", (piece: Buffer) => {
        pieces.push(piece);
        if (told(response.headers["content-type"]) !== "text/event-stream") return;
        end();
        sent.destroy();
      });
    });
    sent.end(body);
  });
}
const told = (value: string | string[] | undefined) => String(value ?? "");

suite("device/local fuzzed from its document", (test) => {
  test(
    `${count} requests: the answers of the document, never a failure, bounded memory`,
    async () => {
      await using world = await openShelved();
      const { at, running, own } = world;
      at.local.lend({
        async take(box) {
          // As sealed boxes are read: nothing of it may stay behind.
          assert.ok(box.length <= 3000);
          return false;
        },
        role: running.commands.role,
      });
      const mailbox = toHex(own.mailbox);
      const names = (await world.as().list()).map(({ name }) => printName(name));
      const under = (kind: string) =>
        names.filter((name) => name.startsWith(kind)).map((name) => `/mailbox/${mailbox}/${name}`);
      const known = Object.keys(openapi.paths).filter((path) => path.startsWith("/mailbox/"));
      const sealed = Object.fromEntries(
        known.map((path) => [path, under(path.split("/")[3] || "entry")]),
      );
      sealed["/mailbox/{mailbox}/"] = [
        "",
        "?under=part/",
        "?after=entry/&limit=2",
        "?limit=1&wait=9",
      ].map((query) => `/mailbox/${mailbox}/${query}`);
      at.house.incident(came(["door"]));
      at.house.incident(left());
      const random = generator(Number(process.env.OBSCURA_FUZZ_SEED ?? 0x10ca1));
      const agent = new Agent({ keepAlive: true, maxSockets: atOnce });
      const counts = new Map<string, number>();
      const add = (what: string) => counts.set(what, (counts.get(what) ?? 0) + 1);
      const gc = () => (globalThis as { gc?: () => void }).gc?.();
      gc();
      const before = process.memoryUsage();
      const startMs = performance.now();
      let remaining = count;
      const work = async () => {
        while (remaining-- > 0) {
          const made = make(random, world, sealed);
          const reply = await send(at.port, agent, made);
          const about = JSON.stringify({ ...made, body: made.body?.length }).slice(0, 600);
          if (!reply) {
            assert.not(made.isGood, `hung up on ${about}`);
            add("hung up on");
            continue;
          }
          const { status, headers, body } = reply;
          add(String(status));
          const operation = /GET|HEAD|POST/.test(made.method)
            ? operationAt(made.method, made.path)
            : undefined;
          const answer = operation?.responses[String(status)];
          assert.ok(answer || elsewhere.includes(status), `${status} to ${about}`);
          if (made.isGood)
            assert.ok(answer && [200, 403].includes(status), `${status} to ${about}`);
          assert.ok(status < 500, `${status} to ${about}: ${body}`);
          const type = told(headers["content-type"]);
          // What is sealed may look like anything.
          if (type !== objectType) assert.not(holdsPicture(body), about);
          assert.ok(body.length < (type === objectType ? 1024 : 64) * 1024, about);
          if (body.length > 0 && operation && answer?.content) {
            assert.equal(faultOf(reply, operation), [], about);
          } else if (body.length > 0 && type !== "") {
            const problem = JSON.parse(body.toString());
            assert.equal(faultsOf(problem, schemas.Problem ?? {}, schemas), [], about);
          }
          // Nothing of a request comes back.
          if (status >= 400) assert.not(body.includes(at.token));
        }
      };
      await Promise.all(Array.from({ length: atOnce }, work));
      const seconds = (performance.now() - startMs) / 1000;
      agent.destroy();
      gc();
      const after = process.memoryUsage();
      const keptMB = (after.heapUsed + after.external - before.heapUsed - before.external) / 1e6;
      const list = [...counts].sort((a, b) => b[1] - a[1]).map(([what, n]) => `${what} ${n}`);
      console.log(
        `\nmeasured: fuzz local: ${count} requests, ${seconds.toFixed(1)} s, kept ${keptMB.toFixed(1)} MB: ${list.join(", ")}`,
      );
      assert.ok(keptMB < 32, `${keptMB} MB stay behind`);
      if (count >= 5000) {
        for (const status of ["200", "400", "401", "403", "404", "405", "415", "421"]) {
          assert.ok(counts.has(status), `nothing was answered with ${status}`);
        }
      }
      assert.equal(at.problems, []);
      assert.is(at.log().split("\n").length, 2, at.log());
      assert.is((await at.read("/v1/states")).status, 200);
    },
    { deadlineMs: 1_100_000 },
  );
});
