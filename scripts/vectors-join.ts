import { ed25519Signer, nodeSuite } from "../src/base/node/crypto.ts";
import { fromText } from "../src/base/pure/bytes.ts";
import { fromBase32, toBase32 } from "../src/protocol/sealed/base32.ts";
import {
  type Answer,
  answerKind,
  encodeAnswer,
  encodeGrant,
  encodeOffer,
  type Grant,
  type GrantedCamera,
  grantKind,
  type Offer,
  offerKind,
} from "../src/protocol/sealed/join.ts";
import { type LensCode, printLens } from "../src/protocol/sealed/lens.ts";
import { printLines, printLink, type SecretLink } from "../src/protocol/sealed/link.ts";
import { encodeSeen, type Seen, seenKind } from "../src/protocol/sealed/seen.ts";
import { fingerprint, kemPublicKey } from "../src/protocol/sealed/sodium.ts";
import { describe, type Vector, wellVector } from "./vectors.ts";
import { cameraSeed, put, refusals, rootSeed } from "./vectors-wire.ts";

// Vectors of what two phones say to each other: links, offer, answer, grant, seen.

const bytesOf = (value: number, length: number) => new Uint8Array(length).fill(value);
const camera = ed25519Signer(cameraSeed).publicKey;
const root = ed25519Signer(rootSeed).publicKey;
const owner = { ...ed25519Signer(bytesOf(0x44, 32)), suite: nodeSuite };
const other = ed25519Signer(bytesOf(0x55, 32)).publicKey;

export function offerVectors(): Vector[] {
  const offer: Offer = {
    ...{ phone: owner.publicKey, role: "viewer", untilMs: 1_700_000_000_000 },
    cameras: [
      { camera, incarnation: 2, day: 30 },
      { camera: other, incarnation: 1, day: 0 },
    ],
  };
  const { bytes } = encodeOffer(offer, owner);
  return [
    wellVector("well", offerKind, bytes, {}, offer),
    ...refusals(offerKind, {}, bytes, owner, [
      { name: "key-of-phone", expect: "key", edit: put(4, ...bytesOf(0, 32)) },
      { name: "role-0", expect: "role", edit: put(36, 0) },
      { name: "role-kit", expect: "role", edit: put(36, 3) },
      { name: "range-of-time", expect: "range", edit: put(37, 0x20) },
      { name: "count-none", expect: "count", edit: put(45, 0) },
      { name: "count-above-limit", expect: "count", edit: put(45, 17) },
      { name: "length-camera-missing", expect: "length", edit: put(45, 3) },
    ]),
  ];
}

export function answerVectors(): Vector[] {
  const answer: Answer = {
    ...{ phone: owner.publicKey, offer: bytesOf(0xa1, 32), name: "Béla" },
    ...{ grantKey: kemPublicKey(bytesOf(7, 32)), supplies: [bytesOf(1, 50), bytesOf(2, 60)] },
  };
  const { bytes } = encodeAnswer(answer, owner);
  const name = 4 + 64 + 1216;
  return [
    wellVector("well", answerKind, bytes, {}, answer),
    ...refusals(answerKind, {}, bytes, owner, [
      { name: "key-of-phone", expect: "key", edit: put(4, ...bytesOf(0, 32)) },
      { name: "length-of-name", expect: "length", edit: put(name, 0, 65) },
      { name: "text-not-utf8", expect: "text", edit: put(name + 2, 0xff) },
      { name: "text-with-newline", expect: "text", edit: put(name + 2, 10) },
      { name: "count-none", expect: "count", edit: put(name + 7, 0) },
      { name: "count-above-limit", expect: "count", edit: put(name + 7, 17) },
      { name: "length-of-supply", expect: "length", edit: put(name + 8, 0, 1, 0, 1) },
    ]),
  ];
}

export function grantVectors(): Vector[] {
  const granted: GrantedCamera = {
    ...{ identity: bytesOf(1, 100), name: "Front door", adoptedMs: 1_700_000_000_000 },
    ...{ list: bytesOf(2, 80), root, rootSecret: rootSeed, request: bytesOf(3, 32) },
    ...{ circle: bytesOf(4, 32), relays: ["https://relay.example"], incarnation: 2 },
    receiving: kemPublicKey(bytesOf(8, 32)),
  };
  const grant: Grant = {
    ...{ phone: owner.publicKey, answer: bytesOf(0xa2, 32), role: "owner", cameras: [granted] },
  };
  const viewed: Grant = {
    ...{ ...grant, role: "viewer" as const },
    cameras: [{ ...granted, rootSecret: undefined, relays: [] }],
  };
  const later: Grant = {
    ...grant,
    cameras: [granted, { ...granted, checkpoint: bytesOf(0xc8, 216) }],
  };
  const { bytes } = encodeGrant(grant, owner);
  // Behind identity, name, time and list.
  const rootAt = 4 + 64 + 2 + (2 + 100) + (2 + 10) + 8 + (2 + 80);
  const relaysAt = rootAt + 32 + 1 + 32 + 32 + 32;
  return [
    wellVector("well", grantKind, bytes, {}, grant),
    wellVector("well-viewer", grantKind, encodeGrant(viewed, owner).bytes, {}, viewed),
    wellVector("well-checkpoint", grantKind, encodeGrant(later, owner).bytes, {}, later),
    ...refusals(grantKind, {}, bytes, owner, [
      { name: "key-of-phone", expect: "key", edit: put(4, ...bytesOf(0, 32)) },
      { name: "role-0", expect: "role", edit: put(68, 0) },
      { name: "role-4", expect: "role", edit: put(68, 4) },
      { name: "root-for-viewer", expect: "root", edit: put(68, 2) },
      { name: "root-2", expect: "root", edit: put(rootAt + 32, 2) },
      { name: "count-none", expect: "count", edit: put(69, 0) },
      { name: "count-above-limit", expect: "count", edit: put(69, 17) },
      { name: "length-of-identity", expect: "length", edit: put(70, 0x10, 1) },
      { name: "key-of-root", expect: "key", edit: put(rootAt, ...bytesOf(0, 32)) },
      { name: "count-of-relays", expect: "count", edit: put(relaysAt, 9) },
      { name: "relay-of-another-scheme", expect: "relay", edit: put(relaysAt + 3, 0x66) },
    ]),
  ];
}

export function seenVectors(): Vector[] {
  const seen: Seen = {
    ...{ camera, phone: owner.publicKey, atMs: 1_700_000_000_000 },
    ...{ incarnation: 3, sequence: 4711, hash: bytesOf(0xe1, 32) },
  };
  const { bytes } = encodeSeen(seen, owner);
  return [
    wellVector("well", seenKind, bytes, {}, seen),
    ...refusals(seenKind, {}, bytes, owner, [
      { name: "key-of-phone", expect: "key", edit: put(36, ...bytesOf(0, 32)) },
      { name: "signature-of-phone", expect: "signature", edit: (b) => void b.set(other, 36) },
      { name: "range-of-sequence", expect: "range", edit: put(80, 0x20) },
    ]),
  ];
}

export function linkVectors(): Vector[] {
  const link: SecretLink = {
    ...{ secret: bytesOf(0x61, 32), place: bytesOf(0x62, 32) },
    relays: ["https://relay.example:8443/obscura", "http://192.168.1.2:8470"],
  };
  const near = { ...link, relays: [] };
  const join = printLink("join", link);
  const kit = printLines("kit", link).join("\n");
  const vector = (object: string, name: string, text: string, fields: unknown): Vector => {
    const header = { object, expect: "well", ...describe(fields) };
    return { name, header, bytes: fromText(text), raw: true };
  };
  const refused = (object: string, name: string, expect: string, text: string): Vector => {
    const header = { object, expect, kind: expect === "version" ? "refused" : "corrupt" };
    return { name, header, bytes: fromText(text), raw: true };
  };
  const at = join.length - 9;
  const another = join[at] === "q" ? "r" : "q";
  const lines = kit.split("\n");
  return [
    vector("join", "well", join, link),
    vector("join", "well-folder", printLink("join", near), near),
    vector("join", "well-capitals", join.toUpperCase(), link),
    vector("kit", "well-kit", printLink("kit", link), link),
    vector("lines", "well-lines", kit, link),
    vector("lines", "well-lines-small", kit.toLowerCase().replaceAll(" ", "  "), link),
    refused("join", "scheme-of-kit", "scheme", printLink("kit", link)),
    refused("join", "check-letter", "check", join.slice(0, at) + another + join.slice(at + 1)),
    refused("join", "check-cut", "check", join.slice(0, -8)),
    refused("join", "base32-letter", "base32", `${join.slice(0, at)}u${join.slice(at + 1)}`),
    refused("join", "text-space", "text", `${join} `),
    refused("join", "length", "length", join + "0".repeat(2048)),
    refused("join", "version-2", "version", join.replace(":05", ":09")),
    refused("lines", "line-letter", "line", kit.replace(/(02 ....) (.)/, "$1 U")),
    refused("lines", "line-missing", "line", lines.filter((_, i) => i !== 2).join("\n")),
    refused("lines", "line-doubled", "line", [lines[0], ...lines].join("\n")),
    refused("lines", "check-end-missing", "check", lines.slice(0, -1).join("\n")),
    refused("lines", "length-of-lines", "length", kit + " ".repeat(5000)),
    refused("lines", "text-odd", "text", `${kit}\u00a0`),
  ];
}

export function lensVectors(): Vector[] {
  const code: LensCode = {
    ...{ secret: bytesOf(0x61, 32), phone: bytesOf(0x63, 16), root },
    relay: "https://relay.example:8443/obscura",
  };
  const wifi = { ssid: fromText("Zuhause \u2302"), password: "correct horse", hidden: false };
  const joined = { ...code, wifi };
  const open = { ...code, wifi: { ssid: fromText("x"), password: "", hidden: true } };
  const well = (name: string, text: string, fields: LensCode): Vector => {
    const header = { object: "lens", expect: "well", ...describe(fields) };
    return { name, header, bytes: fromText(text), raw: true };
  };
  const refused = (name: string, expect: string, text: string): Vector => {
    const kind = ["version", "flags-newer"].includes(name.replace(/-\d$/, ""))
      ? "refused"
      : "corrupt";
    return { name, header: { object: "lens", expect, kind }, bytes: fromText(text), raw: true };
  };
  const text = printLens(joined);
  const body = fromBase32(text.slice(13).toLowerCase(), "").slice(0, -4);
  const edited = (...edits: [at: number, ...bytes: number[]][]) => {
    const bytes = body.slice();
    for (const [at, ...put] of edits) bytes.set(put, at);
    return sealText(bytes);
  };
  const ssidAt = 2 + 32 + 16 + 32 + 2 + code.relay.length;
  const passwordAt = ssidAt + 1 + wifi.ssid.length;
  return [
    well("well-with-wifi", text, joined),
    well("well-without-wifi", printLens(code), code),
    well("well-open-and-hidden", printLens(open), open),
    well("well-small-letters", text.toLowerCase(), joined),
    refused("scheme-of-link", "scheme", text.replace("-LENS", "")),
    refused(
      "check-letter",
      "check",
      text.slice(0, 40) + (text[40] === "Q" ? "R" : "Q") + text.slice(41),
    ),
    refused("check-cut", "check", text.slice(0, -8)),
    refused("base32-letter", "base32", `${text.slice(0, 40)}U${text.slice(41)}`),
    refused("base32-beyond-ascii", "base32", `${text}\u212a`),
    refused("length-of-text", "length", text + "0".repeat(560)),
    refused("length-of-more", "length", sealText(Uint8Array.of(...body, 0))),
    refused("length-without-password", "length", sealText(body.slice(0, passwordAt))),
    refused("version-2", "version", edited([0, 2])),
    refused("flags-newer", "flags", edited([1, 4])),
    refused("flags-hidden-only", "flags", edited([1, 2])),
    refused("key-of-root", "key", edited([50, ...bytesOf(0, 32)])),
    refused("relay-of-ftp", "relay", edited([84, ...fromText("ftp:/")])),
    refused("ssid-empty", "ssid", edited([ssidAt, 0])),
    refused("ssid-of-33", "ssid", edited([ssidAt, 33])),
    refused("password-of-7", "password", sealText(body.slice(0, -6).with(passwordAt, 7))),
    refused("password-with-bell", "password", edited([passwordAt + 1, 7])),
  ];
}

/** A code of these bytes, whatever they say. */
export function sealText(body: Uint8Array): string {
  const check = fingerprint("obscura/1/lens", body).subarray(0, 4);
  return `OBSCURA-LENS:${toBase32(Uint8Array.of(...body, ...check)).toUpperCase()}`;
}
