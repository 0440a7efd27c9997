import { equal, type Reader, toHex } from "../../base/pure/bytes.ts";
import { Failure } from "../../base/pure/failure.ts";
import { clipIdBytes, mailboxOf } from "./name.ts";
import {
  type By,
  decodeObject,
  encodeObject,
  isKey,
  keyBytes,
  kinds,
  type Suite,
  verifyObject,
  writeEnvelope,
} from "./signature.ts";

// Who may do what in a mailbox. Specification: door.md.

export type Right = "append" | "read" | "box" | "delete";
export type Door = {
  key: Uint8Array; // Ed25519, made for this mailbox alone; signs requests
} & ({ rights: ReadonlySet<Right> } | { share: Share });
/** One clip for whoever holds the link, until the date. */
export type Share = { clip: Uint8Array; untilMs: number };
export type DoorList = {
  root: Uint8Array; // the key that signs; the mailbox is named after it
  version: number;
  minimumAgeMs: number; // the camera may not evict what is younger
  doors: readonly Door[]; // by rising key
};

export const doorsMost = 1024;

const bits: readonly (readonly [Right, number])[] = [
  ["append", 1],
  ["read", 2],
  ["box", 4],
  ["delete", 8],
];
const shareBit = 16;

export function encodeDoorList(list: DoorList, by: By): { bytes: Uint8Array; hash: Uint8Array } {
  const writer = writeEnvelope(kinds.door)
    .raw(list.root)
    .u64(list.version)
    .u64(list.minimumAgeMs)
    .u16(list.doors.length);
  for (const door of list.doors) {
    writer.raw(door.key);
    if ("share" in door) writer.u8(shareBit).raw(door.share.clip).u64(door.share.untilMs);
    else writer.u8(bits.reduce((sum, [right, bit]) => sum + (door.rights.has(right) ? bit : 0), 0));
  }
  return encodeObject(kinds.door, writer, decodeDoorList, by);
}

export function decodeDoorList(bytes: Uint8Array): DoorList {
  return decodeObject(kinds.door, bytes, (reader) => {
    const root = reader.take(keyBytes);
    const version = reader.u64();
    const minimumAgeMs = reader.u64();
    const count = reader.u16();
    if (count > doorsMost) throw reader.refuse("length", `${count} keys, at most ${doorsMost}`);
    const doors: Door[] = [];
    for (let i = 0; i < count; i++) doors.push(readDoor(reader, doors.at(-1)));
    return { root, version, minimumAgeMs, doors };
  });
}

function readDoor(reader: Reader, before: Door | undefined): Door {
  const key = reader.take(keyBytes);
  if (before && toHex(before.key) >= toHex(key)) {
    throw reader.refuse("order", "keys of a door list that do not rise");
  }
  if (!isKey(key)) throw reader.refuse("key", "a door list lets in a key that fits anybody");
  const rights = reader.u8();
  if (rights > (rights & shareBit ? shareBit : shareBit - 1)) {
    throw new Failure("refused", `a door with rights ${rights} that are not known`, {
      stage: "rights",
      hint: "Update this program",
    });
  }
  if (rights === 0) throw reader.refuse("rights", "a door that opens nothing");
  if (rights === shareBit) {
    return { key, share: { clip: reader.take(clipIdBytes), untilMs: reader.u64() } };
  }
  return { key, rights: new Set(bits.filter(([, bit]) => rights & bit).map(([right]) => right)) };
}

/** A door list of the mailbox it is put into. Stages after decoding: "mailbox", "key", "signature". */
export function verifyDoorList(bytes: Uint8Array, mailbox: Uint8Array, suite: Suite): DoorList {
  const list = decodeDoorList(bytes);
  if (!equal(mailboxOf(list.root, suite), mailbox)) {
    throw new Failure("corrupt", "a door list of another mailbox", { stage: "mailbox" });
  }
  verifyObject(kinds.door, bytes, list.root, suite);
  return list;
}

/** Whether `next` takes the place of `current`: versions only rise, a removed key stays removed. */
export function replacesDoorList(next: DoorList, current: DoorList): boolean {
  return next.version > current.version;
}

/** The door that `key` opens, or undefined; a share whose date is past opens nothing. */
export function findDoor(list: DoorList, key: Uint8Array, nowMs: number): Door | undefined {
  const door = list.doors.find((one) => equal(one.key, key));
  return door && "share" in door && door.share.untilMs <= nowMs ? undefined : door;
}
