import { createHash } from "node:crypto";
import { ed25519Signer, nodeSuite } from "../src/base/node/crypto.ts";
import { fromText, toHex } from "../src/base/pure/bytes.ts";
import { mailboxOf } from "../src/protocol/wire/name.ts";
import { type SignedHeaders, signRequest, type Target } from "../src/protocol/wire/request.ts";
import type { Vector } from "./vectors.ts";

// The vectors of the two wire formats that are text: names and signed requests.

const camera = ed25519Signer(new Uint8Array(32).fill(0x11));
const root = ed25519Signer(new Uint8Array(32).fill(0x22));
const phone = ed25519Signer(new Uint8Array(32).fill(0x33));
const suite = nodeSuite;

export function nameVectors(): Vector[] {
  const hash = "9f".repeat(32);
  const clip = "c1".repeat(16);
  const cases: Record<string, [text: string, lines: Record<string, string> | undefined]> = {
    "well-part": [
      `part/0000000002/${clip}/4294967295/${hash}`,
      { kind: "part", incarnation: "2", clip, number: "4294967295", hash },
    ],
    "well-entry": [
      `entry/0000000001/9007199254740991/${hash}`,
      { kind: "entry", incarnation: "1", sequence: "9007199254740991", hash },
    ],
    "well-box": [
      `box/${hash}/0000000000000000/${hash}`,
      { kind: "box", writer: hash, sequence: "0", hash },
    ],
    "well-beacon": ["beacon", { kind: "beacon" }],
    "well-door": ["door", { kind: "door" }],
    empty: ["", undefined],
    "kind-unknown": [`live/0000000001/0000000000000001/${hash}`, undefined],
    "kind-upper-case": ["BEACON", undefined],
    "kind-inherited": ["constructor", undefined],
    "beacon-with-more": ["beacon/", undefined],
    "slash-first": [`/entry/0000000001/0000000000000001/${hash}`, undefined],
    "slash-last": [`entry/0000000001/0000000000000001/${hash}/`, undefined],
    "slash-doubled": [`entry//0000000001/0000000000000001/${hash}`, undefined],
    "traversal-up": [`entry/../../etc/passwd`, undefined],
    "traversal-in-field": [`entry/..........0/0000000000000001/${hash}`.slice(0, 100), undefined],
    "traversal-escaped": [`entry/%2e%2e/0000000000000001/${hash}`, undefined],
    "number-unpadded": [`entry/1/0000000000000001/${hash}`, undefined],
    "number-too-wide": [`entry/00000000001/0000000000000001/${hash}`, undefined],
    "number-signed": [`entry/-000000001/0000000000000001/${hash}`, undefined],
    "number-with-exponent": [`entry/00000001e3/0000000000000001/${hash}`, undefined],
    "number-of-other-digits": [`entry/000000000\u0661/0000000000000001/${hash}`, undefined],
    "number-above-u32": [`entry/4294967296/0000000000000001/${hash}`, undefined],
    "number-above-2-53": [`entry/0000000001/9007199254740992/${hash}`, undefined],
    "hash-upper-case": [`entry/0000000001/0000000000000001/${hash.toUpperCase()}`, undefined],
    "hash-short": [`entry/0000000001/0000000000000001/${hash.slice(2)}`, undefined],
    "hash-long": [`entry/0000000001/0000000000000001/${hash}9f`, undefined],
    "clip-short": [`part/0000000002/${clip.slice(2)}/0000000000/${hash}`, undefined],
    "line-end-last": [`entry/0000000001/0000000000000001/${hash}\n`, undefined],
    "nul-last": [`entry/0000000001/0000000000000001/${hash}\0`, undefined],
    "field-missing": [`part/0000000002/${clip}/${hash}`, undefined],
  };
  return Object.entries(cases).map(([name, [text, lines]]) => {
    const outcome = lines ? { expect: "well" } : { expect: "name", kind: "corrupt" };
    const header = { object: "name", ...outcome, ...lines };
    return { name, header, bytes: fromText(text), raw: true };
  });
}

/** A request as text: request line, header fields, a blank line, the content. */
function printRequest(
  target: Target,
  headers: Partial<SignedHeaders>,
  content: string,
): Uint8Array {
  const query = target.query === "?" ? "" : target.query;
  const lines = [`${target.method} ${target.path}${query}`, `host: ${target.authority}`];
  for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${value}`);
  return fromText(`${lines.join("\n")}\n\n${content}`);
}

export function requestVectors(): Vector[] {
  const createdMs = 1_780_000_000_000;
  const content = "sealed bytes";
  const mailbox = toHex(mailboxOf(root.publicKey, suite));
  const target: Target = {
    ...{ method: "PUT", authority: "relay.example:8443", query: "?" },
    path: `/${mailbox}/entry/0000000001/0000000000000001/${"9f".repeat(32)}`,
  };
  const sha = (text: string) => new Uint8Array(createHash("sha512").update(text).digest());
  const signed = signRequest(target, sha(content), {
    ...{ sign: camera.sign, key: camera.publicKey, createdMs },
  });
  const listing: Target = { ...target, method: "GET", path: `/${mailbox}`, query: "?after=entry" };
  const list = signRequest(listing, sha(""), {
    ...{ sign: phone.sign, key: phone.publicKey, createdMs },
  });
  const make = (
    name: string,
    expect: string,
    change: { target?: Partial<Target>; headers?: Partial<SignedHeaders>; content?: string } = {},
    nowMs = createdMs,
  ): Vector => ({
    name,
    header: {
      ...{ object: "request", expect },
      ...(expect === "well"
        ? { key: toHex(camera.publicKey), createdMs: String(createdMs) }
        : { kind: "refused" }),
      nowMs: String(nowMs),
    },
    bytes: printRequest(
      { ...target, ...change.target },
      { ...signed, ...change.headers },
      change.content ?? content,
    ),
    raw: true,
  });
  const edited = (from: string | RegExp, to: string) => ({
    headers: { "signature-input": signed["signature-input"].replace(from, to) },
  });
  const field = (name: keyof SignedHeaders, value: string) => ({ headers: { [name]: value } });
  // The last character before the padding holds two bits of the signature and four that must be 0.
  const loose = signed.signature.replace(
    /[AQgw]==:$/,
    (end) => `${"BRhx"["AQgw".indexOf(end.charAt(0))]}==:`,
  );
  return [
    make("well-put", "well"),
    make("well-at-the-window's-edge", "well", {}, createdMs + 300_000),
    {
      name: "well-list",
      header: {
        ...{ object: "request", expect: "well", key: toHex(phone.publicKey) },
        ...{ createdMs: String(createdMs), nowMs: String(createdMs) },
      },
      bytes: printRequest(listing, list, ""),
      raw: true,
    },
    make("created-too-old", "created", {}, createdMs + 301_000),
    make("created-in-the-future", "created", {}, createdMs - 301_000),
    make("created-with-zeros", "signature-input", edited("created=", "created=0")),
    make("created-another", "signature", edited("created=1780000000", "created=1780000001")),
    make("method-another", "signature", { target: { method: "DELETE" } }),
    make("authority-another", "signature", { target: { authority: "evil.example" } }),
    make("authority-upper-case", "target", { target: { authority: "Relay.example" } }),
    make("path-another", "signature", { target: { path: `/${mailbox}/door` } }),
    make("path-with-fragment", "target", { target: { path: "/a#b" } }),
    make("query-added", "signature", { target: { query: "?force=1" } }),
    make("content-another", "content", { content: "other bytes" }),
    make("content-digest-another", "signature", field("content-digest", list["content-digest"])),
    make(
      "content-digest-of-sha-256",
      "content-digest",
      field("content-digest", `sha-256=:${"A".repeat(43)}=:`),
    ),
    make(
      "content-digest-twice",
      "content-digest",
      field("content-digest", `${signed["content-digest"]}, ${signed["content-digest"]}`),
    ),
    make("component-missing", "signature-input", edited(' "@query"', "")),
    make(
      "component-order",
      "signature-input",
      edited('"@method" "@authority"', '"@authority" "@method"'),
    ),
    make("parameter-added", "signature-input", edited(/$/, ";nonce=1")),
    make("tag-another", "signature-input", edited("obscura-1", "obscura-2")),
    make("name-another", "signature-input", edited("obscura=", "sig1=")),
    make(
      "key-another",
      "signature",
      edited(/keyid="[0-9a-f]+"/, `keyid="${toHex(phone.publicKey)}"`),
    ),
    make("key-of-small-order", "key", edited(/keyid="[0-9a-f]+"/, `keyid="${"00".repeat(32)}"`)),
    make(
      "key-upper-case",
      "signature-input",
      edited(/keyid="[0-9a-f]+"/, `keyid="${"AB".repeat(32)}"`),
    ),
    make("signature-of-another", "signature", field("signature", list.signature)),
    make(
      "signature-unpadded",
      "signature-field",
      field("signature", signed.signature.replace("==", "")),
    ),
    make("signature-with-loose-bits", "signature-field", field("signature", loose)),
    make("signature-empty", "signature-field", field("signature", "")),
  ];
}
