import { homedir, userInfo } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { Failure, isFailure } from "../../base/pure/failure.ts";
import { mostRelays, relayOf } from "../../protocol/sealed/pairing.ts";
import { mostOneTime } from "../../protocol/sealed/supply.ts";

export const help = `usage: obscura-phone [--home DIR] COMMAND ...

Opens what a camera sealed. The keys lie in --home and nowhere else.

  pair LINK                         become a camera's owner over the network, by the link that it
                                    shows (-: read it from standard input); makes this phone's
                                    keys at first use. --lan: the same
  pair --bluetooth LINK             the same by radio, without a network, through this computer's
                                    BlueZ (--adapter NAME: by which, as hci0)
  pair --lens FILE --relay URL      the same by a code that the camera reads with its own eye:
                                    writes it as PNG, and waits until it was read (--wifi NAME:
                                    with the network to join; its password from standard input)
  adopt camera.json -o owner.json   the same by two files, without a network
  cameras                           the cameras known here, and when each was heard last
  clips                             list the clips (--follow: and go on, until Ctrl-C)
  export CLIP...                    write clips as plain MP4 files (--all: every one); of one that
                                    is still being recorded, what there is so far
  thumbnail CLIP...                 write their pictures as JPEG (--frame: the whole view)
  open FILE                         write the picture in a file that a camera sent by mail as JPEG
                                    (--frame: the whole view)
  snapshot                          have the camera take a picture now, and write it as JPEG
  push on                           have the camera tell this phone of visits by way of a push
                                    service: --subscription FILE (what a browser's
                                    JSON.stringify(subscription) gives), or --endpoint URL (-: from
                                    standard input) with keys that are made here, as for UnifiedPush
  push key                          the camera's key, with which a browser subscribes
  push list, push off [ID]          who is told; tell this phone no more
  push test                         have the camera send a test message
  push open FILE                    what a message says (-: from standard input): as it came, or as a
                                    browser opened it (--picture FILE: and fetch the picture)
  window                            have the camera open its window for pairing, and show the link of
                                    it: to give it another network (pair LINK --wifi NAME)
  arm home|away                     arm the alarm of the house; no code is asked for: this phone signs
  disarm                            disarm it, the same
  privacy on|off                    have the camera shut its lens, or open it; the house cannot end it
  log                               what the camera wrote down: who looked, what was set, what it had
                                    to give up, who tried to pair
  verify                            check the log and every clip; names each gap, fork and replay
                                    (--all-relays: and hold the relays against one another)
  delete CLIP...                    destroy the keys of clips, and tell the camera to delete them
  settings [NAME VALUE]             the settings the camera was sent; have it take another
  phones                            the cameras known here, and who may open their clips
  add-phone [--viewer]              show a link by which another phone joins as an owner (--viewer:
                                    may look and nothing else); again: go on where it was
                                    (--check WORD: the other phone shows it too; --cancel: take
                                    the link back)
  join LINK                         the other side of it (-: read it from standard input)
  remove-phone NAME                 seal to that phone no more (its name, or beginning of its id)
  recovery-kit make                 make a key on paper that opens what is recorded from now on, and
                                    says what that costs; test PAPER: whether it is good, and which
                                    cameras it does not cover; renew PAPER: have those take it;
                                    use PAPER: make this phone an owner by it
  erase CAMERA                      have the camera overwrite its keys and be as new (its name, or
                                    beginning of its id); what lies at the relay stays
  backup FILE                       copy all keys into one file
  restore FILE                      put them back (--force: over the keys that are there)

  --home DIR     where the keys lie (default $XDG_DATA_HOME/obscura-phone, else
                 ~/.local/share/obscura-phone)
  --from FOLDER  a camera's outbox, or a copy of it, in place of its relay
  --camera NAME  which camera, where several are known (name, or beginning of its id)
  -o PATH        file to write; of several clips the folder to write them into
  --name NAME    what to call the camera (pair, adopt)
  --phone NAME   what to call this phone (pair, adopt, join, recovery-kit use; the first time)
  --relay URL    where the sealed clips go, such as https://relay.example (pair, adopt; up to eight
                 of them, the preferred one first); where to look for them (all others)
  --keys N       one-time keys to hand out (pair, adopt; default 2000, one is spent with each clip)
  --lan          over the camera's own interface in the local network (local.port in its settings), which
                 is looked for too when no relay answers (all that read or ask; not cameras)
  --address A    HOST:PORT of the camera, in place of the link's (pair), or where that interface is
  --wifi NAME    the network that the camera is to join (pair; its password from standard input;
                 --hidden: one that does not send its name)
  --wait N       seconds to wait for the camera (snapshot, window, push, arm, disarm, privacy,
                 settings, erase, remove-phone, recovery-kit, pair --lens, --bluetooth or --wifi) or
                 the other phone (add-phone, join)
  --all          every clip that opens (export, thumbnail)
  --json         JSON on standard output: a document, or one a line where it says more than once
  --help, --version

CLIP is the beginning of a clip's id, four digits or more. Export gives plain files: whoever can
read them sees the pictures.

exit codes: 0 well, 1 failed, 2 misuse, 3 verification found a lie or a loss
`;

type Takes = readonly [least: number, most: number, what: string];
const nothing: Takes = [0, 0, "nothing behind its name"];
const file: Takes = [1, 1, "a file, and one only"];
const clips: Takes = [0, Number.POSITIVE_INFINITY, "clips, or --all and none by name"];
const link = "and one only, or - to read it from standard input";

/** How many operands each command takes, at least and at most, and for people which. */
const commands = {
  pair: [0, 1, `the link that the camera shows, ${link}`],
  adopt: [1, 1, "camera.json, and one only"],
  ...{ cameras: nothing, clips: nothing, export: clips, thumbnail: clips },
  open: file,
  ...{ snapshot: nothing, window: nothing },
  push: [1, 2, "key, on, list, off, test or open"],
  arm: [1, 1, "home or away"],
  disarm: nothing,
  privacy: [1, 1, "on or off"],
  ...{ verify: nothing, log: nothing, delete: clips },
  settings: [0, 2, "a name and a value, or neither"],
  ...{ phones: nothing, "add-phone": nothing },
  join: [0, 1, `the link that the owner's phone shows, ${link}`],
  "remove-phone": [1, 1, "a phone's name or id, and one only"],
  "recovery-kit": [1, 2, "make, or test, renew or use and PAPER"],
  erase: [1, 1, "the camera's name, and one only"],
  ...{ backup: file, restore: file },
} satisfies Record<string, Takes>;
export type Command = keyof typeof commands;
/** What the first operand may be. */
const choices: { readonly [K in Command]?: readonly string[] } = {
  arm: ["home", "away"],
  privacy: ["on", "off"],
};

export type Arguments = {
  command: Command;
  operands: string[];
  home: string;
  from: string | undefined;
  camera: string | undefined;
  out: string | undefined;
  name: string | undefined;
  phone: string | undefined;
  keys: number | undefined;
  address: string | undefined;
  lan: boolean;
  bluetooth: boolean;
  adapter: string | undefined;
  lens: string | undefined;
  wifi: string | undefined;
  hidden: boolean;
  relays: string[] | undefined;
  waitMs: number | undefined;
  check: string | undefined;
  viewer: boolean;
  cancel: boolean;
  follow: boolean;
  allRelays: boolean;
  all: boolean;
  frame: boolean;
  force: boolean;
  json: boolean;
  subscription: string | undefined;
  endpoint: string | undefined;
  picture: string | undefined;
};

/** Reads the command line; "help" and "version" instead where those were asked for. */
export function readArguments(argv: readonly string[]): Arguments | "help" | "version" {
  const { values, positionals } = parse(argv);
  if (values.help) return "help";
  if (values.version) return "version";
  const [command, ...operands] = positionals;
  if (!isCommand(command)) {
    throw new Failure("misuse", command ? `there is no command "${command}"` : "no command given", {
      hint: "`obscura-phone --help` lists them",
    });
  }
  const [least, most, what] = commands[command];
  const isNamed = most < Number.POSITIVE_INFINITY || values.all !== operands.length > 0;
  const isOne = choices[command]?.includes(operands[0] ?? "") ?? true;
  if (operands.length < least || operands.length > most || !isNamed || !isOne) {
    throw new Failure("misuse", `${command} takes ${what}`, {
      hint: "`obscura-phone --help` says more",
    });
  }
  const home = values.home ?? defaultHome();
  const { from, camera, out, name, phone, address, bluetooth, adapter } = values;
  const { lens, wifi, hidden, subscription, endpoint, picture } = values;
  if (Number(values.lan) + Number(bluetooth) + Number(lens !== undefined) > 1) {
    throw new Failure("misuse", "--lan, --bluetooth and --lens are ways: one at a time");
  }
  const isElsewhere = from !== undefined || values.relay !== undefined;
  if (isElsewhere && command !== "pair" && (values.lan || address !== undefined)) {
    throw new Failure("misuse", "--lan, --address, --relay and --from are ways: one at a time");
  }
  const { check, viewer, cancel, follow, all, frame, force, json } = values;
  return {
    ...{ command, operands, home: resolve(home), from, camera, out, name, phone, address },
    ...{ lan: values.lan, bluetooth, adapter, lens, wifi, hidden, subscription, endpoint, picture },
    keys: values.keys === undefined ? undefined : readKeys(values.keys),
    relays: values.relay === undefined ? undefined : readRelays(values.relay),
    waitMs: values.wait === undefined ? undefined : readWait(values.wait),
    ...{ check, viewer, cancel, follow, allRelays: values["all-relays"], all, frame, force, json },
  };
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        home: { type: "string" },
        from: { type: "string" },
        camera: { type: "string" },
        out: { type: "string", short: "o" },
        name: { type: "string" },
        phone: { type: "string" },
        keys: { type: "string" },
        address: { type: "string" },
        lan: { type: "boolean", default: false },
        bluetooth: { type: "boolean", default: false },
        adapter: { type: "string" },
        lens: { type: "string" },
        wifi: { type: "string" },
        hidden: { type: "boolean", default: false },
        relay: { type: "string", multiple: true },
        wait: { type: "string" },
        check: { type: "string" },
        viewer: { type: "boolean", default: false },
        cancel: { type: "boolean", default: false },
        follow: { type: "boolean", default: false },
        "all-relays": { type: "boolean", default: false },
        all: { type: "boolean", default: false },
        frame: { type: "boolean", default: false },
        force: { type: "boolean", default: false },
        subscription: { type: "string" },
        endpoint: { type: "string" },
        picture: { type: "string" },
        json: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
        version: { type: "boolean", default: false },
      },
    });
  } catch (cause) {
    const text = cause instanceof Error ? cause.message : String(cause);
    throw new Failure("misuse", text, { cause, hint: "`obscura-phone --help` says how" });
  }
}

function readKeys(text: string): number {
  const keys = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (keys < 1 || keys > mostOneTime) {
    throw new Failure("misuse", `--keys ${text}: a number from 1 to ${mostOneTime} was expected`);
  }
  return keys;
}

function readWait(text: string): number {
  const seconds = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (seconds < 1) throw new Failure("misuse", `--wait ${text}: a number of seconds was expected`);
  return seconds * 1000;
}

function readRelays(texts: readonly string[]): string[] {
  const relays = texts.map((text) => {
    const relay = relayOf(text);
    if (relay === undefined) {
      throw new Failure("misuse", `--relay ${text}: this is not the address of a relay`, {
        hint: "Write it as https://relay.example:8443 or http://192.168.1.2:8470",
      });
    }
    return relay;
  });
  if (relays.length > mostRelays || new Set(relays).size < relays.length) {
    throw new Failure("misuse", `--relay: up to ${mostRelays} different addresses`);
  }
  return relays;
}

function isCommand(text: string | undefined): text is Command {
  return text !== undefined && Object.hasOwn(commands, text);
}

/** Reads what somebody typed or copied: what it cannot be is misuse. */
export function readTyped<T>(read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (!isFailure(cause, "corrupt")) throw cause;
    const { message, hint, stage } = cause;
    throw new Failure("misuse", message, {
      ...{ cause, ...(hint ? { hint } : {}), ...(stage ? { stage } : {}) },
    });
  }
}

function defaultHome(): string {
  const data =
    process.env.XDG_DATA_HOME || join(homedir() || userInfo().homedir, ".local", "share");
  return join(data, "obscura-phone");
}
