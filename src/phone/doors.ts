import { equal, toHex } from "../base/pure/bytes.ts";
import { isFailure } from "../base/pure/failure.ts";
import { doorSeed, sealDoorList } from "../protocol/sealed/join.ts";
import type { Role } from "../protocol/sealed/membership.ts";
import { verifyIdentity } from "../protocol/sealed/pairing.ts";
import { sign, signPublicKey } from "../protocol/sealed/sodium.ts";
import { type Door, type DoorList, type Right, verifyDoorList } from "../protocol/wire/door.ts";
import { mailboxOf } from "../protocol/wire/name.ts";
import type { Suite } from "../protocol/wire/signature.ts";
import type { Fault } from "./fault.ts";
import type { Link } from "./link.ts";
import type { CameraKeys, Vault } from "./vault.ts";

// Who may do what in a camera's mailbox, as its owners keep it (wire/door.md, join.md).

const rights: Record<Exclude<Role, "kit">, readonly Right[]> = {
  owner: ["read", "box", "delete"],
  viewer: ["read", "box"],
};
/** Of whoever has a link, until the new phone has a door of its own. */
const guestRights: readonly Right[] = ["read", "box"];

export type DoorOptions = {
  readonly link: Link;
  readonly vault: Vault;
  readonly camera: CameraKeys;
  readonly suite: Suite;
};

/** The public root key that the camera's mailbox is named after. */
export function rootOf(camera: CameraKeys): Uint8Array {
  if (camera.root) return signPublicKey(camera.root);
  return camera.rootKey ?? new Uint8Array(32);
}

export function mailboxIdOf(camera: CameraKeys, suite: Suite): Uint8Array {
  return mailboxOf(rootOf(camera), suite);
}

/** The door of a member: nobody keeps a table, every owner can name it. */
export function doorKeyOf(root: Uint8Array, phone: Uint8Array): Uint8Array {
  return signPublicKey(doorSeed(root, phone));
}

export function memberDoor(root: Uint8Array, phone: Uint8Array, role: Role): Door | undefined {
  if (role === "kit") return undefined;
  return { key: doorKeyOf(root, phone), rights: new Set(rights[role]) };
}

export function guestDoor(key: Uint8Array): Door {
  return { key, rights: new Set(guestRights) };
}

/** The newest list that this phone knows or that lies there; a relay that went back is named. */
export async function readDoors({
  link,
  camera,
  suite,
}: Omit<DoorOptions, "vault">): Promise<{ list: DoorList | undefined; faults: readonly Fault[] }> {
  const mailbox = mailboxIdOf(camera, suite);
  const known = camera.door && verifyDoorList(camera.door, mailbox, suite);
  const bytes = await link.get({ kind: "door" });
  try {
    const there = bytes && verifyDoorList(bytes, mailbox, suite);
    if (!there || (known && known.version >= there.version)) {
      const isBack = known && there && there.version < known.version;
      const text = `the door list there is version ${there?.version}, this phone knows ${known?.version}: a removed key may get in again`;
      const fault: Fault = { severity: "lie", kind: "rollback", text, name: "door" };
      return { list: known, faults: isBack ? [fault] : [] };
    }
    return { list: there, faults: [] };
  } catch (error) {
    if (!isFailure(error)) throw error;
    const text = `a door list that the owner did not sign: ${error.message}`;
    return { list: known, faults: [{ severity: "lie", kind: "forged", text, name: "door" }] };
  }
}

/**
 * Signs a next door list where `let` has a door that the present one has not, or `shut` one that it
 * has; and puts the known one back where a relay serves an older. Only for who holds the root key.
 */
export async function keepDoors(
  options: DoorOptions,
  change: { readonly let: readonly Door[]; readonly shut: readonly Uint8Array[] },
): Promise<readonly Fault[]> {
  const { link, vault, camera, suite } = options;
  const { root } = camera;
  if (!root) return [];
  const { list, faults } = await readDoors(options);
  const first = list ?? firstDoors(camera, suite);
  const shut = new Set(change.shut.map(toHex));
  const doors = new Map(first.doors.map((door) => [toHex(door.key), door]));
  let isSame = list !== undefined;
  for (const key of shut) isSame = !doors.delete(key) && isSame;
  for (const door of change.let) {
    const key = toHex(door.key);
    if (shut.has(key) || doors.has(key)) continue;
    doors.set(key, door);
    isSame = false;
  }
  const isBehind = link.kind === "relay" && faults.length > 0;
  if (isSame && !isBehind) return faults;
  const next: DoorList = {
    ...first,
    version: first.version + 1,
    doors: [...doors].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, door]) => door),
  };
  const sealed = sealDoorList(next, { sign: (message) => sign(root, message), suite });
  camera.door = sealed.bytes;
  vault.touch();
  await vault.save();
  // A folder has no doors; a relay that is filled from it gets the list with the first command.
  if (link.kind === "relay") await link.put(sealed);
  return faults;
}

/** As the adoption made it. */
function firstDoors(camera: CameraKeys, suite: Suite): DoorList {
  const { request } = verifyIdentity(camera.identity, suite);
  const own = signPublicKey(camera.request);
  const doors: Door[] = [
    { key: request, rights: new Set<Right>(["append"]) },
    { key: own, rights: new Set(rights.owner) },
  ];
  return {
    ...{ root: rootOf(camera), version: 1, minimumAgeMs: 0 },
    doors: equal(request, own) ? doors.slice(0, 1) : doors,
  };
}
