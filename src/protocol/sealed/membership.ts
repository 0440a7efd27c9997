import { equal, fromText, type Reader, toHex, toText } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import {
  type By,
  decodeObject,
  digest,
  encodeObject,
  hashBytes,
  isHash,
  isKey,
  type Kind,
  keyBytes,
  noHash,
  type Suite,
  suiteNumber,
  verifyObject,
  writeEnvelope,
} from "../wire/signature.ts";

// Who opens a camera's clips, and who decides on that. Specification: membership.md.

export const membershipKind: Kind = { word: "membership", number: 18 };

/** A kit opens what was sealed since it was made and lets a new owner in; it asks for nothing else. */
export type Role = "owner" | "viewer" | "kit";
export type Member = {
  phone: Uint8Array; // 32 bytes, Ed25519
  role: Role;
  name: string; // for people, at most 64 bytes of UTF-8
};
export type Membership = {
  camera: Uint8Array;
  version: number; // from 1
  parent: Uint8Array; // hash of the version before, zero for version 1
  minimumSuite: number; // never goes down
  members: readonly Member[]; // by rising phone
  signer: Uint8Array; // an owner or the kit of the parent version, an owner of this one for version 1
};

export const mostMembers = 32;
const nameBytes = 64;
const roles: readonly Role[] = ["owner", "viewer", "kit"];

export function encodeMembership(list: Membership, by: By) {
  const writer = writeEnvelope(membershipKind)
    .raw(list.camera)
    .u32(list.version)
    .raw(list.parent)
    .u8(list.minimumSuite)
    .u8(list.members.length);
  for (const { phone, role, name } of list.members) {
    const text = fromText(name);
    writer
      .raw(phone)
      .u8(roles.indexOf(role) + 1)
      .u8(text.length)
      .raw(text);
  }
  writer.raw(list.signer);
  return encodeObject(membershipKind, writer, decodeMembership, by);
}

/** Reads a member list; says nothing yet about who made it. */
export function decodeMembership(bytes: Uint8Array): Membership {
  return decodeObject(membershipKind, bytes, (reader) => {
    const camera = reader.take(keyBytes);
    const version = reader.u32();
    const parent = reader.take(hashBytes);
    const minimumSuite = reader.u8();
    const count = reader.u8();
    if (count > mostMembers) throw reader.refuse("count", `${count} members`);
    const members: Member[] = [];
    for (let i = 0; i < count; i++) members.push(readMember(reader, members.at(-1)));
    const signer = reader.take(keyBytes);
    if (version === 0 || isHash(parent) !== version > 1) {
      throw reader.refuse("parent", `version ${version} of a member list with a wrong parent`);
    }
    if (!members.some(({ role }) => role === "owner")) {
      throw reader.refuse("owner", "a member list without an owner");
    }
    if (minimumSuite > suiteNumber) {
      throw new Failure("refused", `this member list demands suite ${minimumSuite}`, {
        stage: "suite",
        hint: "Update this program",
      });
    }
    if (minimumSuite === 0) throw reader.refuse("suite", "a member list that demands no suite");
    return { camera, version, parent, minimumSuite, members, signer };
  });
}

function readMember(reader: Reader, before: Member | undefined): Member {
  const phone = reader.take(keyBytes);
  if (before && toHex(before.phone) >= toHex(phone)) {
    throw reader.refuse("order", "members that do not rise");
  }
  if (!isKey(phone)) throw reader.refuse("key", "a member under a key that fits anybody");
  const role = roles[reader.u8() - 1];
  if (!role) throw reader.refuse("role", "a role that is not known");
  const length = reader.u8();
  if (length > nameBytes) throw reader.refuse("length", `a name of ${length} bytes`);
  const name = toText(reader.take(length));
  if (/\p{Cc}/u.test(name)) throw reader.refuse("text", "a name with control characters");
  return { phone, role, name };
}

export type Version = Membership & { readonly hash: Uint8Array };

/** Version 1, which a camera takes at its adoption: signed by an owner in it. */
export function verifyFirst(bytes: Uint8Array, camera: Uint8Array, suite: Suite): Version {
  const list = decodeMembership(bytes);
  if (list.version !== 1) throw refuse("version", "not the first version of a member list");
  return verifyBy(bytes, list, list, camera, suite);
}

/**
 * A version that is taken on the word of somebody who is trusted already: an owner who lets this
 * phone join. Signed by whom it names; stages "camera", "key", "signature".
 */
export function verifyBase(bytes: Uint8Array, camera: Uint8Array, suite: Suite): Version {
  const list = decodeMembership(bytes);
  if (list.version === 1) return verifyFirst(bytes, camera, suite);
  if (!equal(list.camera, camera)) throw refuse("camera", "a member list of another camera");
  return { ...list, hash: verifyObject(membershipKind, bytes, list.signer, suite) };
}

/**
 * The version that follows `parent`. Stages after decoding: "camera", "parent" (of another
 * version), "suite" (demands less), "owner" (signed by none of the parent's owners), "key",
 * "signature".
 */
export function verifyNext(bytes: Uint8Array, parent: Version, suite: Suite): Version {
  const list = decodeMembership(bytes);
  if (list.version !== parent.version + 1 || !equal(list.parent, parent.hash)) {
    throw refuse(
      "parent",
      `version ${list.version} does not follow this version ${parent.version}`,
    );
  }
  if (list.minimumSuite < parent.minimumSuite) {
    throw refuse("suite", "a member list that demands less than the one before");
  }
  return verifyBy(bytes, list, parent, parent.camera, suite);
}

function verifyBy(
  bytes: Uint8Array,
  list: Membership,
  authority: Membership,
  camera: Uint8Array,
  suite: Suite,
): Version {
  if (!equal(list.camera, camera)) throw refuse("camera", "a member list of another camera");
  const role = roleOf(authority, list.signer);
  if (role !== "owner" && !(role === "kit" && list !== authority)) {
    throw refuse("owner", "a member list signed by somebody who was no owner");
  }
  return { ...list, hash: verifyObject(membershipKind, bytes, list.signer, suite) };
}

export function roleOf(list: Membership, phone: Uint8Array): Role | undefined {
  return list.members.find((member) => equal(member.phone, phone))?.role;
}

/** The next version's fields, to be signed by one of `parent`'s owners. */
export function follow(
  parent: Version,
  signer: Uint8Array,
  members: readonly Member[],
): Membership {
  const { camera, version, hash, minimumSuite } = parent;
  const sorted = [...members].sort((a, b) => (toHex(a.phone) < toHex(b.phone) ? -1 : 1));
  return { camera, version: version + 1, parent: hash, minimumSuite, members: sorted, signer };
}

/** Version 1 with one owner. */
export function found(camera: Uint8Array, owner: Uint8Array, name: string): Membership {
  const members = [{ phone: owner, role: "owner", name } as const];
  return {
    ...{ camera, version: 1, parent: noHash, minimumSuite: suiteNumber, members, signer: owner },
  };
}

/** Two versions that owners signed over one parent: a camera keeps its first, a phone shows both. */
export type Dispute = { readonly parent: Uint8Array; readonly rivals: readonly Version[] };

/** All versions that one has seen, from version 1 on. */
export class MembershipHistory {
  readonly #suite: Suite;
  readonly #versions = new Map<string, Version>();
  readonly first: Version;
  #head: Version;

  constructor(first: Version, suite: Suite) {
    this.#suite = suite;
    this.first = first;
    this.#head = first;
    this.#versions.set(toHex(first.hash), first);
  }

  /** The newest version on the branch that was ordered (by the camera, in its log). */
  get head(): Version {
    return this.#head;
  }

  /** The hash by which a list is known here. */
  hashOf(bytes: Uint8Array): Uint8Array {
    return digest(this.#suite, bytes);
  }

  /** The version of that number on the ordered branch. */
  at(version: number): Version | undefined {
    let at: Version | undefined = this.#head;
    while (at && at.version > version) at = this.#versions.get(toHex(at.parent));
    return at?.version === version ? at : undefined;
  }

  /**
   * Takes a version in whose parent is known; returns it. A repeat changes nothing. `ordered` moves
   * the head to it, which must follow the head (stage "parent").
   */
  add(bytes: Uint8Array, ordered: boolean): Version {
    const known = this.#versions.get(toHex(digest(this.#suite, bytes)));
    const version = known ?? verifyNext(bytes, this.#parentOf(bytes), this.#suite);
    this.#versions.set(toHex(version.hash), version);
    if (ordered && version.version > this.#head.version) {
      if (!equal(version.parent, this.#head.hash)) {
        throw refuse("parent", "a version that does not follow the ordered one");
      }
      this.#head = version;
    } else if (ordered && !this.#isOrdered(version)) {
      throw refuse("parent", "a second version ordered in one place");
    }
    return version;
  }

  get disputes(): Dispute[] {
    const children = new Map<string, Version[]>();
    for (const version of this.#versions.values()) {
      const parent = toHex(version.parent);
      children.set(parent, [...(children.get(parent) ?? []), version]);
    }
    return [...children.values()]
      .filter((rivals) => rivals.length > 1)
      .map((rivals) => ({ parent: rivals[0]?.parent ?? noHash, rivals }));
  }

  #parentOf(bytes: Uint8Array): Version {
    const parent = this.#versions.get(toHex(decodeMembership(bytes).parent));
    if (!parent) throw refuse("parent", "a member list whose parent is not known");
    return parent;
  }

  #isOrdered(version: Version): boolean {
    const at = this.at(version.version);
    return at !== undefined && equal(at.hash, version.hash);
  }
}

function refuse(stage: string, message: string): Failure {
  return new Failure("refused", message, { stage });
}
