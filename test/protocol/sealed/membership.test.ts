import * as assert from "uvu/assert";
import { isFailure } from "../../../src/base/pure/failure.ts";
import {
  encodeMembership,
  follow,
  found,
  type Member,
  type Membership,
  MembershipHistory,
  membershipKind,
  mostMembers,
  roleOf,
  type Version,
  verifyFirst,
  verifyNext,
} from "../../../src/protocol/sealed/membership.ts";
import { ready } from "../../../src/protocol/sealed/sodium.ts";
import { signObject } from "../../../src/protocol/wire/signature.ts";
import { fuzz, quickSign, quickSuite } from "../../lib/fuzz.ts";
import { nodeSuite, pattern, type Signer, signer } from "../../lib/sealed.ts";
import { suite } from "../../lib/suite.ts";

await ready();

const camera = signer().key;
const owner = signer();
const other = signer();
const member = (one: Signer, role: Member["role"], name = "phone"): Member => ({
  ...{ phone: one.key, role, name },
});
const firstBytes = encodeMembership(found(camera, owner.key, "Ada's phone"), owner).bytes;
const first = verifyFirst(firstBytes, camera, nodeSuite);

function next(parent: Version, by: Signer, members: readonly Member[], change = {}): Uint8Array {
  const list: Membership = { ...follow(parent, by.key, members), ...change };
  return encodeMembership(list, by).bytes;
}

function refused(stage: string, act: () => unknown): void {
  assert.throws(act, (error: unknown) => isFailure(error) && error.stage === stage, stage);
}

suite("membership", (test) => {
  test("an owner founds it, adds a viewer, and removes them in one step", () => {
    assert.is(roleOf(first, owner.key), "owner");
    const both = [...first.members, member(other, "viewer", "Ben’s phone")];
    const second = verifyNext(next(first, owner, both), first, nodeSuite);
    assert.is(roleOf(second, other.key), "viewer");
    assert.is(second.members.find(({ role }) => role === "viewer")?.name, "Ben’s phone");
    const third = verifyNext(next(second, owner, first.members), second, nodeSuite);
    assert.is(third.version, 3);
    assert.is(roleOf(third, other.key), undefined);
  });

  test("only an owner of the parent version signs the next", () => {
    const both = [...first.members, member(other, "viewer")];
    const second = verifyNext(next(first, owner, both), first, nodeSuite);
    const self = [...first.members, member(other, "owner")];
    refused("owner", () => verifyNext(next(second, other, self), second, nodeSuite));
    // Somebody who makes himself an owner in the very list he signs.
    refused("owner", () => verifyNext(next(first, other, self), first, nodeSuite));
    const promoted = verifyNext(next(second, owner, self), second, nodeSuite);
    verifyNext(next(promoted, other, [member(other, "owner")]), promoted, nodeSuite);
  });

  test("the first version is signed by an owner in it, for this camera", () => {
    const list = found(camera, owner.key, "");
    refused("owner", () =>
      verifyFirst(encodeMembership({ ...list, signer: other.key }, other).bytes, camera, nodeSuite),
    );
    refused("camera", () => verifyFirst(firstBytes, other.key, nodeSuite));
    refused("signature", () => verifyFirst(encodeMembership(list, other).bytes, camera, nodeSuite));
    refused("version", () => verifyFirst(next(first, owner, first.members), camera, nodeSuite));
  });

  test("a version has one place: its parent's hash, the number after it", () => {
    const second = verifyNext(next(first, owner, first.members), first, nodeSuite);
    refused("parent", () => verifyNext(next(second, owner, first.members), first, nodeSuite));
    refused("parent", () =>
      verifyNext(next(first, owner, first.members, { version: 3 }), first, nodeSuite),
    );
    refused("camera", () =>
      verifyNext(next(first, owner, first.members, { camera: other.key }), first, nodeSuite),
    );
    refused("parent", () =>
      encodeMembership({ ...found(camera, owner.key, ""), version: 2 }, owner),
    );
  });

  test("the minimum suite never goes down, and an unknown one means update", () => {
    // Only suite 1 exists, so a parent that demands more can be made up in memory alone.
    const strict = { ...first, minimumSuite: 2 };
    const lower = next(first, owner, first.members);
    refused("suite", () => verifyNext(lower, strict, nodeSuite));
    refused("suite", () => next(first, owner, first.members, { minimumSuite: 2 }));
    refused("suite", () => next(first, owner, first.members, { minimumSuite: 0 }));
  });

  test("no list without an owner, out of order, doubled, too long or with odd names", () => {
    refused("owner", () => next(first, owner, [member(owner, "viewer")]));
    refused("order", () => next(first, owner, [member(owner, "owner"), member(owner, "viewer")]));
    const many = Array.from({ length: mostMembers + 1 }, () => member(signer(), "owner"));
    refused("count", () => next(first, owner, many));
    next(first, owner, many.slice(1));
    refused("length", () => next(first, owner, [member(owner, "owner", "x".repeat(65))]));
    refused("text", () => next(first, owner, [member(owner, "owner", "a\nb")]));
    const zero = { ...member(owner, "owner"), phone: new Uint8Array(32) };
    refused("key", () => next(first, owner, [zero]));
  });

  test("rivals are a dispute; the branch that the camera ordered stays the head", () => {
    const history = new MembershipHistory(first, nodeSuite);
    const both = [...first.members, member(other, "owner")];
    const [a, b] = [next(first, owner, both), next(first, owner, first.members)];
    assert.is(history.add(a, true).version, 2);
    assert.equal(history.disputes, []);
    history.add(b, false);
    history.add(b, false);
    assert.is(history.disputes.length, 1);
    assert.is(history.disputes[0]?.rivals.length, 2);
    refused("parent", () => history.add(b, true));
    const head = history.head;
    const c = next(head, other, both);
    history.add(c, true);
    assert.is(history.head.version, 3);
    assert.is(history.add(a, true).version, 2);
    refused("parent", () => history.add(next({ ...head, hash: pattern(32) }, owner, both), false));
  });

  test("fuzz", () => {
    const key = pattern(32, 5);
    const quick = { sign: quickSign(key), suite: quickSuite };
    const list = found(camera, key, "name");
    const start = { ...list, hash: signedHash(list, quick) };
    const second = follow(start, key, [...start.members, member(other, "viewer", "é")]);
    fuzz({
      name: "membership",
      seeds: [encodeMembership(list, quick).bytes, encodeMembership(second, quick).bytes],
      decode: (bytes) =>
        bytes[39] === 1
          ? verifyFirst(bytes, camera, quickSuite)
          : verifyNext(bytes, start, quickSuite),
      reseal: (bytes) => {
        if (bytes.length > 64) signObject(membershipKind, bytes, quick.sign, quickSuite);
        return bytes;
      },
      reaches: [
        ...["taken", "length", "version", "suite", "kind", "flags", "camera", "parent", "count"],
        ...["order", "role", "owner", "text", "signature"],
      ],
    });
  });
});

function signedHash(list: Membership, signer: Parameters<typeof encodeMembership>[1]) {
  return encodeMembership(list, signer).hash;
}
