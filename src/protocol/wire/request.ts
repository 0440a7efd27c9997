import { concat, equal, fromHex, fromText, toHex } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import { isKey, type Sign, type Suite, signatureBytes } from "./signature.ts";

// Signed requests: one profile of RFC 9421 with RFC 9530. Specification: request.md.

export type Target = {
  method: string; // upper case
  authority: string; // host, and port where it is not the scheme's own; lower case
  path: string; // as it stands on the request line, at least "/"
  query: string; // with its "?"; "?" alone when there is none
};
/** The three header fields of a signed request, by lower-case name. */
export type SignedHeaders = {
  "content-digest": string;
  "signature-input": string;
  signature: string;
};

/** How far `created` may lie from the verifier's clock. */
export const requestWindowMs: number = 5 * 60_000;

const tag = "obscura-1";
const components = ["@method", "@authority", "@path", "@query", "content-digest"] as const;
const inner = `(${components.map((name) => `"${name}"`).join(" ")})`;
const inputPattern =
  /^obscura=(\("@method" "@authority" "@path" "@query" "content-digest"\);created=(0|[1-9][0-9]{0,11});keyid="([0-9a-f]{64})";tag="obscura-1")$/;
const signaturePattern = /^obscura=:([A-Za-z0-9+/]{86}==):$/;
const digestPattern = /^sha-512=:([A-Za-z0-9+/]{86}==):$/;

/** Signs a request. `contentSha512` is the whole SHA-512 of the content; of nothing for a GET. */
export function signRequest(
  target: Target,
  contentSha512: Uint8Array,
  { sign, key, createdMs }: { sign: Sign; key: Uint8Array; createdMs: number },
): SignedHeaders {
  const contentDigest = `sha-512=:${toBase64(contentSha512)}:`;
  const created = Math.floor(createdMs / 1000);
  const input = `${inner};created=${created};keyid="${toHex(key)}";tag="${tag}"`;
  const signature = sign(baseOf(target, contentDigest, input));
  return {
    "content-digest": contentDigest,
    "signature-input": `obscura=${input}`,
    signature: `obscura=:${toBase64(signature)}:`,
  };
}

/**
 * Checks a request's head before its content is read; the content is then held against
 * `contentSha512` with `checkContent`. Stages, in this order: "signature-input",
 * "signature-field", "content-digest", "key", "created", "target", "signature".
 */
export function verifyRequest(
  target: Target,
  headers: Readonly<Record<string, string | undefined>>,
  { suite, nowMs }: { suite: Suite; nowMs: number },
): { key: Uint8Array; createdMs: number; contentSha512: Uint8Array } {
  const input = match(headers, "signature-input", inputPattern, "signature-input");
  const signature = match(headers, "signature", signaturePattern, "signature-field");
  const content = match(headers, "content-digest", digestPattern, "content-digest");
  const [, params = "", created = "", keyId = ""] = input;
  const key = fromHex(keyId);
  if (!isKey(key)) throw refuse("key", "a key that fits anybody");
  const createdMs = Number(created) * 1000;
  if (Math.abs(createdMs - nowMs) > requestWindowMs) {
    throw refuse("created", "signed too long ago, or in the future", "Set the clock");
  }
  const contentSha512 = fromBase64(content[1] ?? "", "content-digest");
  const base = baseOf(target, content[0], params);
  if (!suite.verify(key, base, fromBase64(signature[1] ?? "", "signature-field"))) {
    throw refuse("signature", "not signed by the key it names");
  }
  return { key, createdMs, contentSha512 };
}

/**
 * What a request is for, by its request line and its Host field, as it is signed. A line with scheme and host
 * before the path, as proxies are asked, means the same (RFC 9112, section 3.2.2); its host counts, and the
 * field does not.
 */
export function targetOf(line: string, host: string | undefined) {
  const [, authority, rest = ""] = /^https?:\/\/([^/?#]*)(.*)$/is.exec(line) ?? [];
  if (authority === undefined) return { url: line, host };
  return { url: rest.startsWith("/") ? rest : `/${rest}`, host: authority };
}

/** Refuses content that is not the one the request was signed for, stage "content". */
export function checkContent(contentSha512: Uint8Array, actualSha512: Uint8Array): void {
  if (!equal(contentSha512, actualSha512)) {
    throw refuse("content", "the content is not the one that was signed for");
  }
}

/** RFC 9421, 2.5: a line for each component, then the parameters. Values hold no line end. */
export function signatureBase(
  values: readonly (readonly [string, string])[],
  params: string,
): Uint8Array {
  const lines = values.map(([name, value]) => `"${name}": ${value}\n`);
  return fromText(`${lines.join("")}"@signature-params": ${params}`);
}

function baseOf(target: Target, contentDigest: string, params: string): Uint8Array {
  const { method, authority, path, query } = target;
  // Anything that could end a line or be spelt in two ways never gets into the base.
  const fit =
    /^[A-Z]{1,16}$/.test(method) &&
    /^(?:[a-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::[1-9][0-9]{0,4})?$/.test(authority) &&
    /^\/[\x21\x24-\x3b\x3d\x40-\x5a\x5f\x61-\x7a\x7e]{0,2000}$/.test(path) &&
    /^\?[\x21\x24-\x3b\x3d\x3f-\x5a\x5f\x61-\x7a\x7e]{0,2000}$/.test(query);
  if (!fit) throw refuse("target", "a request that cannot be signed");
  const values = [method, authority, path, query, contentDigest] as const;
  return signatureBase(
    components.map((name, i) => [name, values[i] ?? ""] as const),
    params,
  );
}

function match(
  headers: Readonly<Record<string, string | undefined>>,
  name: string,
  pattern: RegExp,
  stage: string,
): RegExpExecArray {
  const found = pattern.exec(headers[name] ?? "");
  if (!found) throw refuse(stage, `the field ${name} is missing or not in our form`);
  return found;
}

function refuse(stage: string, message: string, hint?: string): Failure {
  return new Failure("refused", `request: ${message}`, { stage, ...(hint ? { hint } : {}) });
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** 64 bytes (a signature or a SHA-512) as 88 characters. */
function toBase64(bytes: Uint8Array): string {
  if (bytes.length !== signatureBytes) throw new Failure("misuse", "not 64 bytes");
  const padded = concat([bytes, new Uint8Array(2)]);
  let text = "";
  for (let i = 0; i < padded.length; i += 3) {
    const group = ((padded[i] ?? 0) << 16) | ((padded[i + 1] ?? 0) << 8) | (padded[i + 2] ?? 0);
    for (const shift of [18, 12, 6, 0]) text += alphabet[(group >> shift) & 63];
  }
  return `${text.slice(0, 86)}==`;
}

/** The way back; the four bits that belong to no byte must be zero: one canonical form. */
function fromBase64(text: string, stage: string): Uint8Array {
  const bytes = new Uint8Array(signatureBytes + 2);
  for (let i = 0; i < 88; i += 4) {
    let group = 0;
    for (let k = 0; k < 4; k++) {
      const value = text[i + k] === "=" ? 0 : alphabet.indexOf(text[i + k] ?? "=");
      group = (group << 6) | value;
    }
    bytes.set([group >> 16, (group >> 8) & 255, group & 255], (i / 4) * 3);
  }
  if (((bytes[signatureBytes] ?? 0) | (bytes[signatureBytes + 1] ?? 0)) !== 0) {
    throw refuse(stage, "base64 with bits that belong to no byte");
  }
  return bytes.subarray(0, signatureBytes);
}
