import { fromText, Writer } from "../src/base/pure/bytes.ts";
import { encodePush, type PushMessage } from "../src/protocol/wire/push.ts";
import { describe, type Vector } from "./vectors.ts";

// The vectors of what a camera has its relay hand on, and of what came of it.

const message: PushMessage = {
  endpoint: "https://push.example/send/abc?x=1",
  authorization: "vapid t=eyJ0.eyJh.c2ln, k=BPub",
  ttlS: 3600,
  urgency: "high",
  topic: "",
  body: new Uint8Array(100).fill(0xb0),
};
const longest: PushMessage = {
  endpoint: `https://push.example:8443/${"a".repeat(742)}`,
  authorization: `vapid t=a.b.${"c".repeat(1006)}, k=d`,
  ttlS: 86_400,
  urgency: "very-low",
  topic: "t".repeat(32),
  body: new Uint8Array(4096).fill(0xb1),
};
const overIp6: PushMessage = { ...message, endpoint: "http://[fd00::1]:8080/UP?id=%C3%A4" };

type Raw = Partial<Omit<PushMessage, "urgency"> & { version: number; urgency: number }>;

function raw(change: Raw, more = new Uint8Array()): Uint8Array {
  const one = { version: 1, ...message, urgency: 3, ...change };
  return new Writer()
    .u8(one.version)
    .bytes16(fromText(one.endpoint))
    .bytes16(fromText(one.authorization))
    .u32(one.ttlS)
    .u8(one.urgency)
    .bytes16(fromText(one.topic))
    .bytes16(one.body)
    .raw(more)
    .done();
}

/** Addresses that are none, or that are not written in the one way. */
const wrongEndpoints: Record<string, string> = {
  "no-scheme": "push.example/a",
  "another-scheme": "ftp://push.example/a",
  "upper-case-host": "https://Push.example/a",
  "without-path": "https://push.example",
  user: "https://me:secret@push.example/a",
  "user-empty": "https://@push.example/a",
  fragment: "https://push.example/a#b",
  "own-port": "https://push.example:443/a",
  "own-port-of-http": "http://push.example:80/a",
  "port-above": "https://push.example:65536/a",
  "port-padded": "https://push.example:0443/a",
  "line-end": "https://push.example/a\r\nx: y",
  space: "https://push.example/a b",
  backslash: "https://push.example\\@127.0.0.1/a",
  "not-ascii": "https://push.example/ä",
  "too-long": `https://push.example/${"a".repeat(748)}`,
  zone: "https://[fe80::1%25eth0]/a",
};

export function pushVectors(): Vector[] {
  const refused = (name: string, expect: string, bytes: Uint8Array, kind = "corrupt"): Vector => ({
    ...{ name, bytes, raw: false },
    header: { object: "push", expect, kind },
  });
  const well = (name: string, one: PushMessage): Vector => ({
    ...{ name, bytes: encodePush(one), raw: false },
    header: { object: "push", expect: "well", ...describe(one) },
  });
  return [
    well("well", message),
    well("well-longest", longest),
    well("well-ipv6", overIp6),
    refused("version-2", "version", raw({ version: 2 }), "refused"),
    ...Object.entries(wrongEndpoints).map(([name, endpoint]) =>
      refused(
        `endpoint-${name}`,
        Buffer.byteLength(endpoint) > 768 ? "length" : "endpoint",
        raw({ endpoint }),
      ),
    ),
    refused("authorization-bearer", "authorization", raw({ authorization: "Bearer abc" })),
    refused(
      "authorization-line-end",
      "authorization",
      raw({ authorization: "vapid t=a.b.c, k=d\r\nx: y" }),
    ),
    refused("range-of-ttl", "range", raw({ ttlS: 86_401 })),
    refused("urgency-unknown", "urgency", raw({ urgency: 4 })),
    refused("topic-with-space", "topic", raw({ topic: "a b" })),
    refused("length-of-topic", "length", raw({ topic: "t".repeat(33) })),
    refused("length-of-body-0", "length", raw({ body: new Uint8Array() })),
    refused("length-of-body-above", "length", raw({ body: new Uint8Array(4097) })),
    refused("length-trailing", "length", raw({}, Uint8Array.of(0))),
    refused("text-not-utf-8", "text", raw({}).with(20, 0xff)),
  ];
}

export function verdictVectors(): Vector[] {
  const cases: Record<string, [text: string, fields?: Record<string, string>]> = {
    "well-accepted": ["accepted\n", { kind: "accepted" }],
    "well-gone": ["gone\n", { kind: "gone" }],
    "well-later": ["later 3600\n", { kind: "later", seconds: "3600" }],
    "well-later-0": ["later 0\n", { kind: "later", seconds: "0" }],
    "well-refused": ["refused 413\n", { kind: "refused", status: "413" }],
    "without-line-end": ["accepted"],
    "two-lines": ["accepted\ngone\n"],
    "upper-case": ["Gone\n"],
    "later-padded": ["later 01\n"],
    "later-above": ["later 3601\n"],
    "later-for-ever": ["later 99999999999999999999999999\n"],
    "refused-without-status": ["refused\n"],
    "refused-600": ["refused 600\n"],
    empty: [""],
  };
  return Object.entries(cases).map(([name, [text, fields]]) => {
    const expected = fields ? { expect: "well" } : { expect: "verdict", kind: "corrupt" };
    // The verdict's own kind is called so that it is not taken for that of a failure.
    const lines = Object.entries(fields ?? {}).map(([key, value]) => [`verdict.${key}`, value]);
    const header = { object: "verdict", ...expected, ...Object.fromEntries(lines) };
    return { name, header, bytes: fromText(text), raw: true };
  });
}
