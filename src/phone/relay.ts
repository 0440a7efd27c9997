import { equal } from "../base/pure/bytes.ts";
import { explain, Failure, isFailure } from "../base/pure/failure.ts";
import { sign, signPublicKey } from "../protocol/sealed/sodium.ts";
import { type Mailbox, openMailbox, type Send } from "../protocol/wire/client.ts";
import { verifyDoorList } from "../protocol/wire/door.ts";
import { type Name, printName } from "../protocol/wire/name.ts";
import { digest, type Sign, type Suite } from "../protocol/wire/signature.ts";
import { mailboxIdOf } from "./doors.ts";
import type { Fault } from "./fault.ts";
import { checkCount, type Link, type Range } from "./link.ts";
import type { CameraKeys } from "./vault.ts";

/** What a phone needs of its platform to speak to a relay. */
export type Line = {
  readonly suite: Suite;
  readonly send: Send;
  nowMs(): number;
  sleep(ms: number): Promise<void>;
  /** Ed25519 by a seed; libsodium's unless the platform has a quicker one. */
  signer?(seed: Uint8Array): Sign;
};

/** How often in a row a relay may say "later", and how long is waited for it each time at most. */
const mostPauses = 20;
const longestPauseMs = 15_000;

/**
 * A camera's mailbox on one relay. The owner's door list is put there when there is none yet, or an
 * older one. Believes the relay nothing: what it gives is checked by whoever asked, and a door list
 * behind the newest one that this phone knows is a fault. A newer one goes into `camera.door`.
 */
export async function openRelay(url: string, camera: CameraKeys, line: Line): Promise<Link> {
  const mailbox = openAs(camera.request, url, camera, line);
  const patient = patientOf(line, url);
  const faults = await patient(() => checkDoor(mailbox, url, camera, line));
  const byRoot = () => camera.root && openAs(camera.root, url, camera, line);
  return {
    ...{ where: url, kind: "relay", faults },
    list: (range = {}) => listAll(mailbox, patient, range),
    get: (name) => patient(() => mailbox.get(name)),
    put: async (object) => {
      // A door list is put by the key that signs it.
      const writer = (object.name.kind === "door" && byRoot()) || mailbox;
      await patient(() => writer.put(object));
    },
    remove: (name) => patient(() => mailbox.remove(name)),
    wait: async ({ under = "", after = "" }, waitMs, signal) => {
      await mailbox.list({ under, after, limit: 1, waitMs, signal });
    },
  };
}

/** What is needed to come into a mailbox as a guest: by a link (join.md), or with the root key itself. */
export type Guest = { readonly mailbox: Uint8Array; readonly request: Uint8Array };

/** A mailbox by a key that is no member's. The first of the relays that lets it in. */
export async function openFirstGuest(
  urls: readonly string[],
  { mailbox: id, request }: Guest,
  line: Line,
): Promise<Link> {
  let failure: unknown = new Failure("misuse", "the link names no relay", {
    hint: "Say --relay URL, or --from FOLDER for the camera's outbox",
  });
  for (const url of urls) {
    try {
      const mailbox = openAt(request, url, id, line);
      const patient = patientOf(line, url);
      await patient(() => mailbox.list({ under: "box/", limit: 1 }));
      return {
        ...{ where: url, kind: "relay" },
        list: (range = {}) => listAll(mailbox, patient, range),
        get: (name) => patient(() => mailbox.get(name)),
        put: async (object) => void (await patient(() => mailbox.put(object))),
        remove: (name) => patient(() => mailbox.remove(name)),
      };
    } catch (error) {
      failure = error;
      if (!isFailure(error, "gone", "offline", "refused", "corrupt")) throw error;
    }
  }
  throw failure;
}

/** The first of the relays that answers. Throws the failure of the last when none does. */
export async function openFirstRelay(
  urls: readonly string[],
  camera: CameraKeys,
  line: Line,
): Promise<Link> {
  let failure: unknown = new Failure("misuse", "no relay is known for this camera", {
    hint: "Say --relay URL, or --from FOLDER for the camera's outbox or a copy of it",
  });
  for (const url of urls) {
    try {
      return await openRelay(url, camera, line);
    } catch (error) {
      failure = error;
      if (!isFailure(error, "gone", "offline", "refused", "corrupt")) throw error;
    }
  }
  throw failure;
}

function openAs(seed: Uint8Array, url: string, camera: CameraKeys, line: Line): Mailbox {
  return openAt(seed, url, mailboxIdOf(camera, line.suite), line);
}

function openAt(seed: Uint8Array, url: string, mailbox: Uint8Array, line: Line): Mailbox {
  const { suite, send, nowMs } = line;
  const bySodium = (message: Uint8Array) => sign(seed, message);
  return openMailbox({
    ...{ url, suite, send, nowMs: () => nowMs() },
    mailbox,
    key: signPublicKey(seed),
    sign: line.signer?.(seed) ?? bySodium,
  });
}

/**
 * Waits where the relay says so, all requests together: those that are under way side by side would
 * only use up what it lets through. Says which relay it was where it fails.
 */
export function patientOf({ sleep }: Line, url: string, who = "relay") {
  let pause: Promise<void> | undefined;
  let pauses = 0;
  return async <T>(act: () => Promise<T>): Promise<T> => {
    for (;;) {
      await pause;
      try {
        const answer = await act();
        pauses = 0;
        return answer;
      } catch (error) {
        if (!isFailure(error)) throw error;
        const { retryAfterMs } = error;
        const waits = error.kind === "gone" && retryAfterMs !== undefined && pauses < mostPauses;
        if (!waits || retryAfterMs > longestPauseMs) throw named(error, who, url);
        pause ??= sleep(Math.max(retryAfterMs, 100)).finally(() => {
          pause = undefined;
          pauses += 1;
        });
      }
    }
  };
}

function named(error: Failure, who: string, url: string): Failure {
  const { kind, stage, retryAfterMs, hint } = error;
  const noRight = kind === "refused" && stage === "right";
  const away = kind === "gone" ? "Is it running, and is there a network?" : undefined;
  const help = noRight ? `This phone has no key that the ${who} lets in there` : (hint ?? away);
  const text = who === "relay" ? error.message : error.message.replace(/^the relay /, "it ");
  return new Failure(kind, `${who} ${url}: ${text}`, {
    ...{ cause: error, ...(stage ? { stage } : {}), ...(help ? { hint: help } : {}) },
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}

export async function listAll(
  mailbox: Mailbox,
  patient: ReturnType<typeof patientOf>,
  { under = "", after = "", limit }: Range,
): Promise<Name[]> {
  const names: Name[] = [];
  for (let bound = after; ; ) {
    const rest = limit === undefined ? {} : { limit: Math.min(1000, limit - names.length) };
    const page = await patient(() => mailbox.list({ under, after: bound, ...rest }));
    for (const { name } of page) names.push(name);
    const last = page.at(-1);
    if (!last || (limit !== undefined && names.length >= limit)) return names;
    const next = printName(last.name);
    // Beacon and door list may stand on a page that they are not on: then it ends there.
    if (next <= bound) return names;
    checkCount(names.length, under);
    bound = next;
  }
}

/** Holds the relay's door list against ours, and puts ours there where it is newer. */
async function checkDoor(
  mailbox: Mailbox,
  url: string,
  camera: CameraKeys,
  line: Line,
): Promise<Fault[]> {
  const id = mailboxIdOf(camera, line.suite);
  const ours = camera.door && {
    bytes: camera.door,
    list: verifyDoorList(camera.door, id, line.suite),
  };
  const fault = (severity: Fault["severity"], kind: Fault["kind"], text: string): Fault[] => [
    { severity, kind, text: `relay ${url}: ${text}`, name: "door" },
  ];
  const putOurs = async () => {
    if (!ours || !camera.root) return;
    const root = openAs(camera.root, url, camera, line);
    await root.put({ name: { kind: "door" }, bytes: ours.bytes });
  };
  let bytes: Uint8Array | undefined;
  try {
    bytes = await mailbox.get({ kind: "door" });
  } catch (error) {
    // There is no mailbox yet, or it lets this phone in no more: the owner's list decides.
    if (!isFailure(error, "refused") || error.stage !== "right" || !ours || !camera.root)
      throw error;
    await putOurs().catch((cause) => {
      // A newer list is there, and this phone is not on it.
      throw isFailure(cause, "refused") && cause.stage === "rises" ? error : cause;
    });
    return [];
  }
  if (!bytes) return fault("note", "withheld", "it shows no door list");
  let theirs: ReturnType<typeof verifyDoorList>;
  try {
    theirs = verifyDoorList(bytes, id, line.suite);
  } catch (error) {
    return fault("lie", "forged", `its door list is none: ${explain(error)}`);
  }
  if (!ours || theirs.version > ours.list.version) {
    camera.door = bytes;
    return [];
  }
  if (theirs.version < ours.list.version) {
    // It may never have heard of the newer one; that it shows the old one again is what counts then.
    await putOurs();
    const again = await mailbox.get({ kind: "door" });
    if (again && equal(again, ours.bytes)) return [];
    const [was, is] = [ours.list.version, theirs.version];
    const text = `it goes by door list ${is}, and ${was} was put there: a key that was removed may be let in`;
    return fault("lie", "rollback", text);
  }
  const isSame = equal(digest(line.suite, bytes), digest(line.suite, ours.bytes));
  return isSame ? [] : fault("lie", "fork", `a second door list of version ${theirs.version}`);
}
