import { chmod, readFile, writeFile } from "node:fs/promises";
import { request } from "node:https";
import { connect } from "node:net";
import { join } from "node:path";
import * as assert from "uvu/assert";
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
});

const quick = { headMs: 500, requestMs: 1_000, answerMs: 1_000, commandMs: 2_000, idleMs: 500 };

async function assertRejects(act: Promise<unknown>, what: RegExp): Promise<void> {
  const message = await act.then(
    () => "it was taken",
    (error) => String(error.message),
  );
  assert.match(message, what);
}
