import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import { type AddressInfo, createServer as createTcp, type Socket } from "node:net";
import * as assert from "uvu/assert";
import { openHttp, type Sending } from "../../../src/base/node/http.ts";
import { isFailure } from "../../../src/base/pure/failure.ts";
import { slowly, whyNotSlow } from "../../lib/slow.ts";
import { suite } from "../../lib/suite.ts";

async function serve(handle: RequestListener) {
  // However long it is until the next request: who is idle is not sent away.
  const server = createServer({ keepAliveTimeout: 600_000 }, handle).listen(0, "127.0.0.1");
  return await worldOf(server);
}

/** A server that says the same bytes to whoever connects. */
async function speak(act: (socket: Socket) => void) {
  const server = createTcp((socket) => {
    socket.on("error", () => {});
    act(socket);
  }).listen(0, "127.0.0.1");
  return await worldOf(server as unknown as Server);
}

async function worldOf(server: Server) {
  await once(server, "listening");
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => sockets.add(socket));
  const http = openHttp();
  const base: Sending = {
    ...{ method: "GET", url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/x` },
    ...{ headers: {}, mostBytes: 1000, timeoutMs: 60_000 },
  };
  return {
    http,
    base,
    send: (more: Partial<Sending> = {}) => http.send({ ...base, ...more }),
    async [Symbol.asyncDispose]() {
      http.close();
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function failureOf(act: Promise<unknown>) {
  const error = await act.then(
    (value) => new Error(`settled with ${JSON.stringify(value)}`),
    (e) => e,
  );
  if (!isFailure(error)) throw error;
  return error;
}

const skip = await whyNotSlow();

suite("http", (test) => {
  test("sends a body with its length and reads the answer, over one connection", async () => {
    const seen: unknown[] = [];
    const ports = new Set<number | undefined>();
    await using server = await serve(async (request, response) => {
      ports.add(request.socket.remotePort);
      let body = "";
      for await (const piece of request) body += piece;
      seen.push([
        request.method,
        request.headers["content-length"],
        request.headers.a,
        body.length,
      ]);
      response.setHeader("X-Two", ["a", "b"]).writeHead(201).end("done");
    });
    const body = new Uint8Array(100_000).fill(65);
    for (let i = 0; i < 3; i++) {
      const answer = await server.send({ method: "PUT", body, headers: { a: "b" } });
      assert.is(answer.status, 201);
      assert.is(Buffer.from(answer.body).toString(), "done");
      assert.is(answer.headers["x-two"], "a, b");
    }
    assert.equal(seen, Array(3).fill(["PUT", "100000", "b", 100_000]));
    assert.is(ports.size, 1);
  });

  test("an answer longer than asked for is not read to its end", async () => {
    let written = 0;
    await using server = await serve((_, response) => {
      const more = () => {
        while (!response.destroyed && written < 1e9) {
          written += 65_536;
          if (!response.write(Buffer.alloc(65_536))) return void response.once("drain", more);
        }
      };
      more();
    });
    const failure = await failureOf(server.send());
    assert.equal([failure.kind, failure.stage], ["corrupt", "length"]);
    assert.ok(written < 50e6, `${written} bytes`);
  });

  test("no answer, half an answer, a closed port, something that is no HTTP", async () => {
    await using silent = await speak(() => {});
    assert.is((await failureOf(silent.send({ timeoutMs: 100 }))).kind, "gone");
    await using half = await speak((socket) =>
      socket.end("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal"),
    );
    assert.is((await failureOf(half.send())).kind, "gone");
    await using drip = await speak((socket) => {
      socket.write("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n");
      const timer = setInterval(() => socket.write("x"), 20);
      socket.on("close", () => clearInterval(timer));
    });
    assert.is((await failureOf(drip.send({ timeoutMs: 200 }))).kind, "gone");
    await using garbage = await speak((socket) => socket.end("\u0000\u0001 no such thing\r\n\r\n"));
    assert.is((await failureOf(garbage.send())).kind, "corrupt");
    const closed = "http://127.0.0.1:1/";
    assert.is((await failureOf(silent.send({ url: closed }))).errno, "ECONNREFUSED");
  });

  test("a redirection is an answer, not a way", async () => {
    let asked = 0;
    await using server = await serve((_, response) => {
      asked++;
      response.writeHead(307, { location: "/elsewhere" }).end();
    });
    assert.is((await server.send()).status, 307);
    assert.is(asked, 1);
  });

  test("an answer that comes before the body was taken is the answer", async () => {
    await using server = await serve((_, response) => {
      response.writeHead(507).end("full");
    });
    const answer = await server.send({ method: "PUT", body: new Uint8Array(20_000_000) });
    assert.is(answer.status, 507);
  });

  test("a signal ends it with its reason, before and during", async () => {
    await using server = await speak(() => {});
    const reason = new Error("stopped");
    const during = new AbortController();
    const sending = server.send({ signal: during.signal });
    setTimeout(() => during.abort(reason), 50);
    assert.is(await sending.catch((e) => e), reason);
    assert.is(await server.send({ signal: AbortSignal.abort(reason) }).catch((e) => e), reason);
  });

  test("a connection that the server closed meanwhile costs no request", async () => {
    let asked = 0;
    await using server = await serve((request, response) => {
      asked++;
      const { socket } = request;
      response.end("x", () => {
        // Closed without a word, as after its keep-alive time, when the next request is under way.
        if (asked === 1) setImmediate(() => socket.resetAndDestroy());
      });
    });
    for (let i = 0; i < 3; i++) assert.is((await server.send()).status, 200);
    assert.is(asked, 3);
  });

  test("nor do several that it closed at once, before anybody here has heard of it", async () => {
    const sockets = new Set<Socket>();
    let wait: (() => void)[] = [];
    await using server = await serve((request, response) => {
      sockets.add(request.socket);
      if (request.url === "/last") response.end();
      else wait.push(() => response.end());
    });
    const before = [1, 2, 3, 4].map(() => server.send());
    while (wait.length < 4) await new Promise((resolve) => setTimeout(resolve, 5));
    for (const end of wait) end();
    wait = [];
    await Promise.all(before);
    await new Promise((resolve) => setTimeout(resolve, 20));
    for (const socket of sockets) socket.resetAndDestroy();
    assert.is((await server.send({ url: server.base.url.replace("/x", "/last") })).status, 200);
  });

  test("a cap is asked for each slice before it goes out", async () => {
    await using server = await serve(async (request, response) => {
      for await (const _ of request);
      response.end();
    });
    const asked: number[] = [];
    const http = openHttp({ pace: async (bytes) => void asked.push(bytes) });
    await http.send({ ...server.base, method: "PUT", body: new Uint8Array(40_000) });
    http.close();
    assert.equal(asked, [16_384, 16_384, 7232]);
  });

  test(
    "a server of two addresses that takes its time is waited for, where the other leads nowhere",
    async () => {
      await using server = await serve((_, response) => response.end("x"));
      const { port } = new URL(server.base.url);
      const answer = await slowly(Number(port), async (slow) => {
        const url = `http://far.example:${slow}/x`;
        return await server.send({ url, timeoutMs: 60_000 });
      });
      assert.is(answer.status, 200);
    },
    { skip },
  );
});
