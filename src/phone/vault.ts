import { equal, Reader, toHex, Writer } from "../base/pure/bytes.ts";
import { Failure, isFailure } from "../base/pure/failure.ts";
import { actionBytes } from "../protocol/sealed/action.ts";
import {
  bytes,
  type Check,
  type Checked,
  flag,
  integer,
  list,
  object,
  oneOf,
  optional,
  parse,
  print,
  text,
} from "../protocol/sealed/json.ts";
import { longestAdoptionBytes } from "../protocol/sealed/pairing.ts";
import { decrypt, encrypt, random, signPair, sizes, wipe } from "../protocol/sealed/sodium.ts";

/**
 * Everything that a phone must not lose and nobody else may have: its own keys, the secrets of the
 * public keys it handed out, the keys of epochs and clips that it has opened.
 *
 * The whole vault is sealed under a wrapping key of its own, and every save draws a new one: what a
 * save left out cannot be opened again with anything that is still kept.
 */
const seed = bytes(sizes.signSecret);
const secret = bytes(sizes.kemSecret);
const u32 = integer(0, 0xffff_ffff);
const hash = bytes(32);
const clipId = bytes(16);
const keyId = bytes(16);
const head = object({ incarnation: u32, sequence: integer(), hash });

/** What a clip says of itself, kept so that a list need not open each again. */
const summary = object({
  /** The last part when this was written: with another one it is no longer right. */
  last: hash,
  whole: flag,
  startUs: integer(),
  wallMs: integer(),
  clockTrusted: flag,
  durationMs: optional(integer()),
  persons: optional(integer()),
  zones: list(text(64), 32),
  width: integer(),
  height: integer(),
});
export type Summary = Checked<typeof summary>;

/** A field that older vaults have not. */
function since<T>(check: Check<T>, first: T): Check<T> {
  return (value, path) => check(value ?? first, path);
}

const boxName = object({ kind: oneOf("box"), writer: bytes(32), sequence: integer(), hash });

const outgoing = object({
  /** For people: the kind of action. */
  what: text(32),
  /** The action as a command carries it (action.ts). */
  kind: integer(1, 255),
  action: bytes(0, actionBytes),
  sinceMs: integer(),
  /** Every number that it was sent under. */
  numbers: list(integer(), 64),
  /** When and how it was sent last. */
  sent: optional(
    object({
      ...{ name: boxName, atMs: integer(), incarnation: u32 },
      /** How far the log went then. */
      sequence: integer(),
      /** Fingerprint of the key that it was sealed to. */
      receiving: hash,
    }),
  ),
});

const oneTime = list(object({ index: u32, id: keyId, secret }), 20_000);
/** Days are counted within an incarnation; without one it is the first. */
const days = list(
  object({ incarnation: optional(u32), day: u32, fingerprint: hash, secret }),
  4096,
);
const restarts = list(object({ fingerprint: hash, secret, batch: optional(u32) }), 1024);

const adding = object({
  ...{ phone: bytes(32), role: oneOf("owner", "viewer", "kit"), name: text(64) },
  supply: bytes(1, 64 * 1024),
});

const camera = object({
  id: bytes(32),
  name: text(64),
  /** What the camera said of itself when it was adopted (pairing.md). */
  identity: bytes(1, 4096),
  adoptedMs: integer(),
  /** The newest one that the log has shown: what is handed out now is for that. */
  incarnation: u32,
  /** The mailbox is named after this key, made for it alone; so is the key that signs requests. */
  root: optional(seed),
  /** Its public half, where this phone is a viewer and may not have the other. */
  rootKey: optional(bytes(32)),
  request: seed,
  /** What the phones of this camera share (seen.md), where it does not follow from `root`. */
  circle: optional(bytes(32)),
  /** Where the mailbox is, as the newest adoption says. */
  relays: since(list(text(512), 8), []),
  /** An adoption that was made and that the camera did not acknowledge yet: sent again as it is. */
  unconfirmed: optional(bytes(1, longestAdoptionBytes)),
  membership: bytes(1, 8192),
  /** Recovery kits among the members, as the log said last. */
  kits: optional(u32),
  batch: u32,
  nextIndex: u32,
  /** The first day of this incarnation that the log has not closed. */
  nextDay: u32,
  /** The key that commands are sealed to, as an owner said; the log's own goes before it. */
  receiving: optional(bytes(1216)),
  /** One-time and day keys of the newest batch. */
  lastBatch: optional(object({ oneTime: u32, days: u32 })),
  /** One-time secrets that were never used, by key id. */
  oneTime,
  days,
  /** One for each batch; older ones may still open what was sealed before the newer came. */
  restarts,
  epochs: list(object({ opening: hash, key: bytes(32) }), 100_000),
  clips: list(
    object({
      ...{ clip: clipId, headerHash: hash, key: bytes(32), summary: optional(summary) },
      /** The one-time secret that opened it. */
      oneTime: optional(keyId),
    }),
    1_000_000,
  ),
  deleted: list(
    object({
      ...{ clip: clipId, atMs: integer(), number: integer() },
      /** Nothing of it ever came here: its one-time secret went by the log alone, or waits. */
      unopened: optional(flag),
    }),
    1_000_000,
  ),
  /** The newest log entry that was ever seen: a log that does not hold it was put back or forked. */
  head: optional(head),
  commandNumber: integer(),
  /** The newest door list that was ever seen or signed here: a relay must not go back behind it. */
  door: optional(bytes(1, 64 * 1024)),
  /** The newest beacon that was ever seen. */
  beacon: optional(object({ incarnation: u32, version: integer() })),
  /** Commands that last and that the log does not show yet (outgoing.ts). */
  outgoing: since(list(outgoing, 4096), []),
  /** The secret of the recovery kit that this camera came with, until it is not needed any more. */
  kit: optional(bytes(32)),
  /** Phones that shall become members, with the first supply that each of them signed. */
  adding: since(list(adding, 32), []),
  /** Phones that shall be members no more, until the log shows it. */
  removing: since(list(bytes(32), 32), []),
  /** Doors to be shut. */
  shutting: since(list(bytes(32), 64), []),
  /** Where the log begins (checkpoint.md), with the member list in force there. */
  base: optional(object({ checkpoint: bytes(1, 1024), members: optional(bytes(1, 8192)) })),
  /** When it was looked into last whether the log may begin later. */
  vouchedMs: optional(integer()),
  /** Subscriptions to push services (command.md): what opens their pointers, and which have come. */
  pushes: optional(
    list(
      object({
        ...{ id: bytes(16), secret, service: text(280), atMs: integer() },
        /** Of a browser, where this phone stands in for one. */
        own: optional(object({ secret: bytes(32), p256dh: bytes(65), auth: bytes(16) })),
        come: optional(
          object({ incarnation: u32, highest: integer(), below: list(integer(), 64) }),
        ),
      }),
      16,
    ),
  ),
  /** The entry that this phone has named to the others last (seen.md). */
  named: optional(object({ atMs: integer(), sequence: integer() })),
});

/** A link that this phone has shown to another (join.md). */
const joining = object({
  ...{ secret: bytes(32), role: oneOf("owner", "viewer"), untilMs: integer() },
  /** The camera in whose mailbox the phones meet. */
  meeting: bytes(32),
  /** Public key of the link's own door there. */
  door: bytes(32),
  offer: bytes(1, 4096),
  /** The answer that a person has accepted. */
  answer: optional(bytes(1, 1024 * 1024)),
});

/** A link that this phone was shown, with the keys that it made for each camera. */
const joined = object({
  ...{ secret: bytes(32), mailbox: bytes(32), relays: list(text(512), 8) },
  ...{ offer: bytes(1, 4096), answer: bytes(1, 1024 * 1024), grant: secret },
  cameras: list(
    object({
      ...{ id: bytes(32), incarnation: u32, batch: u32, nextIndex: u32, nextDay: u32 },
      ...{ oneTime, days, restarts, lastBatch: optional(object({ oneTime: u32, days: u32 })) },
    }),
    16,
  ),
});

const check = object({
  version: integer(1, 1),
  name: text(64),
  phone: seed,
  phoneKey: bytes(32),
  cameras: list(camera, 256),
  /** Links that were shown and are good yet. */
  links: since(list(joining, 16), []),
  /** The link that this phone is joining by. */
  joining: optional(joined),
});

export type CameraKeys = Checked<typeof camera>;
export type VaultContent = Checked<typeof check>;

/** A vault at rest. The two belong together and lie apart. */
export type Wrapped = { readonly key: Uint8Array; readonly sealed: Uint8Array };

export type VaultStore = {
  /** Undefined when there is no vault yet. */
  load(): Promise<Wrapped | undefined>;
  /**
   * Puts the new pair in place of the old: durable when it resolves, either the old or the new pair
   * at any moment, and nothing left of the old key that the platform can remove.
   */
  replace(wrapped: Wrapped): Promise<void>;
};

export const longestVaultBytes: number = 512 * 1024 * 1024;
const sliceBytes = 192 * 1024;
const headBytes = 8;
const magic = new Uint8Array([0x6f, 0x62, 0x76, 1]); // "obv", format 1
const none = new Uint8Array();

export class Vault {
  readonly content: VaultContent;
  readonly #store: VaultStore;
  #isChanged = false;

  private constructor(content: VaultContent, store: VaultStore) {
    this.content = content;
    this.#store = store;
  }

  /** Throws Failure "absent" when there is none, "corrupt" when it does not open. */
  static async open(store: VaultStore): Promise<Vault> {
    const wrapped = await store.load();
    if (!wrapped) {
      throw new Failure("absent", "there are no keys here yet", {
        hint: "Make them with `obscura-phone pair LINK` or `adopt camera.json -o owner.json`, or `restore` a backup",
      });
    }
    try {
      const plain = unwrapVault(wrapped);
      const content = parse(plain, longestVaultBytes, "vault", check);
      wipe(plain);
      return new Vault(content, store);
    } catch (cause) {
      if (!isFailure(cause, "corrupt")) throw cause;
      const { stage } = cause;
      throw new Failure("corrupt", `the keys are damaged: ${cause.message}`, {
        ...{ cause, ...(stage === undefined ? {} : { stage }) },
        hint: "Put a backup in their place: `obscura-phone restore FILE --force`",
      });
    }
  }

  /** A new vault with a phone's own key; nothing is stored before the first `save`. */
  static create(store: VaultStore, name: string): Vault {
    const { publicKey, secret } = signPair();
    const content = {
      version: 1,
      name,
      phone: secret,
      phoneKey: publicKey,
      cameras: [],
      links: [],
    };
    return new Vault(content, store);
  }

  /** Says that `content` is not what is at rest; stays so until a save has succeeded. */
  touch(): void {
    this.#isChanged = true;
  }

  async saveIfTouched(): Promise<void> {
    if (this.#isChanged) await this.save();
  }

  /** Durable when it resolves, under a new wrapping key; what is no longer in it is gone. */
  async save(): Promise<void> {
    this.touch();
    await this.#store.replace(wrapVault(print(this.content, longestVaultBytes, "vault", check)));
    this.#isChanged = false;
  }

  camera(id: Uint8Array): CameraKeys | undefined {
    return this.content.cameras.find((one) => equal(one.id, id));
  }
}

function nonceOf(index: number, last: boolean): Uint8Array {
  return new Writer()
    .u32(index)
    .u8(last ? 1 : 0)
    .raw(new Uint8Array(19))
    .done();
}

function wrapVault(plain: Uint8Array): Wrapped {
  const key = random(sizes.key);
  return { key, sealed: sealSlices(key, plain) };
}

/** Seals under a key that is never used a second time; the plain text is wiped. */
export function sealSlices(key: Uint8Array, plain: Uint8Array): Uint8Array {
  const slices = Math.max(1, Math.ceil(plain.length / sliceBytes));
  const writer = new Writer().raw(magic).u32(plain.length);
  for (let i = 0; i < slices; i++) {
    const slice = plain.subarray(i * sliceBytes, (i + 1) * sliceBytes);
    writer.raw(encrypt(key, nonceOf(i, i === slices - 1), slice, none));
  }
  wipe(plain);
  return writer.done();
}

/** Stages: "version", "length", "vault" (another key, or damaged). */
export function unwrapVault({ key, sealed }: Wrapped): Uint8Array {
  const reader = new Reader(sealed, "vault");
  if (!equal(reader.take(4), magic)) throw reader.refuse("version", "this is no vault");
  const length = reader.u32();
  const slices = Math.max(1, Math.ceil(length / sliceBytes));
  if (sealed.length !== headBytes + length + slices * sizes.tag) {
    throw reader.refuse("length", "a vault that is cut short");
  }
  const plain = new Uint8Array(length);
  for (let i = 0; i < slices; i++) {
    const last = i === slices - 1;
    const bytes = last ? length - i * sliceBytes : sliceBytes;
    const slice = decrypt(key, nonceOf(i, last), reader.take(bytes + sizes.tag), none);
    if (!slice) throw reader.refuse("vault", "the vault does not open with its key");
    plain.set(slice, i * sliceBytes);
    wipe(slice);
  }
  return plain;
}

/** How a camera's or clip's id is shown and typed: enough of it to be the only one. */
export function shortId(id: Uint8Array): string {
  return toHex(id).slice(0, 12);
}
