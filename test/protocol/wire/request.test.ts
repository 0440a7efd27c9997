import { createHash, createPrivateKey, createPublicKey, sign, verify } from "node:crypto";
import { httpbis } from "http-message-signatures";
import * as assert from "uvu/assert";
import { cameraSeed } from "../../../scripts/vectors-wire.ts";
import { ed25519Signer, nodeSuite } from "../../../src/base/node/crypto.ts";
import { toHex } from "../../../src/base/pure/bytes.ts";
import { Failure } from "../../../src/base/pure/failure.ts";
import {
  checkContent,
  signatureBase,
  signRequest,
  type Target,
  verifyRequest,
} from "../../../src/protocol/wire/request.ts";
import { fuzz, quickSign, quickSuite } from "../../lib/fuzz.ts";
import { suite } from "../../lib/suite.ts";
import { checkVectors } from "../../lib/vectors.ts";

const camera = ed25519Signer(cameraSeed);
const sha512 = (content: Uint8Array | string) =>
  new Uint8Array(createHash("sha512").update(content).digest());
const target: Target = {
  method: "PUT",
  authority: "relay.example",
  path: "/box/door",
  query: "?a=1&b",
};
const createdMs = 1_780_000_000_000;

/** Reads the vectors' text form of a request. */
function parse(bytes: Uint8Array): {
  target: Target;
  headers: Record<string, string>;
  content: string;
} {
  const text = Buffer.from(bytes).toString("latin1");
  const end = text.indexOf("\n\n");
  const [line = "", ...fields] = text.slice(0, Math.max(0, end)).split("\n");
  const [method = "", uri = ""] = line.split(" ");
  const headers: Record<string, string> = {};
  for (const field of fields) {
    const at = field.indexOf(": ");
    headers[field.slice(0, at)] = field.slice(at + 2);
  }
  const at = uri.indexOf("?");
  const path = at < 0 ? uri : uri.slice(0, at);
  const query = at < 0 ? "?" : uri.slice(at);
  const authority = headers.host ?? "";
  if (end < 0) throw new Failure("refused", "no end of the head", { stage: "target" });
  return { target: { method, authority, path, query }, headers, content: text.slice(end + 2) };
}

function open(bytes: Uint8Array, nowMs: number, by = nodeSuite as typeof quickSuite) {
  const { target: to, headers, content } = parse(bytes);
  const { contentSha512, ...rest } = verifyRequest(to, headers, { suite: by, nowMs });
  checkContent(contentSha512, sha512(content));
  return rest;
}

suite("request", (test) => {
  test("vectors", async () => {
    await checkVectors("wire/request", ({ header, bytes }) => ({
      fields: open(bytes, Number(header.nowMs)),
    }));
  });

  test("RFC 9421, B.2.6: its base, its key, its signature", () => {
    const jwk = {
      ...{ kty: "OKP", crv: "Ed25519", x: "JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs" },
      d: "n4Ni-HpISpVObnQMW0wOhCKROaIKqKtW_2ZYb2p9KcU",
    };
    const params =
      '("date" "@method" "@path" "@authority" "content-type" "content-length")' +
      ';created=1618884473;keyid="test-key-ed25519"';
    const base = signatureBase(
      [
        ["date", "Tue, 20 Apr 2021 02:07:55 GMT"],
        ["@method", "POST"],
        ["@path", "/foo"],
        ["@authority", "example.com"],
        ["content-type", "application/json"],
        ["content-length", "18"],
      ],
      params,
    );
    const signature =
      "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==";
    const raw = Buffer.from(jwk.x, "base64url");
    assert.is(nodeSuite.verify(raw, base, Buffer.from(signature, "base64")), true);
    const mine = ed25519Signer(Buffer.from(jwk.d, "base64url"));
    assert.is(Buffer.from(mine.publicKey).toString("base64url"), jwk.x);
    assert.is(Buffer.from(mine.sign(base)).toString("base64"), signature);
  });

  test("a foreign implementation takes what we sign", async () => {
    const headers = signRequest(target, sha512("x"), {
      ...{ sign: camera.sign, key: camera.publicKey, createdMs: Date.now() },
    });
    const message = {
      method: target.method,
      url: `https://${target.authority}${target.path}${target.query}`,
      headers,
    };
    const asked: (string | undefined)[] = [];
    const config = {
      keyLookup: async ({ keyid }: { keyid?: string }) => {
        asked.push(keyid);
        const key = publicKeyObject(camera.publicKey);
        return {
          id: keyid ?? "",
          algs: ["ed25519"],
          verify: async (data: Buffer, signature: Buffer) => verify(null, data, key, signature),
        };
      },
      requiredFields: ["@method", "@authority", "@path", "@query", "content-digest"],
    };
    assert.is(await httpbis.verifyMessage(config, message), true);
    assert.equal(asked, [toHex(camera.publicKey)]);
    const other = { ...message, url: message.url.replace("a=1", "a=2") };
    assert.is(await httpbis.verifyMessage(config, other), false);
  });

  test("we take what a foreign implementation signs in our profile", async () => {
    const key = createPrivateKey({
      key: Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), cameraSeed]),
      ...{ format: "der", type: "pkcs8" },
    });
    const url = `https://${target.authority}${target.path}${target.query}`;
    const signed = await httpbis.signMessage(
      {
        key: { id: toHex(camera.publicKey), sign: async (data) => sign(null, data, key) },
        name: "obscura",
        fields: ["@method", "@authority", "@path", "@query", "content-digest"],
        params: ["created", "keyid", "tag"],
        paramValues: { created: new Date(createdMs), tag: "obscura-1" },
      },
      {
        ...{ method: target.method, url },
        headers: { "content-digest": `sha-512=:${Buffer.from(sha512("x")).toString("base64")}:` },
      },
    );
    const headers: Record<string, string> = {};
    for (const [name, value] of Object.entries(signed.headers)) {
      headers[name.toLowerCase()] = String(value);
    }
    const ours = verifyRequest(target, headers, { suite: nodeSuite, nowMs: createdMs });
    assert.equal(ours.key, camera.publicKey);
    checkContent(ours.contentSha512, sha512("x"));
    assert.equal(
      headers,
      signRequest(target, sha512("x"), { sign: camera.sign, key: camera.publicKey, createdMs }),
    );
  });

  test("fuzz", () => {
    const key = new Uint8Array(32).fill(9);
    const options = { sign: quickSign(key), key, createdMs };
    const print = (to: Target, headers: object, content: string) => {
      const fields = Object.entries({ host: to.authority, ...headers });
      const head = [`${to.method} ${to.path}${to.query}`, ...fields.map((f) => f.join(": "))];
      return Buffer.from(`${head.join("\n")}\n\n${content}`, "latin1");
    };
    const seed = print(target, signRequest(target, sha512("x"), options), "x");
    const list = { ...target, method: "GET", query: "?" };
    fuzz({
      name: "request",
      seeds: [seed, print(list, signRequest(list, sha512(""), options), "")],
      decode: (bytes) => open(bytes, createdMs, quickSuite),
      // Signs whatever the mutation made of the target, where that can be signed at all.
      reseal: (bytes) => {
        try {
          const { target: to, headers, content } = parse(bytes);
          const again = signRequest(to, sha512(content), options);
          const kept = bytes.length % 3 === 0 ? { ...again, ...headers } : { ...headers, ...again };
          const { host, ...rest } = kept as Record<string, string>;
          return print(to, rest, bytes.length % 5 === 0 ? `${content}y` : content);
        } catch {
          return bytes;
        }
      },
      reaches: [
        "taken",
        "target",
        "signature-input",
        "signature-field",
        "content-digest",
        "created",
        "signature",
        "content",
      ],
    });
  });
});

function publicKeyObject(raw: Uint8Array) {
  const x = Buffer.from(raw).toString("base64url");
  return createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
}
