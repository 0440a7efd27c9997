import { execFile } from "node:child_process";
import { chmod, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { freePort, makeCertificates } from "../../lib/mosquitto.ts";
import { endGpg, field, makeGpg, partsOf, startLiar, startPost, whyNoGpg } from "../../lib/smtp.ts";
import { suite } from "../../lib/suite.ts";
import { temporaryFolder } from "../../lib/world.ts";

const camera = new URL("../../../src/device/main.js", import.meta.url).pathname;

function call(...args: string[]): Promise<{ code: number; said: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [camera, ...args], (error, out, err) => {
      resolve({ code: error ? Number(error.code) : 0, said: out + err });
    });
  });
}

const who = "from: camera@example.org, to: owner@example.org";

const why = await whyNoGpg();

suite("device/mail/command", (test) => {
  test("settings: what is wrong is said, by --check-config too; nothing is connected to", async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, "camera.yaml");
    const at = (name: string) => join(folder.path, name);
    const check = async (mail: string) => {
      await writeFile(file, `mail: { ${mail} }\n`);
      return await call("run", "--check-config", "--config", file);
    };
    await writeFile(at("open"), "porch\nhush-4711\n", { mode: 0o644 });
    await chmod(at("open"), 0o644);
    await writeFile(at("login"), "porch\nhush-4711\n", { mode: 0o600 });
    await writeFile(at("hello"), "hello");
    for (const [mail, why] of [
      ["host: mail.home", /mail\.host needs mail\.from and mail\.to/],
      [`host: smtp://mail.home, ${who}`, /mail\.host is .*without a scheme/],
      [`host: "mail.home:587", ${who}`, /mail\.host is .*a port/],
      [`host: "[fd00::5]", ${who}`, /mail\.host is .*/],
      [`host: "fd00::5:smtp", ${who}`, /mail\.host is .*/],
      [`host: mail.home, port: 70000, ${who}`, /mail\.port/],
      [`host: mail.home, security: ssl, ${who}`, /mail\.security.*one of starttls, tls, none/],
      ["host: mail.home, from: camera, to: [o@example.org]", /mail\.from/],
      ['host: mail.home, from: c@example.org, to: "o@example.org\\r\\nBcc: t@x.org"', /mail\.to/],
      ["host: mail.home, from: c@example.org, to: [a@b.c, a@b.c]", /mail\.to/],
      [`host: mail.home, ${who}, perHour: 0`, /mail\.perHour/],
      [
        `host: mail.home, ${who}, picture: openpgp`,
        /mail\.key and mail\.picture: openpgp go together/,
      ],
      [`host: mail.home, ${who}, key: /k`, /mail\.key and mail\.picture: openpgp go together/],
      [`host: mail.home, ${who}, security: none, credentials: /x`, /mail\.security is none/],
      [`host: mail.home, ${who}, credentials: ${at("none")}`, /mail: cannot read/],
      [`host: mail.home, ${who}, credentials: ${at("open")}`, /mail: .*chmod 600/],
      [
        `host: mail.home, ${who}, credentials: ${at("hello")}`,
        /mail: .*may be read by others|two lines/,
      ],
      [`host: mail.home, ${who}, ca: ${at("hello")}`, /mail\.ca .*not a PEM file/],
      [`host: mail.home, ${who}, picture: openpgp, key: ${at("hello")}`, /holds no OpenPGP key/],
    ] as const) {
      const { code, said } = await check(mail);
      assert.is(code, 2, `${mail}\n${said}`);
      assert.match(said, why);
      assert.not(said.includes("hush-4711"));
    }
    const good = await check(`host: mail.home, ${who}, credentials: ${at("login")}`);
    for (const host of ["fd00::5", "192.0.2.1", "mail_1.home"]) {
      assert.is((await check(`host: "${host}", ${who}`)).code, 0, host);
    }
    assert.equal(good, { code: 0, said: `${file}: no mistake found\n` });
  });

  test("a test message, by whatever way; a wrong one says what to look at", async () => {
    await using folder = await temporaryFolder();
    const at = (name: string) => join(folder.path, name);
    const { broker: tls } = await makeCertificates(folder.path);
    await using post = await startPost({ tls, users: { porch: "hush-4711" } });
    const file = at("camera.yaml");
    await writeFile(at("login"), "porch\nhush-4711\n", { mode: 0o600 });
    const where = `host: localhost, port: ${post.port}, ${who}, ca: ${tls.ca}`;
    const write = async (mail: string) => {
      await writeFile(file, `name: Porch\nmail: { ${mail} }\n`);
      return await call("mail", "--test", "--config", file);
    };
    const sent = await write(`${where}, credentials: ${at("login")}`);
    assert.is(sent.code, 0, sent.said);
    assert.match(sent.said, /has it: encrypted after STARTTLS, logged in\non its way to owner@/);
    assert.is(field(post.messages[0]?.raw ?? "", "subject"), "Porch: a test");
    assert.match(partsOf(post.messages[0]?.raw ?? "")[0]?.body.toString() ?? "", /This is a test/);

    await writeFile(at("wrong"), "porch\nwrong-0815\n", { mode: 0o600 });
    const refused = await write(`${where}, credentials: ${at("wrong")}`);
    assert.is(refused.code, 1);
    assert.match(refused.said, /refuses the login \(535 5\.7\.8\)\. Look at the file/);
    assert.match(refused.said, /The server says: 535 5\.7\.8 not porch with …/);
    assert.not(refused.said.includes("0815"));

    const unknown = await write(`host: localhost, port: ${post.port}, ${who}`);
    assert.match(
      unknown.said,
      /no trust in localhost:\d+ \(\w+\)\. Look at mail\.host and mail\.ca/,
    );
    const nowhere = await write(`host: localhost, port: ${await freePort()}, ${who}`);
    assert.match(nowhere.said, /cannot be reached \(ECONNREFUSED\)/);
    await using strange = await startLiar((socket) => void socket.write("SSH-2.0-x\r\n"));
    const other = await write(`host: localhost, port: ${strange.port}, ${who}`);
    assert.match(other.said, /does not speak SMTP as it should\. Look at mail\.host/);
    const turned = await write(`${where}, security: tls`);
    assert.match(turned.said, /no encrypted connection.*mail\.security: starttls/);
    for (const { code } of [unknown, nowhere, other, turned]) assert.is(code, 1);
    assert.is(post.messages.length, 1);
  });

  test("misuse", async () => {
    for (const [args, why] of [
      [["mail"], /--test/],
      [["mail", "--test"], /mail\.host is not set/],
      [["mail", "--tset"], /--tset/],
    ] as const) {
      const { code, said } = await call(...args);
      assert.is(code, 2, said);
      assert.match(said, why);
    }
  });

  test(
    "a test message by OpenPGP",
    async () => {
      await using folder = await temporaryFolder();
      await using post = await startPost();
      const gpg = await makeGpg(folder.path);
      const [file, key] = [join(folder.path, "camera.yaml"), join(folder.path, "key.asc")];
      await writeFile(key, gpg.publicKey);
      const where = `host: 127.0.0.1, port: ${post.port}, security: none, ${who}`;
      await writeFile(file, `mail: { ${where}, picture: openpgp, key: ${key} }\n`);
      const { code, said } = await call("mail", "--test", "--config", file);
      assert.is(code, 0, said);
      const content = partsOf(post.messages[0]?.raw ?? "")[1]?.body.toString("latin1") ?? "";
      assert.match(await gpg.decrypt(content), /This is a test/);
      await endGpg(folder.path);
    },
    { skip: why },
  );
});
