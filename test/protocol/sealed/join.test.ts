import * as assert from "uvu/assert";
import { concat, toHex } from "../../../src/base/pure/bytes.ts";
import { isFailure } from "../../../src/base/pure/failure.ts";
import { openBox, sealBox } from "../../../src/protocol/sealed/box.ts";
import {
  answerKind,
  circleOf,
  decodeGrant,
  doorSeed,
  encodeAnswer,
  encodeGrant,
  encodeOffer,
  type GrantedCamera,
  grantKind,
  joinKeys,
  mostJoined,
  offerKind,
  verifyAnswer,
  verifyGrant,
  verifyOffer,
} from "../../../src/protocol/sealed/join.ts";
import { kitKeys } from "../../../src/protocol/sealed/kit.ts";
import {
  type LinkKind,
  parseLines,
  parseLink,
  printLines,
  printLink,
  type SecretLink,
} from "../../../src/protocol/sealed/link.ts";
import { encodeSeen, seenKind, seenPair, verifySeen } from "../../../src/protocol/sealed/seen.ts";
import { kemPair, ready } from "../../../src/protocol/sealed/sodium.ts";
import { type Kind, signObject } from "../../../src/protocol/wire/signature.ts";
import { fuzz, quickSign, quickSuite } from "../../lib/fuzz.ts";
import { nodeSuite, pattern, signer } from "../../lib/sealed.ts";
import { suite } from "../../lib/suite.ts";

await ready();

const owner = signer();
const key = kemPair().publicKey;
const link: SecretLink = {
  ...{ secret: pattern(32, 3), place: pattern(32, 5) },
  relays: ["https://relay.example:8443/a", "http://10.0.0.1:8470"],
};
const offered = { camera: owner.key, incarnation: 2, day: 30 };
const granted: GrantedCamera = {
  ...{ identity: pattern(1400), name: "Front door", adoptedMs: 5, list: pattern(300) },
  ...{ root: owner.key, rootSecret: pattern(32, 7), request: pattern(32, 9) },
  ...{ circle: pattern(32, 11), relays: link.relays, incarnation: 2, receiving: key },
};

function refused(stage: string, act: () => unknown): void {
  assert.throws(act, (error: unknown) => isFailure(error) && error.stage === stage, stage);
}

suite("join", (test) => {
  test("a link says the same as text, in capitals and as lines", () => {
    for (const kind of ["join", "kit"] as const) {
      const text = printLink(kind, link);
      assert.equal(parseLink(kind, text), link);
      assert.equal(parseLink(kind, text.toUpperCase()), link);
      const lines = printLines(kind, link);
      assert.equal(parseLines(kind, lines.join("\n")), link);
      assert.equal(
        parseLines(kind, lines.map((line) => `  ${line.toLowerCase()}\r\n\n`).join("")),
        link,
      );
      const another: LinkKind = kind === "join" ? "kit" : "join";
      refused("scheme", () => parseLink(another, text));
      refused("line", () => parseLines(another, lines.join("\n")));
    }
    const none = { ...link, relays: [] };
    assert.equal(parseLink("kit", printLink("kit", none)), none);
    const one = "https://relay.example";
    refused("count", () => printLink("join", { ...link, relays: Array(5).fill(one) }));
    refused("relay", () => printLink("join", { ...link, relays: [one, one] }));
    refused("relay", () => printLink("join", { ...link, relays: ["ftp://relay.example"] }));
  });

  test("every slip of one letter on paper is found, and in its line", () => {
    const lines = printLines("kit", link);
    let slips = 0;
    for (const [i, line] of lines.entries()) {
      for (let at = 3; at < line.length; at++) {
        if (line[at] === " ") continue;
        const wrong = line.slice(0, at) + (line[at] === "7" ? "8" : "7") + line.slice(at + 1);
        const text = lines.with(i, wrong).join("\n");
        let message = "";
        try {
          parseLines("kit", text);
        } catch (error) {
          message = (error as Error).message;
        }
        assert.match(message, new RegExp(`line ${i + 1} `), text);
        slips++;
      }
    }
    assert.ok(slips > 150, String(slips));
  });

  test("offer, answer and grant arrive as they were signed", () => {
    const cameras = Array.from({ length: mostJoined }, () => offered);
    const offer = { phone: owner.key, role: "viewer" as const, untilMs: 7, cameras };
    const made = encodeOffer(offer, owner);
    assert.equal(verifyOffer(made.bytes, nodeSuite), { ...offer, hash: made.hash });
    const supplies = cameras.map(() => pattern(40_000));
    const answer = { phone: owner.key, offer: made.hash, grantKey: key, name: "Béla", supplies };
    const answered = encodeAnswer(answer, owner);
    assert.equal(verifyAnswer(answered.bytes, nodeSuite), { ...answer, hash: answered.hash });
    for (const role of ["owner", "viewer", "kit"] as const) {
      const rootSecret = role === "viewer" ? undefined : granted.rootSecret;
      const grant = {
        ...{ phone: owner.key, answer: answered.hash, role },
        cameras: cameras.map(() => ({ ...granted, rootSecret })),
      };
      const given = encodeGrant(grant, owner);
      assert.equal(verifyGrant(given.bytes, nodeSuite), { ...grant, hash: given.hash });
    }
    const own = { phone: owner.key, answer: answered.hash, role: "owner" as const };
    const plain = encodeGrant({ ...own, cameras: [granted] }, owner).bytes;
    const begins = { ...own, cameras: [granted, { ...granted, checkpoint: pattern(216) }] };
    const later = encodeGrant(begins, owner);
    assert.equal(verifyGrant(later.bytes, nodeSuite), { ...begins, hash: later.hash });
    // The flag, and no checkpoint behind the one camera.
    const none = concat([plain.subarray(0, -64), new Uint8Array(2), plain.subarray(-64)]);
    none[3] = 1;
    refused("flags", () => decodeGrant(none));
    refused("root", () =>
      encodeGrant(
        { phone: owner.key, answer: made.hash, role: "viewer", cameras: [granted] },
        owner,
      ),
    );
    refused("count", () => encodeOffer({ ...offer, cameras: [...cameras, offered] }, owner));
  });

  test("the longest answer and grant fit a box, and only the meant key opens it", () => {
    const { offer, answer } = joinKeys(link.secret, link.place);
    const longest = {
      ...{ phone: owner.key, offer: pattern(32), grantKey: key, name: "x".repeat(64) },
      supplies: Array.from({ length: mostJoined }, () => pattern(40_280)),
    };
    const { bytes } = encodeAnswer(longest, owner);
    const place = { writer: owner.key, sequence: 1 };
    const sealed = sealBox(Uint8Array.from(bytes), answer.publicKey, place, nodeSuite);
    assert.is(openBox(sealed.bytes, [offer], nodeSuite), null);
    assert.equal(openBox(sealed.bytes, [offer, answer], nodeSuite), bytes);
    const big = { ...granted, identity: pattern(4096), list: pattern(8192) };
    const grant = { phone: owner.key, answer: pattern(32), role: "owner" as const };
    const cameras = Array.from({ length: mostJoined }, () => big);
    const given = encodeGrant({ ...grant, cameras }, owner).bytes;
    sealBox(given, answer.publicKey, place, nodeSuite);
  });

  test("what is made of a secret is its own for each purpose, mailbox and phone", () => {
    const one = joinKeys(link.secret, link.place);
    const two = joinKeys(link.secret, pattern(32, 77));
    const kit = kitKeys(link.secret);
    const secrets = [
      ...[one.offer.secret, one.answer.secret, one.request],
      ...[two.offer.secret, two.answer.secret, two.request],
      ...[kit.phone.secret, kit.grant.secret, kit.seal(owner.key).secret, kit.seal(key).secret],
      ...[doorSeed(link.secret, owner.key), doorSeed(link.secret, pattern(32))],
      ...[circleOf(link.secret), seenPair(circleOf(link.secret)).secret],
    ].map(toHex);
    assert.is(new Set(secrets).size, secrets.length);
    assert.equal(kitKeys(link.secret).phone, kit.phone);
  });

  const secretOf = pattern(32, 9);
  const quick = { sign: quickSign(secretOf), suite: quickSuite };
  const again = (kind: Kind) => (bytes: Uint8Array) => {
    if (bytes.length > 64) signObject(kind, bytes, quick.sign, quickSuite);
    return bytes;
  };
  const always = ["taken", "length", "version", "suite", "kind", "flags", "signature"];

  test("fuzz offer, answer, grant, seen", () => {
    const phone = secretOf;
    const [offer, answer] = [pattern(32), pattern(32, 2)];
    const cameras = [offered, offered];
    fuzz({
      ...{ name: "offer", reseal: again(offerKind) },
      seeds: [encodeOffer({ phone, role: "owner", untilMs: 1, cameras }, quick).bytes],
      decode: (bytes) => verifyOffer(bytes, quickSuite),
      reaches: [...always, "role", "range", "count"],
    });
    const supplies = [pattern(90), pattern(80)];
    const answers = { phone, offer, grantKey: key, name: "Béla", supplies };
    fuzz({
      ...{ name: "answer", reseal: again(answerKind) },
      seeds: [encodeAnswer(answers, quick).bytes],
      decode: (bytes) => verifyAnswer(bytes, quickSuite),
      reaches: always,
    });
    const short = { ...granted, identity: pattern(9), list: pattern(9), relays: ["http://a"] };
    const viewed = { ...short, rootSecret: undefined };
    const grant = { phone, answer };
    fuzz({
      ...{ name: "grant", reseal: again(grantKind) },
      seeds: [
        encodeGrant({ ...grant, role: "owner", cameras: [short, short] }, quick).bytes,
        encodeGrant({ ...grant, role: "viewer", cameras: [viewed] }, quick).bytes,
        encodeGrant(
          { ...grant, role: "viewer", cameras: [viewed, { ...viewed, checkpoint: pattern(9) }] },
          quick,
        ).bytes,
      ],
      decode: (bytes) => verifyGrant(bytes, quickSuite),
      reaches: [...always, "role", "root", "count"],
    });
    const seen = { camera: owner.key, phone, atMs: 1, incarnation: 2, sequence: 3, hash: offer };
    fuzz({
      ...{ name: "seen", reseal: again(seenKind) },
      seeds: [encodeSeen(seen, quick).bytes],
      decode: (bytes) => verifySeen(bytes, quickSuite),
      reaches: [...always, "range"],
    });
  });

  test("fuzz link", () => {
    const text = new TextEncoder();
    const ascii = (bytes: Uint8Array) => String.fromCharCode(...bytes);
    fuzz({
      name: "link",
      seeds: [printLink("join", link), printLink("kit", { ...link, relays: [] })].map((one) =>
        text.encode(one),
      ),
      decode: (bytes) => parseLink("join", ascii(bytes)),
      reaches: ["taken", "text", "scheme", "base32", "check", "version"],
    });
    fuzz({
      name: "lines",
      seeds: [text.encode(printLines("kit", link).join("\n"))],
      decode: (bytes) => parseLines("kit", ascii(bytes)),
      reaches: ["text", "line"],
    });
  });
});
