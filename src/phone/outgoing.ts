import { equal, toHex } from "../base/pure/bytes.ts";
import { Failure, isFailure } from "../base/pure/failure.ts";
import { type Action, decodeAction, encodeAction } from "../protocol/sealed/action.ts";
import { sealCommand } from "../protocol/sealed/command.ts";
import { verifyIdentity } from "../protocol/sealed/pairing.ts";
import type { Sealed } from "../protocol/sealed/sealed.ts";
import { sign, signPublicKey } from "../protocol/sealed/sodium.ts";
import { keyFingerprint } from "../protocol/sealed/stanza.ts";
import { type BoxName, type Name, printName } from "../protocol/wire/name.ts";
import type { Suite } from "../protocol/wire/signature.ts";
import { type Journal, statements } from "./journal.ts";
import type { Link } from "./link.ts";
import type { CameraKeys, Vault } from "./vault.ts";

// Commands that last: kept in the vault, and sent again until the camera's log shows them.

/** A command that the log does not show yet. */
export type Outgoing = CameraKeys["outgoing"][number];
export type LastingAction = Extract<Action, { replaces: number }>;

/** What became of a command, as the log says. */
export type Settled = { readonly item: Outgoing; readonly refused: string | undefined };

export type OutgoingOptions = {
  readonly link: Link;
  readonly vault: Vault;
  readonly camera: CameraKeys;
  readonly journal: Journal;
  readonly suite: Suite;
  readonly nowMs: number;
};

/** Sealed again after this long when the camera wrote on and did not mention it. */
const patienceMs = 10 * 60_000;
/** How many numbers of one command are remembered: each may be the one that was carried out. */
const mostNumbers = 64;

/**
 * Puts a command on the list; `sendOutgoing` sends it, now or whenever there is a link again. One that
 * waits there as it is is that one: asked for twice it would be refused the second time.
 */
export function addOutgoing(camera: CameraKeys, action: LastingAction, nowMs: number): Outgoing {
  const { kind, bytes } = encodeAction(action);
  const waiting = camera.outgoing.find((one) => one.kind === kind && equal(one.action, bytes));
  if (waiting) return waiting;
  const item: Outgoing = { what: action.kind, kind, action: bytes, sinceMs: nowMs, numbers: [] };
  camera.outgoing.push(item);
  return item;
}

/** What a command on the list asks for. */
export function actionOf({ kind, action }: Outgoing): Action {
  return decodeAction(kind, action);
}

/**
 * Takes what the log shows off the list, and sends what it does not: anew where the camera cannot
 * have taken it as it was sent. A number is durable in the vault before the command leaves.
 */
export async function sendOutgoing(options: OutgoingOptions): Promise<readonly Settled[]> {
  const { link, vault, camera } = options;
  const { settled, highest } = settleOutgoing(options);
  const old: BoxName[] = settled.flatMap(({ item }) => (item.sent ? [item.sent.name] : []));
  const there = new Map<string, ReadonlySet<string>>();
  for (const item of camera.outgoing) {
    const { sent } = item;
    if (sent && !isStale(sent, highest, options) && (await isThere(link, sent.name, there)))
      continue;
    if (sent) old.push(sent.name);
    const { object, number, receiving } = seal(actionOf(item), options);
    item.numbers = [...item.numbers, number].slice(-mostNumbers);
    item.sent = {
      ...{ name: nameOf(object), atMs: options.nowMs, receiving },
      ...{ incarnation: incarnationOf(camera), sequence: camera.head?.sequence ?? 0 },
    };
    await vault.save();
    await link.put(object);
  }
  await vault.saveIfTouched();
  await tidy(link, old);
  return settled;
}

/** Takes objects away. Only tidiness: what is old there counts for nothing. */
export async function tidy(link: Link, names: readonly Name[]): Promise<void> {
  for (const name of names) {
    try {
      await link.remove?.(name);
    } catch (error) {
      // An older relay lets only owners take away what is theirs.
      if (!isFailure(error, "refused")) throw error;
      return;
    }
  }
}

/** Sends a command once and keeps nothing of it but its number: for what must be fresh. */
export async function sendFleeting(action: Action, options: OutgoingOptions): Promise<number> {
  const { object, number } = seal(action, options);
  await options.vault.save();
  await options.link.put(object);
  return number;
}

/** Removes what the log shows from the list; the vault is touched, not saved. */
export function settleOutgoing({
  vault,
  camera,
  journal,
}: Pick<OutgoingOptions, "vault" | "camera" | "journal">): {
  settled: readonly Settled[];
  highest: number;
} {
  const told = new Map<number, string | undefined>();
  let highest = -1;
  for (const { statement } of statements(journal, "command-done")) {
    if (!equal(statement.phone, vault.content.phoneKey)) continue;
    told.set(statement.number, statement.refused);
    highest = Math.max(highest, statement.number);
  }
  const settled: Settled[] = [];
  for (const item of camera.outgoing) {
    const answered = item.numbers.filter((number) => told.has(number));
    const last = answered.at(-1);
    if (last === undefined) continue;
    // Sent twice and carried out once: the second is refused, and that is no refusal.
    const isDone = answered.some((number) => told.get(number) === undefined);
    settled.push({ item, refused: isDone ? undefined : told.get(last) });
  }
  camera.outgoing = camera.outgoing.filter((item) => !settled.some((one) => one.item === item));
  if (settled.length > 0) vault.touch();
  return { settled, highest };
}

type Sent = NonNullable<Outgoing["sent"]>;

/** True when the camera cannot take it any more as it was sent, or did not although it was at work. */
function isStale(sent: Sent, highest: number, options: OutgoingOptions): boolean {
  const { camera, journal, nowMs } = options;
  const head = journal.records.at(-1)?.entry.sequence ?? 0;
  return (
    sent.name.sequence < highest ||
    sent.incarnation !== incarnationOf(camera) ||
    (nowMs - sent.atMs > patienceMs &&
      (head > sent.sequence || !equal(sent.receiving, keyFingerprint(receivingOf(options)))))
  );
}

async function isThere(
  link: Link,
  name: BoxName,
  known: Map<string, ReadonlySet<string>>,
): Promise<boolean> {
  const under = `box/${toHex(name.writer)}/`;
  const names = known.get(under) ?? new Set((await link.list({ under })).map(printName));
  known.set(under, names);
  return names.has(printName(name));
}

function seal(action: Action, options: OutgoingOptions) {
  const { vault, camera, suite, nowMs } = options;
  const { phone, phoneKey } = vault.content;
  // Of the time, so that a vault put back from a backup goes on above what it had sent.
  const number = Math.max(camera.commandNumber + 1, nowMs);
  camera.commandNumber = number;
  const publicKey = receivingOf(options);
  const object = sealCommand(
    {
      ...{ camera: camera.id, incarnation: incarnationOf(camera), phone: phoneKey, number },
      ...{ head: camera.head, action },
    },
    publicKey,
    { sign: (message) => sign(phone, message), suite, writer: signPublicKey(camera.request) },
  );
  return { object, number, receiving: keyFingerprint(publicKey) };
}

function nameOf({ name }: Sealed): BoxName {
  if (name.kind === "box") return name;
  throw new Failure("misuse", "a command that is none");
}

function incarnationOf({ head, incarnation }: CameraKeys): number {
  return head?.incarnation ?? incarnation;
}

/** The key that the camera announced last; until it has, the one an owner named or of its identity. */
export function receivingOf({
  camera,
  journal,
  suite,
}: Pick<OutgoingOptions, "camera" | "journal" | "suite">): Uint8Array {
  const announced = statements(journal, "receiving-key").at(-1)?.statement.publicKey;
  return announced ?? camera.receiving ?? verifyIdentity(camera.identity, suite).receiving;
}
