import { execFile } from "node:child_process";
import { chmod, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as assert from "uvu/assert";
import { isFailure } from "../../src/base/pure/failure.ts";
import { checkBroker, parseBroker, readBroker } from "../../src/device/broker.ts";
import { loadConfig } from "../../src/device/config.ts";
import { setBroker } from "../../src/device/vet.ts";
import { makeCertificates } from "../lib/mosquitto.ts";
import { suite } from "../lib/suite.ts";
import { temporaryFolder } from "../lib/world.ts";

const camera = new URL("../../src/device/main.js", import.meta.url).pathname;
const nothing = { url: "mqtt://broker.home", credentials: "", ca: "", certificate: "", key: "" };

async function refusal(act: () => unknown): Promise<string> {
  try {
    await act();
  } catch (error) {
    assert.ok(isFailure(error), String(error));
    return `${error.kind}: ${error.message}`;
  }
  return "taken";
}

function check(...args: string[]): Promise<{ code: number; said: string }> {
  return new Promise((resolve) => {
    const all = [camera, "run", "--check-config", ...args];
    execFile(process.execPath, all, (error, out, err) => {
      resolve({ code: error ? Number(error.code) : 0, said: out + err });
    });
  });
}

suite("device/broker", (test) => {
  test("addresses that are right, and what is none", () => {
    assert.equal(parseBroker("mqtt://broker.home"), {
      host: "broker.home",
      port: 1883,
      tls: undefined,
    });
    assert.equal(parseBroker("mqtts://10.0.0.2:9883/"), { host: "10.0.0.2", port: 9883, tls: {} });
    assert.equal(parseBroker("mqtt://[fe80::1]:1884")?.host, "fe80::1");
    for (const url of [
      ...["broker.home", "http://broker.home", "mqtt://", "mqtt:///x", "ws://broker.home"],
      ...["mqtt://a@broker", "mqtt://a:b@broker", "mqtt://:b@broker", "mqtt://broker/topic"],
      ...["mqtt://broker?x=1", "mqtt://broker#x", "mqtt://broker:0", "mqtt://broker:99999"],
      ...["mqtt://-option", "mqtt://a b", "mqtt://a%0ab", `mqtt://${"a".repeat(400)}`],
    ]) {
      assert.is(parseBroker(url), undefined, url);
    }
  });

  test("a password in the address is refused, with the way to do it, and never shown", async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, "camera.yaml");
    for (const url of [
      ...["mqtt://porch:hush-4711@broker", "mqtt://porch:hush-4711@ bro ker"],
      ...["porch:hush-4711@broker", "mqtt:porch:hush-4711@broker"],
    ]) {
      await writeFile(file, `mqtt: { url: "${url}" }\n`);
      for (const args of [
        ["--config", file],
        ["--mqtt", url],
      ]) {
        const { code, said } = await check(...args);
        assert.is(code, 2, said);
        assert.not(said.includes("hush-4711"), said);
        assert.match(said, /mqtt\.credentials/);
      }
    }
    for (const text of [
      "mail: { host: 'porch:hush-4711@mail.example' }\n",
      "relay: { urls: ['https://porch:hush-4711@relay.example'] }\n",
    ]) {
      await writeFile(file, text);
      const { code, said } = await check("--config", file);
      assert.is(code, 2, said);
      assert.not(said.includes("hush-4711"), said);
    }
    // Also where it stands in the wrong place.
    const { config, places } = await loadConfig(undefined);
    const told = await refusal(() => setBroker(config, "hush-4711", places));
    assert.not(told.includes("hush-4711"));
  });

  test("what does not go together is misuse", async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, "camera.yaml");
    for (const [text, why] of [
      ["url: MQTTS://b, certificate: /c.pem", /certificate and mqtt.key are set together/],
      ["url: mqtt://b, ca: /ca.pem", /are for mqtts/],
      ["prefix: a/+/b", /letters, digits/],
      ["id: a/b", /letters, digits/],
      ["discovery: both", /one of device, component, off/],
    ] as const) {
      await writeFile(file, `mqtt: { ${text} }\n`);
      const { code, said } = await check("--config", file);
      assert.is(code, 2, said);
      assert.match(said, why);
    }
    await writeFile(file, "mqtt: { url: mqtts://b, prefix: house/cameras, id: porch }\n");
    assert.equal(await check("--config", file), { code: 0, said: `${file}: no mistake found\n` });
  });

  test("credentials: two lines that nobody else may read", async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, "login");
    const settings = { ...nothing, credentials: file };
    assert.match(await refusal(() => readBroker(settings)), /^absent/);
    await writeFile(file, "porch\npass word: ü\n", { mode: 0o600 });
    const { login } = await readBroker(settings);
    assert.is(login?.user, "porch");
    assert.is(Buffer.from(login?.password ?? "").toString(), "pass word: ü");
    await chmod(file, 0o640);
    assert.match(await refusal(() => readBroker(settings)), /^denied: .*may be read by others/);
    assert.match(await refusal(() => checkBroker(settings)), /^misuse: mqtt: .*chmod 600/);
    await chmod(file, 0o600);
    const none = ["", "\nhush", "a\nb\nhush", "a\0\nhush", "a:hush", "a:hush\n", "x".repeat(5000)];
    for (const text of none) {
      await writeFile(file, text);
      const said = await refusal(() => readBroker(settings));
      assert.match(said, /^misuse: .* two lines/, text.slice(0, 9));
      assert.not(said.includes("hush"));
    }
    for (const text of ["porch\n\n", "porch\r\n\r\n", "\ufeffporch\r\n\r\n"]) {
      await writeFile(file, text);
      const { login: bare } = await readBroker(settings);
      assert.equal([bare?.user, bare?.password.length], ["porch", 0]);
    }
    await writeFile(file, Buffer.from([0xff, 0x0a, 0xfe]));
    assert.match(await refusal(() => readBroker(settings)), /two lines/);
  });

  test("certificates are looked at before anything is connected to", async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, "x.pem");
    const settings = { ...nothing, url: "mqtts://broker.home", ca: file };
    assert.match(await refusal(() => checkBroker(settings)), /^misuse: .*cannot read/);
    await writeFile(file, "hello");
    assert.match(await refusal(() => checkBroker(settings)), /not a PEM file/);
    const { client, broker } = await makeCertificates(folder.path);
    const { ca, certificate, key } = client;
    const whole = { ...settings, ca, certificate, key };
    assert.is(await refusal(() => checkBroker(whole)), "taken");
    assert.is(await refusal(() => checkBroker({ ...settings, ca })), "taken");
    const pair = { ...settings, ca: "", certificate, key: file };
    await chmod(file, 0o644);
    assert.match(await refusal(() => readBroker(pair)), /^denied/);
    // A header alone, a key in the place of a certificate, the other way round, a chain with words before it.
    const text = await readFile(certificate, "utf8");
    await writeFile(file, text.slice(0, 100));
    const noCertificate = /^misuse: .*mqtt\.ca .*holds no certificate that can be read/;
    assert.match(await refusal(() => checkBroker(settings)), noCertificate);
    assert.match(await refusal(() => checkBroker({ ...settings, ca: key })), noCertificate);
    await writeFile(file, text, { mode: 0o600 });
    await chmod(file, 0o600);
    assert.match(await refusal(() => readBroker(pair)), /^misuse: .*mqtt\.key .*no private key/);
    await writeFile(file, `Of the house:\r\n${text}${await readFile(ca, "utf8")}`);
    assert.is(await refusal(() => checkBroker(settings)), "taken");
    const mixed = { ...whole, key: broker.key };
    assert.match(await refusal(() => checkBroker(mixed)), /^misuse: .*no certificate and its key/);
    // Nothing is read of what is not used.
    assert.is(await refusal(() => checkBroker({ ...pair, url: "" })), "taken");
  });
});
