import { connect, type Socket } from "node:net";
import * as assert from "uvu/assert";
import { systemClock } from "../../../src/base/node/time.ts";
import { call, generous, lentOf, listen, openLocalWorld, unhurried } from "../../lib/local.ts";
import { until } from "../../lib/mosquitto.ts";
import { suite } from "../../lib/suite.ts";

const quick = { headMs: 500, requestMs: 1_000, answerMs: 1_000, commandMs: 2_000, idleMs: 500 };
const usual = { connections: 256, connectionsOfAddress: 32, periods: unhurried };

type Raw = { socket: Socket; text(): string; isOver(): boolean };
function open(port: number, from = "127.0.0.1"): Raw {
  const socket = connect({ port, host: "127.0.0.1", localAddress: from });
  let text = "";
  let isOver = false;
  socket.on("data", (piece) => {
    text += piece.toString("latin1");
  });
  socket.on("error", () => {});
  socket.on("close", () => {
    isOver = true;
  });
  return { socket, text: () => text, isOver: () => isOver };
}

/** Asks until there is room. */
async function answered(port: number, from = "127.0.0.1"): Promise<void> {
  for (;;) {
    const reply = await call(port, "/health", { from }).catch(() => undefined);
    if (reply?.status === 200) return;
    await systemClock.sleep(20);
  }
}

suite("device/local hostile", (test) => {
  test("200 connections from as many addresses, and an honest reader among them", async () => {
    await using at = await openLocalWorld({ bounds: usual });
    const idle = Array.from({ length: 200 }, (_, i) => open(at.port, `127.0.1.${i + 1}`));
    for (const { socket } of idle) socket.write("GET /health HTTP/1.1\r\nHost: loc");
    const stream = listen(at.port, at.good, "127.0.0.2");
    await until("the stream", () => stream.of("states").length === 1);
    for (let i = 0; i < 20; i++) {
      assert.is((await at.read("/v1/states", { from: "127.0.0.2" })).status, 200);
    }
    // All of them are heard to the end.
    for (const { socket } of idle) socket.write("alhost\r\nConnection: close\r\n\r\n");
    await until("200 answers", () => idle.every((one) => one.isOver()));
    assert.is(idle.filter((one) => one.text().startsWith("HTTP/1.1 200")).length, 200);
    stream.close();
  });

  test("200 connections from one address take the place of 32, and of nobody else", async () => {
    await using at = await openLocalWorld({ bounds: usual });
    const before = process.memoryUsage().rss;
    const many = Array.from({ length: 200 }, () => open(at.port, "127.0.0.3"));
    await until("the rest hung up on", () => many.filter((one) => one.isOver()).length >= 168);
    assert.is(many.filter((one) => one.isOver()).length, 168);
    for (const path of ["/health", "/v1/states", "/"]) {
      assert.is((await at.read(path, { from: "127.0.0.4" })).status, 200);
    }
    for (const { socket } of many) socket.destroy();
    // Its own place is free again when they are gone.
    await answered(at.port, "127.0.0.3");
    assert.ok(process.memoryUsage().rss - before < 64 * 2 ** 20);
  });

  test("more than all the room: whoever is slow goes, and then there is room", async () => {
    const bounds = { connections: 40, connectionsOfAddress: 40, periods: quick };
    await using at = await openLocalWorld({ bounds });
    const many = Array.from({ length: 60 }, () => open(at.port));
    await until("some hung up on", () => many.filter((one) => one.isOver()).length >= 20);
    await until("all gone", () => many.every((one) => one.isOver()));
    await answered(at.port);
    assert.match((await at.read("/metrics")).body.toString(), /cut_off_total [1-9]/);
  });

  test("slow heads, slow content, and answers that nobody takes", async () => {
    await using at = await openLocalWorld({ bounds: { periods: quick } });
    at.local.lend(lentOf(async () => true));
    const drip = open(at.port);
    const timer = setInterval(() => drip.socket.write("X-A: b\r\n"), 50);
    drip.socket.write("GET /health HTTP/1.1\r\nHost: localhost\r\n");
    const silent = open(at.port);
    const half = open(at.port);
    const head = "Host: localhost\r\nContent-Type: application/octet-stream\r\n";
    half.socket.write(`POST /v1/commands HTTP/1.1\r\n${head}Content-Length: 1000\r\n\r\nab`);
    await until("all gone", () => [drip, silent, half].every((one) => one.isOver()));
    clearInterval(timer);
    assert.match(drip.text(), /^HTTP\/1\.1 408/);
    assert.match(half.text(), /^HTTP\/1\.1 408/);

    // Who asks and does not read: the page, over and over on one connection.
    const greedy = connect(at.port, "127.0.0.1");
    let isOver = false;
    greedy.on("error", () => {});
    greedy.on("close", () => {
      isOver = true;
    });
    greedy.pause();
    const ask = setInterval(() => {
      if (!greedy.destroyed) greedy.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(3));
    }, 2);
    await until("cut off", () => isOver, { patienceMs: 100_000 });
    clearInterval(ask);
    greedy.destroy();
    assert.is((await at.ask("/health")).status, 200);
    assert.equal(at.problems, []);
  });

  test("pipelines, huge heads, and what is no HTTP", async () => {
    await using at = await openLocalWorld();
    const asked = "GET /v1/states HTTP/1.1\r\nHost: localhost\r\n\r\n";
    const pipe = open(at.port);
    pipe.socket.write(asked.repeat(1000));
    await until("hung up on", () => pipe.isOver());
    for (const [text, status] of [
      [`GET / HTTP/1.1\r\nHost: localhost\r\nX: ${"a".repeat(20_000)}\r\n\r\n`, 431],
      [`GET /health HTTP/1.1\r\nHost: localhost\r\n${"X: a\r\n".repeat(63)}\r\n`, 200],
      // Of a 65th nothing is left out without a word: not a token, and not the length of what follows.
      [`GET /health HTTP/1.1\r\nHost: localhost\r\n${"X: a\r\n".repeat(64)}\r\n`, 431],
      [
        `GET /health HTTP/1.1\r\nHost: localhost\r\n${"X: a\r\n".repeat(90)}Content-Length: 1\r\n\r\na`,
        431,
      ],
      ["GET / HTTP/1.1\r\n\r\n", 400],
      ["GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", 400],
      ["GET / HTTP/1.1\r\nHost:\r\n\r\n", 421],
      ["GET / HTTP/1.0\r\n\r\n", 421],
      // With scheme and host before the path: that host counts, not the field.
      ["GET http://localhost:1/health HTTP/1.1\r\nHost: evil.example\r\n\r\n", 200],
      ["GET HTTPS://127.0.0.1/health HTTP/1.0\r\n\r\n", 200],
      ["GET http://localhost HTTP/1.1\r\nHost: localhost\r\n\r\n", 200],
      ["GET http://localhost/v1/states HTTP/1.1\r\nHost: localhost\r\n\r\n", 401],
      ["GET http://evil.example/health HTTP/1.1\r\nHost: localhost\r\n\r\n", 421],
      ["GET http://localhost@evil.example/health HTTP/1.1\r\nHost: localhost\r\n\r\n", 421],
      ["GET http://me@localhost/health HTTP/1.1\r\nHost: localhost\r\n\r\n", 421],
      ["GET http:///health HTTP/1.1\r\nHost: localhost\r\n\r\n", 421],
      ["GET ftp://localhost/health HTTP/1.1\r\nHost: localhost\r\n\r\n", 404],
      ["GET http://localhost/health HTTP/1.1\r\n\r\n", 400],
      ["\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 400],
      [
        "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
      ],
      ["GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999\r\n\r\n", 400],
      ["GET / HTTP/1.1\r\nHost: localhost\r\nExpect: 200-ok\r\n\r\n", 417],
      ["POST /v1/states HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", 405],
      ["CONNECT a:1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 0],
    ] as const) {
      const raw = open(at.port);
      raw.socket.write(text, "latin1");
      await until(
        `the end of ${JSON.stringify(text.slice(0, 60))}`,
        () => raw.isOver() || raw.text() !== "",
      );
      const said = Number(/^HTTP\/1\.1 (\d+)/.exec(raw.text())?.[1] ?? 0);
      assert.is(said, status, text.slice(0, 100));
      raw.socket.destroy();
    }
    // An upgrade is an ordinary request.
    const upgrade = { connection: "upgrade", upgrade: "websocket" };
    assert.is((await at.ask("/health", { headers: upgrade })).status, 200);
    assert.equal([at.problems, at.log().split("\n").length], [[], 2]);
  });

  test("who asks whether to send is told to where it is read, and not before a refusal", async () => {
    await using at = await openLocalWorld();
    const taken: number[] = [];
    at.local.lend(
      lentOf(async (box) => {
        taken.push(box.length);
        return true;
      }),
    );
    const head = "POST /v1/commands HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n";
    const type = "Content-Type: application/octet-stream\r\n";
    const good = open(at.port);
    good.socket.write(`${head}${type}Content-Length: 5\r\n\r\n`);
    await until("go on", () => good.text().startsWith("HTTP/1.1 100 Continue\r\n\r\n"));
    good.socket.write("hello");
    await until("taken", () => good.text().includes("HTTP/1.1 202"));
    assert.equal(taken, [5]);
    // HTTP/1.0 knows no such thing, and would take it for the answer.
    const old = open(at.port);
    old.socket.write(`${head.replace("1.1", "1.0")}${type}Content-Length: 5\r\n\r\nhello`);
    await until("an answer", () => old.isOver());
    assert.match(old.text(), /^HTTP\/1\.1 202 /);
    for (const [fields, status] of [
      [`${type}Content-Length: 9000000\r\n`, 413],
      ["Content-Type: image/jpeg\r\nContent-Length: 5\r\n", 415],
      [`${type}Transfer-Encoding: chunked\r\n`, 411],
    ] as const) {
      const raw = open(at.port);
      raw.socket.write(`${head}${fields}\r\n`);
      await until("an answer", () => raw.isOver());
      assert.match(raw.text(), new RegExp(`^HTTP/1\\.1 ${status} `));
    }
    good.socket.destroy();
  });

  test("noise behind a request writes nothing into its answer", async () => {
    await using at = await openLocalWorld();
    const raw = open(at.port);
    const token = `Authorization: Bearer ${at.token}\r\n`;
    raw.socket.write(`GET /v1/stream HTTP/1.1\r\nHost: localhost\r\n${token}\r\n`);
    await until("the states", () => raw.text().includes("event: states"));
    raw.socket.write("\u0001 noise\r\n\r\n", "latin1");
    await until("hung up on", () => raw.isOver());
    assert.is(raw.text().split("HTTP/1.1").length, 2, raw.text());
    // One that is whole is answered all the same.
    const both = open(at.port);
    both.socket.write(
      "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n\u0001 noise\r\n\r\n",
      "latin1",
    );
    await until("hung up on", () => both.isOver());
    assert.match(both.text(), /^HTTP\/1\.1 200 .*\{"status":"ok"\}/s);
  });

  test("a stream that is asked for with scheme and host is a stream, and no slow answer", async () => {
    await using at = await openLocalWorld({ bounds: { periods: quick, tickMs: 300 } });
    const raw = open(at.port);
    const token = `Authorization: Bearer ${at.token}\r\n`;
    raw.socket.write(`GET http://localhost/v1/stream HTTP/1.1\r\nHost: localhost\r\n${token}\r\n`);
    // For longer than any other answer may take.
    await until("signs of life", () => raw.isOver() || raw.text().split(": still").length > 8);
    assert.is(raw.isOver(), false, raw.text());
    raw.socket.destroy();
  });

  test("who asks too much is told so, and the others are answered", async () => {
    const ofAddress = { perSecond: 0.01, burst: 30 };
    const requests = { ...generous.requests, ofAddress };
    await using at = await openLocalWorld({ bounds: { requests } });
    const statuses: number[] = [];
    for (let i = 0; i < 35; i++) {
      const { status, headers } = await at.ask("/health", { from: "127.0.0.5" });
      statuses.push(status);
      if (status === 429)
        assert.equal([headers["retry-after"], headers.connection], ["5", "close"]);
    }
    assert.equal(statuses.slice(28), [200, 200, 429, 429, 429, 429, 429]);
    assert.is((await at.read("/v1/states", { from: "127.0.0.6" })).status, 200);
    // A guess costs more.
    const guess = { authorization: `Bearer ${"x".repeat(43)}` };
    const guesses: number[] = [];
    for (let i = 0; i < 5; i++) {
      const asked = { from: "127.0.0.7", headers: guess };
      guesses.push((await at.ask("/v1/states", asked)).status);
    }
    assert.equal(guesses, [401, 401, 401, 429, 429]);
  });

  test("who connects over and over is hung up on before anything of it is read", async () => {
    const ofAddress = { perSecond: 0.01, burst: 20 };
    const arrivals = { ...generous.arrivals, ofAddress };
    await using at = await openLocalWorld({ bounds: { arrivals } });
    let heard = 0;
    for (let i = 0; i < 30; i++) {
      const reply = await call(at.port, "/health", { from: "127.0.0.8" }).catch(() => undefined);
      if (reply) heard += 1;
    }
    assert.is(heard, 20);
    assert.is((await at.ask("/health", { from: "127.0.0.9" })).status, 200);
  });
});
