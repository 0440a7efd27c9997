import { spawn } from "node:child_process";
import { once } from "node:events";
import { request } from "node:http";
import { type AddressInfo, connect, createServer, type Server } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import * as assert from "uvu/assert";
import { keepPage } from "../../../src/device/network/page.ts";
import { spotAddress } from "../../../src/device/network/spot.ts";
import { suite } from "../../lib/suite.ts";

const module = new URL("../../../src/device/network/page.js", import.meta.url).href;
const program = `
import { keepPage } from ${JSON.stringify(module)};
const page = await keepPage();
console.log(JSON.stringify([page !== undefined, process.env.LISTEN_FDS ?? null]));
`;

/** As a phone asks that looks for the internet. */
async function ask(port: number, host: string) {
  const asked = request({
    port,
    host: "127.0.0.1",
    path: "/generate_204",
    headers: { host },
  }).end();
  const [response] = await once(asked, "response");
  let body = "";
  for await (const chunk of response) body += chunk;
  return { status: response.statusCode, location: response.headers.location, body };
}

/** The page in a program of its own, which was handed a socket as by systemd. */
async function startPage() {
  const server: Server & { _handle?: { fd: number } } = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  // The process that is handed it is the one that it is named for, as with systemd.
  const line = `LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" --input-type=module -e "$1"`;
  const child = spawn("sh", ["-c", line, process.execPath, program], {
    stdio: ["ignore", "pipe", "inherit", server._handle?.fd],
  });
  const [said] = await once(child.stdout as NodeJS.ReadableStream, "data");
  server.close();
  assert.equal(JSON.parse(String(said)), [true, null]);
  return {
    port,
    async [Symbol.asyncDispose]() {
      const closed = once(child, "close");
      child.kill("SIGKILL");
      await closed;
    },
  };
}

suite("device/network/page", (test) => {
  test("what was handed over to another program, or is not one socket, is left alone", async () => {
    const pid = String(process.pid);
    for (const environment of [
      {},
      { LISTEN_FDS: "1" },
      { LISTEN_PID: "1", LISTEN_FDS: "1" },
      { LISTEN_PID: pid, LISTEN_FDS: "2" },
      { LISTEN_PID: pid, LISTEN_FDS: "x", LISTEN_FDNAMES: "page" },
    ]) {
      assert.is(await keepPage(environment), undefined);
      assert.equal(environment, {}, "nobody else is told");
    }
  });

  test("a socket that systemd listens at is served, whatever name is asked for", async () => {
    await using page = await startPage();
    const anywhere = await ask(page.port, "connectivity.example");
    assert.equal([anywhere.status, anywhere.location], [302, `http://${spotAddress}/`]);
    const { status, body } = await ask(page.port, spotAddress);
    assert.is(status, 200);
    assert.match(body, "the camera's own network");
  });

  test("who connects and says nothing keeps nobody out for long", async () => {
    await using page = await startPage();
    const startMs = performance.now();
    const silent = Array.from({ length: 40 }, () => connect(page.port, "127.0.0.1"));
    try {
      for (const socket of silent) socket.on("error", () => {});
      await Promise.all(silent.map((socket) => once(socket, "connect")));
      const status = async () => (await ask(page.port, spotAddress).catch(() => undefined))?.status;
      // While all of them are waited for, if that is not over by now.
      assert.ok((await status()) === undefined || performance.now() - startMs > 5000);
      while ((await status()) !== 200) await wait(200);
      // By itself Node looks for such once in half a minute.
      assert.ok(performance.now() - startMs < 25_000);
    } finally {
      for (const socket of silent) socket.destroy();
    }
  });
});
