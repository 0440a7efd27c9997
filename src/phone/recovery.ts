import { equal } from "../base/pure/bytes.ts";
import { Failure, isFailure } from "../base/pure/failure.ts";
import { openBox } from "../protocol/sealed/box.ts";
import { sealCommand } from "../protocol/sealed/command.ts";
import { doorSeed, type Grant, sealFor, verifyGrant } from "../protocol/sealed/join.ts";
import { kitKeys } from "../protocol/sealed/kit.ts";
import type { SecretLink } from "../protocol/sealed/link.ts";
import { encodeMembership, follow, roleOf } from "../protocol/sealed/membership.ts";
import { random, sign, signPublicKey, wipe } from "../protocol/sealed/sodium.ts";
import { keyFingerprint } from "../protocol/sealed/stanza.ts";
import { encodeSupply } from "../protocol/sealed/supply.ts";
import { noHash, type Suite } from "../protocol/wire/signature.ts";
import { type Looked, makeGrant } from "./add.ts";
import { cameraOf } from "./join.ts";
import { type Journal, statements } from "./journal.ts";
import { type Link, pages } from "./link.ts";
import { receivingOf } from "./outgoing.ts";
import type { CameraKeys, Vault } from "./vault.ts";

// A recovery kit on paper: made, tested, used (kit.md).

export type KitOptions = {
  readonly vault: Vault;
  /** To the mailbox whose root stands on the paper. */
  readonly link: Link;
  readonly suite: Suite;
  readonly nowMs: number;
};

/** What will stand on the paper; nothing is sealed to it before `installKit`. */
export function drawKit({ root, relays }: CameraKeys): SecretLink {
  if (!root) throw new Failure("denied", "only an owner makes a kit", { stage: "role" });
  return { secret: random(32), place: root, relays: relays.slice(0, 4) };
}

/** Makes the kit a member that everything is sealed to from now on: `tend` brings it about. */
export async function installKit(
  { secret }: SecretLink,
  looked: readonly Looked[],
  { vault, suite }: Pick<KitOptions, "vault" | "suite">,
): Promise<void> {
  const keys = kitKeys(secret);
  const phone = keys.phone.publicKey;
  const signer = { sign: (message: Uint8Array) => sign(keys.phone.secret, message), suite };
  for (const { camera, journal } of looked) {
    if (!camera.root || roleOf(journal.members.head, vault.content.phoneKey) !== "owner") {
      throw new Failure("denied", `this phone is no owner of ${camera.name}`, { stage: "role" });
    }
    const { bytes: supply } = encodeSupply(
      {
        ...{ phone, camera: camera.id, incarnation: camera.incarnation, batch: 1 },
        ...{ firstIndex: 0, firstDay: 0, oneTime: [], days: [] },
        restart: keys.seal(camera.id).publicKey,
      },
      signer,
    );
    camera.adding.push({ phone, role: "kit", name: "recovery kit", supply });
  }
  await vault.save();
  wipe(keys.phone.secret, keys.grant.secret);
}

/**
 * Leaves what the kit needs to begin with in this phone's box of the first camera's mailbox. Only when
 * every camera's log shows the kit as a member: the list in the grant is where its reading begins.
 * What an earlier grant holds of cameras that are not among the `reached` stays.
 */
export async function grantKit(
  { secret }: SecretLink,
  looked: readonly Looked[],
  { vault, link, suite, nowMs, reached = looked }: KitOptions & { reached?: readonly Looked[] },
): Promise<void> {
  const keys = kitKeys(secret);
  const phone = keys.phone.publicKey;
  const [first] = looked;
  if (!first || !looked.every(({ journal }) => roleOf(journal.members.head, phone) === "kit")) {
    throw new Failure("busy", "a camera has not taken the kit yet", {
      stage: "member",
      hint: "Try again when its log shows it",
    });
  }
  const before = await findGrant(secret, link, suite);
  const others = (before?.cameras ?? []).filter(
    ({ identity }) => !reached.some(({ camera }) => equal(camera.identity, identity)),
  );
  const grant = makeGrant("kit", phone, undefined, looked, { vault, suite, others });
  const place = { writer: signPublicKey(first.camera.request), sequence: nowMs };
  await link.put(sealFor(grant, keys.grant.publicKey, place, suite));
}

/** What a kit is good for at the moment, for each camera. */
export type KitState = {
  readonly camera: CameraKeys;
  /** In the member list that is in force. */
  readonly isMember: boolean;
  /** No member, and the command that makes it one is under way. */
  readonly isAsked: boolean;
  /** The camera has its key. */
  readonly hasKey: boolean;
  /** What it needs to begin with lies in the mailbox, and opens. */
  readonly isGranted: boolean;
};

export async function testKit(
  { secret }: SecretLink,
  looked: readonly Looked[],
  { link, suite }: Pick<KitOptions, "link" | "suite">,
): Promise<KitState[]> {
  const keys = kitKeys(secret);
  const phone = keys.phone.publicKey;
  const grant = await findGrant(secret, link, suite);
  return looked.map(({ camera, journal }) => ({
    camera,
    isMember: roleOf(journal.members.head, phone) === "kit",
    isAsked: camera.adding.some((one) => equal(one.phone, phone)),
    hasKey: statements(journal, "supply-acknowledged").some(({ statement }) =>
      equal(statement.phone, phone),
    ),
    isGranted: grant?.cameras.some(({ identity }) => equal(identity, camera.identity)) === true,
  }));
}

async function findGrant(secret: Uint8Array, link: Link, suite: Suite): Promise<Grant | undefined> {
  const keys = kitKeys(secret);
  let found: Grant | undefined;
  for await (const page of pages(link, { under: "box/" })) {
    for (const name of page) {
      const sealed = name.kind === "box" ? await link.get(name) : undefined;
      try {
        const bytes = sealed && openBox(sealed, [keys.grant], suite);
        const grant = bytes && verifyGrant(bytes, suite);
        if (grant && grant.role === "kit" && equal(grant.answer, noHash)) found = grant;
      } catch (error) {
        if (!isFailure(error, "corrupt", "refused")) throw error;
      }
    }
  }
  return found;
}

/**
 * Takes over what the paper gives: the cameras, with the kit's key where restart keys are, so that
 * the next look opens all that was sealed since the kit was made. Durable when it resolves; again it
 * changes nothing. Failure "absent" when what belongs to the paper is not there.
 */
export async function openKit(
  { secret }: SecretLink,
  { vault, link, suite }: KitOptions,
): Promise<readonly CameraKeys[]> {
  const keys = kitKeys(secret);
  const grant = await findGrant(secret, link, suite);
  if (!grant) {
    throw new Failure("absent", "what belongs to this kit is not there", {
      hint: "It lies in the mailbox on the relay that the paper names; was the kit ever finished?",
    });
  }
  const made = grant.cameras.map((granted) => {
    const camera = cameraOf(granted, grant.phone, suite);
    const known = vault.camera(camera.id);
    if (known) return known;
    const { root } = camera;
    if (!root) throw new Failure("corrupt", "a kit without a root key", { stage: "root" });
    const pair = keys.seal(camera.id);
    camera.restarts.push({ fingerprint: keyFingerprint(pair.publicKey), secret: pair.secret });
    // Not the kit's door: this phone has its own, and remains when the kit is taken back.
    camera.request = doorSeed(root, vault.content.phoneKey);
    camera.kit = secret;
    vault.content.cameras.push(camera);
    return camera;
  });
  await vault.save();
  return made;
}

/**
 * Behind a look at a camera that came with a kit: sends the member list, signed by the kit, that makes
 * this phone an owner; when the log shows it and the camera has keys of this phone, forgets the kit.
 * True while the kit is needed yet.
 */
export async function tendKit(
  camera: CameraKeys,
  journal: Journal,
  { vault, link, suite, nowMs }: KitOptions,
): Promise<boolean> {
  const { kit } = camera;
  if (!kit) return false;
  const { phoneKey, name } = vault.content;
  const keys = kitKeys(kit);
  const { head } = journal.members;
  if (roleOf(head, phoneKey) !== "owner") {
    if (roleOf(head, keys.phone.publicKey) !== "kit") {
      throw new Failure("denied", "this kit was taken back: the camera has it as no member", {
        stage: "role",
      });
    }
    const signer = { sign: (message: Uint8Array) => sign(keys.phone.secret, message), suite };
    const members = head.members.filter(({ phone }) => !equal(phone, phoneKey));
    const me = { phone: phoneKey, role: "owner" as const, name };
    const next = follow(head, keys.phone.publicKey, [...members, me]);
    const command = sealCommand(
      {
        ...{ camera: camera.id, incarnation: camera.incarnation, head: camera.head },
        ...{ phone: keys.phone.publicKey, number: nowMs },
        action: {
          ...{ kind: "membership", replaces: head.version },
          list: encodeMembership(next, signer).bytes,
        },
      },
      receivingOf({ camera, journal, suite }),
      { ...signer, writer: signPublicKey(camera.request) },
    );
    await link.put(command);
    return true;
  }
  const hasKeys = statements(journal, "supply-acknowledged").some(({ statement }) =>
    equal(statement.phone, phoneKey),
  );
  if (!hasKeys) return true;
  const print = keyFingerprint(keys.seal(camera.id).publicKey);
  for (const one of camera.restarts) if (equal(one.fingerprint, print)) wipe(one.secret);
  camera.restarts = camera.restarts.filter((one) => !equal(one.fingerprint, print));
  wipe(kit);
  delete camera.kit;
  await vault.save();
  return false;
}
