import encodeQR from "qr";
import decodeQR from "qr/decode.js";
import * as assert from "uvu/assert";
import { fromText, toText } from "../../../src/base/pure/bytes.ts";
import { Failure, isFailure } from "../../../src/base/pure/failure.ts";
import {
  type Address,
  accessPointOf,
  parseInvite,
  printInvite,
  printNetworkCode,
} from "../../../src/protocol/sealed/invite.ts";
import { fingerprint, ready } from "../../../src/protocol/sealed/sodium.ts";
import { fuzz } from "../../lib/fuzz.ts";
import { pattern } from "../../lib/sealed.ts";
import { suite } from "../../lib/suite.ts";

await ready();

const v4 = (...bytes: number[]): Address => ({ ip: Uint8Array.from(bytes), port: 41_000 });
const v6: Address = { ip: Uint8Array.from([0xfd, 0, ...pattern(14)]), port: 1 };
const invite = { identity: pattern(32, 3), secret: pattern(32, 5), addresses: [v4(10, 0, 0, 7)] };

function refused(stage: string, text: string): void {
  assert.throws(
    () => parseInvite(text),
    (error: unknown) => isFailure(error, "corrupt", "refused") && error.stage === stage,
    `${stage}: ${text}`,
  );
}

const notMade = (stage: string, addresses: Address[]) =>
  assert.throws(
    () => printInvite({ ...invite, addresses }),
    (error: unknown) => isFailure(error) && error.stage === stage,
  );

suite("invite", (test) => {
  test("goes there and back, in either case", () => {
    for (const addresses of [
      [v4(192, 168, 1, 20)],
      [v4(127, 0, 0, 1), v6],
      [v6, v4(1, 2, 3, 4), v4(1, 2, 3, 5), { ...v6, port: 65_535 }],
    ]) {
      const link = printInvite({ ...invite, addresses });
      assert.match(link, /^obscura:[0-9a-z]+$/);
      assert.ok(link.length <= 240, String(link.length));
      assert.equal(parseInvite(link), { ...invite, addresses });
      assert.equal(parseInvite(link.toUpperCase()), { ...invite, addresses });
    }
  });

  test("the text of one link today, so that no change goes unseen", () => {
    assert.is(
      printInvite({
        identity: new Uint8Array(32).fill(1),
        secret: new Uint8Array(32).fill(2),
        addresses: [v4(192, 168, 1, 20)],
      }),
      "obscura:040g2081040g2081040g2081040g2081040g2081040g2081040g20g2081040g2081040g2081040g2081040g2081040g2081040g2042c1a012jg2h6v19pag",
    );
  });

  test("the board's own network follows from the link, and the secret does not from it", () => {
    const point = accessPointOf(invite);
    assert.equal(point, accessPointOf(parseInvite(printInvite(invite))));
    assert.match(point.ssid, /^Obscura (?:[0-9A-Z]{4}-?){3}$/);
    assert.ok(fromText(point.ssid).length <= 32);
    assert.match(point.password, /^[0-9a-z]{16}$/);
    const other = accessPointOf({ ...invite, secret: pattern(32, 6) });
    assert.is(other.ssid, point.ssid);
    assert.is.not(other.password, point.password);
    const code = printNetworkCode({ ssid: "Obscura a", password: "b" });
    assert.is(code, "WIFI:T:WPA;S:Obscura a;P:b;;");
  });

  test("its QR code is read again, and is no larger than 37 dots", () => {
    const link = printInvite({ ...invite, addresses: [v4(10, 0, 0, 7), v4(192, 168, 1, 20)] });
    const dots = encodeQR(link.toUpperCase(), "raw", { ecc: "low", border: 1 });
    assert.is(dots.length, 37 + 2);
    const [scale, border] = [4, 3];
    const size = (dots.length + 2 * border) * scale;
    const data = new Uint8ClampedArray(size * size * 4).fill(255);
    for (let y = 0; y < size; y++) {
      for (let x = 0; x < size; x++) {
        const dot = dots[Math.floor(y / scale) - border]?.[Math.floor(x / scale) - border];
        if (dot) data.fill(0, (y * size + x) * 4, (y * size + x) * 4 + 3);
      }
    }
    assert.is(decodeQR({ width: size, height: size, data }), link.toUpperCase());
  });

  test("every character that is typed wrong is found", () => {
    const link = printInvite(invite);
    for (let i = 0; i < link.length; i++) {
      for (const letter of ["0", "z", "u", "=", " "]) {
        if (link[i] === letter) continue;
        const typo = link.slice(0, i) + letter + link.slice(i + 1);
        assert.throws(() => parseInvite(typo), isFailure, typo);
      }
      assert.throws(() => parseInvite(link.slice(0, i)), isFailure);
      assert.throws(() => parseInvite(link.slice(0, i) + link.slice(i + 1)), isFailure);
      const swapped = link.slice(0, i) + (link[i + 1] ?? "") + (link[i] ?? "") + link.slice(i + 2);
      if (swapped !== link) assert.throws(() => parseInvite(swapped), isFailure, swapped);
    }
    for (const more of ["0", "00", "\n", " "]) assert.throws(() => parseInvite(link + more));
  });

  test("what is refused, and where", () => {
    refused("length", `obscura:${"0".repeat(240)}`);
    refused("scheme", "https://example.org/");
    refused("scheme", "");
    refused("base32", "obscura:u");
    refused("base32", printInvite(invite).replace("k", "\u212a")); // its lower case is k
    refused("length", "obscura:");
    refused("version", "obscura:0800000000");
    refused("check", "obscura:0400000000");
    notMade("count", []);
    notMade(
      "count",
      [1, 2, 3, 4, 5].map((last) => v4(10, 0, 0, last)),
    );
    notMade("order", [v6, v6]);
    notMade("address", [{ ...v6, port: 0 }]);
    notMade("address", [v4(0, 0, 0, 0)]);
    notMade("address", [v4(239, 1, 1, 1)]);
    notMade("address", [{ ip: Uint8Array.from([255, 2, ...new Uint8Array(14)]), port: 1 }]);
  });

  const decode = (text: string) => {
    const read = parseInvite(text);
    // One text for each link, but for its case.
    if (printInvite(read) !== text.toLowerCase()) throw new Failure("misuse", "a second form");
    return read;
  };

  test(
    "fuzz: text",
    () => {
      const link = printInvite({ ...invite, addresses: [v4(10, 0, 0, 7), v6] });
      fuzz({
        name: "invite, text",
        seeds: [fromText(link), fromText(printInvite(invite).toUpperCase())],
        decode: (bytes) => decode(toText(bytes)),
        reaches: ["length", "scheme", "base32", "version", "check", "text"],
      });
    },
    { deadlineMs: 300_000 },
  );

  test(
    "fuzz: fields",
    () => {
      const bodies = [[v4(10, 0, 0, 7)], [v6, v4(1, 2, 3, 4), v4(1, 2, 3, 5), v4(5, 5, 5, 5)]].map(
        (addresses) => fromBase32(printInvite({ ...invite, addresses }).slice(8)).slice(0, -4),
      );
      assert.is(link32(bodies[0] ?? new Uint8Array()), printInvite(invite));
      fuzz({
        name: "invite, fields",
        seeds: bodies,
        decode: (bytes) => decode(link32(bytes)),
        reaches: ["taken", "length", "version", "count", "address", "order"],
      });
    },
    { deadlineMs: 300_000 },
  );
});

// Base32 once more, by another way.
const letters = "0123456789abcdefghjkmnpqrstvwxyz";

function link32(body: Uint8Array): string {
  const check = fingerprint("obscura/1/invite", body).subarray(0, 4);
  const bytes = Buffer.concat([body, check]);
  const count = Math.ceil((bytes.length * 8) / 5);
  const number = BigInt(`0x${bytes.toString("hex")}`) << BigInt(count * 5 - bytes.length * 8);
  const digits = number.toString(32).padStart(count, "0");
  return `obscura:${digits.replace(/[i-v]/g, (digit) => letters[Number.parseInt(digit, 32)] ?? "")}`;
}

function fromBase32(text: string): Uint8Array {
  const bits = [...text].map((letter) => letters.indexOf(letter).toString(2).padStart(5, "0"));
  const bytes = bits.join("").match(/.{8}/g) ?? [];
  return Uint8Array.from(bytes, (byte) => Number.parseInt(byte, 2));
}
