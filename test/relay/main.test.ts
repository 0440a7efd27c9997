import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { access, readFile, writeFile } from "node:fs/promises";
import { request } from "node:https";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { TLSSocket } from "node:tls";
import * as assert from "uvu/assert";
import { nodeSuite } from "../../src/base/node/crypto.ts";
import { openHttp } from "../../src/base/node/http.ts";
import { toHex } from "../../src/base/pure/bytes.ts";
import { openMailbox } from "../../src/protocol/wire/client.ts";
import { printConfig } from "../../src/relay/config.ts";
import { freePort } from "../lib/mosquitto.ts";
import { doorList, entry, heardBy, mailbox, who } from "../lib/relay.ts";
import { suite } from "../lib/suite.ts";
import { quickFolder } from "../lib/world.ts";

const program = new URL("../../src/relay/main.js", import.meta.url).pathname;

function start(...args: string[]) {
  const child = spawn(process.execPath, [program, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const said = { out: "", err: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    said.out += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said.err += text;
  });
  const ended = once(child, "close").then(([code, signal]) => code ?? signal);
  /** Waits for a line of the log. */
  const until = async (pattern: RegExp): Promise<RegExpExecArray> => {
    for (let i = 0; i < 6000; i++) {
      const found = pattern.exec(said.err);
      if (found) return found;
      await sleep(20);
    }
    throw new Error(`never said ${pattern}: ${said.err}`);
  };
  return {
    ...{ child, said, ended, until },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

const run = async (...args: string[]) => {
  await using relay = start(...args);
  return { code: await relay.ended, ...relay.said };
};

const quiet = "listen: {host: 127.0.0.1, port: 0}\n";

suite("obscura-relay", (test) => {
  test("help, version, settings that explain themselves and read back", async () => {
    await using home = await quickFolder();
    const help = await run("--help");
    assert.is(help.code, 0);
    assert.match(help.out, /usage: obscura-relay/);
    const { version } = JSON.parse(
      await readFile(new URL("../../../package.json", import.meta.url), "utf8"),
    );
    assert.is((await run("--version")).out, `${version}\n`);
    const printed = await run("--print-config");
    assert.is(printed.out, printConfig());
    const file = join(home.path, "relay.yaml");
    await writeFile(file, printed.out);
    const checked = await run("--config", file, "--check-config");
    assert.equal([checked.code, checked.out], [0, "the settings are right\n"]);
  });

  test("wrong settings and arguments: exit code 2, each mistake with its line", async () => {
    await using home = await quickFolder();
    const file = join(home.path, "relay.yaml");
    await writeFile(
      file,
      "version: 1\nlisen: {port: 1}\nauthority: [HTTP://X]\nquota:\n  retentionDays: -1\n",
    );
    for (const more of [["--check-config"], []]) {
      const { code, err } = await run("--config", file, ...more);
      assert.is(code, 2);
      assert.match(err, /relay\.yaml:2: lisen is not a setting/);
      assert.match(err, /relay\.yaml:3: authority is .*; expected a list of at most 16/);
      assert.match(err, /relay\.yaml:5: quota\.retentionDays is -1; expected/);
    }
    await writeFile(file, "tls: {certificate: a.pem}");
    assert.match(
      (await run("--config", file)).err,
      /tls\.certificate and tls\.key are set together/,
    );
    await writeFile(file, "prefix: /../x");
    assert.is((await run("--config", file)).code, 2);
    assert.is((await run("--no-such")).code, 2);
    assert.is((await run("--config", join(home.path, "absent.yaml"))).code, 2);
  });

  test("health and metrics on a listener of their own; SIGTERM ends it well, waits included", async () => {
    await using home = await quickFolder();
    const file = join(home.path, "relay.yaml");
    // Free a moment ago: only the relay's own port can be any.
    await writeFile(file, `${quiet}metrics: {port: ${await freePort()}}\n`);
    await using relay = start("--config", file, "--folder", join(home.path, "state"));
    const [, port, metricsPort] = await relay.until(
      /listening port=(\d+) tls=false metricsPort=(\d+)/,
    );
    const url = `http://127.0.0.1:${port}`;
    const http = openHttp();
    const as = (by: "root" | "camera" | "owner") =>
      openMailbox({
        ...{ url, mailbox, key: who[by].publicKey, sign: who[by].sign, suite: nodeSuite },
        ...{ send: http.send, nowMs: Date.now },
      });
    await as("root").put({ name: { kind: "door" }, bytes: doorList() });
    await as("camera").put(entry(1));
    const get = async (from: string) => {
      const answer = await fetch(from);
      return { status: answer.status, text: await answer.text() };
    };
    assert.equal(await get(`${url}/health`), { status: 200, text: "ok\n" });
    assert.is((await get(`${url}/metrics`)).status, 400);
    const own = `http://127.0.0.1:${metricsPort}`;
    assert.equal(await get(`${own}/health`), { status: 200, text: "ok\n" });
    assert.is((await get(`${own}/x`)).status, 404);
    const { text } = await get(`${own}/metrics`);
    assert.match(text, /^# HELP obscura_relay_requests_total .*\n# TYPE .* counter\n/);
    assert.match(text, /^obscura_relay_mailboxes 1$/m);
    for (const line of text.trim().split("\n")) {
      assert.match(
        line,
        /^(# (HELP|TYPE) obscura_relay_\w+ .+|obscura_relay_\w+(\{[^}]*\})? \d+)$/,
      );
    }
    for (const [, count = ""] of text.matchAll(/requests_total\{.*\} (\d+)/g)) {
      assert.is(Number(count) % 10, 0);
    }
    for (const secret of [toHex(mailbox), toHex(who.camera.publicKey)]) {
      assert.not.ok((text + relay.said.err).includes(secret.slice(0, 12)));
    }
    // Figures are renewed once a minute, so that nobody sees one request.
    await as("owner").list();
    assert.is((await get(`${own}/metrics`)).text, text);
    const waiting = as("owner").list({ under: "part/", waitMs: 60_000 });
    await heardBy(as("owner"));
    relay.child.kill("SIGTERM");
    assert.equal(await waiting, []);
    http.close();
    assert.is(await relay.ended, 0);
    assert.match(relay.said.err, /info relay: stopping/);
    await access(join(home.path, "state/elapsed"));
  });

  const tls = "TLS by files, read again at SIGHUP; a broken one is not taken";
  if (spawnSync("openssl", ["version"]).status !== 0) test.skip(tls, "there is no openssl");
  else
    test(tls, async () => {
      await using home = await quickFolder();
      const at = (name: string) => join(home.path, name);
      const certify = (name: string) =>
        execFileSync(
          "openssl",
          [
            ...[
              "req",
              "-x509",
              "-newkey",
              "ec",
              "-pkeyopt",
              "ec_paramgen_curve:prime256v1",
              "-nodes",
            ],
            ...[
              "-keyout",
              at("key.pem"),
              "-out",
              at("cert.pem"),
              "-days",
              "2",
              "-subj",
              `/CN=${name}`,
            ],
          ],
          { stdio: "pipe" },
        );
      certify("one.example");
      await writeFile(
        at("relay.yaml"),
        `${quiet}metrics: {port: 0}\ntls: {certificate: ${at("cert.pem")}, key: ${at("key.pem")}}\n`,
      );
      await using relay = start("--config", at("relay.yaml"), "--folder", at("state"));
      const [, port] = await relay.until(/listening port=(\d+) tls=true/);
      const ask = () =>
        new Promise<{ status: number; name: string; protocol: string }>((resolve, reject) => {
          const options = { host: "127.0.0.1", port, path: "/health", agent: false };
          request({ ...options, rejectUnauthorized: false }, (response) => {
            const socket = response.socket as TLSSocket;
            const name = String(socket.getPeerCertificate().subject.CN);
            const protocol = socket.getProtocol() ?? "";
            response.resume().on("end", () => {
              resolve({ status: response.statusCode ?? 0, name, protocol });
            });
          })
            .on("error", reject)
            .end();
        });
      assert.equal(await ask(), { status: 200, name: "one.example", protocol: "TLSv1.3" });
      await assertRejects(fetch(`http://127.0.0.1:${port}/health`));
      certify("two.example");
      relay.child.kill("SIGHUP");
      await relay.until(/read the certificate again/);
      assert.is((await ask()).name, "two.example");
      await writeFile(at("cert.pem"), "no certificate");
      relay.child.kill("SIGHUP");
      await relay.until(/kept the old certificate/);
      assert.is((await ask()).name, "two.example");
      const checked = await run("--config", at("relay.yaml"), "--check-config");
      assert.is(checked.code, 2);
      assert.match(checked.err, /cert\.pem and .*key\.pem are no certificate and its key/);
    });

  test("a port that is taken is said in one line, and the folder is free again", async () => {
    await using home = await quickFolder();
    const file = join(home.path, "relay.yaml");
    await writeFile(file, `${quiet}metrics: {port: 0}\n`);
    await using first = start("--config", file, "--folder", join(home.path, "a"));
    const [, port] = await first.until(/listening port=(\d+)/);
    await writeFile(file, `listen: {host: 127.0.0.1, port: ${port}}\nmetrics: {port: 0}\n`);
    const second = await run("--config", file, "--folder", join(home.path, "b"));
    assert.is(second.code, 1);
    assert.match(second.err, /cannot listen at port \d+ \(EADDRINUSE\)/);
    const same = `listen: {port: 9}\nmetrics: {port: 9}\n`;
    await writeFile(file, same);
    assert.is((await run("--config", file, "--check-config")).code, 2);
    const metrics = `${quiet}metrics: {host: 127.0.0.1, port: ${port}}\n`;
    await writeFile(file, metrics);
    const counting = await run("--config", file, "--folder", join(home.path, "b"));
    assert.is(counting.code, 1, "it does not serve on without them");
    assert.match(counting.err, /EADDRINUSE/);
    const third = await run("--config", file, "--folder", join(home.path, "a"));
    assert.is(third.code, 1);
    assert.match(third.err, /another program works in/);
  });
});

async function assertRejects(act: Promise<unknown>): Promise<void> {
  assert.ok(
    await act.then(
      () => false,
      () => true,
    ),
  );
}
