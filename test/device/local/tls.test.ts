import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { request } from "node:https";
import { connect } from "node:net";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import * as assert from "uvu/assert";
import { ManualClock } from "../../../src/base/pure/clock.ts";
import { checkLan, readLanTls } from "../../../src/device/lan.ts";
import { openLocalWorld } from "../../lib/local.ts";
import { makeCertificates, until } from "../../lib/mosquitto.ts";
import { suite } from "../../lib/suite.ts";
import { quickFolder } from "../../lib/world.ts";

const plain = { port: 0, host: "", names: [], announce: false };

suite("device/local over TLS", (test) => {
  test("by the certificate of the settings; who speaks no TLS is hung up on", async () => {
    await using folder = await quickFolder();
    const { broker } = await makeCertificates(folder.path);
    const settings = { ...plain, certificate: broker.certificate, key: broker.key };
    await using at = await openLocalWorld({ settings, bounds: { periods: quick } });
    const status = await new Promise<number>((resolve, reject) => {
      const options = { host: "127.0.0.1", port: at.port, path: "/v1/states", agent: false };
      readFile(broker.ca).then((ca) => {
        const sent = request({ ...options, ca, servername: "localhost", headers: at.good });
        sent.on("error", reject);
        sent.on("response", (response) => resolve(response.resume().statusCode ?? 0));
        sent.end();
      }, reject);
    });
    assert.is(status, 200);
    for (const said of ["GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n", "", "\x16\x03\x01"]) {
      let text = "";
      let isOver = false;
      const socket = connect(at.port, "127.0.0.1");
      socket.on("error", () => {});
      socket.on("data", (piece) => {
        text += piece.toString("latin1");
      });
      socket.on("close", () => {
        isOver = true;
      });
      socket.write(said);
      await until("hung up on", () => isOver);
      assert.not(text.includes("HTTP/1.1 200"));
    }
    assert.equal(at.problems, []);
  });

  test("files that are not what they should be: said before the start, and as a problem after", async () => {
    await using folder = await quickFolder();
    const { broker, client } = await makeCertificates(folder.path);
    const garbage = join(folder.path, "garbage");
    await writeFile(garbage, "no PEM", { mode: 0o600 });
    const shown = join(folder.path, "shown.key");
    await writeFile(shown, await readFile(broker.key), { mode: 0o644 });
    await chmod(shown, 0o644);
    const wrong = [
      [garbage, broker.key],
      [broker.certificate, garbage],
      [broker.certificate, client.key],
      [broker.certificate, shown],
      [join(folder.path, "none"), broker.key],
    ] as const;
    for (const [certificate, key] of wrong) {
      const settings = { ...plain, certificate, key };
      await assertRejects(checkLan(settings), /local: /);
      await using at = await openLocalWorld({ settings });
      assert.match(at.faults[0] ?? "", /the local interface: /);
    }
    await checkLan({ ...plain, certificate: broker.certificate, key: broker.key });
    assert.is(await readLanTls({ ...plain, certificate: "", key: "" }), undefined);
  });

  test("renewed while it runs: the next connection has the new one, and what is not good is no end", async () => {
    await using folder = await quickFolder();
    const [old, next] = ["old", "next"].map((name) => join(folder.path, name));
    for (const path of [old, next]) await mkdir(path ?? "");
    const first = (await makeCertificates(old ?? "")).broker;
    const second = (await makeCertificates(next ?? "")).broker;
    const clock = new ManualClock();
    const settings = { ...plain, certificate: first.certificate, key: first.key };
    await using at = await openLocalWorld({ settings, clock });
    const shown = async () => {
      const socket = connectTls({ port: at.port, host: "127.0.0.1", rejectUnauthorized: false });
      await once(socket, "secureConnect");
      const { fingerprint256 } = socket.getPeerCertificate();
      socket.destroy();
      return fingerprint256;
    };
    const of = async (file: string) => new X509Certificate(await readFile(file)).fingerprint256;
    const was = await of(first.certificate);
    const replace = async (to: string, from: string) => await writeFile(to, await readFile(from));
    assert.is(await shown(), was);
    // Half of it is there when they are read.
    await replace(first.certificate, second.certificate);
    clock.advance(3_600_000);
    await until("a fault", () => /no certificate and its key/.test(at.faults.at(-1) ?? ""));
    assert.is(await shown(), was);
    await replace(first.key, second.key);
    const told = at.faults.length;
    clock.advance(15_000);
    await until("mended", () => at.faults.length > told && at.faults.at(-1) === undefined);
    assert.is(await shown(), await of(second.certificate));
  });
});

const quick = { headMs: 500, requestMs: 1_000, answerMs: 1_000, commandMs: 2_000, idleMs: 500 };

async function assertRejects(act: Promise<unknown>, what: RegExp): Promise<void> {
  const message = await act.then(
    () => "it was taken",
    (error) => String(error.message),
  );
  assert.match(message, what);
}
