import { createECDH } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type DurableFolder, openDurable } from "../../base/node/durable.ts";
import { toHex } from "../../base/pure/bytes.ts";
import type { Clock } from "../../base/pure/clock.ts";
import { Failure, isFailure } from "../../base/pure/failure.ts";
import {
  bytes,
  type Check,
  type Checked,
  integer,
  list,
  object,
  optional,
  parse,
  print,
  text,
} from "../../protocol/sealed/json.ts";
import { subscriptionBytes } from "../../protocol/sealed/pointer.ts";
import { sizes } from "../../protocol/sealed/sodium.ts";
import { checkSubscription } from "../../protocol/sealed/subscription.ts";
import { newTray, printTray, readTray, type Tray } from "../visit/visit.ts";

// Who is told of visits, and what waits for each, in one file of the camera's state: addresses are in
// it that nobody else may know, so it is erased as keys are.

const p256 = { publicKey: bytes(65), secret: bytes(32) };
const anything: Check<unknown> = (value) => value;
const kept = object({
  version: integer(1, 1),
  /** VAPID: by which push services know this camera. */
  key: optional(object(p256)),
  subscriptions: list(
    object({
      ...{ id: bytes(subscriptionBytes), phone: bytes(32), key: bytes(sizes.kemPublicKey) },
      ...{ p256dh: bytes(65), auth: bytes(16), endpoint: text(768) },
      /** Of the last pointer that was made for it. */
      number: integer(),
      tray: anything,
    }),
    64,
  ),
});
type Kept = Checked<typeof kept>;

export type Subscriber = Omit<Kept["subscriptions"][number], "tray"> & { tray: Tray };

export type Book = {
  subscribers: Subscriber[];
  /** Made when it is asked for first. */
  key: { publicKey: Uint8Array; secret: Uint8Array } | undefined;
  /** Durable when it resolves; what changed meanwhile is written with it. */
  save(): Promise<void>;
  close(): Promise<void>;
};

const folderName = "push";
const file = "subscribers";
const mostBytes = 4 * 2 ** 20;

/**
 * Opens what is kept in a state folder; on a card that failed (`isKept` false) it is read as far as it
 * can be, and nothing is written. What cannot be read is told, and as if it were not there.
 */
export async function openBook(
  state: string,
  { isKept, clock, onDamage }: { isKept: boolean; clock: Clock; onDamage(failure: Failure): void },
): Promise<Book> {
  const path = join(state, folderName, file);
  let read: ReturnType<typeof readBook> | undefined;
  try {
    read = readBook(new Uint8Array(await readFile(path)), clock);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (isFailure(error)) onDamage(error);
    else if (code !== "ENOENT") onDamage(new Failure("absent", `${path} cannot be read (${code})`));
  }
  let folder: DurableFolder | undefined;
  const book: Book = {
    subscribers: read?.subscribers ?? [],
    key: read?.key,
    async save() {
      if (!isKept) return;
      // No folder before there is something to keep.
      folder ??= await openDurable(join(state, folderName));
      const { subscribers, key } = book;
      const subscriptions = subscribers.map((one) => ({
        ...one,
        tray: printTray(one.tray, clock),
      }));
      const all = { version: 1, ...(key ? { key } : {}), subscriptions };
      await folder.write(file, print(all, mostBytes, "subscribers", kept), { shred: true });
    },
    close: async () => await folder?.close(),
  };
  return book;
}

function readBook(written: Uint8Array, clock: Clock): Pick<Book, "subscribers" | "key"> {
  const { key, subscriptions } = parse(written, mostBytes, "subscribers", kept);
  const subscribers = subscriptions.map((one) => {
    checkSubscription(one);
    return { ...one, tray: readTray(one.tray, clock) };
  });
  return { subscribers, key };
}

/** The camera's key at push services: P-256, its secret padded to 32 bytes. */
export function newKey(): NonNullable<Book["key"]> {
  const curve = createECDH("prime256v1");
  const publicKey = new Uint8Array(curve.generateKeys());
  const secret = new Uint8Array(32);
  const bare = curve.getPrivateKey();
  secret.set(bare, 32 - bare.length);
  return { publicKey, secret };
}

export function newSubscriber(subscription: Omit<Subscriber, "number" | "tray">): Subscriber {
  return { ...subscription, number: 0, tray: newTray() };
}

export const idOf = ({ id }: Pick<Subscriber, "id">): string => toHex(id);
