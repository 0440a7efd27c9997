import encodeQR from "qr";
import * as assert from "uvu/assert";
import { sealText } from "../../../scripts/vectors-join.ts";
import { ed25519Signer } from "../../../src/base/node/crypto.ts";
import { fromText, toText } from "../../../src/base/pure/bytes.ts";
import { Failure, isFailure } from "../../../src/base/pure/failure.ts";
import { fromBase32 } from "../../../src/protocol/sealed/base32.ts";
import {
  type LensCode,
  longestCode,
  openKnock,
  parseLens,
  phoneName,
  printLens,
  sealKnock,
} from "../../../src/protocol/sealed/lens.ts";
import { ready } from "../../../src/protocol/sealed/sodium.ts";
import { fuzz } from "../../lib/fuzz.ts";
import { pattern } from "../../lib/sealed.ts";
import { suite } from "../../lib/suite.ts";

await ready();

const code: LensCode = {
  ...{ secret: pattern(32, 1), phone: phoneName(pattern(32, 2)) },
  ...{ root: ed25519Signer(pattern(32, 3)).publicKey, relay: "https://relay.example" },
};
const wifi = { ssid: fromText("Zuhause"), password: "correct horse", hidden: false };
const longest: LensCode = {
  ...code,
  relay: `https://${"r".repeat(112)}`,
  wifi: { ssid: pattern(32), password: "p".repeat(63), hidden: true },
};

const stageOf = (act: () => unknown) => {
  try {
    act();
  } catch (error) {
    if (isFailure(error, "corrupt", "refused")) return error.stage;
    throw error;
  }
  return "taken";
};

suite("lens code", (test) => {
  test("goes there and back; the longest has its place, in a QR code of 65 dots", () => {
    for (const one of [code, { ...code, wifi }, longest]) {
      assert.equal(parseLens(printLens(one)), one);
      assert.equal(parseLens(printLens(one).toLowerCase()), one);
    }
    const text = printLens(longest);
    assert.ok(text.length <= longestCode, String(text.length));
    assert.is(encodeQR(text, "raw", { ecc: "low", border: 1 }).length - 2, 65);
    const usual = printLens({ ...code, relay: "https://relay.example:8443", wifi });
    assert.is(encodeQR(usual, "raw", { ecc: "low", border: 1 }).length - 2, 49);
  });

  test("what cannot be in one is not made", () => {
    const withWifi = (more: Partial<typeof wifi>) => () =>
      printLens({ ...code, wifi: { ...wifi, ...more } });
    assert.is(stageOf(withWifi({ ssid: new Uint8Array() })), "ssid");
    assert.is(stageOf(withWifi({ ssid: new Uint8Array(33) })), "ssid");
    assert.is(stageOf(withWifi({ password: "seven77" })), "password");
    assert.is(stageOf(withWifi({ password: "x".repeat(64) })), "password");
    assert.is(stageOf(withWifi({ password: "schlüssel" })), "password");
    assert.is(
      stageOf(() => printLens({ ...code, relay: "https://relay.example/" })),
      "relay",
    );
    assert.is(
      stageOf(() => printLens({ ...code, relay: `https://${"r".repeat(113)}` })),
      "length",
    );
  });

  test("a knock says which camera it is to who made the code, and to nobody else", () => {
    const identity = pattern(32, 9);
    const knock = sealKnock(code, identity);
    assert.equal(openKnock(code, knock), identity);
    assert.not.equal(sealKnock(code, identity), knock);
    assert.is(Buffer.from(knock).includes(Buffer.from(identity)), false);
    const other = { ...code, secret: pattern(32, 8) };
    assert.is(
      stageOf(() => openKnock(other, knock)),
      "knock",
    );
    const elsewhere = { ...code, root: pattern(32, 8) };
    assert.is(
      stageOf(() => openKnock(elsewhere, knock)),
      "knock",
    );
    for (let i = 0; i < knock.length; i++) {
      const changed = knock.slice();
      changed[i] = (changed[i] ?? 0) ^ 1;
      assert.is(
        stageOf(() => openKnock(code, changed)),
        "knock",
      );
    }
    assert.is(
      stageOf(() => openKnock(code, knock.subarray(1))),
      "length",
    );
  });

  const decode = (text: string) => {
    const read = parseLens(text);
    // One text for each code, but for its case.
    if (printLens(read) !== text.toUpperCase()) throw new Failure("misuse", "a second form");
    return read;
  };
  const texts = [code, { ...code, wifi }, longest].map(printLens);

  test(
    "fuzz: text",
    () => {
      fuzz({
        name: "lens code, text",
        seeds: texts.map(fromText),
        decode: (bytes) => decode(toText(bytes)),
        reaches: ["length", "scheme", "base32", "version", "check", "text"],
      });
    },
    { deadlineMs: 300_000 },
  );

  test(
    "fuzz: fields",
    () => {
      fuzz({
        name: "lens code, fields",
        seeds: texts.map((text) => fromBase32(text.slice(13).toLowerCase(), "").slice(0, -4)),
        decode: (bytes) => decode(sealText(bytes)),
        reaches: ["taken", "length", "version", "flags", "relay", "ssid", "password"],
      });
    },
    { deadlineMs: 300_000 },
  );
});
