import * as assert from "uvu/assert";
import { fromText } from "../../../src/base/pure/bytes.ts";
import { isFailure } from "../../../src/base/pure/failure.ts";
import { fromBase64, toBase64 } from "../../../src/protocol/sealed/base64.ts";
import { encodeMembership, found } from "../../../src/protocol/sealed/membership.ts";
import {
  type Adoption,
  adoptionKind,
  checkWord,
  encodeAdoption,
  encodeIdentity,
  type Identity,
  identityKind,
  parsePairingFile,
  printPairingFile,
  relayOf,
  verifyAdoption,
  verifyIdentity,
} from "../../../src/protocol/sealed/pairing.ts";
import { kemPair, ready } from "../../../src/protocol/sealed/sodium.ts";
import { encodeSupply, type Supply } from "../../../src/protocol/sealed/supply.ts";
import { encodeDoorList, type Right } from "../../../src/protocol/wire/door.ts";
import { mailboxOf } from "../../../src/protocol/wire/name.ts";
import { signObject } from "../../../src/protocol/wire/signature.ts";
import { fuzz, quickSign, quickSuite } from "../../lib/fuzz.ts";
import { nodeSuite, pattern, type Signer, signer } from "../../lib/sealed.ts";
import { suite } from "../../lib/suite.ts";

await ready();

const request = signer().key;
const receiving = kemPair().publicKey;
const oneTime = [kemPair().publicKey];

function identityOf(camera: Signer) {
  const identity: Identity = {
    ...{ camera: camera.key, request, receiving, incarnation: 0, name: "Front door" },
  };
  return encodeIdentity(identity, camera);
}

type Change = { adoption?: Partial<Adoption>; supply?: Partial<Supply>; rights?: Right[] };

function adoptionOf(camera: Signer, owner: Signer, change: Change = {}, lister = owner) {
  const root = owner;
  const supply: Supply = {
    ...{ phone: owner.key, camera: camera.key, incarnation: 0, batch: 1, firstIndex: 0 },
    ...{ firstDay: 0, oneTime, days: [], ...change.supply },
  };
  const doors = [{ key: request, rights: new Set(change.rights ?? (["append"] as const)) }];
  const list = { root: root.key, version: 1, minimumAgeMs: 0, doors };
  return {
    camera: camera.key,
    identity: identityOf(camera).hash,
    owner: owner.key,
    membership: encodeMembership(found(camera.key, lister.key, "Ada"), lister).bytes,
    supply: encodeSupply(supply, owner).bytes,
    mailbox: mailboxOf(root.key, owner.suite),
    doors: encodeDoorList(list, root).bytes,
    relays: ["https://relay.example", "http://192.168.1.2:8470/cams"],
    ...change.adoption,
  };
}

const [camera, owner] = [signer(), signer()];
const identity = verifyIdentity(identityOf(camera).bytes, nodeSuite);

function refused(stage: string, act: () => unknown): void {
  assert.throws(act, (error: unknown) => isFailure(error) && error.stage === stage, stage);
}

function adopt(change: Change = {}, lister = owner) {
  const { bytes } = encodeAdoption(adoptionOf(camera, owner, change, lister), owner);
  return verifyAdoption(bytes, identity, nodeSuite);
}

suite("pairing", (test) => {
  test("identity and adoption go there and back, through files", () => {
    assert.is(identity.name, "Front door");
    const file = printPairingFile("camera identity", identityOf(camera).bytes, "word");
    assert.is(
      verifyIdentity(parsePairingFile("camera identity", fromText(file)), nodeSuite).incarnation,
      0,
    );
    const adopted = adopt();
    assert.equal(adopted.owner, owner.key);
    assert.is(adopted.supply.oneTime.length, 1);
    assert.is(adopted.membership.version, 1);
  });

  test("relays have one form each, and at most eight are taken", () => {
    const relays = Array.from({ length: 8 }, (_, i) => `http://10.0.0.${i + 1}:8470`);
    assert.equal(adopt({ adoption: { relays } }).relays, relays);
    assert.equal(adopt({ adoption: { relays: [] } }).relays, []);
    refused("count", () => adopt({ adoption: { relays: [...relays, "http://10.0.0.9"] } }));
    for (const relay of [
      ...["", "relay.example", "ftp://relay.example", "http://relay.example/", "http://a b"],
      ...["http://relay.example:80", "https://relay.example:443", "HTTP://relay.example"],
      ...["http://ada:word@relay.example", "http://relay.example/?a", "http://relay.example/#a"],
      ...["http://relay.example/..", "http://relay.example\n"],
    ]) {
      refused("relay", () => adopt({ adoption: { relays: [relay] } }));
    }
    refused("relay", () => adopt({ adoption: { relays: ["http://a", "http://b", "http://a"] } }));
    refused("length", () => adopt({ adoption: { relays: [`http://a/${"b".repeat(512)}`] } }));
    assert.is(relayOf("https://relay.example:443/"), "https://relay.example");
    assert.is(relayOf("relay.example"), undefined);
  });

  test("an adoption that does not fit the camera or itself is refused", () => {
    const other = signer();
    refused("camera", () => adopt({ adoption: { camera: other.key } }));
    refused("identity", () => adopt({ adoption: { identity: pattern(32) } }));
    refused("signature", () => adopt({ adoption: { owner: other.key } }));
    refused("owner", () => adopt({}, other));
    refused("incarnation", () => adopt({ supply: { incarnation: 1 } }));
    refused("phone", () => adopt({ supply: { phone: other.key } }));
    refused("mailbox", () => adopt({ adoption: { mailbox: pattern(32) } }));
    refused("door", () => adopt({ rights: ["read"] }));
    const forged = Uint8Array.from(identityOf(camera).bytes);
    forged[40] = (forged[40] ?? 0) ^ 1;
    refused("signature", () => verifyIdentity(forged, nodeSuite));
  });

  test("the check word is the same on both sides and changes with any hash", () => {
    const word = checkWord(identity.hash, pattern(32));
    assert.match(word, /^[0-9A-HJKMNP-TV-Z]{4}(-[0-9A-HJKMNP-TV-Z]{4}){2}$/);
    assert.is(word, checkWord(identity.hash, pattern(32)));
    assert.is.not(word, checkWord(identity.hash));
    assert.is.not(word, checkWord(identity.hash, pattern(32, 3)));
  });

  test("a file of another sort, a newer one or none is refused", () => {
    const print = printPairingFile("camera identity", pattern(10), "word");
    refused("holds", () => parsePairingFile("camera adoption", fromText(print)));
    refused("version", () =>
      parsePairingFile("camera identity", fromText(print.replace('"format": 1', '"format": 2'))),
    );
    refused("json", () => parsePairingFile("camera identity", fromText("not JSON")));
    refused("json", () => parsePairingFile("camera identity", fromText("{}")));
    refused("base64", () =>
      parsePairingFile(
        "camera identity",
        fromText(print.replace(/"content": ".*"/, '"content": "A"')),
      ),
    );
    refused("length", () => parsePairingFile("camera identity", new Uint8Array(30_000_000)));
  });

  test("base64 against Node's, in one canonical form", () => {
    for (let length = 0; length < 70; length++) {
      const bytes = pattern(length, length + 1);
      const text = Buffer.from(bytes).toString("base64");
      assert.is(toBase64(bytes), text);
      assert.equal(
        Buffer.from(fromBase64(text)).toString("hex"),
        Buffer.from(bytes).toString("hex"),
      );
    }
    for (const text of ["A", "AA", "AAA", "AB==", "AAB=", "====", "A===", "AA=A", "AA==AAAA"]) {
      refused("base64", () => fromBase64(text));
    }
    for (const text of ["AA-_", "AA A", "AAA\n", "AAAé", "Ā==="]) {
      refused("base64", () => fromBase64(text));
    }
  });

  test("fuzz", () => {
    const quick = (seed: number): Signer => {
      const key = pattern(32, seed);
      return { key, writer: key, sign: quickSign(key), suite: quickSuite };
    };
    const [cam, own] = [quick(3), quick(5)];
    const made = identityOf(cam).bytes;
    const known = verifyIdentity(made, quickSuite);
    const adoption = encodeAdoption(adoptionOf(cam, own), own).bytes;
    fuzz({
      name: "pairing",
      seeds: [made, adoption],
      decode: (bytes) =>
        bytes[2] === identityKind.number
          ? verifyIdentity(bytes, quickSuite)
          : verifyAdoption(bytes, known, quickSuite),
      reseal: (bytes) => {
        if (bytes.length <= 64) return bytes;
        const isIdentity = bytes[2] === identityKind.number;
        const [kind, by] = isIdentity ? [identityKind, cam] : [adoptionKind, own];
        signObject(kind, bytes, by.sign, quickSuite);
        return bytes;
      },
      reaches: [
        ...["taken", "length", "version", "suite", "kind", "flags", "camera", "identity"],
        ...["signature", "mailbox", "owner", "parent", "phone", "relay"],
      ],
    });
  });
});
