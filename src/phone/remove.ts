import { equal, toHex } from "../base/pure/bytes.ts";
import { Failure } from "../base/pure/failure.ts";
import { type Member, roleOf } from "../protocol/sealed/membership.ts";
import type { Journal } from "./journal.ts";
import { type CameraKeys, shortId, type Vault } from "./vault.ts";

/**
 * Takes a phone, or a kit, out of a camera's circle: durable here when it resolves. `tend` signs and
 * sends the list without it, shuts its door, and goes on until the log shows it; until then it is
 * "not yet removed". Throws "denied" for a viewer, "refused" for the last owner.
 */
export async function removePhone(
  phone: Uint8Array,
  { vault, camera, journal }: { vault: Vault; camera: CameraKeys; journal: Journal },
): Promise<void> {
  const { head } = journal.members;
  if (roleOf(head, vault.content.phoneKey) !== "owner") {
    throw new Failure("denied", "only an owner may remove a phone", { stage: "role" });
  }
  const isOut = (one: Uint8Array) =>
    equal(one, phone) || camera.removing.some((other) => equal(one, other));
  if (!head.members.some((one) => one.role === "owner" && !isOut(one.phone))) {
    throw new Failure("refused", "that is the last owner: nobody could decide anything any more", {
      stage: "owner",
      hint: "Add another owner first, or erase the camera",
    });
  }
  camera.adding = camera.adding.filter((one) => !equal(one.phone, phone));
  if (!camera.removing.some((one) => equal(one, phone))) camera.removing.push(phone);
  // One that was about to be let in: nothing of that is to be sent any more.
  await vault.save();
}

/** The member whose name it is, or whose id begins so: exactly one, else Failure "misuse". */
export function findMember(members: readonly Member[], text: string): Member {
  const found = members.filter(
    ({ name, phone }) =>
      name === text || (text.length >= 4 && toHex(phone).startsWith(text.toLowerCase())),
  );
  const [one, ...more] = found;
  if (one && more.length === 0) return one;
  const known = members.map(({ name, phone }) => `${name || "-"} ${shortId(phone)}`).join(", ");
  throw new Failure("misuse", `"${text}" names ${found.length} phones`, {
    hint: `Known: ${known}`,
  });
}
